import contextlib
import copyreg
import functools
import mmap
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import cloudpickle
import numpy as np
import psutil
import pytest
from conftest import is_alive, wait_until

from helpers.images.augmenting import AugmentError
from helpers.images.batches import load_batch
from helpers.images.reading import ImageError
from helpers.images.recipe import Recipe
from helpers.images.request import BatchRequest, LoadedBatch
from helpers.loading.worker_process import run_worker

pytestmark = pytest.mark.skipif(
    not hasattr(socket, "send_fds"), reason="worker processes need Linux or macOS"
)

SEEDS = [(1, 2, number) for number in range(5)]


def run(role, descriptors, *arguments, **options):
    """Start the module as the engine does."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "helpers.loading.worker_process", role, *map(str, arguments)],
        pass_fds=descriptors,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)},
        **options,
    )


class Channel:
    """The program's end of the channel to a worker."""

    def __init__(self, connection, augment=None):
        connection.settimeout(60)
        self.connection = connection
        self.replies = connection.makefile("rb")
        connection.sendall(pickle.dumps((augment and cloudpickle.dumps((augment, None)), None)))

    def ask(self, request, offset=None):
        self.connection.sendall(pickle.dumps((offset, request)))
        return pickle.load(self.replies)

    def is_at_its_end(self):
        try:
            return self.connection.recv(1) == b""
        except ConnectionError:
            return True

    def close(self):
        self.replies.close()
        self.connection.close()


@contextlib.contextmanager
def worker(augment=None, memory=-1):
    """A worker process, and the channel to it."""
    theirs, ours = socket.socketpair()
    descriptors = [ours.fileno(), memory] if memory >= 0 else [ours.fileno()]
    with ours:
        process = run("worker", descriptors, ours.fileno(), memory)
    channel = Channel(theirs, augment)
    try:
        yield process, channel
    finally:
        channel.close()
        process.kill()
        process.wait(30)


@contextlib.contextmanager
def server(start_method):
    """A server process, and the socket that asks it for workers."""
    control, theirs = socket.socketpair()
    control.settimeout(60)
    with theirs:
        arguments = theirs.fileno(), -1, os.getpid(), start_method
        process = run("server", [theirs.fileno()], *arguments, start_new_session=True)
    try:
        yield process, control
    finally:
        control.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


def start_worker(control, augment=None):
    """Have the server start a worker: its process id and its channel."""
    control.send(b"+")
    pid, descriptors, _, _ = socket.recv_fds(control, 32, 1)
    return int(pid), Channel(socket.socket(fileno=descriptors[0]), augment)


both_methods = pytest.mark.parametrize("start_method", ["fork", "exec"])


# ---- a worker ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_a_worker_loads_the_same_bytes(pictures, dtype):
    with worker() as (_, channel):
        for size in [(21, 17), (8, 9)]:
            request = BatchRequest(pictures[:5], Recipe(size, dtype))
            loaded, expected = channel.ask(request), load_batch(request)
            assert isinstance(loaded, LoadedBatch)
            assert loaded.images.dtype == dtype
            assert loaded.images.tobytes() == expected.images.tobytes()
            assert (loaded.positions, loaded.errors) == (expected.positions, [])


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_a_worker_writes_where_it_is_told(pictures, dtype):
    request = BatchRequest(pictures[:5], Recipe((21, 17), dtype))
    expected = load_batch(request).images.tobytes()
    with tempfile.TemporaryFile() as file:
        file.truncate(4 * mmap.PAGESIZE * 8)
        memory = mmap.mmap(file.fileno(), 0)
        with worker(memory=file.fileno()) as (_, channel):
            offset = mmap.PAGESIZE * 8
            loaded = channel.ask(request, offset)
            assert loaded._replace(times=None) == LoadedBatch(None, [0, 1, 2, 3, 4], [], None)
            assert channel.ask(request).images.tobytes() == expected  # no slot: by value
    assert memory[offset : offset + len(expected)] == expected
    assert not any(memory[:offset])
    assert not any(memory[offset + len(expected) :])


def add_noise(image, rng):
    return image + rng.random(image.shape, np.float32)


def test_a_worker_augments_the_same(pictures):
    request = BatchRequest(pictures[:5], Recipe((9, 8)), augment=None, seeds=SEEDS)
    with worker(add_noise) as (_, channel):
        loaded = channel.ask(request)
    expected = load_batch(request._replace(augment=add_noise))
    assert loaded.images.tobytes() == expected.images.tobytes()


def test_files_left_out_are_reported(pictures, broken_file):
    request = BatchRequest([broken_file, *pictures[:5]], Recipe((9, 8)), skip_errors=True)
    with worker() as (_, channel):
        loaded = channel.ask(request)
    assert loaded.positions == [1, 2, 3, 4, 5]
    assert [(type(error), error.filename) for error in loaded.errors] == [(ImageError, broken_file)]
    assert loaded.images.tobytes() == load_batch(request).images.tobytes()


