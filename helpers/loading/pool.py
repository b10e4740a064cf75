"""Worker processes, seen from the program: started, asked for batches, replaced, ended."""

import contextlib
import os
import pickle
import queue
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterable
from pathlib import Path

from helpers.images.arrays import batch_bytes, cut
from helpers.images.request import BatchRequest, LoadedBatch
from helpers.loading.memory import SharedMemory
from helpers.loading.watch import NOT_BEGUN, whereabouts

WORKER_PROCESS = "helpers.loading.worker_process"
START_METHOD = "fork" if sys.platform == "linux" else "exec"  # macOS's libraries must not fork
START_SECONDS = 60.0  # for a server to start a worker, on a machine that is very busy
KEPT_BYTES = 128 << 20  # of memory that is free, in a worker: two pictures of 20 megapixels
KILL_SECONDS = 5.0  # for the system to end a process


class WorkerDiedError(Exception):
    """A worker process ended before it delivered its batch."""


class Server:
    """The process that starts workers; see `helpers.loading.worker_process`.

    Parameters
    ----------
    memory : int
        File descriptor of the memory that the workers write batches to, or -1 for none.
    """

    def __init__(self, memory: int):
        self._control, theirs = socket.socketpair()
        self._control.settimeout(START_SECONDS)
        descriptors = [theirs.fileno(), memory] if memory >= 0 else [theirs.fileno()]
        arguments = ("server", theirs.fileno(), memory, os.getpid(), START_METHOD)
        environment = {
            **os.environ,
            # What can be imported here can be there, and is the same.
            "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
            "OMP_NUM_THREADS": "1",  # one worker, one core; and a fork must find no threads
            "OPENBLAS_NUM_THREADS": "1",
            # For each large picture glibc would ask the system for new pages, and wait for them:
            # have it keep what the last one left.
            "MALLOC_MMAP_THRESHOLD_": f"{KEPT_BYTES}",
            "MALLOC_TRIM_THRESHOLD_": f"{KEPT_BYTES}",
            # A GPU is the training's. A library that augment imports, such as TensorFlow, would
            # take its memory in each worker: first the names for NVIDIA's, then for AMD's.
            "CUDA_VISIBLE_DEVICES": "-1",
            "HIP_VISIBLE_DEVICES": "-1",
            "JAX_PLATFORMS": "cpu",  # or JAX would complain that there is none
        }
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", WORKER_PROCESS, *map(str, arguments)],
                pass_fds=descriptors,
                env=environment,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the program; and all end as one group
            )

    def start_worker(self) -> "Worker":
        """Start a process; it takes milliseconds, the first one a fraction of a second.

        Raises
        ------
        WorkerDiedError
            If the server ended, or does not answer.
        """
        try:
            self._control.send(b"+")
            pid, descriptors, _, _ = socket.recv_fds(self._control, 32, 1)
        except OSError as error:  # the connection is broken, or START_SECONDS are over
            raise WorkerDiedError(f"The process that starts workers is gone ({error}).") from None
        if not pid:
            raise WorkerDiedError("The process that starts workers ended; see its messages.")
        if not descriptors:
            raise WorkerDiedError("This program has no file descriptor free for a worker.")
        return Worker(int(pid), socket.socket(fileno=descriptors[0]))

    def kill(self) -> None:
        """End it and all its workers at once, those that are stopped or hang, too."""
        if self._process.returncode is None:  # until it is waited for, its number is its own
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def close(self) -> None:
        """Let go of the connection."""
        self._control.close()


class Worker:
    """One process, and the channel to it.

    Parameters
    ----------
    pid : int
        Its process id.
    channel : socket.socket
        Takes pickled requests and gives pickled replies; see `helpers.loading.worker_process`.
    """

    def __init__(self, pid: int, channel: socket.socket):
        self.pid = pid
        self._channel = channel
        self._replies = channel.makefile("rb")

    def ask(self, messages: Iterable[bytes], timeout: float | None):
        """Send pickled messages, of which the last is a request, and wait for the reply.

        Raises
        ------
        TimeoutError
            If there is no reply in time.
        WorkerDiedError
            If the process ended.
        """
        self._channel.settimeout(timeout)
        try:
            for message in messages:
                self._channel.sendall(message)
            return pickle.load(self._replies)
        except (EOFError, ConnectionError, pickle.UnpicklingError):
            raise WorkerDiedError(f"Worker process {self.pid} died.") from None

    def kill(self) -> bool:
        """End the process; True if it is gone, False if the system cannot end it yet."""
        # Who did not answer, or died in this moment, has its number still: pids are not
        # given again so soon.
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._channel.settimeout(KILL_SECONDS)
        try:
            while self._channel.recv(1 << 20):
                pass  # what it still sent; the end comes when the process has no memory any more
        except ConnectionError:
            return True
        except TimeoutError:
            return False
        finally:
            self.close()
        return True

    def close(self) -> None:
        """Close the channel, upon which an idle worker ends."""
        self._replies.close()
        self._channel.close()


