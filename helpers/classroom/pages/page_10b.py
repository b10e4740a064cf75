"""What is right in notebook 10b, masks."""

from collections.abc import Callable

import numpy as np

from helpers.classroom.exercises import exercise

TRIES = 60


def _changed(written: Callable) -> tuple[np.ndarray, np.ndarray, list[tuple]]:
    """Return an image, its mask, and what becomes of them with 60 seeds."""
    image = np.linspace(0.2, 0.7, 5 * 4 * 3, dtype=np.float32).reshape(5, 4, 3)
    mask = np.arange(20).reshape(5, 4, 1)
    seeds = range(TRIES)
    return image, mask, [written(image, mask, np.random.default_rng(seed)) for seed in seeds]


@exercise("10b.1")
def turns_both(written: Callable) -> str | None:
    """Turn image and mask upside down, in half of the cases, both or none."""
    image, mask, pairs = _changed(written)
    turned = 0
    for pair in pairs:
        if not isinstance(pair, tuple) or len(pair) != 2:
            return "It is to return two arrays: the image and its mask."
        up_down = [
            np.array_equal(now, before[::-1])
            for now, before in zip(pair, (image, mask), strict=True)
        ]
        same = [
            np.array_equal(now, before) for now, before in zip(pair, (image, mask), strict=True)
        ]
        if not (all(up_down) or all(same)):
            return "An image and its mask became different things, or neither what they were."
        turned += all(up_down)
    if not TRIES / 4 < turned < 3 * TRIES / 4:
        return f"It turned {turned} of {TRIES}; asked for is about half, by `rng`."
    return None


@exercise("10b.2")
def alters_the_image_only(written: Callable) -> str | None:
    """Multiply the image by a factor of its own, and leave the mask."""
    image, mask, pairs = _changed(written)
    factors = []
    for changed, same in pairs:
        if not np.array_equal(same, mask):
            return "The mask changed. It says where the object is; does brightness alter that?"
        if changed.dtype != np.float32:
            return f"The image is {changed.dtype} now; it was float32."
        if changed.min() < 0 or changed.max() > 1:
            return f"Values reach {changed.max():.2f}; they must stay from 0 to 1."
        dark = image < 0.7  # what is not clipped
        factor = changed[dark] / image[dark]
        if np.ptp(factor) > 0.01:
            return "The pixels of an image got different factors; asked for is one for all."
        factors.append(factor.mean())
    if min(factors) < 0.69 or max(factors) > 1.31:
        return f"Factors go from {min(factors):.2f} to {max(factors):.2f}; asked for: 0.7 to 1.3."
    if np.ptp(factors) < 0.3:
        return "The factors hardly differ. Does each image get one of its own?"
    return None
