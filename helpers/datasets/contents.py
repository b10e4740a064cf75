"""What a pack keeps of each picture: its pixels, its file as it is, or a JPEG of bounded size."""

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from helpers import arguments
from helpers.datasets import recoding
from helpers.images import jpeg, packs
from helpers.images.batches import load_batch
from helpers.images.reading import ImageError, decode, file_content, read_and_doubt, read_packed
from helpers.images.recipe import Recipe
from helpers.images.request import BatchRequest
from helpers.images.resizing import write_resized

RESIZING = ("draft", "crop_to_aspect_ratio", "pad_to_aspect_ratio", "interpolation")
TAKES = {
    "pixels": {"image_size", *RESIZING},
    "files": set(),
    "jpeg": {"image_size", "max_size", "quality", *RESIZING},
}
"""The arguments of `pack` that go with each of its `contents`."""
AS_USUAL = Recipe()._asdict()
QUALITY = 90  # of 100, if nothing is said


class How(NamedTuple):
    """What becomes of each picture: the arguments of `pack`, checked."""

    contents: str
    image_size: tuple[int, int] | None
    max_size: tuple[int, int] | None
    quality: int | None
    plain: Recipe

    def recipe(self, image_size):
        """Return how a picture becomes pixels of that size."""
        return self.plain._replace(image_size=image_size)

    def size_for(self, size):
        """Return height and width of the JPEG for a picture of that size."""
        return self.image_size or recoding.fitting(size, self.max_size)


class Kept(NamedTuple):
    """What a pack keeps of a picture.

    Attributes
    ----------
    data : bytes or numpy.ndarray
        A file's content, or pixels.
    numbers : tuple
        What the index says of it: see `helpers.images.pack_layout`.
    suspects : sequence of tuple of str
        Name and remark, if it was read and may be wrong all the same.
    """

    data: bytes | np.ndarray
    numbers: tuple[float, ...]
    suspects: Sequence[tuple[str, str]]


# ---- what is asked for ---------------------------------------------------------------------------


def check_how(contents, image_size, max_size, quality, **resizing):
    """Check the arguments of `pack` that say what becomes of each picture."""
    arguments.choice("contents", contents, tuple(TAKES))
    if image_size is not None:
        image_size = arguments.image_size(image_size)
    if max_size is not None:
        max_size = arguments.image_size(max_size, "max_size")
    any_size = image_size or max_size or (1, 1)  # of pictures that keep their shape it comes later
    plain = Recipe(any_size, "uint8", **resizing).checked()
    _check_what_goes_together(contents, image_size, max_size, quality, resizing)
    if contents == "jpeg":
        quality = QUALITY if quality is None else quality
        quality = arguments.whole_number("quality", quality, at_least=1, at_most=100)
        longest = max(image_size or max_size)
        arguments.whole_number("a side of a JPEG", longest, 1, at_most=jpeg.LONGEST_SIDE)
    return How(contents, image_size, max_size, quality, plain)


def _check_what_goes_together(contents, image_size, max_size, quality, resizing):
    # What is as it is when nothing is said goes with everything.
    said = {name: value for name, value in resizing.items() if value != AS_USUAL.get(name)}
    received = {"image_size": image_size, "max_size": max_size, "quality": quality, **said}
    received.pop("max_pixels", None)
    others = [
        f"{name}={value!r}"
        for name, value in received.items()
        if value is not None and name not in TAKES[contents]
    ]
    if others:
        raise ValueError(
            f"contents={contents!r} does not go with {', '.join(others)}. Leave that out, or pass "
            f"contents='jpeg', which makes JPEG files of the size and quality that you want"
        )
    if contents == "jpeg" and (image_size is None) == (max_size is None):
        raise ValueError(
            f"contents='jpeg' needs image_size=(height, width), the size that all images get, or "
            f"max_size=(height, width), which none exceeds: one of the two; received "
            f"image_size={image_size!r} and max_size={max_size!r}"
        )
    for name in said.keys() & TAKES[contents]:
        if image_size is None and not (name == "draft" and contents == "jpeg"):
            raise ValueError(
                f"{name}={said[name]!r} needs image_size=(height, width): it is a way to resize"
            )


# ---- what is kept --------------------------------------------------------------------------------


def keep(filename, how):
    """Read a picture, and return what a pack keeps of it.

    Parameters
    ----------
    filename : str or os.PathLike
        An image file, or a picture in another pack.
    how : How
        What becomes of it.

    Returns
    -------
    Kept

    Raises
    ------
    ImageError
        If it cannot be read.
    """
    keep_as = {"pixels": _keep_pixels, "files": _keep_file, "jpeg": _keep_jpeg}[how.contents]
    return keep_as(os.fspath(filename), how)


def _keep_pixels(filename, how):
    if how.image_size is None:
        image, doubt = read_and_doubt(filename, how.plain.max_pixels)
        suspects = _suspects(filename, doubt)
    else:
        loaded = load_batch(BatchRequest([filename], how.recipe(how.image_size)))
        image, suspects = loaded.images[0], loaded.suspects
    return Kept(image, image.shape[:2], suspects)


def _keep_file(filename, how):
    data = _content(filename)
    if isinstance(data, np.ndarray):
        reason = "is kept as pixels, and no longer as a file; pack it as contents='pixels'"
        raise ImageError(filename, reason)
    _, doubt, _ = decode(data, filename, how.recipe(None))
    return Kept(data, (len(data), len(data), 0), _suspects(filename, doubt))


def _keep_jpeg(filename, how):
    """Encode a picture again, but for a JPEG file that has the right size already."""
    content = _content(filename)
    if isinstance(content, np.ndarray):
        image, doubt, draft = content, None, None
    else:
        size = recoding.size_in_header(content) if how.plain.draft else None
        recipe = how.recipe(how.size_for(size) if size else None)
        image, doubt, draft = decode(content, filename, recipe)
    size = (draft.height, draft.width) if draft else image.shape[:2]
    new_size = how.size_for(size)
    file_size = memoryview(content).nbytes
    if new_size == size and isinstance(content, bytes) and content.startswith(jpeg.START):
        data, lost = content, 0
    else:
        resized = np.empty((*new_size, 3), np.uint8)
        write_resized(resized, image, how.recipe(new_size), draft)
        data, lost = recoding.encode(resized, how.quality)
    return Kept(data, (len(data), file_size, lost), _suspects(filename, doubt))


def _content(filename):
    """Bytes of a file, on disk or in a pack; or pixels, if that is what the pack has."""
    if packs.is_packed(filename):
        with packs.OpenPacks() as open_packs:
            return read_packed(filename, open_packs)
    return file_content(filename)


def _suspects(filename, doubt):
    return [(filename, doubt)] if doubt else []
