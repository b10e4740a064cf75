"""How batches are asked for, through Keras and by hand; on each backend (see test_backends)."""

import contextlib
import gc
import itertools
import os
import random
import shutil
import signal
import sys
import threading
import time
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import psutil
import pytest
from conftest import wait_until
from hypothesis import given, settings
from hypothesis import strategies as st
from noting import (
    PROCESSES,
    SIZE,
    Generator,
    NewEpochs,
    Recorder,
    child_processes,
    epochs_of,
    fit,
    looped,
    make,
    note,
    numbers_of,
    recorder,
)

from helpers import fit_generator
from helpers.generators.passes import HELD_BY_TENSORFLOW
from helpers.loading import read_ahead

pytestmark = [pytest.mark.backends, pytest.mark.timeout(200, method="thread")]

WAYS = [{"workers": 0}, {}, {"workers": 3}, PROCESSES]
AHEAD = [{}, {"workers": 3}, PROCESSES]


class Guesses:
    """Counts how often a generator was asked for what it expected, and for something else."""

    def __init__(self, generator):
        self.right = self.wrong = 0
        self._ahead = generator._read_ahead
        self._look = self._ahead._begun_for
        self._ahead._begun_for = self._counted

    def _counted(self, reader, key):
        future = self._look(reader, key)
        if reader is not None:
            plan = self._ahead._plans[-1]
            is_right = reader is plan.reader and plan.wrong_guesses == 0
            self.right, self.wrong = self.right + is_right, self.wrong + (not is_right)
        return future


def is_settled(generator):
    """Whether all is given back: nothing is ready, in work, or expected."""
    ahead = generator._read_ahead
    return not (ahead._begun or ahead._plans or ahead._at_work)


