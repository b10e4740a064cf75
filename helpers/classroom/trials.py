"""To try what a student wrote: image files that are made up, and the most memory of a call."""

import contextlib
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from helpers.images.opencv import cv2


@contextlib.contextmanager
def made_up_images(count: int, height: int = 32, width: int = 32) -> Iterator[list[str]]:
    """Write PNG files, no two alike, that are there while a block runs.

    Parameters
    ----------
    count : int
    height, width : int, default 32
        In pixels.

    Yields
    ------
    list of str
        The files' names.
    """
    with tempfile.TemporaryDirectory() as folder:
        names = [str(Path(folder) / f"{number}.png") for number in range(count)]
        for number, name in enumerate(names):
            noise = np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)
            cv2.imwrite(name, noise)
        yield names


def peak_of(function: Callable, *arguments: Any) -> tuple[Any, int]:
    """Call a function; return what it returned, and the most memory that it held, in bytes.

    What was there before does not count. Only Python's and numpy's memory is seen.
    """
    tracing = tracemalloc.is_tracing()
    if not tracing:
        tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        result = function(*arguments)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        if not tracing:
            tracemalloc.stop()
    return result, peak - before
