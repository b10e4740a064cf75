"""What is right in notebook 08, bigger than memory."""

import math
from collections.abc import Callable

from helpers.arguments import kind_of
from helpers.classroom.exercises import exercise
from helpers.profiling.footprint import MemoryUse

BYTES = 4  # of a number of float32
BESIDES_THE_QUEUE = 4
QUEUES = (  # MB, batch size, side
    (500, 32, 200),
    (230, 32, 200),  # 14.97 batches: 15 do not fit
    (100, 16, 100),
    (1_000, 8, 224),
    (78, 32, 200),  # 5.08 batches: a queue of 1
    (60, 32, 200),  # not even that
    (5, 32, 200),
)


def _megabytes(batch_size: int, side: int) -> float:
    return batch_size * side * side * 3 * BYTES / 1e6


@exercise("08.1")
def how_much_it_takes(megabytes: float) -> str | None:
    """Ask for the MB of all batches of 64 images of 224×224 in a training with processes."""
    batch = _megabytes(64, 224)

    def is_about(batches: float) -> bool:
        return math.isclose(megabytes, batches * batch, rel_tol=0.01)

    if is_about(10 + BESIDES_THE_QUEUE):
        return None
    if is_about(1):
        return "That is a single batch."
    if is_about(10):
        return "That is the queue alone. Which other batches are there at the same time?"
    if is_about((10 + BESIDES_THE_QUEUE) / BYTES):
        return "That is one byte a number. How many has `float32`?"
    if is_about(1e6 * (10 + BESIDES_THE_QUEUE)):
        return "The bytes are right. How many MB are they?"
    return f"{megabytes:,.0f} MB is not it. What has one batch, and how many of them are there?"


@exercise("08.2")
def keep_every_batch(memory: MemoryUse) -> str | None:
    """Ask for the memory of a block in which 30 batches of 32 images of 100×100 are kept."""
    if not isinstance(memory, MemoryUse):
        return f"Asked for is the `MemoryUse` itself, not {kind_of(memory)}."
    table = memory.table()
    if table.empty:
        return "It has measured nothing: what is to be measured belongs into a `with` block."
    grew, all_of_them = memory.summary()["data grew by (MB)"], 30 * _megabytes(32, 100)
    if grew < 0.6 * all_of_them:
        return (
            f"It grew by {grew:.0f} MB only, less than the 30 batches have. "
            f"Are all of them still there when the block ends?"
        )
    if grew > 2 * all_of_them:
        return f"It grew by {grew:.0f} MB, more than 30 batches have. What else happens in there?"
    return None


@exercise("08.3")
def longest_queue_that_fits(longest_queue: Callable) -> str | None:
    """Ask for the longest queue whose batches fit into so many MB."""
    for limit, batch_size, side in QUEUES:
        batch = _megabytes(batch_size, side)
        right = max(0, math.floor(limit / batch) - BESIDES_THE_QUEUE)
        queue = longest_queue(limit, batch_size, side)
        case = f"longest_queue({limit}, {batch_size}, {side}) returns {queue!r}: "
        if queue is None:
            return f"{case}is there a `return`?"
        if queue != math.floor(queue):
            return f"{case}a queue has a whole number of batches."
        if queue < 0:
            return f"{case}no queue is shorter than 0."
        if queue > right:
            taken = batch * (queue + BESIDES_THE_QUEUE)
            return f"{case}with {queue:g}, the batches take {taken:,.0f} MB, and {limit} are there."
        if queue < right:
            return f"{case}there is room for a longer one."
    return None