# ---- orders and bytes ----------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS, ids=str)
@settings(max_examples=8, deadline=None)
@given(
    count=st.integers(1, 70),
    batch_size=st.integers(1, 20),
    steps=st.none() | st.integers(1, 12),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
)
def test_batches_are_those_of_plain_slicing(
    pictures, way, count, batch_size, steps, shuffle, drop_last
):
    drop_last &= count >= batch_size
    with make(pictures, count, batch_size, drop_last=drop_last, **way) as generator:
        batches = generator.batches_per_epoch
        assert batches == (count // batch_size if drop_last else -(-count // batch_size))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*ran out of data")
            epochs = fit(generator, 3, shuffle, steps_per_epoch=steps)
        stream = [batch for epoch in epochs for batch in epoch]
        for number, expected in enumerate(epochs_of(generator, range(len(stream) // batches))):
            got = stream[number * batches : (number + 1) * batches]
            assert sorted(got) == sorted(expected) if shuffle else got == expected
        assert generator.epoch == len(stream) // batches


@pytest.mark.parametrize("way", AHEAD, ids=str)
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("steps", [None, 10, 5, 3])
def test_every_guess_is_right(pictures, way, shuffle, steps):
    """With a new Keras that asks in another order, `Loop.order` has to be looked at again."""
    with make(pictures, **way) as generator:
        fit(make(pictures), 1, shuffle)  # whatever was drawn from `random` before
        guesses = Guesses(generator)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*ran out of data")
            used = sum(map(len, fit(generator, 4, shuffle, steps_per_epoch=steps)))
        assert guesses.wrong == 0
        assert guesses.right >= used


class Drawing(ThreadPoolExecutor):
    """Draws from `random`, as Dask does to choose a worker."""

    def submit(self, *arguments, **options):
        random.random()
        return super().submit(*arguments, **options)


def test_every_guess_is_right_with_an_executor_that_draws_from_random(pictures):
    options = {"augment": None, "workers": 2}
    with Drawing(2) as executor, make(pictures, executor=executor, **options) as generator:
        guesses = Guesses(generator)
        used = sum(map(len, fit(generator, 4, shuffle=True)))
        assert guesses.wrong == 0
        assert guesses.right >= used


@pytest.mark.parametrize("loop", ["evaluate", "predict"])
def test_every_guess_of_other_loops_is_right(pictures, loop):
    model = keras.Sequential([keras.Input((*SIZE, 3)), keras.layers.Flatten()])
    model.compile(loss=lambda y, y_pred: keras.ops.mean(y_pred, -1))
    with make(pictures, workers=2) as generator:
        guesses = Guesses(generator)
        getattr(model, loop)(generator, verbose=0)
        assert (guesses.wrong, guesses.right >= 10) == (0, True)


def test_the_random_numbers_of_the_program_are_those_without_a_generator(pictures):
    class Plain(keras.utils.PyDataset):
        def __len__(self):
            return 10

        def __getitem__(self, index):
            return np.zeros((1, *SIZE, 3)), np.zeros(1)

    after = []
    for data in (Plain(), make(pictures, workers=3)):
        random.seed(8)
        fit(data, 3, shuffle=True)
        after.append(random.random())
    assert after[0] == after[1]


def draw_as_of_old(image, rng):
    for _ in range(300):
        image += random.random()
    return image


def draw_for_a_batch(images, labels, rng):
    return draw_as_of_old(images, rng), labels


OF_OLD = {"augment": draw_as_of_old}, {"augment": None, "augment_batch": draw_for_a_batch}


@pytest.mark.parametrize(
    ("workers", "augments"), [(0, OF_OLD[0]), (1, OF_OLD[0]), (3, OF_OLD[0]), (3, OF_OLD[1])]
)
def test_an_augment_that_draws_from_random_itself_does_not_disturb_the_order(
    pictures, workers, augments
):
    """While a thread augments, `random` has the state of its sample, see `SharedNumbers`."""
    orders = []
    with make(pictures, batch_size=2, workers=workers, **augments) as generator:
        guesses = Guesses(generator)
        for _ in range(2):
            random.seed(5)
            generator.epoch = 0
            orders.append(fit(generator, 3, shuffle=True))
    assert orders[0] == orders[1]
    assert guesses.wrong == (0 if workers else guesses.wrong)


def test_who_draws_random_numbers_in_between_gets_all_batches_all_the_same(pictures):
    draw = keras.callbacks.LambdaCallback(on_train_batch_begin=lambda batch, logs: random.random())
    with make(pictures, workers=3) as generator:
        fit(generator, 3, True, [draw])
        for epoch, expected in zip(recorder.epochs, epochs_of(generator, range(3)), strict=True):
            assert sorted(epoch) == sorted(expected)
        assert wait_until(lambda: is_settled(generator))


def test_all_batches_in_any_order_from_any_thread(pictures):
    with make(pictures, workers=3) as generator, ThreadPoolExecutor(4) as threads:
        [expected] = epochs_of(generator, [0])
        generator_in_a_loop = iter(generator)
        assert note(*next(generator_in_a_loop)) == expected[0]
        asked = random.Random(0).sample([*range(10)] * 4, 40)
        for index, batch in zip(asked, threads.map(generator.__getitem__, asked), strict=True):
            assert note(*batch) == expected[index]
        assert [note(*batch) for batch in generator_in_a_loop] == expected[1:]


# ---- when it reads -------------------------------------------------------------------------------


def ready(generator):
    """Batches that are made, and not asked for."""
    return sum(future.done() for future in list(generator._read_ahead._begun.values()))


@pytest.mark.parametrize("way", [{"workers": 3}, PROCESSES], ids=str)
@pytest.mark.parametrize("shuffle", [True, False])
def test_reading_begins_before_anything_is_asked_for_and_goes_on_meanwhile(pictures, way, shuffle):
    seen = []

    class Look(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            seen.append(wait_until(lambda: ready(generator) >= min(4, 9 - batch - ahead)))

    # By then, TensorFlow's thread may have asked for the batch of this step and two more; on
    # PyTorch that of this step was asked for, on JAX it was not.
    ahead = {"tensorflow": HELD_BY_TENSORFLOW, "torch": 0, "jax": -1}[keras.backend.backend()]
    with make(pictures, augment=None, max_queue_size=4, **way) as generator:
        fit(generator, 1, shuffle, [Look()])
    assert seen == [True] * 10


@pytest.mark.parametrize("shuffle", [True, False])
def test_while_keras_validates_the_first_batches_of_a_known_order_are_made(pictures, shuffle):
    seen = []

    class Look(keras.callbacks.Callback):
        def on_test_begin(self, logs=None):
            is_last = len(seen) == 2
            expected = 0 if shuffle or is_last else 4
            seen.append(wait_until(lambda: ready(generator) == expected))
            time.sleep(0.1)
            assert len(generator._read_ahead._begun) == expected

    with make(pictures, workers=2, max_queue_size=4) as generator:
        guesses = Guesses(generator)
        fit(generator, 3, shuffle, [Look()], validation_data=make(pictures, 14))
        assert seen == [True] * 3
        assert guesses.wrong == 0
        if not shuffle:
            assert recorder.epochs == epochs_of(generator, range(3))


class Alive:
    """Counts the batches that exist: those of a generator's memory that somebody holds."""

    def __init__(self, generator):
        self.now = self.most = 0
        self._lock = threading.Lock()
        self._empty = generator._memory.empty
        generator._memory.empty = self._counted

    def _counted(self):
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        batch = self._empty()
        weakref.finalize(batch, self._gone)
        return batch

    def _gone(self):
        with self._lock:
            self.now -= 1


@pytest.mark.parametrize("way", [{"workers": 0}, {}, {"workers": 3, "max_queue_size": 4}], ids=str)
def test_no_more_batches_exist_than_there_may_though_the_training_comes_in_bursts(pictures, way):
    """TensorFlow by itself would hold more and more of them."""

    class Bursts(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch % 15 == 14:
                time.sleep(0.15)

    def slow(image, rng):
        time.sleep(0.003)
        return image

    generator = make(pictures * 2, 140, 1, augment=slow, **way)
    alive = Alive(generator)
    fit(generator, 1, True, [Bursts()])
    assert len(recorder.epochs[0]) == 140
    gc.collect()
    assert alive.most <= generator._memory.most_kept
    assert wait_until(lambda: alive.now == 0)


# ---- what is not wanted is given back ------------------------------------------------------------


def stop(model):
    model.stop_training = True


def fail(model):
    raise InterruptedError


def nothing(model):
    pass


@pytest.mark.parametrize("way", AHEAD, ids=str)
@pytest.mark.parametrize(
    ("action", "options"),
    [(stop, {}), (fail, {}), (nothing, {"steps_per_epoch": 3}), (nothing, {"epochs": 1})],
    ids=["early stop", "error", "steps", "whole"],
)
def test_a_fit_that_ends_early_gives_everything_back(pictures, way, action, options):
    callback = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: batch == 2 and action(model)
    )
    with make(pictures, **way) as generator:
        model = Recorder()
        with contextlib.suppress(InterruptedError):
            model.fit(generator, verbose=0, callbacks=[NewEpochs(), callback], **options)
        model = callback = None
        gc.collect()
        assert wait_until(lambda: is_settled(generator), read_ahead.IDLE_SECONDS * 3)
        assert generator.epoch == (options == {"epochs": 1})
        assert fit(generator)[0] == epochs_of(generator, [generator.epoch - 1])[0]


def test_early_stopping_at_the_end_of_an_epoch_gives_the_next_one_back(pictures):
    stops = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: stop(recorder))
    with make(pictures, workers=2) as generator:
        fit(generator, 5, False, [stops])
        gc.collect()
        assert wait_until(lambda: is_settled(generator), read_ahead.IDLE_SECONDS * 3)
        assert generator.epoch == 1


@pytest.mark.slow
@pytest.mark.parametrize("way", [{"workers": 3}, PROCESSES], ids=str)
def test_30_abandoned_epochs_leave_nothing(pictures, way):
    me = psutil.Process()
    others = child_processes()

    def abandoned():
        for turn in range(3):
            if turn == 0:
                for _ in make_one:
                    break
            elif turn == 1:
                fit(make_one, 1, True, [stops])
            else:
                with contextlib.suppress(InterruptedError):
                    recorder.fit(make_one, verbose=0, callbacks=[NewEpochs(), fails])

    def left():
        gc.collect()
        return me.num_fds(), me.num_threads(), len(child_processes(others))

    stops = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: batch == 1 and stop(recorder)
    )
    fails = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: batch == 1 and fail(recorder)
    )
    with make(pictures, **way) as make_one:
        alive = Alive(make_one)
        abandoned()
        before = left()
        for _ in range(10):
            abandoned()
        assert wait_until(
            lambda: all(now <= then for now, then in zip(left(), before, strict=True))
        )
        assert wait_until(lambda: is_settled(make_one), 20)
        gc.collect()
        assert alive.now <= 1
    assert wait_until(lambda: not child_processes(others))


# ---- workers stay while somebody reads -----------------------------------------------------------


@pytest.fixture
def short_rest(monkeypatch):
    monkeypatch.setattr(read_ahead, "IDLE_SECONDS", 0.4)


@pytest.mark.parametrize("shuffle", [True, False])
def test_workers_stay_during_a_long_validation_and_go_after_fit(pictures, short_rest, shuffle):
    others = child_processes()
    seen = []

    class Wait(keras.callbacks.Callback):
        def on_test_begin(self, logs=None):
            time.sleep(1.2)
            seen.append(child_processes(others))

    with make(pictures, **PROCESSES) as generator:
        fit(generator, 2, shuffle, [Wait()], validation_data=make(pictures, 14))
        assert len(seen[0]) == 3 and seen[0] == seen[1]  # two, and the one that starts them
        assert wait_until(lambda: not child_processes(others))


def test_workers_stay_in_a_slow_loop_and_go_after_it(pictures, short_rest):
    others = child_processes()
    with make(pictures, **PROCESSES) as generator:
        seen = []
        for number, _ in enumerate(generator):
            if number in (0, 1):
                time.sleep(1.2)
                seen.append(child_processes(others))
            if number == 5:
                break
        assert len(seen[0]) == 3 and seen[0] == seen[1]
        assert wait_until(lambda: not child_processes(others))


def test_workers_go_after_a_fit_whose_error_is_kept(pictures, short_rest):
    others = child_processes()
    with make(pictures, **PROCESSES) as generator:
        callback = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: fail(None))
        with pytest.raises(InterruptedError) as kept:
            recorder.fit(generator, verbose=0, callbacks=[NewEpochs(), callback])
        assert child_processes(others)
        assert wait_until(lambda: not child_processes(others))
        assert kept.traceback


# ---- a loop of one's own -------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_loops_are_epochs_as_those_of_fit(pictures, way):
    with make(pictures, **way) as generator:
        loops = [looped(generator) for _ in range(3)]
        assert generator.epoch == 3
        assert loops == epochs_of(generator, range(3))
        generator.epoch = 0
        assert fit(generator, 3) == loops


def test_a_loop_reads_ahead(pictures):
    with make(pictures, workers=2, max_queue_size=4) as generator:
        guesses = Guesses(generator)
        batches = iter(generator)
        for number in range(10):
            next(batches)
            assert wait_until(lambda number=number: ready(generator) == min(4, 9 - number))
        assert next(batches, "the end") == "the end"
        assert (guesses.right, guesses.wrong) == (10, 0)
        assert is_settled(generator)


@pytest.mark.parametrize("way", AHEAD, ids=str)
def test_a_loop_that_is_left_gives_everything_back_and_is_no_epoch(pictures, way):
    with make(pictures, **way) as generator:
        [expected] = epochs_of(generator, [0])
        for _ in range(3):
            for number, batch in enumerate(generator):
                assert note(*batch) == expected[number]
                if number == 4:
                    break
            assert wait_until(lambda: is_settled(generator))
        with pytest.raises(InterruptedError):
            for _ in generator:
                raise InterruptedError
        assert generator.epoch == 0
        assert looped(generator) == expected


def test_loops_side_by_side_keep_their_order(pictures):
    with make(pictures, workers=2) as generator:
        first, second = epochs_of(generator, range(2))
        pairs = [
            (note(*one), note(*other)) for one, other in zip(generator, generator, strict=True)
        ]
        assert pairs == [(batch, batch) for batch in first]
        assert generator.epoch == 1
        outer = iter(generator)
        assert note(*next(outer)) == second[0]
        assert looped(generator) == second  # in between
        assert [note(*batch) for batch in outer] == second[1:]
        assert generator.epoch == 2
        assert is_settled(generator)


def test_a_loop_asks_a_subclass_as_fit_does(pictures):
    class Halved(type(make(pictures))):
        def __getitem__(self, index):
            images, labels = super().__getitem__(index)
            return images / 2, labels

    with Halved(pictures, range(70), 7, image_size=SIZE, shuffle=True, workers=2) as generator:
        guesses = Guesses(generator)
        expected = [
            [
                note(images / 2, labels)
                for images, labels in map(generator.batch, [epoch] * 10, range(10))
            ]
            for epoch in range(2)
        ]
        assert [looped(generator), looped(generator)] == expected
        assert guesses.wrong == 0
        generator.epoch = 0
        assert fit(generator, 2) == expected


def test_a_loop_after_a_resume_has_the_rest_and_then_whole_epochs(pictures):
    with make(pictures, workers=2) as generator:
        expected = epochs_of(generator, range(3))
        generator.start_at(1, 4)
        assert looped(generator) == expected[1][4:]
        assert looped(generator) == expected[2]


def test_two_loops_in_threads_each_have_all_batches(pictures):
    with make(pictures, workers=2) as generator, ThreadPoolExecutor(2) as threads:
        [expected] = epochs_of(generator, [0])
        started = threading.Barrier(2)

        def loop(_):
            batches = iter(generator)
            first = note(*next(batches))
            started.wait(20)
            return [first, *(note(*batch) for batch in batches)]

        assert list(threads.map(loop, range(2))) == [expected] * 2


# ---- one generator, several users ----------------------------------------------------------------


def reading_model():
    model = keras.Sequential([keras.Input((*SIZE, 3)), keras.layers.Flatten()])
    model.compile(loss=lambda y, y_pred: keras.ops.mean(y_pred, -1))
    return model


USERS = {
    "predict": lambda generator: reading_model().predict(generator, verbose=0),
    "three steps": lambda generator: reading_model().predict(generator, steps=3, verbose=0),
    "evaluate": lambda generator: reading_model().evaluate(generator, verbose=0),
    "another fit": lambda generator: Recorder().fit(generator, verbose=0, callbacks=[NewEpochs()]),
    "a loop": list,
    "a loop that is left": lambda generator: next(iter(generator)),
    "any batches": lambda generator: [generator[index] for index in (3, 9, 0, 3, -1)],
    "an error": lambda generator: contextlib.suppress(InterruptedError).__enter__(),
}


@pytest.mark.parametrize(
    ("way", "shuffle"),
    [({}, True), ({"workers": 3}, True), ({"workers": 3}, False), (PROCESSES, True)],
    ids=str,
)
@pytest.mark.parametrize("user", USERS.values(), ids=USERS)
def test_who_reads_in_a_callback_changes_nothing(pictures, way, shuffle, user):
    with make(pictures, **way) as generator:
        callback = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: batch in (1, 6) and user(generator),
            on_epoch_end=lambda epoch, logs: user(generator),
        )
        fit(generator, 2, shuffle, [callback])
        expected = epochs_of(generator, range(2))
        if shuffle:
            assert list(map(sorted, recorder.epochs)) == list(map(sorted, expected))
        else:
            assert recorder.epochs == expected
        assert generator.epoch == 2


