"""List the pictures in a pack, and verify them.

`helpers.datasets.packing` writes a pack, `helpers.images.packs` reads single pictures out of it.
"""

import io
import json
import math
import os
import zlib
from pathlib import Path

import numpy as np
from tqdm import tqdm  # unlike tqdm.auto, it shows nothing before the delay

from helpers import arguments
from helpers.datasets.folders import no_folder
from helpers.datasets.image_files import ImageFiles
from helpers.datasets.writing import size_of
from helpers.images import packs
from helpers.images.pack_layout import (
    FILE_WITH,
    FILES,
    HEADER_BYTES,
    INDEX,
    PIXELS,
    PLACES,
    index_layout,
)

NOTE = "pack.json"
VERSIONS = {PIXELS: 1, FILES: 2}
"""Programs that knew pixels only read version 1."""
AT_FIRST = {
    "contents": "pixels",
    "max_size": None,
    "quality": None,
    "draft": False,
    "crop_to_aspect_ratio": False,
    "pad_to_aspect_ratio": False,
    "interpolation": "bilinear",
}
"""What a note leaves out: all packs were like that when these were added."""
ROWS_AT_ONCE = 65_536
BAR = {"unit": "image", "leave": False, "delay": 2}  # what is done at once needs no bar


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
        If the pack is not complete, or a file in it is missing, cut off or damaged. (The pictures
        are not read; each is checked when it is. `verify_pack` checks them all.)
    """
    path = Path(path)
    if not path.is_dir():
        raise no_folder(path, "a folder that helpers.pack(image_files, path) made")
    if not (path / NOTE).exists():
        raise packs.PackError(
            f"{path} is not complete: {path / NOTE} is missing. Call pack again, with the same "
            f"files, to go on"
        )
    note = read_note(path / NOTE)
    data = path / FILE_WITH[note["contents"]]
    header = npy_header("|u1", note["shape"])
    _check_size(data, len(header) + math.prod(note["shape"]))
    _check_size(path / INDEX, note["index_bytes"])
    with data.open("rb") as file:
        if file.read(len(header)) != header:
            raise damaged(data, "its header is not that of this pack")
    rows, labels, crc32 = read_index(path)
    if crc32 != note["index_crc32"]:
        raise damaged(path / INDEX, "its checksum is wrong")
    return ImageFiles(packs.PackedNames(path, rows), labels, tuple(note["class_names"]))


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
    read_all(load_pack(path).filenames)


def read_all(packed_names):
    """Read every picture, which compares it with its checksum."""
    with packs.OpenPacks() as opened:
        pack = opened.pack(packed_names.path)
        for row in tqdm(packed_names.rows, "Checking", **BAR):
            pack.read(*row.item())


def npy_header(dtype, shape):
    """Header of a .npy file; numpy makes it as long for any number of rows (128 or 256 bytes)."""
    file = io.BytesIO()
    description = np.lib.format.dtype_to_descr(np.dtype(dtype))
    header = {"descr": description, "fortran_order": False, "shape": tuple(shape)}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue()


def write_note(file, note):
    """Write what is known of a pack to a file, which is there when it is whole."""
    version = VERSIONS[FILE_WITH[note["contents"]]]
    said = {name: note[name] for name in note if note[name] != AT_FIRST.get(name, ...)}
    note = {"version": version} | said
    temporary = file.with_name(file.name + ".tmp")
    with temporary.open("w") as opened:
        json.dump(note | {"crc32": _checksum_of_note(note)}, opened, indent=1)
        opened.flush()
        os.fsync(opened.fileno())
    temporary.replace(file)


def read_note(file):
    """Read what `write_note` wrote; PackError if it is not that."""
    try:
        note = json.loads(file.read_text())
        whole = note.pop("crc32") == _checksum_of_note(note)
    except (ValueError, KeyError, AttributeError):
        whole = False
    if not whole:
        raise damaged(file, "it is not what was written")
    if note["version"] not in VERSIONS.values():
        raise packs.PackError(
            f"{file} has version {note['version']}; this program reads "
            f"{' and '.join(map(str, VERSIONS.values()))}"
        )
    return AT_FIRST | note


def _checksum_of_note(note):
    return zlib.crc32(json.dumps(note).encode())


def read_index(path):
    """Return the rows for `PackedNames`, the labels, and the file's CRC-32."""
    try:
        with (path / INDEX).open("rb") as file:
            header = file.read(HEADER_BYTES)
            start, row = index_layout(header)
            rows = np.empty((size_of(path / INDEX) - start) // row.size, PLACES[row.file])
            rows["number"] = np.arange(len(rows))
            labels = np.empty(len(rows), np.int64)
            crc32 = zlib.crc32(header[:start])
            file.seek(start)
            for first in range(0, len(rows), ROWS_AT_ONCE):
                data = file.read(ROWS_AT_ONCE * row.size)
                crc32 = zlib.crc32(data, crc32)
                part = np.frombuffer(data, row.dtype)
                labels[first : first + len(part)] = part["label"]
                for field in rows.dtype.names[1:]:
                    rows[field][first : first + len(part)] = part[field]
    except ValueError as error:
        raise damaged(path / INDEX, str(error)) from error
    return rows, labels, crc32


def _check_size(file, expected):
    if not file.exists():
        raise damaged(file, "it is missing")
    if size_of(file) != expected:
        raise damaged(
            file, f"it has {arguments.counted(size_of(file), 'byte')}, expected {expected:,}"
        )


def damaged(file, what):
    """Return the error that says what is wrong with a file of a pack."""
    return packs.PackError(
        f"{file} is damaged: {what}. Delete {file.parent} and pack the files again"
    )
