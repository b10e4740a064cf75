"""What belongs to each sample, files and numbers, in the structure that Keras takes."""

import copy
import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

import keras
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
        return f"Masks({len(self):,} files, {self.dtype})"


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


class Columns:
    """Inputs, targets and weights of all samples.

    Parameters
    ----------
    inputs, labels, sample_weight : structure
        As `MY_Generator` takes them: an array or a list of files, or a dict, tuple or list of such.
    recipe : Recipe
        How files become arrays.

    Attributes
    ----------
    filenames : sequence of str
        Of the first picture: what a sample is called.
    files : list of Files
        Columns that a worker makes arrays of, in the order of these arrays: pictures, then masks.
    further_recipes : list of Recipe
        How all but the first of them become arrays.
    """

    def __init__(self, inputs: Any, labels: Any, sample_weight: Any, recipe: Recipe):
        if labels is None and sample_weight is not None:
            raise ValueError("sample_weight weighs labels, and labels is None: pass them, too")
        if hasattr(inputs, "filenames"):
            raise TypeError(
                "image_filenames received a whole data set: pass files.filenames, files.labels"
            )
        inputs = _structure(inputs, "image_filenames", _is_structure_of_inputs)
        first = next((leaf for leaf in keras.tree.flatten(inputs) if leaf.holds_names()), None)
        if first is None:
            raise TypeError("image_filenames holds numbers only: pass names of files, too")
        self.filenames = first.names
        count = len(self.filenames)

        def column(leaf: _Leaf) -> Files | Numbers:
            return leaf.column(recipe, count)

        self.inputs = keras.tree.map_structure(column, inputs)
        self.targets = self.weights = None
        if labels is not None:
            labels = _structure(labels, "labels", lambda value: _is_structure(value, count))
            self.targets = keras.tree.map_structure(column, labels)
        if sample_weight is not None:
            weights = _structure(sample_weight, "sample_weight", lambda v: _is_structure(v, count))
            self.weights = keras.tree.map_structure(lambda leaf: leaf.weights(count), weights)
            self.weights = _for_each_pixel(self.weights, self.targets)
        self._list_files()

    def _list_files(self) -> None:
        columns = keras.tree.flatten((self.inputs, self.targets))
        files = [column for column in columns if isinstance(column, Files)]
        self.files = sorted(files, key=lambda column: column.recipe.is_mask)
        self.further_recipes = [column.recipe for column in self.files[1:]]
        for place, column in enumerate(self.files):
            column.place = place

    @property
    def labels(self) -> Any:
        """The targets of all samples, in their structure; None if there are none."""
        if self.targets is None:
            return None
        return keras.tree.map_structure(lambda column: column.values, self.targets)

    def batch(self, samples: np.ndarray, arrays: Sequence[np.ndarray]) -> tuple[Any, Any, Any]:
        """Return inputs, targets and weights of a batch, in the structures that were given.

        Parameters
        ----------
        samples : numpy.ndarray
            Positions of its samples.
        arrays : sequence of numpy.ndarray
            Its pictures and masks, from a worker.
        """

        def rows(columns: Any) -> Any:
            if columns is None:
                return None
            if isinstance(columns, (Files, Numbers)):  # the most common structure, and the quickest
                return columns.rows(samples, arrays)
            return keras.tree.map_structure(lambda column: column.rows(samples, arrays), columns)

        return rows(self.inputs), rows(self.targets), rows(self.weights)

    def with_positions(self) -> "Columns":
        """Return the same inputs, with the position of each sample as its target."""
        positions = copy.copy(self)
        positions.targets, positions.weights = Numbers(np.arange(len(self.filenames))), None
        positions._list_files()  # the first of them, so that all keep their places
        return positions


def _for_each_pixel(weights: Any, targets: Any) -> Any:
    """Give the weights of masks the shape (files, 1, 1), so that they weigh all of a file's pixels.

    Those of shape (files,) Keras refuses; or, in a batch of as many files as a mask is wide, it
    takes them for weights of the columns of pixels.
    """
    if isinstance(weights, dict) and isinstance(targets, dict):
        return {key: _for_each_pixel(each, targets.get(key)) for key, each in weights.items()}
    if isinstance(weights, tuple) and isinstance(targets, tuple) and len(weights) == len(targets):
        return tuple(map(_for_each_pixel, weights, targets))
    if not any(isinstance(target, Files) for target in keras.tree.flatten(targets)):
        return weights
    if not isinstance(targets, Files):  # one weight of each file weighs all its targets
        return keras.tree.map_structure(lambda target: _for_each_pixel(weights, target), targets)
    is_one_a_file = isinstance(weights, Numbers) and weights.values.ndim == 1
    return Numbers(weights.values[:, np.newaxis, np.newaxis]) if is_one_a_file else weights


class _Leaf:
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
                raise ValueError("read= gets names of files, and pictures in a pack have none")
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


def _structure(value: Any, what: str, is_structure: Callable[[Any], bool]) -> Any:
    """Return the same structure with a `_Leaf` for each array; a list becomes a tuple.

    (TensorFlow takes a list for one tensor.)
    """
    if not is_structure(value):
        return _Leaf(value, what)
    if isinstance(value, dict):
        return {
            key: _structure(part, f"{what}[{key!r}]", is_structure) for key, part in value.items()
        }
    return tuple(
        _structure(part, f"{what}[{number}]", is_structure) for number, part in enumerate(value)
    )


def _is_structure_of_inputs(value: Any) -> bool:
    parts = _parts(value)
    return bool(parts) and all(map(_is_column, parts))


def _is_structure(value: Any, count: int) -> bool:
    """Whether it holds several targets, and not one target's number, or vector, for each file."""
    parts = _parts(value)
    if not parts or not all(map(_is_column, parts)):
        return False
    if isinstance(value, dict) or any(isinstance(part, (Masks, dict)) for part in parts):
        return True
    fits = [len(part) == count for part in parts]
    if isinstance(value, tuple):
        return len(value) != count or all(fits)
    return len(value) != count and any(fits)


def _parts(value: Any) -> list:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, (tuple, list)) else []


def _is_column(part: Any) -> bool:
    return isinstance(part, (Masks, PackedNames, dict, tuple, list, range)) or (
        getattr(part, "ndim", 0) > 0
    )
