"""What is right in notebook 06, shuffle and augment."""

import pickle
import random
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np

from helpers.arguments import kind_of
from helpers.classroom.exercises import exercise
from helpers.generators.order import epoch_order

SEEDS, EPOCHS, SAMPLES = range(4), (0, 1, 2, 3, 10, 11), (0, 1, 2, 3, 10, 11, 100, 1000, 49_999)


def rng_of(seed: int, epoch: int, sample: int) -> np.random.Generator:
    """Return the random numbers of a sample in an epoch: they depend on these three only."""
    return np.random.default_rng((seed, epoch, sample))


@exercise("06.A", finished=lambda: rng_of)
def generator_of_a_sample(written: Callable) -> str | None:
    """Ask for random numbers that seed, epoch and sample decide, and nothing else."""
    shared = np.random.get_state(), random.getstate()  # noqa: NPY002 - it is to be left alone
    try:
        return _what_it_returns(written) or _what_it_touches(written) or _what_is_equal(written)
    finally:
        np.random.set_state(shared[0])  # noqa: NPY002
        random.setstate(shared[1])


def _what_it_returns(written: Callable) -> str | None:
    first = written(7, 0, 3)
    if not isinstance(first, np.random.Generator):
        return (
            f"It returns {_kind(first)}; asked for is a `numpy.random.Generator` of its own, "
            "from which `change` can draw."
        )
    expected = first.random(4)
    written(7, 0, 4).random(9)
    second = written(7, 0, 3)
    if second is first:
        return "Two calls return one and the same generator. Who draws from it, changes it for all."
    if not np.array_equal(second.random(4), expected):
        return (
            "Called again for the same seed, epoch and sample, it gives other numbers. Nothing "
            "that happened before may count."
        )
    return None


def _what_it_touches(written: Callable) -> str | None:
    """Look at the states that all of a program share."""
    np.random.random(), random.random()  # noqa: NPY002 - or to seed them again changes nothing
    before = _shared_numbers()
    written(7, 0, 3)
    if _shared_numbers() != before:
        return (
            "It draws from, or seeds, random numbers that the whole program shares. Another thread "
            "may do so at the same moment."
        )
    return None


def _shared_numbers() -> tuple:
    return pickle.dumps(np.random.get_state()), random.getstate()  # noqa: NPY002


def _what_is_equal(written: Callable) -> str | None:
    """Look for two of (seed, epoch, sample) that get the same numbers."""

    def numbers(*three: int) -> tuple[float, ...]:
        return tuple(written(*three).random(2))

    usual = numbers(7, 1, 3)
    for name, other in (("seed", (8, 1, 3)), ("epoch", (7, 2, 3)), ("sample", (7, 1, 4))):
        if numbers(*other) == usual:
            return f"The {name} does not count: with another {name} come the same numbers."
    seen: dict[tuple[float, ...], tuple[int, ...]] = {}
    for three in product(SEEDS, EPOCHS, SAMPLES):
        twin = seen.setdefault(numbers(*three), three)
        if twin != three:
            return (
                f"{_words(twin)} and {_words(three)} get the same numbers. Each three numbers "
                "need their own."
            )
    return None


def _words(three: tuple[int, ...]) -> str:
    return "(seed {}, epoch {}, sample {})".format(*three)


def _kind(thing: Any) -> str:
    return "the module `np.random`" if thing is np.random else kind_of(thing)


@exercise("06.1")
def batches_of_one_class(batches: int) -> str | None:
    """Count the batches of 32 that hold one class, in 2,000 sorted files of ten."""
    if batches == 63:
        return "63 are all batches. Where do two classes meet?"
    if batches == 7:
        return "You counted the batches with two classes. Asked for are the others."
    if batches in (53, 54):
        return "Close. Does every border between two classes lie inside a batch?"
    if batches != 56:
        return f"{batches} is not it. Look at the labels of one batch after the other."
    return None


@exercise("06.2")
def orders_of_the_rest(rest: np.ndarray) -> str | None:
    """Ask for the orders of epochs 2 and 3, of a generator that has not seen 0 and 1."""
    rest = np.asarray(rest)
    if rest.shape != (2, 40):
        return f"Expected are two epochs of 40 samples, shape (2, 40); yours has {rest.shape}."
    first, second, third, fourth = (epoch_order(0, 40, epoch) for epoch in range(4))
    if np.array_equal(rest, [third, fourth]):
        return None
    if np.array_equal(rest, [first, second]):
        return "These are the epochs 0 and 1 again. Who tells the new generator where to begin?"
    if _same_batches(rest[0], third) and _same_batches(rest[1], fourth):
        return "The batches are right, but their order is not: there are two switches."
    return "These are not the orders of epochs 2 and 3. Is the seed the same, and shuffle on?"


def _same_batches(order: np.ndarray, other: np.ndarray) -> bool:
    ours, theirs = (sorted(one.reshape(10, 4).tolist()) for one in (order, other))
    return ours == theirs


@exercise("06.3")
def different_sums(different: int) -> str | None:
    """Count the seeds that differ, if epoch and sample are added to the seed."""
    if different == 20_000:
        return "Then no two sums are equal. Add up epoch 0, sample 1, and epoch 1, sample 0."
    if different in (2_000, 2_010):
        return "Close. Which sums come in the last epoch that came in none before?"
    if different != 2_009:
        return f"{different} is not it. Which is the smallest sum, and which the largest?"
    return None
