import statistics
import time
from functools import partial

import keras
import numpy as np
import pytest

from helpers import MY_Generator, compare_workers, time_epoch
from helpers.profiling import timing

pytestmark = pytest.mark.alone


class Sleeping(keras.utils.PyDataset):
    """Batches of 10 images (the last has 4), each of which takes `delay` seconds to make."""

    def __init__(self, delay, batches=12, first_delay=0.0, **kwargs):
        super().__init__(**kwargs)
        self.delay, self.batches, self.first_delay = delay, batches, first_delay

    def __len__(self):
        return self.batches

    def __getitem__(self, index):
        time.sleep(self.delay + self.first_delay)
        self.first_delay = 0.0  # the very first batch only
        count = 4 if index == self.batches - 1 else 10
        return np.zeros((count, 2, 2, 3), np.float32), np.zeros(count)


class SlowModel:
    """Stands for a model: a step takes `delay` seconds."""

    def __init__(self, delay):
        self.delay = delay
        self.labels = 0

    def train_on_batch(self, x, y):
        time.sleep(self.delay)
        self.labels += len(y)


# ---- time_epoch ----------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_all_images_are_counted(workers):
    assert time_epoch(Sleeping(0.0, batches=4, workers=workers)).images == 34


def test_the_rate_is_that_of_a_whole_epoch_after_the_start():
    measured = time_epoch(Sleeping(0.06, batches=13, first_delay=1.0))
    # 124 images in 13 times 60 ms; the second of the start is no part of it.
    assert 0.3 < measured.images_per_second / (124 / 0.78) < 1.05
    assert measured.waited > 0.7


@pytest.mark.slow
def test_the_first_batch_is_timed_apart():
    measured = time_epoch(Sleeping(0.15, batches=20, first_delay=1.0))
    # Keras looks at two batches before it asks for the first. The last one comes after 4.3 s.
    assert 1.45 < measured.first_batch < 4


def test_two_threads_are_twice_as_fast_as_one_when_each_sleeps():
    def rate(workers):
        return time_epoch(Sleeping(0.07, batches=12, workers=workers)).images_per_second

    assert 1.4 < statistics.median(rate(2) / rate(1) for _ in range(3)) < 2.8


def test_training_that_is_slower_than_the_data_does_not_wait():
    model = SlowModel(0.06)
    measured = time_epoch(Sleeping(0.0, batches=15, workers=2), model)
    assert measured.waited < 0.4
    assert 0.3 < measured.images_per_second / (144 / (15 * 0.06)) < 1.05
    assert model.labels == 2 * 144


def test_data_that_is_slower_than_training_is_waited_for():
    measured = time_epoch(Sleeping(0.08, batches=10), SlowModel(0.02))
    # Of every 80 ms training takes 20: the next batch is on its way meanwhile.
    assert 0.5 < measured.waited < 0.9


def test_a_model_is_really_trained(pictures):
    model = keras.Sequential([keras.Input((6, 6, 3)), keras.layers.Flatten()])
    model.add(keras.layers.Dense(1))
    model.compile("sgd", loss="mse")
    before = model.get_weights()[0]
    measured = time_epoch(MY_Generator(pictures[:20], range(20), 4, image_size=(6, 6)), model)
    assert measured.images == 20
    assert int(model.optimizer.iterations) == 2 * 5
    assert not np.array_equal(model.get_weights()[0], before)


@pytest.mark.parametrize("change", [lambda x, y: x, lambda x, y: {"image": x, "size": y}])
def test_images_are_counted_without_labels(change):
    class Changed(Sleeping):
        def __getitem__(self, index):
            return change(*super().__getitem__(index))

    assert time_epoch(Changed(0.0, batches=4)).images == 34


SHAPES = {"image": (2, 2, 3), "size": (1,)}


@pytest.mark.filterwarnings("error:The structure of `inputs`")
def test_a_model_of_several_inputs_is_trained_with_the_weights_of_its_samples():
    class Weighted(Sleeping):
        def __getitem__(self, index):
            images, numbers = super().__getitem__(index)
            inputs = {"image": images, "size": numbers[:, np.newaxis] + 1}
            return inputs, numbers + 1, numbers

    inputs = {name: keras.Input(shape, name=name) for name, shape in SHAPES.items()}
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs["size"]))
    model.compile("sgd", loss="mse")
    before = model.get_weights()[0]
    assert time_epoch(Weighted(0.0, batches=4), model).images == 34
    assert int(model.optimizer.iterations) == 2 * 4
    assert np.array_equal(model.get_weights()[0], before)  # all samples weigh nothing


