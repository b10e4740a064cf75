"""From an image file, or a picture in a pack, to an array of its own size."""

import os
import warnings

import numpy as np

from helpers import arguments
from helpers.images import MAX_PIXELS, jpeg, masks, packs, pillow, sixteen_bits
from helpers.images.disk import try_again
from helpers.images.headers import check_claim, read_header
from helpers.images.opencv import cv2
from helpers.images.orientation import UPRIGHT, swaps_sides, upright
from helpers.images.recipe import Recipe
from helpers.images.shrinking import Draft

AS_STORED = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
REDUCED = {  # these are the bits for the size alone; those that say COLOR mean blue first
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
}
ENOUGH = 2  # times as large as the result is to be: a smaller draft would be seen in it
OPENCVS_LIMIT = 1 << 30  # pixels; it can only be set before OpenCV is loaded
PLAIN = Recipe()


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
        16-bit values of which the lower bits are lost.
    """
    image, doubt = read_and_doubt(os.fspath(filename), max_pixels)
    if doubt:
        warnings.warn(printable(f"{filename}: {doubt}"), stacklevel=2)
    return image


def read_and_doubt(filename: str, max_pixels: int) -> tuple[np.ndarray, str | None]:
    """Read a picture as `read_image` does, and return what that would warn of."""
    recipe = Recipe(max_pixels=max_pixels)
    if not packs.is_packed(filename):
        image, doubt, _ = decode(file_content(filename), filename, recipe)
        return image, doubt
    with packs.OpenPacks() as open_packs:
        content = read_packed(filename, open_packs)
        if isinstance(content, np.ndarray):
            return content.copy(), None  # one that can be written to
        image, doubt, _ = decode_packed(content, filename, open_packs, recipe)
        return image, doubt


def read_packed(filename: str, open_packs: packs.OpenPacks) -> np.ndarray | bytes:
    """Read a picture in a pack, which must not be written to; or the bytes of a file in a pack."""
    try:
        return open_packs.read(filename)
    except packs.PackError as error:
        raise ImageError(filename, str(error)) from error


def in_color_mode(image: np.ndarray, recipe: Recipe, filename: str = "") -> np.ndarray:
    """Give packed pixels, uint8 RGB, the channels that a recipe asks for; ImageError for a mask."""
    if recipe.is_mask:
        reason = "lies in a pack of pixels, which are colours; pack masks with contents='files'"
        raise ImageError(filename, reason)
    return _with_channels(image, recipe)


def _with_channels(image: np.ndarray, recipe: Recipe) -> np.ndarray:
    if image.shape[2] == recipe.channels:
        return image
    if recipe.channels == 1:
        return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., np.newaxis]
    return cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)  # opaque


def decode_packed(
    data: bytes, filename: str, open_packs: packs.OpenPacks, recipe: Recipe
) -> tuple[np.ndarray, str | None, Draft | None]:
    """Decode a file in a pack as `decode` does; an error names the file that it was, too."""
    try:
        return decode(data, filename, recipe)
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
    # All at once: a buffer would cost 2 µs a file.
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - as above
        return file.read()


def decode(
    data: bytes, filename: str, recipe: Recipe = PLAIN
) -> tuple[np.ndarray, str | None, Draft | None]:
    """Decode a file's bytes, as `read_image` says it.

    Parameters
    ----------
    data : bytes
        The whole file.
    filename : str
        Its name, for errors.
    recipe : Recipe
        What it is decoded for: with ``recipe.draft`` a JPEG that is much larger than
        ``recipe.image_size`` is decoded at 1/2, 1/4 or 1/8 of its size, in less time.

    Returns
    -------
    image : numpy.ndarray
        uint8 array of shape (height, width, channels), where grey and transparency are as
        Pillow's ``convert("L")`` and ``convert("RGBA")`` make them; of a mask an array of
        ``recipe.dtype``, and shape (height, width, 1), as `masks.decode` says it.
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
        if recipe.is_mask:
            return masks.decode(data, recipe.dtype, recipe.max_pixels), None, None
        image, doubt, draft = _decode_picture(data, recipe)
        return _with_channels(image, recipe), doubt, draft
    except ValueError as error:
        raise ImageError(filename, str(error)) from error


def _decode_picture(data: bytes, recipe: Recipe) -> tuple[np.ndarray, str | None, Draft | None]:
    """Decode to RGB; to RGBA, if that is wanted and Pillow finds transparency."""
    with_alpha = recipe.color_mode == "rgba"
    header = read_header(data)
    if header is None:
        return *pillow.decode(data, recipe.max_pixels, with_alpha), None
    width, height, orientation, is_plain, has_16_bits = header
    check_claim(width, height, recipe.max_pixels)
    is_jpeg = data.startswith(jpeg.START)  # which has no transparency; of others OpenCV loses some
    if not is_plain or width * height > OPENCVS_LIMIT or (with_alpha and not is_jpeg):
        return *pillow.decode(data, recipe.max_pixels, with_alpha), None
    doubt = draft = None
    if is_jpeg:
        if not jpeg.is_one_scan(data):
            doubt = pillow.doubt_of_scans(data)
        if (image_size := _size_for_drafts(recipe)) is not None:
            size = (width, height) if swaps_sides(orientation) else (height, width)
            draft = _choose_draft(size, image_size)
    if has_16_bits:
        image, doubt = sixteen_bits.png_as_rgb(_decode_plain(data, cv2.IMREAD_UNCHANGED))
    else:
        image = _decode_plain(data, AS_STORED | REDUCED[draft.factor] if draft else AS_STORED)
    return (image if orientation == UPRIGHT else upright(image, orientation)), doubt, draft


def _size_for_drafts(recipe: Recipe) -> tuple[int, int] | None:
    """Size that pictures will have; None if it has to come from all their pixels."""
    is_blurred = recipe.interpolation == "bilinear" and not recipe.pad_to_aspect_ratio
    return recipe.image_size if recipe.draft and is_blurred else None


def _choose_draft(size: tuple[int, int], image_size: tuple[int, int]) -> Draft | None:
    """Choose the smallest size to decode to that is large enough; None for the picture's own.

    Of a picture that is cropped, one whole side is left, and the shape of the result: the rule is
    the same.
    """
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
            f"is damaged, cut off or no image that OpenCV knows "
            f"({arguments.counted(len(data), 'byte')})"
        )
    return image
