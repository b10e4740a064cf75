import io
import json
import os
import pickle
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
import skimage.io  # noqa: F401 - a doubt names it, and is evaluated
import tensorflow as tf
import tifffile
from drawn import (
    COLOUR,
    COLOUR_ALPHA,
    FORMATS,
    GREY,
    GREY_ALPHA,
    HEIGHT,
    ONE_BIT,
    PALETTE,
    WIDTH,
    draw,
    encode,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from helpers.images import reading
from helpers.images.reading import ImageError, decode, in_color_mode, read_image
from helpers.images.recipe import Recipe


def as_rgb(image):
    """What Pillow makes of a picture."""
    return np.asarray(image.convert("RGB"))


every_format = pytest.mark.parametrize("name", FORMATS)


def assert_same_picture(received, expected, atol=0):
    assert received.dtype == np.uint8
    assert received.shape == expected.shape
    np.testing.assert_allclose(received.astype(int), expected.astype(int), rtol=0, atol=atol)


# ---- read_image: every kind of picture -----------------------------------------------------------


@every_format
def test_read_image_agrees_with_pillow(save, name):
    expected = as_rgb(Image.open(io.BytesIO(FORMATS[name])))
    lossy = "JPEG" in name or name in ("WebP lossy", "WebP extended")
    assert_same_picture(read_image(save(FORMATS[name])), expected, atol=2 if lossy else 0)


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "WebP"])
def test_colours_are_red_green_blue_to_the_bit(save, format):
    options = {"lossless": True} if format == "WebP" else {}
    assert_same_picture(read_image(save(encode(COLOUR, format, **options))), draw())


@pytest.mark.parametrize("format", ["PNG", "BMP", "GIF", "TIFF"])
@pytest.mark.parametrize("image", [GREY, PALETTE, ONE_BIT], ids=["grey", "palette", "one bit"])
def test_grey_palette_and_one_bit_become_rgb(save, image, format):
    assert_same_picture(read_image(save(encode(image, format))), as_rgb(image))


def test_grey_jpeg_becomes_rgb(save):
    data = encode(GREY, "JPEG")
    image = read_image(save(data))
    assert_same_picture(image, as_rgb(Image.open(io.BytesIO(data))), atol=2)
    assert (image == image[..., :1]).all()


def test_cmyk_jpeg_agrees_with_pillow(save):
    data = encode(COLOUR.convert("CMYK"), "JPEG", quality=95)
    assert_same_picture(read_image(save(data)), as_rgb(Image.open(io.BytesIO(data))), atol=3)


