"""Pack image files: write their pictures, decoded, into a few large files.

A million small files cost a million opens and decodes in every epoch. A pack costs them once;
`helpers.images.packs` says what is in it, and reads it. What lies in its folder says how far we
are::

    unfinished.json   what is to be packed; it goes when the pack is complete
    pixels.npy        the pictures that are packed so far
    index.npy         a row for each of them
    pack.json         written last: the pack is complete and was read back without an error
"""

import errno
import io
import json
import math
import os
import zlib
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm  # unlike tqdm.auto, it shows nothing before the delay

from helpers import arguments
from helpers.datasets import folders as datasets
from helpers.images.batches import BatchRequest, load_batch, read_image
from helpers.images.packs import (
    ENDING,
    HEADER_BYTES,
    INDEX,
    PICTURE,
    PIXELS,
    OpenPacks,
    PackedNames,
    PackError,
    Row,
    checksum,
    index_layout,
)

PLAN, NOTE = "unfinished.json", "pack.json"
VERSION = 1
ROWS_AT_ONCE = 65_536
THREADS = 4  # that decode; the one that writes would not keep up with many more
AT_ONCE = 8  # pictures that a thread decodes: to hand over each takes longer than a small picture
BAR = {"unit": "picture", "leave": False, "delay": 2}  # what is done at once needs no bar
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def pack(image_files, path, image_size=None):
    """Write the pictures of image files, decoded, into a pack, and read it back.

    Whatever interrupts it, the next call with the same files goes on where it stopped; if the
    pack is complete, the call returns at once. The files are told by their names and labels, not
    by their contents: to pack pictures that were changed, delete the folder first.

    Parameters
    ----------
    image_files : ImageFiles
        What to pack, such as ``load_folder(...)`` returns.
    path : str or Path
        The folder to make; its name ends in ".pack".
    image_size : tuple of int, optional
        Height and width, in pixels, that every picture is resized to, as
        ``MY_Generator(dtype="uint8", image_size=...)`` does it: for photos that are larger than
        training needs. By default each picture keeps its own size, and gives the same bytes as
        its file.

    Returns
    -------
    ImageFiles
        As from `load_pack`.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong, a label is not one integer, or the folder holds other files.
    ImageError
        If a file cannot be read. Mend it, then call again; or leave it out.
    OSError
        If the disk is full: a picture takes height × width × 3 bytes.
    PackError
        If what is read back is not what was written.
    """
    path = Path(path)
    if path.suffix != ENDING:
        raise ValueError(f"path must end in {ENDING!r}; received {str(path)!r}")
    filenames, labels = arguments.samples(image_files.filenames, image_files.labels)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(
            f"a pack keeps one integer as the label of each file; received labels of type "
            f"{labels.dtype} and shape {labels.shape}. Pack class numbers, and give MY_Generator "
            f"other labels afterwards"
        )
    if image_size is not None:
        image_size = arguments.image_size(image_size)
    labels = labels.astype(np.int64)
    names = _RelativeNames(filenames)
    row = Row(max(map(len, names)))
    plan = {
        "version": VERSION,
        "pictures": len(filenames),
        "image_size": image_size and list(image_size),
        "class_names": list(image_files.class_names),
        "names_and_labels": _checksum_of_files(names, labels),
    }
    try:
        path.mkdir(parents=True, exist_ok=True)
        with datasets.locked(path):
            if not _is_complete(path, plan):
                _write_rest(path, row, filenames, names, labels, image_size)
                _finish(path, plan)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        megabytes = _bytes_lacking(path, row, filenames, image_size) / 1e6
        message = (
            f"There is no room for {path} ({error.strerror}): it needs about {megabytes:,.1f} MB "
            f"more. Free some space, then call again to go on"
        )
        raise OSError(error.errno, message) from error
    return load_pack(path)


def load_pack(path):
    """List the pictures in a pack. They are read when a batch needs them.

    Parameters
    ----------
    path : str or Path
        A folder that `pack` made.

    Returns
    -------
    ImageFiles
        Its `filenames` are `PackedNames`: ``<path>#0``, ``<path>#1``, …, in the order of the files
        that were packed. They go where names of files go: ``MY_Generator``, `read_image`.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    PackError
        If the pack is not complete, or a file in it is missing, cut off or damaged. (The pixels
        are not read; each picture is checked when it is. `verify_pack` checks them all.)
    """
    path = Path(path)
    if not path.is_dir():
        raise FileNotFoundError(
            f"There is no folder {str(path)!r} (looked from {str(Path.cwd())!r}). Give a folder "
            f"that helpers.pack(image_files, path) made."
        )
    if not (path / NOTE).exists():
        raise PackError(
            f"{path} is not complete: {path / NOTE} is missing. Call pack again, with the same "
            f"files, to go on"
        )
    note = _read_note(path / NOTE)
    header = _header("|u1", note["shape"])
    _check_size(path / PIXELS, len(header) + math.prod(note["shape"]))
    _check_size(path / INDEX, note["index_bytes"])
    with (path / PIXELS).open("rb") as file:
        if file.read(len(header)) != header:
            raise _damaged(path / PIXELS, "its header is not that of this pack")
    rows, labels, crc32 = _read_index(path)
    if crc32 != note["index_crc32"]:
        raise _damaged(path / INDEX, "its checksum is wrong")
    return datasets.ImageFiles(PackedNames(path, rows), labels, tuple(note["class_names"]))


