import cv2
import numpy as np
import pytest
import tensorflow as tf
from drawn import sizes
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers.images.resizing import resize_image
from helpers.images.weights import nearest


def floats(shape, seed=0):
    return np.random.default_rng(seed).normal(size=(*shape, 3)).astype(np.float32)


def by_pillow(image, image_size, how):
    """Each channel by itself, which Pillow computes in floating point."""
    channels = (Image.fromarray(image[..., channel]) for channel in range(3))
    return np.dstack([channel.resize(image_size[::-1], how) for channel in channels])


@given(length=st.integers(1, 250), new_length=st.integers(1, 250))
@example(length=2, new_length=7)  # of 3.5 × 2 / 7 Pillow makes less than 1
@settings(max_examples=200, deadline=None)
def test_nearest_equals_pillow_and_is_exact(length, new_length):
    line = Image.fromarray(np.arange(length, dtype=np.uint8)[np.newaxis])
    pillows = np.asarray(line.resize((new_length, 1), Image.Resampling.NEAREST))[0]
    middles = (2 * np.arange(new_length) + 1) * length  # of new pixels; old ones have 2 new_length
    between_two = middles % (2 * new_length) == 0
    positions = nearest(length, new_length)
    np.testing.assert_array_equal(positions[~between_two], pillows[~between_two])
    np.testing.assert_array_equal(2 * new_length * positions[between_two], middles[between_two])


@given(shape=sizes, image_size=sizes)
@example(shape=(90, 60), image_size=(30, 20))
@settings(max_examples=60, deadline=None)
def test_area_equals_tensorflow_and_where_it_shrinks_opencv(shape, image_size):
    image = floats(shape)
    resized = resize_image(image, image_size, interpolation="area")
    tensorflows = tf.image.resize(image, image_size, method="area")
    np.testing.assert_allclose(resized, tensorflows, rtol=0, atol=2e-4)
    if image_size[0] <= shape[0] and image_size[1] <= shape[1]:
        opencvs = cv2.resize(image, image_size[::-1], interpolation=cv2.INTER_AREA)
        np.testing.assert_allclose(resized, opencvs, rtol=0, atol=2e-6)


@given(shape=sizes, image_size=sizes)
@settings(max_examples=60, deadline=None)
def test_bicubic_equals_pillow_and_where_it_enlarges_tensorflow(shape, image_size):
    image = floats(shape)
    resized = resize_image(image, image_size, interpolation="bicubic")
    pillows = by_pillow(image, image_size, Image.Resampling.BICUBIC)
    np.testing.assert_allclose(resized, pillows, rtol=0, atol=2e-6)
    if image_size[0] >= shape[0] and image_size[1] >= shape[1]:
        tensorflows = tf.image.resize(image, image_size, method="bicubic")
        np.testing.assert_allclose(resized, tensorflows, rtol=0, atol=5e-3)  # it reads a table


@pytest.mark.parametrize("image_size", [(90, 70), (13, 80), (13, 11)], ids=str)
def test_of_8_bits_what_a_cubic_overshoots_is_cut_off(image_size):
    black_and_white = np.kron([[0, 255, 0], [255, 0, 255]], np.ones((22, 17)))
    image = np.dstack([black_and_white.astype(np.uint8)] * 3)
    expected = by_pillow(image.astype(np.float32), image_size, Image.Resampling.BICUBIC) / 255
    assert expected.min() < 0 and expected.max() > 1
    resized = resize_image(image, image_size, interpolation="bicubic")
    np.testing.assert_allclose(resized, expected.clip(0, 1), rtol=0, atol=1e-6)
    assert resized.min() == 0 and resized.max() == 1


@pytest.mark.parametrize("image_size", [(90, 70), (13, 80), (13, 11), (45, 52)], ids=str)
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest", "area", "bicubic"])
def test_where_a_value_is_missing_only_what_needs_it_is_missing(interpolation, image_size):
    """What needs a value is what changes with it."""
    image = floats((45, 52))
    results = []
    for value in (0, 1, np.nan, np.inf):
        image[30, 20, 1] = value
        results.append(resize_image(image, image_size, interpolation=interpolation))
    differs = np.abs(results[1] - results[0])
    for result in results[2:]:
        missing = ~np.isfinite(result)
        assert missing[differs > 1e-5].all()
        assert (differs[missing] > 0).all()
        np.testing.assert_array_equal(result[differs == 0], results[0][differs == 0])
