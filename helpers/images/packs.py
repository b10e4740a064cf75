"""Read single pictures out of a pack: a folder with a few large files for any number of pictures.

What is in them says `helpers.images.pack_layout`. Here they are read as files, not mapped: if a
mapped file becomes shorter, the system ends the process that touches it, where a read just
returns less. And pages that are mapped count as memory of the process. Worker processes import
this, so it needs numpy and the standard library only.
"""

import contextlib
import functools
import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from helpers import arguments
from helpers.images.disk import try_again
from helpers.images.pack_layout import (
    FILES,
    HEADER_BYTES,
    INDEX,
    PIXELS,
    Row,
    checksum,
    index_layout,
)
from helpers.samples import ArrayIndexed

ENDING = ".pack"
MARK = f"{ENDING}#"  # in the name of a picture in a pack


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
        Array of one of the types of `PLACES`, with what is needed to read each picture: 28 bytes.
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
        return f"PackedNames({self.path!r}, {arguments.counted(len(self), 'image')})"


def is_packed(filename: str) -> bool:
    """Whether a file name means a picture in a pack."""
    return MARK in filename


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
        self._pictures: dict[str, tuple[int, int]] = {}

    def read(
        self, number: int, crc32: int, start: int, size: int, width: int | None = None
    ) -> np.ndarray | bytes:
        """Return what was packed of a picture.

        Parameters
        ----------
        number, crc32, start, size, width : int
            A row of `PackedNames`: a file has a size, pixels have a height and a width.

        Returns
        -------
        numpy.ndarray or bytes
            Read-only uint8 array of shape (height, width, 3); or a file's content, to be decoded.
        """
        file, length = (FILES, size) if width is None else (PIXELS, 3 * size * width)
        descriptor, end = self._pictures.get(file) or self._open_pictures(file)
        there = 0 < length <= end - start  # a damaged row may claim any number of bytes, or none
        try:
            data = _read_at(descriptor, length, start) if there else b""
        except OSError as error:
            raise self._error(file, f"cannot be read ({error.strerror})", number) from error
        if not there or len(data) < length or checksum(data, size) != crc32:
            raise self._error(file, f"or {INDEX} is cut off or damaged at image {number}", number)
        return data if width is None else np.ndarray((size, width, 3), np.uint8, data)

    def read_number(self, number: int) -> np.ndarray | bytes:
        """Return what was packed of the picture of that number in the index."""
        return self.read(number, *self._index[-1].place(self._row(number)))

    def original(self, number: int) -> str:
        """Name the file that a picture was made from, for the end of a message."""
        with contextlib.suppress(PackError):  # the index may be damaged, too
            name = self._row(number)[-2].rstrip(b"\0").decode(errors="replace")
            return f" (made from {name})"
        return ""

    def _open_pictures(self, file: str) -> tuple[int, int]:
        """Descriptor of a file with pictures, and where it ends."""
        descriptor = self._files.enter_context(_open(self._path / file)).fileno()
        self._pictures[file] = descriptor, os.fstat(descriptor).st_size
        return self._pictures[file]

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
            raise self._error(INDEX, f"ends before image {number}")
        return row.unpack(data)

    def _error(self, file: str, what: str, number: int | None = None) -> PackError:
        original = "" if number is None else self.original(number)
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
    ...     content = packs.read("cifar.pack#17")
    """

    def __init__(self, folder: str = ""):
        self._folder = folder
        self._files = contextlib.ExitStack()
        self._packs: dict[str, OpenPack] = {}

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self) -> None:
        """Close all files."""
        self._files.close()

    def read(self, filename: str) -> np.ndarray | bytes:
        """Read what was packed of a picture.

        Parameters
        ----------
        filename : str
            ``<folder>.pack#<number>``, as `PackedNames` gives it.

        Returns
        -------
        numpy.ndarray or bytes
            As from `OpenPack.read`.

        Raises
        ------
        PackError
            If it is not there, cut off, or not what was packed.
        """
        path, _, number = filename.rpartition("#")
        if not number.isdecimal():
            raise PackError(f"images in a pack have numbers, such as {path}#0, not {number!r}")
        return self.pack(path).read_number(int(number))

    def original(self, filename: str) -> str:
        """Name the file that a picture was made from, for the end of a message."""
        path, _, number = filename.rpartition("#")
        return self.pack(path).original(int(number))

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
