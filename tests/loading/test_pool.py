import concurrent.futures
import contextlib
import ctypes
import functools
import gc
import math
import os
import pickle
import signal
import socket
import sys
import time
import warnings
from pathlib import Path

import cloudpickle
import numpy as np
import psutil
import pytest
from conftest import in_background, is_alive, wait_until

from helpers.datasets.photographs import load_photographs
from helpers.images.batches import load_batch
from helpers.images.reading import ImageError
from helpers.images.recipe import Recipe
from helpers.images.request import BatchRequest
from helpers.loading import pool as pools
from helpers.loading.pool import Pool, WorkerDiedError

pytestmark = [
    pytest.mark.skipif(
        not hasattr(socket, "send_fds"), reason="worker processes need Linux or macOS"
    ),
    pytest.mark.timeout(120),
]

SIZE = (21, 17)
SLOT_BYTES = 70 * SIZE[0] * SIZE[1] * 3 * 4
SEEDS = [(0, 0, number) for number in range(70)]


@contextlib.contextmanager
def pool_of(workers=1, slots=8, augment=None):
    pool = Pool(workers, slots, SLOT_BYTES, augment and cloudpickle.dumps((augment, None)))
    try:
        yield pool
    finally:
        pool.end()


def request_for(filenames, **options):
    recipe = Recipe(SIZE, options.pop("dtype", "float32"))
    return BatchRequest(list(filenames), recipe, seeds=SEEDS[: len(filenames)], **options)


def pid_of_worker(image, rng):
    return np.full_like(image, os.getpid())


def pids_in(loaded):
    return {int(image[0, 0, 0]) for image in loaded.images}


def assert_loads(pool, filenames, **options):
    request = request_for(filenames, **options)
    loaded, expected = pool.load(request, 60), load_batch(request)
    assert loaded.images.dtype == expected.images.dtype
    assert loaded.images.shape == expected.images.shape
    assert loaded.images.tobytes() == expected.images.tobytes()
    assert loaded.positions == expected.positions


def worker_of(pool, filenames):
    """Process id of an idle worker, of a pool whose augment is `pid_of_worker`."""
    [pid] = pids_in(pool.load(request_for(filenames), 60))
    return pid


def server_of(worker):
    return psutil.Process(worker).ppid()


def processes_below():
    return {child.pid for child in psutil.Process().children(recursive=True)}


# ---- loading -------------------------------------------------------------------------------------


@pytest.mark.parametrize("start_method", ["fork", "exec"])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_a_pool_loads_the_same_bytes(pictures, monkeypatch, start_method, dtype):
    monkeypatch.setattr(pools, "START_METHOD", start_method)
    with pool_of(2) as pool:
        for count in (5, 1, 70, 3):
            assert_loads(pool, pictures[:count], dtype=dtype)


def test_a_batch_from_a_pool_starts_on_a_64_byte_boundary(pictures):
    with pool_of(2) as pool:
        batches = [pool.load(request_for(pictures[: 1 + n]), 60).images for n in range(5)]
    assert all(images.ctypes.data % 64 == 0 and images.flags.writeable for images in batches)


def test_files_left_out_shorten_the_batch(pictures, broken_file):
    with pool_of() as pool:
        assert_loads(pool, [broken_file, *pictures[:4], broken_file], skip_errors=True)


def test_an_error_arrives_as_it_was_raised(pictures, broken_file):
    with pool_of() as pool:
        for _ in range(10):  # more than there are slots
            with pytest.raises(ImageError) as caught:
                pool.load(request_for([pictures[0], broken_file]), 60)
        assert caught.value.filename == broken_file
        assert "Traceback" in caught.value.__notes__[0]
        images = pool.load(request_for(pictures[:5]), 60).images
        assert images.ctypes.data % pools.SharedMemory(1, 1, 1).slot_bytes == 0  # in a slot


