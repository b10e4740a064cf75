"""Masks: pictures whose pixels are whole numbers, each a class or an object.

Pillow gives the numbers as they lie in the file: for a palette the indices, of which OpenCV makes
colours.
"""

import numpy as np

from helpers.images import pillow, tiff
from helpers.images.headers import is_lossless_webp
from helpers.images.orientation import upright

LOSSLESS = {"PNG", "GIF", "BMP", "TIFF"}
NUMBERS = {"1", "L", "P", "I", "F"} | pillow.SIXTEEN_BITS  # modes of Pillow, of one value a pixel
CHANNELS = {"LA", "PA", "RGB", "RGBA"}
DTYPES = ("uint8", "uint16", "int32")
CURE = "pass Masks(..., read=function)"


def decode(data: bytes, dtype: str, max_pixels: int) -> np.ndarray:
    """Decode a file whose values are whole numbers.

    Palettes give their indices, 1 bit gives 0 and 1, grey its values, of 2 bits 0 to 3. Channels
    that are all equal give their value, and transparency is dropped.

    Parameters
    ----------
    data : bytes
        A whole PNG, GIF, BMP, TIFF or lossless WebP file.
    dtype : str
        A type of whole numbers, such as "uint8".
    max_pixels : int
        A mask that claims more is refused.

    Returns
    -------
    numpy.ndarray
        Array of shape (height, width, 1), turned as a picture would be.

    Raises
    ------
    ValueError
        If the file is damaged or claims too many pixels, if it may have lost values or holds
        colours, or if `dtype` cannot hold its values.
    """
    picture = pillow.opened(data, max_pixels)
    _check_kind(picture, data)
    orientation = pillow.load(picture, data)
    values = _numbers(picture, data) if picture.mode in NUMBERS else _of_channels(picture, data)
    return as_mask(upright(values, orientation)[..., np.newaxis], dtype)


def as_mask(values: np.ndarray, dtype: str) -> np.ndarray:
    """Give the values of a mask a type that holds them.

    Parameters
    ----------
    values : numpy.ndarray
        Array of whole numbers, or of False and True, which become 0 and 1.
    dtype : str
        A type of whole numbers.

    Returns
    -------
    numpy.ndarray
        Array of `dtype`, of the same shape.

    Raises
    ------
    ValueError
        If they are no whole numbers, or `dtype` cannot hold them.
    """
    if values.dtype.kind not in "bui":
        raise ValueError(
            f"holds values of type {values.dtype}, and a mask is of whole numbers: {CURE} that "
            f"ends with .astype({dtype!r}), if they are"
        )
    low, high = int(values.min()), int(values.max())
    if not _holds(dtype, low, high):
        larger = next((name for name in DTYPES if _holds(name, low, high)), None)
        cure = f"pass Masks(..., dtype={larger!r})" if larger else f"{CURE} that numbers them anew"
        raise ValueError(
            f"holds values from {low:,} to {high:,}, which dtype={dtype!r} cannot keep: {cure}"
        )
    return values.astype(dtype)


def _holds(dtype: str, low: int, high: int) -> bool:
    limits = np.iinfo(dtype)
    return limits.min <= low and high <= limits.max


def _check_kind(picture, data: bytes) -> None:
    """Refuse files whose values may be others than those that were saved."""
    kind = picture.format
    compression = pillow.tags_of(picture).get(tiff.COMPRESSION)
    if compression in tiff.LOSSY:
        kind = "TIFF with lossy compression"
    elif kind in LOSSLESS or (kind == "WEBP" and is_lossless_webp(data)):
        return
    raise ValueError(
        f"is a mask in {kind}, which need not keep values as they were saved: save masks as PNG, "
        f"or {CURE}"
    )


def _numbers(picture, data: bytes) -> np.ndarray:
    values = np.asarray(picture)
    format = pillow.tags_of(picture).get(tiff.FORMAT, (tiff.UNSIGNED,))[0]
    if picture.mode == "1":
        return values.astype(np.uint8)
    if picture.mode == "L" and (bits := pillow.bits_of(picture, data)) in (2, 4):
        return values // (255 // (2**bits - 1))  # Pillow scales them up to 255
    # Pillow has no type for these, and takes them for others of the same length.
    if picture.mode == "L" and format == tiff.SIGNED:
        return values.view(np.int8)
    if picture.mode == "I" and format == tiff.UNSIGNED and picture.format == "TIFF":
        return values.view(np.uint32)
    return values


def _of_channels(picture, data: bytes) -> np.ndarray:
    """Take one of several channels, if they all say the same."""
    bits = pillow.bits_of(picture, data)
    if picture.mode not in CHANNELS or bits > 8:  # of which Pillow keeps 8
        raise ValueError(
            f"is a mask with several channels (in Pillow's mode {picture.mode!r}, of {bits} bits "
            f"each): save it with one, or {CURE}"
        )
    values = np.asarray(picture)
    colours = values[..., :-1] if picture.mode.endswith("A") else values
    first = np.ascontiguousarray(values[..., 0])
    if (colours != first[..., np.newaxis]).any():
        raise ValueError(
            f"holds colours, and a mask holds the numbers of classes: save these, with one channel "
            f"or a palette, or {CURE}"
        )
    if np.ptp(first) == 0 < np.ptp(values[..., -1]):
        raise ValueError(f"has one value, and differs in transparency only: {CURE}")
    return first
