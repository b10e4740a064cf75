"""Pictures of 16 bits a value: the upper 8 are kept, and what that loses is said."""

import numpy as np

from helpers.images.opencv import cv2

DARK = 1 << 14  # of 65,536: below that, values of 14 bits or fewer were not scaled up
AS_RGB = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}  # by channels
CURE = "pass read=, such as read=skimage.io.imread, with dtype='float32'"
CURE_OF_PNG = (  # in colour, where scikit-image's function, too, keeps 8 bits
    "pass read=, such as read=lambda name: cv2.imread(name, cv2.IMREAD_COLOR_RGB | "
    "cv2.IMREAD_ANYDEPTH), with dtype='float32'"
)
DOUBT = f"has 16 bits a value, of which the upper 8 are kept; to keep all, {CURE}"


def png_as_rgb(values: np.ndarray) -> tuple[np.ndarray, str | None]:
    """Make 8-bit RGB of a PNG that OpenCV read "unchanged".

    Parameters
    ----------
    values : numpy.ndarray
        uint16 array of shape (height, width), or (height, width, channels), blue first.

    Returns
    -------
    image : numpy.ndarray
        uint8 array of shape (height, width, 3).
    doubt : str or None
        What was lost; None if nothing was.
    """
    image = upper_bits(values)
    channels = 1 if image.ndim == 2 else image.shape[2]
    return cv2.cvtColor(image, AS_RGB[channels]), doubt_of(values, is_png=True)


def upper_bits(values: np.ndarray, bits: int = 16) -> np.ndarray:
    """Keep the upper 8 of so many bits."""
    return (values >> (bits - 8)).astype(np.uint8)


def doubt_of(values: np.ndarray, bits: int = 16, is_png: bool = False) -> str | None:
    """Say what is lost with the lower bits; None if they hold nothing of their own.

    Parameters
    ----------
    values : numpy.ndarray
        The file's values: whole numbers in an array of shape (height, width[, channels]).
    bits : int
        How many of them count.
    is_png : bool
        Whether they come from a PNG, which programs read otherwise.
    """
    # What had 8 bits, and was saved with more of them.
    factors = (257, 256) if bits == 16 else (1 << (bits - 8),)
    if any(_are_multiples(values, factor, bits) for factor in factors):
        return None
    cure = CURE_OF_PNG if is_png and values.ndim == 3 else CURE
    kept = f"has {bits} bits a value, of which the upper 8 are kept"
    if bits == 16 and (largest := values.max()) < DARK:
        return (
            f"{kept}, but no value above {largest:,}: it comes out nearly black. Scale its values "
            f"up to 65,535; or, to keep all, {cure}"
        )
    return f"{kept}; to keep all, {cure}"


def _are_multiples(values: np.ndarray, factor: int, bits: int) -> bool:
    """Whether values are their upper 8 bits times `factor`; of most pictures one row tells."""
    return all(np.array_equal(row, (row >> (bits - 8)) * factor) for row in values)


def doubt_of_file(data: bytes, is_png: bool) -> str | None:
    """Say what is lost of a file of 16 bits that Pillow reads as one of 8."""
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16:  # nobody here knows whether anything is
        return DOUBT
    return doubt_of(values, is_png=is_png)
