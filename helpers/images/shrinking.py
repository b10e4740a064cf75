"""Shrink a picture as scikit-image does, without computing what is not kept.

scikit-image blurs all of a picture, and then picks what it keeps. Along one axis both steps
together are one matrix, with a row for each pixel that is kept and a column for each pixel of the
picture, and nearly all of it is zero. So only the blocks along its diagonal are multiplied, and
only a small part of the picture is float32 at a time.
"""

import functools
import math
import threading
from typing import NamedTuple

import numpy as np

from helpers.images.opencv import cv2

ROWS = 24  # of the picture, in a block; with 16 to 48 it takes about as long
MOST_PRODUCTS = 1 << 18  # in one multiplication: for more, OpenBLAS starts threads
MOST_PRODUCTS_OF_VECTOR = 9 << 10  # the same, if one of the two is a single row
MOST_KEPT = 1 << 22  # numbers in an array to work in: 16 MB, a picture of 1.3 megapixels
NOTHING = np.empty(0, np.float32)
CACHED = 64  # matrices, of about 0.1 MB each for a photograph


class Draft(NamedTuple):
    """What is known of a picture that was decoded at a fraction of its size.

    Attributes
    ----------
    factor : int
        How many pixels of the file, along each axis, became one: 2, 4 or 8.
    height, width : int
        Of the whole picture, in pixels.
    """

    factor: int
    height: int
    width: int


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


def shrink(image: np.ndarray, out: np.ndarray, draft: Draft | None = None) -> None:
    """Blur and interpolate a picture along both axes.

    Parameters
    ----------
    image : numpy.ndarray
        uint8 array of shape (height, width, 3).
    out : numpy.ndarray
        C-contiguous float32 array of shape (new height, new width, 3) to write to; values go
        from 0 to 255.
    draft : Draft, optional
        What `image` is a draft of. `out` then shows the whole picture, blurred by what the
        draft has not blurred already.
    """
    (height, width, _), (new_height, new_width, _) = image.shape, out.shape
    factor, *whole = draft or (1, height, width)
    vertical = _blocks(height, new_height, factor, whole[0])
    horizontal = _blocks(width, new_width, factor, whole[1])
    lines = image.reshape(height, -1)
    turned_out = WORKSPACE.zeros("turned out", (new_width, 3 * new_height))
    step = max(_columns_at_once(vertical) // 3 // ROWS, 1) * ROWS  # whole blocks of the other axis
    for start in range(0, width, step):
        strip = lines[:, 3 * start : 3 * (start + step)]
        shrunk = WORKSPACE.zeros("shrunk", (new_height, strip.shape[1]))
        _add_product(vertical, strip, shrunk)
        turned = cv2.transpose(shrunk.reshape(new_height, -1, 3)).reshape(-1, 3 * new_height)
        its_blocks = slice(start // ROWS, (start + step) // ROWS)
        blocks = Blocks(horizontal.firsts[its_blocks], horizontal.weights[its_blocks])
        _add_product(blocks, turned, turned_out)
    cv2.transpose(turned_out.reshape(new_width, new_height, 3), dst=out)


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
def _blocks(length: int, new_length: int, factor: int, whole_length: int) -> Blocks:
    if factor == 1:
        positions, weights = _weights(length, new_length)
    else:
        positions, weights = _draft_weights(new_length, factor, whole_length)
        positions = np.clip(positions, 0, length - 1)
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


def _weights(length: int, new_length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which pixels of an axis are added up for each new one, and with what weights.

    As `skimage.transform.resize` does it: a blur whose sigma is ``(scale - 1) / 2``, cut off at 4
    sigma, and linear interpolation between the two pixels that a new one lies between.
    """
    scale = length / new_length
    sigma = max(scale - 1, 0) / 2
    radius = int(4 * sigma + 0.5)
    kernel = _gaussian(np.arange(-radius, radius + 1), sigma) if radius else np.ones(1)
    before, after = _between(np.clip(_centres(new_length, scale), 0, length - 1))
    weights = (1 - after) * np.append(kernel, 0) + after * np.append(0, kernel)
    return np.clip(before + np.arange(-radius, radius + 2), 0, length - 1), weights


def _draft_weights(
    new_length: int, factor: int, whole_length: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the same for a draft: what it has blurred already is not blurred again.

    Variances of blurs that follow each other add up. `_weights` blurs with ``sigma²``, and by
    interpolation with ``after * (1 - after)``; a draft averages `factor` pixels, and equal
    weights have the variance ``(factor² - 1) / 12``. A Gaussian round each new pixel does the rest.
    """
    scale = whole_length / new_length
    centres = _centres(new_length, scale)
    _, after = _between(centres)
    variance = ((scale - 1) / 2) ** 2 + after * (1 - after) - (factor**2 - 1) / 12
    sigma = np.sqrt(variance) / factor
    radius = int(4 * sigma.max() + 0.5)
    centres = (centres + 0.5) / factor - 0.5
    positions = _between(centres)[0] + np.arange(-radius, radius + 2)
    return positions, _gaussian(positions - centres[:, np.newaxis], sigma)


def _centres(new_length: int, scale: float) -> np.ndarray:
    """Return where the middle of each new pixel lies, counted in old ones."""
    return (np.arange(new_length) + 0.5) * scale - 0.5


def _between(centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixel before each place, and how far behind its middle that is, as columns."""
    before = np.floor(centres)
    return before.astype(np.int64)[:, np.newaxis], (centres - before)[:, np.newaxis]


def _gaussian(distances: np.ndarray, sigma) -> np.ndarray:
    weights = np.exp(-0.5 * (distances / sigma) ** 2)
    return weights / weights.sum(axis=-1, keepdims=True)
