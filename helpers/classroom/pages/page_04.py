"""What is right in notebook 04, one process against sixteen."""

import math
import threading
import time
from collections.abc import Callable, Iterator

from helpers.classroom.exercises import exercise

_SECONDS = 2.0  # for a thread to begin a batch, on a machine that is very busy
_MEGABYTES = 32 * (32 * 200 * 200 * 3 * 8) / 1e6


@exercise("04.1")
def megabytes_of_the_queue(megabytes: float) -> str | None:
    """Ask how much memory a full queue of the article's holds."""
    if math.isclose(megabytes, _MEGABYTES, rel_tol=0.06):  # or in MiB
        return None
    if math.isclose(megabytes, _MEGABYTES / 32, rel_tol=0.06):
        return "That is one batch. How many does the queue hold?"
    if any(math.isclose(megabytes, _MEGABYTES / part, rel_tol=0.06) for part in (2, 8)):
        return "So many numbers, yes; but how many bytes has a number of type float64?"
    if math.isclose(megabytes, _MEGABYTES * 1e6, rel_tol=0.06):
        return "Those are bytes. A MB is a million of them."
    return f"{megabytes:,.0f} MB is not it. How many numbers has an image, a batch, the queue?"


@exercise("04.2")
def images_to_catch_up(function: Callable[[float, float, float], float]) -> str | None:
    """Ask from how many images on processes, which start late, have caught up with one worker."""
    for start, alone, together in ((0.5, 100, 150), (3.0, 90, 120), (0.0, 50, 80)):
        images = function(start, alone, together)
        said = f"With start={start}, alone={alone} and together={together} it returns {images!r}."
        if images is None or not 0 <= images < math.inf:
            return f"{said} There they do catch up."
        one, many = images / alone, start + images / together
        if not math.isclose(one, many, abs_tol=1e-3):
            return f"{said} One worker needs {one:.2f} s for that, the processes {many:.2f} s."
    for together in (100, 60):
        images = function(0.5, 100, together)
        if images != math.inf:
            return (
                f"With start=0.5, alone=100 and together={together} it returns {images!r}. "
                f"Do they ever catch up?"
            )
    return None


class _Slow:
    """Batches that note when their making begins, and by which thread."""

    def __init__(self, count: int):
        self.began = [threading.Event() for _ in range(count)]
        self.threads: list[int] = []

    def __len__(self) -> int:
        return len(self.began)

    def __getitem__(self, index: int) -> str:
        if not 0 <= index < len(self):
            raise IndexError(f"there is no batch {index} of {len(self)}")
        self.threads.append(threading.get_ident())
        self.began[index].set()
        time.sleep(0.01)
        return f"batch {index}"


@exercise("04.3")
def one_ahead(function: Callable[[_Slow], Iterator[str]]) -> str | None:
    """Loop over a sequence while a thread makes the next batch."""
    for count in (5, 1):
        sequence = _Slow(count)
        came = []
        for place, batch in enumerate(function(sequence)):
            came.append(batch)
            if wrong := _wrong_ahead(sequence, place):
                return wrong
        expected = [f"batch {index}" for index in range(count)]
        if came != expected:
            return f"Of a sequence of {count} came {came}; expected {expected}."
        if len(sequence.threads) != count:
            return f"It made {len(sequence.threads)} batches where {count} were enough."
    return None


def _wrong_ahead(sequence: _Slow, place: int) -> str:
    """Look, while the loop has the batch of a place, at what is made ahead."""
    following = sequence.began[place + 1 :]
    if following and not following[0].wait(_SECONDS if place == 0 else _SECONDS / 4):
        return f"While the loop used batch {place}, nobody began batch {place + 1}."
    time.sleep(0.03)  # for another to begin, if one does
    if any(began.is_set() for began in following[1:]):
        return f"While the loop used batch {place}, more than the next one was made."
    return ""
