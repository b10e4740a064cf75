"""Headers that decoders meet; whole pictures are in test_reading.py."""

import io
import struct

import numpy as np
import pytest
from drawn import COLOUR, FORMATS, encode
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from helpers.images.headers import Header, read_header


def encoded(kind, width, height, **options):
    file = io.BytesIO()
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(file, kind, **options)
    return file.getvalue()


sizes = st.integers(1, 300)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("BMP", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\0\0II*\0"}),
    ],
)
@given(width=sizes, height=sizes)
def test_the_size_is_that_of_the_picture(kind, options, width, height):
    assert read_header(encoded(kind, width, height, **options)) == Header(width, height)


@given(st.binary(max_size=60))
def test_of_other_kinds_nothing_is_said(data):
    assert read_header(b"no picture" + data) is None
    assert read_header(FORMATS["TIFF"]) is None
    assert read_header(FORMATS["GIF"]) is None


@pytest.mark.parametrize(
    "start", [b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"BM", b"RIFF\0\0\0\0WEBPVP8X"]
)
@given(rest=st.binary(max_size=60))
def test_a_header_that_is_cut_or_senseless_is_an_error_or_a_claim(start, rest):
    try:
        header = read_header(start + rest)
    except ValueError as error:
        assert "damaged or cut off" in str(error)
    else:
        assert header.width >= 0 and header.height >= 0


def test_a_png_that_is_cut_in_any_chunk_is_an_error():
    data = encoded("PNG", 20, 10)
    assert read_header(data) == Header(20, 10)
    for length in range(8, len(data) - 8):
        with pytest.raises(ValueError, match="cut off"):
            read_header(data[:length])


def test_a_chunk_longer_than_the_file_is_a_cut():
    data = bytearray(encoded("PNG", 20, 10))
    struct.pack_into(">I", data, data.index(b"IDAT") - 4, 2**31)
    with pytest.raises(ValueError, match="cut off"):
        read_header(bytes(data))


def test_only_animations_among_png_are_left_to_pillow():
    animation = encode(COLOUR, "PNG", save_all=True, append_images=[COLOUR.rotate(180)])
    assert not read_header(animation).is_plain
    assert read_header(FORMATS["PNG palette"]).is_plain


def test_which_png_has_16_bits():
    deep = encode(Image.fromarray(np.zeros((3, 4), np.uint16)), "PNG")
    assert read_header(deep).has_16_bits
    assert not read_header(FORMATS["PNG"]).has_16_bits
