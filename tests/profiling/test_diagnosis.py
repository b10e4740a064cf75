import multiprocessing
import re
import time
from concurrent.futures import ProcessPoolExecutor

import keras
import numpy as np
import pandas as pd
import pytest
from conftest import unchanged, write_picture
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import MY_Generator, Spans, Timeline, diagnose, simulate
from helpers.images import batches
from helpers.plotting.lanes import COLUMNS

pytestmark = pytest.mark.alone  # what else runs on the cores would be in the diagnosis


class Sleeping(keras.Model):
    """A model whose step takes so many seconds, as on a GPU, and no core."""

    def __init__(self, seconds):
        super().__init__()
        self.built = True
        self.seconds = seconds
        self.compile(run_eagerly=True)

    def train_step(self, data):
        time.sleep(self.seconds)
        return {"loss": 0.0}


def watch(generator, step, epochs=2):
    model = Sleeping(step)
    with generator, Timeline(generator, model) as timeline:
        model.fit(generator, epochs=epochs, verbose=0)
    return timeline


def sleeping_augment(seconds):
    def augment(image, rng):
        time.sleep(seconds)
        return image

    return augment


class Slow(keras.utils.PyDataset):
    """Batches that take so long to make, of which a core computes for a part."""

    def __init__(self, computing, waiting, **options):
        super().__init__(**options)
        self.computing, self.waiting = computing, waiting

    def __len__(self):
        return 20

    def __getitem__(self, index):
        end = time.thread_time() + self.computing
        while time.thread_time() < end:
            pass
        time.sleep(self.waiting)
        return np.zeros((5, 2), np.float32), np.zeros(5, np.float32)


@pytest.fixture
def make(pictures):
    """Make a generator with batches of 5 over 100 small pictures."""

    def function(**options):
        options = {"image_size": (32, 32), **options}
        names = (2 * pictures)[:100]
        return MY_Generator(names, range(100), 5, **options)

    return function


def slowed(monkeypatch, module, name, seconds, compute=False):
    function = getattr(module, name)

    def slow(*arguments, **options):
        end = time.perf_counter() + seconds
        if compute:
            while time.perf_counter() < end:
                pass
        else:
            time.sleep(seconds)
        return function(*arguments, **options)

    monkeypatch.setattr(module, name, slow)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_slow_disk_is_the_limit(make, monkeypatch, workers):
    slowed(monkeypatch, batches, "file_content", 0.01)
    found = watch(make(workers=workers), step=0.004).diagnose()
    assert found.limit == "reading"
    assert found.speedup > 3
    assert found.workers > 2 * workers  # waiting costs no core
    assert "faster" in found.text and "pack" in found.text


@pytest.mark.parametrize(
    ("function", "limit"), [("decode", "decoding"), ("write_resized", "resizing")]
)
def test_slow_computing_is_the_limit(make, monkeypatch, function, limit):
    slowed(monkeypatch, batches, function, 0.015, compute=True)
    found = watch(make(), step=0.005).diagnose()
    assert found.limit == limit, found.text
    assert found.speedup > 3
    assert "draft=True" in found.text and "pack(..., image_size=...)" in found.text


def test_large_pictures_are_limited_by_decoding(tmp_path):
    names = [str(tmp_path / f"{number}.jpg") for number in range(4)]
    for number, name in enumerate(names):
        write_picture(name, 1500, 1500, seed=number)
    generator = MY_Generator(4 * names, range(16), 2, image_size=(64, 64))
    assert watch(generator, step=0.001).diagnose().limit == "decoding"


def count_for(seconds):
    def augment(image, rng):
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            pass
        return image

    return augment


def test_a_slow_augment_is_the_limit(make):
    found = watch(make(augment=count_for(0.01)), step=0.005).diagnose()
    assert found.limit == "augmenting"
    assert "wait" not in found.text.split("Change first")[1]


def test_an_augment_that_waits_is_helped_by_more_workers(make):
    found = watch(make(augment=sleeping_augment(0.015)), step=0.005).diagnose()
    assert found.limit == "workers that wait"
    assert f"the number of workers, from 1 to {found.workers}" in found.text
    assert found.workers > 8


def test_batches_that_are_pickled_are_limited_by_the_hand_over(make):
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        for _ in range(2):  # the executor's processes start in the first run
            generator = make(executor=executor, workers=2, image_size=(400, 400), augment=unchanged)
            found = watch(generator, step=0.001).diagnose()
    assert found.limit == "handing over"