class Pool:
    """Processes that load batches, and the memory that they share with this one.

    Each batch goes to one process, and what happens to that one concerns no other.

    Parameters
    ----------
    workers : int
        Number of processes. Each is started when it is first needed.
    slots : int
        Batches that fit into the shared memory. When all of them are in use, or if the
        system has no such memory, batches travel by value.
    slot_bytes : int
        Size of the largest batch.
    functions : bytes, optional
        What the requests have as `functions`, pickled; each process gets them once.
    """

    def __init__(self, workers: int, slots: int, slot_bytes: int, functions: bytes | None = None):
        self._functions = functions
        self.memory: SharedMemory | None = None
        try:
            self.memory = SharedMemory(slots, slot_bytes, users=workers)
        except OSError as error:
            _warn_of_missing_memory(error)
        self._lock = threading.Lock()
        self._ended = self._warned = False
        self._servers = [self._new_server()]
        # Last in, first out: who just finished still has code and pages at hand.
        self._idle: queue.LifoQueue[tuple[int, Worker | None]] = queue.LifoQueue()
        for number in range(workers):
            self._idle.put((number, None))  # one that is yet to be started

    def load(self, request: BatchRequest, timeout: float | None) -> LoadedBatch:
        """Have a process load a batch.

        Parameters
        ----------
        request : BatchRequest
            What to load.
        timeout : float or None
            Seconds to wait; None waits for ever.

        Returns
        -------
        LoadedBatch
            As from `helpers.images.batches.load_batch`.

        Raises
        ------
        WorkerDiedError
            If the process ended. The next one may succeed.
        TimeoutError
            If the batch is not there in time. The message says at which file the process was,
            if there is shared memory to know it from. It was ended.
        Exception
            What `helpers.images.batches.load_batch` raised in the process.
        """
        try:
            number, worker = self._idle.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError("No worker process was free.") from None
        offset = self._take_slot(number)
        if self.memory:
            self.memory.positions[number] = NOT_BEGUN
        try:
            if self._functions is not None:
                request = request.with_functions([None] * len(request.functions))
            messages = [pickle.dumps((offset, request))]
            if worker is None:
                worker = self._start_worker()
                place = self.memory.place(number) if self.memory else None
                messages.insert(0, pickle.dumps((self._functions, place)))
            reply = worker.ask(messages, timeout)
        except BaseException as error:  # Ctrl-C, too: a reply must not meet the next request
            if worker is None or worker.kill():
                self._give_back(offset, number)
            worker = None
            if isinstance(error, TimeoutError):
                raise TimeoutError(self._whereabouts(number, request)) from None
            raise
        finally:
            self._idle.put((number, worker))
        if self.memory and offset is not None and isinstance(reply, LoadedBatch):
            # The worker cut its arrays for all files, before it knew which of them are readable.
            layout, files = request.layout, len(request.filenames)
            block = self.memory.lend(offset, number, batch_bytes(layout, files))
            arrays = [array[: len(reply.positions)] for array in cut(block, layout, files)]
            return reply._replace(arrays=arrays)
        self._give_back(offset, number)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def end(self) -> None:
        """End all processes and give back the memory that nobody holds."""
        self._ended = True
        for server in list(self._servers):
            server.kill()  # this also wakes a thread that waits for a new worker
        with self._lock:
            for server in self._servers:
                server.kill()
                server.close()
        idle = []
        with contextlib.suppress(queue.Empty):
            while True:
                idle.append(self._idle.get_nowait())
        for number, worker in idle:
            if worker is not None:
                worker.close()
            self._idle.put((number, None))  # so that who comes late hears of the end
        if self.memory is not None:
            self.memory.close()

    def _new_server(self) -> Server:
        return Server(self.memory.file.fileno() if self.memory else -1)

    def _start_worker(self) -> Worker:
        with self._lock:
            if self._ended:
                raise WorkerDiedError("The worker processes were ended.")
            try:
                return self._servers[-1].start_worker()
            except WorkerDiedError:
                if self._ended:
                    raise
                # The workers of a server that died go on; only a new one needs a new server.
                self._servers.append(self._new_server())
                return self._servers[-1].start_worker()

    def _take_slot(self, number: int) -> int | None:
        if self.memory is None:
            return None
        try:
            return self.memory.take(number)
        except (OSError, ValueError) as error:  # ValueError: ended, and the file closed
            with self._lock:
                warn, self._warned = not (self._warned or self._ended), True
            if warn:
                _warn_of_missing_memory(error)
            return None

    def _whereabouts(self, number: int, request: BatchRequest) -> str:
        return whereabouts(request, self.memory.positions[number]) if self.memory else ""

    def _give_back(self, offset: int | None, number: int) -> None:
        if self.memory and offset is not None:
            self.memory.give_back(offset, number)


def _warn_of_missing_memory(error: Exception) -> None:
    warnings.warn(
        f"No shared memory for batches ({error}): they travel by value, which is slower. Free "
        f"memory, or use threads (use_multiprocessing=False).",
        stacklevel=2,
    )