def test_an_error_tells_where_it_was_raised_and_the_worker_goes_on(pictures, broken_file):
    with worker() as (process, channel):
        error = channel.ask(BatchRequest([pictures[0], broken_file], Recipe((9, 8))))
        assert type(error) is ImageError
        assert error.filename == broken_file
        [text] = error.__notes__
        assert f"worker process {process.pid}" in text
        assert "Traceback" in text and "load_batch" in text
        assert len(channel.ask(BatchRequest(pictures[:2], Recipe((9, 8)))).images) == 2


def test_an_error_of_augment_is_named_with_its_own_lines(pictures):
    def divide(image, rng):
        return image * (1 // len(()))

    with worker(divide) as (_, channel):
        error = channel.ask(BatchRequest(pictures[:5], Recipe((9, 8)), seeds=SEEDS))
    assert type(error) is AugmentError
    assert pictures[0] in str(error) and "ZeroDivisionError" in str(error)
    assert "in divide" in error.__notes__[0]


class TwoArgumentsError(Exception):
    """Can be pickled, but does not come back."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


class HoldsAFileError(Exception):
    """Cannot be pickled."""

    def __init__(self, text):
        super().__init__(text)
        self.file = sys.stderr


class NoNotesError(Exception):
    """Has an add_note of its own, which fails."""

    def __init__(self, text):
        super().__init__(text)

    def add_note(self, note):
        raise AttributeError


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (functools.partial(TwoArgumentsError, 1, 2), "TwoArgumentsError: 1 and 2"),
        (functools.partial(HoldsAFileError, "text"), "HoldsAFileError: text"),
        (functools.partial(NoNotesError, "text"), "NoNotesError: text"),
    ],
    ids=["two arguments", "file", "no notes"],
)
def test_an_error_that_cannot_be_pickled_comes_as_text(pictures, monkeypatch, error, text):
    # Dask, once imported, has every exception pickled in a way of its own.
    monkeypatch.delitem(copyreg.dispatch_table, error.func, raising=False)

    def load(*arguments):
        raise error()

    monkeypatch.setattr("helpers.loading.worker_process.load_batch", load)
    theirs, ours = socket.socketpair()
    thread = threading.Thread(target=run_worker, args=(ours, -1), daemon=True)
    thread.start()
    channel = Channel(theirs)
    received = channel.ask(BatchRequest(pictures[:1], Recipe((9, 8))))
    channel.close()
    thread.join(30)
    ours.close()
    assert not thread.is_alive()
    assert type(received) is RuntimeError
    assert str(received) == text
    assert "in load" in received.__notes__[0]


class CannotBeUnpickled:
    def __reduce__(self):
        return Path.joinpath, ("needs a Path",)


def test_an_augment_that_cannot_be_unpickled_is_an_error_and_not_the_end(pictures):
    request = BatchRequest(pictures[:5], Recipe((9, 8)), seeds=SEEDS)
    with worker(CannotBeUnpickled()) as (process, channel):
        for _ in range(2):
            error = channel.ask(request)
            assert isinstance(error, Exception)
            assert "loads" in error.__notes__[0]
        assert process.poll() is None


@pytest.mark.parametrize("status", [0, 3])
def test_an_exit_in_augment_ends_the_worker(pictures, status):
    def leave(image, rng):
        sys.exit(status)

    with worker(leave) as (process, channel):
        with pytest.raises(EOFError):
            channel.ask(BatchRequest(pictures[:5], Recipe((9, 8)), seeds=SEEDS))
        assert process.wait(30) == status


def test_a_worker_ends_when_its_channel_is_closed(pictures):
    with worker() as (process, channel):
        channel.ask(BatchRequest(pictures[:5], Recipe((9, 8))))
        channel.close()
        assert process.wait(30) == 0


def test_a_worker_ends_that_was_never_asked():
    with worker() as (process, channel):
        channel.close()
        assert process.wait(30) == 0


def test_a_worker_ends_whose_reply_nobody_takes(pictures):
    # The reply is larger than the socket holds.
    with worker() as (process, channel):
        channel.connection.sendall(pickle.dumps((None, BatchRequest(pictures, Recipe((200, 200))))))
        time.sleep(1)
        assert process.poll() is None
        channel.close()
        assert process.wait(30) == 0


# ---- the server ----------------------------------------------------------------------------------


@both_methods
def test_a_server_starts_workers_that_load(pictures, start_method):
    requests = [BatchRequest(pictures[:5], Recipe((9 + number, 8))) for number in range(3)]
    with server(start_method) as (process, control):
        workers = [start_worker(control) for _ in requests]
        assert len({pid for pid, _ in workers} | {process.pid, os.getpid()}) == 5
        for (pid, channel), request in zip(workers, requests, strict=True):
            assert psutil.Process(pid).ppid() == process.pid
            assert channel.ask(request).images.tobytes() == load_batch(request).images.tobytes()
            channel.close()


@both_methods
def test_a_process_that_makes_batches_imports_little(pictures, start_method):
    def say_modules(image, rng):
        raise RuntimeError(" ".join(sys.modules))

    with server(start_method) as (_, control):
        _, channel = start_worker(control, say_modules)
        error = channel.ask(BatchRequest(pictures[:5], Recipe((9, 8)), seeds=SEEDS))
        channel.close()
    imported = {name.partition(".")[0] for name in str(error).split()}
    assert {"helpers", "cv2", "numpy"} <= imported
    heavy = {"keras", "tensorflow", "skimage", "scipy", "matplotlib", "pandas", "PIL", "pytest"}
    assert not imported & (heavy | {"multiprocessing", "imagesize", "requests"})


@both_methods
def test_an_augment_can_run_programs_and_sees_how_they_end(pictures, start_method):
    def run_a_program(image, rng):
        done = subprocess.run([sys.executable, "-c", "raise SystemExit(3)"])
        return np.full_like(image, done.returncode)

    with server(start_method) as (_, control):
        _, channel = start_worker(control, run_a_program)
        loaded = channel.ask(BatchRequest(pictures[:1], Recipe((9, 8)), seeds=SEEDS))
        channel.close()
    assert (loaded.images == 3).all()


@both_methods
def test_closing_the_channel_of_one_worker_ends_that_one(pictures, capfd, start_method):
    with server(start_method) as (_, control):
        workers = [start_worker(control) for _ in range(3)]
        for number, (pid, channel) in enumerate(workers, 1):
            assert is_alive(pid)
            channel.close()
            assert wait_until(lambda pid=pid: not is_alive(pid))
            for _, other in workers[number:]:
                assert len(other.ask(BatchRequest(pictures[:1], Recipe((9, 8)))).images) == 1
    assert capfd.readouterr().err == ""


@both_methods
@pytest.mark.parametrize("which", [0, 2])
def test_the_death_of_a_worker_is_seen_at_once_and_leaves_no_zombie(start_method, which):
    with server(start_method) as (process, control):
        workers = [start_worker(control) for _ in range(3)]
        pid, channel = workers[which]
        os.kill(pid, signal.SIGKILL)
        assert channel.is_at_its_end()  # no other process holds the channel open
        assert wait_until(lambda: not psutil.pid_exists(pid))
        children = psutil.Process(process.pid).children()
        assert sorted(child.pid for child in children) == sorted(
            other for other, _ in workers if other != pid
        )


@both_methods
def test_a_server_ends_with_all_workers_when_its_control_is_closed(start_method):
    with server(start_method) as (process, control):
        workers = [start_worker(control) for _ in range(3)]
        pids = [pid for pid, _ in workers]
        os.kill(pids[0], signal.SIGSTOP)
        control.close()
        process.wait(30)
        assert wait_until(lambda: not any(map(is_alive, pids)))


# Starts a server, says its process id, and waits to be killed.
PROGRAM = """
import os, subprocess, sys, time
control, start_method = sys.argv[1:]
command = [sys.executable, "-P", "-m", "helpers.loading.worker_process", "server"]
process = subprocess.Popen(
    [*command, control, "-1", str(os.getpid()), start_method],
    pass_fds=[int(control)],
    start_new_session=True,
)
print(process.pid, flush=True)
time.sleep(300)
"""


@both_methods
def test_a_server_ends_with_its_program_though_another_holds_its_control(start_method):
    control, theirs = socket.socketpair()
    control.settimeout(60)
    with theirs, control:
        program = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(theirs.fileno()), start_method],
            pass_fds=[theirs.fileno()],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)},
        )
        with program:
            pid = int(program.stdout.readline())
            workers = [start_worker(control) for _ in range(2)]
            os.kill(workers[0][0], signal.SIGSTOP)
            everybody = [pid, *(number for number, _ in workers)]
            assert all(map(is_alive, everybody))
            program.kill()
        try:
            assert wait_until(lambda: not any(map(is_alive, everybody)), 10)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)


@both_methods
def test_a_server_waits_for_its_next_request_without_end(start_method):
    with server(start_method) as (process, control):
        time.sleep(2.5)  # it looks for its program once a second
        assert process.poll() is None
        pid, channel = start_worker(control)
        assert is_alive(pid)
        channel.close()
