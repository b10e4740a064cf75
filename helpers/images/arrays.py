"""Memory for the arrays of a batch: where each begins, and how they are cut from one block."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

Layout = Sequence[tuple[tuple[int, ...], str]]
"""Shape and type of what a sample has in each array of a batch."""
BOUNDARY = 64
"""Bytes. TensorFlow wraps a C-contiguous array whose address is a multiple of that, and copies any
other; a large array of numpy's is never at such an address by itself. ``tests/benchmarks`` measures
what the copy costs."""


def batch_bytes(layout: Layout, samples: int) -> int:
    """Bytes that a batch of so many samples takes."""
    return sum(_up_to_boundary(samples * _bytes(*array)) for array in layout)


def cut(memory: np.ndarray, layout: Layout, samples: int) -> list[np.ndarray]:
    """Cut the arrays of a batch from one block of memory.

    Parameters
    ----------
    memory : numpy.ndarray
        uint8 array of ``batch_bytes(layout, samples)`` or more, on a 64-byte boundary.
    layout : Layout
        What a sample has in each array.
    samples : int
        Samples in the batch.

    Returns
    -------
    list of numpy.ndarray
        An array of shape (samples, ...) for each entry of `layout`, on a 64-byte boundary.
    """
    arrays, start = [], 0
    for shape, dtype in layout:
        size = samples * _bytes(shape, dtype)
        arrays.append(memory[start : start + size].view(dtype).reshape(samples, *shape))
        start += _up_to_boundary(size)
    return arrays


def empty_block(size: int) -> np.ndarray:
    """uint8 array of undefined values, on a 64-byte boundary."""
    memory = np.empty(size + BOUNDARY - 1, np.uint8)
    start = -memory.ctypes.data % BOUNDARY
    return memory[start : start + size]


def empty_arrays(layout: Layout, samples: int) -> list[np.ndarray]:
    """Arrays of undefined values for one batch, as `cut` makes them."""
    return cut(empty_block(batch_bytes(layout, samples)), layout, samples)


def aligned_empty(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Array of undefined values, C-contiguous, on a 64-byte boundary."""
    return empty_arrays([(shape[1:], dtype)], shape[0])[0]


def stacked(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Copy arrays of the same shape and type to one, on a 64-byte boundary."""
    array = aligned_empty((len(rows), *rows[0].shape), rows[0].dtype.name)
    for number, row in enumerate(rows):
        array[number] = row
    return array


def _bytes(shape: Iterable[int], dtype: str) -> int:
    return math.prod(shape) * np.dtype(dtype).itemsize


def _up_to_boundary(size: int) -> int:
    return -(-size // BOUNDARY) * BOUNDARY
