"""What is right in notebook 06b, augmentation."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from skimage.transform import resize

from helpers.classroom.exercises import exercise
from helpers.classroom.image_rows import count_different


@exercise("06b.1")
def turned_upside_down(written: Callable) -> str | None:
    """Ask for a function that turns half of the images upside down."""
    image = np.arange(5 * 4 * 3, dtype=np.float32).reshape(5, 4, 3) / 60

    def many() -> list[np.ndarray]:
        return [np.asarray(written(image.copy(), np.random.default_rng(i))) for i in range(200)]

    results = many()
    turned = [np.array_equal(result, image[::-1]) for result in results]
    as_it_was = [np.array_equal(result, image) for result in results]
    if any(result.shape != image.shape for result in results):
        return f"An image of shape {image.shape} came back with another shape."
    if any(np.array_equal(result, image[:, ::-1]) for result in results):
        return "That mirrors left and right. Upside down, the first row becomes the last one."
    if not all(a or b for a, b in zip(turned, as_it_was, strict=True)):
        return "Some images came back neither as they were nor upside down."
    if not 60 <= sum(turned) <= 140:
        return f"Of 200 images {sum(turned)} are upside down; asked for is about half."
    if not all(np.array_equal(a, b) for a, b in zip(many(), results, strict=True)):
        return "The same `rng` gave another image. Is all drawn from `rng`?"
    return None


@exercise("06b.2")
def moved_each_by_itself(written: Callable) -> str | None:
    """Ask for layers that move each image of a batch in a way of its own."""
    image = np.random.default_rng(0).random((1, 32, 32, 3), np.float32)
    batch = np.repeat(image, 8, axis=0)
    changed = _called(written, batch)
    if changed.shape != batch.shape:
        return f"A batch of shape {batch.shape} came out as {changed.shape}."
    different = count_different(changed)
    if different == 1:
        return "Eight equal images go in, and eight equal ones come out."
    if different < 8:
        return f"Eight equal images go in, and only {different} different ones come out."
    of_one_colour = np.full_like(batch, 0.25)
    if not np.allclose(_called(written, of_one_colour), of_one_colour, atol=1e-3):
        return "An image of one colour came out with other colours. Asked for is a move."
    return None


def _called(model: Any, batch: np.ndarray) -> np.ndarray:
    return np.asarray(model(batch, training=True))


def crop(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Take a window of four fifths of the side, and make it as large as the image was."""
    side = len(image) * 4 // 5
    row, column = rng.integers(len(image) - side + 1, size=2)
    return resize(image[row : row + side, column : column + side], image.shape)


@exercise("06b.3")
def cropped_by_opencv(written: Callable) -> str | None:
    """Ask for the same crops in a fraction of the time."""
    slope = np.linspace(0, 1, 60, dtype=np.float32)
    image = np.stack([*np.meshgrid(slope, slope), np.full((60, 60), 0.5, np.float32)], axis=-1)
    for seed in range(5):
        mine, yours = (
            np.asarray(function(image.copy(), np.random.default_rng(seed)))
            for function in (crop, written)
        )
        if yours.shape != image.shape:
            return f"An image of shape {image.shape} came back as {yours.shape}."
        if np.abs(mine - yours).mean() > 0.01:
            return "The windows are not those of `crop`: other places, or another size."
    if _seconds(written) > 0.5 * _seconds(crop):
        return "The crops are right, but take about as long as those of `crop`."
    return None


def _seconds(function: Callable) -> float:
    """Processor time of some calls, which no other program on the machine changes much."""
    image, rng = np.zeros((200, 200, 3), np.float32), np.random.default_rng(0)
    function(image, rng)  # what is done once only is no part of it
    start = time.process_time()
    for _ in range(8):
        function(image, rng)
    return time.process_time() - start
