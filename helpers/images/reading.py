"""From an image file, or a picture in a pack, to an array of its own size."""

import os

import numpy as np

from helpers import images
from helpers.images import headers, packs
from helpers.images.opencv import cv2


class ImageError(Exception):
    """A picture that cannot become part of a batch.

    Parameters
    ----------
    filename : str
        The file that was to be read.
    reason : str
        What is wrong with it.
    """

    def __init__(self, filename: str, reason: str):
        # Both go to Exception, so that the error can be pickled on its way from a worker.
        super().__init__(filename, reason)
        self.filename = filename
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.filename}: {self.reason}"


def read_image(filename: str | os.PathLike) -> np.ndarray:
    """Read any picture as 8-bit RGB.

    Grey, palette, 1-bit, 16-bit and CMYK pictures are converted, an EXIF rotation is
    carried out, and transparency is dropped, as ``keras.utils.load_img`` and
    ``tf.io.decode_image(channels=3)`` do too (but an RGBA TIFF's colours are multiplied by
    their alpha, and a GIF shows its background colour). Of an animation the first picture
    is taken.

    Parameters
    ----------
    filename : str or os.PathLike
        A JPEG, PNG, BMP, GIF, WebP or TIFF file. The content decides, not the ending. Or a
        picture in a pack, such as "cifar.pack#17" (see `helpers.pack`).

    Returns
    -------
    numpy.ndarray
        uint8 array of shape (height, width, 3), channels red, green, blue.

    Raises
    ------
    ImageError
        If the file is missing, unreadable, empty, cut off or no picture, or if it claims
        more than `MAX_PIXELS` pixels. The message names the file.
    """
    filename = os.fspath(filename)
    if packs.is_packed(filename):
        with packs.OpenPacks() as open_packs:
            return read_packed(filename, open_packs).copy()  # one that can be written to
    return decode(file_content(filename), filename)


def read_packed(filename: str, open_packs: packs.OpenPacks) -> np.ndarray:
    """Read a picture in a pack, which must not be written to."""
    try:
        return open_packs.read(filename)
    except packs.PackError as error:
        raise ImageError(filename, str(error)) from error


def file_content(filename: str, folder: str = "") -> bytes:
    """Read a file's bytes; ImageError if that cannot be done, or there are none."""
    try:
        # Python opens names in any script on every system; cv2.imread does not on Windows.
        path = os.path.join(folder, filename)  # noqa: PTH118 - pathlib costs 4 µs a file here
        with open(path, "rb") as file:  # noqa: PTH123
            data = file.read()
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        reason = getattr(error, "strerror", None) or str(error)
        raise ImageError(filename, f"cannot be opened ({reason})") from error
    if not data:
        raise ImageError(filename, "is empty (0 bytes)")
    return data


def decode(data: bytes, filename: str) -> np.ndarray:
    """Decode a file's bytes, as `read_image` says it."""
    width, height = headers.claimed_size(data) or (0, 0)
    if width * height > images.MAX_PIXELS:
        claim = f"claims {width} × {height} pixels, more than the {images.MAX_PIXELS:,} allowed"
        raise ImageError(filename, f"{claim} (helpers.images.MAX_PIXELS)")
    if headers.is_cut_png(data):
        raise ImageError(filename, f"is damaged or cut off ({len(data):,} bytes)")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise ImageError(filename, f"cannot be decoded ({error.err})") from error
    if image is None:
        reason = f"is damaged, cut off or no picture that OpenCV knows ({len(data):,} bytes)"
        raise ImageError(filename, reason)
    return image
