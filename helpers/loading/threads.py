"""Threads that make batches, and that no program has to wait for."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial


class Threads(Executor):
    """Runs calls in threads, in the order in which they come.

    Python's own pool is joined when a program ends, however long that takes: a disk that hangs
    would keep the program. These threads are daemons, and their pool can be used again after
    `shutdown`.

    Parameters
    ----------
    most : int
        Threads. Each is started when it is first needed.
    """

    def __init__(self, most: int):
        self._most = most
        self._running = 0
        self._calls: queue.SimpleQueue[Callable | None] = queue.SimpleQueue()

    def submit(self, function: Callable, /, *arguments, **options) -> Future:
        """Have a call made; as `concurrent.futures.Executor.submit`."""
        future: Future = Future()
        self._calls.put(partial(_run, future, partial(function, *arguments, **options)))
        if self._running < self._most:
            self._running += 1
            threading.Thread(target=_work, args=(self._calls,), daemon=True).start()
        return future

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = False) -> None:
        """End the threads, each when its call is done. Who waits for a later call is not helped."""
        for _ in range(self._running):
            self._calls.put(None)
        # Those that are stuck will take theirs later, which must not be one of the next threads'.
        self._running, self._calls = 0, queue.SimpleQueue()


def _work(calls: queue.SimpleQueue) -> None:
    while (call := calls.get()) is not None:
        call()
        del call  # while this thread waits, it must not keep a batch


def _run(future: Future, call: Callable) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(call())
    except BaseException as error:
        future.set_exception(error)
        del future  # the error's traceback has this frame, and would keep itself alive