def test_augment_is_sent_once_to_each_process(pictures, monkeypatch):
    sent = []
    ask = pools.Worker.ask

    def listen(worker, messages, timeout):
        sent.append(sum(map(len, messages)))
        return ask(worker, messages, timeout)

    table = np.random.default_rng(0).random(1_000_000)

    def large(image, rng):
        return np.full_like(image, table[-1])

    monkeypatch.setattr(pools.Worker, "ask", listen)
    with pool_of(augment=large) as pool:
        for _ in range(4):
            # The function in the request stays here.
            loaded = pool.load(request_for(pictures[:5], augment=large), 60)
            assert (loaded.images == np.float32(table[-1])).all()
    assert sent[0] > 8_000_000
    assert max(sent[1:]) < 5_000


def test_sixteen_workers_work_at_once(pictures, tmp_path):
    def wait_for_the_others(image, rng):
        (tmp_path / str(os.getpid())).touch()
        end = time.monotonic() + 60
        while len(list(tmp_path.iterdir())) < 16 and time.monotonic() < end:
            time.sleep(0.01)
        return np.full_like(image, os.getpid())

    with pool_of(16, 16, wait_for_the_others) as pool:
        with concurrent.futures.ThreadPoolExecutor(16) as threads:
            loaded = list(
                threads.map(lambda name: pool.load(request_for([name]), 100), pictures[:16])
            )
        assert len(set().union(*map(pids_in, loaded))) == 16
    assert len(list(tmp_path.iterdir())) == 16


def test_a_process_is_started_when_it_is_needed_and_used_again(pictures):
    with pool_of(4, augment=pid_of_worker) as pool:
        assert len({worker_of(pool, pictures[:3]) for _ in range(10)}) == 1


def test_many_threads_get_their_own_batches(pictures):
    with pool_of(3, 2) as pool, concurrent.futures.ThreadPoolExecutor(8) as threads:
        parts = [pictures[n % 60 : n % 60 + 1 + n % 7] for n in range(80)]
        list(threads.map(lambda part: assert_loads(pool, part), parts))


# ---- memory --------------------------------------------------------------------------------------


def test_when_all_slots_are_held_batches_travel_by_value(pictures):
    with pool_of(2, slots=3) as pool:
        requests = [request_for(pictures[n : n + 5]) for n in range(12)]
        kept = [pool.load(request, 60).images for request in requests]
        for images, request in zip(kept, requests, strict=True):
            assert images.tobytes() == load_batch(request).images.tobytes()
        first = kept[0].ctypes.data
        kept.clear()
        places = {pool.load(request, 60).images.ctypes.data for request in requests}
        assert first in places and len(places) <= 3


def test_a_batch_outlives_its_pool(pictures):
    request = request_for(pictures[:5])
    with pool_of() as pool:
        loaded = pool.load(request, 60)
    del pool
    assert loaded.images.tobytes() == load_batch(request).images.tobytes()
    loaded.images[...] = 1


def no_memory(*arguments, **options):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("where", ["__init__", "take"])
def test_without_shared_memory_batches_travel_by_value_with_a_warning(pictures, monkeypatch, where):
    monkeypatch.setattr(pools.SharedMemory, where, no_memory)
    with (
        pytest.warns(UserWarning, match="No space left on device.*by value") as caught,
        pool_of(2) as pool,
    ):
        for count in (5, 1, 70):
            assert_loads(pool, pictures[:count])
    assert len(caught) == 1


# ---- dying workers -------------------------------------------------------------------------------


def segfault():
    # Says nothing on the terminal: the fault is meant.
    import faulthandler

    faulthandler.disable()
    ctypes.string_at(0)


# How a worker starts, and how its batch comes back, have nothing to do with each other.
WAYS = pytest.mark.parametrize(
    ("start_method", "by_value"),
    [("fork", False), ("exec", True)],
    ids=["fork, in memory", "exec, by value"],
)
DEATHS = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "terminate": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "exit 0": lambda: os._exit(0),
    "exit 1": lambda: os._exit(1),
    "sys.exit": lambda: sys.exit(0),
    "segfault": segfault,
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
}


