import copy
import gc
import math
import os
import pickle
import random
import time
import zlib
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from itertools import pairwise
from multiprocessing import get_context

import cv2
import keras
import numpy as np
import psutil
import pytest
from conftest import child, wait_until
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import CIFAR10Sequence, MY_Generator, Timeline, fit_generator
from helpers.images import batches as images
from helpers.images.laps import WORK, BatchTimes
from helpers.profiling.timeline import Made, batch_rows, worker_lanes

SIZE = (6, 7)
Generator = partial(MY_Generator, image_size=SIZE)
DELAY = 0.05


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


class Remade(Sleeping):
    """A sequence that says itself how it is pickled."""

    def __reduce__(self):
        return Remade, (self.delay, self.batches)


class Late(Executor):
    """An executor that begins `before` seconds late, and answers `after` seconds late."""

    def __init__(self, before=0.0, after=0.0):
        self.before, self.after = before, after
        self.threads = ThreadPoolExecutor(4)

    def submit(self, function, /, *arguments, **options):
        def late():
            time.sleep(self.before)
            result = function(*arguments, **options)
            time.sleep(self.after)
            return result

        return self.threads.submit(late)

    def shutdown(self, wait=True, *, cancel_futures=False):
        self.threads.shutdown(wait, cancel_futures=cancel_futures)


class Raising(keras.callbacks.Callback):
    """Raises an error after some batches, as Ctrl-C might."""

    def __init__(self, error, batches=2):
        super().__init__()
        self.error, self.left = error, batches

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if not self.left:
            raise self.error


