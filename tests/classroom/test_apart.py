"""Processes on a leash: what they return, raise and write comes, and nothing of them stays."""

import os
import signal
import subprocess
import threading
import time
from multiprocessing import get_context, get_start_method

import psutil
import pytest
from conftest import is_alive, wait_until

from helpers.classroom import apart
from helpers.classroom.apart import on_a_leash

only_linux = pytest.mark.skipif(not apart.LINUX, reason="they are skipped elsewhere")


@pytest.fixture
def at_once(monkeypatch):
    """Without TensorFlow, which takes seconds to load."""
    monkeypatch.setattr(apart, "_PREPARE", "")


@pytest.fixture
def nothing_left():
    """Whatever the test starts is gone at its end."""
    before = set(psutil.Process().children(recursive=True))
    yield
    assert wait_until(lambda: set(psutil.Process().children(recursive=True)) <= before, 5)


def own_pid():
    return os.getpid()


def have_it_done(function):
    with get_context("fork").Pool(2) as pool:
        return pool.apply(function)


def start_family_and_hang(path):
    family = [os.getpid()]
    for own_session in (False, True):
        sleep = ["sleep", "600"]
        family.append(subprocess.Popen(sleep, start_new_session=own_session).pid)
    path.write_text(" ".join(map(str, family)))
    time.sleep(600)


def raise_error(error):
    raise error


def raise_odd_error():
    raise OddError("one", "two")


class OddError(Exception):
    """One that a pickle does not bring back: its constructor takes something else."""

    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


def press_ctrl_c_when_there_is(path):
    def press():
        wait_until(path.exists)
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=press)
    presser.start()
    return presser


@only_linux
def test_what_a_function_returns_comes_from_another_process_which_may_fork(at_once, nothing_left):
    offset = 40
    assert on_a_leash(lambda number: number + offset, 2) == 42
    assert on_a_leash(get_start_method) == "fork"
    worker = on_a_leash(have_it_done, own_pid)
    assert worker != os.getpid()
    assert not is_alive(worker)


@only_linux
def test_tensorflow_is_there_before_the_function(nothing_left):
    assert on_a_leash(eval, "'tensorflow' in __import__('sys').modules")


@only_linux
def test_what_a_function_prints_is_printed(at_once, capfd):
    on_a_leash(print, "a line", "and a number", 3)
    assert capfd.readouterr() == ("a line and a number 3\n", "")


@only_linux
@pytest.mark.parametrize("error", [ValueError("no 'such' thing"), KeyError(3), SystemExit("over")])
def test_an_error_arrives_as_it_is(at_once, error):
    with pytest.raises(type(error)) as caught:
        on_a_leash(raise_error, error)
    assert caught.value.args == error.args
    assert "in raise_error" in caught.value.__notes__[0]


@only_linux
def test_an_error_that_cannot_be_sent_is_told(at_once):
    with pytest.raises(RuntimeError, match=r"^OddError: one and two"):
        on_a_leash(raise_odd_error)


@only_linux
def test_what_cannot_be_sent_is_named(at_once):
    with pytest.raises(RuntimeError, match="the lock that it returned cannot be sent"):
        on_a_leash(threading.Lock)


@only_linux
def test_a_process_that_dies_is_an_error_with_its_last_words(at_once):
    def die():
        os.write(2, b"these are my last words\n")
        os._exit(3)

    with pytest.raises(RuntimeError, match=r"exit status 3\).*these are my last words"):
        on_a_leash(die)


@only_linux
def test_a_function_that_hangs_is_ended_with_its_family(at_once, nothing_left, tmp_path):
    start = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired):
        on_a_leash(start_family_and_hang, tmp_path / "family", seconds=3)
    assert time.monotonic() - start < 6
    family = (tmp_path / "family").read_text().split()
    assert len(family) == 3
    assert wait_until(lambda: not any(is_alive(int(pid)) for pid in family), 5)


@only_linux
def test_what_a_function_leaves_running_is_ended(at_once, nothing_left):
    pid = on_a_leash(lambda: subprocess.Popen(["sleep", "600"]).pid)
    assert wait_until(lambda: not is_alive(pid), 5)


@only_linux
def test_ctrl_c_ends_the_waiting_and_the_process(at_once, nothing_left, tmp_path):
    path = tmp_path / "family"

    presser = press_ctrl_c_when_there_is(path)
    with pytest.raises(KeyboardInterrupt):
        on_a_leash(start_family_and_hang, path, seconds=60)
    presser.join()
    assert wait_until(lambda: not any(is_alive(int(pid)) for pid in path.read_text().split()), 5)


def test_elsewhere_nothing_is_run_and_a_line_says_so(monkeypatch, capsys):
    monkeypatch.setattr(apart, "LINUX", False)
    assert on_a_leash(pytest.fail, "it was run") is None
    assert capsys.readouterr().out.startswith("Skipped: ")
