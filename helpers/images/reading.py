"""From an image file, or a picture in a pack, to an array of its own size."""

import os
import warnings

import numpy as np

from helpers.images import MAX_PIXELS, jpeg, packs, pillow
from helpers.images.disk import try_again
from helpers.images.headers import check_claim, read_header
from helpers.images.opencv import cv2
from helpers.images.orientation import UPRIGHT, swaps_sides, upright
from helpers.images.shrinking import Draft

AS_STORED = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
REDUCED = {  # these are the bits for the size alone; those that say COLOR mean blue first
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
}
ENOUGH = 2  # times as large as the result is to be: a smaller draft would be seen in it
OPENCVS_LIMIT = 1 << 30  # pixels; it can only be set before OpenCV is loaded
DARK = 1 << 14  # of 65,536: below that, values of 14 bits or fewer were not scaled up


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
        return printable(f"{self.filename}: {self.reason}")


def printable(text: str) -> str:
    """Escape the bytes of a file name that are no UTF-8; TensorFlow's errors lose such a text."""
    return text.encode("utf-8", "backslashreplace").decode()


def read_image(filename: str | os.PathLike, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read any picture as 8-bit RGB.

    Grey, palette, 1-bit and CMYK pictures are converted, and transparency is dropped, as
    ``keras.utils.load_img`` does it; of an animation the first picture is taken. Of 16 bits the
    upper 8 are kept, as by ``tf.io.decode_image`` (``load_img`` makes grey above 255 white). A
    picture is turned as its camera noted it (in Exif or XMP), as `PIL.ImageOps.exif_transpose`
    does it; ``load_img`` turns TIFF only, and ``tf.io.decode_image`` nothing.

    A file that is damaged is refused where that can be known. It cannot, where a format keeps no
    checksum and the damaged bytes are legal: in the pixels of BMP, GIF, WebP and JPEG files, and
    of TIFF files without compression or with LZW, PackBits or JPEG. There single pixels, or all
    from the damage on, may be wrong.

    Parameters
    ----------
    filename : str or os.PathLike
        A JPEG, PNG, BMP, GIF, WebP or TIFF file; AVIF, JPEG 2000 and PPM are read, too. The
        content decides, not the ending. Or a picture in a pack, such as "cifar.pack#17" (see
        `helpers.pack`).
    max_pixels : int
        A picture that claims more is refused before memory is taken for it.

    Returns
    -------
    numpy.ndarray
        uint8 array of shape (height, width, 3), channels red, green, blue.

    Raises
    ------
    ImageError
        If the file is missing, unreadable, empty, damaged, cut off or no picture, if its values
        are signed or floating-point, or if it claims more than `max_pixels` pixels. The message
        names the file.

    Warns
    -----
    UserWarning
        If a picture was read and is doubtful: a JPEG with pixels missing that Pillow accepts, or
        16-bit values so small that the picture is nearly black.
    """
    image, doubt = read_and_doubt(os.fspath(filename), max_pixels)
    if doubt:
        warnings.warn(printable(f"{filename}: {doubt}"), stacklevel=2)
    return image


def read_and_doubt(filename: str, max_pixels: int) -> tuple[np.ndarray, str | None]:
    """Read a picture as `read_image` does, and return what that would warn of."""
    if not packs.is_packed(filename):
        image, doubt, _ = decode(file_content(filename), filename, max_pixels)
        return image, doubt
    with packs.OpenPacks() as open_packs:
        content = read_packed(filename, open_packs)
        if isinstance(content, np.ndarray):
            return content.copy(), None  # one that can be written to
        image, doubt, _ = decode_packed(content, filename, open_packs, max_pixels)
        return image, doubt


def read_packed(filename: str, open_packs: packs.OpenPacks) -> np.ndarray | bytes:
    """Read a picture in a pack, which must not be written to; or the bytes of a file in a pack."""
    try:
        return open_packs.read(filename)
    except packs.PackError as error:
        raise ImageError(filename, str(error)) from error


def decode_packed(
    data: bytes,
    filename: str,
    open_packs: packs.OpenPacks,
    max_pixels: int,
    draft_for: tuple[int, int] | None = None,
) -> tuple[np.ndarray, str | None, Draft | None]:
    """Decode a file in a pack as `decode` does; an error names the file that it was, too."""
    try:
        return decode(data, filename, max_pixels, draft_for)
    except ImageError as error:
        reason = error.reason + open_packs.original(filename)
        raise ImageError(filename, reason) from error.__cause__


def file_content(filename: str, folder: str = "") -> bytes:
    """Read a file's bytes; ImageError if that cannot be done, or there are none."""
    try:
        # Python opens names in any script on every system; cv2.imread does not on Windows.
        path = os.path.join(folder, filename)  # noqa: PTH118 - pathlib costs 4 µs a file here
        try:
            data = _read(path)
        except OSError as error:
            data = try_again(error, _read, path)
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        reason = getattr(error, "strerror", None) or str(error)
        raise ImageError(filename, f"cannot be opened ({reason})") from error
    if not data:
        raise ImageError(filename, "is empty (0 bytes)")
    return data


def _read(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123 - as above
        return file.read()


def decode(
    data: bytes,
    filename: str,
    max_pixels: int = MAX_PIXELS,
    draft_for: tuple[int, int] | None = None,
) -> tuple[np.ndarray, str | None, Draft | None]:
    """Decode a file's bytes, as `read_image` says it.

    Parameters
    ----------
    data : bytes
        The whole file.
    filename : str
        Its name, for errors.
    max_pixels : int
        As in `read_image`.
    draft_for : tuple of int, optional
        Height and width that the picture will be resized to. A JPEG that is much larger is
        decoded at 1/2, 1/4 or 1/8 of its size then, in less time.

    Returns
    -------
    image : numpy.ndarray
        uint8 array of shape (height, width, 3).
    doubt : str or None
        Why the picture may be wrong, though it was read.
    draft : Draft or None
        What `image` is a draft of, if it is one.

    Raises
    ------
    ImageError
        As `read_image`.
    """
    try:
        header = read_header(data)
        if header is None:
            return *_decode_by_pillow(data, max_pixels), None
        width, height, orientation, is_plain, has_16_bits = header
        check_claim(width, height, max_pixels)
        if not is_plain or width * height > OPENCVS_LIMIT:
            return *_decode_by_pillow(data, max_pixels), None
        doubt = draft = None
        if data.startswith(jpeg.START):
            if not jpeg.is_one_scan(data):
                doubt = _doubt_of_scans(data)
            if draft_for is not None:
                size = (width, height) if swaps_sides(orientation) else (height, width)
                draft = _choose_draft(size, draft_for)
        image = _decode_plain(data, AS_STORED | REDUCED[draft.factor] if draft else AS_STORED)
        if has_16_bits:
            doubt = _doubt_of_values(data, image)
        return (image if orientation == UPRIGHT else upright(image, orientation)), doubt, draft
    except ValueError as error:
        raise ImageError(filename, str(error)) from error


def _choose_draft(size: tuple[int, int], image_size: tuple[int, int]) -> Draft | None:
    """Choose the smallest size to decode to that is large enough; None for the picture's own."""
    for factor in REDUCED:
        if all(
            side >= ENOUGH * factor * new_side
            for side, new_side in zip(size, image_size, strict=True)
        ):
            return Draft(factor, *size)
    return None


def _decode_plain(data: bytes, flags: int) -> np.ndarray:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ValueError(f"cannot be decoded ({error.err})") from error
    if image is None:
        raise ValueError(
            f"is damaged, cut off or no picture that OpenCV knows ({len(data):,} bytes)"
        )
    return image


def _decode_by_pillow(data: bytes, max_pixels: int) -> tuple[np.ndarray, str | None]:
    image, has_16_bits = pillow.decode(data, max_pixels)
    return image, _doubt_of_values(data, image) if has_16_bits else None


def _doubt_of_scans(data: bytes) -> str | None:
    """Why the pixels of a JPEG are incomplete; ValueError if Pillow, too, refuses it.

    Cameras and editors write odd files, and nobody would have us throw them all away.
    """
    try:
        jpeg.check_scans(data)
    except ValueError as fault:
        if pillow.refuses(data):
            raise ValueError(f"is damaged: {fault}") from None
        return f"is damaged, and read all the same: {fault}"
    return None


def _doubt_of_values(data: bytes, image: np.ndarray) -> str | None:
    """Whether a picture of 16 bits comes out dark: of each value the upper 8 bits are kept."""
    if image.max() >= DARK >> 8:
        return None
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16 or not 0 < values.max() < DARK:
        return None
    return (
        f"has 16 bits a value, of which the upper 8 are kept, but no value above "
        f"{values.max():,}: it comes out nearly black. Scale its values up to 65,535"
    )
