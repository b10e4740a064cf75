"""Run what may hang in a process of its own, which is ended when it says nothing new for long."""

import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import cloudpickle

LINUX = sys.platform.startswith("linux")  # forks of a program with TensorFlow, and their signals
_SECONDS_TO_START = 60  # TensorFlow has to load
_TASK = """
import multiprocessing, os, pickle, signal, sys
from helpers import quiet_tensorflow
quiet_tensorflow()
multiprocessing.set_start_method("fork")
function, arguments = pickle.load(sys.stdin.buffer)
try:
    sys.stdout.buffer.write(pickle.dumps(function(*arguments)))
    sys.stdout.flush()
finally:
    os.killpg(0, signal.SIGKILL)  # ends this process, and all workers that it forked
"""


def on_a_leash(function: Callable, *arguments: Any, seconds: float = 60) -> Any:
    """Return what ``function(*arguments)`` returns in a process of its own, where it may fork.

    Parameters
    ----------
    function : callable
        Of a notebook, or of anywhere.
    *arguments
    seconds : float, default 60
        After that, the process is ended with all its workers.

    Returns
    -------
    object
        What `function` returned; None, with a line that says so, on another system than Linux.

    Raises
    ------
    subprocess.TimeoutExpired
        If it was not ready in time.
    """
    if not LINUX:
        print("Skipped: this needs workers that are forks, as they are on Linux.")
        return None
    command = [sys.executable, "-c", _TASK]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, start_new_session=True) as process:
        try:
            task = cloudpickle.dumps((function, arguments))
            answer, _ = process.communicate(task, timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return pickle.loads(answer)


def run_script(script: str, patience: float = 4, interrupt_at: str | None = None) -> str:
    """Run a script and show its news: lines that begin with ``- ``, and errors.

    Parameters
    ----------
    script : str
    patience : float, default 4
        Seconds without anything new after which it is ended, with all its processes.
    interrupt_at : str, optional
        It gets a Ctrl-C after a line that contains this.

    Returns
    -------
    str
        All that it wrote; empty, with a line that says so, on another system than Linux.
    """
    if not LINUX:
        print("Skipped: this script needs signals and workers as they are on Linux.")
        return ""
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None  # a pipe
    timer, wrote = _end_later(process, _SECONDS_TO_START), list[str]()
    for line in process.stdout:
        if line not in wrote and re.match(r"- |\w+Error: ", line):
            print(line, end="")
            timer.cancel()
            timer = _end_later(process, patience)
        wrote.append(line)
        if interrupt_at and line.startswith("- ") and interrupt_at in line:
            time.sleep(0.3)  # until the step runs that comes after this line
            os.killpg(process.pid, signal.SIGINT)
    timer.cancel()
    killed = process.wait() == -signal.SIGKILL
    print(f"(no end: still waiting after {patience} s)" if killed else "(ended by itself)")
    return "".join(wrote)


def _end_later(process: subprocess.Popen, seconds: float) -> threading.Timer:
    timer = threading.Timer(seconds, os.killpg, (process.pid, signal.SIGKILL))
    timer.start()
    return timer
