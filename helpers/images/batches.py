"""From the files of a batch to its arrays."""

import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np

from helpers.images import packs
from helpers.images.arrays import aligned_empty, empty_arrays, stacked
from helpers.images.augmenting import augment_rows
from helpers.images.laps import Laps
from helpers.images.own_reader import read_by
from helpers.images.reading import (
    ImageError,
    decode,
    decode_packed,
    file_content,
    in_color_mode,
    read_packed,
)
from helpers.images.recipe import Recipe
from helpers.images.request import BatchRequest, LoadedBatch
from helpers.images.resizing import write_resized
from helpers.images.shrinking import Draft


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
    request: BatchRequest, arrays: list[np.ndarray] | None = None, watch: Watch | None = None
) -> LoadedBatch:
    """Read, resize and augment the files of one batch.

    Parameters
    ----------
    request : BatchRequest
        What to load.
    arrays : list of numpy.ndarray, optional
        C-contiguous arrays of ``request.layout``, as `cut` makes them, to write to.
    watch : Watch, optional
        Looks on.

    Returns
    -------
    LoadedBatch
        The arrays, and what became of each file.

    Raises
    ------
    ImageError
        If a file cannot be read and ``request.skip_errors`` is False, or if no sample of
        the batch can be read.
    AugmentError
        If `augment` fails; the message names the file, the cause is `augment`'s error.
    """
    if not request.layout:
        return _load_at_own_size(request, watch)
    if arrays is None:
        arrays = empty_arrays(request.layout, len(request.filenames))
    with _Work(request, watch) as work:
        for position in range(len(request.filenames)):
            if (sample := work.read(position)) is not None:
                work.write([array[len(work.positions)] for array in arrays], position, sample)
                work.positions.append(position)
            sample = None  # before the next one is decoded
    return work.loaded([array[: len(work.positions)] for array in arrays])


def _load_at_own_size(request: BatchRequest, watch: Watch | None) -> LoadedBatch:
    samples: list[list[np.ndarray]] = []
    with _Work(request, watch) as work:
        for position in range(len(request.filenames)):
            if (sample := work.read(position)) is not None:
                rows = [
                    np.empty((*image.shape[:2], recipe.channels), recipe.dtype)
                    for (image, _), recipe in zip(sample, request.recipes, strict=True)
                ]
                work.write(rows, position, sample)
                samples.append(rows)
                work.positions.append(position)
    loaded = work.loaded(None)
    names = [request.filenames[position] for position in work.positions]
    _check_equal_sizes(names, samples)
    if not samples:
        shapes = [((0, 0, 0, recipe.channels), recipe.dtype) for recipe in request.recipes]
        return loaded._replace(arrays=[aligned_empty(*shape) for shape in shapes])
    return loaded._replace(arrays=[stacked(rows) for rows in zip(*samples, strict=True)])


def _check_equal_sizes(names: list[str], samples: list[list[np.ndarray]]) -> None:
    sizes = [[row.shape[:2] for row in rows] for rows in samples]
    for name, size in zip(names, sizes, strict=True):
        if size != sizes[0]:
            (height, width), (first_height, first_width) = size[0], sizes[0][0]
            raise ImageError(
                name,
                f"has {height} × {width} pixels (height × width), and {names[0]} in the same batch "
                f"{first_height} × {first_width}: pass image_size=(height, width), or batch_size=1",
            )


