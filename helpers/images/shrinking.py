"""Shrink a picture as scikit-image does, without computing what is not kept.

scikit-image blurs all of a picture, and then picks what it keeps. Along one axis both steps
together are one matrix, with a row for each pixel that is kept and a column for each pixel of the
picture, and nearly all of it is zero. So only the blocks along its diagonal are multiplied, and
only a small part of the picture is float32 at a time. Other interpolations are other matrices.
"""

import functools
import math
import threading
from typing import NamedTuple

import numpy as np

from helpers.images.opencv import cv2
from helpers.images.weights import WEIGHTS, of_draft

ROWS = 24  # of the picture, in a block; with 16 to 48 it takes about as long
MOST_PRODUCTS = 1 << 18  # in one multiplication: for more, OpenBLAS starts threads
MOST_PRODUCTS_OF_VECTOR = 9 << 10  # the same, if one of the two is a single row
MOST_KEPT = 1 << 22  # numbers in an array to work in: 16 MB, a picture of 1.3 megapixels
MOST_CHANNELS = 4  # that OpenCV takes everywhere
NOTHING = np.empty(0, np.float32)
CACHED = 64  # matrices, of about 0.1 MB each for a photograph


class Draft(NamedTuple):
    """What is known of a picture that was decoded at a fraction of its size.

    Attributes
    ----------
    factor : int
        How many pixels of the file, along each axis, became one: 2, 4 or 8.
    height, width : int
        Of the whole picture, in pixels; or of the part of it that is wanted.
    top, left : int
        How many pixels of the file the draft shows above that part, and to the left of it.
    """

    factor: int
    height: int
    width: int
    top: int = 0
    left: int = 0

    def axes(self) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """Return for rows, and for columns, what `of_draft` asks for."""
        return (self.factor, self.height, self.top), (self.factor, self.width, self.left)


class Workspace(threading.local):
    """Memory to work in, used again: new pages take the system as long as the work itself.

    Each thread has its own.
    """

    def __init__(self) -> None:
        self._arrays: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def empty(self, purpose: str, shape: tuple[int, ...]) -> np.ndarray:
        """Array of undefined float32 values, until the next call with the same `purpose`."""
        memory, array = self._arrays.get(purpose, (NOTHING, NOTHING))
        if array.shape != shape:
            size = math.prod(shape)
            if memory.size < size:
                memory = np.empty(size, np.float32)
            array = memory[:size].reshape(shape)
            if size <= MOST_KEPT:
                self._arrays[purpose] = memory, array
        return array

    def zeros(self, purpose: str, shape: tuple[int, ...]) -> np.ndarray:
        """Array of zeros, likewise."""
        array = self.empty(purpose, shape)
        array.fill(0)
        return array


WORKSPACE = Workspace()


class Blocks(NamedTuple):
    """The part of a matrix that is not zero, cut into blocks of `ROWS` columns.

    Attributes
    ----------
    firsts : list of int
        For each block, the row of the matrix that it begins with.
    weights : numpy.ndarray
        float32 array of shape (blocks, rows of a block, `ROWS`).
    """

    firsts: list[int]
    weights: np.ndarray


def shrink(
    image: np.ndarray, out: np.ndarray, interpolation: str = "bilinear", draft: Draft | None = None
) -> None:
    """Multiply a picture by the matrices of both axes.

    Parameters
    ----------
    image : numpy.ndarray
        uint8 or float32 array of shape (height, width, channels).
    out : numpy.ndarray
        C-contiguous float32 array of shape (new height, new width, channels) to write to, in the
        units of `image`.
    interpolation : {"bilinear", "area", "bicubic"}
        What the matrices do, see `helpers.images.weights`.
    draft : Draft, optional
        What `image` is a draft of. `out` then shows the whole picture, blurred by what the
        draft has not blurred already; always as "bilinear".
    """
    (height, width, channels), (new_height, new_width, _) = image.shape, out.shape
    of_rows, of_columns = draft.axes() if draft else (None, None)
    vertical = _blocks(height, new_height, interpolation, of_rows)
    horizontal = _blocks(width, new_width, interpolation, of_columns)
    lines = image.reshape(height, -1)
    turned_out = WORKSPACE.zeros("turned out", (new_width, channels * new_height))
    # Whole blocks of the other axis.
    step = max(_columns_at_once(vertical) // channels // ROWS, 1) * ROWS
    for start in range(0, width, step):
        strip = lines[:, channels * start : channels * (start + step)]
        shrunk = WORKSPACE.zeros("shrunk", (new_height, strip.shape[1]))
        _add_product(vertical, strip, shrunk)
        turned = _turned(shrunk.reshape(new_height, -1, channels))
        its_blocks = slice(start // ROWS, (start + step) // ROWS)
        blocks = Blocks(horizontal.firsts[its_blocks], horizontal.weights[its_blocks])
        _add_product(blocks, turned.reshape(-1, channels * new_height), turned_out)
    _turned(turned_out.reshape(new_width, new_height, channels), out)


def _turned(array: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Swap the first two axes of a float32 array: copied, into `out` if it is there."""
    if array.shape[2] <= MOST_CHANNELS:
        return cv2.transpose(array, dst=out)
    if out is None:
        return np.ascontiguousarray(array.swapaxes(0, 1))
    np.copyto(out, array.swapaxes(0, 1))
    return out


def _columns_at_once(blocks: Blocks) -> int:
    rows = blocks.weights.shape[1]
    most = MOST_PRODUCTS if rows > 1 else MOST_PRODUCTS_OF_VECTOR
    return max(most // (rows * ROWS), 1)


def _add_product(blocks: Blocks, lines: np.ndarray, total: np.ndarray) -> None:
    """Add the product of a matrix and the lines of a picture to `total`."""
    firsts, weights = blocks
    rows, step = weights.shape[1], _columns_at_once(blocks)
    for start in range(0, lines.shape[1], step):
        columns = slice(start, start + step)
        count = len(lines[0, columns])
        numbers = WORKSPACE.empty("numbers", (ROWS, count))
        product = WORKSPACE.empty("product", (rows, count))
        for number, first in enumerate(firsts):
            part = lines[number * ROWS : (number + 1) * ROWS, columns]
            height = len(part)
            np.copyto(numbers[:height], part)
            np.matmul(weights[number, :, :height], numbers[:height], out=product)
            target = total[first : first + rows, columns]
            np.add(target, product, out=target)


@functools.lru_cache(CACHED)
def _blocks(
    length: int, new_length: int, interpolation: str, draft: tuple[int, int, int] | None
) -> Blocks:
    if draft:
        positions, weights = of_draft(length, new_length, *draft)
    else:
        positions, weights = WEIGHTS[interpolation](length, new_length)
    count = -(-length // ROWS)
    starts = ROWS * np.arange(count)
    firsts = np.searchsorted(positions[:, -1], starts)
    ends = np.searchsorted(positions[:, 0], starts + ROWS)
    rows = int((ends - firsts).max())
    firsts = np.minimum(firsts, new_length - rows)
    block, column = np.divmod(positions, ROWS)
    row = np.arange(new_length)[:, np.newaxis] - firsts[block]
    places = (block * rows + row) * ROWS + column
    # At the edges several weights have the same place: there the last pixel is repeated.
    summed = np.bincount(places.ravel(), weights.ravel(), count * rows * ROWS)
    return Blocks(firsts.tolist(), summed.reshape(count, rows, ROWS).astype(np.float32))
