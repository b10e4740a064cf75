import gc
import threading
import time

import keras
import numpy as np
import pytest
from conftest import in_background

from helpers.generators import passes
from helpers.generators.passes import (
    HELD_BY_TENSORFLOW,
    Loop,
    Pass,
    calling_loop,
    is_before_an_epoch,
    loops_of_keras,
    names_in_fit,
)

pytestmark = [pytest.mark.backends, pytest.mark.timeout(200, method="thread")]


class Once(keras.utils.PyDataset):
    """Three batches; who asks for them is noted."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return np.zeros((2, 4)), np.zeros((2, 4))

    def on_epoch_begin(self):
        self.note("begin")

    def on_epoch_end(self):
        self.note("end")

    def note(self, what):
        names = names_in_fit()
        loops = [frame.f_code.co_name for frame in loops_of_keras()]
        self.calls.append((what, loops, is_before_an_epoch(), names and names["steps_per_epoch"]))


def model():
    layers = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
    layers.compile("sgd", "mse")
    layers.train_on_batch(np.zeros((2, 4)), np.zeros((2, 4)))  # or a loop would build it first
    return layers


# ---- what is used of Keras's insides -------------------------------------------------------------


def test_the_calls_of_keras_are_as_this_file_expects_them():
    """With a new Keras that calls otherwise, `Pass` has to be looked at again."""
    data = Once()
    with pytest.warns(UserWarning, match="ran out of data"):
        model().fit(data, epochs=2, steps_per_epoch=2, verbose=0)
    assert data.calls == [
        ("end", ["fit"], True, 2),
        *[("begin", ["fit"], False, 2), ("end", ["fit"], False, 2)],  # two steps, and the last one
        *[("begin", ["fit"], False, 2), ("end", ["fit"], False, 2)],
    ]


def test_loops_in_a_callback_are_deeper():
    data, other = Once(), model()

    def read(epoch, logs):
        other.evaluate(data, verbose=0)
        other.predict(data, verbose=0)

    model().fit(Once(), verbose=0, callbacks=[keras.callbacks.LambdaCallback(read)])
    deep = [[loop, "fit"] for loop in ("evaluate", "predict")]
    assert data.calls[0] == ("end", deep[0], True, None)
    assert [call for call in data.calls if not call[2]] == [
        (what, loops, False, None) for loops in deep for what in ("begin", "end")
    ]


def test_validation_is_no_fit():
    data = Once()
    model().fit(Once(), validation_data=data, verbose=0)
    assert data.calls[1:] == [(what, ["evaluate", "fit"], False, None) for what in ("begin", "end")]


def test_an_epoch_that_runs_out_of_data_ends_in_its_fit():
    data = Once()
    with pytest.warns(UserWarning, match="ran out of data"):
        model().fit(data, steps_per_epoch=4, verbose=0)
    assert data.calls[-1] == ("end", ["fit"], False, 4)


def test_a_subclass_that_calls_fit_is_one_call():
    class Mine(keras.Sequential):
        def fit(self, *arguments, **options):
            return super().fit(*arguments, **options)

    layers, data = Mine([keras.Input((4,)), keras.layers.Dense(4)]), Once()
    layers.compile("sgd", "mse")
    layers.fit(data, verbose=0)
    assert all(loops == ["fit"] for _, loops, _, _ in data.calls)


def test_a_loop_knows_what_it_was_called_with():
    seen = []

    class Looked(Once):
        def note(self, what):
            if what == "begin":
                reading.begin_epoch(calling_loop())
            loop = reading.loop or calling_loop()
            seen.append((loop.steps, loop.first_epoch, loop.shuffles, loop.goes_on))

    reading = Pass()

    options = {"epochs": 4, "initial_epoch": 2, "verbose": 0}
    model().fit(Looked(), shuffle=False, **options)
    assert seen[1:] == [(None, 2, False, True)] * 2 + [(None, 2, False, False)] * 2
    seen.clear()
    reading = Pass()
    model().fit(Looked(), steps_per_epoch=3, **options)
    assert seen[1:] == [(3, 2, True, True)] * 2 + [(3, 2, True, False)] * 2
    seen.clear()
    reading = Pass()
    model().evaluate(Looked(), steps=2, verbose=0)
    assert set(seen) == {(2, 0, False, False)}


def test_by_hand_there_is_no_call():
    assert loops_of_keras() == []
    assert names_in_fit() is None
    assert calling_loop() is None
    assert not is_before_an_epoch()
    assert Pass().asking_loop() is None


# ---- loops ---------------------------------------------------------------------------------------


class Kept(Once):
    """Keeps the loops that call."""

    def __init__(self):
        super().__init__()
        self.loops = []

    def note(self, what):
        self.loops.append(calling_loop())


def test_a_loop_is_the_same_in_all_its_epochs_and_no_other():
    same = []

    class Compared(Kept):
        def note(self, what):
            super().note(what)
            same.append((self.loops[-1].is_same(self.loops[0]), self.loops[-1].is_same(None)))

    data = Compared()
    model().fit(data, epochs=2, verbose=0)
    assert same == [(True, False)] * 5
    same.clear()
    model().fit(data, verbose=0)
    assert same == [(False, False)] * 3
    assert not data.loops[0].is_same(data.loops[1])  # both are gone


def test_a_loop_is_under_way_as_long_as_its_call():
    data, seen = Kept(), []

    def look(batch, logs):
        loop = data.loops[-1]
        there = in_background(lambda: (loop.is_under_way(), loop.is_around())).result(10)
        seen.append((loop.is_under_way(), loop.is_around(), there))

    def inner(epoch, logs):
        outer = data.loops[-1]
        other.fit(data, verbose=0)
        seen.append((outer.is_around(), data.loops[-1].is_around()))

    other = model()
    callback = keras.callbacks.LambdaCallback(on_train_batch_end=look, on_epoch_end=inner)
    model().fit(data, verbose=0, callbacks=[callback])
    assert seen == [(True, True, (True, False))] * 3 + [(True, False)]
    gc.collect()
    assert not any(loop.is_under_way() for loop in data.loops)


def test_after_an_error_that_is_kept_a_loop_is_not_under_way_and_not_in_another_fit():
    data, other, seen = Kept(), Kept(), []

    def fail(batch, logs):
        raise InterruptedError

    with pytest.raises(InterruptedError) as kept:
        model().fit(
            data, verbose=0, callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=fail)]
        )
    loop = data.loops[-1]
    look = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(loop.is_under_way())
    )
    model().fit(other, verbose=0, callbacks=[look])
    assert seen == [False] * 3
    assert kept.traceback


def test_what_is_to_be_done_when_a_loop_is_gone_is_done_once():
    done = []

    class Told(Once):
        def on_epoch_begin(self):
            for name in "ab":
                self.loop = loops.setdefault(0, calling_loop())
                self.loop.when_gone(done.append, name)

    loops = {}
    model().fit(Told(), epochs=2, verbose=0)
    gc.collect()
    assert done == ["a"]


# ---- passes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("steps", "over"), [(1, 3), (2, 2), (3, 1), (5, 1), (None, 1)])
def test_a_pass_is_over_when_all_batches_were_used(steps, over):
    loop = Loop.__new__(Loop)  # stands for one; no more than this is asked of it
    loop.steps, batches = steps, Pass()
    for _ in range(3):
        ends = [batches.end_epoch(loop, 3) for _ in range(over)]
        assert ends == [False] * (over - 1) + [True]


def test_by_hand_an_end_is_an_end_of_a_pass():
    assert Pass().end_epoch(None, 5)


# ---- TensorFlow's buffer -------------------------------------------------------------------------


class Many(keras.utils.PyDataset):
    """So many batches; each is asked of a pass, as a generator does."""

    def __init__(self, batches):
        super().__init__()
        self.batches, self.asked = batches, 0
        self.reading = Pass()

    def __len__(self):
        return self.batches

    def __getitem__(self, index):
        if loop := self.reading.asking_loop():
            loop.hold_back()
            self.asked += 1
        return np.zeros((1, 4)), np.zeros((1, 4))

    def on_epoch_begin(self):
        self.reading.begin_epoch(calling_loop())
        self.asked = 0


@pytest.mark.parametrize("at_once", [1, 4])
def test_tensorflow_takes_no_more_than_it_may_however_its_training_goes(at_once):
    if at_once > 1 and keras.backend.backend() == "torch":
        pytest.skip("Keras takes one step at a time on PyTorch")
    data, most = Many(120), []

    def look(batch, logs):
        if batch % 10 == 9:
            time.sleep(0.05)
        most.append(data.asked - batch - 1)

    layers = model()
    layers.compile("sgd", "mse", steps_per_execution=at_once)
    callback = keras.callbacks.LambdaCallback(on_train_batch_end=look)
    layers.fit(data, epochs=2, verbose=0, callbacks=[callback])
    assert len(most) == 2 * 120 // at_once
    assert 0 <= max(most) <= HELD_BY_TENSORFLOW


def test_somebody_else_is_not_held_back():
    data, came = Many(6), []

    def read(batch, logs):
        threads = [threading.Thread(target=data.__getitem__, args=[0]) for _ in range(20)]
        start = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        [data[0] for _ in range(20)]
        came.append(time.monotonic() - start)

    callback = keras.callbacks.LambdaCallback(on_train_batch_end=read)
    model().fit(data, verbose=0, callbacks=[callback])
    assert len(came) == 6 and max(came) < passes.HOLD_SECONDS


def test_who_is_held_back_is_let_go_when_the_loop_is_gone_or_after_a_while(monkeypatch):
    """A Keras whose steps cannot be counted costs time, and hangs nowhere."""
    monkeypatch.setattr(passes, "HOLD_SECONDS", 0.3)
    data = Kept()
    model().fit(data, verbose=0)
    loop = data.loops[-1]
    gc.collect()
    loop._given = 100
    start = time.monotonic()
    in_background(loop.hold_back).result(10)  # the call is over
    assert time.monotonic() - start < 0.2

    def look(batch, logs):
        loop = data.loops[-1]
        loop._given = 100
        start = time.monotonic()
        in_background(loop.hold_back).result(10)
        seen.append(time.monotonic() - start)

    seen = []
    model().fit(
        data, verbose=0, callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=look)]
    )
    assert all(0.3 <= seconds < 5 for seconds in seen)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the iterator is TensorFlow's")
def test_no_iterator_of_tensorflows_is_kept_longer_than_keras_keeps_it():
    """Its last owner ends it with Python's lock held, and might wait for its thread for ever."""

    def most_iterators(data):
        counts = []
        look = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: counts.append(
                sum(type(one).__name__ == "OwnedIterator" for one in gc.get_objects())
            )
        )
        gc.collect()
        model().fit(data, epochs=4, verbose=0, callbacks=[look])
        return max(counts[6:])  # from the third epoch on

    class Looked(Once):
        def __init__(self):
            super().__init__()
            self.reading = Pass()

        def on_epoch_begin(self):
            self.reading.begin_epoch(calling_loop())

        def on_epoch_end(self):
            if loop := calling_loop():
                self.reading.end_epoch(loop, 3)
                assert self.reading.loop is None or self.reading.loop.is_under_way()

    class Plain(Once):
        def note(self, what):
            pass

    assert most_iterators(Looked()) == most_iterators(Plain())
