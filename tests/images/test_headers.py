"""Headers that decoders meet; whole pictures are in test_images.py."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from helpers.images.headers import claimed_size, is_cut_png


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
        ("GIF", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
    ],
)
@given(width=sizes, height=sizes)
def test_the_size_is_that_of_the_picture(kind, options, width, height):
    assert claimed_size(encoded(kind, width, height, **options)) == (width, height)


@given(st.binary(max_size=60))
def test_bytes_that_are_no_picture_claim_nothing(data):
    assert claimed_size(b"no picture" + data) is None


@pytest.mark.parametrize("start", [b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"GIF89a", b"BM", b"II*\0"])
@given(rest=st.binary(max_size=60))
def test_a_header_that_is_cut_or_senseless_raises_nothing(start, rest):
    size = claimed_size(start + rest)
    assert size is None or len(size) == 2


def test_a_whole_png_is_not_cut_and_every_shorter_one_is():
    data = encoded("PNG", 20, 10)
    assert not is_cut_png(data)
    assert all(is_cut_png(data[:length]) for length in range(8, len(data) - 8))


def test_a_chunk_longer_than_the_file_is_a_cut():
    data = bytearray(encoded("PNG", 20, 10))
    struct.pack_into(">I", data, data.index(b"IDAT") - 4, 2**31)
    assert is_cut_png(bytes(data))


def test_other_formats_are_no_cut_png():
    assert not is_cut_png(encoded("JPEG", 20, 10)[:30])