def test_a_reader_in_a_callback_reads_ahead_and_then_fit_does_again(pictures):
    with make(pictures, workers=2) as generator:
        callback = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: batch == 3 and USERS["predict"](generator),
        )
        guesses = Guesses(generator)
        fit(generator, 1, True, [callback])
    # TensorFlow's thread may ask for a batch of the training while the callback reads; such a
    # batch is still expected when the training goes on.
    assert guesses.wrong <= HELD_BY_TENSORFLOW + 1
    assert guesses.right + guesses.wrong == 20


@pytest.mark.parametrize("way", [{}, {"workers": 3}], ids=str)
@pytest.mark.parametrize("steps", [None, 4])
def test_the_same_generator_may_validate(pictures, way, steps):
    with make(pictures, **way) as generator:
        epochs = fit(generator, 3, validation_data=generator, validation_steps=steps)
        expected = epochs_of(generator, range(4))
        assert epochs == expected[:3]
        assert recorder.validations == [epoch[:steps] for epoch in expected[1:]]
        assert generator.epoch == 3


def test_a_reader_in_a_callback_of_fit_generator_changes_nothing(pictures):
    with make(pictures, workers=2) as generator:
        callback = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: batch == 3 and USERS["predict"](generator),
        )
        recorder.forget()
        callbacks = [NewEpochs(), callback]
        options = {"steps_per_epoch": 7, "epochs": 3, "shuffle": False, "verbose": 0}
        guesses = Guesses(generator)
        fit_generator(recorder, generator, callbacks=callbacks, **options)
        stream = list(itertools.chain(*epochs_of(generator, range(3))))
        assert list(itertools.chain(*recorder.epochs)) == stream[:21]
        assert generator.epoch == 3
        assert guesses.wrong <= 3 * (HELD_BY_TENSORFLOW + 1)


