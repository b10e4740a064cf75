"""Pack image files: write their pictures, decoded or as files, into a few large files.

A million small files cost a million opens in every epoch, and as many decodes. A pack costs the
opens once, and with pixels the decodes, too; `helpers.images.pack_layout` says what is in it. What
lies in its folder says how far we are::

    unfinished.json   what is to be packed; it goes when the pack is complete
    pixels.npy        the pictures that are packed so far, or files.npy
    index.npy         a row for each of them
    pack.json         written last: the pack is complete and was read back without an error
"""

import errno
import os
import warnings
import zlib
from pathlib import Path

import numpy as np

from helpers import arguments
from helpers.datasets import packed
from helpers.datasets.appending import append_rest, bytes_of
from helpers.datasets.contents import RESIZING, check_how, keep
from helpers.datasets.recoding import describe_losses, sum_up_losses
from helpers.datasets.writing import locked, size_of
from helpers.images import MAX_PIXELS, packs
from helpers.images.pack_layout import FILE_WITH, INDEX, PIXELS, Row
from helpers.images.reading import printable
from helpers.samples import check_samples

PLAN = "unfinished.json"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def pack(
    image_files,
    path,
    image_size=None,
    max_pixels=MAX_PIXELS,
    *,
    contents="pixels",
    max_size=None,
    quality=None,
    draft=False,
    crop_to_aspect_ratio=False,
    pad_to_aspect_ratio=False,
    interpolation="bilinear",
):
    """Write the pictures of image files into a pack, and read it back.

    Whatever interrupts it, the next call with the same files goes on where it stopped; if the
    pack is complete, the call returns at once. The files are told by their names and labels, not
    by their contents: to pack pictures that were changed, delete the folder first.

    Parameters
    ----------
    image_files : ImageFiles
        What to pack, such as ``load_folder(...)`` returns. Its labels are to be integers; weights
        are not kept.
    path : str or Path
        The folder to make; its name ends in ".pack".
    image_size : tuple of int, optional
        Height and width, in pixels, that every picture is resized to, as
        ``MY_Generator(dtype="uint8", image_size=...)`` does it: for photos that are larger than
        training needs. By default each picture keeps its own size, and gives the same bytes as
        its file.
    max_pixels : int
        A picture that claims more is refused, before memory is taken for it.
    contents : {"pixels", "files", "jpeg"}
        What to keep of each picture. "pixels": decoded, height × width × 3 bytes, which is read
        fastest. "files": its file as it is; nothing is lost, and only the opening of many files
        is saved. "jpeg": a JPEG file of bounded size, for which `image_size` or `max_size` is
        needed; what that loses is measured and printed. A JPEG file that has the right size
        already is kept as it is.
    max_size : tuple of int, optional
        For "jpeg": height and width that no picture is to exceed. Larger ones are shrunk and keep
        their shape; none is enlarged.
    quality : int, optional
        Of "jpeg", 1 to 100. Default: 90.
    draft : bool
        When pictures are shrunk, decode large JPEG files at a fraction of their size, as
        ``MY_Generator(draft=True)`` does.
    crop_to_aspect_ratio, pad_to_aspect_ratio : bool
        With `image_size`: cut off what does not have its shape, or fill up with black, as
        `MY_Generator` does, instead of squeezing.
    interpolation : {"bilinear", "nearest", "area", "bicubic"}
        With `image_size`: how a picture is resized.

    Returns
    -------
    ImageFiles
        As from `load_pack`.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong, arguments do not go together, a label is not one integer, or the
        folder holds other files.
    ImageError
        If a file cannot be read. Mend it, then call again; or leave it out.
    OSError
        If the disk is full.
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
    how = check_how(
        contents,
        image_size,
        max_size,
        quality,
        draft=draft,
        max_pixels=max_pixels,
        crop_to_aspect_ratio=crop_to_aspect_ratio,
        pad_to_aspect_ratio=pad_to_aspect_ratio,
        interpolation=interpolation,
    )
    filenames, labels = _check_files(image_files)
    names = _RelativeNames(filenames)
    row = Row(FILE_WITH[contents], max(map(len, names)))
    plan = {
        "pictures": len(filenames),
        "image_size": how.image_size and list(how.image_size),
        "contents": contents,
        "max_size": how.max_size and list(how.max_size),
        "quality": how.quality,
        **{name: getattr(how.plain, name) for name in RESIZING},
        "class_names": list(image_files.class_names),
        "names_and_labels": _checksum_of_files(names, labels),
    }
    suspects = []
    try:
        path.mkdir(parents=True, exist_ok=True)
        with locked(path):
            if not _is_complete(path, plan):
                suspects = append_rest(path, row, filenames, names, labels, how)
                _finish(path, row.file, plan)
                if contents == "jpeg":
                    print(describe_losses(path, packed.read_note(path / packed.NOTE)))
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        megabytes = max(0.1, _bytes_lacking(path, row, filenames, how) / 1e6)
        message = (
            f"There is no room for {path} ({error.strerror}): it needs about {megabytes:,.1f} MB "
            f"more. Free some space, then call again to go on"
        )
        raise OSError(error.errno, message) from error
    _warn_of(suspects)
    return packed.load_pack(path)


# ---- what is to be packed ------------------------------------------------------------------------


def _check_files(image_files):
    """Return the names, and the labels as int64."""
    found = "no labels"
    if image_files.labels is not None:
        filenames, labels = check_samples(image_files.filenames, image_files.labels)
        if labels.ndim == 1 and labels.dtype.kind in "iu":
            return filenames, labels.astype(np.int64)
        found = f"labels of type {labels.dtype} and shape {labels.shape}"
    raise ValueError(
        f"a pack keeps one integer as the label of each file; received {found}. Number the files, "
        f"files._replace(labels=np.arange(len(files.filenames))), and give MY_Generator other "
        f"labels afterwards"
    )


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
    data = FILE_WITH[plan["contents"]]
    if file.exists():
        found = packed.read_note(file)
        others = [name.replace("_", " ") for name in plan if found[name] != plan[name]]
        if others:
            raise ValueError(
                f"{path} holds a pack with other {', '.join(others)} (see {file}). Delete the "
                f"folder, or pack to another one"
            )
    elif (path / data).exists():
        raise ValueError(f"{path} holds no pack, but {data}. Pack to another folder")
    else:
        packed.write_note(file, plan)
    return complete


# ---- finish --------------------------------------------------------------------------------------


def _finish(path, data, plan):
    rows, _, crc32 = packed.read_index(path)
    index = np.load(path / INDEX, mmap_mode="r")
    if _checksum_of_files(index["name"], index["label"]) != plan["names_and_labels"]:
        raise packed.damaged(path / INDEX, "its names and labels are not those of the files")
    shape = _shape_of_pixels(rows) if data == PIXELS else None
    shape = shape or (size_of(path / data) - len(packed.npy_header("|u1", (0,))),)
    with (path / data).open("r+b") as file:
        file.write(packed.npy_header("|u1", shape))
        file.flush()
        os.fsync(file.fileno())
    packed.read_all(packs.PackedNames(path, rows))
    note = plan | {"shape": shape, "index_bytes": size_of(path / INDEX), "index_crc32": crc32}
    if plan["contents"] == "jpeg":
        note["losses"] = sum_up_losses(index)
    packed.write_note(path / packed.NOTE, note)
    (path / PLAN).unlink()


def _shape_of_pixels(rows):
    """Return the shape of all pictures as one array; None if they differ in size."""
    heights, widths = (np.unique(rows[side]).tolist() for side in ("height", "width"))
    if len(heights) == len(widths) == 1:
        return len(rows), *heights, *widths, 3
    return None


def _warn_of(suspects):
    if suspects:
        filename, remark = min(suspects)
        pictures = arguments.counted(len(suspects), "image was", "images were")
        warnings.warn(
            f"{pictures} packed that may be wrong, the first of them "
            f"{printable(filename)}: {remark}",
            stacklevel=3,
        )


def _bytes_lacking(path, row, filenames, how):
    rows, data_bytes = size_of(path / INDEX) // row.size, size_of(path / row.file)
    if not rows:
        rows, data_bytes = 1, bytes_of(keep(filenames[0], how).data)
    return (data_bytes / rows + row.size) * len(filenames) - data_bytes
