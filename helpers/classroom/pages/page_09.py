"""What is right in notebook 09, beyond one machine."""

import tempfile
from concurrent.futures import Executor, Future
from pathlib import Path

import numpy as np

from helpers.arguments import kind_of
from helpers.classroom.exercises import exercise
from helpers.generators.my_generator import MY_Generator
from helpers.images.opencv import cv2


@exercise("09.1")
def kilobytes_of_an_image(kilobytes: float) -> str | None:
    """Tell what travels for an image that becomes smaller."""
    bytes_sent = kilobytes * 1000
    if np.isclose(bytes_sent, 224 * 224 * 3, rtol=0.01):
        return None
    if np.isclose(bytes_sent, 500 * 375 * 3, rtol=0.01):
        return "That is the image at the file's size. Is it the smaller of the two?"
    if np.isclose(bytes_sent, 224 * 224 * 3 * 4, rtol=0.01):
        return "Of each colour only one byte travels; float32 is made here."
    if np.isclose(kilobytes, 224 * 224 * 3, rtol=0.01):
        return "Those are bytes. A kB is 1,000 of them."
    return f"{kilobytes} kB is not it: rows, columns, colours, and bytes for each."


@exercise("09.2")
def an_executor(kind: type) -> str | None:
    """Have batches made by it, one of them with a file that is not there."""
    if not issubclass(kind, Executor):
        return "It is to be an Executor of concurrent.futures."
    with tempfile.TemporaryDirectory() as folder:
        names = [str(Path(folder, f"{number}.png")) for number in range(8)]
        for number, name in enumerate(names):
            cv2.imwrite(name, np.full((4, 4, 3), 20 * number, np.uint8))
        here = MY_Generator(names, range(8), 4, image_size=(4, 4))
        executor = kind()
        future = executor.submit(max, 3, 5)
        if not isinstance(future, Future):
            return f"`submit` returned {kind_of(future)}; asked for is a Future."
        if not future.done():
            return "The Future that `submit` returns has no result yet."
        if future.result() != 5:
            return f"`submit(max, 3, 5)` gave {future.result()!r}."
        if executor.submit(int, "11", base=2).result() != 3:
            return "Arguments with a name do not reach the function."
        with MY_Generator(names, range(8), 4, image_size=(4, 4), executor=executor) as there:
            if not np.array_equal(there[1][0], here[1][0]):
                return "The batch is another one than that which is made here."
        counted = getattr(executor, "submitted", 0)
        if counted < 3:
            return f"It was given 3 functions, and has counted {counted}."
        return _what_an_error_becomes(executor)


def _what_an_error_becomes(executor: Executor) -> str | None:
    try:
        error = executor.submit(int, "no number").exception(timeout=1)
    except ValueError:
        return "What the function raises is to be in the Future, not to come out of `submit`."
    return None if isinstance(error, ValueError) else "What the function raises is lost."
