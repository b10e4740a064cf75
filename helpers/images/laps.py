"""How the time of a batch divides into kinds of work; part of what a worker process imports."""

import os
import threading
import time
from typing import NamedTuple

WORK = ("read", "decode", "resize", "augment")


class BatchTimes(NamedTuple):
    """Where and when a batch was made.

    Attributes
    ----------
    process, thread : int
        Who made it.
    start : float
        When, in seconds of `time.perf_counter`: one clock for all processes of a machine.
    cpu : float
        Seconds for which a processor core computed; the rest was waiting.
    seconds : dict of str to float
        Time for each kind of `WORK`, summed over the images of the batch.
    """

    process: int
    thread: int
    start: float
    cpu: float
    seconds: dict[str, float]


class Laps:
    """A stopwatch that runs on, from one kind of work to the next."""

    def __init__(self):
        self._start = self._last = time.perf_counter()
        self._cpu = time.thread_time()
        self._seconds = dict.fromkeys(WORK, 0.0)

    def end(self, kind: str) -> None:
        """Add the time since the last call to a kind of work."""
        now = time.perf_counter()
        self._seconds[kind] += now - self._last
        self._last = now

    def times(self) -> BatchTimes:
        """Sum up."""
        cpu = time.thread_time() - self._cpu
        return BatchTimes(os.getpid(), threading.get_ident(), self._start, cpu, self._seconds)
