import io
import itertools
import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from drawn import (
    COLOUR,
    COLOUR_ALPHA,
    GREY,
    GREY_ALPHA,
    HEIGHT,
    ONE_BIT,
    PALETTE,
    WIDTH,
    encode,
)
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageOps
from test_tiff import grey_tiff

from helpers.images.masks import as_mask
from helpers.images.reading import ImageError, decode
from helpers.images.recipe import Recipe

CLASSES = np.random.default_rng(0).integers(0, 21, (HEIGHT, WIDTH), np.uint8)
DEEP = np.random.default_rng(0).integers(0, 1 << 16, (HEIGHT, WIDTH), np.uint16)
GREY_MASK = Image.fromarray(CLASSES)


def for_masks(dtype="uint8", **options):
    return Recipe(**options).for_masks(dtype, 0, None)


def read(data, dtype="uint8"):
    mask, doubt, draft = decode(data, "mask", for_masks(dtype))
    assert mask.dtype == dtype and mask.shape[2] == 1 and mask.flags.c_contiguous
    assert doubt is draft is None
    mask[0, 0] = 0  # can be written to
    return decode(data, "mask", for_masks(dtype))[0][..., 0]


def refused(data, dtype="uint8", **options):
    with pytest.raises(ImageError) as caught:
        decode(data, "mask.png", for_masks(dtype, **options))
    assert str(caught.value).startswith("mask.png: ")
    return caught.value.reason


def written(values, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, values, **options)
    return file.getvalue()


def with_palette(values):
    """As PASCAL VOC keeps its masks: indices, in colours of which some are equal."""
    image = Image.fromarray(values, "P")
    image.putpalette([128, 0, 0, 0, 128, 0, 128, 0, 0] * 85)
    return image


def grey_png(bits, packed):
    """A PNG of a few bits a pixel, which Pillow does not write."""
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, 0, 0, 0, 0)
    pixels = zlib.compress(
        b"".join(b"\0" + row[: -(-WIDTH * bits // 8)].tobytes() for row in packed)
    )
    chunks = [(b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )


# ---- kinds ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["PNG", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize(
    "image", [with_palette(CLASSES), PALETTE, GREY, GREY_MASK], ids=lambda image: image.mode
)
def test_indices_and_grey_values_come_as_they_are(format, image):
    values = read(encode(image, format, **({"optimize": False} if format == "GIF" else {})))
    np.testing.assert_array_equal(values, np.asarray(image))


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF"])
def test_one_bit_gives_0_and_1(format):
    np.testing.assert_array_equal(read(encode(ONE_BIT, format)), np.asarray(ONE_BIT))


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_are_not_scaled_up(bits):
    values = CLASSES % 2**bits
    np.testing.assert_array_equal(read(encode(with_palette(values), "PNG", bits=bits)), values)
    np.testing.assert_array_equal(read(grey_tiff(bits, values)), values)
    rows = np.pad(values, [(0, 0), (0, -WIDTH % 8)]).reshape(HEIGHT, -1, 8 // bits)
    packed = (rows << np.arange(8 - bits, -1, -bits)).sum(axis=2).astype(np.uint8)
    np.testing.assert_array_equal(read(grey_png(bits, packed)), values)


@pytest.mark.parametrize(
    "data", [encode(Image.fromarray(DEEP), "PNG"), written(DEEP), written(DEEP, byteorder=">")]
)
def test_16_bits(data):
    for dtype in ("uint16", "int32"):
        np.testing.assert_array_equal(read(data, dtype), DEEP)


@pytest.mark.parametrize(
    ("dtype", "byteorder"), [*itertools.product(["int8", "int16", "int32"], "<>"), ("uint32", "<")]
)
def test_tiff_of_other_whole_numbers(dtype, byteorder):
    values = np.random.default_rng(0).integers(0, 100, (5, 7)).astype(dtype)
    values[0] = -7 if dtype[0] == "i" else 7
    np.testing.assert_array_equal(read(written(values, byteorder=byteorder), "int32"), values)


@pytest.mark.parametrize(
    ("format", "mode"),
    [
        *itertools.product(["PNG", "TIFF", "BMP", "WebP"], ["RGB", "RGBA"]),
        ("PNG", "LA"),
        ("TIFF", "LA"),
    ],
)
def test_equal_channels_give_their_value(format, mode):
    options = {"lossless": True} if format == "WebP" else {}
    np.testing.assert_array_equal(read(encode(GREY_MASK.convert(mode), format, **options)), CLASSES)


def test_transparency_beside_values_is_dropped():
    np.testing.assert_array_equal(read(encode(GREY_ALPHA, "PNG")), np.asarray(GREY))


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "packbits"])
def test_compressed_tiff(compression):
    data = encode(GREY_MASK, "TIFF", compression=compression)
    np.testing.assert_array_equal(read(data), CLASSES)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
@pytest.mark.parametrize(
    "image", [with_palette(CLASSES), ONE_BIT, Image.fromarray(DEEP)], ids=lambda image: image.mode
)
def test_masks_are_turned_as_pictures_are(format, orientation, image):
    note = Image.Exif()
    note[0x0112] = orientation
    data = encode(image, format, exif=note)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    np.testing.assert_array_equal(read(data, "uint16"), expected)


# ---- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("JPEG", encode(GREY_MASK, "JPEG", quality=100)),
        ("WEBP", encode(GREY_MASK.convert("RGB"), "WebP", quality=100)),
        ("WEBP", encode(COLOUR_ALPHA, "WebP")),
        ("TIFF with lossy compression", encode(GREY_MASK, "TIFF", compression="jpeg")),
        ("JPEG2000", encode(GREY_MASK, "JPEG2000")),
        ("AVIF", encode(GREY_MASK.convert("RGB"), "AVIF")),
        ("PPM", encode(GREY_MASK, "PPM")),
    ],
)
def test_what_may_change_values_is_refused(kind, data):
    assert refused(data) == (
        f"is a mask in {kind}, which need not keep values as they were saved: save masks as PNG, "
        f"or pass Masks(..., read=function)"
    )


