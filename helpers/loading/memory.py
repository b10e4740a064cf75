"""Memory for batches: used again and again, never while somebody holds the batch."""

import errno
import io
import mmap
import os
import tempfile
import weakref

import numpy as np

from helpers.images.arrays import empty_block

NUMBER_BYTES = 8


class BatchMemory:
    """Arrays for batches, whose memory is used again once nobody holds the batch.

    The pages of a new 15 MB array take the system longer than its pictures take to decode,
    so the memory of a batch that is gone serves the next one. A batch, or any slice of it,
    that somebody still holds is never written to again.

    Parameters
    ----------
    size : int
        Bytes of the largest batch.

    Attributes
    ----------
    most_kept : int
        Memory for so many batches is kept when it is free; more goes back to the system.
    """

    def __init__(self, size: int):
        self.size = size
        self.most_kept = 16
        self._free: list[np.ndarray] = []  # append and pop are atomic: threads share the list

    def empty(self) -> np.ndarray:
        """uint8 array of undefined values for a batch, on a 64-byte boundary."""
        try:
            memory = self._free.pop()
        except IndexError:
            memory = empty_block(self.size)
        batch = _array_of_its_own(memory.data)
        weakref.finalize(batch, self._take_back, memory).atexit = False
        return batch

    def clear(self) -> None:
        """Give the memory that is free back to the system."""
        self._free.clear()

    def _take_back(self, memory: np.ndarray) -> None:
        if len(self._free) < self.most_kept:
            self._free.append(memory)


class SharedMemory:
    """Slots for batches, in memory that this process shares with its workers.

    The memory belongs to a file without a name, which a child gets as an open descriptor:
    nothing is left behind, however a process ends. On Linux the file lives in memory and
    does not count against ``/dev/shm``, which is 64 MB small in containers.

    Parameters
    ----------
    slots : int
        Number of batches that fit.
    slot_bytes : int
        Size of the largest batch.
    users : int
        Number of processes that write to it.

    Attributes
    ----------
    file : io.FileIO
        The file, for a child to map.
    positions : memoryview
        A whole number for each user, behind the slots: at which file of its batch it is.

    Raises
    ------
    OSError
        If the system has no such memory to give.
    """

    def __init__(self, slots: int, slot_bytes: int, users: int):
        # Whole pages, so each slot starts on a boundary that TensorFlow takes without a copy.
        self.slot_bytes = -(-slot_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
        self._end_of_slots = slots * self.slot_bytes
        size = self._end_of_slots + users * NUMBER_BYTES
        self.file = file_without_name("batches")
        self.file.truncate(size)
        self._memory = memoryview(mmap.mmap(self.file.fileno(), size))
        self._allocate(self._end_of_slots, users * NUMBER_BYTES)
        self.positions = self._memory[self._end_of_slots :].cast("q")
        self._never_used = iter(range(0, self._end_of_slots, self.slot_bytes or 1))
        self._free: list[list[int]] = [[] for _ in range(users)]  # append and pop are atomic

    def take(self, user: int) -> int | None:
        """Offset of a free slot for `user` to write to, or None.

        Raises OSError once if the system has no room for all slots.

        A slot goes to the same user again if possible: who writes to memory for the first
        time waits for the system to map its pages, which takes as long as decoding.
        """
        for free in (self._free[user], None, *self._free):
            try:
                return self._new() if free is None else free.pop()
            except (IndexError, StopIteration):
                pass
        return None

    def give_back(self, offset: int, user: int) -> None:
        """Free a slot that nobody writes to any more."""
        self._free[user].append(offset)

    def lend(self, offset: int, user: int, size: int) -> np.ndarray:
        """uint8 array on a slot, which is free again when the last view of it is gone."""
        batch = _array_of_its_own(self._memory[offset : offset + size])
        weakref.finalize(batch, self._free[user].append, offset).atexit = False
        return batch

    def place(self, user: int) -> int:
        """Offset of a user's number in `positions`, for a child to write it."""
        return self._end_of_slots + user * NUMBER_BYTES

    def _new(self) -> int:
        offset = next(self._never_used)
        try:
            self._allocate(offset, self.slot_bytes)
        except OSError:
            self._never_used = iter(())  # from now on, slots that are there serve alone
            raise
        return offset

    def _allocate(self, offset: int, size: int) -> None:
        # Where the system has no more room, this is an error. In a worker, which writes
        # through the mapping, it would be the end of the process (SIGBUS).
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self.file.fileno(), offset, size)
        elif os.pwrite(self.file.fileno(), bytes(size), offset) < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        """Let go of the file; the memory itself lives as long as a batch on it."""
        self.file.close()


def file_without_name(purpose: str) -> io.FileIO:
    """Make a file for one process, or a process and its children; on Linux it lies in memory.

    Parameters
    ----------
    purpose : str
        What the system's tables call it.

    Returns
    -------
    io.FileIO
        An empty file, which is gone with its last descriptor.
    """
    if hasattr(os, "memfd_create"):
        return io.FileIO(os.memfd_create(purpose), "r+")
    return tempfile.TemporaryFile(buffering=0)


def _array_of_its_own(memory: memoryview) -> np.ndarray:
    """uint8 array on `memory` that lives until its last slice is gone, and dies then.

    A slice of a numpy array refers to the array that owns the memory, and keeps that one
    alive. Cut from one array, all batches would seem alive together; through a memoryview
    each has an owner of its own.
    """
    return np.frombuffer(memory, np.uint8)