# ---- one sequence of epochs ----------------------------------------------------------------------


@pytest.mark.parametrize("way", [{}, {"workers": 3}], ids=str)
def test_fit_in_parts_is_one_fit(pictures, way):
    whole = fit(make(pictures), 4)
    with make(pictures, **way) as generator:
        assert [fit(generator)[0] for _ in range(4)] == whole
    with make(pictures, **way) as generator:
        assert fit(generator, 2) + fit(generator, 4, initial_epoch=2) == whole
    with make(pictures, **way) as generator:  # as in a new program
        assert fit(generator, 4, initial_epoch=2) == whole[2:]
        assert generator.epoch == 4
    with make(pictures, **way) as generator:
        generator.start_at(2)
        assert fit(generator, 4, initial_epoch=2) == whole[2:]
    with make(pictures, **way) as generator:
        generator.start_at(3)
        assert fit(generator, 1) == whole[3:]


# ---- drop_last ----------------------------------------------------------------------------------


def test_a_dropped_batch_has_other_samples_in_each_epoch(pictures):
    with make(pictures, 17, 5, drop_last=True, workers=2) as generator:
        assert len(generator) == 3
        dropped = [set(range(17)) - set(numbers_of(looped(generator))) for _ in range(4)]
        assert [len(samples) for samples in dropped] == [2] * 4
        assert len(set(map(frozenset, dropped))) > 1
        with pytest.raises(IndexError, match="there are 3"):
            generator.batch(0, 3)