@pytest.mark.parametrize("workers", [1, 3])
def test_a_class_of_ones_own_that_waits_for_a_disk_needs_workers_and_no_faster_code(workers):
    slow = Slow(computing=0.002, waiting=0.1, workers=workers)
    model = Sleeping(0.004)
    with Timeline(slow, model) as timeline:
        model.fit(slow, epochs=2, verbose=0)
    found = timeline.diagnose()
    assert found.limit == "workers that wait"
    assert "MY_Generator" not in found.text and "costs no core" in found.text
    assert f"the number of workers, from {workers} to {found.workers}" in found.text
    assert re.search(r"computes for only [2-9]\.\d ms of that; the rest it waits", found.text)


def test_a_class_of_ones_own_that_computes_is_slow_code():
    slow, model = Slow(computing=0.06, waiting=0.02), Sleeping(0.004)
    with Timeline(slow, model) as timeline:
        model.fit(slow, epochs=2, verbose=0)
    found = timeline.diagnose()
    assert found.limit == "making batches"
    assert "MY_Generator" in found.text and "the rest it waits" not in found.text


def made_by_hand(**options):
    """A run whose worker makes each batch in 50 ms; the training needs 5."""
    rows = []
    for step in range(20):
        start = 0.055 * step
        rows.append(("worker 1", "make", 0, step, 5, start, start + 0.05))
        rows.append(("training", "wait", 0, step, 5, start, start + 0.05))
        rows.append(("training", "step", 0, step, 5, start + 0.05, start + 0.055))
    table = pd.DataFrame(rows, columns=COLUMNS)
    return Spans(table, **{"workers": 1, "cores": 8, "queue": 100, "busy_cores": 0.5} | options)


def test_computing_is_told_from_waiting_by_the_processors_time():
    assert made_by_hand(batch_cpu=0.045).diagnose().limit == "making batches"
    assert made_by_hand(batch_cpu=0.005).diagnose().limit == "workers that wait"
    assert made_by_hand().diagnose().limit == "making batches"  # not measured
    # No core was free: a worker may have waited for one.
    busy = made_by_hand(batch_cpu=0.02, cores=1, busy_cores=1.0)
    assert busy.diagnose().limit == "making batches"


def test_threads_that_share_pythons_lock_are_not_told_to_be_more():
    threads = {"workers": 10, "batch_cpu": 0.05, "busy_cores": 2.0}
    rows = made_by_hand().table()
    longer = rows["lane"].str.startswith("worker")
    rows.loc[longer, "start"] -= 0.45  # ten at a time, each as slow as ten
    locked = Spans(rows[COLUMNS], cores=8, queue=100, **threads)
    assert locked.diagnose().limit not in ("workers that wait", "too few workers")
    free = Spans(rows[COLUMNS], cores=8, queue=100, **threads | {"batch_cpu": 0.01})
    assert free.diagnose().limit == "workers that wait"


def test_a_run_whose_workers_were_not_seen_is_diagnosed_all_the_same():
    rows = made_by_hand().table()
    unseen = rows.loc[rows["lane"] == "training", COLUMNS]
    found = Spans(unseen, workers=2, cores=2, queue=10, busy_cores=1.0).diagnose()
    assert found.limit == "making batches"
    assert "Workers: 2 (threads). What they do was not seen." in found.text
    at_once = unseen[(unseen["kind"] == "step") | (unseen["step"] == 0)].copy()
    at_once.loc[at_once["kind"] == "wait", "start"] -= 1.0
    found = Spans(at_once, workers=2, cores=2, queue=10, busy_cores=1.0).diagnose()
    assert found.limit == "start of the epoch"


@pytest.mark.parametrize(
    "options", [{}, {"workers": 2}, {"workers": 4, "use_multiprocessing": True}]
)
def test_a_slow_model_is_the_limit(make, options):
    found = watch(make(**options), step=0.05).diagnose()
    assert found.limit == "model"
    assert found.workers == 1
    assert found.speedup < 1.15


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_one_worker_too_few_is_the_limit(make, workers):
    step, needed = 0.02, workers + 0.6
    augment = sleeping_augment(step * needed / 5)
    found = watch(make(augment=augment, workers=workers), step=step).diagnose()
    assert found.limit == "too few workers"
    assert found.workers in (workers + 1, workers + 2)
    assert f"from {workers} to {found.workers}" in found.text


def count_in_python(image, rng):
    sum(number * number for number in range(100_000))
    return image


