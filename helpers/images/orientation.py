"""How a picture is to be turned, which cameras note beside it, and the turning.

Sources: Exif 3.0 (the tag Orientation, 0x0112, in a block laid out as a TIFF file), and XMP, where
editors note the same number as ``tiff:Orientation``.
"""

import re
import struct
from collections.abc import Callable

import numpy as np

from helpers.images.opencv import cv2

UPRIGHT = 1
ORIENTATION = 0x0112
INTEGERS = {3: "H", 4: "I", 8: "h", 9: "i"}  # types of Exif, as struct calls them
EXIF_START = b"Exif\0\0"  # before the block, in JPEG by the standard, elsewhere by habit
IN_XMP = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')

TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda image: cv2.flip(image, 1),
    3: lambda image: cv2.rotate(image, cv2.ROTATE_180),
    4: lambda image: cv2.flip(image, 0),
    5: cv2.transpose,
    6: lambda image: cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE),
    7: lambda image: cv2.rotate(cv2.transpose(image), cv2.ROTATE_180),
    8: lambda image: cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE),
}


def of_metadata(exif: bytes = b"", xmp: bytes = b"") -> int:
    """Look up how a picture is to be turned.

    Parameters
    ----------
    exif : bytes
        A block of Exif; it comes first, as with Pillow.
    xmp : bytes
        A packet of XMP.

    Returns
    -------
    int
        1 to 8, as Exif numbers them; 1, nothing to do, if nothing or nonsense is said.
    """
    found = _of_exif(exif) if exif else None
    if found is None and (match := IN_XMP.search(xmp)):
        found = int(match[1])
    return found if found in TURNS else UPRIGHT


def _of_exif(block: bytes) -> int | None:
    block = block.removeprefix(EXIF_START)
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return None
    try:
        (directory,) = struct.unpack_from(order + "I", block, 4)
        (entries,) = struct.unpack_from(order + "H", block, directory)
        for position in range(directory + 2, directory + 2 + 12 * entries, 12):
            tag, kind, count = struct.unpack_from(order + "HHI", block, position)
            if tag == ORIENTATION:
                if kind not in INTEGERS or count != 1:
                    return None
                return struct.unpack_from(order + INTEGERS[kind], block, position + 8)[0]
    except struct.error:  # the block is cut off
        pass
    return None


def swaps_sides(orientation: int) -> bool:
    """Whether a picture that is turned so has its height where its width was."""
    return orientation >= 5


def upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """Turn and mirror a picture, so that it is seen as it was taken.

    Parameters
    ----------
    image : numpy.ndarray
        Array of shape (height, width, channels).
    orientation : int
        1 to 8, from `of_metadata`.

    Returns
    -------
    numpy.ndarray
        C-contiguous array; height and width are exchanged from 5 on.
    """
    return image if orientation == UPRIGHT else TURNS[orientation](image)
