"""File names and their labels, as a caller passes them: checked before anything is read."""

import contextlib
import mmap
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, MappingView, Sequence, Set
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike


class ArrayIndexed(ABC):
    """What can be indexed with an array of positions, as numpy's arrays, and gives its own kind.

    So many millions of names need not become a list.
    """

    @abstractmethod
    def __getitem__(self, item):
        """Return what stands at a position, or all that stands at the positions of an array."""


ArrayIndexed.register(np.ndarray)

LEAVE_OUT = (
    "Leave such files out, and their labels; of a table, "
    'table = table.dropna(subset=["filename", "label"])'
)
ONE_ARRAY = (
    "labels must be one array of shape (files, ...); received a tuple of arrays. If each is one "
    "number for every file, pass np.stack(labels, axis=1); if each is the label of one file, "
    "list(labels)"
)


def check_samples(filenames: Iterable, labels: ArrayLike | Iterator) -> tuple[Sequence, np.ndarray]:
    """Check file names and labels.

    Both are copied, so nothing the caller does later matters; but names in a form for many
    millions stay as they are, and so do labels in a mapped file (`numpy.memmap`): memory may not
    hold them, so they are not searched for NaN either.
    """
    names = _names(filenames)
    array = _array(labels)
    if array.ndim == 0 or len(array) != len(names):
        received = f"{len(array)} labels" if array.ndim else f"the single label {array}"
        raise ValueError(
            f"labels must have one entry for each file; received {len(names)} "
            f"image_filenames and {received}"
        )
    return names, _numbers(array)


def _names(filenames: Any) -> Sequence:
    cure = "Pass a list, such as sorted(image_filenames), and the labels in its order"
    _refuse_without_positions("image_filenames", filenames, cure)
    single = isinstance(filenames, (str, bytes, os.PathLike)) or not isinstance(filenames, Iterable)
    if single or getattr(filenames, "ndim", 1) != 1:
        raise TypeError(
            f"image_filenames must be a list of files; received {filenames!r}. "
            f"helpers.load_folder(...) lists the files of a folder"
        )
    objects = isinstance(filenames, np.ndarray) and filenames.dtype.kind not in "UT"
    compact = isinstance(filenames, ArrayIndexed) and not objects
    names: Any = filenames if compact else list(filenames)
    if not len(names):
        raise ValueError("image_filenames is empty: there is nothing to load")
    wrong = _missing_strings(names) if compact else _other_than_names(names)
    if wrong is not None:
        name = names[np.argmax(wrong)]
        raise TypeError(
            f"image_filenames must be names of files; received {_found(name, wrong)}. "
            f"{LEAVE_OUT if compact else _cure_of_a_name(name)}"
        )
    return names


def _refuse_without_positions(name: str, values: Any, cure: str) -> None:
    if isinstance(values, (Set, Mapping, MappingView)):
        raise TypeError(
            f"{name} must be a list, as files and labels belong together by their position; "
            f"received a {type(values).__name__}, which has no positions. {cure}"
        )


def _other_than_names(names: list) -> np.ndarray | None:
    """Where a list holds something else than names of files; None if nowhere."""
    # A million names have a type or two: to look at these is much faster than to ask each name.
    others = {kind for kind in set(map(type, names)) if not issubclass(kind, (str, os.PathLike))}
    return np.array([type(name) in others for name in names]) if others else None


def _missing_strings(names: Any) -> np.ndarray | None:
    """Where names are missing in an array of a type that knows missing ones; None if nowhere."""
    dtype: Any = getattr(names, "dtype", None)
    if not hasattr(dtype, "na_object"):
        return None
    missing_name = np.array([dtype.na_object], dtype)
    # NaN, and pandas' NA, do not equal even themselves.
    like_nan = np.isnan(missing_name).all()
    missing = np.isnan(names) if like_nan else names == missing_name
    return missing if missing.any() else None


def _cure_of_a_name(value: Any) -> str:
    if isinstance(value, bytes):
        return "Make text of bytes: [os.fsdecode(name) for name in image_filenames]"
    return LEAVE_OUT if _is_missing(value) else "Pass a str or a Path for each file"


def _is_missing(value: Any) -> bool:
    """Whether a value is None, NaN, or pandas' NA or NaT."""
    try:
        return value is None or bool(value != value)
    except TypeError:
        return True  # pandas' NA does not say whether it equals itself
    except ValueError:
        return False  # an array has many answers


