"""A loop of one's own over batches, with a clock."""

import time
from collections.abc import Iterable


def seconds_waited(batches: Iterable, step: float) -> list[float]:
    """Go through batches by hand, and note for how long each was waited for.

    Parameters
    ----------
    batches : iterable
        A sequence or generator of batches.
    step : float
        Seconds that the loop sleeps after each batch: a stand-in for a training step on a GPU.

    Returns
    -------
    list of float
        For each batch, the seconds between asking for it and having it.
    """
    waited, asked = [], time.perf_counter()
    for _batch in batches:
        waited.append(time.perf_counter() - asked)
        time.sleep(step)
        asked = time.perf_counter()
    return waited