def dying(flag, die):
    """An augment that calls `die` once if there is the file `flag`."""

    def augment(image, rng):
        if flag.exists():
            flag.unlink()
            die()
        return pid_of_worker(image, rng)

    return augment


@WAYS
@pytest.mark.parametrize("die", DEATHS.values(), ids=DEATHS)
def test_a_worker_that_dies_is_an_error_and_the_next_batch_is_made(
    pictures, tmp_path, monkeypatch, start_method, die, by_value
):
    monkeypatch.setattr(pools, "START_METHOD", start_method)
    stops = die is DEATHS["stop"]
    flag = tmp_path / "die"
    with pool_of(1, slots=1, augment=dying(flag, die)) as pool:
        held = pool.load(request_for(pictures[:3]), 60) if by_value else None
        first = worker_of(pool, pictures[:3])
        assert worker_of(pool, pictures[:3]) == first
        flag.touch()
        with pytest.raises(TimeoutError if stops else WorkerDiedError):
            pool.load(request_for(pictures[:5]), 3 if stops else 60)
        assert wait_until(lambda: not is_alive(first))
        assert not flag.exists()
        second = worker_of(pool, pictures[:3])
        assert second not in (first, os.getpid())
        assert worker_of(pool, pictures[:3]) == second
        assert held is None or pids_in(held) == {first}


def test_a_worker_that_was_killed_while_idle_is_an_error_and_replaced(pictures):
    with pool_of(augment=pid_of_worker) as pool:
        first = worker_of(pool, pictures[:3])
        os.kill(first, signal.SIGKILL)
        assert wait_until(lambda: not is_alive(first))
        with pytest.raises(WorkerDiedError, match=str(first)):
            pool.load(request_for(pictures[:5]), 60)
        assert worker_of(pool, pictures[:3]) != first


def test_the_slot_of_a_worker_that_died_is_used_again(pictures, tmp_path):
    flag = tmp_path / "die"
    with pool_of(1, slots=1, augment=dying(flag, DEATHS["kill"])) as pool:
        place = pool.load(request_for(pictures[:3]), 60).images.ctypes.data
        for _ in range(3):
            flag.touch()
            with pytest.raises(WorkerDiedError):
                pool.load(request_for(pictures[:3]), 60)
        assert pool.load(request_for(pictures[:3]), 60).images.ctypes.data == place


def test_a_large_request_to_a_stopped_worker_is_a_timeout(pictures):
    with pool_of(augment=pid_of_worker) as pool:
        first = worker_of(pool, pictures[:3])
        os.kill(first, signal.SIGSTOP)
        start = time.monotonic()
        with pytest.raises(TimeoutError):
            pool.load(request_for(pictures[:5], name="x" * 10_000_000), 1)
        assert time.monotonic() - start < 30
        assert wait_until(lambda: not is_alive(first))
        assert worker_of(pool, pictures[:3]) != first


def test_a_worker_stopped_in_the_middle_of_a_large_reply_is_a_timeout(pictures, monkeypatch):
    with pool_of(slots=1, augment=pid_of_worker) as pool:
        held = pool.load(request_for(pictures[:3]), 60)  # so that the others come by value
        [first] = pids_in(held)
        load = pickle.load

        def stop_and_load(replies):
            replies.peek(1)  # the reply has begun
            os.kill(first, signal.SIGSTOP)
            return load(replies)

        with monkeypatch.context() as patch:
            patch.setattr(pickle, "load", stop_and_load)
            with pytest.raises(TimeoutError):
                pool.load(BatchRequest(pictures, Recipe((400, 400)), seeds=SEEDS), 3)
        assert wait_until(lambda: not is_alive(first))
        assert worker_of(pool, pictures) not in pids_in(held)


