"""Reading from disks that sometimes fail: what passes is tried again."""

import errno
import time
from collections.abc import Callable

PASSING = tuple(
    getattr(errno, name)
    for name in ("EIO", "ESTALE", "ETIMEDOUT", "EINTR")
    if hasattr(errno, name)  # Windows has no ESTALE
)
PAUSES = 0.1, 0.5, 2.0
"""Seconds before each new try."""


def try_again(read: Callable, *arguments):
    """Call a function that reads, and call it again after an error that may pass.

    Network disks give such errors for a moment, when a server is busy or restarts. A file that
    is missing, or that may not be read, is not asked for again.

    Parameters
    ----------
    read : callable
        Reads from a disk.
    *arguments
        What it is called with.

    Returns
    -------
    object
        What it returns.

    Raises
    ------
    OSError
        The last one, if it does not pass.
    """
    for pause in PAUSES:
        try:
            return read(*arguments)
        except OSError as error:
            if error.errno not in PASSING:
                raise
        time.sleep(pause)
    return read(*arguments)
