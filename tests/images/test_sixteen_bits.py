import cv2
import numpy as np
import pytest

from helpers.images.sixteen_bits import doubt_of, doubt_of_file, png_as_rgb, upper_bits

EIGHT = np.arange(256, dtype=np.uint16).reshape(16, 16)
SIXTEEN = np.random.default_rng(0).integers(1 << 15, 1 << 16, (16, 16), np.uint16)


@pytest.mark.parametrize(("factor", "bits"), [(257, 16), (256, 16), (16, 12)])
def test_what_had_8_bits_loses_nothing(factor, bits):
    assert doubt_of(EIGHT * np.uint16(factor), bits) is None
    np.testing.assert_array_equal(upper_bits(EIGHT * np.uint16(factor), bits), EIGHT)


@pytest.mark.parametrize("row", [0, 15])
def test_a_single_value_with_bits_of_its_own_is_a_loss(row):
    values = EIGHT * np.uint16(257)
    values[row, 3] += 1
    assert "upper 8 are kept; to keep all, pass read=" in doubt_of(values)


def test_values_that_were_not_scaled_up_are_named_with_the_largest():
    dark = SIXTEEN >> 4
    dark[3, 3] = 4095
    assert "no value above 4,095: it comes out nearly black" in doubt_of(dark)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_colours_of_a_png_come_in_the_right_order(channels):
    values = SIXTEEN if channels == 1 else np.stack([SIXTEEN + n for n in range(channels)], -1)
    image, doubt = png_as_rgb(values)
    expected = np.dstack([values] * 3) if channels == 1 else values[..., [2, 1, 0]]
    np.testing.assert_array_equal(image, expected >> 8)
    assert "read=" in doubt


def test_a_file_says_what_it_loses():
    png = cv2.imencode(".png", SIXTEEN)[1].tobytes()
    assert "cv2.imread" not in doubt_of_file(png, is_png=True)  # grey, which scikit-image reads
    assert doubt_of_file(cv2.imencode(".png", EIGHT * 257)[1].tobytes(), is_png=True) is None
    assert "upper 8" in doubt_of_file(b"no picture", is_png=False)