@pytest.mark.slow
def test_processes_are_timed_too(pictures):
    processes = {"workers": 2, "use_multiprocessing": True}
    with MY_Generator(pictures, range(70), 10, image_size=(6, 6), **processes) as generator:
        assert time_epoch(generator).images == 70


def test_one_batch_is_enough():
    measured = time_epoch(Sleeping(0.3, batches=1))
    assert measured.images == 4
    assert 0.3 < measured.images_per_second / (4 / 0.3) < 1.05


def test_an_empty_sequence_is_refused():
    with pytest.raises(ValueError, match="length 0"):
        time_epoch(Sleeping(0.0, batches=0))


# ---- compare_workers -----------------------------------------------------------------------------

COLUMNS = ["kind", "workers", "images/s", "slowest", "fastest", "first batch (s)", "waited (%)"]


@pytest.fixture
def calls(monkeypatch):
    """What make_sequence and time_epoch are asked, when time_epoch gives 1, 2, 3, … images/s."""
    asked = []

    def time_epoch(sequence, model):
        asked.append((sequence, model))
        count = len(asked)
        return timing.EpochTiming(count / 100, float(count), count / 1000, 7)

    monkeypatch.setattr(timing, "time_epoch", time_epoch)
    return asked


def make_sequence(workers, **options):
    return workers, options


def test_the_ways_take_turns(calls):
    compare_workers(make_sequence, workers=(1, 4), processes=[2], repeats=3, model="a model")
    turn = [(1, {}), (4, {}), (2, {"use_multiprocessing": True})]
    assert calls == [(sequence, "a model") for sequence in turn * 3]


def test_a_row_for_each_way_with_medians(calls):
    table = compare_workers(make_sequence, (4, 1), (2,), repeats=3, model="a model")
    assert list(table.columns) == COLUMNS
    assert list(table["kind"]) == ["threads", "threads", "processes"]
    assert list(table["workers"]) == [4, 1, 2]
    # The first way was timed first, fourth and seventh; the others one and two later.
    assert list(table["images/s"]) == [4, 5, 6]
    assert list(table["slowest"]) == [1, 2, 3]
    assert list(table["fastest"]) == [7, 8, 9]
    assert list(table["first batch (s)"]) == pytest.approx([0.04, 0.05, 0.06])
    assert list(table["waited (%)"]) == pytest.approx([0.4, 0.5, 0.6])


def test_by_default_one_two_and_four_threads_five_times(calls):
    table = compare_workers(make_sequence)
    assert list(table["workers"]) == [1, 2, 4]
    assert set(table["kind"]) == {"threads"}
    assert len(calls) == 15


def test_ways_may_be_any_iterable(calls):
    table = compare_workers(make_sequence, workers=iter([3]), processes=range(1, 3), repeats=2)
    assert list(table["workers"]) == [3, 1, 2]
    assert len(calls) == 6


@pytest.mark.parametrize("repeats", [0, -1, 1.5, "2"])
def test_wrong_repeats_are_refused(calls, repeats):
    with pytest.raises((TypeError, ValueError), match=f"repeats must be .*received {repeats!r}"):
        compare_workers(make_sequence, repeats=repeats)
    assert not calls


def test_nothing_to_compare_is_refused():
    with pytest.raises(ValueError, match="nothing to compare"):
        compare_workers(make_sequence, workers=(), processes=())


def test_sequences_that_can_be_closed_are_closed(calls):
    class Closing:
        closed = 0

        def close(self):
            Closing.closed += 1

    compare_workers(lambda workers: Closing(), workers=(1, 2), repeats=3)
    assert Closing.closed == 6


def test_threads_are_compared_for_real():
    table = compare_workers(
        lambda workers: Sleeping(0.06, batches=12, workers=workers), workers=(1, 3), repeats=1
    )
    one, three = table["images/s"]
    assert three / one > 1.5
    assert "waited (%)" not in table  # there was no model to wait


@pytest.mark.slow
def test_processes_are_compared_for_real(pictures):
    make = partial(MY_Generator, pictures, range(70), 10, image_size=(6, 6))
    table = compare_workers(
        lambda workers, **options: make(workers=workers, **options),
        workers=(),
        processes=(1, 2),
        repeats=1,
    )
    assert list(table["kind"]) == ["processes", "processes"]
    assert (table["images/s"] > 0).all()