def test_when_no_worker_is_free_in_time_it_is_a_timeout(pictures, tmp_path):
    def wait(image, rng):
        while not (tmp_path / "go").exists():
            time.sleep(0.01)
        return image

    with pool_of(1, augment=wait) as pool, concurrent.futures.ThreadPoolExecutor(1) as thread:
        first = thread.submit(pool.load, request_for(pictures[:5]), 60)
        assert wait_until(lambda: first.running())
        time.sleep(0.3)
        with pytest.raises(TimeoutError, match="No worker process was free"):
            pool.load(request_for(pictures[:5]), 0.2)
        (tmp_path / "go").touch()
        assert len(first.result(60).images) == 5


def sticking_at(position, flag):
    """An augment that stops its process at a file of the batch, once, if there is `flag`."""

    def augment(image, rng):
        if flag.exists() and rng.random() == np.random.default_rng(SEEDS[position]).random():
            flag.unlink()
            os.kill(os.getpid(), signal.SIGSTOP)
        return image

    return augment


@WAYS
def test_a_timeout_names_the_file_that_its_worker_was_at(
    pictures, tmp_path, monkeypatch, start_method, by_value
):
    monkeypatch.setattr(pools, "START_METHOD", start_method)
    flag = tmp_path / "stick"
    with pool_of(2, slots=1, augment=sticking_at(3, flag)) as pool:
        held = pool.load(request_for(pictures[:3]), 60) if by_value else None
        for names in (pictures[:6], pictures[9:15]):
            flag.touch()
            with pytest.raises(TimeoutError) as caught:
                pool.load(request_for(names), 3)
            size = f"{Path(names[3]).stat().st_size:,} bytes"
            assert str(caught.value) == f"The worker was at {names[3]} ({size})."
            assert_loads(pool, pictures[:5])
        del held


def test_a_timeout_names_a_file_that_does_not_come(pictures, tmp_path):
    os.mkfifo(tmp_path / "slow.jpg")  # to open it for reading is to wait for somebody who writes
    with pool_of() as pool:
        pool.load(request_for(pictures[:5]), 60)
        with pytest.raises(TimeoutError, match=r"The worker was at slow.jpg \(0 bytes\)"):
            pool.load(request_for([*pictures[:5], "slow.jpg"], folder=str(tmp_path)), 2)


def test_a_timeout_of_a_worker_that_had_not_begun_names_no_file(pictures):
    with pool_of(augment=pid_of_worker) as pool:
        first = worker_of(pool, pictures[:3])
        os.kill(first, signal.SIGSTOP)
        with pytest.raises(TimeoutError, match="had not come to its first file") as caught:
            pool.load(request_for(pictures[:5]), 1)
    assert not any(name in str(caught.value) for name in pictures)


