import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor

import keras
import pytest
from conftest import unchanged, write_picture
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import MY_Generator, Timeline, diagnose, simulate
from helpers.images import batches

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
    slowed(monkeypatch, batches, function, 0.03, compute=True)
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


def test_a_slow_augment_is_the_limit(make):
    found = watch(make(augment=sleeping_augment(0.02)), step=0.005).diagnose()
    assert found.limit == "augmenting"


def test_batches_that_are_pickled_are_limited_by_the_hand_over(make):
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        for _ in range(2):  # the executor's processes start in the first run
            generator = make(executor=executor, workers=2, image_size=(400, 400), augment=unchanged)
            found = watch(generator, step=0.001).diagnose()
    assert found.limit == "handing over"


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
    assert all(line.endswith(".") for line in text.splitlines())
    assert "Training stands still for data" in text and "images/s" in text