def verify_pack(path):
    """Read every picture of a pack, and compare it with its checksum.

    Parameters
    ----------
    path : str or Path
        A folder that `pack` made.

    Raises
    ------
    FileNotFoundError, PackError
        As `load_pack`; and if a picture is damaged: the message names the first one.
    """
    _read_all(load_pack(path).filenames)


def _read_all(packed_names):
    with OpenPacks() as packs:
        pack = packs.pack(packed_names.path)
        for row in tqdm(packed_names.rows, "Checking", **BAR):
            pack.read(*row.item())


# ---- what is to be packed ------------------------------------------------------------------------


class _RelativeNames:
    """File names below the folder that all have in common, as bytes, made when asked for."""

    def __init__(self, filenames):
        self.filenames = filenames
        # What the first and the last have in common in the alphabet's order, all have.
        ends = min(filenames, key=os.fspath), max(filenames, key=os.fspath)
        common = os.path.commonprefix(ends)  # noqa: RUF071 - of characters: cut to a folder next
        self.start = len(common) - len(os.path.basename(common))  # noqa: PTH119

    def __iter__(self):
        return self.since(0)

    def since(self, number):
        for filename in self.filenames[number:]:
            yield os.fsencode(os.fspath(filename)[self.start :])


def _checksum_of_files(names, labels):
    crc32 = zlib.crc32(labels.astype("<i8").data)
    for name in names:
        crc32 = zlib.crc32(name + b"\0", crc32)
    return crc32


def _is_complete(path, plan):
    """Whether the pack is complete; if it is not, its plan lies in the folder afterwards."""
    complete = (path / NOTE).exists()
    file = path / (NOTE if complete else PLAN)
    if file.exists():
        found = _read_note(file)
        others = [name.replace("_", " ") for name in plan if found[name] != plan[name]]
        if others:
            raise ValueError(
                f"{path} holds a pack with other {', '.join(others)} (see {file}). Delete the "
                f"folder, or pack to another one"
            )
    elif (path / PIXELS).exists():
        raise ValueError(f"{path} holds no pack, but {PIXELS}. Pack to another folder")
    else:
        _write_note(file, plan)
    return complete


# ---- write ---------------------------------------------------------------------------------------


def _write_rest(path, row, filenames, names, labels, image_size):
    for file in (PIXELS, INDEX):
        (path / file).touch()
    with (path / PIXELS).open("r+b") as pixels, (path / INDEX).open("r+b") as index:
        done, start = _cut_to_whole_rows(path, pixels, index, row, len(filenames))
        with ThreadPoolExecutor(THREADS) as threads:
            pictures = _in_order(threads, filenames[done:], image_size)
            bar = tqdm(pictures, "Packing", len(filenames), initial=done, **BAR)
            for picture, name, label in zip(bar, names.since(done), labels[done:], strict=True):
                height, width, _ = picture.shape
                crc32 = checksum(picture, height)
                # Which of the two reaches the disk first does not matter: a row is whole only
                # if its pixels are.
                pixels.write(picture)
                index.write(row.pack(start, height, width, label, name, crc32))
                start += picture.nbytes
        for file in (pixels, index):
            file.flush()
            os.fsync(file.fileno())


def _cut_to_whole_rows(path, pixels, index, row, pictures):
    """Return the number of pictures that are there, and where their pixels end."""
    for file, header in (
        (pixels, _header("|u1", (0,))),
        (index, _header(row.dtype, (pictures,))),
    ):
        file.write(header)
        file.flush()
    rows_start, start = index.tell(), pixels.tell()
    done = (_size(path / INDEX) - rows_start) // row.size
    with OpenPacks() as packs:
        while done and not _is_whole(packs, f"{path}#{done - 1}"):
            done -= 1
    if done:
        index.seek(rows_start + (done - 1) * row.size)
        start, height, width, *_ = row.unpack(index.read(row.size))
        start += height * width * 3
    index.seek(rows_start + done * row.size)
    pixels.seek(start)
    for file in (pixels, index):
        file.truncate()
    return done, start