def _found(value: Any, wrong: np.ndarray) -> str:
    """Show the first wrong value and its position, and say how many more files have one."""
    files = np.flatnonzero(wrong.reshape(len(wrong), -1).any(axis=1))
    more = f" (and {len(files) - 1:,} more)" if len(files) > 1 else ""
    return f"{value!r} at position {files[0]}{more}"


def _array(labels: Any) -> np.ndarray:
    """Copy labels to an array, which holds words as objects; a mapped file is returned as it is."""
    cure = (
        "Pass a list with the label of each file; from a dict of them, "
        "[labels[name] for name in image_filenames]"
    )
    _refuse_without_positions("labels", labels, cure)
    if isinstance(labels, np.ma.MaskedArray) and np.ma.is_masked(labels):
        labels = labels.tolist()  # None where the mask is
    if _is_mapped(labels):
        return labels
    if isinstance(labels, Iterator):
        labels = list(labels)
    array = _stack(labels)
    # Of ["cat", nan] numpy makes "cat" and "nan"; as objects they stay what they are.
    return np.array(labels, dtype=object) if array.dtype.kind in "UST" else array


def _is_mapped(labels: Any) -> bool:
    """Whether an array lies in a file that the system reads where the array is used."""
    owner = labels
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, memoryview):  # np.frombuffer puts one between the array and the file
        owner = owner.obj
    return isinstance(labels, np.ndarray) and isinstance(owner, mmap.mmap)


def _stack(labels: Any) -> np.ndarray:
    try:
        array = np.array(labels)
    except ValueError as error:
        if isinstance(labels, tuple):
            raise TypeError(ONE_ARRAY) from None
        raise ValueError(f"labels must have the same shape for each file: {error}") from None
    # Two arrays of two labels would look like two labels for each of two files.
    if isinstance(labels, tuple) and array.ndim > 1:
        raise TypeError(ONE_ARRAY)
    return array


def _numbers(array: np.ndarray) -> np.ndarray:
    """Return labels if they are numbers, or can be made to; refuse all others."""
    if array.dtype.kind == "O":
        array = _numbers_of_objects(array)
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"labels must be numbers; received an array of {array.dtype}. Make numbers of them, "
            f"one or more for each file"
        )
    # The least value is NaN if any is, and takes no memory to find.
    if array.dtype.kind == "f" and array.size and not _is_mapped(array) and np.isnan(array.min()):
        _refuse_missing_labels(array, np.isnan(array))
    return array


def _numbers_of_objects(objects: np.ndarray) -> np.ndarray:
    """Make an array of numbers of objects such as True, 2 and Decimal("0.5"), or of vectors."""
    array = _stack(objects.tolist())
    if array.dtype.kind not in "OUST":
        return array
    objects = np.array(objects.tolist(), dtype=object)
    missing = _where(_is_missing, objects)
    if missing.any():
        _refuse_missing_labels(objects, missing)
    words = _where(lambda value: isinstance(value, (str, bytes)), objects)
    if words.any():
        found = _found(objects[words][0], words)
        raise TypeError(f"labels must be numbers; received {found}. {_cure_of(objects[words])}")
    others = _where(lambda value: not isinstance(value, (Real, Decimal, np.bool_)), objects)
    if others.any():
        found = _found(objects[others][0], others)
        raise TypeError(f"labels must be numbers, one or more for each file; received {found}")
    return objects.astype(np.float64)


def _where(condition: Callable, objects: np.ndarray) -> np.ndarray:
    return np.frompyfunc(condition, 1, 1)(objects).astype(bool)


def _refuse_missing_labels(labels: np.ndarray, missing: np.ndarray) -> None:
    found = _found(labels[missing].tolist()[0], missing)
    raise ValueError(f"labels must be numbers, none missing; received {found}. {LEAVE_OUT}")


def _cure_of(words: np.ndarray) -> str:
    for kind in (int, float):
        with contextlib.suppress(ValueError, OverflowError):
            words.astype(kind)
            return f"Make numbers of them: labels = np.array(labels).astype({kind.__name__})"
    return "Number the classes: class_names, labels = np.unique(labels, return_inverse=True)"