@pytest.mark.parametrize("image", [COLOUR, COLOUR_ALPHA], ids=["RGB", "RGBA"])
def test_colours_are_no_numbers(image):
    reason = refused(encode(image, "PNG"))
    assert "holds colours" in reason and "or pass Masks(..., read=function)" in reason


def test_one_pixel_in_colour_is_enough():
    pixels = np.repeat(CLASSES[..., np.newaxis], 3, axis=2)
    for channel in (1, 2):
        coloured = pixels.copy()
        coloured[-1, -1, channel] += 1
        assert "holds colours" in refused(encode(Image.fromarray(coloured), "PNG"))


def test_what_only_transparency_says_is_not_lost():
    image = Image.merge("LA", [Image.new("L", GREY.size, 7), GREY])
    for mode in ("LA", "RGBA"):
        assert "differs in transparency only" in refused(encode(image.convert(mode), "PNG"))


def test_several_channels_of_16_bits_or_of_another_kind_are_refused():
    deep = cv2.imencode(".png", np.repeat(DEEP[..., np.newaxis], 3, axis=2))[1].tobytes()
    tiff = written(np.repeat(DEEP[..., np.newaxis], 3, axis=2), photometric="rgb")
    for data in (deep, tiff):
        assert "several channels (in Pillow's mode 'RGB', of 16 bits each)" in refused(data)
    assert "several channels (in Pillow's mode 'CMYK'" in refused(
        encode(COLOUR.convert("CMYK"), "TIFF")
    )


def test_fractions_are_refused():
    assert "of type float32, and a mask is of whole numbers" in refused(
        written(np.ones((3, 4), "f4"))
    )


@pytest.mark.parametrize(
    ("largest", "dtype", "larger"),
    [
        (256, "uint8", "uint16"),
        (65_535, "uint8", "uint16"),
        (65_536, "uint16", "int32"),
        (-1, "uint8", "int32"),
    ],
)
def test_values_that_a_type_cannot_hold(largest, dtype, larger):
    values = np.array([[0, largest]], np.int32)
    reason = refused(written(values), dtype)
    assert reason == (
        f"holds values from {values.min():,} to {values.max():,}, which dtype='{dtype}' cannot "
        f"keep: pass Masks(..., dtype='{larger}')"
    )
    np.testing.assert_array_equal(read(written(values), larger), values)


def test_values_that_no_type_can_hold():
    reason = refused(written(np.full((3, 4), 1 << 31, np.uint32)), "int32")
    assert "to 2,147,483,648, which dtype='int32' cannot keep: pass Masks(..., read=" in reason
    assert "numbers them anew" in reason


@pytest.mark.parametrize(
    "image", [with_palette(CLASSES), Image.fromarray(DEEP)], ids=lambda image: image.mode
)
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_max_pixels(format, image):
    data = encode(image, format)
    decode(data, "mask", for_masks("uint16", max_pixels=HEIGHT * WIDTH))
    reason = refused(data, "uint16", max_pixels=HEIGHT * WIDTH - 1)
    assert reason.startswith(f"claims {WIDTH} × {HEIGHT} pixels")


@pytest.mark.parametrize(
    "data",
    [encode(with_palette(CLASSES), format) for format in ("PNG", "BMP", "TIFF")]
    + [encode(GREY_MASK, "TIFF", compression="tiff_deflate")],
)
def test_a_cut_mask_is_refused_or_lacks_nothing(data):
    for cut in sorted({*range(1, 60), *range(60, len(data), 37)}):
        refused(data[:cut])
    for cut in range(len(data) - 20, len(data)):  # resolutions, filling, the end's own checksum
        try:
            mask, *_ = decode(data[:cut], "mask", for_masks())
        except ImageError:
            continue
        np.testing.assert_array_equal(mask[..., 0], CLASSES)


@pytest.mark.parametrize("image", [with_palette(CLASSES), GREY_MASK], ids=lambda image: image.mode)
def test_no_bit_of_a_png_changes_a_mask_unnoticed(image):
    whole = encode(image, "PNG")
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 1 << position % 8
        try:
            mask, *_ = decode(bytes(changed), "mask", for_masks())
        except ImageError:
            continue
        np.testing.assert_array_equal(mask[..., 0], CLASSES)


# ---- as_mask -------------------------------------------------------------------------------------

whole_numbers = arrays.arrays(
    st.sampled_from(["bool", "i1", "u1", ">i2", "<u2", "i4", "u4", "i8", "u8"]),
    arrays.array_shapes(min_dims=2, max_dims=3),
)


@given(whole_numbers, st.sampled_from(["uint8", "uint16", "int32"]))
def test_values_are_kept_or_refused(values, dtype):
    try:
        mask = as_mask(values, dtype)
    except ValueError as error:
        assert (values.astype(dtype).astype(object) != values.astype(object)).any()
        assert f"{int(values.max()):,}" in str(error)
    else:
        assert mask.dtype == np.dtype(dtype)
        assert (mask.astype(object) == values.astype(object)).all()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64", "datetime64[s]"])
def test_other_values_are_refused_with_a_hint(dtype):
    with pytest.raises(ValueError, match=r"whole numbers: .* ends with \.astype\('uint16'\)"):
        as_mask(np.zeros((3, 4), dtype), "uint16")
