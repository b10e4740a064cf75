import concurrent.futures
import contextlib
import multiprocessing
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import psutil
import pytest
from conftest import REPOSITORY, in_background, is_alive, wait_until
from PIL import Image

from helpers.images.arrays import batch_bytes
from helpers.images.batches import load_batch
from helpers.images.reading import ImageError
from helpers.images.recipe import Recipe
from helpers.images.request import BatchRequest
from helpers.loading import loaders
from helpers.loading.loaders import ExecutorLoader, Loader, ProcessLoader
from helpers.loading.memory import BatchMemory
from helpers.loading.pool import Worker

pytestmark = pytest.mark.timeout(200)
needs_processes = pytest.mark.skipif(
    not hasattr(socket, "send_fds"), reason="worker processes need Linux or macOS"
)

SIZE = (21, 17)
SEEDS = [(1, 2, number) for number in range(5)]


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


def memory_for(dtype="float32", count=6):
    return BatchMemory(batch_bytes([((*SIZE, 3), dtype)], count))


@contextlib.contextmanager
def process_loader(augment=None, workers=1, slots=4, timeout=60, memory=None):
    loader = ProcessLoader(memory or memory_for(), workers, slots, timeout, (augment, None))
    try:
        yield loader
    finally:
        loader.close()


def request_for(filenames, dtype="float32", **options):
    return BatchRequest(filenames, Recipe(SIZE, dtype), seeds=SEEDS[: len(filenames)], **options)


def pid_of_worker(image, rng):
    return np.full_like(image, os.getpid())


def pid_from(loader, filenames):
    """Who made a batch, by a loader whose augment is `pid_of_worker`."""
    return int(loader.load(request_for(filenames, augment=pid_of_worker)).images[0, 0, 0, 0])


def mirror_and_brighten(image, rng):
    return image[:, ::-1] * rng.uniform(0.5, 1)


# ---- every loader --------------------------------------------------------------------------------


@contextlib.contextmanager
def executor_loader(kind, augment, memory):
    if kind == "threads":
        executor = concurrent.futures.ThreadPoolExecutor(2)
    else:
        context = multiprocessing.get_context(kind)
        executor = concurrent.futures.ProcessPoolExecutor(2, mp_context=context)
    with executor, contextlib.closing(ExecutorLoader(memory, executor, 60)) as loader:
        yield loader


def make_loader(kind, augment=None, memory=None):
    """A loader of some kind, as a context."""
    memory = memory or memory_for()
    if kind == "alone":
        return contextlib.closing(Loader(memory))
    if kind == "processes":
        return process_loader(augment, workers=2, memory=memory)
    return executor_loader(kind, augment, memory)


KINDS = [
    "alone",
    "threads",
    pytest.param("processes", marks=needs_processes),
    pytest.param("forkserver", marks=[pytest.mark.slow, needs_processes]),
    pytest.param("spawn", marks=pytest.mark.slow),
]
every_loader = pytest.mark.parametrize("kind", KINDS)


@every_loader
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_every_loader_loads_the_same_bytes(filenames, kind, dtype):
    with make_loader(kind, memory=memory_for(dtype)) as loader:
        for count in (5, 1, 3):
            request = request_for(filenames[:count], dtype=dtype)
            loaded, expected = loader.load(request), load_batch(request)
            assert loaded.images.dtype == dtype
            assert loaded.images.shape == expected.images.shape
            assert loaded.images.tobytes() == expected.images.tobytes()
            assert loaded.images.ctypes.data % 64 == 0
            assert (loaded.positions, loaded.errors) == (expected.positions, [])


@every_loader
def test_every_loader_augments_the_same(filenames, kind):
    request = request_for(filenames, augment=mirror_and_brighten)
    with make_loader(kind, mirror_and_brighten) as loader:
        loaded = loader.load(request)
    assert loaded.images.tobytes() == load_batch(request).images.tobytes()


def old_noise(image, rng):
    """Augment as was done before there was an `rng`."""
    noise = np.random.uniform(size=image.shape)  # noqa: NPY002
    return noise * random.random()


