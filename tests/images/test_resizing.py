import io

import cv2
import keras
import numpy as np
import pytest
import skimage.data
from drawn import kinds, paint, reference, sizes
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers.images.recipe import INTERPOLATIONS, Recipe
from helpers.images.resizing import _cropped, resize_image, write_resized
from helpers.images.shrinking import Draft

CROP, PAD = Recipe(crop_to_aspect_ratio=True), Recipe(pad_to_aspect_ratio=True)
SHAPES = [((20, 30), (40, 50)), ((20, 30), (16, 25)), ((90, 110), (16, 25)), ((1, 30), (40, 20))]


def written(image, image_size, recipe, draft=None):
    """What `write_resized` makes of it; it writes nowhere else."""
    rows = np.full((3, *image_size, image.shape[2]), 77, recipe.dtype)
    write_resized(rows[1], image, recipe, draft)
    assert (rows[[0, 2]] == 77).all()
    return rows[1]


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


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("image_size", [(20, 30), (10, 8), (70, 80)])
def test_a_view_is_read_as_it_is(image_size, interpolation):
    turned = paint("noise", 40, 50, seed=3)[::-1, ::-1].swapaxes(0, 1)
    for recipe in (Recipe(), CROP, PAD):
        recipe = recipe._replace(interpolation=interpolation)
        expected = written(turned.copy(), image_size, recipe)
        np.testing.assert_array_equal(written(turned, image_size, recipe), expected)


def test_an_unknown_interpolation_is_refused():
    with pytest.raises(ValueError, match="interpolation"):
        resize_image(paint("noise", 4, 5, seed=0), (2, 2), interpolation="cubic")


# ---- values and channels -------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2, 4, 5, 13])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_each_channel_is_resized_as_if_it_were_of_a_colour_picture(interpolation, dtype, channels):
    rng = np.random.default_rng(channels)
    for shape, image_size in SHAPES:
        image = rng.integers(0, 256, (*shape, channels)).astype(dtype)
        resized = written(image, image_size, Recipe(interpolation=interpolation))
        for channel in range(channels):
            colour = image[..., [channel] * 3]
            expected = resize_image(colour, image_size, interpolation=interpolation)[..., 0]
            atol = 1e-6 if dtype == np.uint8 else 2e-4
            np.testing.assert_allclose(resized[..., channel], expected, rtol=0, atol=atol)


@pytest.mark.parametrize(("shape", "image_size"), [*SHAPES, ((20, 30), (20, 30))])
def test_floats_keep_their_units(shape, image_size):
    image = np.random.default_rng(0).normal(-700, 2000, (*shape, 3)).astype(np.float32)
    expected = reference(image.astype(float), image_size)
    np.testing.assert_allclose(written(image, image_size, Recipe()), expected, rtol=0, atol=0.01)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("channels", [1, 3, 13, 600])
@pytest.mark.parametrize(("shape", "image_size"), [*SHAPES, ((20, 30), (20, 30))])
def test_8_bits_are_the_floats_rounded(shape, image_size, channels, interpolation):
    image = np.random.default_rng(0).integers(0, 256, (*shape, channels), np.uint8)
    whole = written(image, image_size, Recipe(dtype="uint8", interpolation=interpolation))
    expected = np.rint(255 * resize_image(image, image_size, interpolation=interpolation))
    np.testing.assert_array_equal(whole, expected)


# ---- crop and pad --------------------------------------------------------------------------------


@given(shape=sizes, image_size=sizes, fill=st.sampled_from([0, -3.5]))
@example(shape=(1, 300), image_size=(300, 1), fill=-3.5)
@example(shape=(7, 8), image_size=(20, 20), fill=-3.5)  # lacks one row
@example(shape=(40, 30), image_size=(40, 30), fill=0)
@settings(max_examples=60, deadline=None)
def test_crop_and_pad_equal_keras(shape, image_size, fill):
    image = np.random.default_rng(0).normal(size=(*shape, 3)).astype(np.float32)
    for recipe in (CROP, PAD):
        recipe = recipe._replace(fill_value=fill, interpolation="bicubic")
        expected = keras.ops.image.resize(
            image,
            image_size,
            interpolation="bicubic",
            antialias=True,
            crop_to_aspect_ratio=recipe.crop_to_aspect_ratio,
            pad_to_aspect_ratio=recipe.pad_to_aspect_ratio,
            fill_value=fill,
        )
        expected = keras.ops.convert_to_numpy(expected)
        resized = written(image, image_size, recipe)
        np.testing.assert_allclose(resized, expected, rtol=0, atol=1e-3)


