"""What belongs to each sample, files or numbers: a column for each array of a batch."""

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from helpers import arguments
from helpers.images.masks import DTYPES as MASK_DTYPES
from helpers.images.packs import PackedNames
from helpers.images.recipe import Recipe
from helpers.samples import check_names, check_numbers


class Masks:
    """Files that say something of each pixel of a picture, by a whole number: targets.

    They get the size of their picture in the same way, cropped or padded with it, but with nearest
    neighbour: each value of a batch is one that stands in the file.

    Parameters
    ----------
    filenames : sequence of str or os.PathLike
        One for each picture, in its order, of the picture's size: PNG or TIFF, grey, or with a
        palette, whose indices count.
    dtype : {"uint8", "uint16", "int32"}
        What a value becomes. One that does not fit is an error.
    fill_value : int
        What padding (`pad_to_aspect_ratio`) consists of; 255 is often a class to be ignored.
    read : callable, optional
        ``read(filename)`` returns whole numbers or booleans, of shape (height, width) or
        (height, width, 1).

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.

    Examples
    --------
    >>> generator = MY_Generator(pictures, Masks(masks), 8)
    >>> images, targets = generator[0]  # targets: uint8, of shape (8, 200, 200, 1)
    """

    def __init__(
        self,
        filenames: Sequence[str | os.PathLike],
        dtype: str = "uint8",
        fill_value: int = 0,
        read: Callable | None = None,
    ):
        self.filenames = check_names(filenames, "the filenames of Masks")
        self.dtype = arguments.choice("dtype", arguments.dtype_name(dtype), MASK_DTYPES)
        largest = int(np.iinfo(self.dtype).max)
        self.fill_value = arguments.whole_number("fill_value", fill_value, 0, largest)
        self.read = arguments.function("read", read, "of (filename)")

    def __len__(self) -> int:
        return len(self.filenames)

    def __repr__(self) -> str:
        return f"Masks({arguments.counted(len(self), 'file')}, {self.dtype})"


class Files:
    """A column of files: pictures, or masks."""

    def __init__(self, filenames: Sequence, recipe: Recipe, values: Any = None):
        self.filenames = filenames
        self.recipe = recipe
        self.values = values  # what the caller passed, if it was `Masks`
        self.place = 0  # among the arrays of a loaded batch

    def names(self, samples: np.ndarray) -> Sequence[str]:
        """Return the names of samples, as they travel to a worker."""
        if isinstance(self.filenames, PackedNames):
            return self.filenames[samples]
        return [str(os.fspath(self.filenames[sample])) for sample in samples]

    def rows(self, samples: np.ndarray, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """Return the array of a batch."""
        return arrays[self.place]


class Numbers:
    """A column of numbers."""

    def __init__(self, values: np.ndarray):
        self.values = values

    def rows(self, samples: np.ndarray, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """Return the numbers of a batch's samples."""
        return self.values[samples]


class Leaf:
    """What was passed for one array of a batch, and what an error calls it."""

    def __init__(self, values: Any, what: str):
        self.values = values
        self.what = what

    @functools.cached_property
    def names(self) -> Sequence:
        """What was passed, checked as names of files: once, as it may be an iterator."""
        return check_names(self.values, self.what)

    def holds_names(self) -> bool:
        """Whether it is to be read as names of files."""
        if isinstance(self.values, Masks):
            return False
        if self.what == "image_filenames" or isinstance(self.values, PackedNames):
            return True
        first = next(iter(self.values), None)
        return isinstance(first, (str, bytes, os.PathLike))

    def column(self, recipe: Recipe, count: int) -> Files | Numbers:
        """Check it, and return the column."""
        if isinstance(self.values, Masks):
            masks = self.values
            recipe = recipe.for_masks(masks.dtype, masks.fill_value, masks.read)
            self._check_length(masks.filenames, count)
            return Files(masks.filenames, recipe, masks)
        if self.what.startswith("image_filenames") and self.holds_names():
            if recipe.read is not None and isinstance(self.names, PackedNames):
                raise ValueError("read= gets names of files, and images in a pack have none")
            self._check_length(self.names, count)
            return Files(self.names, recipe)
        return Numbers(check_numbers(self.values, count, self.what))

    def weights(self, count: int) -> Numbers:
        """Check that it holds weights, and return the column."""
        weights = check_numbers(self.values, count, self.what)
        fits = np.isfinite(weights) & (weights >= 0)
        if not fits.all():
            position, *_ = np.argwhere(~fits)[0].tolist()
            raise ValueError(
                f"{self.what} must be 0 or more, and finite; received {weights[position]} at "
                f"position {position}"
            )
        return Numbers(weights)

    def _check_length(self, names: Sequence, count: int) -> None:
        if len(names) != count:
            raise ValueError(
                f"{self.what} must have one entry for each file; received {len(names)} of them "
                f"and {count} image_filenames"
            )
