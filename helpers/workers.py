"""Where a batch is made: in the calling thread, or in another process."""

import concurrent.futures
import weakref

import loky
import numpy as np

from helpers.images import BatchRequest, LoadedBatch, aligned_empty, load_batch

IDLE_SECONDS = 60


class BatchMemory:
    """Arrays for batches, whose memory is used again once nobody holds the batch.

    The pages of a new 15 MB array take the system longer than its pictures take to decode,
    so the memory of a batch that is gone serves the next one. A batch, or any slice of it,
    that somebody still holds is never written to again.

    Parameters
    ----------
    shape : tuple of int
        Shape of the largest batch: (images, height, width, channels).
    dtype : str
        Type of the values.

    Attributes
    ----------
    most_kept : int
        Memory for so many batches is kept when it is free; more goes back to the system.
    """

    def __init__(self, shape: tuple[int, ...], dtype: str):
        self.shape = shape
        self.dtype = dtype
        self.most_kept = 16
        self._free: list[np.ndarray] = []  # append and pop are atomic: threads share the list

    def empty(self, count: int) -> np.ndarray:
        """Array of undefined values for a batch of `count` images, on a 64-byte boundary."""
        try:
            memory = self._free.pop()
        except IndexError:
            memory = aligned_empty(self.shape, self.dtype)
        # A slice of a numpy array refers to the array that it was cut from, and keeps that
        # alive. Through a memoryview each batch is such an array of its own, so it dies
        # when the last slice of this batch does, and not before.
        batch = np.frombuffer(memoryview(memory).cast("B"), self.dtype)
        weakref.finalize(batch, self._take_back, memory).atexit = False
        return batch.reshape(self.shape)[:count]

    def clear(self) -> None:
        """Give the memory that is free back to the system."""
        self._free.clear()

    def _take_back(self, memory: np.ndarray) -> None:
        if len(self._free) < self.most_kept:
            self._free.append(memory)


def start_pool(workers: int) -> concurrent.futures.Executor:
    """Start a pool of `workers` processes, each of which imports `helpers.images` only.

    loky's processes start clean instead of as copies of one that runs TensorFlow, need no
    ``if __name__ == "__main__"`` in scripts, and take functions defined in a notebook. They
    end when they had nothing to do for `IDLE_SECONDS`, and start again when they have.
    """
    return loky.ProcessPoolExecutor(max_workers=workers, timeout=IDLE_SECONDS)


def stop_pool(pool: concurrent.futures.Executor) -> None:
    """End the processes of a pool at once, whatever they are doing."""
    pool.shutdown(wait=False, kill_workers=True)


def load_in_executor(
    executor: concurrent.futures.Executor, request: BatchRequest, timeout: float | None
) -> LoadedBatch:
    """Have `executor` load a batch, and wait for it.

    Parameters
    ----------
    executor : concurrent.futures.Executor
        A pool of processes or threads, or a cluster.
    request : BatchRequest
        What to load.
    timeout : float or None
        Seconds to wait; None waits for ever.

    Returns
    -------
    LoadedBatch
        As `helpers.images.load_batch` returns it.

    Raises
    ------
    TimeoutError
        If the batch is not there in time. The message names its files.
    """
    future = executor.submit(load_batch, request)
    done, _ = concurrent.futures.wait([future], timeout)
    if not done:
        future.cancel()
        first, last = request.filenames[0], request.filenames[-1]
        raise TimeoutError(
            f"no batch from the workers after {timeout:g} s; it has {len(request.filenames)} "
            f"files, from {first} to {last}. Is the disk slow, or a worker stuck? "
            f"Raise timeout= if batches may take so long."
        )
    return future.result()