@pytest.mark.parametrize("compression", ["tiff_deflate", "packbits", "group4"])
def test_compressed_tiff(save, compression):
    image = ONE_BIT if compression == "group4" else COLOUR
    assert_same_picture(
        read_image(save(encode(image, "TIFF", compression=compression))), as_rgb(image)
    )


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
@pytest.mark.parametrize("channels", [1, 3], ids=["grey", "colour"])
def test_of_16_bits_the_upper_8_are_kept(save, format, channels):
    pixels = np.arange(HEIGHT * WIDTH * channels, dtype=np.uint16) * 29 + 200
    pixels = pixels.reshape(HEIGHT, WIDTH, channels)
    if format == "PNG":
        data = cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()  # OpenCV wants blue first
    else:
        file = io.BytesIO()
        tifffile.imwrite(file, pixels.squeeze(), photometric="rgb" if channels == 3 else None)
        data = file.getvalue()
    expected = np.broadcast_to(pixels >> 8, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    assert_same_picture(read_image(save(data)), expected)


def with_16_bits(format, pixels):
    """A file of uint16 values, red first."""
    if format == "PNG":
        order = [2, 1, 0, 3] if pixels.shape[2] > 1 else [0]  # OpenCV wants blue first
        return cv2.imencode(".png", pixels[..., order[: pixels.shape[2]]])[1].tobytes()
    file = io.BytesIO()
    tifffile.imwrite(file, pixels.squeeze(), photometric="rgb" if pixels.shape[2] > 1 else None)
    return file.getvalue()


every_16_bits = pytest.mark.parametrize(
    ("format", "channels"), [("PNG", 1), ("PNG", 3), ("PNG", 4), ("TIFF", 1), ("TIFF", 3)]
)


@every_16_bits
def test_values_that_do_not_fill_16_bits_are_doubted(format, channels):
    for largest, is_dark in ((200, True), (4095, True), (16_383, True), (16_384, False)):
        pixels = np.linspace(0, largest, 35 * channels).astype(np.uint16).reshape(5, 7, channels)
        image, doubt, _ = decode(with_16_bits(format, pixels), "picture")
        assert image.max() == pixels[..., :3].max() >> 8
        assert doubt.startswith("has 16 bits a value, of which the upper 8 are kept")
        assert (f"no value above {largest:,}: it comes out nearly black" in doubt) == is_dark


@every_16_bits
def test_what_a_doubt_says_to_pass_gives_all_values(save, format, channels):
    pixels = np.random.default_rng(0).integers(0, 1 << 16, (5, 7, channels), np.uint16)
    filename = save(with_16_bits(format, pixels), f"deep.{format.lower()}")
    for recipe in (Recipe(), Recipe(color_mode="grayscale"), Recipe(color_mode="rgba")):
        _, doubt, _ = decode(Path(filename).read_bytes(), filename, recipe)
        read = eval(doubt.split("such as read=")[1].split(", with dtype='float32'")[0])
        values = read(filename)
        assert values.dtype == np.uint16
        np.testing.assert_array_equal(values, pixels[..., :3].squeeze())


@every_16_bits
@pytest.mark.parametrize("factor", [257, 256])
def test_8_bits_that_were_saved_with_16_are_not_doubted(format, channels, factor):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, channels), np.uint16)
    image, doubt, _ = decode(with_16_bits(format, pixels * np.uint16(factor)), "picture")
    np.testing.assert_array_equal(image, np.broadcast_to(pixels[..., :3], (5, 7, 3)))
    assert doubt is None
    pixels = pixels * np.uint16(factor)
    pixels[-1, -1] += 1
    assert "to keep all" in decode(with_16_bits(format, pixels), "picture")[1]


def test_a_doubtful_picture_is_read_with_a_warning_that_names_it(save):
    deep = cv2.imencode(".png", np.full((5, 7), 4095, np.uint16))[1].tobytes()
    with pytest.warns(UserWarning, match=r"deep\.png: has 16 bits a value.* above 4,095"):
        read_image(save(deep, "deep.png"))


def test_dark_pictures_of_8_bits_are_not_doubted(save):
    for format in ("PNG", "TIFF", "GIF", "BMP", "JPEG"):
        assert decode(encode(Image.new("RGB", (9, 9), (3, 2, 1)), format), "dark")[1] is None


@pytest.mark.parametrize("format", ["PNG", "BMP", "WebP"])
def test_alpha_is_dropped(save, format):
    options = {"lossless": True, "exact": True} if format == "WebP" else {}
    assert_same_picture(read_image(save(encode(COLOUR_ALPHA, format, **options))), draw())


def test_grey_with_alpha_is_dropped_too(save):
    assert_same_picture(read_image(save(encode(GREY_ALPHA, "PNG"))), as_rgb(GREY))


def test_a_transparent_palette_entry_of_a_png_keeps_its_colour(save):
    data = encode(PALETTE, "PNG", transparency=PALETTE.getpixel((0, 0)))
    assert_same_picture(read_image(save(data)), as_rgb(PALETTE))


@pytest.mark.parametrize("format", ["GIF", "PNG", "TIFF", "WebP"])
def test_of_several_pictures_the_first_is_taken(save, format):
    options = {"lossless": True} if format == "WebP" else {}
    first, second = PALETTE, ImageOps.flip(PALETTE)
    data = encode(first, format, save_all=True, append_images=[second], **options)
    assert_same_picture(read_image(save(data)), as_rgb(first))


def test_bmp_of_os2(save):
    pixels = draw()[:, :30]  # 90 bytes a row, and 2 that fill it up
    rows = b"".join(row[:, ::-1].tobytes() + b"\0\0" for row in pixels[::-1])
    header = b"BM" + struct.pack("<IHHI", 26 + len(rows), 0, 0, 26)
    data = header + struct.pack("<IHHHH", 12, 30, HEIGHT, 1, 24) + rows
    assert_same_picture(np.asarray(Image.open(io.BytesIO(data))), pixels)
    assert_same_picture(read_image(save(data)), pixels)