def test_dropping_all_there_is_is_refused(pictures):
    with pytest.raises(ValueError, match=r"drop_last=True leaves nothing: 4 files .* of 5"):
        make(pictures, 4, 5, drop_last=True)
    with pytest.raises(ValueError, match="a batch of 6"):
        make(pictures, 5, 3, drop_last=True, shard=(0, 2))
    with pytest.raises(TypeError, match="drop_last must be True or False; received 1"):
        make(pictures, drop_last=1)


def test_shards_with_drop_last_are_equally_long(pictures):
    """On JAX, too, where shares must be equal."""
    parts = [make(pictures, 17, 3, drop_last=True, shard=(index, 2)) for index in range(2)]
    seen = [looped(part) for part in parts]
    assert [[len(batch) for batch in part] for part in seen] == [[3, 3]] * 2
    numbers = [number for part in seen for number in numbers_of(part)]
    assert len(set(numbers)) == 12


# ---- Keras sees one worker -----------------------------------------------------------------------


def test_keras_sees_one_worker_and_setting_it_says_what_to_call(pictures):
    generator = make(pictures, workers=16)
    assert (generator.workers, generator.use_multiprocessing) == (1, False)
    with pytest.raises(AttributeError, match=r"workers = 4 .*set_workers\(workers, use_multi"):
        generator.workers = 4
    with pytest.raises(AttributeError, match=r"use_multiprocessing = True .*set_workers\("):
        generator.use_multiprocessing = True
    generator.max_queue_size = 7
    assert (generator._read_ahead.threads, generator._read_ahead.most_ahead) == (16, 7)
    with pytest.raises(ValueError, match="max_queue_size must be at least 1"):
        generator.max_queue_size = 0


