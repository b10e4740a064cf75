"""The class whose parts notebook 05 exchanges."""

import multiprocessing
import operator
from concurrent.futures import ProcessPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from helpers import CIFAR10Sequence
from helpers.classroom.parts import (
    Parts,
    opencv_read,
    opencv_resize,
    skimage_read,
    skimage_resize,
)


@pytest.fixture(scope="module")
def files(pictures):
    return SimpleNamespace(filenames=pictures, labels=np.arange(len(pictures)))


def test_with_the_articles_parts_it_gives_the_articles_batches(files):
    parts = Parts(files, skimage_read, skimage_resize, "float64")
    article = CIFAR10Sequence(files.filenames, files.labels, 32)
    assert len(parts) == 2  # whole batches only
    for index in range(2):
        images, labels = parts[index]
        expected, expected_labels = article[index]
        assert images.dtype == np.float64
        assert np.array_equal(images, expected) and np.array_equal(labels, expected_labels)


def test_opencv_reads_the_same_pixels_of_a_drawing(files):
    drawings = [name for name in files.filenames if name.endswith(".png")]
    assert drawings
    for name in drawings:
        assert np.array_equal(opencv_read(name), skimage_read(name))


def test_both_ways_to_resize_agree_but_for_half_a_pixel_at_the_border():
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    apart = np.abs(skimage_resize(image) - opencv_resize(image))
    assert opencv_resize(image).dtype == np.float32
    assert apart[3:-3, 3:-3].max() < 1e-6
    assert apart[:3].max() > 0.01


@pytest.mark.slow
def test_it_works_in_a_process_that_is_started_anew(files):
    parts = Parts(files, opencv_read, opencv_resize, "float32", workers=2)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        images, labels = executor.submit(operator.getitem, parts, 1).result(timeout=300)
    expected, expected_labels = parts[1]
    assert np.array_equal(images, expected) and np.array_equal(labels, expected_labels)