def test_webp_that_asks_to_be_shown_larger(save):
    data = bytearray(FORMATS["WebP lossy"])
    expected = as_rgb(Image.open(io.BytesIO(data)))
    struct.pack_into("<HH", data, 26, WIDTH | 0xC000, HEIGHT | 0xC000)  # 2 bits of scale
    assert_same_picture(read_image(save(data)), expected, atol=2)


@pytest.mark.parametrize(
    "name", ["two words.png", "图片.png", "фотография.png", "🐈.png", "#%&'é.png", "no_ending"]
)
def test_any_file_name_as_str_and_as_path(save, name):
    filename = save(FORMATS["PNG"], name)
    assert_same_picture(read_image(filename), draw())
    assert_same_picture(read_image(Path(filename)), draw())


@every_format
def test_the_content_decides_not_the_ending(save, name):
    expected = read_image(save(FORMATS[name]))
    for ending in ("txt", "jpg", "png", "tif"):
        assert_same_picture(read_image(save(FORMATS[name], f"picture.{ending}")), expected)


def as_keras(filename):
    return np.asarray(keras.utils.load_img(filename))


def test_where_keras_and_tensorflow_read_otherwise(save):
    """The table in helpers/README.md."""
    note = Image.Exif()
    note[0x0112] = 6
    for format in ("JPEG", "PNG", "WebP", "TIFF"):
        data = encode(COLOUR, format, exif=note)
        filename = save(data)
        assert read_image(filename).shape == (WIDTH, HEIGHT, 3)
        assert as_keras(filename).shape[0] == (WIDTH if format == "TIFF" else HEIGHT)
        if format != "TIFF":
            by_tensorflow = tf.io.decode_image(data, channels=3, expand_animations=False)
            assert by_tensorflow.shape[0] == HEIGHT
    grey = cv2.imencode(".png", np.full((3, 4), 300 << 4, np.uint16))[1].tobytes()
    filename = save(grey)
    with pytest.warns(UserWarning, match="nearly black"):
        assert (read_image(filename) == 300 >> 4).all()
    assert (as_keras(filename) == 255).all()
    assert (tf.io.decode_image(grey, channels=3).numpy() == 300 >> 4).all()
    for value in (-5, 300):
        for dtype in (np.int16, np.float32):
            file = io.BytesIO()
            tifffile.imwrite(file, np.full((3, 4), value, dtype))
            filename = save(file.getvalue())
            refused(filename)
            assert (as_keras(filename) == np.clip(value, 0, 255)).all()
            with pytest.raises(tf.errors.InvalidArgumentError):
                tf.io.decode_image(file.getvalue())


# ---- color_mode ----------------------------------------------------------------------------------

GREY_RECIPE, ALPHA_RECIPE = Recipe(color_mode="grayscale"), Recipe(color_mode="rgba")
every_recipe = pytest.mark.parametrize(
    "recipe", [GREY_RECIPE, ALPHA_RECIPE], ids=["grayscale", "rgba"]
)


def by_keras(filename, recipe):
    image = np.asarray(keras.utils.load_img(filename, color_mode=recipe.color_mode))
    return image[..., np.newaxis] if image.ndim == 2 else image


def png_chunk(name, content):
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )


def with_chunk(data, chunk):
    """Put a chunk into a PNG, before its pixels."""
    position = data.index(b"IDAT") - 4
    return data[:position] + chunk + data[position:]