def test_without_shared_memory_a_timeout_names_no_file(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(pools.SharedMemory, "__init__", no_memory)
    flag = tmp_path / "stick"
    with pytest.warns(UserWarning), pool_of(augment=sticking_at(3, flag)) as pool:
        pool.load(request_for(pictures[:5]), 60)
        flag.touch()
        with pytest.raises(TimeoutError) as caught:
            pool.load(request_for(pictures[:5]), 2)
    assert str(caught.value) == ""


def test_a_worker_sees_no_gpu(pictures, monkeypatch):
    def look(image, rng):
        raise RuntimeError(repr([os.environ.get(name) for name in names]))

    names = ["CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "JAX_PLATFORMS"]
    monkeypatch.setenv(names[0], "3")
    with pool_of(augment=look) as pool, pytest.raises(RuntimeError, match="'-1', '-1', 'cpu'"):
        pool.load(request_for(pictures[:1]), 60)
    assert os.environ[names[0]] == "3" and names[1] not in os.environ


def test_a_reply_that_was_not_taken_never_meets_the_next_request(pictures, monkeypatch):
    requests = [request_for(pictures[:5]), request_for(pictures[5:10])]
    load = pickle.load
    interrupted = []

    def interrupt_once(replies):
        if not interrupted:
            replies.peek(1)  # the reply is there
            interrupted.append(True)
            raise KeyboardInterrupt
        return load(replies)

    with pool_of(slots=2, augment=None) as pool:
        pool.load(requests[0], 60)
        monkeypatch.setattr(pickle, "load", interrupt_once)
        with pytest.raises(KeyboardInterrupt):
            pool.load(requests[0], 60)
        for request in requests * 3:
            loaded = pool.load(request, 60)
            assert loaded.images.tobytes() == load_batch(request).images.tobytes()


# ---- the server ----------------------------------------------------------------------------------


def test_workers_outlive_their_server_and_new_ones_get_a_new_server(pictures, tmp_path):
    flag = tmp_path / "die"
    with pool_of(1, augment=dying(flag, DEATHS["kill"])) as pool:
        first = worker_of(pool, pictures[:3])
        server = server_of(first)
        os.kill(server, signal.SIGKILL)
        assert wait_until(lambda: not is_alive(server))
        assert worker_of(pool, pictures[:3]) == first
        flag.touch()
        with pytest.raises(WorkerDiedError):
            pool.load(request_for(pictures[:3]), 60)
        second = worker_of(pool, pictures[:3])
        assert server_of(second) not in (server, os.getpid())
    assert wait_until(lambda: not is_alive(second))


def test_workers_of_a_server_that_was_killed_end_with_the_pool(pictures):
    with pool_of(augment=pid_of_worker) as pool:
        worker = worker_of(pool, pictures[:3])
        os.kill(server_of(worker), signal.SIGKILL)
        os.kill(worker, signal.SIGSTOP)
    assert wait_until(lambda: not is_alive(worker))


def test_a_server_that_is_stopped_is_replaced(pictures, monkeypatch):
    monkeypatch.setattr(pools, "START_SECONDS", 5)
    with pool_of(augment=pid_of_worker) as pool:
        first = worker_of(pool, pictures[:3])
        server = server_of(first)
        os.kill(server, signal.SIGSTOP)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(WorkerDiedError):
            pool.load(request_for(pictures[:3]), 60)
        second = worker_of(pool, pictures[:3])
        assert server_of(second) != server
    assert wait_until(lambda: not any(map(is_alive, [server, first, second])))


@pytest.mark.parametrize("program", ["raise SystemExit(1)", "import time; time.sleep(300)"])
def test_a_server_that_cannot_start_is_an_error_and_no_hang(
    pictures, tmp_path, monkeypatch, program
):
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{program}'\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setattr(pools, "START_SECONDS", 1)
    before = processes_below()
    with pool_of() as pool:
        for _ in range(2):
            with pytest.raises(WorkerDiedError, match="process that starts workers"):
                pool.load(request_for(pictures[:3]), 60)
    assert wait_until(lambda: processes_below() <= before)


# ---- the end -------------------------------------------------------------------------------------


def test_end_leaves_no_process_and_no_descriptor(pictures):
    gc.collect()  # what earlier tests left, or it would be closed in the middle of this one
    me = psutil.Process()
    before, descriptors = processes_below(), me.num_fds()
    pool = Pool(3, 3, SLOT_BYTES, cloudpickle.dumps((pid_of_worker, None)))
    load = functools.partial(pool.load, request_for(pictures[:3]))
    with concurrent.futures.ThreadPoolExecutor(3) as threads:
        list(threads.map(load, [60] * 30))
    started = processes_below() - before
    assert len(started) >= 2
    assert me.num_fds() > descriptors
    os.kill(max(started), signal.SIGSTOP)
    start = time.monotonic()
    pool.end()
    assert time.monotonic() - start < 10
    assert wait_until(lambda: not any(map(is_alive, started)))
    pool.end()
    del pool, load
    assert me.num_fds() == descriptors


def test_a_pool_that_has_ended_says_so(pictures):
    pool = Pool(2, 2, SLOT_BYTES)
    pool.load(request_for(pictures[:3]), 60)
    pool.end()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            with pytest.raises(WorkerDiedError, match="ended"):
                pool.load(request_for(pictures[:3]), 5)


def test_workers_that_died_leave_no_descriptor(pictures):
    def die(image, rng):
        os._exit(1)

    me = psutil.Process()
    with pool_of(augment=die) as pool:
        counts = []
        for _ in range(5):
            with pytest.raises(WorkerDiedError):
                pool.load(request_for(pictures[:3]), 60)
            counts.append(me.num_fds())
    assert len(set(counts)) == 1


def test_end_of_a_pool_that_never_worked():
    before = processes_below()
    pool = Pool(2, 2, SLOT_BYTES)
    pool.end()
    pool.end()
    assert processes_below() <= before


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("timeout", [60, None])
def test_end_wakes_those_who_wait(pictures, tmp_path, workers, timeout):
    def work_long(image, rng):
        (tmp_path / str(os.getpid())).touch()
        time.sleep(300)

    pool = Pool(workers, 8, SLOT_BYTES, cloudpickle.dumps((work_long, None)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        waiting = [in_background(pool.load, request_for(pictures[:3]), timeout) for _ in range(8)]
        assert wait_until(lambda: len(list(tmp_path.iterdir())) == workers)
        pool.end()
        for future in waiting:
            assert isinstance(future.exception(30), WorkerDiedError)
    assert not caught


def test_end_wakes_who_waits_for_a_worker_to_start(pictures, monkeypatch, tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 300\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    pool = Pool(1, 1, SLOT_BYTES)
    waiting = in_background(pool.load, request_for(pictures[:3]), None)
    time.sleep(0.3)
    assert not waiting.done()
    start = time.monotonic()
    pool.end()
    assert isinstance(waiting.exception(30), WorkerDiedError)
    assert time.monotonic() - start < 20


@contextlib.contextmanager
def no_free_descriptors():
    """Let this process have as many open files as it has now, and no more."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    copies = [os.dup(0)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (copies[0] + 20, limits[1]))
    try:
        with contextlib.suppress(OSError):
            while True:
                copies.append(os.dup(0))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for copy in copies:
            os.close(copy)


def test_a_program_without_free_descriptors_gets_an_error_that_says_so(pictures):
    with pool_of(2, augment=pid_of_worker) as pool:
        first = worker_of(pool, pictures[:3])
        os.kill(first, signal.SIGKILL)
        with pytest.raises(WorkerDiedError):
            pool.load(request_for(pictures[:3]), 60)
        with no_free_descriptors(), pytest.raises((OSError, WorkerDiedError)):
            pool.load(request_for(pictures[:3]), 60)
        assert worker_of(pool, pictures[:3]) != first


# ---- large pictures ------------------------------------------------------------------------------

MEGAPIXELS_16 = (3456, 4608)


def status_of(pid):
    """Peak of a process's memory, in bytes, and how often it waited for a new page."""
    status = Path(f"/proc/{pid}/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(peak.split()[1]) * 1024, int(fields[7])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_worker_takes_little_more_than_a_large_picture_and_uses_it_again(pictures, tmp_path):
    (name,) = load_photographs(MEGAPIXELS_16, 1, tmp_path).filenames
    decoded = math.prod(MEGAPIXELS_16) * 3
    request = BatchRequest([name] * 3, Recipe((224, 224)))
    pool = Pool(1, 2, 3 * 224 * 224 * 3 * 4)
    try:
        pool.load(request._replace(filenames=pictures[:3]), 60)
        (_, worker) = pool._idle.queue[0]
        before, _ = status_of(worker.pid)
        pool.load(request, 60)
        after, faults = status_of(worker.pid)
        assert after - before < decoded + 64e6
        pool.load(request, 60)
        _, more = status_of(worker.pid)
        assert (more - faults) * os.sysconf("SC_PAGE_SIZE") < decoded / 2
    finally:
        pool.end()
