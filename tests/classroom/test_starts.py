"""Whether Keras's processes are timed where they are forks, and left out where they are not."""

import multiprocessing
import subprocess
import time

import pytest

from helpers.classroom import starts


@pytest.fixture
def start_method(monkeypatch):
    def choose(set_to, by_default):
        monkeypatch.setattr(multiprocessing, "get_start_method", lambda allow_none: set_to)
        monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: [by_default])

    monkeypatch.setattr(starts, "seconds_to_import_keras", lambda: 3.0)
    monkeypatch.setattr(starts.os, "cpu_count", lambda: 2)
    return choose


@pytest.mark.parametrize(("set_to", "by_default"), [("fork", "spawn"), (None, "fork")])
def test_forks_are_timed(start_method, capsys, set_to, by_default):
    start_method(set_to, by_default)
    assert starts.keras_processes(16) == [16]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("set_to", "by_default"), [("spawn", "fork"), (None, "spawn")])
def test_processes_that_start_anew_are_left_out_and_a_line_says_why(
    start_method, capsys, set_to, by_default
):
    start_method(set_to, by_default)
    assert starts.keras_processes(16) == []
    said = capsys.readouterr().out
    assert "16 processes" in said and "(spawn)" in said
    assert "about 24 s" in said  # sixteen times three seconds, on two cores
    starts.keras_processes(1)
    assert "about 3 s" in capsys.readouterr().out


def test_the_start_method_is_only_looked_at():
    before = multiprocessing.get_start_method(allow_none=True)
    starts.keras_processes(1)
    assert multiprocessing.get_start_method(allow_none=True) == before


def test_the_import_is_timed_in_a_process_of_its_own(monkeypatch):
    def run(command, **how):
        assert command[-1] == "import keras"
        time.sleep(0.05)

    monkeypatch.setattr(subprocess, "run", run)
    assert starts.seconds_to_import_keras() >= 0.05
