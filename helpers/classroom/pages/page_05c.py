"""Notebook 05c: what is different with photographs."""

from collections.abc import Callable
from typing import Any

import numpy as np

from helpers.classroom.exercises import exercise


@exercise("05c.1")
def pixels_for_nothing(decoded: float) -> str | None:
    """Pixels of a photograph for each one that is kept."""
    if not np.isscalar(decoded) or isinstance(decoded, str | bool):
        return f"A number; received {decoded!r}."
    number = float(decoded)
    if np.isclose(number, 3000 * 4000 / 224**2, rtol=0.01):
        return None
    if np.isclose(number, 224**2 / (3000 * 4000), rtol=0.01):
        return "The other way round: how many are decoded for one that is kept?"
    if any(np.isclose(number, side / 224, rtol=0.01) for side in (3000, 4000)):
        return "That is along one side. Pixels fill an area."
    return f"{number:g} is not it. How many pixels has each of the two?"


@exercise("05c.2")
def draft_of(function: Callable[[int, int, int], int]) -> str | None:
    """Return the divisor of the smallest draft that is large enough."""
    cases = [
        (3000, 4000, 224, 4),
        (4000, 3000, 224, 4),
        (4000, 6000, 224, 8),
        (300, 400, 224, 1),
        (900, 6000, 224, 2),
        (6000, 900, 224, 2),
        (896, 896, 224, 2),
        (895, 895, 224, 1),
        (50_000, 50_000, 224, 8),
    ]
    for height, width, size, expected in cases:
        received = function(height, width, size)
        if received != expected:
            return (
                f"draft_of({height}, {width}, {size}) returned {received!r}. Divide both sides by "
                f"8, 4 and 2, and see which results are at least {2 * size}."
            )
    return None


@exercise("05c.3")
def pays_after(function: Callable[[float, float, float], Any]) -> str | None:
    """Tell the first epoch after which a pack has saved time."""
    cases = [(10.0, 9.0, 1.0, 2), (10.0, 30.0, 1.0, 1), (90.0, 4.0, 1.0, 31), (8.0, 9.0, 1.0, 2)]
    for packing, plain, packed, expected in cases:
        received = function(packing, plain, packed)
        if received != expected:
            return (
                f"pays_after({packing:g}, {plain:g}, {packed:g}) returned {received!r}. Add up "
                "both ways, epoch after epoch: when is the pack ahead for the first time?"
            )
    for packed in (2.0, 3.0):
        if (received := function(10.0, 2.0, packed)) is not None:
            return f"A pack that saves no time in any epoch never pays; received {received!r}."
    return None
