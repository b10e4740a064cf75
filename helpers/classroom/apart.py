"""Run what may hang in a process of its own, and leave nothing of it behind."""

import contextlib
import multiprocessing
import os
import pickle
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import cloudpickle
import psutil

LINUX = sys.platform.startswith("linux")  # forks of a program with TensorFlow, and their signals
_SECONDS_TO_START = 60.0  # TensorFlow has to load
_PREPARE = "from helpers.quiet import quiet_tensorflow; quiet_tensorflow()"
_NEWS = re.compile(r"- |(\w+\.)*\w+Error: ")


def on_a_leash(function: Callable, *arguments: Any, seconds: float = 60) -> Any:
    """Return what ``function(*arguments)`` returns in a process of its own, where it may fork.

    What it prints is printed when it has ended.

    Parameters
    ----------
    function : callable
        Of a notebook, or of anywhere.
    *arguments
    seconds : float, default 60
        After that, the process is ended with all that it started.

    Returns
    -------
    object
        What `function` returned; None, with a line that says so, on another system than Linux.

    Raises
    ------
    subprocess.TimeoutExpired
        If it was not ready in time.
    RuntimeError
        If the process died, or what it returned or raised cannot be sent.
    Exception
        What `function` raised.
    """
    if not LINUX:
        print("Skipped: this needs workers that are forks, as they are on Linux.")
        return None
    with contextlib.ExitStack() as files:
        task, answer, said, errors = (
            files.enter_context(tempfile.TemporaryFile()) for _ in range(4)
        )
        task.write(cloudpickle.dumps((function, arguments)))
        task.seek(0)
        answer_it = f"from helpers.classroom import apart; apart.answer_to({answer.fileno()})"
        process = subprocess.Popen(
            [sys.executable, "-c", f"{_PREPARE}\n{answer_it}"],
            stdin=task,
            stdout=said,
            stderr=errors,
            pass_fds=[answer.fileno()],
            env=_environment(),
            start_new_session=True,
        )
        try:
            process.wait(timeout=seconds)
        finally:  # Ctrl-C, too
            end(process)
        print(_text_of(said), end="")
        answer.seek(0)
        pickled = answer.read()
        if not pickled:
            last = _text_of(errors).splitlines()[-3:]
            raise RuntimeError(
                f"the process ended without an answer (exit status {process.returncode}); "
                f"the last lines of its messages: {last}"
            )
    returned, raised = pickle.loads(pickled)
    if raised is not None:
        raise raised
    return returned


def answer_to(descriptor: int) -> None:
    """Do, in the process on the leash, what stands in standard input, and write what came of it.

    Parameters
    ----------
    descriptor : int
        An open file for the pickled answer: what the function returned, and what it raised.
    """
    multiprocessing.set_start_method("fork")
    returned = raised = None
    try:
        function, arguments = pickle.load(sys.stdin.buffer)
        returned = function(*arguments)
    except BaseException as error:
        error.add_note(f"In the process on the leash:\n{traceback.format_exc()}")
        raised = error
    sys.stdout.flush()
    with open(descriptor, "wb") as file:
        file.write(sendable(returned, raised))


def sendable(returned: Any, raised: BaseException | None) -> bytes:
    """Pickle what a function returned or raised, or else an error that says why it cannot be."""
    try:
        pickled = cloudpickle.dumps((returned, raised))
        pickle.loads(pickled)  # an exception with a constructor of its own may not come back
    except Exception as error:
        if raised is None:
            kind = type(returned).__name__
            substitute = RuntimeError(
                f"the {kind} that it returned cannot be sent to this process: {error}"
            )
        else:
            substitute = RuntimeError(f"{type(raised).__name__}: {raised}")
        return pickle.dumps((None, substitute))
    return pickled


def run_script(script: str, patience: float = 4, interrupt_at: str | None = None) -> str:
    """Run a script and show its news: lines that begin with ``- ``, and errors.

    Parameters
    ----------
    script : str
    patience : float, default 4
        Seconds without anything new after which it is ended, with all that it started. (The
        first news may take a minute: TensorFlow has to load.)
    interrupt_at : str, optional
        It gets a Ctrl-C after a line that contains this.

    Returns
    -------
    str
        All that it wrote, and a last line that says how it ended; empty, with a line that says
        so, on another system than Linux.
    """
    if not LINUX:
        print("Skipped: this script needs signals and workers as they are on Linux.")
        return ""
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=_environment(),
        start_new_session=True,
    )
    wrote = list[str]()
    try:
        ending = _follow(process, wrote, patience, interrupt_at)
    finally:  # Ctrl-C, too
        end(process)
    print(ending)
    return "".join([*wrote, ending])


def _follow(
    process: subprocess.Popen, wrote: list[str], patience: float, interrupt_at: str | None
) -> str:
    """Add to `wrote` what a process writes, and print what is new; return how it ended."""
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
    limit, known = _SECONDS_TO_START, set[str]()
    deadline = time.monotonic() + limit
    try:
        while (left := deadline - time.monotonic()) > 0:
            line = lines.get(timeout=left)
            if line is None:
                process.wait(timeout=patience)
                return "(ended by itself)"
            wrote.append(line)
            if line not in known and _NEWS.match(line):
                known.add(line)
                print(line, end="")
                limit = patience
                deadline = time.monotonic() + limit
            if interrupt_at and line.startswith("- ") and interrupt_at in line:
                time.sleep(0.3)  # until the step runs that comes after this line
                os.killpg(process.pid, signal.SIGINT)
    except (queue.Empty, subprocess.TimeoutExpired):
        pass
    return f"(no end: still waiting after {limit:g} s)"


def _read(pipe: TextIO, lines: queue.SimpleQueue) -> None:
    for line in pipe:
        lines.put(line)
    pipe.close()
    lines.put(None)


def end(process: subprocess.Popen) -> None:
    """End a process that leads a session of its own, with all that it started."""
    others = []
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGSTOP)  # so that it starts nothing more
    with contextlib.suppress(psutil.NoSuchProcess):
        others = psutil.Process(process.pid).children(recursive=True)  # of other sessions, too
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # what it left behind, too, if it has ended
    for other in others:
        with contextlib.suppress(psutil.NoSuchProcess):
            other.kill()
    process.wait()


def _environment() -> dict[str, str]:
    """Return this program's: what can be imported here can be there, and is the same."""
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    }


def _text_of(file: Any) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
