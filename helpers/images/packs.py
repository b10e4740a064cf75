"""Read single pictures out of a pack: a folder with a few large files for any number of pictures.

Worker processes import this, so it needs numpy and the standard library only. What
`helpers.datasets.packing` writes to ``cifar.pack/`` is::

    pixels.npy   uint8, all pictures one after the other
    index.npy    a row for each picture: where its pixels are, their size, label, checksum, name
    pack.json    written last: there if the pack is complete and was read back without an error

Both arrays are numpy's own format, which ``np.load(..., mmap_mode="r")`` opens anywhere. Here
they are read as files, not mapped: if a mapped file becomes shorter, the system ends the
process that touches it, where a read just returns less. And pages that are mapped count as
memory of the process.
"""

import contextlib
import functools
import io
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from helpers.images.disk import try_again
from helpers.samples import ArrayIndexed

ENDING = ".pack"
MARK = f"{ENDING}#"  # in the name of a picture in a pack
PIXELS, INDEX = "pixels.npy", "index.npy"
HEADER_BYTES = 512
"""What is read of a .npy file to see its header; ours are shorter."""
PICTURE = np.dtype(
    [("number", "<u8"), ("start", "<u8"), ("height", "<u4"), ("width", "<u4"), ("crc32", "<u4")]
)
"""What is needed to read a picture: its number, and fields of its row in the index."""


class PackError(ValueError):
    """A pack, or one picture in it, that cannot be read. The message names the file."""


class PackedNames(ArrayIndexed, Sequence):
    """File names of packed pictures, ``cifar.pack#0``, ``cifar.pack#1``, …, made when asked for.

    A slice, or an array of positions, gives `PackedNames` again.

    Parameters
    ----------
    path : str or os.PathLike
        The pack.
    rows : numpy.ndarray
        Array of type `PICTURE` with what is needed to read each picture: 28 bytes.
    """

    def __init__(self, path: str | os.PathLike, rows: np.ndarray):
        self.path = os.fspath(path)
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item):
        rows = self.rows[item]
        return PackedNames(self.path, rows) if rows.ndim else f"{self.path}#{rows['number']}"

    def __repr__(self) -> str:
        return f"PackedNames({self.path!r}, {len(self):,} pictures)"


def is_packed(filename: str) -> bool:
    """Whether a file name means a picture in a pack."""
    return MARK in filename


class Row(struct.Struct):
    """A row of the index, as bytes: start, height, width, label, name, crc32.

    ``start`` is where the pixels begin in pixels.npy, in bytes.

    Parameters
    ----------
    name_bytes : int
        Length of the longest name; shorter ones are filled up with zeros.
    """

    def __init__(self, name_bytes: int):
        super().__init__(f"<QIIq{name_bytes}sI")
        names = "start", "height", "width", "label", "name", "crc32"
        types = "<u8", "<u4", "<u4", "<i8", f"S{name_bytes}", "<u4"
        self.dtype = np.dtype(list(zip(names, types, strict=True)))


def checksum(pixels, height: int) -> int:
    """CRC-32 of a picture and of its height, and so of its width, as the pixels are all there."""
    return zlib.crc32(pixels, height)


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
        row = Row(dtype["name"].itemsize)
    except Exception as error:  # numpy parses a header as Python, and may raise what that does
        raise ValueError(f"it has no header of an index ({error})") from error
    if dtype != row.dtype:
        raise ValueError(f"it has rows of type {dtype}")
    return file.tell(), row