BLACK_IS_NOTHING = png_chunk(b"tRNS", bytes(2))
TRANSPARENT = {
    "PNG": encode(COLOUR_ALPHA, "PNG"),
    "PNG grey": encode(GREY_ALPHA, "PNG"),
    "PNG palette": encode(PALETTE, "PNG", transparency=bytes(range(0, 128, 2))),
    "PNG one entry": encode(PALETTE, "PNG", transparency=3),
    "PNG one colour": encode(COLOUR, "PNG", transparency=COLOUR.getpixel((0, 0))),
    "PNG one grey": with_chunk(encode(GREY, "PNG"), BLACK_IS_NOTHING),
    "PNG one bit": with_chunk(encode(ONE_BIT, "PNG"), BLACK_IS_NOTHING),
    "PNG animated": encode(COLOUR_ALPHA, "PNG", save_all=True, append_images=[COLOUR_ALPHA]),
    "WebP": encode(COLOUR_ALPHA, "WebP", lossless=True, exact=True),
    "WebP lossy": encode(COLOUR_ALPHA, "WebP", quality=80),
    "TIFF": encode(COLOUR_ALPHA, "TIFF", compression="tiff_deflate"),
    "TIFF grey": encode(GREY_ALPHA, "TIFF"),
    "GIF": encode(PALETTE, "GIF", transparency=PALETTE.getpixel((0, 0))),
    "BMP": encode(COLOUR_ALPHA, "BMP"),
    "AVIF": encode(COLOUR_ALPHA, "AVIF"),
    "JPEG 2000": encode(COLOUR_ALPHA, "JPEG2000"),
}


@every_recipe
@every_format
def test_grey_and_opaque_as_keras(save, name, recipe):
    lossy = "JPEG" in name or name in ("WebP lossy", "WebP extended")
    image, doubt, _ = decode(FORMATS[name], name, recipe)
    expected = by_keras(save(FORMATS[name]), recipe)
    assert_same_picture(image, expected, atol=2 if lossy else recipe.channels == 1)
    assert doubt is None


@every_recipe
@pytest.mark.parametrize("name", TRANSPARENT)
def test_grey_and_transparency_as_keras(save, name, recipe):
    image, *_ = decode(TRANSPARENT[name], name, recipe)
    expected = by_keras(save(TRANSPARENT[name]), recipe)
    assert_same_picture(image, expected, atol=recipe.channels == 1)
    assert recipe.channels == 1 or expected[..., 3].min() < 255 or name == "BMP"


@every_recipe
@pytest.mark.parametrize("format", ["PNG", "BMP", "GIF", "TIFF", "JPEG", "WebP"])
@pytest.mark.parametrize(
    "image", [GREY, ONE_BIT, Image.linear_gradient("L")], ids=lambda image: image.mode
)
def test_grey_files_keep_their_values(image, format, recipe):
    if format == "WebP":
        data = encode(image.convert("RGB"), format, lossless=True)
    else:
        data = encode(image.convert("L") if format == "JPEG" else image, format)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("L"))
    result, *_ = decode(data, "grey", recipe)
    assert (result[..., : min(recipe.channels, 3)] == expected[..., np.newaxis]).all()
    assert recipe.channels == 1 or (result[..., 3] == 255).all()


def test_any_colour_becomes_grey_as_with_pillow():
    colours = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    image, *_ = decode(encode(Image.fromarray(colours), "PNG"), "colours", GREY_RECIPE)
    expected = np.asarray(Image.fromarray(colours).convert("L"))[..., np.newaxis]
    assert_same_picture(image, expected, atol=1)


@every_recipe
@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB"])
def test_other_colours(mode, recipe):
    data = encode(COLOUR.convert("CMYK") if mode == "CMYK" else COLOUR, "TIFF")
    if mode != "CMYK":
        data = encode(Image.fromarray(draw(), mode), "TIFF")
    expected = Image.fromarray(decode(data, mode)[0]).convert(
        "L" if recipe.channels == 1 else "RGBA"
    )
    image, *_ = decode(data, mode, recipe)
    expected = np.asarray(expected).reshape(HEIGHT, WIDTH, recipe.channels)
    assert_same_picture(image, expected, atol=1)


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_of_16_bits_with_alpha_the_upper_8_are_kept(format):
    pixels = np.random.default_rng(0).integers(0, 1 << 16, (5, 7, 4), np.uint16)
    data = with_16_bits("PNG", pixels)
    if format == "TIFF":
        file = io.BytesIO()
        tifffile.imwrite(file, pixels, photometric="rgb", extrasamples=["unassalpha"])
        data = file.getvalue()
    assert_same_picture(decode(data, "deep", ALPHA_RECIPE)[0], (pixels >> 8).astype(np.uint8))


