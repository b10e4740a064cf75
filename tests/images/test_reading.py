import io
import json
import math
import os
import pickle
import struct
import subprocess
import sys
import threading
import time
import zlib
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from skimage.transform import resize

from helpers.images import batches as images
from helpers.images.batches import (
    BatchRequest,
    ImageError,
    LoadedBatch,
    aligned_empty,
    expanded,
    load_batch,
    load_smallest,
    read_image,
    resize_image,
)
from helpers.images.laps import WORK

# ---- pictures to read ----------------------------------------------------------------------------

HEIGHT, WIDTH = 23, 31  # neither equal nor even: a turned or padded picture shows


def draw():
    """Slopes in every channel, and a block with hard edges."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    picture = np.dstack([8 * x, 11 * y, 4 * (x + y)]).astype(np.uint8)
    picture[5:9, 6:12] = 250, 10, 20
    return picture


COLOUR = Image.fromarray(draw())
GREY = COLOUR.convert("L")
PALETTE = COLOUR.quantize(64)
ONE_BIT = GREY.convert("1")
ALPHA = Image.fromarray(np.tile(np.arange(1, WIDTH + 1, dtype=np.uint8) * 8, (HEIGHT, 1)))
COLOUR_ALPHA = Image.merge("RGBA", [*COLOUR.split(), ALPHA])
GREY_ALPHA = Image.merge("LA", [GREY, ALPHA])


def encode(image, format, **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def as_rgb(image):
    """What Pillow makes of a picture."""
    return np.asarray(image.convert("RGB"))


FORMATS = {
    "PNG": encode(COLOUR, "PNG"),
    "PNG palette": encode(PALETTE, "PNG"),
    "JPEG": encode(COLOUR, "JPEG", quality=90),
    "JPEG progressive": encode(COLOUR, "JPEG", progressive=True),
    "BMP": encode(COLOUR, "BMP"),
    "GIF": encode(PALETTE, "GIF"),
    "WebP lossy": encode(COLOUR, "WebP", quality=80),
    "WebP lossless": encode(COLOUR, "WebP", lossless=True),
    "WebP extended": encode(COLOUR_ALPHA, "WebP", quality=80),
    "TIFF": encode(COLOUR, "TIFF"),
    "TIFF LZW": encode(COLOUR, "TIFF", compression="tiff_lzw"),
}

every_format = pytest.mark.parametrize("name", FORMATS)


@pytest.fixture
def save(tmp_path):
    """Write bytes to a file and return its name."""

    def save(data, name="picture"):
        path = tmp_path / name
        path.write_bytes(data)
        return str(path)

    return save


@pytest.fixture(scope="module")
def scratch_file(tmp_path_factory):
    """One file for all the examples of a property."""
    return tmp_path_factory.mktemp("scratch") / "picture"


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
    rounded = (format, channels) == ("TIFF", 3)  # its decoder rounds; the others cut off
    assert_same_picture(read_image(save(data)), expected, atol=int(rounded))


@pytest.mark.parametrize("format", ["PNG", "BMP", "WebP"])
def test_alpha_is_dropped(save, format):
    options = {"lossless": True, "exact": True} if format == "WebP" else {}
    assert_same_picture(read_image(save(encode(COLOUR_ALPHA, format, **options))), draw())


def test_grey_with_alpha_is_dropped_too(save):
    assert_same_picture(read_image(save(encode(GREY_ALPHA, "PNG"))), as_rgb(GREY))


def test_a_transparent_palette_entry_of_a_png_keeps_its_colour(save):
    data = encode(PALETTE, "PNG", transparency=PALETTE.getpixel((0, 0)))
    assert_same_picture(read_image(save(data)), as_rgb(PALETTE))


def test_a_transparent_palette_entry_of_a_gif_shows_the_background(save):
    transparent = PALETTE.getpixel((0, 0))
    data = encode(PALETTE, "GIF", transparency=transparent, background=5)
    expected = as_rgb(PALETTE).copy()
    expected[np.asarray(PALETTE) == transparent] = PALETTE.getpalette()[15:18]
    assert_same_picture(read_image(save(data)), expected)


def test_tiff_with_alpha_is_multiplied(save):
    expected = np.rint(draw() * (np.asarray(ALPHA)[..., np.newaxis] / 255)).astype(np.uint8)
    assert_same_picture(read_image(save(encode(COLOUR_ALPHA, "TIFF"))), expected, atol=1)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WebP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_carried_out(save, format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"WebP": {"lossless": True}, "JPEG": {"quality": 95}}.get(format, {})
    data = encode(COLOUR, format, exif=exif, **options)
    expected = as_rgb(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert expected.shape[0] == (HEIGHT if orientation <= 4 else WIDTH)
    assert_same_picture(read_image(save(data)), expected, atol=2 if format == "JPEG" else 0)


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


# ---- read_image: what is no picture --------------------------------------------------------------


def refused(filename):
    """Read a file that must be refused; return the error after a look at it."""
    with pytest.raises(ImageError) as caught:
        read_image(filename)
    error = caught.value
    assert error.filename == os.fspath(filename)
    assert error.reason and error.reason in str(error)
    assert error.filename in str(error)
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
    assert "no picture" in refused(save(b"Not Found: the page has moved.\n" * 9, "x.jpg")).reason


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


STARTS = [data[:length] for data in FORMATS.values() for length in (2, 8, 16, 32)] + [
    b"", b"II*\0", b"MM\0*", b"II+\0", b"P6 ", b"P7\n", b"Pf\n", b"#?RADIANCE\n", b"Y\xa6j\x95",
    b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51", b"\0\0\0\x20ftypavif", b"<svg ", b"qoif",
]  # fmt: skip


def reads_or_refuses(path, data):
    """Read bytes as a picture: that succeeds, or raises ImageError."""
    path.write_bytes(data)
    with mock.patch.object(images, "MAX_PIXELS", 1_000_000):  # so that no example takes long
        try:
            image = read_image(path)
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


def test_cut_files_print_nothing_but_what_libpng_says(scratch_file, capfd):
    for data in FORMATS.values():
        for share in (0.1, 0.5, 0.9):
            scratch_file.write_bytes(data[: int(share * len(data))])
            refused(scratch_file)
    printed = capfd.readouterr()
    assert printed.out == ""
    assert [line for line in printed.err.splitlines() if not line.startswith("libpng")] == []


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
from helpers.images.batches import ImageError, read_image
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
def test_max_pixels_is_the_first_size_still_read(save, monkeypatch, name):
    filename = save(FORMATS[name])
    monkeypatch.setattr(images, "MAX_PIXELS", HEIGHT * WIDTH)
    assert read_image(filename).shape == (HEIGHT, WIDTH, 3)
    monkeypatch.setattr(images, "MAX_PIXELS", HEIGHT * WIDTH - 1)
    assert refused(filename).reason.startswith(
        f"claims {WIDTH} × {HEIGHT} pixels, more than the 712"
    )


# ---- resize_image --------------------------------------------------------------------------------


def reference(image, image_size):
    """What scikit-image makes of it."""
    shrinks = image.shape[0] > image_size[0] or image.shape[1] > image_size[1]
    return resize(image, image_size, mode="edge", anti_aliasing=shrinks)


def paint(kind, height, width, seed):
    """Content of a kind that is hard to resize."""
    rng = np.random.default_rng(seed)
    if kind == "noise":
        return rng.integers(0, 256, (height, width, 3), np.uint8)
    if kind == "stripes":  # of one pixel: the hardest there are
        y, x = np.mgrid[:height, :width]
        return np.dstack([y % 2, x % 2, (x + y) % 2]).astype(np.uint8) * 255
    picture = np.full((height, width, 3), rng.integers(0, 256, 3), np.uint8)
    for _ in range(3):
        top, left = rng.integers(0, [height, width])
        picture[top:, left:] = rng.choice([0, 255], 3)
    return picture


sides = st.integers(1, 40) | st.integers(1, 300)
sizes = st.tuples(sides, sides)
kinds = st.sampled_from(["noise", "stripes", "edges"])


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


# ---- load_batch ----------------------------------------------------------------------------------


@pytest.fixture
def pictures(save):
    """Five files of different sizes and kinds."""
    names = []
    for number, (height, width) in enumerate([(20, 30), (32, 32), (60, 10), (1, 1), (70, 90)]):
        image = Image.fromarray(paint("noise", height, width, seed=number))
        names.append(save(encode(image, "PNG"), f"{number}.png"))
    return names


@pytest.fixture
def broken(save):
    return save(FORMATS["PNG"][:100], "broken.png")


SIZE = (24, 28)


def test_load_batch_keeps_the_order(pictures):
    for names in (pictures, pictures[::-1], [pictures[1]] * 3):
        loaded = load_batch(BatchRequest(names, SIZE))
        assert isinstance(loaded, LoadedBatch)
        assert loaded.images.shape == (len(names), *SIZE, 3)
        assert loaded.images.dtype == np.float32
        assert loaded.images.ctypes.data % 64 == 0
        assert (loaded.positions, loaded.errors) == (list(range(len(names))), [])
        for row, name in zip(loaded.images, names, strict=True):
            expected = reference(np.asarray(Image.open(name)), SIZE)
            np.testing.assert_allclose(row, expected, rtol=0, atol=1e-5)


@given(shape=sizes, image_size=sizes, kind=kinds)
@settings(max_examples=25, deadline=None)
def test_load_batch_of_uint8_rounds(scratch_file, shape, image_size, kind):
    image = paint(kind, *shape, seed=5)
    scratch_file.write_bytes(encode(Image.fromarray(image), "BMP"))
    (row,), *_ = load_batch(BatchRequest([str(scratch_file)], image_size, "uint8"))
    assert row.dtype == np.uint8
    np.testing.assert_array_equal(row, np.rint(255 * resize_image(image, image_size)))
    expected = 255 * reference(image, image_size)
    assert np.abs(row - np.rint(expected)).max() <= 1
    clear = np.abs(expected % 1 - 0.5) > 0.003  # neither this side of one half nor that
    np.testing.assert_array_equal(row[clear], np.rint(expected[clear]))


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_load_batch_writes_to_the_array_given(pictures, dtype):
    request = BatchRequest(pictures, SIZE, dtype)
    images = np.full(request.shape, 77, dtype)
    loaded = load_batch(request, images)
    assert np.shares_memory(loaded.images, images)
    np.testing.assert_array_equal(images, load_batch(request).images)


def test_load_batch_raises_and_names_the_file(pictures, broken):
    with pytest.raises(ImageError) as caught:
        load_batch(BatchRequest([*pictures, broken], SIZE))
    assert caught.value.filename == broken


@pytest.mark.parametrize("place", [0, 2, 5])
def test_skip_errors_leaves_out_and_reports(pictures, broken, tmp_path, place):
    gone = str(tmp_path / "gone.png")
    names = [*pictures[:place], broken, gone, *pictures[place:]]
    loaded = load_batch(BatchRequest(names, SIZE, skip_errors=True))
    assert [names[position] for position in loaded.positions] == pictures
    assert [error.filename for error in loaded.errors] == [broken, gone]
    assert all(isinstance(error, ImageError) for error in loaded.errors)
    np.testing.assert_array_equal(loaded.images, load_batch(BatchRequest(pictures, SIZE)).images)


def test_a_batch_with_every_file_broken_raises(broken, tmp_path):
    names = [broken, str(tmp_path / "gone.png")]
    with pytest.raises(ImageError, match="none of the 2 files") as caught:
        load_batch(BatchRequest(names, SIZE, skip_errors=True))
    assert caught.value.filename == broken


# ---- augment -------------------------------------------------------------------------------------


def augmented(names, augment, dtype="float32", **options):
    seeds = [(7, 0, number) for number in range(len(names))]
    return load_batch(BatchRequest(names, SIZE, dtype, augment, seeds, **options))


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_augment_gets_the_resized_picture_and_its_own_generator(pictures, broken, dtype):
    received = []

    def augment(image, rng):
        received.append((image.copy(), rng.random(5)))
        return image

    augmented([pictures[0], broken, *pictures[1:]], augment, dtype, skip_errors=True)
    plain = load_batch(BatchRequest(pictures, SIZE, dtype)).images
    assert [image.dtype for image, _ in received] == [plain.dtype] * 5
    np.testing.assert_array_equal([image for image, _ in received], plain)
    # Position 1 is the broken file: its seed is nobody else's.
    expected = [np.random.default_rng((7, 0, number)).random(5) for number in (0, 2, 3, 4, 5)]
    np.testing.assert_array_equal([numbers for _, numbers in received], expected)


def in_place(image, rng):
    image *= 0.5
    return image


@pytest.mark.parametrize(
    ("augment", "expected"),
    [
        (in_place, lambda batch: batch * np.float32(0.5)),
        (lambda image, rng: image * np.float32(0.5), lambda batch: batch * np.float32(0.5)),
        (lambda image, rng: image.astype(float), lambda batch: batch),
        (lambda image, rng: image.tolist(), lambda batch: batch),
        (lambda image, rng: image[:, ::-1], lambda batch: batch[:, :, ::-1]),
        (lambda image, rng: image[::-1], lambda batch: batch[:, ::-1]),
        (lambda image, rng: np.roll(image, 3, axis=0), lambda batch: np.roll(batch, 3, axis=1)),
    ],
    ids=["in place", "new array", "float64", "list", "flip", "upside down", "roll"],
)
def test_augment_may_change_the_picture_or_return_another(pictures, augment, expected):
    plain = load_batch(BatchRequest(pictures, SIZE)).images
    np.testing.assert_array_equal(augmented(pictures, augment).images, expected(plain))


def test_augment_that_flips_uint8(pictures):
    plain = load_batch(BatchRequest(pictures, SIZE, "uint8")).images
    flipped = augmented(pictures, lambda image, rng: image[:, ::-1], "uint8").images
    np.testing.assert_array_equal(flipped, plain[:, :, ::-1])


@pytest.mark.parametrize(
    ("dtype", "augment"),
    [
        ("float32", lambda image, rng: None),
        ("float32", lambda image, rng: image[:-1]),
        ("float32", lambda image, rng: image[..., 0]),
        ("float32", lambda image, rng: image.mean()),
        ("float32", lambda image, rng: (255 * image).astype(np.uint8)),
        ("uint8", lambda image, rng: image / 255),
        ("uint8", lambda image, rng: image.astype(int) + 300),
    ],
    ids=["nothing", "too small", "no channels", "number", "uint8", "float", "int"],
)
def test_augment_that_returns_no_such_picture(pictures, dtype, augment):
    with pytest.raises(RuntimeError, match=r"expected an? .* received") as caught:
        augmented(pictures[1:2], augment, dtype)
    assert pictures[1] in str(caught.value)


def test_augment_that_raises(pictures):
    def augment(image, rng):
        raise ZeroDivisionError("too bright")

    with pytest.raises(RuntimeError, match="ZeroDivisionError: too bright") as caught:
        augmented(pictures[2:3], augment)
    assert pictures[2] in str(caught.value)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


# ---- times ---------------------------------------------------------------------------------------


def slowed(function):
    def slow(*arguments, **options):
        time.sleep(0.01)
        return function(*arguments, **options)

    return slow


SLOW = {
    "read": lambda patch: patch.setattr(images, "open", slowed(open), raising=False),
    "decode": lambda patch: patch.setattr(cv2, "imdecode", slowed(cv2.imdecode)),
    "resize": lambda patch: patch.setattr(images, "resize_image", slowed(images.resize_image)),
}


def nothing(image, rng):
    return image


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("kind", WORK)
def test_time_is_counted_as_the_kind_of_work_that_took_it(pictures, monkeypatch, kind, dtype):
    SLOW.get(kind, lambda patch: None)(monkeypatch)
    augment = slowed(nothing) if kind == "augment" else nothing
    seconds = augmented(pictures, augment, dtype).times.seconds
    assert list(seconds) == list(WORK)
    assert seconds[kind] >= 0.01 * len(pictures)
    assert all(seconds[other] < seconds[kind] for other in WORK if other != kind)
    assert all(seconds[other] > 0 for other in WORK)


def test_times_add_up_to_what_passed(pictures):
    start = time.perf_counter()
    times = augmented(pictures, slowed(nothing)).times
    passed = time.perf_counter() - start
    assert start <= times.start
    assert times.start + sum(times.seconds.values()) <= start + passed
    assert 0.01 * len(pictures) <= sum(times.seconds.values())


def test_without_augment_no_time_is_counted_for_it(pictures):
    assert load_batch(BatchRequest(pictures, SIZE)).times.seconds["augment"] == 0


def test_times_tell_who_made_a_batch(pictures):
    request = BatchRequest(pictures, SIZE)
    with ThreadPoolExecutor(1) as executor:
        thread = executor.submit(threading.get_ident).result(timeout=60)
        times = executor.submit(load_batch, request).result(timeout=60).times
    assert (times.process, times.thread) == (os.getpid(), thread)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        process = executor.submit(os.getpid).result(timeout=60)
        start = time.perf_counter()
        loaded = executor.submit(load_batch, request).result(timeout=60)
    assert loaded.times.process == process != os.getpid()
    assert start <= loaded.times.start <= time.perf_counter()  # the same clock


def test_times_tell_for_how_long_a_core_computed(pictures):
    def compute(image, rng):
        end = time.thread_time() + 0.01
        while time.thread_time() < end:
            pass
        return image

    assert augmented(pictures, compute).times.cpu >= 0.01 * len(pictures)
    times = augmented(pictures, slowed(nothing)).times
    assert times.cpu < sum(times.seconds.values())


def test_time_for_a_file_that_is_skipped_is_counted(pictures, broken, tmp_path, monkeypatch):
    gone = str(tmp_path / "gone.png")
    names = [broken, *pictures, broken, gone]
    plain = load_batch(BatchRequest(names, SIZE, skip_errors=True)).times
    assert all(plain.seconds[kind] > 0 for kind in ("read", "decode", "resize"))
    SLOW["read"](monkeypatch)
    loaded = load_batch(BatchRequest(names, SIZE, skip_errors=True))
    assert len(loaded.positions) == len(pictures)
    # All but the last file were opened; how long the last one took goes to what comes next.
    assert loaded.times.seconds["read"] >= 0.01 * (len(names) - 1)


# ---- over a network ------------------------------------------------------------------------------


def travelled(request):
    """The batch, by way of a network; and the arrays that travelled."""
    smallest = load_smallest(request)
    loaded = expanded(smallest, request, aligned_empty(request.shape, request.dtype))
    return loaded, pickle.loads(smallest).images


def mirror_and_darken(image, rng):
    return (image[:, ::-1] * rng.uniform(0.2, 1)).astype(image.dtype)


@given(
    shape=sizes,
    image_size=sizes,
    kind=kinds,
    dtype=st.sampled_from(["float32", "uint8"]),
    augment=st.sampled_from([None, mirror_and_darken]),
)
@example(shape=(9, 9), image_size=(9, 9), kind="noise", dtype="float32", augment=None)
@example(shape=(9, 9), image_size=(9, 9), kind="noise", dtype="uint8", augment=None)
@example(shape=(6, 12), image_size=(9, 8), kind="noise", dtype="uint8", augment=None)
@settings(max_examples=60, deadline=None)
def test_the_smaller_picture_travels_and_becomes_the_same_bytes(
    scratch_file, shape, image_size, kind, dtype, augment
):
    scratch_file.write_bytes(encode(Image.fromarray(paint(kind, *shape, seed=5)), "BMP"))
    seeds = [(1, 2), (3, 4)]
    request = BatchRequest([str(scratch_file)] * 2, image_size, dtype, augment, seeds)
    loaded, arrays = travelled(request)
    expected = load_batch(request)
    assert loaded.images.dtype == dtype and loaded.images.shape == expected.images.shape
    assert loaded.images.tobytes() == expected.images.tobytes()
    assert (loaded.positions, loaded.errors) == (expected.positions, [])
    resized = expected.images[0].nbytes
    own = resized if augment else math.prod(shape) * 3
    assert [array.nbytes for array in arrays] == [min(own, resized)] * 2


def test_what_travels_has_little_beside_the_pictures(pictures):
    request = BatchRequest(pictures * 40, (200, 200))
    own = 40 * sum(np.asarray(Image.open(name).convert("RGB")).nbytes for name in pictures)
    assert own < len(load_smallest(request)) < own + 200 * 100 + 1000


@pytest.mark.parametrize("place", [0, 2, 5])
def test_files_left_out_do_not_travel(pictures, broken, place):
    names = [*pictures[:place], broken, *pictures[place:]]
    request = BatchRequest(names, SIZE, skip_errors=True)
    loaded, arrays = travelled(request)
    expected = load_batch(request)
    assert len(arrays) == 5
    assert loaded.positions == expected.positions
    assert [error.filename for error in loaded.errors] == [broken]
    assert loaded.images.tobytes() == expected.images.tobytes()


def test_what_cannot_travel_raises_as_load_batch_does(pictures, broken):
    def fail(image, rng):
        raise KeyError("brightness")

    for request in (
        BatchRequest([*pictures, broken], SIZE),
        BatchRequest([broken], SIZE, skip_errors=True),
        BatchRequest(pictures, SIZE, augment=fail, seeds=[(0,)] * 5),
    ):
        with pytest.raises((ImageError, RuntimeError)) as expected:
            load_batch(request)
        with pytest.raises(type(expected.value)) as caught:
            load_smallest(request)
        assert str(caught.value) == str(expected.value)


@pytest.mark.parametrize("load", [load_batch, lambda request: travelled(request)[0]])
def test_names_begin_in_the_folder_of_the_request(pictures, tmp_path, monkeypatch, load):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    relative = [Path(name).name for name in pictures]
    expected = load_batch(BatchRequest(pictures, SIZE)).images
    for names, folder in ((relative, str(tmp_path)), (pictures, str(elsewhere))):
        loaded = load(BatchRequest(names, SIZE, folder=folder))
        np.testing.assert_array_equal(loaded.images, expected)
    with pytest.raises(ImageError) as caught:
        load(BatchRequest(["gone.png"], SIZE, folder=str(tmp_path)))
    assert caught.value.filename == "gone.png"  # as the user called it


# ---- aligned_empty and imports -------------------------------------------------------------------


@given(
    shape=st.lists(st.integers(1, 7), max_size=5).map(tuple),
    dtype=st.sampled_from(["uint8", "bool", "int16", "float32", "float64", "complex128"]),
)
@settings(max_examples=100, deadline=None)
def test_aligned_empty(shape, dtype):
    array = aligned_empty(shape, dtype)
    assert (array.shape, array.dtype) == (shape, np.dtype(dtype))
    assert array.ctypes.data % 64 == 0
    assert array.flags.c_contiguous and array.flags.writeable
    array[...] = 1
    assert (array == 1).all()


@pytest.mark.parametrize("module", ["helpers.images.batches", "helpers.loading.loaders"])
def test_a_worker_imports_little(tmp_path, module):
    command = f"import sys, {module}; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    imported = {name.partition(".")[0] for name in run.stdout.split()}
    assert {"helpers", "cv2", "numpy"} <= imported
    heavy = {"keras", "tensorflow", "skimage", "scipy", "matplotlib", "pandas", "PIL"}
    assert not imported & heavy
