"""What is right in notebook 01, why batches."""

import math
from collections.abc import Callable

import numpy as np

from helpers.classroom.exercises import exercise
from helpers.classroom.trials import made_up_images, peak_of
from helpers.images.reading import read_image
from helpers.images.resizing import resize_image

_SIDE = 200
_IMAGE = _SIDE * _SIDE * 3  # numbers
_NOTHING = "It returned None. Does it end with return?"


@exercise("01.1")
def batches_of_128(megabytes: float, steps: int, last_batch: int) -> str | None:
    """Ask how large a batch of 128 is, how long an epoch of 2,000, how large the last batch."""
    if not math.isclose(megabytes, 128 * _IMAGE * 8 / 1e6, rel_tol=0.06):  # or in MiB
        if math.isclose(megabytes, 128 * _IMAGE * 8, rel_tol=0.06):
            return "So many bytes, yes. A MB is a million of them."
        return f"A batch of {megabytes:g} MB? Look up what one image takes, and there are 128."
    if steps != 16:
        if math.isclose(steps, 2000 / 128, rel_tol=0.01):
            return f"An epoch cannot have {steps:g} steps: no step is cut in two."
        if steps == 15:
            return "After 15 steps some images were never used."
        return f"{steps} steps? How often can 128 images be taken away from 2,000?"
    if last_batch != 80:
        if last_batch == 128:
            return "The last batch is a whole one only if 128 divides 2,000."
        return f"{last_batch} in the last batch? How many are left when all whole ones are taken?"
    return None


@exercise("01.2")
def bytes_from_0_to_255(read_bytes: Callable, fit: int) -> str | None:
    """Ask for a function that reads 200×200×3 uint8, and how many such images 256 MB hold."""
    with made_up_images(1) as (name,):
        image = read_bytes(name)
        enlarged = resize_image(read_image(name), (_SIDE, _SIDE))
    if image is None:
        return _NOTHING
    image = np.asarray(image)
    if image.shape != enlarged.shape:
        return f"It returns the shape {image.shape}; asked for is {enlarged.shape}."
    if image.dtype != np.uint8:
        return f"It returns {image.dtype}, not uint8."
    if image.max() <= 1:
        return (
            f"Its largest value is {image.max()}: as whole numbers, 0 to 1 leaves hardly anything."
        )
    difference = np.rint(255 * enlarged.astype(float)) - image
    if abs(difference).max() > 1:
        return "Its values are not those of the enlarged image, stretched to 0 to 255."
    if abs(difference).mean() > 0.1:  # many by 1: cut off
        return "Many values are too small by 1: a change of type cuts off what follows the point."
    if fit != 256_000_000 // _IMAGE:
        return f"{fit:,} images? Divide the budget by the bytes of one such image."
    return None


@exercise("01.3")
def batch_in_one_array(read_batch: Callable) -> str | None:
    """Ask for a function that makes a batch without holding its images twice."""
    count = 20
    with made_up_images(count) as names:
        expected = [resize_image(read_image(name), (_SIDE, _SIDE)) for name in names]
        short = read_batch(names[:3])
        batch, peak = peak_of(read_batch, names)
    if short is None:
        return _NOTHING
    if np.shape(short) != (3, _SIDE, _SIDE, 3):
        return f"Three names gave the shape {np.shape(short)}. An epoch's last batch is short."
    if np.shape(batch) != (count, _SIDE, _SIDE, 3) or batch.dtype != np.float64:
        return f"{count} file names gave an array of shape {np.shape(batch)} and {batch.dtype}."
    if not np.allclose(batch, expected, atol=1e-6):
        wrong = [i for i in range(count) if not np.allclose(batch[i], expected[i], atol=1e-6)]
        return f"Image {wrong[0]} of the batch is not that of file {wrong[0]}."
    times = peak / batch.nbytes
    if times > 1.5:
        return f"It is right, but held {times:.1f} times the memory of the batch while making it."
    return None