def test_of_16_bits_of_grey_one_value_may_stand_for_nothing():
    pixels = np.arange(35, dtype=np.uint16).reshape(5, 7, 1) * 300
    chunk = png_chunk(b"tRNS", struct.pack(">H", 600))
    image, *_ = decode(with_chunk(with_16_bits("PNG", pixels), chunk), "deep", ALPHA_RECIPE)
    np.testing.assert_array_equal(image[..., :3], np.broadcast_to(pixels >> 8, (5, 7, 3)))
    np.testing.assert_array_equal(image[..., 3:], np.where(pixels == 600, 0, 255))


@every_recipe
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WebP", "TIFF"])
def test_every_mode_is_turned(format, orientation, recipe):
    note = Image.Exif()
    note[0x0112] = orientation
    picture = COLOUR if format == "JPEG" else COLOUR_ALPHA
    data = encode(picture, format, exif=note, **({"lossless": True} if format == "WebP" else {}))
    whole = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    expected = np.asarray(whole.convert("L" if recipe.channels == 1 else "RGBA"))
    image, *_ = decode(data, "turned", recipe)
    expected = expected.reshape(*expected.shape[:2], recipe.channels)
    assert_same_picture(image, expected, atol=2 if format == "JPEG" else recipe.channels == 1)


@pytest.mark.parametrize("name", ["PNG", "PNG palette", "WebP", "TIFF"])
def test_a_cut_file_with_alpha_is_refused(name):
    data = TRANSPARENT[name]
    last = len(data) - (4 if "PNG" in name else 0)  # there the checksum of an empty end follows
    for cut in sorted({*range(1, 60), *range(60, last, 37), *range(last - 20, last)}):
        with pytest.raises(ImageError):
            decode(data[:cut], name, ALPHA_RECIPE)


@pytest.mark.parametrize("name", ["PNG", "PNG palette"])
def test_no_bit_of_a_png_changes_its_pixels_or_alpha_unnoticed(name):
    whole = TRANSPARENT[name]
    expected = decode(whole, name, ALPHA_RECIPE)[0]
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 1 << position % 8
        try:
            image, *_ = decode(bytes(changed), name, ALPHA_RECIPE)
        except ImageError:
            continue
        assert_same_picture(image, expected)


@every_recipe
@pytest.mark.parametrize("name", TRANSPARENT)
def test_max_pixels_holds_in_every_mode(name, recipe):
    with pytest.raises(ImageError, match=f"claims {WIDTH} × {HEIGHT} pixels"):
        decode(TRANSPARENT[name], name, recipe._replace(max_pixels=HEIGHT * WIDTH - 1))


def test_pixels_of_a_pack_in_every_mode():
    pixels = draw()
    pixels.flags.writeable = False
    assert in_color_mode(pixels, Recipe()) is pixels
    for recipe in (GREY_RECIPE, ALPHA_RECIPE):
        expected, *_ = decode(FORMATS["PNG"], "the same", recipe)
        assert_same_picture(in_color_mode(pixels, recipe), expected)


def test_a_mask_in_a_pack_of_pixels_is_refused():
    with pytest.raises(ImageError, match=r"a\.pack#3: lies in a pack of pixels.*contents='files'"):
        in_color_mode(draw(), Recipe().for_masks("uint8", 0, None), "a.pack#3")


# ---- read_image: what is no picture --------------------------------------------------------------


def refused(filename):
    """Read a file that must be refused; return the error after a look at it."""
    with pytest.raises(ImageError) as caught:
        read_image(filename)
    error = caught.value
    assert error.filename == os.fspath(filename)
    assert error.reason and error.reason in str(error)
    assert reading.printable(error.filename) in str(error)
    return error


def test_image_error_survives_pickling(save):
    error = refused(save(b"", "図 1.png"))
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is ImageError
    assert (copy.filename, copy.reason, str(copy)) == (error.filename, error.reason, str(error))


def test_missing_file(tmp_path):
    error = refused(tmp_path / "gone.png")
    assert "cannot be opened (No such file" in error.reason
    assert isinstance(error.__cause__, FileNotFoundError)


