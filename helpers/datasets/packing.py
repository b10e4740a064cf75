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
import json
import os
import warnings
import zlib
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm  # unlike tqdm.auto, it shows nothing before the delay

from helpers import arguments
from helpers.datasets import packed
from helpers.datasets.writing import locked, size_of
from helpers.images import MAX_PIXELS, packs
from helpers.images.batches import BatchRequest, load_batch
from helpers.images.packs import checksum
from helpers.images.reading import printable, read_and_doubt
from helpers.samples import check_samples

PLAN = "unfinished.json"
THREADS = 4  # that decode; the one that writes would not keep up with many more
AT_ONCE = 8  # pictures that a thread decodes: to hand over each takes longer than a small picture
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def pack(image_files, path, image_size=None, max_pixels=MAX_PIXELS):
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
    max_pixels : int
        A picture that claims more is refused, before memory is taken for it.

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

    Warns
    -----
    UserWarning
        Once, if pictures were read that may be wrong; see `helpers.read_image`.
    """
    path = Path(path)
    if path.suffix != packs.ENDING:
        raise ValueError(f"path must end in {packs.ENDING!r}; received {str(path)!r}")
    filenames, labels = check_samples(image_files.filenames, image_files.labels)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(
            f"a pack keeps one integer as the label of each file; received labels of type "
            f"{labels.dtype} and shape {labels.shape}. Pack class numbers, and give MY_Generator "
            f"other labels afterwards"
        )
    if image_size is not None:
        image_size = arguments.image_size(image_size)
    labels = labels.astype(np.int64)
    max_pixels = arguments.whole_number("max_pixels", max_pixels, at_least=1)
    how = _How(image_size, max_pixels, [])
    names = _RelativeNames(filenames)
    row = packs.Row(max(map(len, names)))
    plan = {
        "version": packed.VERSION,
        "pictures": len(filenames),
        "image_size": image_size and list(image_size),
        "class_names": list(image_files.class_names),
        "names_and_labels": _checksum_of_files(names, labels),
    }
    try:
        path.mkdir(parents=True, exist_ok=True)
        with locked(path):
            if not _is_complete(path, plan):
                _write_rest(path, row, filenames, names, labels, how)
                _finish(path, plan)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        megabytes = _bytes_lacking(path, row, filenames, how) / 1e6
        message = (
            f"There is no room for {path} ({error.strerror}): it needs about {megabytes:,.1f} MB "
            f"more. Free some space, then call again to go on"
        )
        raise OSError(error.errno, message) from error
    _warn_of(how.suspects)
    return packed.load_pack(path)


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
    complete = (path / packed.NOTE).exists()
    file = path / (packed.NOTE if complete else PLAN)
    if file.exists():
        found = packed.read_note(file)
        others = [name.replace("_", " ") for name in plan if found[name] != plan[name]]
        if others:
            raise ValueError(
                f"{path} holds a pack with other {', '.join(others)} (see {file}). Delete the "
                f"folder, or pack to another one"
            )
    elif (path / packs.PIXELS).exists():
        raise ValueError(f"{path} holds no pack, but {packs.PIXELS}. Pack to another folder")
    else:
        _write_note(file, plan)
    return complete


# ---- write ---------------------------------------------------------------------------------------


def _write_rest(path, row, filenames, names, labels, how):
    for file in (packs.PIXELS, packs.INDEX):
        (path / file).touch()
    with (path / packs.PIXELS).open("r+b") as pixels, (path / packs.INDEX).open("r+b") as index:
        done, start = _cut_to_whole_rows(path, pixels, index, row, len(filenames))
        with ThreadPoolExecutor(THREADS) as threads:
            pictures = _in_order(threads, filenames[done:], how)
            bar = tqdm(pictures, "Packing", len(filenames), initial=done, **packed.BAR)
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
        (pixels, packed.npy_header("|u1", (0,))),
        (index, packed.npy_header(row.dtype, (pictures,))),
    ):
        file.write(header)
        file.flush()
    rows_start, start = index.tell(), pixels.tell()
    done = (size_of(path / packs.INDEX) - rows_start) // row.size
    with packs.OpenPacks() as opened:
        while done and not _is_whole(opened, f"{path}#{done - 1}"):
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


def _is_whole(opened, packed_name):
    try:
        opened.read(packed_name)
    except packs.PackError:
        return False
    return True


def _in_order(threads, filenames, how):
    """Yield the pictures as `threads.map` would, but with few at a time in memory."""
    waiting = deque()
    for first in range(0, len(filenames), AT_ONCE):
        waiting.append(threads.submit(_pictures, filenames[first : first + AT_ONCE], how))
        if len(waiting) > THREADS:
            yield from waiting.popleft().result()
    while waiting:
        yield from waiting.popleft().result()


class _How(NamedTuple):
    """How pictures are read, and which of them may be wrong."""

    image_size: tuple[int, int] | None
    max_pixels: int
    suspects: list  # append is atomic: threads share it


def _pictures(filenames, how):
    return [_picture(os.fspath(filename), how) for filename in filenames]


def _picture(filename, how):
    if how.image_size is None:
        image, doubt = read_and_doubt(filename, how.max_pixels)
        remarks = [doubt] if doubt else []
    else:
        request = BatchRequest([filename], how.image_size, "uint8", max_pixels=how.max_pixels)
        loaded = load_batch(request)
        image, remarks = loaded.images[0], [remark for _, remark in loaded.suspects]
    how.suspects.extend((filename, remark) for remark in remarks)
    return image


def _warn_of(suspects):
    if suspects:
        filename, remark = min(suspects)
        warnings.warn(
            f"{len(suspects)} pictures were packed that may be wrong, the first of them "
            f"{printable(filename)}: {remark}",
            stacklevel=3,
        )


def _finish(path, plan):
    rows, _, crc32 = packed.read_index(path)
    index = np.load(path / packs.INDEX, mmap_mode="r")
    if _checksum_of_files(index["name"], index["label"]) != plan["names_and_labels"]:
        raise packed.damaged(path / packs.INDEX, "its names and labels are not those of the files")
    pixel_bytes = size_of(path / packs.PIXELS) - len(packed.npy_header("|u1", (0,)))
    heights, widths = (np.unique(rows[side]).tolist() for side in ("height", "width"))
    one_size = len(heights) == len(widths) == 1
    shape = (len(rows), *heights, *widths, 3) if one_size else (pixel_bytes,)
    with (path / packs.PIXELS).open("r+b") as file:
        file.write(packed.npy_header("|u1", shape))
        file.flush()
        os.fsync(file.fileno())
    packed.read_all(packs.PackedNames(path, rows))
    note = plan | {"shape": shape, "index_bytes": size_of(path / packs.INDEX), "index_crc32": crc32}
    _write_note(path / packed.NOTE, note)
    (path / PLAN).unlink()


def _write_note(file, note):
    temporary = file.with_name(file.name + ".tmp")
    with temporary.open("w") as opened:
        json.dump(note | {"crc32": packed.checksum_of_note(note)}, opened, indent=1)
        opened.flush()
        os.fsync(opened.fileno())
    temporary.replace(file)


def _bytes_lacking(path, row, filenames, how):
    rows, pixel_bytes = size_of(path / packs.INDEX) // row.size, size_of(path / packs.PIXELS)
    if not rows:
        rows, pixel_bytes = 1, _pictures(filenames[:1], how)[0].nbytes
    return (pixel_bytes / rows + row.size) * len(filenames) - pixel_bytes