def linear_model(shape=(*SIZE, 3), **how):
    """A small model, the same at each call."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse", **how)
    return model


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
    assert set(table["lane"]) <= {
        "training",
        "queue",
        *(f"worker {number + 1}" for number in range(timeline.workers)),
    }
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


def descriptors_and_threads():
    gc.collect()
    process = psutil.Process()
    return process.num_fds(), process.num_threads()


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


@pytest.mark.parametrize("how", HOW)
def test_every_batch_of_every_epoch_comes_once(pictures, how):
    options = dict(HOW[how])
    make_executor = options.pop("executor", None)
    executor = make_executor(2) if make_executor else None
    with Generator(pictures, range(70), 16, executor=executor, **options) as generator:
        timeline = record(generator, epochs=2)
    if executor:
        executor.shutdown()
    assert_sound(timeline)
    expected = [16, 16, 16, 16, 6]
    assert sizes(timeline) == [expected, expected]
    assert [sorted(epoch) for epoch in sizes(timeline, "worker", WORK)] == [sorted(expected)] * 2
    assert timeline.processes == ("processes" in how)
    kinds = {"ask", "hand-over"} if executor or "processes" in how else set()
    table = timeline.table()
    done = set(table.loc[table["lane"].str.startswith("worker"), "kind"])
    assert done - {"ask", "hand-over"} == {*WORK} - ({"augment"} if how != "augment" else set())
    assert done & {"ask", "hand-over"} == kinds


def test_a_batch_is_made_before_it_is_used(pictures):
    timeline = record(Generator(pictures, range(70), 10, augment=flip), epochs=2)
    table = timeline.table()
    for (_, step), rows in table[table["step"] >= 0].groupby(["epoch", "step"]):
        made = rows.loc[rows["lane"].str.startswith("worker"), "stop"].max()
        training = rows[rows["lane"] == "training"].set_index("kind")
        assert made <= training.loc["step", "start"], step
        queued = rows.loc[rows["kind"] == "queue", "start"]
        assert (queued >= made).all()
        # Training either waited for the batch, or the batch for the training.
        assert ("wait" in training.index) != bool(len(queued))


def test_work_lies_within_the_time_in_which_the_batch_was_made(pictures):
    class Timed(MY_Generator):
        def __getitem__(self, index):
            start = time.perf_counter()
            batch = super().__getitem__(index)
            made.append((start, time.perf_counter()))
            return batch

    made = []
    generator = Timed(pictures, range(70), 10, image_size=SIZE, augment=slow_augment)
    table = record(generator).table()
    work = table[table["kind"].isin(WORK)]
    batches = [rows for _, rows in work.groupby(work["kind"].eq("read").cumsum())]
    assert len(batches) == len(made) == 2 + 7  # Keras looks at two first
    for rows, (start, stop) in zip(batches, made, strict=True):
        assert 0 < rows["seconds"].sum() <= stop - start
        assert list(rows["kind"]) == list(WORK)


@pytest.mark.parametrize("how", [{}, {"workers": 3}], ids=["none", "threads"])
def test_broken_files_that_are_skipped_are_not_counted(pictures, broken_file, how):
    names = [*pictures[:12], broken_file, *pictures[12:25]]
    generator = Generator(names, range(26), 10, on_error="skip", **how)
    with pytest.warns(UserWarning, match=r"broken\.png"):
        timeline = record(generator, epochs=2)
    assert_sound(timeline)
    assert [sorted(epoch) for epoch in sizes(timeline)] == [[6, 9, 10]] * 2


CIFAR10_HOW = {
    "none": {},
    "threads": {"workers": 3},
    "forks": {"workers": 2, "use_multiprocessing": True},
}


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("how", CIFAR10_HOW)
def test_the_textbook_class_is_seen_from_outside(pictures, how):
    generator = CIFAR10Sequence(pictures[:22], range(22), 4, **CIFAR10_HOW[how])
    timeline = record(generator, epochs=2)
    assert_sound(timeline)
    expected = [4, 4, 4, 4, 4, 2]
    assert sizes(timeline) == [expected, expected]
    assert [sorted(epoch) for epoch in sizes(timeline, "worker", ["make"])] == [[2, *[4] * 5]] * 2
    assert timeline.processes == (how == "forks")


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_all_records_come_back_from_forks():
    """More than a pipe takes at once: a record is 56 bytes, a pipe takes 65,536."""
    batches = 1500
    generator = Sleeping(batches=batches, workers=2, use_multiprocessing=True)
    timeline = record(generator, epochs=1)
    assert len(rows_of(timeline, "make")) == batches
    assert len(rows_of(timeline, "step")) == batches


FORMS = {
    "dict": lambda x, y: {"b": x, "a": x},
    "list": lambda x, y: [x, y],
    "x only": lambda x, y: (x,),
    "an array": lambda x, y: x,
    "weights": lambda x, y: (x, y, np.ones(len(y))),
    "two inputs": lambda x, y: ((x, x), y),
}


@pytest.mark.parametrize("form", FORMS)
def test_batches_of_every_form_that_keras_takes(form):
    timeline = record(Sleeping(form=FORMS[form]), epochs=2)
    assert_sound(timeline)
    expected = [10, 10, 10, 10, 10, 4]
    assert sizes(timeline) == sizes(timeline, "worker", ["make"]) == [expected] * 2


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("shuffle", [True, False])
def test_fit_shuffles_batches_as_without_it(workers, shuffle):
    plain, watched = Noting(), Noting()
    random.seed(7)
    plain.fit(Sleeping(workers=workers), epochs=2, verbose=0, shuffle=shuffle)
    random.seed(7)
    record(Sleeping(workers=workers), watched, epochs=2, shuffle=shuffle)
    assert plain.batches == watched.batches


# ---- epochs --------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("steps", [2, 4])
def test_epochs_of_fewer_steps(workers, steps):
    timeline = record(Sleeping(workers=workers), epochs=2, steps_per_epoch=steps)
    assert_sound(timeline)
    assert [len(epoch) for epoch in sizes(timeline)] == [steps, min(6 - steps, steps)]
    used = sizes(timeline, "worker", ["make"])
    assert [len(epoch) for epoch in used] == [len(epoch) for epoch in sizes(timeline)]


@pytest.mark.parametrize("model", [Noting, linear_model], ids=["eager", "compiled"])
def test_several_steps_at_a_time(pictures, model):
    timeline = record(Generator(pictures, range(70), 10), model(steps_per_execution=3), epochs=2)
    assert_sound(timeline)
    assert sizes(timeline) == sizes(timeline, "worker", WORK) == [[10] * 7] * 2


def test_validation_is_no_part_of_it(pictures):
    validation = Generator(pictures[:30], range(30), 10)
    generator = Generator(pictures, range(70), 10)
    timeline = record(generator, epochs=3, validation_data=validation)
    assert_sound(timeline)
    assert sizes(timeline) == [[10] * 7] * 3
    step = rows_of(timeline, "step")
    assert timeline.summary()["images/s"] <= 140 / step.query("epoch > 0")["seconds"].sum()


@pytest.mark.parametrize("workers", [1, 3])
def test_validation_with_the_same_generator(pictures, workers):
    generator = Generator(pictures, range(70), 16, workers=workers)
    timeline = record(generator, epochs=2, validation_data=generator)
    assert_sound(timeline)
    assert sizes(timeline) == [[16, 16, 16, 16, 6]] * 2
    assert [len(epoch) for epoch in sizes(timeline, "worker", WORK)] == [5, 5]


def test_an_end_before_the_last_epoch():
    stop = keras.callbacks.EarlyStopping("loss", patience=1)
    timeline = record(Sleeping(), epochs=9, callbacks=[stop])
    assert sizes(timeline) == [[10, 10, 10, 10, 10, 4]] * 2


@pytest.mark.parametrize("workers", [1, 3])
def test_an_end_in_the_middle_of_an_epoch_and_another_fit(workers):
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = True

    generator, model = Sleeping(workers=workers), Noting()
    with Timeline(generator, model) as timeline:
        for callbacks in ([Stop()], []):
            model.fit(generator, verbose=0, shuffle=False, callbacks=callbacks)
    assert [len(epoch) for epoch in sizes(timeline)] == [1, 6]


def test_one_batch_in_one_epoch():
    timeline = record(Sleeping(batches=1))
    assert sizes(timeline) == [[4]]
    assert_sound(timeline)
    assert timeline.summary()["images/s"] > 0


def test_a_timeline_may_be_used_again():
    generator, model = Sleeping(), Noting()
    timeline = Timeline(generator, model)
    for epochs in (1, 2):
        with timeline:
            model.fit(generator, epochs=epochs, verbose=0, shuffle=False)
        assert sizes(timeline) == [[10, 10, 10, 10, 10, 4]] * epochs


@pytest.mark.parametrize("how", [{}, {"workers": 2}], ids=["none", "threads"])
def test_the_call_of_the_article_is_seen_too(pictures, how):
    generator, model = Generator(pictures, range(70), 10, **how), Noting()
    with Timeline(generator, model) as timeline:
        fit_generator(model, generator, steps_per_epoch=4, epochs=2, verbose=0, shuffle=False)
    assert_sound(timeline)
    assert sizes(timeline) == [[10] * 4] * 2
    assert [len(epoch) for epoch in sizes(timeline, "worker", WORK)] == [4, 4]


# ---- a slow part that was built in is found ------------------------------------------------------


def delay_read(monkeypatch):
    def slow_open(*arguments):
        time.sleep(DELAY / 10)
        return open(*arguments)  # noqa: PTH123

    monkeypatch.setattr(images, "open", slow_open, raising=False)


def delay_decode(monkeypatch):
    decode = cv2.imdecode

    def slow_decode(*arguments):
        time.sleep(DELAY / 10)
        return decode(*arguments)

    monkeypatch.setattr(cv2, "imdecode", slow_decode)


def delay_resize(monkeypatch):
    resize = images.resize_image

    def slow_resize(*arguments, **options):
        time.sleep(DELAY / 10)
        return resize(*arguments, **options)

    monkeypatch.setattr(images, "resize_image", slow_resize)


DELAYS = {"read": delay_read, "decode": delay_decode, "resize": delay_resize}


@pytest.mark.parametrize("how", [{}, {"workers": 2}], ids=["none", "threads"])
@pytest.mark.parametrize("kind", WORK)
def test_slow_work_is_found_in_its_kind(pictures, monkeypatch, kind, how):
    DELAYS.get(kind, lambda _: None)(monkeypatch)
    augment = slow_augment if kind == "augment" else flip
    timeline = record(Generator(pictures[:50], range(50), 10, augment=augment, **how))
    for other in WORK:
        seconds = rows_of(timeline, other)["seconds"]
        if other == kind:
            assert (seconds >= 0.99 * DELAY).all()
            assert seconds.median() < 6 * DELAY
        else:
            assert seconds.median() < DELAY / 2
    assert rows_of(timeline, "wait")["seconds"].sum() > DELAY


def test_slow_work_is_found_in_processes(pictures):
    how = {"workers": 2, "use_multiprocessing": True}
    with Generator(pictures[:50], range(50), 10, augment=slow_augment, **how) as generator:
        timeline = record(generator, epochs=2)
    augment = rows_of(timeline, "augment")
    assert len(augment) == 10
    assert (augment["seconds"] >= 0.99 * DELAY).all()
    assert augment["seconds"].median() < 6 * DELAY
    lanes = augment.query("epoch == 1")["lane"]
    assert set(lanes) == {"worker 1", "worker 2"}


def test_a_slow_answer_is_handing_over_and_a_late_start_is_asking(pictures):
    for kind, late in (("ask", {"before": DELAY}), ("hand-over", {"after": DELAY})):
        with Late(**late) as executor:
            generator = Generator(pictures[:50], range(50), 10, executor=executor, workers=2)
            timeline = record(generator)
        assert_sound(timeline)
        assert (rows_of(timeline, kind, "worker")["seconds"] >= 0.99 * DELAY).all()
        other = {"ask": "hand-over", "hand-over": "ask"}[kind]
        assert rows_of(timeline, other, "worker")["seconds"].median() < DELAY / 2


def test_a_slow_model_is_found_in_the_steps(pictures):
    generator = Generator(pictures, range(70), 10, workers=2)
    timeline = record(generator, Noting(delay=DELAY), epochs=2)
    steps = rows_of(timeline, "step")
    assert (steps["seconds"] >= 0.99 * DELAY).all()
    assert steps["seconds"].median() < 6 * DELAY
    summary = timeline.summary()
    assert summary["training: step (ms)"] > 5 * summary["training: wait (ms)"]
    # Batches are there before they are wanted: what waits is the queue.
    queued = rows_of(timeline, "queue").query("epoch == 1 and step > 1")
    assert (queued["seconds"] > DELAY / 2).all()


def test_steps_that_keras_makes_together_are_told_apart(pictures):
    model = Noting(delay=DELAY, steps_per_execution=4)
    timeline = record(Generator(pictures, range(70), 10), model)
    steps = rows_of(timeline, "step")
    assert len(steps) == 7
    assert (steps["seconds"] >= 0.99 * DELAY).all()
    assert steps["seconds"].median() < 2 * DELAY


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("how", CIFAR10_HOW)
def test_a_slow_sequence_is_found_in_making_and_is_waited_for(how):
    timeline = record(Sleeping(delay=DELAY, batches=9, **CIFAR10_HOW[how]), epochs=2)
    assert_sound(timeline)
    making = rows_of(timeline, "make")
    assert (making["seconds"] >= 0.99 * DELAY).all()
    assert making["seconds"].median() < 6 * DELAY
    if how == "none":
        waits = rows_of(timeline, "wait").query("epoch == 1")
        assert len(waits) >= 8
        assert waits["seconds"].median() > DELAY / 2
        assert timeline.summary()["waiting (%)"] > 50


def test_processes_share_the_clock_of_the_training(pictures):
    how = {"workers": 2, "use_multiprocessing": True}
    with Generator(pictures[:50], range(50), 10, augment=slow_augment, **how) as generator:
        timeline = record(generator)
    table = timeline.table()
    run = table[table["lane"] == "training"]
    working = table[table["lane"].str.startswith("worker") & (table["step"] >= 0)]
    assert working["stop"].max() <= run["stop"].max()
    # A clock of its own would leave no time between asking and reading, or none after.
    for _, rows in working.groupby("step"):
        kinds = rows.set_index("kind")
        assert {"ask", "hand-over"} <= set(kinds.index)
        assert kinds.loc["ask", "stop"] == pytest.approx(kinds.loc["read", "start"], abs=1e-9)
        assert kinds.loc["hand-over", "seconds"] < 1


# ---- training is the same ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "compiled"),
    [
        ({}, {}),
        ({"workers": 2, "shuffle": True}, {}),
        ({"augment": flip}, {"steps_per_execution": 3}),
        ({}, {"run_eagerly": True}),
    ],
    ids=["plain", "threads", "three steps at a time", "eager"],
)
def test_weights_and_losses_are_the_same_with_and_without(pictures, how, compiled):
    results = []
    for watch in (False, True):
        model = linear_model(metrics=["mae"], **compiled)
        generator = Generator(pictures, np.linspace(0, 1, 70), 16, **how)
        options = {"epochs": 3, "shuffle": False, "verbose": 0, "validation_data": generator}
        if watch:
            with Timeline(generator, model):
                history = model.fit(generator, **options)
        else:
            history = model.fit(generator, **options)
        results.append((history.history, model.get_weights()))
    (losses, weights), (watched_losses, watched_weights) = results
    assert losses == watched_losses
    assert all(map(np.array_equal, weights, watched_weights))
    assert len(losses["loss"]) == 3 and losses["loss"][0] != losses["loss"][2]


def test_the_same_batches_arrive(pictures):
    plain, watched = Noting(), Noting()
    options = {"shuffle": True, "augment": flip, "workers": 3}
    plain.fit(Generator(pictures, range(70), 16, **options), epochs=2, verbose=0, shuffle=False)
    record(Generator(pictures, range(70), 16, **options), watched, epochs=2, shuffle=False)
    assert len(plain.batches) == 10
    assert plain.batches == watched.batches


def test_callbacks_see_the_same_steps_and_logs(pictures):
    seen = {}
    for watch in (False, True):
        seen[watch] = []
        note = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs, to=seen[watch]: to.append((batch, dict(logs)))
        )
        model = linear_model(metrics=["mae"])
        generator = Generator(pictures, range(70), 16)
        with Timeline(generator, model) if watch else nullcontext():
            model.fit(generator, verbose=0, shuffle=False, callbacks=[note])
    assert seen[True] == seen[False]
    assert [(step, sorted(logs)) for step, logs in seen[True]] == [
        (step, ["loss", "mae"]) for step in range(5)
    ]


# ---- afterwards everything is as before ----------------------------------------------------------


def test_generator_and_model_are_as_before(pictures):
    generator, model = Generator(pictures, range(70), 16), linear_model()
    model.fit(generator, verbose=0)
    attributes, function = set(vars(generator)), model.train_function
    with Timeline(generator, model):
        assert isinstance(generator, MY_Generator)
        assert type(generator).__name__ == "MY_Generator"
        assert repr(generator).startswith("MY_Generator(")
        model.fit(generator, verbose=0)
    assert type(generator) is MY_Generator
    assert model.train_function is function
    assert set(vars(generator)) == attributes
    model.fit(generator, verbose=0)
    assert generator[0][0].shape == (16, *SIZE, 3)


def test_a_model_that_never_trained_is_as_after_fit(pictures):
    generator, model = Generator(pictures, range(70), 16), linear_model()
    record(generator, model)
    function = model.train_function
    model.fit(generator, verbose=0)
    assert model.train_function is function


@pytest.mark.parametrize("how", HOW)
def test_nothing_is_left_open(pictures, how):
    options = {name: value for name, value in HOW[how].items() if name != "executor"}
    model = Noting()
    with Generator(pictures, range(70), 16, **options) as generator:
        model.fit(generator, verbose=0)  # what TensorFlow opens once is open now
        record(generator, model)
        before = descriptors_and_threads()
        for _ in range(5):
            record(generator, model)
        few = 2  # threads of TensorFlow come and go
        assert wait_until(lambda: descriptors_and_threads()[0] <= before[0])
        assert wait_until(lambda: descriptors_and_threads()[1] <= before[1] + few)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_broken_picture_ends_fit_as_without_it(pictures, broken_file, workers):
    names = [*pictures[:25], broken_file]
    generator, model = Generator(names, range(26), 10, workers=workers), Noting()
    function, before = model.make_train_function() or model.train_function, None
    for _ in range(3):
        with pytest.raises(Exception, match=r"broken\.png"), Timeline(generator, model) as timeline:
            model.fit(generator, verbose=0)
        assert type(generator) is MY_Generator
        assert model.train_function is function
        before = before or descriptors_and_threads()
    assert wait_until(lambda: descriptors_and_threads()[0] <= before[0])
    assert set(timeline.table()["step"]) <= {-1, 0, 1}
    generator.on_error = "skip"
    with pytest.warns(UserWarning, match=r"broken\.png"):
        assert sum(sizes(record(generator, model))[0]) == 25


@pytest.mark.parametrize("how", ["none", "threads", "processes"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError()], ids=["Ctrl-C", "own"])
def test_an_interrupted_fit_leaves_a_timeline_and_nothing_else(pictures, how, error):
    model = Noting()
    with Generator(pictures, range(70), 10, **HOW[how]) as generator:
        function, opened = None, []
        for watch in [False] * 4 + [True] * 4:
            timeline = Timeline(generator, model) if watch else nullcontext()
            with pytest.raises(type(error)), timeline:
                model.fit(generator, verbose=0, callbacks=[Raising(error, 3)])
            function = function or model.train_function
            assert type(generator) is MY_Generator
            assert model.train_function is function
            opened.append(descriptors_and_threads()[0])
        if how != "processes":  # they, and their memory, come when they are needed
            # Keras leaves descriptors open when it is interrupted, now and then; a timeline
            # that did would leave two each time.
            assert opened[7] - opened[4] <= opened[3] - opened[0] + 4
        assert sizes(timeline) == [[10] * 3]
        assert timeline.summary()["images/s"] > 0
        assert sizes(record(generator, model)) == [[10] * 7]


def test_a_generator_that_is_watched_is_pickled_as_what_it_was(pictures):
    textbook = CIFAR10Sequence(pictures, range(70), 16)
    sequences = [textbook, Sleeping(batches=3), Remade(0.0, batches=3)]
    for sequence in sequences:
        with pytest.raises(RuntimeError, match="no training step"), Timeline(sequence, Noting()):
            copies = [pickle.loads(pickle.dumps(sequence, protocol)) for protocol in range(2, 6)]
            copies += [copy.copy(sequence), copy.deepcopy(sequence)]
        for other in copies:
            assert type(other) is type(sequence)
            assert vars(other).keys() == vars(sequence).keys()
            assert len(other) == len(sequence)


def test_where_keras_spawns_its_processes_the_training_is_seen(pictures):
    code = """