def test_directory(tmp_path):
    assert "cannot be opened" in refused(tmp_path).reason


def test_empty_file(save):
    assert refused(save(b"")).reason == "is empty (0 bytes)"


def test_text_file(save):
    assert "no image" in refused(save(b"Not Found: the page has moved.\n" * 9, "x.jpg")).reason


@pytest.mark.parametrize("name", ["a\0b.png", "", "x" * 5000], ids=["null", "empty", "long"])
def test_impossible_name(name):
    assert "cannot be opened" in refused(name).reason


def test_permission_denied(save):
    filename = save(FORMATS["PNG"])
    Path(filename).chmod(0)
    if os.access(filename, os.R_OK):
        pytest.skip("this user may read every file")
    assert "Permission denied" in refused(filename).reason


@every_format
def test_a_cut_file_is_refused_wherever_it_is_cut(scratch_file, name):
    data = FORMATS[name]
    cuts = {*range(1, 60), *range(60, len(data), 37), *range(len(data) - 20, len(data))}
    if name == "GIF":
        cuts -= {len(data) - 1, len(data) - 2}  # after all pixels
    for cut in sorted(cuts):
        scratch_file.write_bytes(data[:cut])
        refused(scratch_file)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WebP", "TIFF", "BMP"])
@given(share=st.floats(0, 1, exclude_max=True))
@settings(max_examples=15, deadline=None)
def test_a_cut_photograph_is_refused(scratch_file, format, share):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8))
    data = encode(noise, format)
    scratch_file.write_bytes(data[: int(share * len(data))])
    refused(scratch_file)


@pytest.mark.parametrize("name", ["PNG", "PNG palette"])
def test_no_bit_of_a_png_changes_its_pixels_unnoticed(name):
    expected = decode(FORMATS[name], "whole")[0]
    for position in range(len(FORMATS[name])):
        for bit in range(8):
            changed = bytearray(FORMATS[name])
            changed[position] ^= 1 << bit
            try:
                image, *_ = decode(bytes(changed), "changed")
            except ImageError:
                continue
            assert_same_picture(image, expected)


STARTS = [data[:length] for data in FORMATS.values() for length in (2, 8, 16, 32)] + [
    b"", b"II*\0", b"MM\0*", b"II+\0", b"P6 ", b"P7\n", b"Pf\n", b"#?RADIANCE\n", b"Y\xa6j\x95",
    b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51", b"\0\0\0\x20ftypavif", b"<svg ", b"qoif",
]  # fmt: skip


def reads_or_refuses(path, data):
    """Read bytes as a picture: that succeeds, or raises ImageError."""
    path.write_bytes(data)
    try:
        image = read_image(path, max_pixels=1_000_000)  # so that no example takes long
    except ImageError as error:
        assert error.filename == str(path)
    else:
        assert image.dtype == np.uint8
        assert image.ndim == 3 and image.shape[2] == 3


