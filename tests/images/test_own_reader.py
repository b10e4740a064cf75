import re
from pathlib import Path

import numpy as np
import pytest

from helpers.images.own_reader import read_by
from helpers.images.reading import ImageError
from helpers.images.recipe import Recipe

NOISE = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)


def returned(result, **options):
    return read_by(Recipe(read=lambda name: result, **options), "a.npy")


def refused(result, recipe=None, **options):
    recipe = recipe or Recipe(**options)
    with pytest.raises(ImageError) as caught:
        read_by(recipe._replace(read=lambda name: result), "a.npy")
    assert str(caught.value).startswith("a.npy: ")
    return caught.value.reason


# ---- pictures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_8_bits_come_as_they_are(dtype):
    image = returned(NOISE, dtype=dtype)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, NOISE)


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "int16", ">i2", ">u2", "uint16", "int64", "f2", ">f4", "f8"]
)
def test_other_numbers_keep_their_values(dtype):
    values = (NOISE // 3).astype(dtype)
    image = returned(values)
    assert image.dtype == np.float32 and image.dtype.isnative
    np.testing.assert_array_equal(image, values)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1)])
def test_grey_has_one_channel_or_becomes_rgb(shape):
    grey = NOISE[..., 0].reshape(shape)
    np.testing.assert_array_equal(returned(grey, color_mode="grayscale"), NOISE[..., :1])
    np.testing.assert_array_equal(returned(grey), NOISE[..., [0, 0, 0]])


def test_any_number_of_channels():
    bands = np.random.default_rng(0).random((5, 7, 13))
    np.testing.assert_array_equal(returned(bands, color_mode=13), bands.astype(np.float32))


def test_what_opencv_cannot_take_is_laid_out_anew():
    for view in (NOISE[..., ::-1], NOISE[::-1], NOISE.transpose(1, 0, 2), np.asfortranarray(NOISE)):
        image = returned(view)
        assert image.flags.c_contiguous
        np.testing.assert_array_equal(image, view)


def test_whatever_numpy_makes_an_array_of():
    np.testing.assert_array_equal(returned(NOISE.tolist()), NOISE)


# ---- names ---------------------------------------------------------------------------------------


def name_received(filename, folder):
    received = []
    recipe = Recipe(read=lambda name: received.append(name) or NOISE)
    read_by(recipe, filename, folder)
    return received[0]


def test_the_name_is_that_which_was_passed_unless_the_folder_is_another():
    assert name_received("a.npy", "") == name_received("a.npy", str(Path.cwd())) == "a.npy"
    assert name_received("a.npy", "/elsewhere") == str(Path("/elsewhere/a.npy"))
    assert name_received("/b/a.npy", "/elsewhere") == "/b/a.npy"
    assert name_received("s3://bucket/a.npy", "/elsewhere") == "s3://bucket/a.npy"


# ---- errors --------------------------------------------------------------------------------------


def test_an_error_of_read_is_the_cause():
    with pytest.raises(ImageError, match=r"a\.npy: read failed: ZeroDivisionError: ") as caught:
        read_by(Recipe(read=lambda name: 1 / 0), "a.npy")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_return_that_was_forgotten():
    reason = "read returned None: it must end with `return array`"
    assert refused(None) == refused(None, Recipe().for_masks("uint8", 0, None)) == reason


@pytest.mark.parametrize(
    "result",
    [
        np.zeros(5),
        np.zeros((1, 5, 7, 3)),
        np.zeros((0, 7, 3)),
        np.array("text"),
        1j * np.ones((5, 7)),
    ],
)
def test_what_is_no_picture(result):
    expected = r"returned an array of .*; it must return numbers of shape \(height, width\) or \("
    assert re.search(expected, refused(result))


@pytest.mark.parametrize(
    ("channels", "color_mode", "cure"),
    [
        (13, "rgb", "pass color_mode=13, as color_mode='rgb' has 3"),
        (13, "grayscale", "pass color_mode=13, as color_mode='grayscale' has 1"),
        (3, "grayscale", "pass color_mode='rgb', as color_mode='grayscale' has 1"),
        (4, "rgb", "pass color_mode='rgba', as color_mode='rgb' has 3"),
        (1, "rgba", "pass color_mode='grayscale', as color_mode='rgba' has 4"),
        (1, 13, "pass color_mode='grayscale', as color_mode=13 has 13"),
        (2, "rgb", "pass color_mode=2, as color_mode='rgb' has 3"),
    ],
)
def test_channels_that_do_not_fit(channels, color_mode, cure):
    result = np.zeros((15, 17, channels), np.uint8)
    reason = refused(result, color_mode=color_mode)
    assert reason == f"read returned an array of uint8, of shape {result.shape}; {cure}"
    advised = eval(cure.split("color_mode=")[1].split(",")[0])
    assert returned(result, color_mode=advised).shape == result.shape


def test_channels_that_come_first():
    for color_mode in (13, "rgb"):
        reason = refused(np.zeros((13, 50, 70)), color_mode=color_mode)
        assert "channels are the last axis: np.moveaxis(array, 0, -1)" in reason


@pytest.mark.parametrize("dtype", ["bool", "uint16", "float32"])
def test_what_uint8_cannot_keep(dtype):
    reason = refused(NOISE.astype(dtype), dtype="uint8")
    assert reason == f"read returned {dtype}, which dtype='uint8' cannot keep: pass dtype='float32'"


# ---- masks ---------------------------------------------------------------------------------------


def for_masks(dtype):
    return Recipe().for_masks(dtype, 0, None)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32"])
@pytest.mark.parametrize("kind", ["bool", "uint8", "int64", ">u2"])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1)])
def test_masks(shape, kind, dtype):
    values = (NOISE[..., 0] % 9).astype(kind).reshape(shape)
    mask = read_by(for_masks(dtype)._replace(read=lambda name: values), "a.npy")
    assert mask.dtype == np.dtype(dtype) and mask.shape == (5, 7, 1)
    np.testing.assert_array_equal(mask, values.reshape(5, 7, 1))


def test_masks_that_are_none():
    assert "holds values from 0 to 300" in refused(np.array([[0, 300]]), for_masks("uint8"))
    assert "ends with .astype('int32')" in refused(np.zeros((5, 7)), for_masks("int32"))
    reason = refused(NOISE, for_masks("uint8"))
    assert reason.endswith("a mask has the shape (height, width) or (height, width, 1)")
