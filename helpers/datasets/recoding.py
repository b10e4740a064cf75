"""Encode pictures again, as JPEG of bounded size, and say what that costs them."""

import contextlib
import os

from helpers import arguments
from helpers.images.headers import read_header
from helpers.images.opencv import cv2
from helpers.images.orientation import swaps_sides
from helpers.images.reading import decode, printable
from helpers.images.recipe import Recipe


def fitting(size, max_size):
    """Return the size that fits within another, of the same shape and not enlarged."""
    scale = min(1, *(most / side for side, most in zip(size, max_size, strict=True)))
    return tuple(max(1, round(scale * side)) for side in size)


def size_in_header(data):
    """Height and width of a picture as it is seen; None if its header does not say it."""
    with contextlib.suppress(ValueError):  # to decode it will tell what is wrong
        if (header := read_header(data)) is not None:
            size = header.height, header.width
            return size[::-1] if swaps_sides(header.orientation) else size
    return None


def encode(image, quality):
    """Encode a picture as JPEG, and look what became of it.

    Parameters
    ----------
    image : numpy.ndarray
        uint8 array of shape (height, width, 3), channels red, green, blue.
    quality : int
        1 to 100.

    Returns
    -------
    data : bytes
        The file.
    lost : float
        How much its values differ from those of `image`, of 255, on average.
    """
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)  # the order that OpenCV stores
    sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420
    data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality, *sampling])[1].tobytes()
    decoded, _, _ = decode(data, "what was encoded", Recipe(max_pixels=image.size))
    return data, cv2.norm(image, decoded, cv2.NORM_L1) / image.size


def sum_up_losses(index):
    """Sum up what the pictures of a pack lost when they were encoded again.

    Parameters
    ----------
    index : numpy.ndarray
        The rows of the pack's index.

    Returns
    -------
    dict
        For the pack's note.
    """
    lost = index["lost"]
    changed = lost[lost > 0]
    return {
        "file_bytes": int(index["file_size"].sum()),
        "bytes": int(index["size"].sum()),
        "pictures": len(changed),
        "average": float(changed.mean(dtype=float)) if len(changed) else 0.0,
        "largest": float(lost.max()),
        "worst_picture": os.fsdecode(index["name"][lost.argmax()]),
    }


def describe_losses(path, note):
    """Say in a line what the pictures of a pack lost.

    Parameters
    ----------
    path : Path
        The pack.
    note : dict
        Its note, with what `sum_up_losses` found.

    Returns
    -------
    str
        Such as "photos.pack: 200 images as JPEG no larger than 448×448, quality 90: 22 MB of …".
    """
    losses = note["losses"]
    height, width = note["image_size"] or note["max_size"]
    bound = "of" if note["image_size"] else "no larger than"
    megabytes, before = (losses[name] / 1e6 for name in ("bytes", "file_bytes"))
    pictures = arguments.counted(note["pictures"], "image")
    parts = [
        f"{path.name}: {pictures} as JPEG {bound} {height}×{width}, quality "
        f"{note['quality']}: {megabytes:,.1f} MB of {before:,.1f} MB"
    ]
    if unchanged := note["pictures"] - losses["pictures"]:
        parts.append(f"{unchanged:,} of them lost nothing")
    if losses["pictures"]:
        parts.append(
            f"pixels differ by {losses['average']:.1f} of 255 on average, {losses['largest']:.1f} "
            f"in the worst image ({printable(losses['worst_picture'])}), from those before "
            f"encoding"
        )
    return "; ".join(parts)
