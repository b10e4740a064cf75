"""Runs that end and runs that do not are told apart, in a bounded time."""

import multiprocessing
import os
import signal
import sys
import time

import pytest
from conftest import is_alive, wait_until

from helpers.classroom import apart
from helpers.classroom.apart import on_a_leash
from helpers.classroom.endings import Ending, _watch, how_they_end, telling_line

only_linux = pytest.mark.skipif(not apart.LINUX, reason="it is skipped elsewhere")


def undisturbed():
    time.sleep(0.5)
    return 3


def wait_for_ever():
    time.sleep(600)


def fail():
    raise OSError("no such disk")


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def press_ctrl_c():
    os.killpg(0, signal.SIGINT)
    time.sleep(600)


@only_linux
def test_each_run_is_told_how_it_ended(monkeypatch, tmp_path):
    def a_worker_fails():
        worker = multiprocessing.Process(target=fail)
        worker.start()
        stopped = multiprocessing.Process(target=wait_for_ever)
        stopped.start()
        os.kill(stopped.pid, signal.SIGSTOP)
        (tmp_path / "pids").write_text(f"{os.getpid()} {stopped.pid}")
        time.sleep(600)

    monkeypatch.setattr(apart, "_PREPARE", "")
    start = time.monotonic()
    ends = how_they_end(
        undisturbed, wait_for_ever, a_worker_fails, fail, die, press_ctrl_c, patience=2
    )
    assert time.monotonic() - start < 15
    assert list(ends) == [
        "undisturbed",
        "wait for ever",
        "a worker fails",
        "fail",
        "die",
        "press ctrl c",
    ]
    assert ends["undisturbed"].returned == 3
    assert 0.5 <= ends["undisturbed"].seconds < 2
    assert ends["wait for ever"] == (None, None, "")
    assert ends["a worker fails"] == (None, None, "OSError: no such disk")
    assert ends["fail"].seconds < 1
    assert ends["fail"].said == "OSError: no such disk"
    assert ends["die"].said == "its process died without a word"
    assert ends["press ctrl c"].said == "KeyboardInterrupt"
    pids = (tmp_path / "pids").read_text().split()
    assert wait_until(lambda: not any(is_alive(int(pid)) for pid in pids), 5)


@only_linux
def test_even_a_yardstick_that_hangs_is_ended(monkeypatch):
    monkeypatch.setattr(apart, "_PREPARE", "")
    start = time.monotonic()
    ends = on_a_leash(_watch, (wait_for_ever, undisturbed), 1, 3)
    assert time.monotonic() - start < 20
    assert ends["wait for ever"].seconds is None
    assert ends["undisturbed"].returned == 3


def test_an_ending_in_words():
    assert str(Ending(1.44, "240 images")) == "240 images, after 1.4 s"
    assert str(Ending(0.2, None, "OSError: no")) == "OSError: no"
    assert str(Ending(None)) == "no end, and no word"
    assert str(Ending(None, None, "OSError: no")) == "no end; a worker wrote: OSError: no"


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (
            "Traceback\n  File x\nOSError: image file is truncated\nand more",
            "OSError: image file is truncated",
        ),
        (
            "ValueError: first\nhelpers.images.ImageError: /a/b c/half.png: cut off",
            "ImageError: half.png: cut off",
        ),
        (
            "TimeoutError: from /data/sample/0146.png to /data/sample/0135.png.",
            "TimeoutError: from 0146.png to 0135.png.",
        ),
        ("OSError: C:\\my data\\0135.png is gone", "OSError: 0135.png is gone"),
        ("KeyError: 3 and/or 4", "KeyError: 3 and/or 4"),
        ("nothing is wrong", ""),
    ],
)
def test_the_line_that_tells_is_found_in_a_long_message(message, line):
    assert telling_line(message) == line


def test_elsewhere_nothing_is_run_and_a_line_says_so(monkeypatch, capsys):
    monkeypatch.setattr(apart, "LINUX", False)
    assert how_they_end(sys.exit, sys.exit) == {}
    assert capsys.readouterr().out.startswith("Skipped: ")
