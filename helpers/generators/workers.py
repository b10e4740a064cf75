"""Batches that workers make ahead: threads, processes, or an executor."""

import concurrent.futures
import copy
import weakref
from abc import abstractmethod
from collections.abc import Callable

from helpers import arguments
from helpers.generators.epochs import Epochs
from helpers.generators.passes import HELD_BY_TENSORFLOW, Pass
from helpers.images.arrays import batch_bytes
from helpers.images.request import BatchRequest
from helpers.loading.loaders import ProcessLoader, choose_loader
from helpers.loading.memory import BatchMemory
from helpers.loading.read_ahead import ReadAhead


class Workers(Epochs):
    """Epochs whose batches are asked of workers.

    Parameters
    ----------
    executor : concurrent.futures.Executor, optional
        Where to make the batches, instead of threads or processes of its own.
    timeout : float or None
        Seconds after which a batch that is not delivered is an error.
    """

    augment_batch: Callable | None

    def __init__(self, executor: concurrent.futures.Executor | None, timeout: float | None):
        super().__init__()
        self.timeout = timeout
        self._executor = executor
        self._begin_anew()

    @property
    @abstractmethod
    def batch_size(self) -> int:
        """Images in a batch."""

    @abstractmethod
    def _plan(self) -> BatchRequest:
        """Return what all requests have in common."""

    def _begin_anew(self) -> None:
        """Make what belongs to one generator, and not to a copy of it."""
        self._pass = Pass()
        self._memory = BatchMemory(batch_bytes(self._plan().layout, self.batch_size))
        self._close_workers: Callable | None = None

    def __getstate__(self) -> dict:
        """Return all that a copy has in common with this one: it has workers of its own."""
        own = "_pass", "_memory", "_read_ahead", "_close_workers"
        return {name: value for name, value in vars(self).items() if name not in own}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._begin_anew()
        self._use_workers(*self._settings)

    def __deepcopy__(self, memo: dict):
        memo[id(self._executor)] = self._executor  # it is the caller's, and can seldom be copied
        duplicate = memo[id(self)] = object.__new__(type(self))
        duplicate.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return duplicate

    def _draws_here(self) -> bool:
        # An executor may: Dask does, to choose a worker. And what the caller's own functions draw
        # from `random` is repeatable, see `helpers.images.augmenting`.
        if self.augment_batch is not None or self._executor is not None:
            return True
        functions = self._plan().functions
        return any(functions) and not isinstance(self._read_ahead.loader, ProcessLoader)

    def set_workers(
        self, workers: int, use_multiprocessing: bool = False, max_queue_size: int = 10
    ):
        """Choose who makes the batches ahead; the parameters are those of the class."""
        workers = arguments.whole_number("workers", workers, at_least=0)
        queue = arguments.whole_number("max_queue_size", max_queue_size, at_least=1)
        processes = arguments.yes_or_no("use_multiprocessing", use_multiprocessing)
        self._use_workers(workers, processes, queue)

    @property
    def max_queue_size(self) -> int:
        """Batches that are ready or in work, besides the one that is asked for, at most."""
        return self._settings[2]

    @max_queue_size.setter
    def max_queue_size(self, max_queue_size: int) -> None:
        self.set_workers(*self._settings[:2], max_queue_size)

    def _use_workers(self, workers: int, processes: bool, queue: int) -> None:
        alone = workers == 1 and not processes and self._executor is None
        ahead = 1 if alone else queue
        # Ready or in work, asked for, with TensorFlow, and in the hands of the training step.
        self._memory.most_kept = ahead + 1 + HELD_BY_TENSORFLOW + 1
        count = workers if processes else 0
        loader = choose_loader(
            self._memory, count, self._executor, self.timeout, self._plan().functions
        )
        if self._close_workers is not None:
            self._close_workers()
        self._settings = workers, processes, queue
        self._read_ahead = ReadAhead(loader, workers, ahead)
        # Called by the next change, when the generator is garbage (but TensorFlow 2.21 keeps
        # whatever ``fit`` ever read from), and when Python ends.
        self._close_workers = weakref.finalize(self, self._read_ahead.close)

    def close(self) -> None:
        """End this generator's threads and processes, and give back what they hold.

        Batches that are asked for later are made in the thread that asks. Without `close`
        they end when for five seconds nobody reads, and with Python.
        """
        self._use_workers(0, False, self.max_queue_size)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()