@every_loader
def test_every_loader_augments_the_same_with_old_generators(filenames, kind):
    request = request_for(filenames, augment=old_noise)
    expected = [
        load_batch(request_for([name], augment=old_noise)._replace(seeds=[seed])).images[0]
        for name, seed in zip(filenames, SEEDS, strict=True)
    ]
    with (
        make_loader(kind, old_noise) as loader,
        concurrent.futures.ThreadPoolExecutor(4) as threads,
    ):
        for loaded in threads.map(loader.load, [request] * 12):
            np.testing.assert_array_equal(loaded.images, expected)


@every_loader
def test_a_doubtful_file_is_named_by_every_loader(filenames, tmp_path, kind):
    dark = str(tmp_path / "dark.png")
    Image.fromarray(np.full((9, 9), 200, np.uint16)).save(dark)
    with make_loader(kind) as loader:
        assert loader.load(request_for(filenames)).suspects == ()
        [(name, doubt)] = loader.load(request_for([*filenames[:2], dark])).suspects
    assert name == dark and "nearly black" in doubt


@every_loader
def test_an_error_arrives_as_it_was_raised(filenames, broken, kind):
    with make_loader(kind) as loader:
        with pytest.raises(ImageError) as caught:
            loader.load(request_for([*filenames[:4], broken]))
        assert type(caught.value) is ImageError
        assert caught.value.filename == broken
        assert caught.value.reason in str(caught.value)
        assert len(loader.load(request_for(filenames)).images) == 5


@every_loader
def test_files_left_out_are_reported(filenames, broken, kind):
    request = BatchRequest([broken, *filenames], Recipe(SIZE), skip_errors=True)
    with make_loader(kind) as loader:
        loaded = loader.load(request)
    assert loaded.positions == [1, 2, 3, 4, 5]
    assert [(type(error), error.filename) for error in loaded.errors] == [(ImageError, broken)]
    assert loaded.images.tobytes() == load_batch(request).images.tobytes()


