import concurrent.futures
import gc
import os
import subprocess
import sys
import threading
import time
from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers import images, workers
from helpers.images import BatchRequest, ImageError, load_batch
from helpers.workers import BatchMemory, load_in_executor, start_pool, stop_pool

SHAPE = (6, 5, 4, 3)


def address(array):
    return array.ctypes.data


@pytest.fixture
def allocated(monkeypatch):
    """All memory that is taken from now on.

    Holding it here keeps the system from giving the same place twice, so a batch at the
    place of an earlier one can only be there because its memory was used again.
    """
    arrays = []

    def aligned_empty(*arguments):
        arrays.append(images.aligned_empty(*arguments))
        return arrays[-1]

    monkeypatch.setattr(workers, "aligned_empty", aligned_empty)
    return arrays


# ---- BatchMemory ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("count", [6, 4, 1])
def test_a_batch_has_the_shape_type_and_place_asked_for(dtype, count):
    batch = BatchMemory(SHAPE, dtype).empty(count)
    assert batch.shape == (count, *SHAPE[1:])
    assert batch.dtype == dtype
    assert address(batch) % 64 == 0
    assert batch.flags.c_contiguous and batch.flags.writeable


VIEWS = {
    "batch": lambda batch: batch,
    "slice": lambda batch: batch[1:4],
    "slice of a slice": lambda batch: batch[1:5][1:3, ::2],
    "every other": lambda batch: batch[::-2],
    "reshaped": lambda batch: batch.reshape(len(batch), -1),
    "flat": lambda batch: batch.ravel(),
    "transposed": lambda batch: batch.T,
    "picture": lambda batch: batch[2],
    "row of pixels": lambda batch: batch[3, 2],
    "one number": lambda batch: batch[5, 4, 3, 2:],
    "other type": lambda batch: batch.view("uint8"),
    "asarray": lambda batch: np.asarray(batch[1]),
    "buffer": lambda batch: np.frombuffer(batch, batch.dtype),
    "memoryview": lambda batch: memoryview(batch[1]),
    "iterator": lambda batch: list(batch)[4],
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_what_is_kept_of_a_batch_never_changes(view):
    memory = BatchMemory(SHAPE, "float32")
    batch = memory.empty(6)
    batch[...] = np.arange(batch.size).reshape(batch.shape)
    kept = view(batch)
    assert np.shares_memory(kept, batch)
    before = np.array(kept)
    del batch
    others = deque(maxlen=3)
    for number in range(300):
        others.append(memory.empty(1 + number % 6))
        others[-1][...] = -number
        assert not np.shares_memory(kept, others[-1])
    np.testing.assert_array_equal(kept, before)


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_memory_is_used_again_when_the_last_view_is_gone(allocated, view):
    memory = BatchMemory(SHAPE, "float32")
    batch = memory.empty(6)
    first = address(batch)
    kept = view(batch)
    del batch
    second = memory.empty(6)
    assert address(second) != first
    del kept
    assert address(memory.empty(6)) == first
    assert len(allocated) == 2


@pytest.mark.parametrize("held", [0, 1, 5])
def test_no_more_memory_is_taken_than_is_held(allocated, held):
    memory = BatchMemory(SHAPE, "uint8")
    batches = deque(maxlen=held)
    for number in range(200):
        batches.append(memory.empty(1 + number % 6))
    assert len(allocated) == held + 1


def test_every_batch_of_an_epoch_may_be_held():
    memory = BatchMemory(SHAPE, "float32")
    batches = []
    for number in range(200):
        batches.append(memory.empty(6))
        batches[-1][...] = number
    assert len({address(batch) for batch in batches}) == 200
    assert all((batch == number).all() for number, batch in enumerate(batches))


def test_a_batch_outlives_its_memory_object():
    memory = BatchMemory(SHAPE, "float32")
    batch = memory.empty(6)
    batch[...] = 3
    del memory
    gc.collect()
    others = [np.full(SHAPE, 9, np.float32) for _ in range(100)]
    assert (batch == 3).all()
    del others


def test_a_batch_in_a_circle_of_garbage_comes_back(allocated):
    memory = BatchMemory(SHAPE, "float32")
    circle = [memory.empty(6)]
    first = address(circle[0])
    circle.append(circle)
    assert address(memory.empty(6)) != first
    del circle
    gc.collect()
    assert first in {address(batch) for batch in [memory.empty(6), memory.empty(6)]}
    assert len(allocated) == 2


@given(st.lists(st.tuples(st.sampled_from(["lend", "view", "drop"]), st.integers(0, 99))))
@settings(max_examples=100, deadline=None)
def test_any_order_of_lending_keeping_and_dropping(steps):
    memory = BatchMemory(SHAPE, "float32")
    kept = []  # (view, what it held when it was written)
    views = list(VIEWS.values())[:10]
    for number, (step, choice) in enumerate(steps):
        if step == "lend":
            batch = memory.empty(6)
            assert not any(np.shares_memory(batch, view) for view, _ in kept)
            batch[...] = number + np.arange(batch.size).reshape(batch.shape) / batch.size
            kept.append((batch, batch.copy()))
            del batch
        elif kept and step == "view":
            whole = [pair for pair in kept if pair[0].shape == SHAPE]
            if whole:
                batch, values = whole[choice % len(whole)]
                view = views[choice % len(views)]
                kept.append((view(batch), view(values)))
                del batch
            del whole
        elif kept:
            del kept[choice % len(kept)]
        for view, values in kept:
            np.testing.assert_array_equal(view, values)


def test_threads_never_share_a_batch(allocated):
    memory = BatchMemory((4, 16, 16, 3), "int64")
    start = threading.Barrier(8)

    def lend_and_check(thread):
        kept = deque(maxlen=3)
        start.wait()
        for turn in range(200):
            batch = memory.empty(4)
            value = 1000 * thread + turn
            batch[...] = value
            kept.append((batch[turn % 4], value))
            del batch
            time.sleep(0)  # let another thread run
            assert all((picture == value).all() for picture, value in kept)

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        list(threads.map(lend_and_check, range(8)))
    assert len(allocated) <= 8 * 4


# ---- pools ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pool():
    pool = start_pool(2)
    yield pool
    stop_pool(pool)


@pytest.fixture
def filenames(tmp_path):
    rng = np.random.default_rng(0)
    names = [str(tmp_path / f"{number} 图.png") for number in range(5)]
    for name in names:
        Image.fromarray(rng.integers(0, 256, (40, 30, 3), np.uint8)).save(name)
    return names


@pytest.fixture
def broken(tmp_path):
    path = tmp_path / "broken.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    return str(path)


def mirror_and_brighten(image, rng):
    return image[:, ::-1] * rng.uniform(0.5, 1)


def sleep_long(image=None, rng=None):
    time.sleep(300)


def is_alive(pid):
    """Whether a process runs; one that has ended and was not asked for yet does not."""
    try:
        import psutil
    except ImportError:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return True
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(condition, seconds=15):
    """Whether a condition comes true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def pids_of(pool, count):
    """The processes of a pool, after each has done something."""
    pids = set()
    assert wait_until(lambda: pids.add(pool.submit(os.getpid).result(30)) or len(pids) == count)
    return pids


def test_a_process_of_the_pool_imports_little(filenames):
    pool = start_pool(1)
    try:
        load_in_executor(pool, BatchRequest(filenames, (9, 9)), 30)
        # A lambda travels by value: this file, which imports more, stays outside.
        modules = pool.submit(eval("lambda: set(__import__('sys').modules)")).result(30)
    finally:
        stop_pool(pool)
    imported = {name.partition(".")[0] for name in modules}
    assert {"helpers", "cv2", "numpy"} <= imported
    heavy = {"keras", "tensorflow", "skimage", "scipy", "matplotlib", "pandas", "PIL", "pytest"}
    assert not imported & heavy


def test_the_pool_has_as_many_processes_as_asked_for(pool):
    futures = [pool.submit(time.sleep, 0.05) for _ in range(6)]
    concurrent.futures.wait(futures, 30)
    pids = pids_of(pool, 2)
    pids.update(pool.submit(os.getpid).result(30) for _ in range(20))
    assert len(pids) == 2
    assert os.getpid() not in pids


def test_stop_pool_ends_the_processes():
    pool = start_pool(2)
    pids = pids_of(pool, 2)
    assert all(map(is_alive, pids))
    stop_pool(pool)
    assert wait_until(lambda: not any(map(is_alive, pids)))


def test_stop_pool_ends_processes_that_are_busy():
    pool = start_pool(2)
    pids = pids_of(pool, 2)
    busy = [pool.submit(time.sleep, 300) for _ in range(2)]
    assert wait_until(lambda: all(future.running() for future in busy))
    time.sleep(0.2)  # "running" is said when the task is sent; let it arrive
    start = time.monotonic()
    stop_pool(pool)
    assert time.monotonic() - start < 5
    assert wait_until(lambda: not any(map(is_alive, pids)))
    for future in busy:
        with pytest.raises(Exception, match=r"shut ?down"):
            future.result(15)


def test_stop_pool_wakes_those_who_wait_for_a_batch(filenames):
    pool = start_pool(1)
    request = BatchRequest(filenames, (9, 9), "float32", sleep_long, [(0,)] * 5)
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(load_in_executor, pool, request, None)
        time.sleep(0.3)
        assert not waiting.done()
        stop_pool(pool)
        with pytest.raises(Exception, match=r"shut ?down"):
            waiting.result(15)


def test_stop_pool_may_be_called_twice_and_before_any_work():
    pool = start_pool(2)
    stop_pool(pool)
    stop_pool(pool)


# ---- load_in_executor ----------------------------------------------------------------------------


@pytest.fixture(params=["processes", "threads"])
def executor(request):
    if request.param == "processes":
        yield request.getfixturevalue("pool")
    else:
        with concurrent.futures.ThreadPoolExecutor(2) as threads:
            yield threads


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("timeout", [30, None])
def test_an_executor_loads_the_same_bytes(executor, filenames, dtype, timeout):
    request = BatchRequest(filenames, (21, 17), dtype)
    loaded = load_in_executor(executor, request, timeout)
    expected = load_batch(request)
    assert loaded.images.dtype == dtype
    assert loaded.images.tobytes() == expected.images.tobytes()
    assert (loaded.positions, loaded.errors) == (expected.positions, [])


@pytest.mark.parametrize(
    "augment",
    [mirror_and_brighten, lambda image, rng: image + rng.normal(size=image.shape)],
    ids=["function", "lambda"],
)
def test_an_executor_augments_the_same(executor, filenames, augment):
    seeds = [(1, 2, number) for number in range(5)]
    request = BatchRequest(filenames, (21, 17), "float32", augment, seeds)
    loaded = load_in_executor(executor, request, 30)
    assert loaded.images.tobytes() == load_batch(request).images.tobytes()


def test_an_error_arrives_as_it_was_raised(executor, filenames, broken):
    with pytest.raises(ImageError) as caught:
        load_in_executor(executor, BatchRequest([*filenames, broken], (9, 9)), 30)
    assert type(caught.value) is ImageError
    assert caught.value.filename == broken
    assert caught.value.reason in str(caught.value)


def test_files_left_out_are_reported(executor, filenames, broken):
    request = BatchRequest([broken, *filenames], (9, 9), skip_errors=True)
    loaded = load_in_executor(executor, request, 30)
    assert loaded.positions == [1, 2, 3, 4, 5]
    assert [(type(e), e.filename) for e in loaded.errors] == [(ImageError, broken)]
    assert loaded.images.tobytes() == load_batch(request).images.tobytes()


def test_an_augment_that_fails_is_named(executor, filenames):
    request = BatchRequest(filenames, (9, 9), "float32", lambda image, rng: 1 / 0, [(0,)] * 5)
    with pytest.raises(RuntimeError, match="ZeroDivisionError") as caught:
        load_in_executor(executor, request, 30)
    assert filenames[0] in str(caught.value)


def test_many_threads_wait_for_their_own_batches(pool, filenames):
    requests = [BatchRequest([name], (8 + turn, 9)) for turn in range(8) for name in filenames]
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        received = list(threads.map(lambda r: load_in_executor(pool, r, 30), requests))
    for request, loaded in zip(requests, received, strict=True):
        assert loaded.images.tobytes() == load_batch(request).images.tobytes()


def test_a_worker_that_is_stuck_is_a_timeout(filenames):
    pool = start_pool(1)
    try:
        pids = pids_of(pool, 1)
        request = BatchRequest(filenames, (9, 9), "float32", sleep_long, [(0,)] * 5)
        start = time.monotonic()
        with pytest.raises(TimeoutError, match=r"after 0\.5 s; it has 5 files") as caught:
            load_in_executor(pool, request, 0.5)
        assert 0.4 < time.monotonic() - start < 5
        assert filenames[0] in str(caught.value)
        assert filenames[-1] in str(caught.value)
    finally:
        stop_pool(pool)
    assert wait_until(lambda: not any(map(is_alive, pids)))


def test_a_thread_that_is_stuck_is_a_timeout(filenames):
    go_on = threading.Event()

    def wait(image, rng):
        go_on.wait(60)
        return image

    request = BatchRequest(filenames, (9, 9), "float32", wait, [(0,)] * 5)
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        start = time.monotonic()
        try:
            with pytest.raises(TimeoutError) as caught:
                load_in_executor(threads, request, 0.2)
            assert time.monotonic() - start < 5
        finally:
            go_on.set()
    assert filenames[0] in str(caught.value)
    assert filenames[-1] in str(caught.value)


def test_a_timeout_withdraws_a_batch_that_nobody_began(filenames):
    go_on = threading.Event()
    begun = []

    def note(image, rng):
        begun.append(True)
        return image

    request = BatchRequest(filenames, (9, 9), "float32", note, [(0,)] * 5)
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        threads.submit(go_on.wait, 60)
        try:
            with pytest.raises(TimeoutError):
                load_in_executor(threads, request, 0.2)
        finally:
            go_on.set()
    assert begun == []


# No function of this script can be imported, and it has no `if __name__ == "__main__"`.
SCRIPT = """
import sys
import numpy as np
from helpers.images import BatchRequest, load_batch
from helpers.workers import load_in_executor, start_pool, stop_pool

print("the script runs")
factor = 0.5

def darken(image, rng):
    return factor * image * rng.random()

pool = start_pool(2)
for augment in (darken, lambda image, rng: darken(image[:, ::-1], rng)):
    seeds = [(0, 0, number) for number in range(len(sys.argv[1:]))]
    request = BatchRequest(sys.argv[1:], (12, 14), "float32", augment, seeds)
    loaded = load_in_executor(pool, request, 30)
    np.testing.assert_array_equal(loaded.images, load_batch(request).images)
    print("same")
stop_pool(pool)
"""


def test_a_plain_script_with_its_own_functions(tmp_path, filenames):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    command = [sys.executable, str(script), *filenames]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == ["the script runs", "same", "same"]
    assert run.stderr == ""
