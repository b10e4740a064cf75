import math
import os
import random
import time
from concurrent.futures import Executor, ThreadPoolExecutor
from itertools import pairwise

import cv2
import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from watched import (
    DELAY,
    HOW,
    SIZE,
    Generator,
    Noting,
    Sleeping,
    assert_sound,
    batches,
    flip,
    linear_model,
    made,
    record,
    rows_of,
    sizes,
    slow_augment,
    times,
)

from helpers import CIFAR10Sequence, MY_Generator, Timeline, fit_generator
from helpers.images import batches as making_of
from helpers.images import reading
from helpers.images.laps import WORK
from helpers.profiling.timeline import batch_rows, worker_lanes


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
    assert (timeline.workers, timeline.queue) == (options.get("workers", 1), 10)
    kinds = {"ask", "hand-over"} if executor or "processes" in how else set()
    table = timeline.table()
    done = set(table.loc[table["lane"].str.startswith("worker"), "kind"])
    assert done - {"ask", "hand-over"} == {*WORK} - ({"augment"} if how != "augment" else set())
    assert done & {"ask", "hand-over"} == kinds


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_the_workers_are_those_of_the_last_epoch(pictures, workers):
    generator, model = Generator(pictures, range(70), 10), Noting()
    with Timeline(generator, model) as timeline:
        generator.set_workers(workers, max_queue_size=4)
        model.fit(generator, verbose=0)
        generator.close()
    assert (timeline.workers, timeline.queue) == (max(workers, 1), 4)


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
        def _make(self, epoch, index):
            start = time.perf_counter()
            batch = super()._make(epoch, index)
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
    def slow_open(*arguments, **options):
        time.sleep(DELAY / 10)
        return open(*arguments, **options)  # noqa: PTH123

    monkeypatch.setattr(reading, "open", slow_open, raising=False)


def delay_decode(monkeypatch):
    decode = cv2.imdecode

    def slow_decode(*arguments):
        time.sleep(DELAY / 10)
        return decode(*arguments)

    monkeypatch.setattr(cv2, "imdecode", slow_decode)


def delay_resize(monkeypatch):
    resize = making_of.write_resized

    def slow_resize(*arguments):
        time.sleep(DELAY / 10)
        resize(*arguments)

    monkeypatch.setattr(making_of, "write_resized", slow_resize)


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


@pytest.mark.parametrize("use", ["summary", "plot", "diagnose"])
def test_a_timeline_of_nothing_says_so(use):
    timeline = Timeline(Sleeping(), Noting())
    assert timeline.table().empty
    with pytest.raises(ValueError, match="no training step"):
        getattr(timeline, use)()


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
