"""What each new pixel along an axis is made of: the old ones, and how much of each.

Every function takes the number of pixels before and after. Two arrays of shape (new length, n)
come back: the positions of n old pixels, in rising order, and their weights, whose sum is 1.
"""

import numpy as np

SHARPNESS = -0.5  # of Keys' cubic: with this value it continues slopes exactly


def bilinear(length: int, new_length: int) -> tuple[np.ndarray, np.ndarray]:
    """Blur, and draw a line between the two pixels that a new one lies between.

    As `skimage.transform.resize` does it: the blur's sigma is ``(scale - 1) / 2``, cut off at 4
    sigma, and at the edges the last pixel is repeated.
    """
    scale = length / new_length
    sigma = max(scale - 1, 0) / 2
    radius = int(4 * sigma + 0.5)
    kernel = _gaussian(np.arange(-radius, radius + 1), sigma) if radius else np.ones(1)
    before, after = _between(np.clip(_centres(new_length, scale), 0, length - 1))
    weights = (1 - after) * np.append(kernel, 0) + after * np.append(0, kernel)
    return np.clip(before + np.arange(-radius, radius + 2), 0, length - 1), weights


def area(length: int, new_length: int) -> tuple[np.ndarray, np.ndarray]:
    """Average what a new pixel covers, old pixels at its rim as far as it covers them.

    As ``tf.image.resize(method="area")`` does it, enlarging, too: there a new pixel that lies
    within an old one is equal to it.
    """
    # In units of which an old pixel has `new_length`, and a new one `length`: whole numbers.
    starts = length * np.arange(new_length)[:, np.newaxis]
    positions = starts // new_length + np.arange(-(-length // new_length) + 1)
    begins = np.maximum(new_length * positions, starts)
    ends = np.minimum(new_length * (positions + 1), starts + length)
    return np.minimum(positions, length - 1), np.maximum(ends - begins, 0) / length


def bicubic(length: int, new_length: int) -> tuple[np.ndarray, np.ndarray]:
    """Lay Keys' cubic through four pixels; where it shrinks, a wider one through more of them.

    As Pillow's BICUBIC does it: what would lie outside of the picture has no weight.
    """
    scale = length / new_length
    stretch = max(scale, 1)
    radius = int(np.ceil(2 * stretch))
    centres = _centres(new_length, scale)
    positions = _between(centres)[0] + np.arange(1 - radius, radius + 1)
    weights = _cubic((positions - centres[:, np.newaxis]) / stretch)
    weights[(positions < 0) | (positions >= length)] = 0
    return np.clip(positions, 0, length - 1), _of_sum_1(weights)


WEIGHTS = {"bilinear": bilinear, "area": area, "bicubic": bicubic}


def of_draft(
    length: int, new_length: int, factor: int, whole_length: int, start: int
) -> tuple[np.ndarray, np.ndarray]:
    """Do as `bilinear`, with a draft: what it has blurred already is not blurred again.

    The new pixels show `whole_length` pixels of the file, of which the first is number `start` of
    those that the draft shows. `length` pixels are in the draft, each of `factor` of the file.

    Variances of blurs that follow each other add up. `bilinear` blurs with ``sigma²``, and by
    interpolation with ``after * (1 - after)``; a draft averages `factor` pixels, and equal
    weights have the variance ``(factor² - 1) / 12``. A Gaussian round each new pixel does the rest.
    """
    scale = whole_length / new_length
    centres = _centres(new_length, scale)
    _, after = _between(centres)
    variance = ((scale - 1) / 2) ** 2 + after * (1 - after) - (factor**2 - 1) / 12
    sigma = np.sqrt(variance) / factor
    radius = int(4 * sigma.max() + 0.5)
    centres = (centres + start + 0.5) / factor - 0.5
    positions = _between(centres)[0] + np.arange(-radius, radius + 2)
    weights = _gaussian(positions - centres[:, np.newaxis], sigma)
    return np.clip(positions, 0, length - 1), weights


def nearest(length: int, new_length: int) -> np.ndarray:
    """Return the position of the one pixel that the middle of each new one lies in."""
    return (2 * np.arange(new_length) + 1) * length // (2 * new_length)


def _centres(new_length: int, scale: float) -> np.ndarray:
    """Return where the middle of each new pixel lies, counted in old ones."""
    return (np.arange(new_length) + 0.5) * scale - 0.5


def _between(centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixel before each place, and how far behind its middle that is, as columns."""
    before = np.floor(centres)
    return before.astype(np.int64)[:, np.newaxis], (centres - before)[:, np.newaxis]


def _gaussian(distances: np.ndarray, sigma) -> np.ndarray:
    return _of_sum_1(np.exp(-0.5 * (distances / sigma) ** 2))


def _cubic(distances: np.ndarray) -> np.ndarray:
    d, a = np.abs(distances), SHARPNESS
    near = ((a + 2) * d - (a + 3)) * d**2 + 1
    far = (((d - 5) * d + 8) * d - 4) * a
    return np.where(d < 1, near, np.where(d < 2, far, 0))


def _of_sum_1(weights: np.ndarray) -> np.ndarray:
    return weights / weights.sum(axis=-1, keepdims=True)
