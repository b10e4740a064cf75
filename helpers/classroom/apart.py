"""Run what may hang in a process of its own, and leave nothing of it behind."""

import contextlib
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import psutil

LINUX = sys.platform.startswith("linux")  # forks of a program with TensorFlow, and their signals
_PREPARE = "from helpers.quiet import quiet_tensorflow; quiet_tensorflow()"


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
        print(text_of(said), end="")
        answer.seek(0)
        pickled = answer.read()
        if not pickled:
            last = text_of(errors).splitlines()[-3:]
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


def text_of(file: Any) -> str:
    """Return all that is in an open file of bytes, as text."""
    file.seek(0)
    return file.read().decode(errors="replace")
