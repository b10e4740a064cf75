"""From image files to one batch array.

This module needs numpy, OpenCV and the tiny ``imagesize`` and nothing else: it is all
that a worker process imports, so a worker starts in a fraction of a second and takes
about 50 MB, where one that imports TensorFlow takes 700 MB.
"""

import math
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from helpers.images import headers, packs
from helpers.images.laps import BatchTimes, Laps

MAX_PIXELS = 178_956_970
"""A picture that claims more pixels is refused: where Pillow, too, sees a decompression bomb."""

SCALE = np.float32(1 / 255)

# OpenCV reads this once, when it is loaded; it then refuses what our own look at the header
# cannot tell, such as formats that are rare.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))

import cv2  # noqa: E402

# Every failure is raised as an ImageError that names the file; OpenCV's own log lines
# would only repeat it on the terminal, without the name.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


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


class AugmentError(RuntimeError):
    """An `augment` that failed on a picture, or returned none; the message names the file."""


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
            return _unpacked(filename, open_packs).copy()  # one that can be written to
    return _decoded(_content(filename), filename)


def _unpacked(filename: str, open_packs: packs.OpenPacks) -> np.ndarray:
    try:
        return open_packs.read(filename)
    except packs.PackError as error:
        raise ImageError(filename, str(error)) from error


def _content(filename: str, folder: str = "") -> bytes:
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


def _decoded(data: bytes, filename: str) -> np.ndarray:
    width, height = headers.claimed_size(data) or (0, 0)
    if width * height > MAX_PIXELS:
        claim = f"claims {width} × {height} pixels, more than the {MAX_PIXELS:,} allowed"
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


def resize_image(
    image: np.ndarray, image_size: tuple[int, int], out: np.ndarray | None = None
) -> np.ndarray:
    """Resize a picture as scikit-image does, with OpenCV.

    The result equals ``skimage.transform.resize(image, image_size, mode="edge",
    anti_aliasing=<when shrinking>)`` to within 1e-5: bilinear interpolation, after a
    Gaussian blur along each axis that shrinks, of sigma ``(factor - 1) / 2`` and cut off
    at 4 sigma (the defaults of `skimage.transform.resize`).

    Parameters
    ----------
    image : numpy.ndarray
        uint8 array of shape (height, width, 3).
    image_size : tuple of int
        Height and width of the result, in pixels.
    out : numpy.ndarray, optional
        C-contiguous float32 array of shape ``(*image_size, 3)`` to write to.

    Returns
    -------
    numpy.ndarray
        float32 array of shape ``(*image_size, 3)`` with values from 0 to 1.
    """
    scaled = np.multiply(image, SCALE, dtype=np.float32)
    height, width = image_size
    factors = image.shape[0] / height, image.shape[1] / width
    if max(factors) > 1:
        vertical, horizontal = (_blur_kernel(factor) for factor in factors)
        scaled = cv2.sepFilter2D(
            scaled, cv2.CV_32F, horizontal, vertical, borderType=cv2.BORDER_REPLICATE
        )
    return cv2.resize(scaled, (width, height), dst=out, interpolation=cv2.INTER_LINEAR)


def _blur_kernel(factor: float) -> np.ndarray:
    """Gaussian that removes what `factor` times fewer pixels cannot show."""
    if factor <= 1:
        return np.ones((1, 1), np.float32)
    sigma = (factor - 1) / 2
    return cv2.getGaussianKernel(2 * int(4 * sigma + 0.5) + 1, sigma, cv2.CV_32F)


