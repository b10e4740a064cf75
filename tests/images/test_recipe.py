import pickle

import numpy as np
import pytest

from helpers.images.recipe import Recipe


def test_a_recipe_is_small_and_travels():
    recipe = Recipe((224, 224), "uint8", "grayscale", crop_to_aspect_ratio=True).checked()
    assert pickle.loads(pickle.dumps(recipe)) == recipe
    assert len(pickle.dumps(recipe)) < 300


@pytest.mark.parametrize(
    ("color_mode", "channels"),
    [("grayscale", 1), ("rgb", 3), ("rgba", 4), (13, 13), (np.int64(2), 2)],
)
def test_channels(color_mode, channels):
    assert Recipe(color_mode=color_mode, read=np.load).checked().channels == channels


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"color_mode": "gray"}, "color_mode must be .*'grayscale'.* received 'gray'"),
        ({"color_mode": 13}, "color_mode must be .* received '13'"),  # without a reader
        ({"color_mode": 0, "read": np.load}, "color_mode must be at least 1; received 0"),
        ({"interpolation": "lanczos3"}, "interpolation must be .* received 'lanczos3'"),
        ({"crop_to_aspect_ratio": 1}, "crop_to_aspect_ratio must be True or False; received 1"),
        ({"crop_to_aspect_ratio": True, "pad_to_aspect_ratio": True}, "pass one of the two"),
        ({"fill_value": "black"}, "fill_value must be a number; received 'black'"),
        ({"fill_value": 300}, "fill_value must be at most 255; received 300"),
        ({"read": "imread"}, r"read must be a function of \(filename\); received 'imread'"),
        ({"dtype": "float16"}, "dtype must be 'float32' or 'uint8'; received 'float16'"),
        ({"image_size": 200}, "image_size must be .* received 200"),
        ({"max_pixels": 0}, "max_pixels must be at least 1"),
        ({"image_size": None, "draft": True}, "draft=True needs image_size"),
    ],
)
def test_what_is_wrong_is_refused_with_what_was_received(wrong, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Recipe(**{"image_size": (8, 8)} | wrong).checked()


def test_masks_share_the_geometry_and_nothing_that_blends():
    pictures = Recipe(
        (8, 9),
        "float32",
        pad_to_aspect_ratio=True,
        fill_value=127,
        interpolation="area",
        draft=True,
    )
    masks = pictures.for_masks("uint16", 255, None)
    assert (masks.image_size, masks.pad_to_aspect_ratio) == ((8, 9), True)
    assert (masks.interpolation, masks.fill_value, masks.channels) == ("nearest", 255, 1)
    assert masks.is_mask and not masks.draft and masks.dtype == "uint16"
