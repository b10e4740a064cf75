"""From the files of a batch to one array: what is asked of a worker, and what it answers."""

import math
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from helpers.images import MAX_PIXELS, packs
from helpers.images.augmenting import augmented
from helpers.images.laps import BatchTimes, Laps
from helpers.images.reading import ImageError, decode, file_content, read_packed
from helpers.images.resizing import write_resized


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
    max_pixels : int
        A picture that claims more is refused.
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
    max_pixels: int = MAX_PIXELS
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
    suspects : sequence of tuple of str
        Name and remark: files that were read and may be wrong all the same. A file may have
        several remarks.
    heavy_library : str or None
        A large library that `augment` imported in a worker process.
    """

    images: Any
    positions: list[int]
    errors: list[ImageError]
    times: BatchTimes
    suspects: Sequence[tuple[str, str]] = ()
    heavy_library: str | None = None


class Watch:
    """Looks on while a batch is made. This one does nothing; worker processes have another."""

    def begin(self, position: int) -> None:
        """Note at which of the request's files the work is, and listen to what decoders say."""

    def heard(self) -> Sequence[str]:
        """Return the lines that came since it was last asked for them."""
        return ()

    def stop_listening(self) -> None:
        """Stop: what is said from now on is not about a picture."""


def load_batch(
    request: BatchRequest, images: np.ndarray | None = None, watch: Watch | None = None
) -> LoadedBatch:
    """Read, resize and augment the pictures of one batch.

    Parameters
    ----------
    request : BatchRequest
        What to load.
    images : numpy.ndarray, optional
        C-contiguous array of ``request.shape`` and ``request.dtype`` to write to.
    watch : Watch, optional
        Looks on.

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
    if images is None:
        images = aligned_empty(request.shape, request.dtype)
    work = _Work(request, watch)
    positions = work.positions
    try:
        for position, image in work.pictures():
            work.write_row(images[len(positions)], image, position)
            positions.append(position)
    finally:
        work.watch.stop_listening()
    return work.loaded(images[: len(positions)])


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
    work = _Work(request)
    pictures: list[np.ndarray] = []
    resized_bytes = math.prod(request.shape[1:]) * np.dtype(request.dtype).itemsize
    for position, image in work.pictures():
        if request.augment is not None or image.nbytes > resized_bytes:
            row = np.empty(request.shape[1:], request.dtype)
            work.write_row(row, image, position)
            image = row
        pictures.append(image)
        work.positions.append(position)
    loaded = work.loaded(pictures)
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


class _Work:
    """A batch in the making: what was asked for, and what is noted on the way."""

    def __init__(self, request: BatchRequest, watch: Watch | None = None):
        self.request = request
        self.watch = watch or Watch()
        self.laps = Laps()
        self.spare = _spare_image(request)
        self.positions: list[int] = []
        self.errors: list[ImageError] = []
        self.suspects: list[tuple[str, str]] = []

    def loaded(self, images: Any) -> LoadedBatch:
        """Sum up, when the images are there."""
        times = self.laps.times()
        return LoadedBatch(images, self.positions, self.errors, times, tuple(self.suspects))

    def pictures(self) -> Iterator[tuple[int, np.ndarray]]:
        """Each picture that can be read, with its position; the others become errors."""
        names = self.request.filenames
        with packs.OpenPacks(self.request.folder) as open_packs:
            if isinstance(names, packs.PackedNames):
                pictures = self._packed_pictures(names, open_packs)
            else:
                pictures = self._file_pictures(open_packs)
            for position, image in enumerate(pictures):
                if not isinstance(image, ImageError):
                    yield position, image
                elif self.request.skip_errors:
                    self.errors.append(image)
                else:
                    raise image
        if len(self.errors) == len(names):
            first, count = self.errors[0], len(names)
            reason = f"and none of the {count} files of its batch can be read; remove them"
            raise ImageError(first.filename, f"{first.reason}, {reason}")

    def _file_pictures(self, open_packs: packs.OpenPacks) -> Iterator[np.ndarray | ImageError]:
        """Each picture, or the error that it gives: to raise it here would be the end."""
        image: np.ndarray | ImageError
        request, watch, laps = self.request, self.watch, self.laps
        for position, filename in enumerate(request.filenames):
            watch.begin(position)
            try:
                if packs.is_packed(filename):
                    image = read_packed(filename, open_packs)
                    laps.end("read")
                else:
                    data = file_content(filename, request.folder)
                    laps.end("read")
                    image, doubt = decode(data, filename, request.max_pixels)
                    if (lines := watch.heard()) or doubt:
                        self._suspect(filename, lines, doubt)
                    laps.end("decode")
            except ImageError as error:
                watch.heard()  # of a file that is refused nobody needs the lines
                image = error
            yield image

    def _suspect(self, filename: str, lines: Sequence[str], doubt: str | None) -> None:
        remarks = [*lines, doubt] if doubt else lines
        self.suspects += [(filename, remark) for remark in remarks]

    def _packed_pictures(
        self, names: packs.PackedNames, open_packs: packs.OpenPacks
    ) -> Iterator[np.ndarray | ImageError]:
        """As `_file_pictures`, for `PackedNames`: no name is made, unless for an error."""
        image: np.ndarray | ImageError
        pack = open_packs.pack(names.path)
        for position, row in enumerate(names.rows.tolist()):
            self.watch.begin(position)
            try:
                image = pack.read(*row)
                self.laps.end("read")
            except packs.PackError as error:
                image = ImageError(names[position], str(error))
            yield image

    def write_row(self, row: np.ndarray, image: np.ndarray, position: int) -> None:
        """Write a picture to a row of a batch, as the model is to get it."""
        write_resized(row, image, self.spare)
        self.laps.end("resize")
        if (augment := self.request.augment) is not None:
            self.watch.stop_listening()
            seed, filename = self.request.seeds[position], self.request.filenames[position]
            row[...] = augmented(row, augment, seed, filename)
            self.laps.end("augment")


def _spare_image(request: BatchRequest) -> np.ndarray:
    """Memory to work in, once for all images: TensorFlow has malloc give back what is freed."""
    return np.empty(request.shape[1:], np.float32)


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