def test_threads_that_wait_for_pythons_lock_are_too_many(make):
    timeline = watch(make(augment=count_in_python, workers=8), step=0.001)
    timeline.cores, timeline.busy_cores = 2, 1.5  # other programs have half of the other core
    found = timeline.diagnose()
    assert found.limit == "too many workers"
    assert "use_multiprocessing=True" in found.text
    timeline.busy_cores = 2.0  # all of it: then the threads may as well wait for a core
    assert timeline.diagnose().limit != "too many workers"


def test_a_queue_that_is_too_short_for_a_stutter(make):
    def stutter(image, rng):
        time.sleep(0.3 if rng.random() < 1 / 25 else 0.0)
        return image

    generator = make(augment=stutter, workers=4, max_queue_size=1)
    timeline = watch(generator, step=0.03, epochs=4)
    timeline.busy_cores = 0.0  # no more than its own: what else runs here would be blamed, rightly
    assert timeline.diagnose().limit == "queue"


def test_a_simulated_run_is_diagnosed_like_a_measured_one():
    assert diagnose(simulate(read=0.1, decode=0.01, step=0.01)).limit == "reading"
    assert diagnose(simulate(decode=0.1, step=0.01, workers=2, cores=2)).limit == "decoding"
    assert diagnose(simulate(decode=0.03, step=0.02, workers=1, cores=4)).limit == "too few workers"
    slow = simulate(decode=0.01, hand_over=0.05, step=0.01, workers=2, cores=4)
    assert diagnose(slow).limit == "handing over"
    late = simulate(decode=0.0056, hand_over=0.001, step=0.005, workers=1, cores=4)
    assert late.summary()["training: hand-over (ms)"] > late.summary()["training: wait (ms)"]
    assert diagnose(late).limit == "too few workers"  # the batch is handed over late: it came late
    fast = diagnose(simulate(decode=0.01, step=0.05, workers=16, cores=16, batches=100))
    assert (fast.limit, fast.workers) == ("model", 1)


def test_a_queue_that_leaves_workers_without_work_is_named():
    run = simulate(decode=0.32, step=0.005, workers=16, cores=64, queue=10, batches=100)
    assert run.diagnose().limit == "queue"
    assert "no more than 11 batches are in work" in run.diagnose().text
    run = simulate(decode=0.32, step=0.005, workers=11, cores=64, queue=10, batches=100)
    assert run.diagnose().limit == "decoding"
    assert "no more than" not in run.diagnose().text
    run = simulate(decode=0.32, step=0.005, workers=16, cores=8, queue=10, batches=100)
    assert run.diagnose().limit == "decoding"  # a longer queue would not help: all cores are busy


TIMES = st.floats(0.001, 0.2)


@settings(max_examples=25, deadline=None)
@given(read=TIMES, decode=TIMES, step=TIMES, workers=st.integers(1, 8))
def test_the_speedup_is_that_of_a_run_without_waiting(read, decode, step, workers):
    run = simulate(read=read, decode=decode, step=step, workers=workers, cores=64, batches=60)
    found = run.diagnose()
    assert found.speedup * run.summary()["images/s"] == pytest.approx(32 / step)
    enough = simulate(read=read, decode=decode, step=step, workers=64, cores=64, batches=60)
    now = run.summary()["images/s"]
    assert (found.limit == "model") == (now > 0.9 * 32 / step)
    assert enough.summary()["images/s"] >= 0.999 * now


def test_a_diagnosis_reads_as_sentences():
    text = str(simulate(read=0.1, decode=0.01, step=0.01).diagnose())
    assert text == repr(simulate(read=0.1, decode=0.01, step=0.01).diagnose())
    sentences = simulate(read=0.1, decode=0.01, step=0.01).diagnose().text
    assert all(line.endswith(".") for line in sentences.splitlines())
    assert text.split() == sentences.split()
    assert "Training stands still for data" in text and "images/s" in text


def test_a_diagnosis_is_printed_in_lines_that_a_notebook_does_not_cut():
    for run in ({"decode": 0.1}, {"read": 0.1, "decode": 0.01}, {"decode": 0.01, "hand_over": 0.1}):
        lines = str(simulate(**run, step=0.01).diagnose()).splitlines()
        assert max(map(len, lines)) <= 95
        assert max(map(len, lines)) > 80  # filled, not broken at each comma
        assert not any(line.startswith(" ") or line.endswith(("-", " ")) for line in lines)


def test_numbers_of_a_diagnosis_are_written_out():
    assert "be 100 times as fast at best" in str(simulate(decode=1.0, step=0.01).diagnose())
    assert "be 1,667 times as fast" in str(simulate(decode=20.0, step=0.012).diagnose())
    assert "be 3 times as fast" in str(simulate(decode=0.03, step=0.01).diagnose())