sides = st.integers(1, 100_000)


@given(height=sides, width=sides, new_height=sides, new_width=sides)
@settings(deadline=None)
def test_the_part_has_the_size_that_keras_computes_with_jax_and_pytorch(
    height, width, new_height, new_width
):
    image = np.broadcast_to(np.uint8(0), (height, width, 3))
    row = np.broadcast_to(np.float32(0), (new_height, new_width, 3))
    expected_height = max(min(height, int(float(width * new_height) / new_width)), 1)
    expected_width = max(min(width, int(float(height * new_width) / new_height)), 1)
    assert _cropped(image, row, None)[0].shape == (expected_height, expected_width, 3)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_every_way_to_resize_gets_the_part_or_the_padded_picture(dtype, interpolation):
    image = paint("noise", 40, 51, seed=0)
    recipe = Recipe(dtype=dtype, interpolation=interpolation)
    plain = written(image[:, 5:45], (16, 16), recipe)
    cropped = written(image, (16, 16), recipe._replace(crop_to_aspect_ratio=True))
    np.testing.assert_array_equal(cropped, plain)
    plain = written(np.pad(image, [(5, 5), (0, 0), (0, 0)], constant_values=9), (16, 16), recipe)
    padded = written(image, (16, 16), recipe._replace(pad_to_aspect_ratio=True, fill_value=9))
    np.testing.assert_array_equal(padded, plain)
    np.testing.assert_array_equal(
        written(image, (40, 40), recipe._replace(crop_to_aspect_ratio=True)),
        image[:, 5:45] if dtype == "uint8" else image[:, 5:45] * np.float32(1 / 255),
    )


@pytest.mark.parametrize(("fill", "filled"), [(127.5, 128), (126.5, 126), (-1, 0), (1e9, 255)])
def test_of_8_bits_what_fills_is_rounded(fill, filled):
    image = np.full((2, 4, 3), 50, np.uint8)
    padded = written(image, (4, 4), PAD._replace(dtype="uint8", fill_value=fill))
    np.testing.assert_array_equal(padded[:, 0, 0], [filled, 50, 50, filled])


@pytest.mark.parametrize("way", ["crop_to_aspect_ratio", "pad_to_aspect_ratio", None])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32"])
@pytest.mark.parametrize(("shape", "image_size"), [((61, 83), (25, 25)), ((31, 11), (67, 90))])
def test_masks_keep_their_values_and_lie_as_keras_lays_them(shape, image_size, dtype, way):
    top = min(np.iinfo(dtype).max, 1 << 24)  # which float32 holds, where Keras computes
    mask = np.random.default_rng(0).integers(0, top, (*shape, 1)).astype(dtype)
    recipe = Recipe().for_masks(dtype, fill_value=7, read=None)
    options = {way: True} if way else {}
    expected = keras.ops.image.resize(
        mask.astype(np.float32), image_size, interpolation="nearest", fill_value=7, **options
    )
    expected = keras.ops.convert_to_numpy(expected).astype(dtype)
    resized = written(mask, image_size, recipe._replace(**options))
    np.testing.assert_array_equal(resized, expected)


def test_of_a_mask_what_fills_may_be_less_than_its_file_can_hold():
    recipe = Recipe(pad_to_aspect_ratio=True).for_masks("int32", fill_value=-1, read=None)
    padded = written(np.full((2, 4, 1), 250, np.uint8), (4, 4), recipe)
    np.testing.assert_array_equal(padded[:, 0, 0], [-1, 250, 250, -1])


# ---- drafts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("name", ["astronaut", "cat", "coffee"])
@pytest.mark.parametrize("image_size", [(16, 16), (18, 9), (9, 18)], ids=str)
def test_of_a_draft_the_same_part_is_kept(image_size, name, factor):
    picture = getattr(skimage.data, name)()[:-3, :-7]
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=90)
    data = np.frombuffer(file.getvalue(), np.uint8)
    flags = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4}
    flag = flags.get(factor, cv2.IMREAD_REDUCED_COLOR_8) | cv2.IMREAD_IGNORE_ORIENTATION
    draft = cv2.imdecode(data, flag)[..., ::-1]
    expected = written(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB), image_size, CROP)
    resized = written(draft, image_size, CROP, Draft(factor, *picture.shape[:2]))
    assert 255 * np.abs(resized - expected).mean() < 0.65  # as of whole drafts
