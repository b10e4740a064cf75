"""Who makes the batches: threads, processes, an executor; and what a copy has of its own."""

import copy
import gc
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import numpy as np
import pytest
from conftest import is_alive, wait_until
from noting import (
    PROCESSES,
    Generator,
    checksums_of,
    child_processes,
    epochs_of,
    fit,
    looped,
    make,
    note,
    numbers_of,
    samples_of,
)

from helpers import MY_Generator
from helpers.images.request import LoadedBatch
from helpers.loading import read_ahead

# ---- an executor ---------------------------------------------------------------------------------


class Listening(Executor):
    """Notes the size of what is submitted, and answers with black pictures."""

    def __init__(self):
        self.sizes = []

    def submit(self, function, request, *others):
        self.sizes.append(len(pickle.dumps((function, request, others))))
        future = Future()
        count = len(request.filenames)
        black = [[np.zeros(shape, dtype)] for shape, dtype in request.layout * count]
        future.set_result(pickle.dumps(LoadedBatch(black, range(count), [], None)))
        return future


def test_a_million_names_are_not_looked_at_and_not_sent(monkeypatch):
    def touched(*args, **kwargs):
        raise AssertionError(f"a file was touched: {args}")

    names = [f"/nowhere/at/all/picture {number:06}.png" for number in range(1_000_000)]
    listening = Listening()
    with monkeypatch.context() as patch:
        for function in ("stat", "lstat", "open", "scandir", "listdir"):
            patch.setattr(os, function, touched)
        patch.setattr("builtins.open", touched)
        for count in (100, 1_000_000):
            generator = Generator(
                names[:count], np.arange(count), 32, shuffle=True, executor=listening
            )
            generator[1]
    small, large = listening.sizes
    assert large == pytest.approx(small, rel=0.05)
    assert large < 20_000


def pids(generator):
    """Processes that make the batches, as `pid_of_worker` leaves them in the pictures."""
    with ThreadPoolExecutor(4) as threads:
        batches = threads.map(generator.__getitem__, range(len(generator)))
        return {int(images[0, 0, 0, 0]) for images, _ in batches}


def generator_of_pids(pictures, **how):
    def pid_of_worker(image, rng):
        return np.full_like(image, os.getpid())

    return Generator(pictures[:20], range(20), 2, augment=pid_of_worker, **how)


def all_end(processes):
    """Whether all processes end in time."""
    return wait_until(lambda: not any(map(is_alive, processes)))


@pytest.mark.slow
def test_processes_live_as_long_as_the_generator(pictures):
    generator = generator_of_pids(pictures, **PROCESSES)
    processes = pids(generator)
    assert 1 <= len(processes) <= 2
    assert os.getpid() not in processes
    fit(generator, epochs=2)
    assert len(pids(generator) | processes) <= 2  # the same ones, after three epochs
    generator.close()
    assert all_end(processes)
    assert pids(generator) == {os.getpid()}  # it goes on without
    generator.close()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_process_costs_nothing(pictures):
    with generator_of_pids(pictures, **PROCESSES) as generator:
        killed = min(pids(generator))
        os.kill(killed, signal.SIGKILL)
        with pytest.warns(UserWarning, match=f"process {killed} died") as caught:
            [epoch] = fit(generator)
    assert numbers_of(epoch) == list(range(20))
    assert len([one for one in caught if "died" in str(one.message)]) == 1


@pytest.mark.slow
def test_processes_end_with_the_with_statement(pictures):
    with generator_of_pids(pictures, **PROCESSES) as generator:
        fit(generator)
        processes = pids(generator)
    assert os.getpid() not in processes
    assert all_end(processes)


def processes_of_a_lost_generator(pictures, use):
    generator = generator_of_pids(pictures, **PROCESSES)
    use(generator)
    processes = pids(generator)
    assert os.getpid() not in processes
    del generator
    gc.collect()
    return processes


@pytest.mark.slow
def test_processes_end_when_the_generator_is_garbage(pictures):
    assert all_end(processes_of_a_lost_generator(pictures, use=len))


@pytest.mark.slow
def test_processes_end_by_themselves_after_fit(pictures, monkeypatch):
    # TensorFlow 2.21 keeps all that fit ever read from, so the generator never becomes garbage:
    # https://github.com/tensorflow/tensorflow/pull/123530
    monkeypatch.setattr(read_ahead, "IDLE_SECONDS", 0.5)
    assert all_end(processes_of_a_lost_generator(pictures, use=fit))


@pytest.mark.slow
def test_fit_goes_on_after_its_processes_ended_by_themselves(pictures, monkeypatch):
    monkeypatch.setattr(read_ahead, "IDLE_SECONDS", 0.5)
    with generator_of_pids(pictures, **PROCESSES) as generator:
        first = pids(generator)
        assert all_end(first)
        [epoch] = fit(generator)
        assert numbers_of(epoch) == list(range(20))
        assert not pids(generator) & (first | {os.getpid()})