import multiprocessing, sys
multiprocessing.set_start_method("spawn")
from test_timeline import CIFAR10Sequence, Noting, record, sizes

if __name__ == "__main__":
    how = {"workers": 2, "use_multiprocessing": True}
    timeline = record(CIFAR10Sequence(sys.argv[1:], range(12), 4, **how))
    print(sizes(timeline), type(timeline.generator).__name__)
"""
    with child(f"import sys; sys.path.insert(0, 'tests')\n{code}", *pictures[:24:2]) as process:
        output, errors = process.communicate(timeout=120)
    assert output.strip() == "[[4, 4, 4]] CIFAR10Sequence", errors


# ---- wrong use -----------------------------------------------------------------------------------


def test_what_is_no_generator_is_refused():
    with pytest.raises(TypeError, match=r"expected a keras.utils.PyDataset .*received ndarray"):
        Timeline(np.zeros(3), Noting())


def test_what_is_no_model_is_refused():
    with pytest.raises(TypeError, match=r"expected a keras.Model .*received int"):
        Timeline(Sleeping(), 3)


def test_a_model_that_is_not_compiled_is_refused():
    with pytest.raises(ValueError, match=r"call model\.compile"):
        Timeline(Sleeping(), keras.Sequential([keras.layers.Dense(1)]))


@pytest.mark.parametrize("mistake", ["no fit", "another generator", "another model"])
def test_a_fit_that_was_not_seen_is_an_error(mistake):
    generator, model, other = Sleeping(), Noting(), Noting()
    error = pytest.raises(RuntimeError, match="call fit inside the with block")
    with error, Timeline(generator, model):
        if mistake == "another generator":
            model.fit(Sleeping(), verbose=0)
        elif mistake == "another model":
            other.fit(generator, verbose=0)
    assert type(generator) is Sleeping


def test_a_mistake_of_the_users_own_is_not_hidden():
    with pytest.raises(ZeroDivisionError), Timeline(Sleeping(), Noting()):
        1 / 0  # noqa: B018


def test_a_model_that_is_compiled_anew_keeps_its_new_function():
    generator, model = Sleeping(), Noting()
    with pytest.raises(RuntimeError, match="no training step"), Timeline(generator, model):
        model.compile(run_eagerly=True, steps_per_execution=2)
        model.fit(generator, verbose=0)
        function = model.train_function
    assert model.train_function is function


@pytest.mark.parametrize("use", ["summary", "plot", "diagnose"])
def test_a_timeline_of_nothing_says_so(use):
    timeline = Timeline(Sleeping(), Noting())
    assert timeline.table().empty
    with pytest.raises(ValueError, match="no training step"):
        getattr(timeline, use)()


# ---- what it leans on ----------------------------------------------------------------------------

BROKEN_BY_KERAS = (
    f"Keras {keras.__version__} calls model.train_function in a way that "
    "helpers.profiling.timeline does not expect: see watched_function there, "
    "and Keras's own fit (backend/*/trainer.py)"
)


def test_keras_calls_train_function_with_an_iterator_that_may_be_any(pictures):
    generator, model = Generator(pictures, range(70), 16), linear_model()
    model.make_train_function()
    plain, calls = model.train_function, []

    def watched(*arguments):
        calls.append(arguments)
        *state, batches = arguments
        return plain(*state, iter([next(iter(batches))]))

    model.train_function = watched
    before = model.get_weights()[0]
    model.fit(generator, verbose=0)
    assert len(calls) == 5, BROKEN_BY_KERAS
    assert hasattr(calls[0][-1], "__next__"), BROKEN_BY_KERAS
    assert model.train_function is watched, BROKEN_BY_KERAS
    assert not np.array_equal(before, model.get_weights()[0]), BROKEN_BY_KERAS


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_other_backends(pictures, backend):
    pytest.importorskip(backend)
    code = f"""
