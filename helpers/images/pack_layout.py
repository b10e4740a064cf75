"""What is in a pack: a folder such as ``cifar.pack/``, which `helpers.datasets.packing` makes.

::

    pixels.npy   uint8, all pictures one after the other; or, if files are packed as they are,
    files.npy    uint8, all files one after the other
    index.npy    a row for each picture: where it is, its size, label, checksum, name
    pack.json    written last: there if the pack is complete and was read back without an error

The size of pixels is their height and width, that of a file its bytes. All arrays are numpy's own
format, which ``np.load(..., mmap_mode="r")`` opens anywhere.
"""

import functools
import io
import struct
import zlib

import numpy as np

PIXELS, FILES, INDEX = "pixels.npy", "files.npy", "index.npy"
FILE_WITH = {"pixels": PIXELS, "files": FILES, "jpeg": FILES}
"""Which file holds the pictures, for each of the `contents` that `helpers.pack` knows."""
HEADER_BYTES = 512
"""What is read of a .npy file to see its header; ours are shorter."""
SIZES = {PIXELS: [("height", "<I"), ("width", "<I")], FILES: [("size", "<Q")]}
"""What the index says of how large a picture is; the types as both numpy and `struct` call them."""
REMARKS = {PIXELS: [], FILES: [("file_size", "<Q"), ("lost", "<f")]}
"""What else it says of a file: its bytes before it was packed, and by how much its pixels differ
since, of 255 and on average. That is 0, unless it was encoded again."""
PLACES = {
    file: np.dtype([("number", "<Q"), ("crc32", "<I"), ("start", "<Q"), *size])
    for file, size in SIZES.items()
}
"""What is needed to read a picture: its number, and fields of its row in the index."""


class Row(struct.Struct):
    """A row of the index, as bytes: start, size, remarks, label, name, crc32.

    ``start`` is where the picture begins in its file, in bytes.

    Parameters
    ----------
    file : str
        Which file holds the pictures: `PIXELS` or `FILES`.
    name_bytes : int
        Length of the longest name; shorter ones are filled up with zeros.
    """

    def __init__(self, file: str, name_bytes: int):
        self.file = file
        self._size_end = 1 + len(SIZES[file])
        numbers = [("start", "<Q"), *SIZES[file], *REMARKS[file], ("label", "<q")]
        letters = "".join(kind[1] for _, kind in numbers)
        super().__init__(f"<{letters}{name_bytes}sI")
        self.dtype = np.dtype([*numbers, ("name", f"S{name_bytes}"), ("crc32", "<I")])

    def place(self, values: tuple) -> tuple:
        """Pick from a row's values what `PLACES` lists, but for the number: crc32, start, size."""
        return values[-1], *values[: self._size_end]


def checksum(picture, size: int) -> int:
    """CRC-32 of a picture and of its size: of a file its bytes, of pixels the height.

    (That is enough: as the pixels are all there, the width follows from it.)
    """
    return zlib.crc32(picture, size)


@functools.lru_cache
def index_layout(header: bytes) -> tuple[int, Row]:
    """Where the rows begin, in bytes, and what they look like.

    Parameters
    ----------
    header : bytes
        The first `HEADER_BYTES` of an index.

    Raises
    ------
    ValueError
        If this is no index.
    """
    file = io.BytesIO(header)
    try:
        np.lib.format.read_magic(file)
        dtype = np.lib.format.read_array_header_1_0(file)[2]
        row = Row(FILES if "size" in (dtype.names or ()) else PIXELS, dtype["name"].itemsize)
    except Exception as error:  # numpy parses a header as Python, and may raise what that does
        raise ValueError(f"it has no header of an index ({error})") from error
    if dtype != row.dtype:
        raise ValueError(f"it has rows of type {dtype}")
    return file.tell(), row
