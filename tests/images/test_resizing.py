import numpy as np
import pytest
from drawn import kinds, paint, reference, sizes
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers.images.resizing import resize_image


@given(shape=sizes, image_size=sizes, kind=kinds, seed=st.integers(0, 99))
@example(shape=(1, 1), image_size=(1, 1), kind="noise", seed=0)
@example(shape=(1, 1), image_size=(200, 200), kind="noise", seed=0)
@example(shape=(300, 300), image_size=(1, 1), kind="noise", seed=0)
@example(shape=(32, 32), image_size=(200, 200), kind="noise", seed=0)
@example(shape=(50, 250), image_size=(100, 25), kind="edges", seed=0)
@example(shape=(250, 50), image_size=(25, 100), kind="stripes", seed=0)
@example(shape=(64, 80), image_size=(64, 80), kind="noise", seed=0)
@settings(max_examples=60, deadline=None)
def test_resize_image_equals_scikit_image(shape, image_size, kind, seed):
    image = paint(kind, *shape, seed)
    resized = resize_image(image, image_size)
    assert resized.dtype == np.float32
    assert resized.shape == (*image_size, 3)
    np.testing.assert_allclose(resized, reference(image, image_size), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "image_size"),
    [
        ((900, 1200), (200, 200)),
        ((1200, 900), (224, 160)),
        ((3, 2000), (200, 200)),
        ((2000, 3), (200, 200)),
        ((1, 1500), (64, 64)),
        ((401, 399), (200, 200)),
        ((30, 20), (700, 900)),
    ],
)
def test_resize_image_equals_scikit_image_on_large_pictures(shape, image_size):
    for kind in ("noise", "edges"):
        image = paint(kind, *shape, seed=1)
        resized = resize_image(image, image_size)
        np.testing.assert_allclose(resized, reference(image, image_size), rtol=0, atol=1e-5)


@given(shape=sizes, image_size=sizes)
@settings(max_examples=25, deadline=None)
def test_resize_image_writes_to_out_and_nowhere_else(shape, image_size):
    image = paint("noise", *shape, seed=2)
    before = image.copy()
    rows = np.full((3, *image_size, 3), -1, np.float32)
    result = resize_image(image, image_size, out=rows[1])
    assert np.shares_memory(result, rows)
    np.testing.assert_array_equal(rows[1], resize_image(image, image_size))
    assert (rows[[0, 2]] == -1).all()
    np.testing.assert_array_equal(image, before)


def test_resize_image_reads_a_view():
    image = paint("noise", 40, 50, seed=3)
    turned = image[::-1, ::-1]
    expected = resize_image(turned.copy(), (20, 30))
    np.testing.assert_array_equal(resize_image(turned, (20, 30)), expected)