class OpenPack:
    """One pack, whose files are opened when they are needed.

    Parameters
    ----------
    path : Path
        The pack's folder.
    files : contextlib.ExitStack
        Closes the files.
    """

    def __init__(self, path: Path, files: contextlib.ExitStack):
        self._path = path
        self._files = files

    def read(self, number: int, start: int, height: int, width: int, crc32: int) -> np.ndarray:
        """Return a picture: read-only uint8 array of shape (height, width, 3)."""
        size = height * width * 3
        file, end = self._pixels
        there = 0 < size <= end - start  # a damaged row may claim any number of pixels, or none
        try:
            pixels = _read_at(file, size, start) if there else b""
        except OSError as error:
            raise self._error(PIXELS, f"cannot be read ({error.strerror})", number) from error
        if not there or len(pixels) < size or checksum(pixels, height) != crc32:
            what = f"or {INDEX} is cut off or damaged at picture {number}"
            raise self._error(PIXELS, what, number)
        return np.ndarray((height, width, 3), np.uint8, pixels)

    def read_number(self, number: int) -> np.ndarray:
        """Return the picture of that number in the index."""
        start, height, width, _, _, crc32 = self._row(number)
        return self.read(number, start, height, width, crc32)

    @functools.cached_property
    def _pixels(self) -> tuple[int, int]:
        """Descriptor of the file with the pixels, and where it ends."""
        pixels = self._files.enter_context(_open(self._path / PIXELS)).fileno()
        return pixels, os.fstat(pixels).st_size

    @functools.cached_property
    def _index(self) -> tuple[int, int, Row]:
        """Descriptor of the index, and its `index_layout`."""
        file = self._files.enter_context(_open(self._path / INDEX))
        try:
            return file.fileno(), *index_layout(_read_at(file.fileno(), HEADER_BYTES, 0))
        except (OSError, ValueError) as error:
            file.close()  # the next picture opens it again
            raise self._error(INDEX, f"is damaged or cut off: {error}") from error

    def _row(self, number: int) -> tuple:
        index, start, row = self._index
        try:
            data = _read_at(index, row.size, start + number * row.size)
        except OSError as error:
            raise self._error(INDEX, f"cannot be read ({error.strerror})") from error
        if len(data) < row.size:
            raise self._error(INDEX, f"ends before picture {number}")
        return row.unpack(data)

    def _error(self, file: str, what: str, number: int | None = None) -> PackError:
        original = ""
        if number is not None:
            with contextlib.suppress(PackError):  # the index may be damaged, too
                name = self._row(number)[4].rstrip(b"\0").decode(errors="replace")
                original = f" (made from {name})"
        return PackError(
            f"{self._path / file} {what}{original}; delete the folder {self._path} and pack the "
            f"files again"
        )


class OpenPacks:
    """Packs that are opened when a picture of theirs is read, and closed at the end of a block.

    Parameters
    ----------
    folder : str
        Where names begin that are not absolute.

    Examples
    --------
    >>> with OpenPacks() as packs:
    ...     image = packs.read("cifar.pack#17")
    """

    def __init__(self, folder: str = ""):
        self._folder = folder
        self._files = contextlib.ExitStack()
        self._packs: dict[str, OpenPack] = {}

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._files.close()

    def read(self, filename: str) -> np.ndarray:
        """Read a picture.

        Parameters
        ----------
        filename : str
            ``<folder>.pack#<number>``, as `PackedNames` gives it.

        Returns
        -------
        numpy.ndarray
            uint8 array of shape (height, width, 3), read-only.

        Raises
        ------
        PackError
            If it is not there, cut off, or not what was packed.
        """
        path, _, number = filename.rpartition("#")
        if not number.isdecimal():
            raise PackError(f"pictures in a pack have numbers, such as {path}#0, not {number!r}")
        return self.pack(path).read_number(int(number))

    def pack(self, path: str) -> OpenPack:
        """Return a pack: the same object each time."""
        if path not in self._packs:
            self._packs[path] = OpenPack(Path(self._folder, path), self._files)
        return self._packs[path]


def _open(file: Path) -> io.FileIO:
    try:
        try:
            return file.open("rb", 0)
        except OSError as error:
            return try_again(error, file.open, "rb", 0)
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        reason = getattr(error, "strerror", None) or str(error)
        raise PackError(f"{file} cannot be opened ({reason})") from error


def _seek_and_read(descriptor: int, size: int, start: int) -> bytes:
    os.lseek(descriptor, start, os.SEEK_SET)
    return os.read(descriptor, size)


_read_once = getattr(os, "pread", _seek_and_read)  # Windows has no pread


def _read_at(descriptor: int, size: int, start: int) -> bytes:
    try:
        return _read_once(descriptor, size, start)
    except OSError as error:
        return try_again(error, _read_once, descriptor, size, start)
