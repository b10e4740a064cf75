"""From the files of a batch to one array: what is asked of a worker, and what it answers."""

import math
import pickle
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from helpers.images import MAX_PIXELS, packs
from helpers.images.augmenting import augmented
from helpers.images.laps import BatchTimes, Laps
from helpers.images.reading import ImageError, decode, decode_packed, file_content, read_packed
from helpers.images.resizing import write_resized
from helpers.images.shrinking import Draft


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
    draft : bool
        Decode large JPEGs at a fraction of their size.
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
    draft: bool = False
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
    with _Work(request, watch) as work:
        for position in range(len(request.filenames)):
            if (picture := work.read(position)) is not None:
                work.write(images[len(work.positions)], position, *picture)
                work.positions.append(position)
            picture = None  # before the next one is decoded
    return work.loaded(images[: len(work.positions)])


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
    pictures: list[np.ndarray] = []
    resized_bytes = math.prod(request.shape[1:]) * np.dtype(request.dtype).itemsize
    with _Work(request) as work:
        for position in range(len(request.filenames)):
            if (picture := work.read(position)) is None:
                continue
            image, draft = picture
            if request.augment is not None or draft or image.nbytes > resized_bytes:
                image = np.empty(request.shape[1:], request.dtype)
                work.write(image, position, *picture)
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
    for row, picture in zip(images, loaded.images, strict=False):  # unreadable files are missing
        if picture.shape == row.shape and picture.dtype == row.dtype:
            row[...] = picture
        else:
            write_resized(row, picture)
    return loaded._replace(images=images[: len(loaded.images)])


_Picture = tuple[np.ndarray, Draft | None]
"""A picture, and what it is a draft of."""


class _Work:
    """A batch in the making: what was asked for, and what is noted on the way."""

    def __init__(self, request: BatchRequest, watch: Watch | None = None):
        self.request = request
        self.watch = watch or Watch()
        self.laps = Laps()
        self.positions: list[int] = []
        self.errors: list[ImageError] = []
        self.suspects: list[tuple[str, str]] = []
        self.draft_for = request.image_size if request.draft else None
        self.open_packs = packs.OpenPacks(request.folder)
        self.pack: packs.OpenPack | None = None
        if isinstance(names := request.filenames, packs.PackedNames):
            self.pack = self.open_packs.pack(names.path)
            self.packed_rows = names.rows.tolist()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.open_packs.close()
        self.watch.stop_listening()

    def read(self, position: int) -> _Picture | None:
        """Read a picture; None if it cannot be read and is left out."""
        self.watch.begin(position)
        try:
            if self.pack is not None:
                return self._read_packed(self.pack, position)
            return self._read_file(position)
        except ImageError as error:
            self.watch.heard()  # of a file that is refused nobody needs the lines
            if not self.request.skip_errors:
                raise
            # One without a traceback, which would keep the file's bytes.
            self.errors.append(ImageError(error.filename, error.reason))
            return None

    def _read_file(self, position: int) -> _Picture:
        filename = self.request.filenames[position]
        if packs.is_packed(filename):
            content = read_packed(filename, self.open_packs)
        else:
            content = file_content(filename, self.request.folder)
        self.laps.end("read")
        return self._decode(content, filename) if isinstance(content, bytes) else (content, None)

    def _read_packed(self, pack: packs.OpenPack, position: int) -> _Picture:
        """Read one of `PackedNames`; where pixels are packed its name is made for an error only."""
        try:
            content = pack.read(*self.packed_rows[position])
        except packs.PackError as error:
            raise ImageError(self.request.filenames[position], str(error)) from error
        self.laps.end("read")
        if isinstance(content, bytes):
            return self._decode(content, self.request.filenames[position])
        return content, None

    def _decode(self, data: bytes, filename: str) -> _Picture:
        how = self.request.max_pixels, self.draft_for
        if packs.is_packed(filename):
            image, doubt, draft = decode_packed(data, filename, self.open_packs, *how)
        else:
            image, doubt, draft = decode(data, filename, *how)
        if (lines := self.watch.heard()) or doubt:
            remarks = [*lines, doubt] if doubt else lines
            self.suspects += [(filename, remark) for remark in remarks]
        self.laps.end("decode")
        return image, draft

    def write(self, row: np.ndarray, position: int, image: np.ndarray, draft: Draft | None) -> None:
        """Write a picture to a row of a batch, as the model is to get it."""
        write_resized(row, image, draft)
        self.laps.end("resize")
        if (augment := self.request.augment) is not None:
            self.watch.stop_listening()
            seed, filename = self.request.seeds[position], self.request.filenames[position]
            row[...] = augmented(row, augment, seed, filename)
            self.laps.end("augment")

    def loaded(self, images: Any) -> LoadedBatch:
        """Sum up, when the images are there."""
        if not self.positions:
            first, count = self.errors[0], len(self.errors)
            reason = f"and none of the {count} files of its batch can be read; remove them"
            raise ImageError(first.filename, f"{first.reason}, {reason}")
        times = self.laps.times()
        return LoadedBatch(images, self.positions, self.errors, times, tuple(self.suspects))


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
