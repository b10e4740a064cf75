"""Generators and models to watch, and what a timeline must be in any case."""

import time
import zlib
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context

import keras
import numpy as np
from hypothesis import strategies as st

from helpers import MY_Generator, Timeline
from helpers.images.laps import BatchTimes
from helpers.profiling.recording import Made

SIZE = (6, 7)
Generator = partial(MY_Generator, image_size=SIZE)


class WrongGuess(MY_Generator):
    """Expects each epoch's batches in the wrong order, and makes the last one first."""

    def __init__(self, *arguments, **options):
        self.made = set()
        super().__init__(*arguments, **options)

    def expect(self, batches, place):
        super().expect(batches, lambda index: place(batches - 1 - index))
        while place(batches - 1) not in self.made:
            time.sleep(0.001)

    def _make(self, epoch, index):
        batch = super()._make(epoch, index)
        self.made.add((epoch, index))
        return batch


class Noting(keras.Model):
    """Trains nothing; notes a checksum of each batch. A step takes `delay` seconds."""

    def __init__(self, delay=0.0, **how):
        super().__init__()
        self.built = True
        self.delay, self.batches = delay, []
        self.compile(run_eagerly=True, **how)

    def train_step(self, data):
        arrays = keras.tree.flatten(data)
        self.batches.append([zlib.crc32(np.ascontiguousarray(array)) for array in arrays])
        time.sleep(self.delay)
        return {"loss": 0.0}

    def test_step(self, data):
        return {"loss": 0.0}


class Sleeping(keras.utils.PyDataset):
    """Batches of 10 numbers (the last has 4), each of which takes `delay` seconds to make."""

    def __init__(self, delay=0.0, batches=6, form=None, **kwargs):
        super().__init__(**kwargs)
        self.delay, self.batches, self.form = delay, batches, form

    def __len__(self):
        return self.batches

    def __getitem__(self, index):
        time.sleep(self.delay)
        count = 4 if index == self.batches - 1 else 10
        x, y = np.full((count, 2), index, np.float32), np.zeros(count, np.float32)
        return self.form(x, y) if self.form else (x, y)


def linear_model(shape=(*SIZE, 3), **how):
    """A small model, the same at each call."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse", **how)
    return model


DELAY = 0.05  # seconds that are built in, for a batch of 10


def slow_augment(image, rng):
    time.sleep(DELAY / 10)
    return image


def flip(image, rng):
    return image[:, ::-1] if rng.random() < 0.5 else image


def record(generator, model=None, epochs=1, **options):
    """The timeline of a fit."""
    model = model or Noting()
    options = {"shuffle": False, "verbose": 0, **options}
    with Timeline(generator, model) as timeline:
        model.fit(generator, epochs=epochs, **options)
    return timeline


def rows_of(timeline, kind, lane=None):
    """Rows of a kind that belong to a step; on the training's lane, or on the workers'."""
    table = timeline.table()
    rows = table[(table["kind"] == kind) & (table["step"] >= 0)]
    return rows if lane is None else rows[rows["lane"].str.startswith(lane)]


def sizes(timeline, lane="training", kinds=("step",)):
    """Images in the batches of each epoch, by step, seen on a lane."""
    table = timeline.table()
    rows = table[table["lane"].str.startswith(lane) & table["kind"].isin(kinds)]
    rows = rows[rows["step"] >= 0].drop_duplicates(["epoch", "step", "lane"])
    found = []
    for _, epoch in rows.groupby("epoch"):
        epoch = epoch.sort_values("step")
        assert list(epoch["step"]) == list(range(len(epoch)))  # each of them once
        found.append(list(epoch["images"]))
    return found


def assert_sound(timeline, tolerance=1e-9):
    """What holds for every timeline: order, no overlaps, one clock."""
    table = timeline.table()
    assert table["start"].is_monotonic_increasing
    assert table["start"].min() == 0
    assert (table["stop"] > table["start"]).all()
    assert np.allclose(table["seconds"], table["stop"] - table["start"])
    # Who asks for a batch of MY_Generator that nobody has begun makes it, besides the workers.
    most = timeline.workers + isinstance(timeline.generator, MY_Generator)
    lanes = {"training", "queue", *(f"worker {number + 1}" for number in range(most))}
    assert set(table["lane"]) <= lanes
    for lane, rows in table[~table["kind"].isin(["ask", "queue"])].groupby("lane"):
        assert (rows["start"].iloc[1:].values >= rows["stop"].iloc[:-1].values - tolerance).all(), (
            lane
        )
    training = table[table["lane"] == "training"]
    for _, rows in training.groupby(["epoch", "step"]):
        assert list(rows["kind"]) == [
            kind for kind in ("wait", "hand-over", "step") if kind in set(rows["kind"])
        ]
        assert np.allclose(rows["start"].iloc[1:], rows["stop"].iloc[:-1], atol=tolerance)
        assert rows["kind"].iloc[-1] == "step"
    used = table[table["step"] >= 0]
    assert used["stop"].max() == training["stop"].max()  # nobody works on after the last step


# ---- every batch, in every mode ------------------------------------------------------------------

HOW = {
    "none": {},
    "threads": {"workers": 3},
    "processes": {"workers": 16, "use_multiprocessing": True},
    "augment": {"augment": flip},
    "shuffle": {"shuffle": True, "workers": 2},
    "uint8": {"dtype": "uint8"},
    "executor of threads": {"executor": ThreadPoolExecutor, "workers": 4},
    "executor of processes": {
        "executor": partial(ProcessPoolExecutor, mp_context=get_context("spawn")),
        "workers": 2,
    },
}


# ---- lanes and clocks ----------------------------------------------------------------------------


def made(start, stop, process=1, thread=1, times=None):
    return Made(0, start, start, stop, 0.0, 10, process, thread, times)


moments = st.integers(0, 50).map(lambda number: number / 10)
batches = st.lists(
    st.builds(
        lambda start, seconds, thread: made(start, start + seconds, thread=thread),
        moments,
        moments.map(lambda seconds: seconds + 0.1),
        st.integers(1, 4),
    ),
    max_size=25,
).map(lambda found: sorted(found, key=lambda batch: batch.asked))


def times(start, thread=1):
    return BatchTimes(7, thread, start, 0.1, {"read": 0.1, "decode": 0.2, "resize": 0.0})
