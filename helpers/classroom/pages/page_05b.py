"""Notebook 05b: the same files through other libraries."""

from collections.abc import Callable, Iterable, Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np

from helpers.arguments import kind_of
from helpers.classroom.exercises import exercise
from helpers.classroom.readers import load_with_pillow
from helpers.classroom.trials import made_up_images


@exercise("05b.1")
def never_looked_at(unseen: float) -> str | None:
    """Share of a photograph's pixels that are skipped without a filter."""
    if not np.isscalar(unseen) or isinstance(unseen, str | bool):
        return f"A number; received {unseen!r}."
    number, seen = float(unseen), 4 * 224**2 / (3000 * 4000)
    if np.isclose(number, 1 - seen, atol=0.002):
        return None
    if np.isclose(number, seen, atol=0.002):
        return "That is the share that is looked at."
    if np.isclose(number, 1 - seen / 4, atol=0.002):
        return "That would be right if each new pixel looked at one old pixel."
    if not 0 <= number <= 1:
        return f"A share lies between 0 and 1; received {number:g}."
    return f"{number:g} is not it. How many old pixels are there, and how many are looked at?"


@exercise("05b.2")
def load_named(function: Callable[[str, tuple[int, int]], np.ndarray]) -> str | None:
    """Load an image, or raise an error that names its file."""
    with made_up_images(2, 12, 16) as (whole, half):
        received = function(whole, (6, 8))
        if not isinstance(received, np.ndarray) or received.shape != (6, 8, 3):
            return "Of a file that is whole, it does not return what load_with_pillow returns."
        if not np.array_equal(received, load_with_pillow(whole, (6, 8))):
            return "Of a file that is whole, it returns other pixels than load_with_pillow."
        Path(half).write_bytes(Path(half).read_bytes()[:200])
        try:
            function(half, (6, 8))
        except OSError as error:
            if Path(half).name not in str(error):
                return f"A file is cut off, and the error does not name it: {error}."
        except Exception as error:
            return f"A file is cut off, and it raises {kind_of(error)}, no OSError."
        else:
            return "A file is cut off, and it raises no error. So the training would go on."
    return None


@exercise("05b.3")
def go_on(function: Callable[[Iterable, int], Iterable]) -> str | None:
    """Give what comes after the first batches."""
    for batches, done in (("abcde", 2), ("abcde", 0), ("abc", 3)):
        received = _listed(function(iter(batches), done))
        if received != list(batches[done:]):
            return (
                f"Of the batches {', '.join(batches)}, with {done} done, {list(batches[done:])} "
                f"is to come; received {received!r}."
            )
    taken: list[int] = []
    received = list(islice(iter(function(_noted(taken), 2)), 3))
    if received != [2, 3, 4]:
        return f"Of the batches 0, 1, 2, … with 2 done, it begins with {received!r}."
    if len(taken) > 10:
        return "Three batches were asked of it, and it took all that there were. Do not keep them."
    return None


def _noted(taken: list[int]) -> Iterator[int]:
    for number in islice(count(), 1000):
        taken.append(number)
        yield number


def _listed(received: Any) -> Any:
    return list(received) if isinstance(received, Iterable) else received