def load_smallest(request: BatchRequest) -> bytes:
    """Read the files of one batch, for a journey over a network.

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
    if not (layout := request.layout):
        return pickle.dumps(load_batch(request), protocol=5)
    samples: list[list[np.ndarray]] = []
    with _Work(request) as work:
        for position in range(len(request.filenames)):
            if (sample := work.read(position)) is None:
                continue
            rows = [np.empty(shape, dtype) for shape, dtype in layout]
            images = [image for image, _ in sample]
            if request.augment is None and all(map(_travels_as_it_is, sample, rows)):
                samples.append(images)
            else:
                work.write(rows, position, sample)
                samples.append(rows)
            work.positions.append(position)
    loaded = work.loaded(samples)
    return pickle.dumps(loaded, protocol=5)  # 4 would copy each array once more


def _travels_as_it_is(picture: "_Picture", row: np.ndarray) -> bool:
    image, draft = picture
    return draft is None and image.dtype == np.uint8 and image.nbytes <= row.nbytes


def expanded(
    smallest: bytes, request: BatchRequest, arrays: list[np.ndarray] | None
) -> LoadedBatch:
    """Make the batch of what `load_smallest` returned: the same bytes as `load_batch` gives.

    Parameters
    ----------
    smallest : bytes
        What `load_smallest` returned.
    request : BatchRequest
        What it was asked for.
    arrays : list of numpy.ndarray or None
        C-contiguous arrays of ``request.layout`` to write to, if that is not None.

    Returns
    -------
    LoadedBatch
        As from `load_batch`.
    """
    loaded = pickle.loads(smallest)
    if arrays is None:
        return loaded._replace(arrays=[stacked(array) for array in loaded.arrays])
    for number, images in enumerate(loaded.arrays):
        for array, image, recipe in zip(arrays, images, request.recipes, strict=True):
            row = array[number]
            if image.shape == row.shape and image.dtype == row.dtype:
                row[...] = image
            else:
                write_resized(row, image, recipe)
    return loaded._replace(arrays=[array[: len(loaded.positions)] for array in arrays])


_Picture = tuple[np.ndarray, Draft | None]
"""A picture, and what it is a draft of."""


class _Work:
    """A batch in the making: what was asked for, and what is noted on the way."""

    def __init__(self, request: BatchRequest, watch: Watch | None = None):
        self.request = request
        self.recipes = request.recipes
        self.watch = watch or Watch()
        self.laps = Laps()
        self.positions: list[int] = []
        self.errors: list[ImageError] = []
        self.suspects: list[tuple[str, str]] = []
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

    def read(self, position: int) -> list[_Picture] | None:
        """Read the files of a sample; None if one cannot be read, and the sample is left out."""
        self.watch.begin(position)
        request = self.request
        try:
            if self.pack is not None:
                sample = [self._read_packed(self.pack, position)]
            else:
                sample = [self._read_file(request.filenames[position], request.recipe)]
            for names, recipe in zip(request.companions, request.companion_recipes, strict=True):
                sample.append(self._read_file(names[position], recipe))
                if recipe.is_mask:
                    self._check_size(names[position], sample[-1], position, sample[0])
            return sample
        except ImageError as error:
            self.watch.heard()  # of a file that is refused nobody needs the lines
            if not request.skip_errors:
                raise
            # One without a traceback, which would keep the file's bytes.
            name = request.filenames[position]
            reason = error.reason if error.filename == name else f"goes with {error}"
            self.errors.append(ImageError(name, reason))
            return None

    def _read_file(self, filename: str, recipe: Recipe) -> _Picture:
        if recipe.read is not None:
            self.watch.stop_listening()  # what it prints is for who wrote it
            image = read_by(recipe, filename, self.request.folder)
            self.laps.end("read")
            return image, None
        if packs.is_packed(filename):
            content = read_packed(filename, self.open_packs)
        else:
            content = file_content(filename, self.request.folder)
        self.laps.end("read")
        if isinstance(content, bytes):
            return self._decode(content, filename, recipe)
        return in_color_mode(content, recipe, filename), None

    def _read_packed(self, pack: packs.OpenPack, position: int) -> _Picture:
        """Read one of `PackedNames`; where pixels are packed its name is made for an error only."""
        try:
            content = pack.read(*self.packed_rows[position])
        except packs.PackError as error:
            raise ImageError(self.request.filenames[position], str(error)) from error
        self.laps.end("read")
        if isinstance(content, bytes):
            return self._decode(content, self.request.filenames[position], self.request.recipe)
        return in_color_mode(content, self.request.recipe), None

    def _decode(self, data: bytes, filename: str, recipe: Recipe) -> _Picture:
        if packs.is_packed(filename):
            image, doubt, draft = decode_packed(data, filename, self.open_packs, recipe)
        else:
            image, doubt, draft = decode(data, filename, recipe)
        if (lines := self.watch.heard()) or doubt:
            remarks = [*lines, doubt] if doubt else lines
            self.suspects += [(filename, remark) for remark in remarks]
        self.laps.end("decode")
        return image, draft

    def _check_size(self, name: str, mask: _Picture, position: int, picture: _Picture) -> None:
        """Refuse a mask of another size: resized alike, it would lie elsewhere on the picture."""
        (height, width), (mask_height, mask_width) = map(_whole_size, (picture, mask))
        if (height, width) != (mask_height, mask_width):
            picture_name = self.request.filenames[position]
            raise ImageError(
                name,
                f"is a mask of {mask_height} × {mask_width} pixels (height × width), but its "
                f"image {picture_name} has {height} × {width}; save it in the image's size",
            )

    def write(self, rows: list[np.ndarray], position: int, sample: list[_Picture]) -> None:
        """Write a sample to its row of each array, as the model is to get it."""
        for row, (image, draft), recipe in zip(rows, sample, self.recipes, strict=True):
            write_resized(row, image, recipe, draft)
        self.laps.end("resize")
        if (augment := self.request.augment) is not None:
            self.watch.stop_listening()
            masks = sum(recipe.is_mask for recipe in self.recipes)
            seed, filename = self.request.seeds[position], self.request.filenames[position]
            augment_rows(rows, masks, augment, seed, filename)
            self.laps.end("augment")

    def loaded(self, arrays: Any) -> LoadedBatch:
        """Sum up, when the arrays are there."""
        if not (self.positions or self.request.may_be_empty):
            first, count = self.errors[0], len(self.errors)
            reason = (
                f"and none of the {count} files of its batch can be read; remove them"
                if count > 1
                else "and its batch has no other file; remove it"
            )
            raise ImageError(first.filename, f"{first.reason}, {reason}")
        times = self.laps.times()
        return LoadedBatch(arrays, self.positions, self.errors, times, tuple(self.suspects))


def _whole_size(picture: _Picture) -> tuple[int, int]:
    image, draft = picture
    return (draft.height, draft.width) if draft else image.shape[:2]
