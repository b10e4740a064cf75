"""What is right in notebook 02, CIFAR10Sequence."""

import operator
from typing import Any

import numpy as np
from skimage.io import imread
from skimage.transform import resize

from helpers.arguments import kind_of
from helpers.classroom.exercises import exercise
from helpers.classroom.trials import made_up_images, peak_of
from helpers.generators.textbook import CIFAR10Sequence

_SIZE = (200, 200)


@exercise("02.A", finished=lambda: CIFAR10Sequence)
def cifar10_sequence(written: type) -> str | None:
    """Ask for the class of the article, with its two methods."""
    with made_up_images(7) as names:
        return _length(written, names) or _batches(written, names)


def _length(written: type, names: list[str]) -> str | None:
    for images, size, batches in ((7, 3, 3), (6, 3, 2), (4, 2, 2), (3, 4, 1), (7, 6, 2)):
        sequence = _new(written, names[:images], size)
        told = sequence.__len__()
        said = f"{images} images in batches of {size}: __len__ returned {told}"
        if told is None:
            return f"{said}. Does it end with return?"
        try:
            operator.index(told)
        except TypeError:
            return f"{said}, of type {type(told).__name__}. len() takes nothing but an int."
        if told == batches:
            continue
        if told == images // size:
            return f"{said}. What becomes of the images that are left over?"
        if images % size == 0 and told == batches + 1:
            return f"{said}. What would be in the last batch?"
        return f"{said}. Does it count what is in self.x, with self.batch_size?"
    return None


def _new(written: type, names: list[str], batch_size: int) -> Any:
    return written(names, [100 + number for number in range(len(names))], batch_size)


def _batches(written: type, names: list[str]) -> str | None:
    sequence = _new(written, names, 3)
    expected = [resize(imread(name), _SIZE) for name in names]
    for idx in (0, 2, 1, 0):  # fit asks in any order
        window = slice(3 * idx, 3 * idx + 3)
        labels = list(range(100, 107))[window]
        wrong = _batch(sequence[idx], expected[window], labels)
        if wrong:
            return f"7 images in batches of 3, batch {idx}: {wrong}"
    return None


def _batch(batch: Any, images: list[np.ndarray], labels: list[int]) -> str | None:
    if batch is None:
        return "__getitem__ returned None. Does it end with return?"
    if not isinstance(batch, tuple) or len(batch) != 2:
        return f"Keras takes a tuple of two, images and labels; this is {kind_of(batch)}."
    x, y = batch
    if not (isinstance(x, np.ndarray) and isinstance(y, np.ndarray)):
        return f"images and labels are arrays of numpy; these are {kind_of(x)} and {kind_of(y)}."
    if len(x) != len(images):
        return f"it has {len(x)} images, not {len(images)}. Which names belong to it?"
    if x.shape[1:] != images[0].shape:
        return f"each image has shape {x.shape[1:]}, not {images[0].shape}."
    if y.tolist() != labels:
        return f"its labels are {y.tolist()}, not {labels}. Are they cut out as the names are?"
    for position, (image, right) in enumerate(zip(x, images, strict=True)):
        if not np.allclose(image, right, atol=1e-4):
            return f"image {position} is not that of its file, resized."
    return None


@exercise("02.1")
def other_batch_sizes(last_of_30: int, steps: int, last_of_2000: int) -> str | None:
    """Ask for the last batch of 30, and for the batches of 2,000, of 2,000 images."""
    if last_of_30 != 20:
        if last_of_30 == 30:
            return "The last batch of 30 is a whole one only if 30 divides 2,000."
        return f"Batches of 30: {last_of_30} in the last? How many are left after the whole ones?"
    if steps != 1:
        return f"Batches of 2,000: {steps} in an epoch? How many times 2,000 images are there?"
    if last_of_2000 != 2000:
        return f"Batches of 2,000: {last_of_2000} in the last? The one batch is the last one, too."
    return None


@exercise("02.2")
def rounded_down(written: type, lost: int) -> str | None:
    """Ask for the class with a length that is rounded down, and how many of 500 that loses."""
    for images, size in ((100, 32), (160, 32), (7, 2)):
        told = written(["x"] * images, [0] * images, size).__len__()
        if told != images // size or isinstance(told, float):
            return (
                f"{images} images in batches of {size}: its length is {told}. "
                f"Asked for is one that is rounded down, as an int."
            )
    if lost != 52:
        if lost == 1:
            return "One batch is lost, yes; how many images are in it?"
        if lost == 448:
            return "So many are in whole batches. Those are not lost."
        return f"{lost} lost? How many of the 500 are in whole batches of 64, and how many are not?"
    return None


@exercise("02.3")
def float32_sequence(written: type) -> str | None:
    """Ask for the class with float32, without a float64 batch on the way."""
    count = 12
    with made_up_images(count) as names:
        batch, peak = peak_of(_new(written, names, count).__getitem__, 0)
        if isinstance(batch, tuple) and len(batch) == 2 and isinstance(batch[0], np.ndarray):
            if batch[0].dtype != np.float32:
                return f"Its images are {batch[0].dtype}."
            if batch[0].max() > 1.01:
                return f"Its largest value is {batch[0].max():.0f}; the values go from 0 to 1."
        wrong = _batch(
            batch, [resize(imread(name), _SIZE) for name in names], list(range(100, 100 + count))
        )
    if wrong:
        return f"Batch 0: {wrong}"
    times = peak / batch[0].nbytes
    if times > 2.5:
        return (
            f"It is float32, but {times:.1f} times the memory of the batch was held: "
            f"somewhere all images were float64 at once."
        )
    return None
