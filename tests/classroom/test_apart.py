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
from helpers.classroom.apart import on_a_leash, run_script

only_linux = pytest.mark.skipif(not apart.LINUX, reason="they are skipped elsewhere")
FAMILY = """
import subprocess, sys, time
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
family = [subprocess.Popen(sleep), subprocess.Popen(sleep, start_new_session=True)]
print("family", *[process.pid for process in family])
"""


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


@only_linux
def test_a_script_shows_its_news_once_and_returns_all(nothing_left, capsys):
    script = "print('- one'); print('two'); print('- one'); print('- three'); 1 / 0"
    wrote = run_script(script)
    assert capsys.readouterr().out.splitlines() == [
        "- one",
        "- three",
        "ZeroDivisionError: division by zero",
        "(ended by itself)",
    ]
    assert wrote.startswith("- one\ntwo\n- one\n- three\nTraceback")
    assert wrote.endswith("(ended by itself)")


@only_linux
@pytest.mark.parametrize(
    "goes_on",
    [
        "time.sleep(600)",
        "while True: print('- the same', flush=True)",
        "import os; os.close(1); os.close(2); time.sleep(600)",
    ],
    ids=["silent", "a flood of the same", "closed"],
)
def test_a_script_that_says_nothing_new_is_ended_with_its_family(goes_on, nothing_left, capsys):
    start = time.monotonic()
    wrote = run_script(f"{FAMILY}\nprint('- the same')\n{goes_on}", patience=1)
    assert time.monotonic() - start < 8
    assert capsys.readouterr().out == "- the same\n(no end: still waiting after 1 s)\n"
    assert wrote.endswith("(no end: still waiting after 1 s)")
    family = wrote.splitlines()[0].split()[1:]
    assert len(family) == 2
    assert wait_until(lambda: not any(is_alive(int(pid)) for pid in family), 5)


@only_linux
def test_a_script_that_never_says_anything_is_ended(monkeypatch, nothing_left, capsys):
    monkeypatch.setattr(apart, "_SECONDS_TO_START", 1)
    assert run_script("import time; time.sleep(600)") == "(no end: still waiting after 1 s)"


@only_linux
def test_ctrl_c_arrives_in_a_script_and_in_its_family(nothing_left, capsys):
    script = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("- not yet", flush=True)
try:
    time.sleep(0.1)
    print("- now comes Ctrl-C", flush=True)
    time.sleep(600)
except KeyboardInterrupt:
    print("- interrupted;", child.wait(timeout=10), flush=True)
"""
    run_script(script, interrupt_at="Ctrl-C")
    said = capsys.readouterr().out.splitlines()
    assert said == ["- not yet", "- now comes Ctrl-C", "- interrupted; -2", "(ended by itself)"]


@only_linux
def test_ctrl_c_of_who_waits_for_a_script_ends_it(nothing_left, tmp_path):
    path = tmp_path / "started"
    presser = press_ctrl_c_when_there_is(path)
    with pytest.raises(KeyboardInterrupt):
        run_script(f"open({str(path)!r}, 'w'); import time; time.sleep(600)")
    presser.join()


def test_elsewhere_nothing_is_run_and_a_line_says_so(monkeypatch, capsys):
    monkeypatch.setattr(apart, "LINUX", False)
    assert on_a_leash(pytest.fail, "it was run") is None
    assert run_script("raise SystemExit('it was run')") == ""
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("Skipped: ") for line in lines)
