"""Take memory away from this process for a while, as a smaller machine would."""

import contextlib
from collections.abc import Iterator

import psutil

from helpers.classroom.apart import LINUX


@contextlib.contextmanager
def memory_limit(megabytes: float) -> Iterator[None]:
    """Let this process have so much more memory than it has now, and no more, while a block runs.

    What counts is every byte that the process has an address for, used or not, shared or not
    (``RLIMIT_AS``). Beyond the limit the system refuses, and Python raises MemoryError. Libraries
    in C may not expect that and end the process, so use it in a process of its own:
    `helpers.classroom.apart.on_a_leash`.

    Parameters
    ----------
    megabytes : float
        In 10⁶ bytes.

    Raises
    ------
    OSError
        On another system than Linux: macOS does not keep such a limit, Windows has none.
    """
    if not LINUX:
        raise OSError("only Linux limits the memory of a process that is running")
    process = psutil.Process()
    soft, hard = process.rlimit(psutil.RLIMIT_AS)
    limit = process.memory_info().vms + round(1e6 * megabytes)
    process.rlimit(psutil.RLIMIT_AS, (limit, hard))  # the soft one can be lifted again
    try:
        yield
    finally:
        process.rlimit(psutil.RLIMIT_AS, (soft, hard))
