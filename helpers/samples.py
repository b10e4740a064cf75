"""File names, and numbers that belong to them, as a caller passes them: checked at once."""

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


def check_samples(filenames: Iterable, labels: ArrayLike | Iterator) -> tuple[Sequence, np.ndarray]:
    """Check file names, and one array of labels: `check_names` and `check_numbers`."""
    names = check_names(filenames)
    return names, check_numbers(labels, len(names))


def check_names(filenames: Iterable, what: str = "image_filenames") -> Sequence:
    """Check names of files.

    They are copied, so nothing the caller does later matters; but names in a form for many
    millions stay as they are.
    """
    cure = f"Pass a list, such as sorted({what}), and the labels in its order"
    _refuse_without_positions(what, filenames, cure)
    single = isinstance(filenames, (str, bytes, os.PathLike)) or not isinstance(filenames, Iterable)
    if single or getattr(filenames, "ndim", 1) != 1:
        raise TypeError(
            f"{what} must be a list of files; received {filenames!r}. "
            f"helpers.load_folder(...) lists the files of a folder"
        )
    objects = isinstance(filenames, np.ndarray) and filenames.dtype.kind not in "UT"
    compact = isinstance(filenames, ArrayIndexed) and not objects
    names: Any = filenames if compact else list(filenames)
    if not len(names):
        raise ValueError(f"{what} is empty: there is nothing to load")
    wrong = _missing_strings(names) if compact else _other_than_names(names)
    if wrong is not None:
        name = names[np.argmax(wrong)]
        raise TypeError(
            f"{what} must be names of files; received {_found(name, wrong)}. "
            f"{LEAVE_OUT if compact else _cure_of_a_name(name)}"
        )
    return names


def check_numbers(values: ArrayLike | Iterator, files: int, what: str = "labels") -> np.ndarray:
    """Check numbers, one entry for each file.

    They are copied; a mapped file (`numpy.memmap`) is not: memory may not hold it, so it is not
    searched for NaN either.
    """
    array = _array(values, what)
    if array.ndim == 0 or len(array) != files:
        received = f"{len(array)} {what}" if array.ndim else f"the single label {array}"
        raise ValueError(
            f"{what} must have one entry for each file; received {files} "
            f"image_filenames and {received}"
        )
    return _numbers(array, what)


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


def _array(labels: Any, what: str) -> np.ndarray:
    """Copy labels to an array, which holds words as objects; a mapped file is returned as it is."""
    cure = (
        f"Pass a list with an entry for each file; from a dict of them, "
        f"[{what}[name] for name in image_filenames]"
    )
    _refuse_without_positions(what, labels, cure)
    if isinstance(labels, np.ma.MaskedArray) and np.ma.is_masked(labels):
        labels = labels.tolist()  # None where the mask is
    if _is_mapped(labels):
        return labels
    if isinstance(labels, Iterator):
        labels = list(labels)
    array = _stack(labels, what)
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


def _stack(labels: Any, what: str) -> np.ndarray:
    try:
        return np.array(labels)
    except ValueError as error:
        raise ValueError(f"{what} must have the same shape for each file: {error}") from None


def _numbers(array: np.ndarray, what: str) -> np.ndarray:
    """Return labels if they are numbers, or can be made to; refuse all others."""
    if array.dtype.kind == "O":
        array = _numbers_of_objects(array, what)
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"{what} must be numbers; received an array of {array.dtype}. Make numbers of them, "
            f"one or more for each file"
        )
    # The least value is NaN if any is, and takes no memory to find.
    if array.dtype.kind == "f" and array.size and not _is_mapped(array) and np.isnan(array.min()):
        _refuse_missing(array, np.isnan(array), what)
    return array


def _numbers_of_objects(objects: np.ndarray, what: str) -> np.ndarray:
    """Make an array of numbers of objects such as True, 2 and Decimal("0.5"), or of vectors."""
    array = _stack(objects.tolist(), what)
    if array.dtype.kind not in "OUST":
        return array
    objects = np.array(objects.tolist(), dtype=object)
    missing = _where(_is_missing, objects)
    if missing.any():
        _refuse_missing(objects, missing, what)
    words = _where(lambda value: isinstance(value, (str, bytes)), objects)
    if words.any():
        found, cure = _found(objects[words][0], words), _cure_of(objects[words], what)
        raise TypeError(f"{what} must be numbers; received {found}. {cure}")
    others = _where(lambda value: not isinstance(value, (Real, Decimal, np.bool_)), objects)
    if others.any():
        found = _found(objects[others][0], others)
        raise TypeError(f"{what} must be numbers, one or more for each file; received {found}")
    return objects.astype(np.float64)


def _where(condition: Callable, objects: np.ndarray) -> np.ndarray:
    return np.frompyfunc(condition, 1, 1)(objects).astype(bool)


def _refuse_missing(labels: np.ndarray, missing: np.ndarray, what: str) -> None:
    found = _found(labels[missing].tolist()[0], missing)
    raise ValueError(f"{what} must be numbers, none missing; received {found}. {LEAVE_OUT}")


def _cure_of(words: np.ndarray, what: str) -> str:
    for kind in (int, float):
        with contextlib.suppress(ValueError, OverflowError):
            words.astype(kind)
            return f"Make numbers of them: {what} = np.array({what}).astype({kind.__name__})"
    return f"Number the classes: class_names, {what} = np.unique({what}, return_inverse=True)"