@pytest.mark.slow
def test_set_workers_changes_who_makes_the_batches(pictures):
    generator = generator_of_pids(pictures)
    assert pids(generator) == {os.getpid()}
    generator.set_workers(2, use_multiprocessing=True, max_queue_size=3)
    assert (generator._read_ahead.threads, generator.max_queue_size) == (2, 3)
    first = pids(generator)
    assert os.getpid() not in first
    generator.set_workers(1, use_multiprocessing=True)
    [second] = pids(generator)
    assert second not in first
    assert all_end(first)
    generator.set_workers(4)
    assert pids(generator) == {os.getpid()}
    assert all_end([second])


def test_no_process_is_started_without_workers(pictures):
    assert pids(generator_of_pids(pictures, workers=0, use_multiprocessing=True)) == {os.getpid()}


def test_the_users_executor_is_used_and_left_alone(pictures):
    class Counting(ThreadPoolExecutor):
        submitted = 0

        def submit(self, *args, **kwargs):
            self.submitted += 1
            return super().submit(*args, **kwargs)

    with Counting(2) as executor:
        with Generator(
            pictures[:20], range(20), 4, executor=executor, workers=4, use_multiprocessing=True
        ) as generator:
            assert samples_of(fit(generator)[0]) == checksums_of(pictures[:20])
            generator.set_workers(2, use_multiprocessing=True)
            generator.close()
            generator[0]
            assert executor.submitted >= 6
        del generator
        gc.collect()
        assert executor.submit(sum, [1, 2]).result() == 3


def test_a_batch_that_never_comes_is_an_error(pictures):
    class Silent(Listening):
        def submit(self, function, *arguments):
            return Future()

    generator = Generator(pictures[:4], range(4), 2, executor=Silent(), timeout=0.05)
    with pytest.raises(TimeoutError, match=rf"within 0\.05 s.*{re.escape(pictures[2])}"):
        generator[1]


INTERRUPTED = """
import os, time
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras
from helpers import MY_Generator
from helpers.profiling.timing import Arrivals

def slow(image, rng):
    time.sleep(0.05)
    return image

def stop(batch, logs):
    raise KeyboardInterrupt

generator = MY_Generator({pictures}, range(70), 1, image_size=(6, 7), augment=slow)
callback = keras.callbacks.LambdaCallback(on_train_batch_end=stop)
Arrivals().fit(generator, verbose=0, callbacks=[callback])
"""


@pytest.mark.slow
def test_a_script_that_is_interrupted_in_fit_ends(pictures):
    # Without workers TensorFlow 2.21 is still asking for a batch when Python ends.
    script = INTERRUPTED.format(pictures=pictures)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60)
    assert b"KeyboardInterrupt" in done.stderr
    assert done.returncode != 0


def test_where_descriptors_cannot_be_handed_over_threads_make_the_batches(pictures, monkeypatch):
    others = child_processes()
    monkeypatch.delattr(socket, "send_fds")  # as on Windows
    with pytest.warns(UserWarning, match="threads make the batches"):
        generator = MY_Generator(pictures, range(70), 8, workers=2, use_multiprocessing=True)
    expected = MY_Generator(pictures, range(70), 8)
    assert generator[3][0].tobytes() == expected[3][0].tobytes()
    assert not child_processes(others)


@pytest.mark.parametrize(
    "make_copy", [copy.copy, copy.deepcopy, lambda generator: pickle.loads(pickle.dumps(generator))]
)
def test_closing_a_copy_ends_nothing_of_the_original(pictures, make_copy):
    others = child_processes()
    with Generator(pictures, range(70), 7, workers=2, use_multiprocessing=True) as generator:
        expected = [note(*generator[index]) for index in range(10)]
        workers = child_processes(others)
        duplicate = make_copy(generator)
        assert [note(*duplicate[index]) for index in range(10)] == expected
        assert len(child_processes(others)) == 2 * len(workers)
        duplicate.close()
        assert workers <= child_processes()
        duplicate.epoch = 5
        duplicate.skipped["a"] = "b"
        assert (generator.epoch, generator.skipped) == (0, {})
        assert [note(*generator[index]) for index in range(10)] == expected


COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda generator: pickle.loads(pickle.dumps(generator)),
}


@pytest.mark.backends
@pytest.mark.parametrize("make_copy", COPIES.values(), ids=COPIES)
def test_a_copy_goes_on_from_the_same_epoch_with_workers_of_its_own(pictures, make_copy):
    others = child_processes()
    with make(pictures, drop_last=True, batch_size=8, **PROCESSES) as generator:
        expected = epochs_of(generator, range(3))
        assert fit(generator) == expected[:1]
        batches = iter(generator)
        next(batches)
        workers = child_processes(others)
        with make_copy(generator) as duplicate:
            assert child_processes(others) == workers
            assert (duplicate.epoch, len(duplicate)) == (1, 8)
            assert fit(duplicate, 2) == expected[1:]
            assert len(child_processes(others)) == 2 * len(workers)
        assert generator.epoch == 1
        assert [note(*batch) for batch in batches] == expected[1][1:]


@pytest.mark.parametrize("make_copy", [copy.copy, copy.deepcopy])
def test_a_copy_shares_the_executor(pictures, make_copy):
    with ThreadPoolExecutor(2) as executor:
        generator = make(pictures, executor=executor, workers=2)
        assert looped(make_copy(generator)) == looped(generator)
