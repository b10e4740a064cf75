"""Checks of arguments: each returns the value, or says at once what was received.

And `counted` and `kind_of`, for messages that count, or name a type.
"""

import math
import threading
from numbers import Real
from typing import Any

import numpy as np


def whole_number(name: str, value: int, at_least: int, at_most: int | None = None) -> int:
    """Check a count."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be a whole number; received {value!r}")
    if value < at_least:
        raise ValueError(f"{name} must be at least {at_least}; received {value!r}")
    if at_most is not None and value > at_most:
        raise ValueError(f"{name} must be at most {at_most}; received {value!r}")
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
        # np.dtype(None) is float64, but somebody who passes None did not mean that.
        return str(None) if dtype is None else np.dtype(dtype).name
    except (TypeError, ValueError, SyntaxError):
        return str(dtype)  # no type at all: for `choice` to refuse


def image_size(value: tuple[int, int], name: str = "image_size") -> tuple[int, int]:
    """Check a height and a width."""
    try:
        height, width = value
    except (TypeError, ValueError):
        message = f"{name} must be (height, width) in pixels; received {value!r}"
        raise ValueError(message) from None
    return (
        whole_number(f"{name}'s height", height, at_least=1),
        whole_number(f"{name}'s width", width, at_least=1),
    )


def seconds(name: str, value: float | None) -> float | None:
    """Check a time limit; None stands for no limit."""
    if value is None:
        return None
    if not _is_number(value) or not 0 < value <= threading.TIMEOUT_MAX:
        raise ValueError(f"{name} must be a positive number of seconds or None; received {value!r}")
    return float(value)


def number(
    name: str, value: float, zero: bool = True, at_least: float = 0, at_most: float = math.inf
) -> float:
    """Check a finite number; if `zero` is False it must not be 0."""
    if not _is_number(value):
        raise TypeError(f"{name} must be a number; received {value!r}")
    if not (at_least <= value and math.isfinite(value) and (zero or value)):
        least = f"{at_least:g} or more" if zero else "more than 0"
        raise ValueError(f"{name} must be {least}; received {value!r}")
    if value > at_most:
        raise ValueError(f"{name} must be at most {at_most:g}; received {value!r}")
    return float(value)


def _is_number(value) -> bool:
    return isinstance(value, Real) and not isinstance(value, (bool, np.bool_))


def shard(value: tuple[int, int] | None, samples: int, batch_size: int) -> tuple[int, int]:
    """Check which of how many shares; None stands for the only one."""
    try:
        index, count = (0, 1) if value is None else value
    except (TypeError, ValueError):
        raise ValueError(f"shard must be (index, count) or None; received {value!r}") from None
    count = whole_number("shard's count", count, at_least=1)
    index = whole_number("shard's index", index, at_least=0, at_most=count - 1)
    if samples < count or (batch_size == 1 and samples % count):
        raise ValueError(
            f"shard {value!r}: {counted(samples, 'file')} in batches of {batch_size} cannot give "
            f"each of {count} trainers the same number of batches, each with an image in it; add "
            f"files, or leave some out"
        )
    return index, count


def function(name: str, value, signature: str):
    """Check a function; None stands for none."""
    if value is not None and not callable(value):
        raise TypeError(f"{name} must be a function {signature}; received {value!r}")
    return value


def counted(count: int, one: str, many: str = "") -> str:
    """Say how many of something there are: "1 file", "2 files".

    Parameters
    ----------
    count : int
    one : str
        What each of them is, such as ``"file"``.
    many : str, optional
        Its plural, where that is more than an s.
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def kind_of(value: Any) -> str:
    """Name a value's type with its article: "an int", "a list".

    Parameters
    ----------
    value : object
    """
    name = type(value).__name__
    if isinstance(value, np.ndarray) or name[0] in "AEIOaeio":  # "an ndarray", "a uint8"
        return f"an {name}"
    return f"a {name}"