import os, sys
os.environ["KERAS_BACKEND"] = "{backend}"
import keras
assert keras.backend.backend() == "{backend}"
from helpers import MY_Generator, Timeline

for workers in (1, 2):
    generator = MY_Generator(sys.argv[1:], range(70), 16, image_size=(6, 7), workers=workers)
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((6, 7, 3)), keras.layers.Flatten()])
    model.add(keras.layers.Dense(1))
    model.compile("sgd", loss="mse")
    with Timeline(generator, model) as timeline:
        model.fit(generator, epochs=2, verbose=0, shuffle=False)
    rows = timeline.table().query("lane == 'training' and kind == 'step'")
    print([list(epoch["images"]) for _, epoch in rows.groupby("epoch")])
    assert (timeline.table().query("kind == 'read' and step >= 0")["images"].sum()) == 140
    assert timeline.summary()["images/s"] > 0
"""
    with child(code, *pictures) as process:
        output, errors = process.communicate(timeout=300)
    assert output.splitlines() == [str([[16, 16, 16, 16, 6]] * 2)] * 2, errors
    assert errors.count("batches are made one at a time") == 1


# ---- lanes and clocks ----------------------------------------------------------------------------


def made(start, stop, process=1, thread=1, times=None):
    return Made(0, start, stop, 0.0, 10, process, thread, times)


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


def most_at_once(found):
    return max((sum(a.asked <= b.asked < a.came for a in found) for b in found), default=0)


@given(batches, st.integers(1, 5))
@settings(max_examples=300, deadline=None)
def test_no_lane_holds_two_batches_at_once_and_no_lane_is_needless(found, workers):
    lanes = worker_lanes(found, workers)
    assert len(lanes) == len(found)
    for lane in set(lanes):
        own = [batch for batch, place in zip(found, lanes, strict=True) if place == lane]
        assert all(a.came <= b.asked for a, b in pairwise(own))
    numbers = sorted({int(lane.removeprefix("worker ")) for lane in lanes})
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) <= max(workers, most_at_once(found))


def test_a_maker_keeps_its_lane():
    found = [made(start, start + 0.9, thread=1 + start % 3) for start in range(12)]
    assert worker_lanes(found, 3) == ["worker 1", "worker 2", "worker 3"] * 4


def test_a_new_maker_takes_a_free_lane_when_there_are_enough():
    found = [made(0, 1, thread=1), made(0, 3, thread=2), made(2, 3, thread=3)]
    assert worker_lanes(found, 2) == ["worker 1", "worker 2", "worker 1"]


def times(start, thread=1):
    return BatchTimes(7, thread, start, 0.1, {"read": 0.1, "decode": 0.2, "resize": 0.0})


def test_parts_of_a_batch_are_laid_end_to_end():
    rows = batch_rows(made(10.0, 11.0, times=times(10.5)), "worker 1", 2, 5)
    assert {row[:5] for row in rows} == {
        ("worker 1", kind, 2, 5, 10) for kind in ("read", "decode", "ask", "hand-over")
    }
    spans = {row[1]: row[5:] for row in rows}
    assert spans["ask"] == pytest.approx((10.0, 10.5))
    assert spans["read"] == pytest.approx((10.5, 10.6))
    assert spans["decode"] == pytest.approx((10.6, 10.8))
    assert spans["hand-over"] == pytest.approx((10.8, 11.0))


@pytest.mark.parametrize("start", [0.0, 9.9, 10.75, 1e6, -1e6])
def test_the_clock_of_another_machine_is_set(start):
    rows = batch_rows(made(10.0, 11.0, times=times(start)), "worker 1", 0, 0)
    assert min(row[5] for row in rows) == pytest.approx(10.0)
    assert max(row[6] for row in rows) == pytest.approx(11.0)
    work = sum(row[6] - row[5] for row in rows if row[1] in WORK)
    assert math.isclose(work, 0.3)


@pytest.mark.parametrize("clock", [-1e6, 0.0, 1e6])
def test_the_lanes_of_another_machine_hold_one_batch_at_a_time(clock):
    found = [
        made(10.0 + turn, 10.9 + turn, times=times(clock + turn + 0.4, thread))
        for turn in range(5)
        for thread in (1, 2)
    ]
    lanes = worker_lanes(found, 2)
    assert set(lanes) == {"worker 1", "worker 2"}
    assert all(a != b for a, b in zip(lanes[::2], lanes[1::2], strict=True))


def test_this_process_is_one_of_the_workers_where_there_are_none():
    timeline = record(Sleeping())
    table = timeline.table()
    assert set(table["lane"]) >= {"training", "worker 1"}
    assert timeline.workers == 1
    assert timeline.cores == os.cpu_count()
    assert timeline.queue == 10
