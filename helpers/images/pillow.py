"""The kinds of pictures that OpenCV reads wrong, or not at all: Pillow reads them.

OpenCV reads JPEG, PNG, WebP and plain BMP, which is nearly all that people have, and is faster.
Of other kinds it takes damaged data for whole, mixes up channels, or does not say why it cannot
read a file. Pillow is loaded when the first such file comes.
"""

import contextlib
import importlib
import io
import math
import threading
import warnings
from collections.abc import Iterator, Mapping

import numpy as np

from helpers.images import tiff
from helpers.images.headers import check_claim
from helpers.images.opencv import cv2
from helpers.images.orientation import ORIENTATION, UPRIGHT, upright

READERS = {
    tiff.STARTS: "Tiff",
    (b"GIF8",): "Gif",
    (b"BM",): "Bmp",
    (b"\x89PNG",): "Png",
    (b"\xff\xd8",): "Jpeg",
    (b"RIFF",): "WebP",
    (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  "): "Jpeg2K",
    tuple(b"P%d" % number for number in range(1, 7)): "Ppm",
}
"""By a file's first bytes. The readers are called by name: `PIL.Image.open` has a limit of pixels
that holds for the whole program."""
BIG_TIFF = 43  # the format's number, with places of 64 bits; 42 stands for those of 32
SIXTEEN_BITS = {"I;16", "I;16B", "I;16L", "I;16N"}
EIGHT_BITS = {
    "1",
    "L",
    "LA",
    "La",
    "P",
    "PA",
    "RGB",
    "RGBA",
    "RGBX",
    "RGBa",
    "YCbCr",
    "CMYK",
    "LAB",
}

_LIFTING = threading.Lock()  # one thread at a time puts back what it found

# It warns of damaged tags, and names no file; where pixels are concerned, an error follows.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.TiffImagePlugin")


def decode(data: bytes, max_pixels: int) -> tuple[np.ndarray, bool]:
    """Decode a file with Pillow.

    Returns
    -------
    image : numpy.ndarray
        uint8 array of shape (height, width, 3).
    has_16_bits : bool
        Whether the file has 16 bits a value.

    Raises
    ------
    ValueError
        If it is damaged, claims more than `max_pixels` pixels, or is of a kind that is not read.
    """
    picture = _opened(data)
    width, height = picture.size
    check_claim(width, height, max_pixels)
    tags = getattr(picture, "tag_v2", {})
    tiff.check_values(tags)
    if picture.mode not in EIGHT_BITS | SIXTEEN_BITS and picture.format != "PPM":
        raise ValueError(f"holds values of Pillow's mode {picture.mode!r}, which is not read here")
    if tiff.is_misread_by_pillow(tags):
        return _read_by_opencv(data, tags), True
    try:
        tiff.check_parts(tags, data)
        with _pillows_own_limit_lifted(picture.size):
            picture.load()
        orientation = picture.getexif().get(ORIENTATION, UPRIGHT)  # TIFF is turned already
    except Exception as error:  # Pillow's readers raise what Python does, such as IndexError
        raise ValueError(
            f"is damaged, cut off or of a kind that is not read here ({error}; {len(data):,} bytes)"
        ) from error
    has_16_bits = picture.mode not in EIGHT_BITS or tags.get(tiff.BITS, (8,))[0] == 16
    return upright(_as_rgb(picture, tags), orientation), has_16_bits


@contextlib.contextmanager
def _pillows_own_limit_lifted(size: tuple[int, int]) -> Iterator[None]:
    """Let Pillow read a picture that was allowed here: for TIFF it asks its limit again."""
    from PIL import Image

    limit = Image.MAX_IMAGE_PIXELS
    if limit is None or math.prod(size) <= limit:
        yield
        return
    with _LIFTING:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def refuses(data: bytes) -> bool:
    """Whether Pillow, too, finds a file damaged."""
    try:
        _opened(data).load()
    except Exception:
        return True
    return False


def _opened(data: bytes):
    """Pillow's picture, of which only the header was read."""
    starts = (kind for first_bytes, kind in READERS.items() if data.startswith(first_bytes))
    kind = "Avif" if data[4:8] == b"ftyp" else next(starts, None)
    if kind is None:
        raise ValueError(f"is no picture of a kind that is read here ({len(data):,} bytes)")
    plugin = importlib.import_module(f"PIL.{kind}ImagePlugin")
    try:
        return getattr(plugin, f"{kind}ImageFile")(io.BytesIO(data))
    except Exception as error:
        if kind == "Tiff" and (tags := _tags(plugin, data)):
            tiff.check_values(tags)
            message = f"is {tiff.describe(tags)}, a kind that is not read here ({error})"
        else:
            message = (
                f"is damaged, cut off or no {kind.upper()} file ({error}; {len(data):,} bytes)"
            )
        raise ValueError(message) from error


def _tags(plugin, data: bytes) -> Mapping:
    """Tags of a TIFF file that Pillow does not know as a picture; none if they are damaged."""
    try:
        file = io.BytesIO(data)
        directory = plugin.ImageFileDirectory_v2(data[: 16 if data[2] == BIG_TIFF else 8])
        file.seek(directory.next)
        directory.load(file)
        return dict(directory)
    except Exception:
        return {}


def _read_by_opencv(data: bytes, tags: Mapping) -> np.ndarray:
    image = None
    if tags[tiff.SAMPLES] == 3:  # with alpha it multiplies
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise ValueError(f"is {tiff.describe(tags)}, in planes, a kind that is not read here")
    return image


def _as_rgb(picture, tags) -> np.ndarray:
    if picture.mode in EIGHT_BITS:
        return np.array(picture.convert("RGB"))
    values = np.asarray(picture)
    bits = tags.get(tiff.BITS, (16,))[0]
    grey = (values >> (bits - 8)).astype(np.uint8)
    if tags.get(tiff.PHOTOMETRIC) == tiff.WHITE_IS_ZERO:
        grey = 255 - grey
    return np.repeat(grey[..., np.newaxis], 3, axis=2)
