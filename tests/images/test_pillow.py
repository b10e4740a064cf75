import io
import struct

import keras
import numpy as np
import pytest
from drawn import COLOUR, COLOUR_ALPHA, HEIGHT, PALETTE, WIDTH, draw, encode
from PIL import Image, ImageOps, features

from helpers.images.reading import ImageError, decode

PICTURE = draw()


def read(data):
    return decode(data, "a picture")[0]


def as_keras(save, data):
    return np.asarray(keras.utils.load_img(save(data)))


# ---- animations and transparency: as Keras and Pillow --------------------------------------------


def test_the_first_image_of_an_animated_png_that_is_no_part_of_it(save):
    data = encode(
        COLOUR, "PNG", save_all=True, default_image=True,
        append_images=[ImageOps.flip(COLOUR), ImageOps.mirror(COLOUR)],
    )  # fmt: skip
    assert b"acTL" in data
    np.testing.assert_array_equal(read(data), PICTURE)
    np.testing.assert_array_equal(read(data), as_keras(save, data))


@pytest.mark.parametrize("format", ["GIF", "PNG", "TIFF", "WebP"])
def test_alpha_is_dropped_as_keras_drops_it(save, format):
    options = {"lossless": True, "exact": True} if format == "WebP" else {}
    data = encode(COLOUR_ALPHA, format, **options)
    np.testing.assert_array_equal(read(data), as_keras(save, data))


def test_a_gif_with_a_transparent_colour_and_a_background(save):
    data = encode(PALETTE, "GIF", transparency=PALETTE.getpixel((0, 0)), background=5)
    np.testing.assert_array_equal(read(data), as_keras(save, data))


def test_an_animated_gif_whose_pictures_differ_in_transparency(save):
    data = encode(PALETTE, "GIF", save_all=True, append_images=[ImageOps.flip(PALETTE)], disposal=2)
    np.testing.assert_array_equal(read(data), as_keras(save, data))


# ---- BMP -----------------------------------------------------------------------------------------

MASKS = {
    "BGRX": (0xFF0000, 0xFF00, 0xFF),
    "RGBX": (0xFF, 0xFF00, 0xFF0000),
    "XBGR": (0xFF000000, 0xFF0000, 0xFF00),
    "XRGB": (0xFF00, 0xFF0000, 0xFF000000),
    "10 bits": (0x3FF00000, 0xFFC00, 0x3FF),
    "565": (0xF800, 0x7E0, 0x1F),
    "555": (0x7C00, 0x3E0, 0x1F),
    "444": (0xF00, 0xF0, 0xF),
}


def bmp(header, bits, pixels, compression=0, masks=(0, 0, 0), palette=b"", start=None):
    masks = struct.pack("<III", *masks)
    info = struct.pack("<IiiHHIIiiII", header, WIDTH, HEIGHT, 1, bits, compression, 0, 0, 0, 0, 0)
    if header > 40:
        info = (info + masks).ljust(header, b"\0")
    elif compression == 3:
        info += masks
    start = start or 14 + len(info) + len(palette)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, start) + info + palette + pixels


