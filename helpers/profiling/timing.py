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
        Seconds from the call of ``fit`` until the first batch was there: what it costs to
        start the workers, once.
    images_per_second : float
        Rate over the whole second epoch: what training gets, epoch after epoch.
    waited : float
        Share of the second epoch, 0 to 1, that passed between the end of one step and the
        arrival of the batch for the next: training waited.
    images : int
        Images in the epoch.
    """

    first_batch: float
    images_per_second: float
    waited: float
    images: int


class Arrivals(keras.Model):
    """A model that learns nothing and notes when each batch arrives.

    With ``run_eagerly=True`` Keras calls `train_step` anew for each batch, as soon as it is
    there.
    """

    def __init__(self):
        super().__init__()
        self.built = True  # there are no weights to make
        self.arrived = 0.0
        self.batch = None
        self.compile(run_eagerly=True)

    def train_step(self, data):
        """Note the time and keep the batch."""
        self.arrived = time.perf_counter()
        # Not self.batch = data: Keras would put dicts into a class of its own.
        object.__setattr__(self, "batch", data)
        return {"loss": 0.0}


class Stopwatch(keras.callbacks.Callback):
    """Takes the time of each batch, and trains a model on it if there is one."""

    def __init__(self, trained: keras.Model | None):
        super().__init__()
        self.trained = trained
        self.first_arrival = 0.0
        self.epoch_began = self.idle_since = 0.0
        self.waited = 0.0
        self.images = 0

    def on_epoch_begin(self, epoch, logs=None):
        """Forget the epoch before."""
        self.epoch_began = self.idle_since = time.perf_counter()
        self.waited = 0.0
        self.images = 0

    def on_train_batch_end(self, batch, logs=None):
        """Note how long the batch was waited for, then train on it."""
        if not self.first_arrival:
            self.first_arrival = self.model.arrived
        self.waited += self.model.arrived - self.idle_since
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(self.model.batch)
        self.images += len(keras.tree.flatten(x)[0])
        if self.trained is not None:
            weights = () if sample_weight is None else (sample_weight,)
            self.trained.train_on_batch(x, y, *weights)
        self.model.batch = None  # its memory is free for the next one
        self.idle_since = time.perf_counter()


def time_epoch(sequence: keras.utils.PyDataset, model: keras.Model | None = None) -> EpochTiming:
    """Measure a sequence through ``fit`` itself: the start, and then a whole epoch.

    Iterating by hand over a sequence whose workers are Keras's would use none of them. Two epochs
    are run and the second is measured from its beginning to its last batch. A part of an epoch
    would mislead: when the first batch arrives, as many more are nearly done as there are workers.

    Parameters
    ----------
    sequence : keras.utils.PyDataset
        Batches as Keras takes them: x, (x, y) or (x, y, sample_weight), arrays or structures.
    model : keras.Model, optional
        A compiled model to train while the time is taken, which shows how long training
        waits. Without it nothing is trained and all the time is spent waiting: the rate is
        the rate at which data can be had.

    Returns
    -------
    EpochTiming
        The first batch, the steady rate and the waiting, apart.
    """
    stopwatch = Stopwatch(model)
    start = time.perf_counter()
    Arrivals().fit(sequence, epochs=2, verbose=0, callbacks=[stopwatch])
    # Until the last step ended: what fit does afterwards, such as ending threads, is no part.
    elapsed = stopwatch.idle_since - stopwatch.epoch_began
    return EpochTiming(
        first_batch=stopwatch.first_arrival - start,
        images_per_second=stopwatch.images / elapsed,
        waited=stopwatch.waited / elapsed,
        images=stopwatch.images,
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
    each figure is the median of `repeats` measurements.

    Parameters
    ----------
    make_sequence : callable
        ``make_sequence(workers)`` returns a new sequence that uses so many threads, and
        ``make_sequence(workers, use_multiprocessing=True)`` one that uses processes.
    workers : iterable of int
        Numbers of threads to try.
    processes : iterable of int
        Numbers of processes to try.
    repeats : int
        Measurements of each way, of two epochs each (see `time_epoch`).
    model : keras.Model, optional
        As in `time_epoch`.

    Returns
    -------
    pandas.DataFrame
        A row for each way, in the order given: ``kind`` ("threads" or "processes"),
        ``workers``, ``images/s`` (median, with ``slowest`` and ``fastest``) and
        ``first batch (s)``; with a `model` also ``waited (%)``.
    """
    repeats = arguments.whole_number("repeats", repeats, at_least=1)
    ways = [("threads", count) for count in workers] + [("processes", count) for count in processes]
    if not ways:
        raise ValueError("nothing to compare: give at least one number of workers or processes")
    timings: dict[tuple[str, int], list[EpochTiming]] = {way: [] for way in ways}
    for kind, count in tqdm(ways * repeats, desc="timing", leave=False):
        if kind == "processes":
            sequence = make_sequence(count, use_multiprocessing=True)
        else:
            sequence = make_sequence(count)
        try:
            timings[kind, count].append(time_epoch(sequence, model))
        finally:
            if hasattr(sequence, "close"):  # its processes would disturb the next measurement
                sequence.close()
    table = pd.DataFrame([_summary(*way, timings[way]) for way in ways])
    # With no model to train there is nothing but waiting.
    return table if model is not None else table.drop(columns="waited (%)")


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
