"""Batches that are made before they are asked for.

All that is known here of a batch is its *key*, a function that makes it of a key, and the order in
which batches are going to be asked for. That order is a guess: a batch that was not begun is made
when it is asked for; one that was begun and is not asked for is given back.
"""

import itertools
import os
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Protocol

from helpers.loading.loaders import Loader
from helpers.loading.threads import Threads

IDLE_SECONDS = 5.0
"""After so long without a request, and without a reader, all is given back until the next one."""

PATIENCE = 1.0
"""Seconds that a batch may wait for a thread, before who asks for it makes it."""

WRONG_GUESSES = 3
"""So many in a row, and a plan is given up."""

Key = tuple[Hashable, ...]


class Reader(Protocol):
    """Who goes through batches: a ``fit``, or a loop."""

    def is_under_way(self) -> bool:
        """Whether it may ask for more; called from any thread."""


@dataclass
class Plan:
    """What a reader is going to ask for.

    Attributes
    ----------
    reader : Reader
        Who.
    keys : iterator of tuple
        Which batches come next, of those that are not begun.
    make : callable
        ``make(*key)`` makes a batch.
    is_held : bool
        Whether nothing is begun before the reader asks.
    wrong_guesses : int
        Requests in a row that were others.
    """

    reader: Reader
    keys: Iterator[Key]
    make: Callable
    is_held: bool = False
    wrong_guesses: int = 0


class ReadAhead:
    """Has the batches that come next made in threads, while the present one is used.

    Parameters
    ----------
    loader : Loader
        What makes the batches in the end. It is let rest, and closed, together with this.
    threads : int
        Batches that are made at a time; 0 makes none ahead.
    most_ahead : int
        Batches that are ready or on their way, besides the one that is asked for.
    """

    def __init__(self, loader: Loader, threads: int = 0, most_ahead: int = 0):
        self.loader = loader
        self.threads = threads
        self.most_ahead = most_ahead if threads else 0
        # A finalizer may run in the thread that holds the lock, hence one that can be taken twice.
        self._lock = threading.RLock()
        self._program = os.getpid()
        self._pool = Threads(threads)
        self._plans: list[Plan] = []  # the last one counts; it has interrupted those before it
        self._begun: dict[Key, Future] = {}  # of that plan, in its order
        self._at_work = 0
        self._last_used = 0.0
        self._timer: threading.Timer | None = None

    # ---- what comes next -------------------------------------------------------------------------

    def begin(
        self, reader: Reader, keys: Iterable[Key], make: Callable, hold: bool = False
    ) -> None:
        """Begin the first batches that a reader is going to ask for; with `hold`, once it asks.

        This replaces the reader's earlier plan; of what that has begun, what comes now, too, is
        kept. The plan of another reader waits for the end of this one.
        """
        if self._is_in_a_fork():
            return
        with self._lock:
            if self._plans:
                interrupted = self._plans[-1]
                interrupted.keys = itertools.chain(list(self._begun), interrupted.keys)
            self._plans = [plan for plan in self._plans if plan.reader is not reader]
            self._plans.append(Plan(reader, iter(keys), make, hold))
            self._begin_anew()

    def end(self, reader: Reader | None) -> None:
        """Give back what was begun for a reader; go on with the plan that it has interrupted."""
        if self._is_in_a_fork():
            return
        with self._lock:
            was_last = bool(self._plans) and self._plans[-1].reader is reader
            self._plans = [plan for plan in self._plans if plan.reader is not reader]
            if was_last:
                self._begin_anew()

    def _begin_anew(self) -> None:
        """Have begun what the last plan wants first, and nothing else."""
        before, self._begun = self._begun, {}
        self._fill(before)
        for future in before.values():
            future.cancel()

    def _fill(self, before: dict[Key, Future]) -> None:
        """Begin as many batches as may be; those that were begun before are taken over."""
        if not self._plans or self._plans[-1].is_held:
            return
        plan = self._plans[-1]
        for key in itertools.islice(plan.keys, self.most_ahead - len(self._begun)):
            begun = before.pop(key, None)
            self._begun[key] = begun or self._pool.submit(self._make, plan.make, key)

    # ---- what is asked for -----------------------------------------------------------------------

    def take(self, reader: Reader | None, key: Key, make: Callable):
        """Return a batch: the one that was begun, or one that this thread makes now.

        Parameters
        ----------
        reader : Reader or None
            Who asks. Only what was begun for the same reader is looked at.
        key : tuple
            Which one.
        make : callable
            ``make(*key)`` makes it.

        Raises
        ------
        Exception
            What `make` raised.
        """
        if self._is_in_a_fork():
            return make(*key)
        future = self._begun_for(reader, key)
        if future is not None:
            wait([future], PATIENCE)
        if future is None or future.cancel():  # all threads hang over something else
            return self._make(make, key)
        try:
            return future.result()
        finally:
            del future  # an error's traceback has this frame, and would keep itself alive

    def _begun_for(self, reader: Reader | None, key: Key) -> Future | None:
        """Take a batch from those that were begun, if it is among them, and begin others."""
        with self._lock:
            if not self._plans or self._plans[-1].reader is not reader:
                return None
            plan, future = self._plans[-1], None
            if plan.is_held:
                plan.is_held = False
                self._fill({})
            is_right = key == next(iter(self._begun), None)
            plan.wrong_guesses = 0 if is_right else plan.wrong_guesses + 1
            if key in self._begun:
                # Nobody goes back: what stands before this one will not be asked for.
                for passed_by in itertools.takewhile(lambda other: other != key, [*self._begun]):
                    self._begun.pop(passed_by).cancel()
                future = self._begun.pop(key)
            if plan.wrong_guesses == WRONG_GUESSES:
                plan.keys = iter(())
                self._begin_anew()
            self._fill({})
            return future

    def _make(self, make: Callable, key: Key):
        with self._lock:
            self._at_work += 1
        try:
            return make(*key)
        finally:
            with self._lock:
                self._at_work -= 1
                self._last_used = time.monotonic()
                if self._timer is None:
                    self._start_timer(IDLE_SECONDS)

    def _is_in_a_fork(self) -> bool:
        """Whether this is a fork of the program: its threads are not here, and locks stay shut."""
        return os.getpid() != self._program

    # ---- the end ---------------------------------------------------------------------------------

    def close(self) -> None:
        """End for good."""
        if self._is_in_a_fork():
            return
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            self._rest()
            self.loader.close()

    def _rest(self) -> None:
        """Give back all that is only kept for the next batch."""
        self._timer = None
        self._plans.clear()
        self._begin_anew()
        self._pool.shutdown()
        self.loader.rest()

    def _start_timer(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._rest_if_idle)
        self._timer.daemon = True
        self._timer.start()

    def _rest_if_idle(self) -> None:
        with self._lock:
            in_use = self._at_work or any(plan.reader.is_under_way() for plan in self._plans)
            idle = 0 if in_use else time.monotonic() - self._last_used
            if idle < IDLE_SECONDS:
                self._start_timer(IDLE_SECONDS - idle)
            else:
                self._rest()
