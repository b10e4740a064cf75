import numpy as np
import pytest
from noting import fit, note
from skimage.io import imread
from skimage.transform import resize

from helpers import CIFAR10Sequence

# ---- CIFAR10Sequence ----------------------------------------------------------------------------


def test_the_textbook_class_is_the_articles_expression(pictures):
    filenames, labels = pictures[:5], [3, 1, 4, 1, 5]
    sequence = CIFAR10Sequence(filenames, labels, 2)
    assert len(sequence) == 3
    for index, (first, last) in enumerate([(0, 2), (2, 4), (4, 5)]):
        batch_x, batch_y = filenames[first:last], labels[first:last]
        images, numbers = sequence[index]
        expected = np.array([resize(imread(f), (200, 200)) for f in batch_x])
        assert images.dtype == np.float64
        assert np.array_equal(images, expected)
        assert np.array_equal(numbers, np.array(batch_y))


@pytest.mark.parametrize(("count", "batch_size", "batches"), [(1, 1, 1), (4, 2, 2), (5, 2, 3)])
def test_the_textbook_class_counts_the_short_batch(count, batch_size, batches):
    length = len(CIFAR10Sequence(["a.png"] * count, [0] * count, batch_size))
    assert type(length) is int
    assert length == batches


@pytest.mark.parametrize(
    "how",
    [
        {"workers": 1},
        {"workers": 2},
        pytest.param({"workers": 2, "use_multiprocessing": True}, marks=pytest.mark.slow),
    ],
    ids=["alone", "threads", "processes"],
)
def test_the_textbook_class_through_fit(pictures, how):
    sequence = CIFAR10Sequence(pictures[:5], range(5), 2, **how)
    expected = [note(*sequence[index]) for index in range(3)]
    assert fit(sequence, epochs=2) == [expected, expected]