class BatchRequest(NamedTuple):
    """All that is needed to make one batch, anywhere: small, and picklable.

    Attributes
    ----------
    filenames : list of str, or PackedNames
        The image files of this batch.
    image_size : tuple of int
        Height and width, in pixels.
    dtype : str
        "float32" (values 0 to 1) or "uint8" (values 0 to 255).
    augment : callable or None
        ``augment(image, rng)``, called for each image after it was resized.
    seeds : list of tuple of int
        For each file the seed of the `rng` that `augment` gets.
    skip_errors : bool
        Leave unreadable files out instead of raising.
    name : str
        What messages call this batch.
    folder : str
        Where file names begin that are not absolute: another process, or another machine,
        has a working directory of its own.
    """

    filenames: Sequence[str]
    image_size: tuple[int, int]
    dtype: str = "float32"
    augment: Callable | None = None
    seeds: Sequence[tuple[int, ...]] = ()
    skip_errors: bool = False
    name: str = "a batch"
    folder: str = ""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the batch, if no file is left out."""
        return len(self.filenames), *self.image_size, 3


class LoadedBatch(NamedTuple):
    """A batch as a worker hands it back.

    Attributes
    ----------
    images : numpy.ndarray
        Array of shape (readable files, height, width, 3).
    positions : list of int
        Where in the request's `filenames` each image comes from.
    errors : list of ImageError
        One for each file that was left out.
    times : BatchTimes
        Who made the batch, when, and how long each kind of work took.
    """

    images: np.ndarray
    positions: list[int]
    errors: list[ImageError]
    times: BatchTimes


def load_batch(request: BatchRequest, images: np.ndarray | None = None) -> LoadedBatch:
    """Read, resize and augment the pictures of one batch.

    Parameters
    ----------
    request : BatchRequest
        What to load.
    images : numpy.ndarray, optional
        C-contiguous array of ``request.shape`` and ``request.dtype`` to write to.

    Returns
    -------
    LoadedBatch
        The images, and what became of each file.

    Raises
    ------
    ImageError
        If a file cannot be read and ``request.skip_errors`` is False, or if no file of
        the batch can be read.
    AugmentError
        If `augment` fails; the message names the file, the cause is `augment`'s error.
    """
    laps = Laps()
    if images is None:
        images = aligned_empty(request.shape, request.dtype)
    spare = _spare_image(request)
    positions, errors = [], []
    for position, image in _decoded_pictures(request, laps, errors):
        row = images[len(positions)]
        _write_resized(row, image, spare)
        laps.end("resize")
        if request.augment is not None:
            _augment_in_place(row, request, position)
            laps.end("augment")
        positions.append(position)
    return LoadedBatch(images[: len(positions)], positions, errors, laps.times())


def load_smallest(request: BatchRequest) -> bytes:
    """Read the pictures of one batch, for a journey over a network.

    A picture that has fewer bytes at its own size, as uint8, than resized travels so, and
    `expanded` resizes it on arrival. With `augment`, which gets resized pictures, all
    travel resized, so that it is the workers who augment.

    Parameters
    ----------
    request : BatchRequest
        What to load.

    Returns
    -------
    bytes
        For `expanded`. (One block: a network library would handle each of a thousand small
        arrays for itself.)

    Raises
    ------
    ImageError, AugmentError
        As `load_batch`.
    """
    laps = Laps()
    spare = _spare_image(request)
    pictures, positions, errors = [], [], []
    resized_bytes = math.prod(request.shape[1:]) * np.dtype(request.dtype).itemsize
    for position, image in _decoded_pictures(request, laps, errors):
        if request.augment is not None or image.nbytes > resized_bytes:
            row = np.empty(request.shape[1:], request.dtype)
            _write_resized(row, image, spare)
            laps.end("resize")
            if request.augment is not None:
                _augment_in_place(row, request, position)
                laps.end("augment")
            image = row
        pictures.append(image)
        positions.append(position)
    loaded = LoadedBatch(pictures, positions, errors, laps.times())
    return pickle.dumps(loaded, protocol=5)  # 4 would copy each array once more


def expanded(smallest: bytes, request: BatchRequest, images: np.ndarray) -> LoadedBatch:
    """Make the batch of what `load_smallest` returned: the same bytes as `load_batch` gives.

    Parameters
    ----------
    smallest : bytes
        What `load_smallest` returned.
    request : BatchRequest
        What it was asked for.
    images : numpy.ndarray
        C-contiguous array of ``request.shape`` and ``request.dtype`` to write to.

    Returns
    -------
    LoadedBatch
        As from `load_batch`.
    """
    loaded = pickle.loads(smallest)
    spare = _spare_image(request)
    for row, picture in zip(images, loaded.images, strict=False):  # unreadable files are missing
        if picture.shape == row.shape and picture.dtype == row.dtype:
            row[...] = picture
        else:
            _write_resized(row, picture, spare)
    return loaded._replace(images=images[: len(loaded.images)])


def _decoded_pictures(
    request: BatchRequest, laps: Laps, errors: list[ImageError]
) -> Iterator[tuple[int, np.ndarray]]:
    """Each picture that can be read, with its position; the others are added to `errors`."""
    packed = isinstance(request.filenames, packs.PackedNames)
    read = _packed_pictures if packed else _file_pictures
    with packs.OpenPacks(request.folder) as open_packs:
        for position, image in enumerate(read(request, open_packs, laps)):
            if not isinstance(image, ImageError):
                yield position, image
            elif request.skip_errors:
                errors.append(image)
            else:
                raise image
    if len(errors) == len(request.filenames):
        reason = f"and none of the {len(errors)} files of its batch can be read; remove them"
        raise ImageError(errors[0].filename, f"{errors[0].reason}, {reason}")


def _file_pictures(
    request: BatchRequest, open_packs: packs.OpenPacks, laps: Laps
) -> Iterator[np.ndarray | ImageError]:
    """Each picture, or the error that it gives: to raise it here would be the end."""
    for filename in request.filenames:
        try:
            if packs.is_packed(filename):
                image = _unpacked(filename, open_packs)
                laps.end("read")
            else:
                data = _content(filename, request.folder)
                laps.end("read")
                image = _decoded(data, filename)
                laps.end("decode")
        except ImageError as error:
            image = error
        yield image


def _packed_pictures(
    request: BatchRequest, open_packs: packs.OpenPacks, laps: Laps
) -> Iterator[np.ndarray | ImageError]:
    """As `_file_pictures`, for `PackedNames`: no name is made, unless for an error."""
    names = request.filenames
    pack = open_packs.pack(names.path)
    for position, row in enumerate(names.rows.tolist()):
        try:
            image = pack.read(*row)
            laps.end("read")
        except packs.PackError as error:
            image = ImageError(names[position], str(error))
        yield image


def _write_resized(row: np.ndarray, image: np.ndarray, spare: np.ndarray) -> None:
    """Write a picture to a row of a batch, by way of `spare`, a float32 image of its size."""
    if image.shape == row.shape:  # the same bytes as below, in a quarter of the time
        row[...] = image
        if row.dtype == np.float32:
            row *= SCALE
    elif row.dtype == np.float32:
        resize_image(image, row.shape[:2], out=row)
    else:
        resize_image(image, row.shape[:2], out=spare)
        cv2.convertScaleAbs(spare, dst=row, alpha=255)  # rounds halves to even, as np.rint


def _spare_image(request: BatchRequest) -> np.ndarray:
    """Memory to work in, once for all images: TensorFlow has malloc give back what is freed."""
    return np.empty(request.shape[1:], np.float32)


def _augment_in_place(row: np.ndarray, request: BatchRequest, position: int) -> None:
    filename = request.filenames[position]
    rng = np.random.default_rng(request.seeds[position])
    try:
        result = np.asarray(request.augment(row, rng))
    except Exception as error:
        message = f"augment failed on {filename}: {type(error).__name__}: {error}"
        raise AugmentError(message) from error
    fits = result.dtype == row.dtype or result.dtype.kind == row.dtype.kind == "f"
    if result.shape != row.shape or not fits:
        expected, received = (f"{a.dtype} array of shape {a.shape}" for a in (row, result))
        raise AugmentError(f"augment on {filename}: expected an {expected}, received {received}")
    row[...] = result


def aligned_empty(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Array of undefined values that TensorFlow takes without copying it.

    TensorFlow wraps a C-contiguous array whose address is a multiple of 64, and copies any
    other; a large array of numpy's is never at such an address by itself.
    ``tests/benchmarks`` measures what the copy costs.

    Parameters
    ----------
    shape : tuple of int
        Shape of the array.
    dtype : str
        Its type.

    Returns
    -------
    numpy.ndarray
        C-contiguous array that starts on a 64-byte boundary.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.empty(size + 63, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(dtype).reshape(shape)