def test_nothing_is_warned_about(pictures):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "__array__ implementation")  # Keras's own, on PyTorch
        for way in WAYS:
            with make(pictures, **way) as generator:
                fit(generator, 2, steps_per_epoch=5)


# ---- while things break --------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_killed_workers_cost_nothing(pictures):
    others = child_processes()

    def kill_one(batch, logs):
        workers = [one for one in child_processes(others) if "server" not in one.cmdline()]
        if batch % 3 == 1 and workers:
            os.kill(random.choice(workers).pid, signal.SIGKILL)

    callback = keras.callbacks.LambdaCallback(
        on_train_batch_begin=kill_one,
        on_epoch_end=lambda epoch, logs: USERS["predict"](generator),
    )
    with make(pictures, **PROCESSES) as generator, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Worker process .* died")
        fit(generator, 3, True, [callback])
        expected = epochs_of(generator, range(3))
        assert list(map(sorted, recorder.epochs)) == list(map(sorted, expected))


@pytest.mark.parametrize("way", AHEAD, ids=str)
def test_a_broken_file_is_an_error_of_its_batch_and_mending_it_is_enough(
    pictures, broken_file, way
):
    names = [*pictures[:30], broken_file]
    with Generator(names, range(31), 4, **way) as generator:
        guesses = Guesses(generator)
        seen = []
        with pytest.raises(Exception, match=r"broken\.png"):
            seen.extend(numbers_of([note(*batch)]) for batch in generator)
        assert seen == [[*range(first, first + 4)] for first in range(0, 28, 4)]
        with pytest.raises(Exception, match=r"broken\.png"):
            Recorder().fit(generator, verbose=0, callbacks=[NewEpochs()])
        shutil.copyfile(pictures[40], broken_file)
        assert numbers_of(fit(generator)[0]) == list(range(31))
        assert guesses.wrong == 0


