"""Notebook 05d: other runs, computed from one."""

from collections.abc import Callable
from typing import Any

import numpy as np

from helpers.classroom.exercises import exercise
from helpers.profiling.simulation import simulate


@exercise("05d.1")
def workers_by_head(workers: float) -> str | None:
    """Fewest workers with which a training does not wait."""
    if not np.isscalar(workers) or isinstance(workers, str | bool):
        return f"A number of workers; received {workers!r}."
    if workers == 2:
        return "That leaves out that a worker waits for its files, too: it makes nothing meanwhile."
    if workers == 4.5:
        return "That leaves out that a worker computes, too."
    if workers == 16:
        return "So many cores there are. How many workers does a batch in each 20 ms take?"
    if workers != 6:
        way = "still waits" if workers < 6 else "does not wait, and with fewer neither"
        return f"With {workers} workers the training {way}."
    return None


@exercise("05d.2")
def without_a_gpu(milliseconds: float) -> str | None:
    """Milliseconds from one step to the next, where batches and steps share the cores."""
    if not np.isscalar(milliseconds) or isinstance(milliseconds, str | bool):
        return f"A number of milliseconds; received {milliseconds!r}."
    number = float(milliseconds)
    if np.isclose(number, 55):
        return None
    if np.isclose(number, 0.055):
        return "Those are seconds."
    if np.isclose(number, 40):
        return "In 40 ms the steps alone keep all cores busy. Who makes the batches?"
    if np.isclose(number, 60):
        return "A batch need not wait for the one before: several workers make several."
    if np.isclose(number, 100):
        return "So it is if nothing goes on at the same time. Three cores idle while one works."
    if np.isclose(number, 25):
        return "A step keeps not one core busy for 40 ms, but four."
    return f"{number:g} ms is not it. Add up the work of all cores, and divide it among them."


@exercise("05d.3")
def enough(function: Callable[[float, float, float, int], Any]) -> str | None:
    """Return the smallest number of workers that is enough, by `simulate`; None if none is."""
    cases = [
        (0.0, 0.010, 0.050, 4),
        (0.090, 0.030, 0.020, 16),
        (0.0, 0.090, 0.020, 2),
        (0.400, 0.005, 0.020, 2),
    ]
    for read, decode, step, cores in cases:
        times = {"read": read, "decode": decode, "step": step, "cores": cores}
        expected = _enough(**times)
        received = function(read, decode, step, cores)
        if received == expected and not isinstance(received, bool):
            continue
        given = ", ".join(f"{name}={value:g}" for name, value in times.items())
        words = f"enough({given}) returned {received!r}."
        if expected is None:
            return f"{words} There the cores are short, and no number of workers is enough."
        if received is None:
            return f"{words} There is a number that is enough."
        return f"{words} Ask simulate: is that enough, and is no smaller number?"
    return None


def _enough(**times: Any) -> int | None:
    for workers in range(1, 33):
        run = simulate(**times, workers=workers, queue=64, batches=200)
        if run.summary()["waiting (%)"] < 10:
            return workers
    return None