def with_masks(header, bits, masks):
    """A BMP whose masks say where each colour lies, and the picture that it shows."""
    values = np.zeros((HEIGHT, WIDTH), np.uint32)
    shown = np.empty((HEIGHT, WIDTH, 3))
    for channel, mask in enumerate(masks):
        shift, largest = (mask & -mask).bit_length() - 1, 2 ** mask.bit_count() - 1
        value = PICTURE[..., channel].astype(np.uint32) * largest // 255
        values |= value << np.uint32(shift)
        shown[..., channel] = value * 255 / largest
    rows = values[::-1].astype(f"<u{bits // 8}")
    rows = np.pad(rows, [(0, 0), (0, -WIDTH * bits // 8 % 4 * 8 // bits)])
    return bmp(header, bits, rows.tobytes(), 3, masks), shown


@pytest.mark.parametrize("header", [40, 52, 56, 108, 124])
@pytest.mark.parametrize("name", MASKS)
def test_bitfields_of_bmp_are_read_right_or_refused(name, header):
    bits = 16 if name.isdigit() else 32
    data, shown = with_masks(header, bits, MASKS[name])
    try:
        image = read(data)
    except ImageError as error:
        assert "Unsupported BMP bitfields layout" in error.reason
        assert name not in ("BGRX", "XBGR", "565", "555")
    else:
        np.testing.assert_allclose(image, shown, rtol=0, atol=1.01)


INDICES = np.asarray(COLOUR.quantize(16))
COLOURS = np.array(COLOUR.quantize(16).getpalette()[:48]).reshape(16, 3)
PALETTE_BYTES = np.pad(COLOURS[:, ::-1].astype(np.uint8), [(0, 0), (0, 1)]).tobytes()


def test_a_bmp_whose_pixels_begin_within_its_palette():
    rows = np.pad(INDICES[::-1], [(0, 0), (0, -WIDTH % 4)])
    data = bmp(40, 8, rows.tobytes(), palette=PALETTE_BYTES, start=14 + 40 + len(PALETTE_BYTES))
    np.testing.assert_array_equal(read(data), COLOURS[INDICES])


@pytest.mark.parametrize("padding", [0, -WIDTH % 4], ids=["as long as the picture", "padded"])
def test_bmp_with_runs_of_equal_pixels(padding):
    rows = np.pad(INDICES[::-1], [(0, 0), (0, padding)])
    runs = b"".join(b"".join(bytes([1, index]) for index in row) + b"\0\0" for row in rows.tolist())
    palette = PALETTE_BYTES + bytes(4 * 240)
    data = bmp(40, 8, runs[:-2] + b"\0\1", compression=1, palette=palette)
    np.testing.assert_array_equal(read(data), COLOURS[INDICES])


# ---- other kinds ---------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["AVIF", "JPEG2000", "PPM"])
def test_kinds_that_only_pillow_reads(format):
    data = encode(COLOUR, format)
    np.testing.assert_array_equal(read(data), Image.open(io.BytesIO(data)).convert("RGB"))


def containers(major, *compatible):
    """The first box of an AVIF or HEIC file."""
    brands = major + bytes(4) + b"".join(compatible)
    return struct.pack(">I", 8 + len(brands)) + b"ftyp" + brands + bytes(99)


def refusal(data):
    with pytest.raises(ImageError) as caught:
        read(data)
    return caught.value.reason


@pytest.mark.parametrize("major", [b"heic", b"heix", b"hevc", b"mif1", b"msf1"])
def test_heic_is_refused_with_what_reads_it(major):
    for data in (containers(major, b"mif1", b"heic", b"miaf"), containers(major)):
        assert refusal(data) == (
            "is HEIC, which needs the package pillow-heif: pip install pillow-heif, and pass "
            "read=lambda name: np.asarray(pillow_heif.open_heif(name))"
        )


def test_avif_whose_first_brand_is_that_of_its_container():
    data = encode(COLOUR, "AVIF")
    assert data[8:12] == b"avif" and b"mif1" in data[16:32]
    np.testing.assert_array_equal(read(data[:8] + b"mif1" + data[12:]), read(data))


def test_avif_without_its_decoder(monkeypatch):
    monkeypatch.setattr(features, "check", lambda name: name != "avif")
    assert "Pillow was built without: pip install --upgrade" in refusal(encode(COLOUR, "AVIF"))


def test_films_are_no_pictures():
    assert "is no image of a kind that is read here" in refusal(containers(b"isom", b"mp42"))


def test_a_ppm_of_16_bits():
    values = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) * 90
    data = b"P5 %d %d 65535\n" % (WIDTH, HEIGHT) + values.astype(">u2").tobytes()
    np.testing.assert_array_equal(read(data)[..., 0], values >> 8)


def test_a_limit_of_pillows_own_is_not_asked(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    for format in ("TIFF", "GIF"):
        assert read(encode(PALETTE, format)).shape == (HEIGHT, WIDTH, 3)
    assert Image.MAX_IMAGE_PIXELS == 10
