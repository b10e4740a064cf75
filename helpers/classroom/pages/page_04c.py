"""What is right in notebook 04c, what comes next."""

import random
from collections.abc import Callable

from helpers.classroom.exercises import exercise


@exercise("04c.1")
def next_order(function: Callable[[int], list[int]]) -> str | None:
    """Ask for the order in which ``fit`` is going to take its batches."""
    before = random.getstate()
    try:
        for seed, batches in ((3, 5), (4, 12), (5, 1)):
            random.seed(seed)
            state = random.getstate()
            order = function(batches)
            if random.getstate() != state:
                return "Afterwards `random` is not as it was, so fit would draw other numbers."
            expected = list(range(batches))
            random.shuffle(expected)
            if not isinstance(order, list):
                return f"It returns {order!r}; asked for is a list of numbers."
            if sorted(order) != sorted(expected):
                return f"Of {batches} batches it returns {order}. Is each in it once?"
            if order != expected:
                return f"Of {batches} batches it returns {order}; fit asks in another order."
    finally:
        random.setstate(before)
    return None


@exercise("04c.2")
def lost_and_repeated(function: Callable[[list, int], tuple[list, list]]) -> str | None:
    """Ask which batches of an epoch never came, and which came more than once."""
    for came, batches, lost, repeated in (
        ([0, 1, 2, 3], 4, [], []),
        ([2, 0, 1, 0], 4, [3], [0]),
        ([1, 1, 1, 3, 3], 5, [0, 2, 4], [1, 3]),
        ([], 2, [0, 1], []),
        ([3, 2, 3, 2], 4, [0, 1], [2, 3]),
    ):
        answer = function(list(came), batches)
        case = f"Of came={came} and batches={batches} it returns {answer!r}."
        try:
            said_lost, said_repeated = answer
        except (TypeError, ValueError):
            return f"{case} Asked for are two lists."
        if list(said_lost) != lost:
            return f"{case} Which never came?"
        if list(said_repeated) != repeated:
            return f"{case} Which came more than once? (Each stands there once, sorted.)"
    return None
