"""Inputs, targets and weights, in the structure that Keras takes."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from helpers.generators.columns import Files, Leaf, Masks, Numbers
from helpers.images.packs import PackedNames
from helpers.images.recipe import Recipe


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

        def column(leaf: Leaf) -> Files | Numbers:
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


def _structure(value: Any, what: str, is_structure: Callable[[Any], bool]) -> Any:
    """Return the same structure with a `Leaf` for each array; a list becomes a tuple.

    (TensorFlow takes a list for one tensor.)
    """
    if not is_structure(value):
        return Leaf(value, what)
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
