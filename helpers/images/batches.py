"""From the files of a batch to one array: what is asked of a worker, and what it answers."""

import math
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from helpers.images import packs
from helpers.images.laps import BatchTimes, Laps
from helpers.images.reading import ImageError, decode, file_content, read_packed
from helpers.images.resizing import write_resized


class AugmentError(RuntimeError):
    """An `augment` that failed on a picture, or returned none; the message names the file."""


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
        Array of shape (readable files, height, width, 3). On its way something else: a list of
        pictures (`load_smallest`), or None if they lie in shared memory.
    positions : list of int
        Where in the request's `filenames` each image comes from.
    errors : list of ImageError
        One for each file that was left out.
    times : BatchTimes
        Who made the batch, when, and how long each kind of work took.
    """

    images: Any
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
    positions: list[int] = []
    errors: list[ImageError] = []
    for position, image in _decoded_pictures(request, laps, errors):
        _fill_row(images[len(positions)], image, spare, request, position, laps)
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
    pictures: list[np.ndarray] = []
    positions: list[int] = []
    errors: list[ImageError] = []
    resized_bytes = math.prod(request.shape[1:]) * np.dtype(request.dtype).itemsize
    for position, image in _decoded_pictures(request, laps, errors):
        if request.augment is not None or image.nbytes > resized_bytes:
            row = np.empty(request.shape[1:], request.dtype)
            _fill_row(row, image, spare, request, position, laps)
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
            write_resized(row, picture, spare)
    return loaded._replace(images=images[: len(loaded.images)])


def _decoded_pictures(
    request: BatchRequest, laps: Laps, errors: list[ImageError]
) -> Iterator[tuple[int, np.ndarray]]:
    """Each picture that can be read, with its position; the others are added to `errors`."""
    names = request.filenames
    with packs.OpenPacks(request.folder) as open_packs:
        if isinstance(names, packs.PackedNames):
            pictures = _packed_pictures(names, open_packs, laps)
        else:
            pictures = _file_pictures(request, open_packs, laps)
        for position, image in enumerate(pictures):
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
    image: np.ndarray | ImageError
    for filename in request.filenames:
        try:
            if packs.is_packed(filename):
                image = read_packed(filename, open_packs)
                laps.end("read")
            else:
                data = file_content(filename, request.folder)
                laps.end("read")
                image = decode(data, filename)
                laps.end("decode")
        except ImageError as error:
            image = error
        yield image


def _packed_pictures(
    names: packs.PackedNames, open_packs: packs.OpenPacks, laps: Laps
) -> Iterator[np.ndarray | ImageError]:
    """As `_file_pictures`, for `PackedNames`: no name is made, unless for an error."""
    image: np.ndarray | ImageError
    pack = open_packs.pack(names.path)
    for position, row in enumerate(names.rows.tolist()):
        try:
            image = pack.read(*row)
            laps.end("read")
        except packs.PackError as error:
            image = ImageError(names[position], str(error))
        yield image


def _spare_image(request: BatchRequest) -> np.ndarray:
    """Memory to work in, once for all images: TensorFlow has malloc give back what is freed."""
    return np.empty(request.shape[1:], np.float32)


def _fill_row(
    row: np.ndarray,
    image: np.ndarray,
    spare: np.ndarray,
    request: BatchRequest,
    position: int,
    laps: Laps,
) -> None:
    """Write a picture to a row of a batch, as the model is to get it."""
    write_resized(row, image, spare)
    laps.end("resize")
    if request.augment is not None:
        rng = np.random.default_rng(request.seeds[position])
        row[...] = _augmented(row, rng, request.augment, request.filenames[position])
        laps.end("augment")


def _augmented(
    row: np.ndarray, rng: np.random.Generator, augment: Callable, filename: str
) -> np.ndarray:
    try:
        result = np.asarray(augment(row, rng))
    except Exception as error:
        message = f"augment failed on {filename}: {type(error).__name__}: {error}"
        raise AugmentError(message) from error
    fits = result.dtype == row.dtype or result.dtype.kind == row.dtype.kind == "f"
    if result.shape != row.shape or not fits:
        expected, received = (f"{a.dtype} array of shape {a.shape}" for a in (row, result))
        raise AugmentError(f"augment on {filename}: expected an {expected}, received {received}")
    return result


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
