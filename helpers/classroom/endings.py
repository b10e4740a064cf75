"""Which of several runs come to an end, and what they say: for faults that end in silence."""

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import re
import signal
import tempfile
import time
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

from helpers.classroom import apart

_YARDSTICK_SECONDS = 60.0  # after which even that is ended
_ERROR = re.compile(r"^(?:\w+\.)*(\w+Error: .*)", re.MULTILINE)
_FOLDERS = re.compile(r"(?<!\w)(?:[A-Za-z]:)?(?:[/\\]+[^/\\:]*[^\s/\\:])*[/\\]+(?=[^\s/\\])")


class Ending(NamedTuple):
    """What came of a run.

    Attributes
    ----------
    seconds : float or None
        How long it took; None if it had no end.
    returned : object
        What it returned; None if it raised an error, or had no end.
    said : str
        The line that tells which error it was; of a run without an end, which error one of its
        processes wrote meanwhile.
    """

    seconds: float | None
    returned: Any = None
    said: str = ""

    def __str__(self) -> str:
        if self.seconds is None:
            return "no end" + (f"; a worker wrote: {self.said}" if self.said else ", and no word")
        return self.said or f"{self.returned}, after {self.seconds:.1f} s"


def telling_line(message: str) -> str:
    """Return the line of a long message that names its error, without the folders of files.

    TensorFlow wraps an error in pages of text, and Python ends a traceback with its name.

    Parameters
    ----------
    message : str

    Returns
    -------
    str
        The last such line; empty if there is none.
    """
    lines = _ERROR.findall(message)
    return _FOLDERS.sub("", lines[-1]) if lines else ""


def how_they_end(
    yardstick: Callable, *functions: Callable, patience: float = 4
) -> dict[str, Ending]:
    """Run functions side by side, each in a process of its own, until it is clear which hang.

    Parameters
    ----------
    yardstick : callable
        A run in which nothing goes wrong.
    *functions : callable
        Further runs, of the same work. Each gets as long as the yardstick took, and `patience`
        seconds more; then it is ended, with all that it started.
    patience : float, default 4

    Returns
    -------
    dict of str to Ending
        For the name of each function how its run ended, with spaces for underscores; empty,
        with a line that says so, on another system than Linux.
    """
    if not apart.LINUX:
        print("Skipped: this needs signals, and workers that are forks, as they are on Linux.")
        return {}
    runs = yardstick, *functions
    return apart.on_a_leash(_watch, runs, patience, seconds=60 + _YARDSTICK_SECONDS + patience)


def _watch(
    functions: tuple[Callable, ...], patience: float, longest: float = _YARDSTICK_SECONDS
) -> dict[str, Ending]:
    runs = [_Run(function) for function in functions]
    waiting: dict[Any, _Run] = {run.channel: run for run in runs}
    deadline = time.monotonic() + longest
    try:
        while waiting and (left := deadline - time.monotonic()) > 0:
            for channel in multiprocessing.connection.wait(list(waiting), left):
                run = waiting.pop(channel)
                run.note_ending()
                if run is runs[0]:
                    deadline = time.monotonic() + patience
    finally:
        for run in runs:
            run.end()
    return {run.name: run.ending() for run in runs}


class _Run:
    """A function in a process of its own, with what it says."""

    def __init__(self, function: Callable):
        self.name = function.__name__.replace("_", " ")
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - until `ending`
        self._ending: Ending | None = None
        self.channel, theirs = multiprocessing.Pipe(duplex=False)
        fork = multiprocessing.get_context("fork")
        arguments = function, theirs, self._errors.fileno()
        self._process = fork.Process(target=_tell, args=arguments)
        self._process.start()
        theirs.close()

    def note_ending(self) -> None:
        try:
            seconds, returned, message = self.channel.recv()
            self._ending = Ending(seconds, returned, message)
        except EOFError:
            self._ending = Ending(0.0, None, "its process died without a word")

    def end(self) -> None:
        self._process.kill()  # it may have no group yet
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # type: ignore[arg-type]
        self._process.join()
        self.channel.close()

    def ending(self) -> Ending:
        with self._errors as file:
            return self._ending or Ending(None, None, telling_line(apart.text_of(file)))


def _tell(function: Callable, channel: Any, errors: int) -> None:
    os.setsid()
    os.dup2(errors, 2)
    returned, message, start = None, "", time.perf_counter()
    try:
        returned = function()
    except BaseException as error:
        message = telling_line(traceback.format_exc()) or type(error).__name__
    channel.send((time.perf_counter() - start, returned, message))