@given(start=st.sampled_from(STARTS), rest=st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_read_or_refused(scratch_file, start, rest):
    reads_or_refuses(scratch_file, start + rest)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_picture_with_changed_bytes_is_read_or_refused(scratch_file, data):
    picture = bytearray(FORMATS[data.draw(st.sampled_from(sorted(FORMATS)))])
    changes = st.tuples(st.integers(0, min(120, len(picture) - 1)), st.integers(0, 255))
    for position, value in data.draw(st.lists(changes, min_size=1, max_size=5)):
        picture[position] = value
    reads_or_refuses(scratch_file, bytes(picture))


def test_cut_files_print_nothing_but_what_libraries_say(scratch_file, capfd):
    for data in FORMATS.values():
        for share in (0.1, 0.5, 0.9):
            scratch_file.write_bytes(data[: int(share * len(data))])
            refused(scratch_file)
    printed = capfd.readouterr()
    assert printed.out == ""
    libraries = ("libpng", "LZWDecode")
    assert [line for line in printed.err.splitlines() if not line.startswith(libraries)] == []


# ---- absurd sizes --------------------------------------------------------------------------------


def with_size(name, width, height):
    """Change the size that a picture's header claims."""
    data = bytearray(FORMATS[name])
    if name.startswith("PNG"):
        struct.pack_into(">II", data, 16, width, height)
        struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
    elif name.startswith("JPEG"):
        struct.pack_into(">HH", data, frame_header(data) + 5, height, width)
    elif name == "BMP":
        struct.pack_into("<ii", data, 18, width, height)
    elif name == "GIF":
        struct.pack_into("<HH", data, 6, width, height)
        picture = data.index(b",\0\0\0\0")
        struct.pack_into("<HH", data, picture + 5, width, height)
    elif name == "WebP lossy":
        struct.pack_into("<HH", data, 26, width, height)
    elif name == "WebP lossless":
        struct.pack_into("<I", data, 21, (width - 1) | (height - 1) << 14)
    elif name == "WebP extended":
        data[24:30] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    elif name.startswith("TIFF"):
        directory = struct.unpack_from("<I", data, 4)[0]
        for entry in range(struct.unpack_from("<H", data, directory)[0]):
            position = directory + 2 + 12 * entry
            tag = struct.unpack_from("<H", data, position)[0]
            if tag in (256, 257):
                struct.pack_into("<HII", data, position + 2, 4, 1, (width, height)[tag - 256])
    return bytes(data)


def frame_header(data):
    """Where a JPEG file says how large it is."""
    position = 2
    while data[position + 1] not in (0xC0, 0xC2):
        position += 2 + int.from_bytes(data[position + 2 : position + 4])
    return position


def jpeg_with(name, filling):
    """An absurd JPEG with bytes before its frame header, which decoders skip."""
    data = with_size(name, 30_000, 30_000)
    position = frame_header(data)
    return data[:position] + filling + data[position:]


ABSURD = {
    "PNG": with_size("PNG", 30_000, 30_000),
    "JPEG": with_size("JPEG", 30_000, 30_000),
    "JPEG progressive": with_size("JPEG progressive", 30_000, 30_000),
    "JPEG fill bytes": jpeg_with("JPEG", b"\xff\xff\xff"),
    "JPEG restart marker": jpeg_with("JPEG", b"\xff\xd0"),
    "JPEG stray bytes": jpeg_with("JPEG", b"\0\1\0"),
    "JPEG progressive, stray bytes": jpeg_with("JPEG progressive", b"\0\1\0"),
    "BMP": with_size("BMP", 30_000, 30_000),
    "BMP from the top": with_size("BMP", 30_000, -30_000),
    "GIF": with_size("GIF", 30_000, 30_000),
    "GIF wide": with_size("GIF", 40_000, 25_000),
    "GIF high": with_size("GIF", 25_000, 40_000),
    "GIF largest": with_size("GIF", 65_535, 65_535),
    "TIFF": with_size("TIFF", 30_000, 30_000),
    "TIFF LZW": with_size("TIFF LZW", 30_000, 30_000),
    "WebP lossy": with_size("WebP lossy", 16_383, 16_383),
    "WebP lossless": with_size("WebP lossless", 16_384, 16_384),
    "WebP extended": with_size("WebP extended", 30_000, 30_000),
}

# Reads the files named on the command line and writes what each took. The memory is limited, so
# that a check that fails does not take the machine with it.
CHILD = """
import json, sys
import resource
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
from helpers.images import reading
from helpers.images.reading import ImageError, read_image
def peak():
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes / 1024 / (1024 if sys.platform == "darwin" else 1)
read_image(sys.argv[1])
answers = []
for filename in sys.argv[2:]:
    before = peak()
    try:
        reason = f"read, {read_image(filename).shape}"
    except ImageError as error:
        reason = error.reason
    answers.append([reason, peak() - before])
print(json.dumps(answers))
"""


def read_in_child(folder, pictures):
    """Read pictures in another process: reason and megabytes of each."""
    pytest.importorskip("resource")
    names = [folder / str(number) for number in range(len(pictures) + 1)]
    for name, data in zip(names, [FORMATS["JPEG"], *pictures], strict=True):
        name.write_bytes(data)
    command = [sys.executable, "-c", CHILD, *map(str, names)]
    run = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=True, timeout=120
    )
    return json.loads(run.stdout)