def _is_whole(packs, packed_name):
    try:
        packs.read(packed_name)
    except PackError:
        return False
    return True


def _in_order(threads, filenames, image_size):
    """Yield the pictures as `threads.map` would, but with few at a time in memory."""
    waiting = deque()
    for first in range(0, len(filenames), AT_ONCE):
        waiting.append(threads.submit(_pictures, filenames[first : first + AT_ONCE], image_size))
        if len(waiting) > THREADS:
            yield from waiting.popleft().result()
    while waiting:
        yield from waiting.popleft().result()


def _pictures(filenames, image_size):
    if image_size is None:
        return [read_image(filename) for filename in filenames]
    return [load_batch(BatchRequest([name], image_size, "uint8")).images[0] for name in filenames]


def _finish(path, plan):
    rows, _, crc32 = _read_index(path)
    index = np.load(path / INDEX, mmap_mode="r")
    if _checksum_of_files(index["name"], index["label"]) != plan["names_and_labels"]:
        raise _damaged(path / INDEX, "its names and labels are not those of the files")
    pixel_bytes = _size(path / PIXELS) - len(_header("|u1", (0,)))
    heights, widths = (np.unique(rows[side]).tolist() for side in ("height", "width"))
    one_size = len(heights) == len(widths) == 1
    shape = (len(rows), *heights, *widths, 3) if one_size else (pixel_bytes,)
    with (path / PIXELS).open("r+b") as file:
        file.write(_header("|u1", shape))
        file.flush()
        os.fsync(file.fileno())
    _read_all(PackedNames(path, rows))
    note = plan | {"shape": shape, "index_bytes": _size(path / INDEX), "index_crc32": crc32}
    _write_note(path / NOTE, note)
    (path / PLAN).unlink()


def _header(dtype, shape):
    """Header of a .npy file; numpy makes it as long for any number of rows (128 or 256 bytes)."""
    file = io.BytesIO()
    description = np.lib.format.dtype_to_descr(np.dtype(dtype))
    header = {"descr": description, "fortran_order": False, "shape": tuple(shape)}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue()


def _write_note(file, note):
    temporary = file.with_name(file.name + ".tmp")
    with temporary.open("w") as opened:
        json.dump(note | {"crc32": _checksum_of_note(note)}, opened, indent=1)
        opened.flush()
        os.fsync(opened.fileno())
    temporary.replace(file)


def _bytes_lacking(path, row, filenames, image_size):
    rows, pixel_bytes = _size(path / INDEX) // row.size, _size(path / PIXELS)
    if not rows:
        rows, pixel_bytes = 1, _pictures(filenames[:1], image_size)[0].nbytes
    return (pixel_bytes / rows + row.size) * len(filenames) - pixel_bytes


# ---- read ----------------------------------------------------------------------------------------


def _read_note(file):
    try:
        note = json.loads(file.read_text())
        whole = note.pop("crc32") == _checksum_of_note(note)
    except (ValueError, KeyError, AttributeError):
        whole = False
    if not whole:
        raise _damaged(file, "it is not what was written")
    if note["version"] != VERSION:
        raise PackError(f"{file} has version {note['version']}; this program reads {VERSION}")
    return note


def _checksum_of_note(note):
    return zlib.crc32(json.dumps(note).encode())


def _read_index(path):
    """Return the rows for `PackedNames`, the labels, and the file's CRC-32."""
    try:
        with (path / INDEX).open("rb") as file:
            header = file.read(HEADER_BYTES)
            start, row = index_layout(header)
            rows = np.empty((_size(path / INDEX) - start) // row.size, PICTURE)
            rows["number"] = np.arange(len(rows))
            labels = np.empty(len(rows), np.int64)
            crc32 = zlib.crc32(header[:start])
            file.seek(start)
            for first in range(0, len(rows), ROWS_AT_ONCE):
                data = file.read(ROWS_AT_ONCE * row.size)
                crc32 = zlib.crc32(data, crc32)
                part = np.frombuffer(data, row.dtype)
                labels[first : first + len(part)] = part["label"]
                for field in ("start", "height", "width", "crc32"):
                    rows[field][first : first + len(part)] = part[field]
    except ValueError as error:
        raise _damaged(path / INDEX, str(error)) from error
    return rows, labels, crc32


def _check_size(file, expected):
    if not file.exists():
        raise _damaged(file, "it is missing")
    if _size(file) != expected:
        raise _damaged(file, f"it has {_size(file):,} bytes, expected {expected:,}")


def _damaged(file, what):
    return PackError(f"{file} is damaged: {what}. Delete {file.parent} and pack the files again")


def _size(file):
    return file.stat().st_size if file.exists() else 0
