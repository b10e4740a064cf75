"""Checks of arguments: each returns the value, or says at once what was received."""

import os
from collections.abc import Sequence

import numpy as np


def samples(filenames: Sequence, labels: Sequence) -> tuple[list, np.ndarray]:
    """Check file names and labels; both are copied, so nothing the caller does later matters."""
    if isinstance(filenames, (str, bytes, os.PathLike)):
        raise TypeError(
            f"image_filenames must be a list of files; received the one name {filenames!r}. "
            f"helpers.load_folder(...) lists the files of a folder"
        )
    filenames, labels = list(filenames), np.array(labels)
    if not filenames:
        raise ValueError("image_filenames is empty: there is nothing to load")
    if labels.ndim == 0 or len(labels) != len(filenames):
        received = f"{len(labels)} labels" if labels.ndim else f"the single label {labels}"
        raise ValueError(
            f"labels must have one entry for each file; received {len(filenames)} "
            f"image_filenames and {received}"
        )
    return filenames, labels


def whole_number(name: str, value: int, at_least: int) -> int:
    """Check a count."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be a whole number; received {value!r}")
    if value < at_least:
        raise ValueError(f"{name} must be at least {at_least}; received {value!r}")
    return int(value)


def yes_or_no(name: str, value: bool) -> bool:
    """Check a switch."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False; received {value!r}")
    return bool(value)


def choice(name: str, value: str, choices: tuple[str, ...]) -> str:
    """Check a value against a short list."""
    if value not in choices:
        expected = " or ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} must be {expected}; received {value!r}")
    return value


def dtype_name(dtype: str | type | np.dtype) -> str:
    """Name of a type given as "float32", np.float32 or np.dtype("float32")."""
    try:
        return np.dtype(dtype).name
    except TypeError:
        return str(dtype)  # no type at all: for `choice` to refuse


def image_size(value: tuple[int, int]) -> tuple[int, int]:
    """Check a height and a width."""
    try:
        height, width = value
    except (TypeError, ValueError):
        message = f"image_size must be (height, width) in pixels; received {value!r}"
        raise ValueError(message) from None
    return (
        whole_number("image_size's height", height, at_least=1),
        whole_number("image_size's width", width, at_least=1),
    )


def seconds(name: str, value: float | None) -> float | None:
    """Check a time limit; None stands for no limit."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ValueError(f"{name} must be a positive number of seconds or None; received {value!r}")
    return float(value)


def function(name: str, value, signature: str):
    """Check a function; None stands for none."""
    if value is not None and not callable(value):
        raise TypeError(f"{name} must be a function {signature}; received {value!r}")
    return value