def test_a_batch_that_does_not_come_in_time_is_an_error_and_the_next_fit_works(pictures, tmp_path):
    def hang(image, rng):
        if not (tmp_path / "mended").exists() and rng.random() < 0.1:
            time.sleep(100)
        return image

    with make(pictures, augment=hang, timeout=6.0, **PROCESSES) as generator:
        with pytest.raises(Exception, match=r"nothing came within 6 s"):
            Recorder().fit(generator, verbose=0, callbacks=[NewEpochs()])
        (tmp_path / "mended").touch()
        assert numbers_of(sorted(fit(generator)[0])) == numbers_of(
            sorted(epochs_of(generator, [0])[0])
        )


# ---- types ---------------------------------------------------------------------------------------


def test_a_model_takes_uint8(pictures):
    layers = [keras.Input((*SIZE, 3)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
    model = keras.Sequential([*layers, keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with make(pictures, dtype="uint8", augment=None, shuffle=False, workers=2) as generator:
        assert np.isfinite(model.fit(generator, verbose=0, epochs=2).history["loss"]).all()
        layer = model.layers[-1]
        images = np.concatenate([images for images, _ in generator]) / 255
        expected = images.reshape(70, -1) @ keras.ops.convert_to_numpy(layer.kernel)
        expected += keras.ops.convert_to_numpy(layer.bias)
        np.testing.assert_allclose(model.predict(generator, verbose=0), expected, atol=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX compiles it for half a minute")
def test_efficientnet_takes_uint8_and_rescales_it_itself(pictures):
    model = keras.applications.EfficientNetB0(weights=None, input_shape=(32, 32, 3), classes=3)
    options = {"image_size": (32, 32), "augment": None, "shuffle": False, "workers": 2}
    small, large = (make(pictures, 8, 4, dtype=dtype, **options) for dtype in ("uint8", "float32"))
    rows = model.predict(small, verbose=0)
    same = model.predict(np.concatenate([np.round(255 * one) for one, _ in large]), verbose=0)
    np.testing.assert_allclose(rows, same, atol=1e-5)
