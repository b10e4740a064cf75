"""What runs beside the training: a server process that starts worker processes.

The server imports what workers need, once. For each byte that it gets it starts a worker and
sends back the other end of that worker's channel. A worker is a copy (fork) of the server,
which is small and has no threads: it is there in milliseconds and shares most of its memory.
Where forking is not safe, a worker starts from nothing instead.

Nothing of this outlives the program that it works for: when that is gone, the server ends
all that it started, and itself.
"""

import contextlib
import faulthandler
import functools
import mmap
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import traceback

import numpy as np

from helpers.images.arrays import cut
from helpers.images.batches import Watch, load_batch
from helpers.images.request import BatchRequest
from helpers.loading.memory import NUMBER_BYTES
from helpers.loading.watch import STDERR, WorkerWatch

HEAVY_LIBRARIES = ("tensorflow", "torch", "jax", "keras")
"""What no `augment` or `read` should import in each worker; Keras, which imports one, is last."""


def run_server(control: socket.socket, memory: int, program: int, start_method: str) -> None:
    """Start a worker for each byte that comes, until `program` is gone.

    Parameters
    ----------
    control : socket.socket
        Where the requests come from. The answer is the process id of the new worker, as
        text, with its channel as an open file descriptor.
    memory : int
        File descriptor of the memory for batches, or -1 for none.
    program : int
        Process id of the program that this is for, our parent.
    start_method : {"fork", "exec"}
        Copy this process for each worker, or start a new one.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # so that dead workers leave no zombies
    # The end of `control` alone does not tell: a fork of the program may hold it open.
    while os.getppid() == program:
        if not select.select([control], [], [], 1)[0]:
            continue
        if not control.recv(1):
            break
        theirs, ours = socket.socketpair()
        with theirs, ours:
            if start_method == "exec":
                pid = _exec_worker(ours, memory)
            elif not (pid := os.fork()):
                control.close()
                theirs.close()
                _run_forked_worker(ours, memory)
            socket.send_fds(control, [str(pid).encode()], [theirs.fileno()])
    os.killpg(0, signal.SIGKILL)  # workers that are stopped or hang on a disk, too


def _exec_worker(channel: socket.socket, memory: int) -> int:
    descriptors = [number for number in (channel.fileno(), memory) if number >= 0]
    command = [sys.executable, "-P", "-m", __spec__.name, "worker"]
    command += [str(channel.fileno()), str(memory)]
    return subprocess.Popen(command, pass_fds=descriptors).pid


def _run_forked_worker(channel: socket.socket, memory: int) -> None:
    try:
        _be_worker(channel, memory)
    finally:
        os._exit(1)  # whatever happens, a copy of the server must never go on as a server


def _be_worker(channel: socket.socket, memory: int) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # the server, from which we come, ignores it
    terminal = None
    with contextlib.suppress(OSError):  # where a program has none
        terminal = os.dup(STDERR)
        faulthandler.enable(terminal)  # descriptor 2 may be elsewhere when a decoder crashes
    run_worker(channel, memory, terminal)


def run_worker(channel: socket.socket, memory: int, terminal: int | None = None) -> None:
    """Load the batches that `channel` asks for, until it is closed.

    Parameters
    ----------
    channel : socket.socket
        Brings, each pickled, first the pickled `functions` of the requests or None, with the
        offset in memory where to note which file the work is at, or None; then for each batch the
        offset in memory to write to, or None, and a `BatchRequest`. Takes a pickled `LoadedBatch`,
        without `arrays` if they were written to memory, or the exception that was raised.
    memory : int
        File descriptor of the memory for batches, or -1 for none.
    terminal : int, optional
        A copy of descriptor 2, if decoders are to be listened to.
    """
    shared = mmap.mmap(memory, 0) if memory >= 0 else None
    with channel.makefile("rb") as messages, contextlib.suppress(EOFError, ConnectionError):
        functions, place = pickle.load(messages)
        position = None
        if shared is not None and place is not None:
            position = memoryview(shared)[place : place + NUMBER_BYTES].cast("q")
        watch = WorkerWatch(position, terminal)
        while True:  # until the program closes the channel, or is gone
            offset, request = pickle.load(messages)
            channel.sendall(_answer(request, functions, shared, offset, watch))


def _answer(
    request: BatchRequest,
    functions: bytes | None,
    shared: mmap.mmap | None,
    offset: int | None,
    watch: Watch,
) -> bytes:
    try:
        if functions is not None:
            request = request.with_functions(_unpickled(functions))
        if offset is None or shared is None:
            loaded = load_batch(request, None, watch)
        else:
            memory = np.frombuffer(shared, np.uint8, offset=offset)
            arrays = cut(memory, request.layout, len(request.filenames))
            loaded = load_batch(request, arrays, watch)._replace(arrays=None)
        if functions is not None:
            loaded = loaded._replace(heavy_library=_heavy_library())
        return pickle.dumps(loaded)
    except Exception as error:
        return _pickled_error(error)


def _heavy_library() -> str | None:
    return next((name for name in HEAVY_LIBRARIES if name in sys.modules), None)


@functools.lru_cache(1)
def _unpickled(functions: bytes):
    return pickle.loads(functions)


def _pickled_error(error: Exception) -> bytes:
    """Exception with its traceback as a note, which survives pickling where tracebacks do not."""
    note = f"In worker process {os.getpid()}:\n{traceback.format_exc()}"
    try:
        error.add_note(note)
        pickled = pickle.dumps(error)
        pickle.loads(pickled)  # an exception with a constructor of its own may not come back
    except Exception:
        substitute = RuntimeError(f"{type(error).__name__}: {error}")
        substitute.add_note(note)
        return pickle.dumps(substitute)
    return pickled


def main() -> None:
    """Run as server or as worker, with the open file descriptors that argv names."""
    if sys.stderr is not None:
        faulthandler.enable()  # a crash says where it was
    role, descriptor, memory, *rest = sys.argv[1:]
    channel = socket.socket(fileno=int(descriptor))
    if role == "server":
        program, start_method = rest
        run_server(channel, int(memory), int(program), start_method)
    else:
        _be_worker(channel, int(memory))


if __name__ == "__main__":
    main()