def divide_by_zero(image, rng):
    return image * (1 // len(()))


@every_loader
def test_an_augment_that_fails_is_named(filenames, kind):
    request = request_for(filenames, augment=divide_by_zero)
    with (
        make_loader(kind, divide_by_zero) as loader,
        pytest.raises(RuntimeError, match="ZeroDivisionError") as caught,
    ):
        loader.load(request)
    assert filenames[0] in str(caught.value)


@every_loader
def test_many_threads_wait_for_their_own_batches(filenames, kind):
    requests = [request_for(filenames[n % 5 : n % 5 + 2]) for n in range(60)]
    with make_loader(kind) as loader, concurrent.futures.ThreadPoolExecutor(8) as threads:
        received = list(threads.map(loader.load, requests))
    for request, loaded in zip(requests, received, strict=True):
        assert loaded.images.tobytes() == load_batch(request).images.tobytes()


@every_loader
def test_a_loader_may_be_closed_twice_and_before_any_work(kind):
    with make_loader(kind) as loader:
        loader.close()
        loader.close()


@every_loader
def test_batches_that_are_kept_never_change(filenames, kind):
    kept = []
    with make_loader(kind) as loader:
        for number in range(40):
            request = request_for(filenames[number % 5 :][:2])
            images = loader.load(request).images
            kept.append((images[-1], load_batch(request).images[-1]))
            del images, kept[number % 3 : number % 3 + (len(kept) > 20)]
    assert len(kept) >= 20
    assert all(np.array_equal(now, then) for now, then in kept)


@needs_processes
def test_batches_that_find_no_slot_start_on_64_byte_boundaries_too(filenames):
    with process_loader(slots=1) as loader:
        kept = [loader.load(request_for(filenames)).images for _ in range(10)]
    assert all(images.ctypes.data % 64 == 0 for images in kept)


# ---- executors -----------------------------------------------------------------------------------


def test_a_thread_that_is_stuck_is_a_timeout(filenames):
    go_on = threading.Event()

    def wait(image, rng):
        go_on.wait(60)
        return image

    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        loader = ExecutorLoader(memory_for(), threads, 0.2)
        start = time.monotonic()
        try:
            with pytest.raises(
                TimeoutError, match=r"within 0\.2 s of batch 3 of 5 files"
            ) as caught:
                loader.load(request_for(filenames, augment=wait, name="batch 3"))
            assert time.monotonic() - start < 30
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

    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        threads.submit(go_on.wait, 60)
        try:
            with pytest.raises(TimeoutError):
                ExecutorLoader(memory_for(), threads, 0.2).load(
                    request_for(filenames, augment=note)
                )
        finally:
            go_on.set()
    assert begun == []


def exit_at_once(image, rng):
    os._exit(1)


def test_a_batch_that_kills_its_executor_is_named_with_its_files(filenames):
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as processes:
        loader = ExecutorLoader(memory_for(), processes, 60)
        with pytest.raises(RuntimeError, match="did not make batch 3 of 5 files") as caught:
            loader.load(request_for(filenames, augment=exit_at_once, name="batch 3"))
    assert isinstance(caught.value.__cause__, concurrent.futures.BrokenExecutor)
    for part in (filenames[0], filenames[-1], "BrokenProcessPool", "memory", "augment"):
        assert part in str(caught.value)


def test_a_batch_that_an_executor_withdraws_is_named(filenames):
    class Withdrawing(concurrent.futures.Executor):
        """As a cluster's does when its scheduler is gone."""

        def submit(self, function, *arguments):
            future = concurrent.futures.Future()
            future.cancel()
            future.set_running_or_notify_cancel()
            return future

    with pytest.raises(RuntimeError, match="did not make batch 3 of 5 files") as caught:
        ExecutorLoader(memory_for(), Withdrawing(), 60).load(request_for(filenames, name="batch 3"))
    assert "CancelledError" in str(caught.value) and "scheduler" in str(caught.value)


def test_an_executor_that_was_shut_down_says_so(filenames):
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        pass
    message = "did not make a batch of 5 files.*cannot schedule new futures after shutdown"
    with pytest.raises(RuntimeError, match=message):
        ExecutorLoader(memory_for(), threads, 60).load(request_for(filenames))


def test_no_two_calls_of_an_executor_are_equal(filenames):
    """Dask would take the second for the first, with its error or what was then in the files."""
    calls = []

    class Listening(concurrent.futures.ThreadPoolExecutor):
        def submit(self, *call):
            calls.append(call)
            return super().submit(*call)

    for _ in range(2):  # of the same generator, or of another
        with Listening(1) as executor:
            loader = ExecutorLoader(memory_for(), executor, 60)
            for _ in range(2):
                loader.load(request_for(filenames))
    assert len({call[2] for call in calls}) == 4


def test_closing_a_loader_leaves_the_executor_alone(filenames):
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        loader = ExecutorLoader(memory_for(), threads, None)
        loader.load(request_for(filenames))
        loader.close()
        assert threads.submit(sum, [1, 2]).result(30) == 3


# ---- processes that die --------------------------------------------------------------------------


def dying(folder):
    """An augment that ends its process for each file in `folder`, which it takes away."""

    def augment(image, rng):
        for flag in folder.iterdir():
            flag.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return image * rng.random(dtype=np.float32)

    return augment


@pytest.fixture
def flags(tmp_path):
    folder = tmp_path / "flags"
    folder.mkdir()
    return folder


@needs_processes
@pytest.mark.parametrize("deaths", [1, 2])
def test_a_batch_whose_process_dies_is_made_again(filenames, flags, deaths):
    request = request_for(filenames, augment=dying(flags))
    expected = load_batch(request).images.tobytes()
    with process_loader(dying(flags)) as loader, pytest.warns(UserWarning) as caught:
        assert loader.load(request).images.tobytes() == expected
        for _ in range(3):
            for number in range(deaths):
                (flags / str(number)).touch()
            assert loader.load(request).images.tobytes() == expected
            assert list(flags.iterdir()) == []
    [warning] = caught  # one, whatever happens
    assert "died" in str(warning.message) and "nothing is lost" in str(warning.message)


@needs_processes
def test_three_deaths_are_an_error_that_names_batch_files_and_cause(filenames, flags):
    request = request_for(filenames, augment=dying(flags), name="batch 7 of epoch 8")
    for number in range(4):
        (flags / str(number)).touch()
    with process_loader(dying(flags)) as loader, pytest.warns(UserWarning, match="died"):
        with pytest.raises(RuntimeError, match="batch 7 of epoch 8 of 5 files") as caught:
            loader.load(request)
        assert len(list(flags.iterdir())) == 1  # three tries, and no more
        next(flags.iterdir()).unlink()
        assert len(loader.load(request).images) == 5  # and the next batch is made
    text = str(caught.value)
    assert filenames[0] in text and filenames[-1] in text
    assert "memory" in text and "augment" in text


@needs_processes
def test_processes_killed_from_outside_cost_nothing(filenames):
    requests = [request_for(filenames[n % 5 :][:2]) for n in range(150)]
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    stop = threading.Event()

    def kill_now_and_then():
        while not stop.wait(0.25):
            for child in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    if child.pid not in before and child.ppid() != os.getpid():
                        child.kill()
                        break

    def slowly(image, rng):
        time.sleep(0.005)
        return image

    killer = threading.Thread(target=kill_now_and_then, daemon=True)
    with (
        process_loader(slowly, workers=4) as loader,
        warnings.catch_warnings(record=True) as caught,
        concurrent.futures.ThreadPoolExecutor(4) as threads,
    ):
        warnings.simplefilter("always")
        killer.start()
        received = list(threads.map(loader.load, requests))
        stop.set()
        killer.join()
    for request, loaded in zip(requests, received, strict=True):
        assert loaded.images.tobytes() == load_batch(request).images.tobytes()
    assert len(caught) == 1


# ---- processes that hang -------------------------------------------------------------------------


@needs_processes
def test_a_worker_that_is_stuck_is_a_timeout(filenames, flags):
    def stick(image, rng):
        if (flags / "stick").exists():
            os.kill(os.getpid(), signal.SIGSTOP)
        return pid_of_worker(image, rng)

    with process_loader(stick, timeout=3) as loader:
        first = pid_from(loader, filenames)
        (flags / "stick").touch()
        with pytest.raises(TimeoutError, match="within 3 s of batch 3 of epoch 4") as caught:
            loader.load(request_for(filenames, augment=stick, name="batch 3 of epoch 4"))
        assert filenames[0] in str(caught.value)
        assert filenames[-1] in str(caught.value)
        assert wait_until(lambda: not is_alive(first))
        (flags / "stick").unlink()
        assert pid_from(loader, filenames) not in (first, os.getpid())


@needs_processes
def test_a_timeout_names_the_file_at_work(filenames):
    def stick(image, rng):
        if rng.random() == np.random.default_rng(SEEDS[2]).random():
            time.sleep(300)
        return image

    with process_loader(stick, timeout=3) as loader, pytest.raises(TimeoutError) as caught:
        loader.load(request_for(filenames, augment=stick, name="batch 3 of epoch 0"))
    size = Path(filenames[2]).stat().st_size
    assert str(caught.value) == (
        f"nothing came within 3 s of batch 3 of epoch 0 of 5 files, from {filenames[0]} to "
        f"{filenames[4]}. The worker was at {filenames[2]} ({size:,} "
        f"bytes). Is the disk slow, or the image very large, or a worker stuck? Raise timeout= "
        f"if batches may take so long."
    )


@needs_processes
def test_a_timeout_says_if_no_worker_was_free(filenames, flags):
    def stick(image, rng):
        (flags / "stuck").touch()
        time.sleep(300)

    with process_loader(stick, timeout=5) as loader:
        first = in_background(loader.load, request_for(filenames, augment=stick))
        assert wait_until((flags / "stuck").exists)
        loader.timeout = 0.2
        with pytest.raises(TimeoutError, match=r"5 files.* No worker process was free. Is the"):
            loader.load(request_for(filenames, augment=stick))
        assert isinstance(first.exception(60), TimeoutError)


def test_a_name_that_is_no_text_can_be_printed(filenames):
    text = loaders.describe(request_for([os.fsdecode(b"caf\xe9.png"), filenames[0]]))
    assert rb"from caf\udce9.png to" in text.encode()


# ---- what augment imports ------------------------------------------------------------------------


@pytest.fixture
def fake_libraries(tmp_path, monkeypatch):
    """For workers a `torch`, and a `keras` that imports it, both in no time."""
    (tmp_path / "torch.py").write_text("")
    (tmp_path / "keras.py").write_text("import torch")
    monkeypatch.syspath_prepend(tmp_path)


@needs_processes
@pytest.mark.usefixtures("fake_libraries")
def test_a_heavy_library_in_workers_is_warned_about_once(filenames):
    def augment(image, rng):
        import keras  # noqa: F401

        return image

    expected = load_batch(request_for(filenames)).images.tobytes()
    with process_loader(augment, workers=2) as loader, pytest.warns(UserWarning) as caught:
        for _ in range(3):
            request = request_for(filenames, augment=augment)
            assert loader.load(request).images.tobytes() == expected
            loader.rest()  # the next workers are new ones
    [warning] = caught
    for part in ("augment or read imports torch in each worker", "no GPU", "Rescaling", "numpy"):
        assert part in str(warning.message)


@needs_processes
def test_no_library_is_warned_about_that_is_not_there(filenames):
    request = request_for(filenames, augment=mirror_and_brighten)
    with warnings.catch_warnings(), process_loader(mirror_and_brighten) as loader:
        warnings.simplefilter("error")
        assert loader.load(request).heavy_library is None


# ---- what is sent --------------------------------------------------------------------------------


@needs_processes
@pytest.mark.parametrize("nested", [False, True])
def test_a_function_that_cannot_be_sent_is_named_at_once(nested):
    lock = threading.Lock()

    def uses_a_lock(image, rng):
        with lock:
            return image

    augment = (lambda image, rng: uses_a_lock(image, rng)) if nested else uses_a_lock
    with pytest.raises(TypeError, match="cannot be sent to worker processes") as caught:
        ProcessLoader(memory_for(), 1, 4, 60, (augment, None))
    assert augment.__qualname__ in str(caught.value)
    assert "lock" in str(caught.value)


@needs_processes
def test_a_large_function_is_sent_once_to_each_process(filenames, monkeypatch):
    table = np.random.default_rng(0).random(1_000_000)
    sent = []
    ask = Worker.ask

    def listen(worker, messages, timeout):
        sent.append(sum(map(len, messages)))
        return ask(worker, messages, timeout)

    def large(image, rng):
        return np.full_like(image, table[-1])

    monkeypatch.setattr(Worker, "ask", listen)
    with (
        process_loader(large, workers=2) as loader,
        concurrent.futures.ThreadPoolExecutor(2) as threads,
    ):
        list(threads.map(loader.load, [request_for(filenames, augment=large)] * 20))
    assert 1 <= sum(size > 1_000_000 for size in sent) <= 2
    assert sorted(sent)[-3] < 5_000


# ---- rest ----------------------------------------------------------------------------------------


@needs_processes
def test_a_rest_gives_back_processes_and_memory(filenames):
    me = psutil.Process()
    with process_loader(pid_of_worker, workers=2) as loader:
        descriptors = me.num_fds()
        pids = set()
        for _ in range(2):
            pids.add(pid_from(loader, filenames))
            assert me.num_fds() > descriptors
            loader.rest()
            assert wait_until(lambda: not any(map(is_alive, pids)))
            assert wait_until(lambda: me.num_fds() == descriptors)
        assert len(pids) == 2 and os.getpid() not in pids


# ---- the end -------------------------------------------------------------------------------------


@needs_processes
@pytest.mark.parametrize("timeout", [60, None])
def test_close_during_work_is_an_error_and_no_hang(filenames, flags, timeout):
    def work_long(image, rng):
        (flags / str(os.getpid())).touch()
        time.sleep(300)

    with (
        process_loader(work_long, workers=2, timeout=timeout) as loader,
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        waiting = [in_background(loader.load, request_for(filenames)) for _ in range(6)]
        assert wait_until(lambda: len(list(flags.iterdir())) == 2)
        start = time.monotonic()
        loader.close()
        assert time.monotonic() - start < 20
        for future in waiting:
            with pytest.raises(RuntimeError, match="closed before its batch was made"):
                future.result(30)
    assert not caught
    pids = [int(flag.name) for flag in flags.iterdir()]
    assert wait_until(lambda: not any(map(is_alive, pids)))


@needs_processes
def test_a_loader_that_was_closed_says_so(filenames):
    with process_loader() as loader:
        loader.load(request_for(filenames))
        loader.close()
        with pytest.raises(RuntimeError, match="closed"):
            loader.load(request_for(filenames))


def run_script(code, *arguments, folder=REPOSITORY):
    """What a script prints; all that it has to say comes in one minute."""
    script = folder / "script.py"
    script.write_text(code, encoding="utf-8")
    # Python 3.12 and later warn of a fork beside threads, which some of these scripts try.
    quiet = "-Wignore:This process:DeprecationWarning"
    command = [sys.executable, quiet, str(script), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()


FORKED = """
import os, sys
import numpy as np
from helpers.loading import loaders as workers
from helpers.images.recipe import Recipe
from helpers.images.request import BatchRequest
from helpers.loading.memory import BatchMemory

filenames = sys.argv[1:]

def pid(image, rng):
    return np.full_like(image, os.getpid())

def pid_of_worker():
    request = BatchRequest(filenames, Recipe((9, 9)), pid, [(0,)] * len(filenames))
    return int(loader.load(request).images[0, 0, 0, 0])

loader = workers.ProcessLoader(BatchMemory(9 * 9 * 9 * 3 * 4 + 64), 1, 4, 30, (pid, None))
first = pid_of_worker()
assert first != os.getpid()
child = os.fork()
if not child:
    assert pid_of_worker() == os.getpid()
    loader.rest()
    loader.close()
    sys.exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
print(pid_of_worker() == first)
loader.close()
"""


@needs_processes
def test_a_fork_of_the_program_makes_its_own_batches_and_ends_nothing(filenames, tmp_path):
    assert run_script(FORKED, *filenames, folder=tmp_path) == ["True"]


# Another thread is about to start the processes when the program is forked.
FORKED_EARLY = """
import os, signal, sys, threading, time
from helpers.loading import loaders as workers
from helpers.images.recipe import Recipe
from helpers.images.request import BatchRequest
from helpers.loading.memory import BatchMemory

new_pool, begun = workers.Pool, threading.Event()

def slowly(*arguments):
    begun.set()
    time.sleep(2)
    return new_pool(*arguments)

workers.Pool = slowly
request = BatchRequest(sys.argv[1:], Recipe((9, 9)))
loader = workers.ProcessLoader(BatchMemory(9 * 9 * 9 * 3 * 4 + 64), 1, 4, 30)
thread = threading.Thread(target=loader.load, args=[request])
thread.start()
begun.wait()
child = os.fork()
if not child:
    signal.alarm(20)  # ends it if it hangs
    os._exit(len(loader.load(request).images))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
thread.join()
loader.close()
"""


@needs_processes
def test_a_fork_while_processes_are_started_does_not_hang(filenames, tmp_path):
    assert run_script(FORKED_EARLY, *filenames, folder=tmp_path) == ["5"]


# No function of this script can be imported, and it has no `if __name__ == "__main__"`.
PLAIN = """
import sys
import numpy as np
from helpers.images.batches import load_batch
from helpers.images.recipe import Recipe
from helpers.images.request import BatchRequest
from helpers.loading.memory import BatchMemory
from helpers.loading.loaders import ProcessLoader

print("the script runs")
factor = 0.5

def darken(image, rng):
    return factor * image * rng.random()

for augment in (darken, lambda image, rng: darken(image[:, ::-1], rng)):
    seeds = [(0, 0, number) for number in range(len(sys.argv[1:]))]
    request = BatchRequest(sys.argv[1:], Recipe((12, 14)), augment, seeds)
    loader = ProcessLoader(BatchMemory(9 * 12 * 14 * 3 * 4 + 64), 2, 4, 30, (augment, None))
    loaded = loader.load(request)
    np.testing.assert_array_equal(loaded.images, load_batch(request).images)
    print("same")
    loader.close()
"""


@needs_processes
def test_a_plain_script_with_its_own_functions(tmp_path, filenames):
    assert run_script(PLAIN, *filenames, folder=tmp_path) == ["the script runs", "same", "same"]


BESIDE = """
import sys
import numpy as np
from darkening import darken
from helpers.images.batches import load_batch
from helpers.images.recipe import Recipe
from helpers.images.request import BatchRequest
from helpers.loading.memory import BatchMemory
from helpers.loading.loaders import ProcessLoader

request = BatchRequest(sys.argv[1:], Recipe((12, 14)), darken, [(0,)] * len(sys.argv[1:]))
loader = ProcessLoader(BatchMemory(9 * 12 * 14 * 3 * 4 + 64), 2, 4, 30, (darken, None))
np.testing.assert_array_equal(loader.load(request).images, load_batch(request).images)
loader.close()
print("same")
"""


@needs_processes
def test_a_function_from_a_file_beside_the_script(tmp_path, filenames):
    (tmp_path / "darkening.py").write_text("def darken(image, rng):\n    return 0.5 * image\n")
    assert run_script(BESIDE, *filenames, folder=tmp_path) == ["same"]
