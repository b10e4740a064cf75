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

from helpers import arguments
from helpers.images import jpeg, sixteen_bits, tiff
from helpers.images.headers import PNG_BITS, check_claim
from helpers.images.opencv import cv2
from helpers.images.orientation import ORIENTATION, UPRIGHT, upright
from helpers.images.sixteen_bits import CURE

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
AVIF_BRANDS = {b"avif", b"avis"}
HEIC_BRANDS = {
    b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1",
}  # fmt: skip
MOST_BRANDS = 256  # bytes, of a list that has about 30
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


def decode(data: bytes, max_pixels: int, with_alpha: bool = False) -> tuple[np.ndarray, str | None]:
    """Decode a file with Pillow.

    Parameters
    ----------
    data : bytes
        The whole file.
    max_pixels : int
        A picture that claims more is refused.
    with_alpha : bool
        Keep transparency.

    Returns
    -------
    image : numpy.ndarray
        uint8 array of shape (height, width, 3); with transparency that is kept, 4.
    doubt : str or None
        What was lost of 16 bits a value.

    Raises
    ------
    ValueError
        If it is damaged, claims more than `max_pixels` pixels, or is of a kind that is not read.
    """
    picture = opened(data, max_pixels)
    tags = tags_of(picture)
    tiff.check_values(tags)
    if picture.mode not in EIGHT_BITS | SIXTEEN_BITS and picture.format != "PPM":
        raise ValueError(
            f"holds values of Pillow's mode {picture.mode!r}, which is not read here: {CURE}"
        )
    if tiff.is_misread_by_pillow(tags):
        return _read_by_opencv(data, tags), sixteen_bits.DOUBT
    orientation = load(picture, data)
    if picture.mode in EIGHT_BITS:
        keeps_alpha = with_alpha and picture.has_transparency_data
        image = np.array(picture.convert("RGBA" if keeps_alpha else "RGB"))
        doubt = _doubt_of_values(picture, data)
    else:
        image, doubt = _from_many_bits(picture, with_alpha)
    return upright(image, orientation), doubt


def opened(data: bytes, max_pixels: int):
    """Read the header of a file: Pillow's picture, without its pixels.

    Raises
    ------
    ValueError
        If it is of a kind that is not read, or claims more than `max_pixels` pixels.
    """
    picture = _opened(data)
    width, height = picture.size
    check_claim(width, height, max_pixels)
    return picture


def load(picture, data: bytes) -> int:
    """Decode the pixels of a picture that was opened.

    Returns
    -------
    int
        How it is to be turned, as Exif numbers it.

    Raises
    ------
    ValueError
        If it is damaged.
    """
    try:
        tiff.check_parts(tags_of(picture), data)
        if picture.format == "PNG":  # it decodes pixels without a look at their checksums
            _opened(data).verify()
        with _pillows_own_limit_lifted(picture.size):
            picture.load()
        return picture.getexif().get(ORIENTATION, UPRIGHT)  # TIFF is turned already
    except Exception as error:  # Pillow's readers raise what Python does, such as IndexError
        size = arguments.counted(len(data), "byte")
        raise ValueError(
            f"is damaged, cut off or of a kind that is not read here ({error}; {size})"
        ) from error


def tags_of(picture) -> Mapping:
    """Tags of a TIFF file; other kinds have none."""
    return getattr(picture, "tag_v2", {})


def bits_of(picture, data: bytes) -> int:
    """How many bits a value has in a PNG or TIFF file; 8 of other kinds."""
    if picture.format == "PNG":
        return data[PNG_BITS]
    return tags_of(picture).get(tiff.BITS, (1,))[0] if picture.format == "TIFF" else 8


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


def doubt_of_scans(data: bytes) -> str | None:
    """Why the pixels of a JPEG are incomplete; ValueError if Pillow, too, refuses it.

    Cameras and editors write odd files, and nobody would have us throw them all away.
    """
    try:
        jpeg.check_scans(data)
    except ValueError as fault:
        if _refuses(data):
            raise ValueError(f"is damaged: {fault}") from None
        return f"is damaged, and read all the same: {fault}"
    return None


def _refuses(data: bytes) -> bool:
    try:
        _opened(data).load()
    except Exception:
        return True
    return False


def _opened(data: bytes):
    """Pillow's picture, of which only the header was read."""
    kind = _kind(data)
    plugin = importlib.import_module(f"PIL.{kind}ImagePlugin")
    try:
        return getattr(plugin, f"{kind}ImageFile")(io.BytesIO(data))
    except Exception as error:
        if kind == "Tiff" and (tags := _tags(plugin, data)):
            tiff.check_values(tags)
            message = f"is {tiff.describe(tags)}, a kind that is not read here ({error})"
        else:
            size = arguments.counted(len(data), "byte")
            message = f"is damaged, cut off or no {kind.upper()} file ({error}; {size})"
        raise ValueError(message) from error


def _kind(data: bytes) -> str:
    """Name of Pillow's reader; ValueError if there is none."""
    if data[4:8] == b"ftyp":
        return _kind_of_container(data)
    for first_bytes, kind in READERS.items():
        if data.startswith(first_bytes):
            return kind
    size = arguments.counted(len(data), "byte")
    raise ValueError(f"is no image of a kind that is read here ({size})")


def _kind_of_container(data: bytes) -> str:
    """Tell AVIF and HEIC, which lie in the same kind of box: it begins with a list of brands."""
    from PIL import features

    end = min(int.from_bytes(data[:4]), MOST_BRANDS)
    brands = {data[position : position + 4] for position in range(8, end, 4)}
    if AVIF_BRANDS & brands:
        if not features.check("avif"):
            raise ValueError(
                "is AVIF, which this Pillow was built without: pip install --upgrade pillow"
            )
        return "Avif"
    if HEIC_BRANDS & brands:
        raise ValueError(
            "is HEIC, which needs the package pillow-heif: pip install pillow-heif, and pass "
            "read=lambda name: np.asarray(pillow_heif.open_heif(name))"
        )
    size = arguments.counted(len(data), "byte")
    raise ValueError(f"is no image of a kind that is read here ({size})")


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


def _doubt_of_values(picture, data: bytes) -> str | None:
    """Say what was lost where Pillow gives 8 bits."""
    if bits_of(picture, data) != 16:
        return None
    if tiff.is_in_planes(tags_of(picture)):  # whose values OpenCV mixes up, if it gives all bits
        return sixteen_bits.DOUBT
    return sixteen_bits.doubt_of_file(data, picture.format == "PNG")


def _from_many_bits(picture, with_alpha: bool) -> tuple[np.ndarray, str | None]:
    """Make RGB or RGBA of grey with 12 or 16 bits a value."""
    tags = tags_of(picture)
    values = np.asarray(picture)
    bits = tags.get(tiff.BITS, (16,))[0]
    grey = sixteen_bits.upper_bits(values, bits)
    if tags.get(tiff.PHOTOMETRIC) == tiff.WHITE_IS_ZERO:
        grey = 255 - grey
    channels = [grey] * 3
    if with_alpha and picture.has_transparency_data:  # one value of a PNG stands for nothing
        channels.append(np.where(values == picture.info["transparency"], 0, 255).astype(np.uint8))
    return np.dstack(channels), sixteen_bits.doubt_of(values, bits)
