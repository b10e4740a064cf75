"""What a worker process tells beside its batches: where it is, and what decoders complained of."""

import contextlib
import os
import threading
from collections.abc import Sequence
from pathlib import Path

from helpers import arguments
from helpers.images.batches import Watch
from helpers.images.packs import is_packed
from helpers.images.reading import printable
from helpers.images.request import BatchRequest
from helpers.loading.memory import file_without_name

NOT_BEGUN = -1  # instead of a position in a batch
STAT_SECONDS = 1.0  # for a disk to say how large a file is
STDERR = 2
MOST_BYTES, MOST_LINES = 4096, 5  # of what is said about one picture


class WorkerWatch(Watch):
    """Looks on in a worker process; it costs about a microsecond a picture.

    libjpeg and libpng write to the standard error of the process what is wrong with a picture,
    and not which one it is. So while one is decoded, descriptor 2 is a file, which is then read.
    (If the process dies meanwhile, its content is lost.)

    Parameters
    ----------
    position : memoryview, optional
        A whole number, in memory that the program sees, too: at which file the work is.
    terminal : int, optional
        A copy of descriptor 2, from before. Without one, nobody listens.
    """

    def __init__(self, position: memoryview | None, terminal: int | None):
        self._position = position
        self._terminal = terminal
        self._listens = False
        if terminal is not None:
            self._file = file_without_name("messages")
            self._descriptor = self._file.fileno()

    def begin(self, position: int) -> None:
        """Write the position where the program sees it; keep what is written to descriptor 2."""
        if self._position is not None:
            self._position[0] = position
        if self._terminal is not None and not self._listens:
            os.dup2(self._descriptor, STDERR)
            self._listens = True

    def heard(self) -> Sequence[str]:
        """Return the lines that were kept since the last call."""
        # Asked for each picture; the descriptor is left as it is, which halves the cost.
        size = os.lseek(self._descriptor, 0, os.SEEK_CUR) if self._listens else 0
        return self._take(size) if size else ()

    def stop_listening(self) -> None:
        """Let what is written go to the terminal again."""
        if self._terminal is not None and self._listens:
            os.dup2(self._terminal, STDERR)
            self._listens = False

    def _take(self, size: int) -> list[str]:
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        text = os.read(self._descriptor, min(size, MOST_BYTES)).decode(errors="replace")
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.ftruncate(self._descriptor, 0)
        lines = dict.fromkeys(line.strip() for line in text.splitlines())  # each once
        return [line for line in lines if line][:MOST_LINES]


def whereabouts(request: BatchRequest, position: int) -> str:
    """Say at which file of a batch a worker is, and how large that file is.

    Parameters
    ----------
    request : BatchRequest
        What the worker was asked for.
    position : int
        What its `WorkerWatch` noted.

    Returns
    -------
    str
        A sentence for a message.
    """
    if position == NOT_BEGUN:
        return "The worker had not come to its first file."
    filename = request.filenames[position]
    size = None if is_packed(filename) else _size(Path(request.folder, filename))
    weight = "" if size is None else f" ({arguments.counted(size, 'byte')})"
    return f"The worker was at {printable(filename)}{weight}."


def _size(file: Path) -> int | None:
    """Size of a file in bytes; None if the disk does not say it, or not soon."""
    sizes: list[int] = []

    def ask() -> None:
        with contextlib.suppress(OSError, ValueError):  # ValueError: a name with a null character
            sizes.append(file.stat().st_size)

    # A network disk that is gone may never answer, and nothing ends the thread that waits for it.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(STAT_SECONDS)
    return sizes[0] if sizes else None
