"""The exercises of notebook 00."""

from numbers import Real

import numpy as np

from helpers.arguments import counted, kind_of
from helpers.classroom.exercises import exercise


@exercise("00.1")
def images_of_a_class(number: int, labels: np.ndarray) -> str | None:
    """How many images each class of the second set has."""
    if not isinstance(number, Real):
        return f"A number is asked for, not {kind_of(number)}."
    counts = np.bincount(labels)
    counts = counts[counts > 0]
    if counts.min() <= number <= counts.max():
        return None
    if number == len(labels):
        return "That is the whole set. How many of them are of one class?"
    return f"{number} is not it. Is it the set `test` that you counted?"


@exercise("00.2")
def sixteen_others(others, some) -> str | None:
    """Pick other files, as many, and at random."""
    if not hasattr(others, "filenames"):
        return f"{type(others).__name__}? Labels are to come along: pick as `some` was picked."
    if len(others.filenames) != len(some.filenames):
        return f"You picked {counted(len(others.filenames), 'file')}, not {len(some.filenames)}."
    if set(others.filenames) == set(some.filenames):
        return "These are the same files as above."
    if len(set(others.labels)) == 1:
        return "They are all of one class. Were they picked at random?"
    return None
