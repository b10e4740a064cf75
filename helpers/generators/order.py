"""Which samples are in a batch, and their random numbers: they depend on nothing but numbers.

A generator may be one of several, each with its share of every step; so a *shard* is
(index, count), and that of the only generator is (0, 1).
"""

import numpy as np

SHUFFLING, AUGMENTING = 0, 1  # first part of each seed, so that no two uses share their numbers


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
    return np.random.default_rng((SHUFFLING, seed, epoch)).permutation(count)


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


def augment_seeds(seed: int, epoch: int, samples: np.ndarray) -> list[tuple[int, ...]]:
    """For each sample of an epoch the seed of the random numbers that `augment` gets."""
    return [(AUGMENTING, seed, epoch, int(sample)) for sample in samples]