@pytest.fixture(scope="module")
def absurd_answers(tmp_path_factory):
    answers = read_in_child(tmp_path_factory.mktemp("absurd"), ABSURD.values())
    return dict(zip(ABSURD, answers, strict=True))


@pytest.mark.parametrize("name", ABSURD)
def test_an_absurd_size_is_refused_before_memory_is_taken(absurd_answers, name):
    reason, megabytes = absurd_answers[name]
    assert "pixels" in reason and "read" not in reason
    assert megabytes < 100


@pytest.mark.parametrize(
    ("name", "claim"),
    [
        ("PNG", "30000 × 30000"),
        ("JPEG", "30000 × 30000"),
        ("JPEG progressive", "30000 × 30000"),
        ("JPEG fill bytes", "30000 × 30000"),
        ("BMP", "30000 × 30000"),
        ("GIF wide", "40000 × 25000"),
        ("GIF high", "25000 × 40000"),
        ("GIF largest", "65535 × 65535"),
        ("TIFF", "30000 × 30000"),
        ("WebP lossy", "16383 × 16383"),
        ("WebP lossless", "16384 × 16384"),
        ("WebP extended", "30000 × 30000"),
    ],
)
def test_the_refusal_gives_the_claimed_size(absurd_answers, name, claim):
    assert absurd_answers[name][0].startswith(f"claims {claim} pixels")


def test_a_size_that_only_opencv_refuses(save):
    assert "cannot be decoded" in refused(save(with_size("BMP", 2_000_000, 10))).reason


def test_a_damaged_chunk_length_of_a_png_takes_no_memory(tmp_path):
    pictures = []
    for chunk in (b"IDAT", b"PLTE"):
        data = bytearray(FORMATS["PNG palette"])
        struct.pack_into(">I", data, data.index(chunk) - 4, 0x7000_0000)
        pictures.append(data)
    for reason, megabytes in read_in_child(tmp_path, pictures):
        assert "read" not in reason
        assert megabytes < 100


def box(kind, content):
    return struct.pack(">I4s", 8 + len(content), kind) + content


@pytest.mark.parametrize(
    "data",
    [
        b"P6" + b"1" * 1_000_000,
        b"P6#" + b"1" * 2_000_000,
        b"\xff\xd8" + b"\xff" * 1_000_000,
        b"\xff\xd8" + bytes(1_000_000),
        box(b"ftyp", b"avif\0\0\0\0avif")
        + box(
            b"meta",
            bytes(4) + box(b"iloc", struct.pack(">IHH", 0, 0, 300) + b"\0\1\0\0\xff\xff" * 300),
        ),
    ],
    ids=["digits", "comment", "jpeg fill bytes", "jpeg zeros", "avif index"],
)
@pytest.mark.timeout(30)
def test_no_header_keeps_the_reader_busy(save, data):
    refused(save(data * 10))


@every_format
def test_max_pixels_is_the_first_size_still_read(save, name):
    filename = save(FORMATS[name])
    assert read_image(filename, max_pixels=HEIGHT * WIDTH).shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(ImageError) as caught:
        read_image(filename, max_pixels=HEIGHT * WIDTH - 1)
    claim = f"claims {WIDTH} × {HEIGHT} pixels, more than the 712 allowed (max_pixels)"
    assert caught.value.reason == claim


@pytest.mark.parametrize("name", ["JPEG", "PNG", "BMP", "WebP lossless"])
def test_what_is_more_than_opencv_takes_is_left_to_pillow(save, monkeypatch, name):
    filename = save(FORMATS[name])
    expected = read_image(filename)
    monkeypatch.setattr(reading, "OPENCVS_LIMIT", HEIGHT * WIDTH - 1)
    monkeypatch.setattr(reading, "_decode_plain", None)
    assert_same_picture(read_image(filename), expected)


# ---- names ---------------------------------------------------------------------------------------


def test_a_name_that_is_no_utf_8_is_escaped_in_the_message(tmp_path):
    name = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")
    error = refused(name)
    assert error.filename == name  # as it is, to find the file with
    assert str(error).startswith(f"{tmp_path}/caf\\udce9.png: cannot be opened")
    assert str(error).encode("utf-8")
