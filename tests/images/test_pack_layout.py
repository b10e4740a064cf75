import io

import numpy as np
import pytest

from helpers.images.pack_layout import (
    FILES,
    HEADER_BYTES,
    PIXELS,
    PLACES,
    Row,
    checksum,
    index_layout,
)

VALUES = {PIXELS: (128, 5, 7, -3, b"a.jpg", 99), FILES: (128, 700, 900, 1.5, -3, b"a.jpg", 99)}


def header_of(dtype):
    file = io.BytesIO()
    np.save(file, np.zeros(3, dtype))
    return file.getvalue()[:HEADER_BYTES]


@pytest.mark.parametrize("file", [PIXELS, FILES])
@pytest.mark.parametrize("name_bytes", [1, 5, 3000])
def test_a_row_is_what_numpy_reads(file, name_bytes):
    row = Row(file, name_bytes)
    data = row.pack(*VALUES[file])
    [read] = np.frombuffer(data, row.dtype)
    name = VALUES[file][-2][:name_bytes]
    assert read.item() == (*VALUES[file][:-2], name, 99)
    start, last = index_layout(header_of(row.dtype))
    assert (last.file, last.size, last.dtype) == (file, row.size, row.dtype)
    assert start % 64 == 0 and start < HEADER_BYTES


@pytest.mark.parametrize("file", [PIXELS, FILES])
def test_the_place_of_a_picture(file):
    row = Row(file, 5)
    names = PLACES[file].names[1:]
    assert row.place(VALUES[file]) == tuple(
        np.array(VALUES[file], row.dtype)[name] for name in names
    )


@pytest.mark.parametrize("dtype", ["u1", [("name", "S9")], [("name", "S9"), ("size", "u8")], "O"])
def test_what_is_no_index(dtype):
    with pytest.raises(ValueError, match="it has "):
        index_layout(header_of(dtype))
    with pytest.raises(ValueError, match="it has no header of an index"):
        index_layout(b"\x93NUMPY\x01\0\x10\0{import os}     ")


def test_the_checksum_covers_the_size():
    assert checksum(b"abcdef", 1) != checksum(b"abcdef", 2)
    assert (
        checksum(b"", 7) == 7
    )  # so a damaged row may claim it: nothing of a picture is no picture
