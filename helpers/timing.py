"""How fast batches come, and how long training waits for them."""

import time
from collections.abc import Callable, Iterable
from statistics import median
from typing import NamedTuple

import keras
import pandas as pd
from tqdm.auto import tqdm

from helpers import arguments


class EpochTiming(NamedTuple):
    """What `time_epoch` measured.

    Attributes
    ----------
    first_batch : float
        Seconds from the call of ``fit`` until the first batch was there.
    images_per_second : float
        Rate of all images after the first batch.
    waited : float
        Share of the time after the first batch, 0 to 1, in which training waited for data.
    images : int
        Images in the whole epoch.
    """

    first_batch: float
    images_per_second: float
    waited: float
    images: int


class Stopwatch(keras.Model):
    """A model that notes when each batch arrives, and trains another model or nothing.

    Keras waits for a batch after ``on_train_batch_begin`` and before ``train_step``, which
    with ``run_eagerly=True`` is called anew for each batch.
    """

    def __init__(self, model: keras.Model | None = None):
        super().__init__()
        self.model = model
        self.built = True  # there are no weights to make
        self.arrivals: list[float] = []
        self.images: list[int] = []
        self.waits: list[float] = []
        self.asked = self.finished = 0.0
        self.compile(run_eagerly=True)

    def train_step(self, data):
        """Note the time, then let the other model, if there is one, train on the batch."""
        now = time.perf_counter()
        self.arrivals.append(now)
        self.waits.append(now - self.asked)
        x, y = data
        self.images.append(len(x))
        if self.model is not None:
            self.model.train_on_batch(x, y)
        self.finished = time.perf_counter()
        return {"loss": 0.0}


def time_epoch(sequence: keras.utils.PyDataset, model: keras.Model | None = None) -> EpochTiming:
    """Measure one epoch of a sequence, through ``fit`` itself.

    Iterating over a sequence by hand would use none of its workers.

    Parameters
    ----------
    sequence : keras.utils.PyDataset
        Batches of (images, labels); at least two.
    model : keras.Model, optional
        A compiled model to train while the time is taken, which shows how long training
        waits. Without it nothing is trained and all the time is spent waiting: the rate is
        the rate at which data can be had.

    Returns
    -------
    EpochTiming
        The first batch, the steady rate and the waiting, apart.

    Raises
    ------
    ValueError
        If the sequence has fewer than two batches: there is no steady state to measure.
    """
    if len(sequence) < 2:
        raise ValueError(f"at least 2 batches are needed for a rate; received {len(sequence)}")
    stopwatch = Stopwatch(model)

    def start_wait(step, logs=None):
        stopwatch.asked = time.perf_counter()

    start = time.perf_counter()
    stopwatch.fit(
        sequence,
        epochs=1,
        verbose=0,
        callbacks=[keras.callbacks.LambdaCallback(on_train_batch_begin=start_wait)],
    )
    # fit's own end (it stops threads) is no part of the rate: the last batch's step is.
    elapsed = stopwatch.finished - stopwatch.arrivals[0]
    return EpochTiming(
        first_batch=stopwatch.arrivals[0] - start,
        images_per_second=sum(stopwatch.images[1:]) / elapsed,
        waited=sum(stopwatch.waits[1:]) / elapsed,
        images=sum(stopwatch.images),
    )


def compare_workers(
    make_sequence: Callable[..., keras.utils.PyDataset],
    workers: Iterable[int] = (1, 2, 4),
    processes: Iterable[int] = (),
    repeats: int = 5,
    model: keras.Model | None = None,
) -> pd.DataFrame:
    """Time the same sequence with different numbers of workers, in one run.

    The ways take turns, so that whatever else the machine does meets all of them alike, and
    each figure is the median of `repeats` epochs.

    Parameters
    ----------
    make_sequence : callable
        ``make_sequence(workers)`` returns a new sequence that uses so many threads, and
        ``make_sequence(workers, use_multiprocessing=True)`` one that uses processes.
    workers : iterable of int
        Numbers of threads to try; 1 is no thread beside the training's own.
    processes : iterable of int
        Numbers of processes to try.
    repeats : int
        Epochs for each way.
    model : keras.Model, optional
        As in `time_epoch`.

    Returns
    -------
    pandas.DataFrame
        A row for each way, in the order given: ``kind`` ("threads" or "processes"),
        ``workers``, ``images/s`` (median, with ``slowest`` and ``fastest``),
        ``first batch (s)`` and ``waited (%)``, medians.
    """
    repeats = arguments.whole_number("repeats", repeats, at_least=1)
    ways = [("threads", count) for count in workers] + [("processes", count) for count in processes]
    if not ways:
        raise ValueError("nothing to compare: give at least one number of workers or processes")
    timings: dict[tuple[str, int], list[EpochTiming]] = {way: [] for way in ways}
    for kind, count in tqdm(ways * repeats, desc="timing", unit="epoch", leave=False):
        if kind == "processes":
            sequence = make_sequence(count, use_multiprocessing=True)
        else:
            sequence = make_sequence(count)
        timings[kind, count].append(time_epoch(sequence, model))
    return pd.DataFrame([_summary(*way, timings[way]) for way in ways])


def _summary(kind: str, workers: int, timings: list[EpochTiming]) -> dict:
    rates = [timing.images_per_second for timing in timings]
    return {
        "kind": kind,
        "workers": workers,
        "images/s": median(rates),
        "slowest": min(rates),
        "fastest": max(rates),
        "first batch (s)": median(timing.first_batch for timing in timings),
        "waited (%)": 100 * median(timing.waited for timing in timings),
    }
