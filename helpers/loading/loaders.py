"""Where a batch is made: in the calling thread, by processes, or by any executor."""

import concurrent.futures
import os
import socket
import threading
import uuid
import warnings
from collections.abc import Callable, Sequence

import cloudpickle
import numpy as np

from helpers import arguments
from helpers.images.arrays import BOUNDARY, cut, stacked
from helpers.images.augmenting import AugmentError
from helpers.images.batches import expanded, load_batch, load_smallest
from helpers.images.reading import ImageError, printable
from helpers.images.request import BatchRequest, LoadedBatch
from helpers.loading.memory import BatchMemory
from helpers.loading.pool import Pool, WorkerDiedError

SLOW_OR_STUCK = "Is the disk slow, or the image very large, or a worker stuck?"

TRIES = 3
"""So many processes may die over a batch before that is an error."""


class Loader:
    """Makes batches in the thread that asks for them.

    Parameters
    ----------
    memory : BatchMemory
        Where batches are put.
    """

    def __init__(self, memory: BatchMemory):
        self.memory = memory
        self._program = os.getpid()

    def load(self, request: BatchRequest) -> LoadedBatch:
        """Load a batch; as `helpers.images.batches.load_batch`, from any number of threads."""
        if os.getpid() != self._program:
            # In a fork of the program, whose threads and processes are not ours; and a lock
            # that one of its threads held stays closed here for ever.
            return load_batch(request, self._arrays(request))
        return self._load(request)

    def rest(self) -> None:
        """Give back what is only kept for the next batch."""
        self.memory.clear()

    def close(self) -> None:
        """End for good."""
        self.rest()

    def _load(self, request: BatchRequest) -> LoadedBatch:
        return load_batch(request, self._arrays(request))

    def _arrays(self, request: BatchRequest) -> list[np.ndarray] | None:
        """Arrays to write a batch to; None if it needs to be made to know how large they are."""
        if not (layout := request.layout):
            return None
        return cut(self.memory.empty(), layout, len(request.filenames))


class ExecutorLoader(Loader):
    """Has batches made by an executor: a pool of processes or threads, or a cluster.

    Parameters
    ----------
    memory : BatchMemory
        Where batches are put.
    executor : concurrent.futures.Executor
        Makes them. The pictures travel as they are smallest; see `load_smallest`.
    timeout : float or None
        Seconds to wait for a batch; None waits for ever. A batch that nobody has begun is then
        withdrawn; a worker that is stuck is the executor's to end.
    """

    def __init__(
        self, memory: BatchMemory, executor: concurrent.futures.Executor, timeout: float | None
    ):
        super().__init__(memory)
        self.executor = executor
        self.timeout = timeout

    def _load(self, request: BatchRequest) -> LoadedBatch:
        try:
            future = self.executor.submit(_load_anew, request, uuid.uuid4().hex)
            done, _ = concurrent.futures.wait([future], self.timeout)
            smallest = future.result() if done else None
        except (ImageError, AugmentError):
            raise
        except Exception as error:
            raise RuntimeError(
                f"the executor did not make {describe(request)} ({type(error).__name__}: {error}). "
                f"Do its workers still run, and a cluster's scheduler? Is the system out of "
                f"memory, or does augment or an image crash Python?"
            ) from error
        if smallest is None:
            future.cancel()
            raise _timeout_error(
                request,
                self.timeout,
                f"{SLOW_OR_STUCK} Are a cluster's workers or scheduler gone?",
            )
        return expanded(smallest, request, self._arrays(request))


def _load_anew(request: BatchRequest, call: str) -> bytes:
    """Load a batch, in an executor.

    Dask takes two calls with equal arguments for one, and keeps an error as long as anybody
    does: a batch would fail again after its file was mended. So each `call` has its own name.
    """
    return load_smallest(request)


