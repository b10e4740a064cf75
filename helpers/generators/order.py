"""Which samples are in a batch, and their random numbers: they depend on nothing but numbers.

A generator may be one of several, each with its share of every step; so a *shard* is
(index, count), and that of the only generator is (0, 1).
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from helpers import arguments

# First part of each seed, so that no two uses share their numbers.
SHUFFLING, AUGMENTING, MIXING = 0, 1, 2
KEPT = 2  # at the turn of an epoch, batches of both may be asked for

Order = Callable[[int, np.random.Generator], ArrayLike]
"""``order(epoch, rng)`` returns positions in the list of files."""


class Drawn(NamedTuple):
    """The order of an epoch.

    Attributes
    ----------
    positions : numpy.ndarray
        int64 positions in the list of files.
    times : numpy.ndarray
        How often each of them stands before; empty if none comes twice.
    """

    positions: np.ndarray
    times: np.ndarray


class EpochOrder:
    """Which samples are in which batch of which epoch.

    Parameters
    ----------
    files, batch_size : int
        Files in the data set, and images in a batch.
    seed : int
        Decides all orders.
    shuffle : bool
        Have each file once, in another place each time.
    order : callable, optional
        ``order(epoch, rng)`` returns the positions of an epoch instead.
    shard : tuple of int, optional
        Which of how many generators that share every step.
    drop_last : bool
        Leave out a short last batch.

    Raises
    ------
    ValueError
        If the shares of the shards, or what `drop_last` leaves, would be empty; if there is an
        `order`, and `shuffle`, too.
    """

    def __init__(
        self,
        files: int,
        batch_size: int,
        seed: int,
        shuffle: bool,
        order: Order | None,
        shard: tuple[int, int] | None,
        drop_last: bool,
    ):
        if order is not None and shuffle:
            raise ValueError("order= decides the order; pass it without shuffle=True")
        self.files = files
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.order = order
        self.drop_last = drop_last
        self._drawn: dict[int, Drawn] = {}
        self.samples_per_epoch = files if order is None else len(self._ordered(0))
        self.shard = arguments.shard(shard, self.samples_per_epoch, batch_size)
        if not self.batches_per_epoch:
            raise ValueError(
                f"drop_last=True leaves nothing: "
                f"{arguments.counted(self.samples_per_epoch, 'file does', 'files do')} not fill a "
                f"batch of {batch_size * self.shard[1]}"
            )

    @property
    def batches_per_epoch(self) -> int:
        """Batches in an epoch, the short last one included unless it is dropped."""
        return batches_per_epoch(
            self.samples_per_epoch, self.batch_size, self.shard, self.drop_last
        )

    def prepare(self, epoch: int) -> None:
        """Draw the order of an epoch: once, and not in several threads at the same time."""
        if self.shuffle or self.order is not None:
            self._draw(epoch)

    def samples(self, epoch: int, index: int) -> np.ndarray:
        """Which samples are in a batch: int64 array of positions in the list of files."""
        bounds = self._bounds(index)
        if self.shuffle or self.order is not None:
            return self._draw(epoch).positions[bounds]
        return np.arange(bounds.start, bounds.stop)

    def augment_seeds(self, epoch: int, index: int, samples: np.ndarray) -> list[tuple[int, ...]]:
        """For each of a batch's `samples` the seed of the random numbers that `augment` gets.

        A sample that comes several times in an epoch has other numbers each time.
        """
        if self.order is None:
            return [(AUGMENTING, self.seed, epoch, sample) for sample in samples.tolist()]
        times = self._draw(epoch).times[self._bounds(index)].tolist()
        return [
            (AUGMENTING, self.seed, epoch, sample, time)[: 5 if time else 4]
            for sample, time in zip(samples.tolist(), times, strict=True)
        ]

    def in_file_order(self) -> "EpochOrder":
        """Return the order in which each file comes once, as they stand in the list."""
        return EpochOrder(self.files, self.batch_size, self.seed, False, None, self.shard, False)

    def mixing_seed(self, epoch: int, index: int) -> tuple[int, ...]:
        """Seed of the random numbers that `augment_batch` gets."""
        return MIXING, self.seed, epoch, index, self.shard[0]

    def _bounds(self, index: int) -> slice:
        batches = self.batches_per_epoch
        return batch_bounds(index, batches, self.samples_per_epoch, self.batch_size, self.shard)

    def _draw(self, epoch: int) -> Drawn:
        if (drawn := self._drawn.get(epoch)) is None:
            if self.order is None:
                drawn = Drawn(epoch_order(self.seed, self.files, epoch), np.empty(0, np.int64))
            else:
                positions = self._ordered(epoch)
                drawn = Drawn(positions, times_before(positions))
            kept = list(self._drawn.items())[1 - KEPT :]
            self._drawn = dict([*kept, (epoch, drawn)])
        return drawn

    def _ordered(self, epoch: int) -> np.ndarray:
        assert self.order is not None
        positions = np.asarray(self.order(epoch, _rng(self.seed, epoch)))
        if positions.ndim != 1 or positions.dtype.kind not in "iu" or not positions.size:
            raise ValueError(
                f"order must return positions, whole numbers in one list; received "
                f"{positions.dtype} of shape {positions.shape} for epoch {epoch}"
            )
        if not 0 <= positions.min() <= positions.max() < self.files:
            raise ValueError(
                f"order must return positions from 0 to {self.files - 1}; received "
                f"{positions.min()} to {positions.max()} for epoch {epoch}"
            )
        if epoch and len(positions) != self.samples_per_epoch:
            raise ValueError(
                f"order returned {arguments.counted(len(positions), 'position')} for epoch "
                f"{epoch}, and {self.samples_per_epoch} for epoch 0: each epoch needs as many"
            )
        return positions.astype(np.int64)

    def __getstate__(self) -> dict:
        return vars(self) | {"_drawn": {}}  # drawn again where they are needed


def epoch_order(seed: int, count: int, epoch: int) -> np.ndarray:
    """Order of the samples in an epoch: a permutation that depends on (seed, epoch) only.

    Parameters
    ----------
    seed, epoch : int
        Decide the order.
    count : int
        Number of samples.

    Returns
    -------
    numpy.ndarray
        int64 array of shape (count,) with each of 0 … count - 1 once.
    """
    return _rng(seed, epoch).permutation(count)


def _rng(seed: int, epoch: int) -> np.random.Generator:
    return np.random.default_rng((SHUFFLING, seed, epoch))


def balanced_order(labels: ArrayLike) -> Order:
    """Return an order in which all classes come equally often.

    An epoch is as long as the list of files (or shorter, by less than the number of classes).
    Files of a rare class come several times in it, each as often as the others to within one, and
    of a frequent class some are left for later epochs.

    Parameters
    ----------
    labels : array_like of int
        Class of each file, of shape (files,).

    Returns
    -------
    callable
        For ``MY_Generator(order=...)``.

    Raises
    ------
    ValueError
        If the labels are no class numbers.

    Examples
    --------
    >>> generator = MY_Generator(
    ...     files.filenames, files.labels, 32, order=balanced_order(files.labels)
    ... )
    """
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not labels.size:
        raise ValueError(
            f"balanced_order needs a class number for each file; received {labels.dtype} of shape "
            f"{labels.shape}"
        )
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    return functools.partial(_balanced, members, len(labels) // len(members))


def _balanced(
    members: list[np.ndarray], each: int, epoch: int, rng: np.random.Generator
) -> np.ndarray:
    drawn = []
    for files in members:
        rounds = [rng.permutation(files) for _ in range(-(-each // len(files)))]
        drawn.append(np.concatenate(rounds)[:each])
    return rng.permutation(np.concatenate(drawn))


def times_before(positions: np.ndarray) -> np.ndarray:
    """For each entry, how many equal ones stand before it."""
    by_value = np.argsort(positions, kind="stable")
    ordered = positions[by_value]
    starts = np.searchsorted(ordered, ordered)  # where each run of equal ones begins
    times = np.empty(len(positions), np.int64)
    times[by_value] = np.arange(len(positions)) - starts
    return times


def batches_per_epoch(
    files: int, batch_size: int, shard: tuple[int, int], drop_last: bool = False
) -> int:
    """Count the batches in an epoch, the short last one included unless it is dropped."""
    step = batch_size * shard[1]
    return files // step if drop_last else -(-files // step)


def batch_bounds(
    index: int, batches: int, files: int, batch_size: int, shard: tuple[int, int]
) -> slice:
    """Where in the epoch's order a batch lies.

    Parameters
    ----------
    index, batches : int
        Batch in the epoch, from 0, and how many there are.
    files, batch_size : int
        Files in the data set, and images in a batch.
    shard : tuple of int
        Which of how many generators that share every step.

    Returns
    -------
    slice
        Positions in the epoch's order.
    """
    number, count = shard
    # The last step begins early enough to have an image for each of the generators.
    first, end = (
        min(step * batch_size * count, files - count * (batches - step))
        for step in (index, index + 1)
    )
    return slice(
        first + (end - first) * number // count, first + (end - first) * (number + 1) // count
    )