class ProcessLoader(Loader):
    """Has batches made by processes of its own, in memory that they share with this one.

    The processes start with the first batch and end with `rest`, `close` or this process. A batch
    whose process dies is made again by another.

    Parameters
    ----------
    memory : BatchMemory
        Where batches are put when no shared memory is to be had.
    workers : int
        Number of processes.
    slots : int
        Batches that fit into shared memory. While all are held, batches travel by value.
    timeout : float or None
        Seconds to wait for a batch; None waits for ever.
    functions : sequence of callable
        Those that the requests have as `functions`; each process gets them once.

    Raises
    ------
    TypeError
        If one of the `functions` cannot be sent to a process.
    """

    def __init__(
        self,
        memory: BatchMemory,
        workers: int,
        slots: int,
        timeout: float | None,
        functions: Sequence[Callable | None] = (),
    ):
        super().__init__(memory)
        self.workers = workers
        self.slots = slots
        self.timeout = timeout
        self._functions = _pickled(functions) if any(functions) else None
        # A finalizer may run in the thread that holds the lock, hence one that can be taken twice.
        self._lock = threading.RLock()
        self._pool: Pool | None = None
        self._closed = False
        self._warned: set[str] = set()

    def rest(self) -> None:
        """End the processes; the next batch starts them again."""
        super().rest()
        if os.getpid() == self._program:
            with self._lock:
                if self._pool is not None:
                    self._pool.end()
                    self._pool = None

    def close(self) -> None:
        """End the processes, whatever they are doing."""
        self._closed = True
        super().close()

    def _load(self, request: BatchRequest) -> LoadedBatch:
        for _ in range(TRIES):
            pool = self._running_pool()
            try:
                loaded = pool.load(request, self.timeout)
            except TimeoutError as error:
                causes = f"{error} {SLOW_OR_STUCK}".lstrip()
                raise _timeout_error(request, self.timeout, causes) from error
            except WorkerDiedError as error:
                death = error
                self._warn_once(
                    "death",
                    f"{error} Its batch is made again by another, so nothing is lost. Was the "
                    f"system short of memory? Then use fewer workers or smaller batches.",
                )
            else:
                if loaded.heavy_library:
                    self._warn_once("heavy library", _heavy_text(loaded.heavy_library))
                return self._aligned(request, loaded)
        raise RuntimeError(
            f"{TRIES} worker processes died, one after the other, over {describe(request)}. Is the "
            f"system out of memory (try fewer workers, or smaller batches), or does augment or "
            f"an image crash Python? {death}"
        )

    def _aligned(self, request: BatchRequest, loaded: LoadedBatch) -> LoadedBatch:
        """Put a batch that came by value into memory that TensorFlow need not copy."""
        if all(array.ctypes.data % BOUNDARY == 0 for array in loaded.arrays):
            return loaded
        if (arrays := self._arrays(request)) is None:
            return loaded._replace(arrays=[stacked(array) for array in loaded.arrays])
        arrays = [array[: len(loaded.positions)] for array in arrays]
        for array, came in zip(arrays, loaded.arrays, strict=True):
            array[...] = came
        return loaded._replace(arrays=arrays)

    def _running_pool(self) -> Pool:
        with self._lock:
            if self._closed:
                raise RuntimeError("the generator was closed before its batch was made")
            if self._pool is None:
                slots = self.slots if self.memory.size else 0  # pictures of any size go by value
                self._pool = Pool(self.workers, slots, self.memory.size, self._functions)
            return self._pool

    def _warn_once(self, subject: str, text: str) -> None:
        with self._lock:
            warn = not (subject in self._warned or self._closed)
            self._warned.add(subject)
        if warn:
            warnings.warn(f"{text} (Said once.)", stacklevel=3)


def choose_loader(
    memory: BatchMemory,
    processes: int,
    executor: concurrent.futures.Executor | None,
    timeout: float | None,
    functions: Sequence[Callable | None],
) -> Loader:
    """Choose who makes the batches of a generator.

    Parameters
    ----------
    memory, executor, timeout, functions
        As in the loaders above.
    processes : int
        Number of processes; 0 for none.

    Returns
    -------
    Loader
        One for the executor, if there is one; for processes, where there can be any; otherwise
        for the threads that ask.
    """
    if executor is not None:
        return ExecutorLoader(memory, executor, timeout)
    if processes and hasattr(socket, "send_fds"):
        return ProcessLoader(memory, processes, memory.most_kept, timeout, functions)
    if processes:
        warnings.warn(
            "worker processes need Linux or macOS; threads make the batches instead. If "
            "augment is slow Python, pass executor=, such as loky.get_reusable_executor()",
            stacklevel=5,
        )
    return Loader(memory)


def describe(request: BatchRequest) -> str:
    """Name a batch and its files, for a message."""
    first, last = request.filenames[0], request.filenames[-1]
    names = f"from {printable(first)} to {printable(last)}"
    return f"{request.name} of {arguments.counted(len(request.filenames), 'file')}, {names}"


def _timeout_error(request: BatchRequest, timeout: float | None, causes: str) -> TimeoutError:
    return TimeoutError(
        f"nothing came within {timeout:g} s of {describe(request)}. {causes} Raise timeout= if "
        f"batches may take so long."
    )


def _heavy_text(library: str) -> str:
    return (
        f"augment or read imports {library} in each worker process: hundreds of MB and seconds "
        f"each, and no GPU there (it is hidden from workers). Put such a step into the model, as "
        f"keras.layers.Rescaling or preprocess_input at its start, or write it with numpy."
    )


def _pickled(functions: Sequence[Callable | None]) -> bytes:
    for function in functions:
        try:
            cloudpickle.dumps(function)
        except Exception as error:
            name = getattr(function, "__qualname__", repr(function))
            raise TypeError(
                f"the function {name} cannot be sent to worker processes "
                f"({type(error).__name__}: {error}). Make what it needs inside the function, or "
                f"use threads (use_multiprocessing=False)."
            ) from error
    return cloudpickle.dumps(tuple(functions))
