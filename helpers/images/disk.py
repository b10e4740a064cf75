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


def try_again(error: OSError, read: Callable, *arguments):
    """Call a function again that could not read, if its error may pass.

    Network disks give such errors for a moment, when a server is busy or restarts. A file that
    is missing, or that may not be read, is not asked for again.

    Parameters
    ----------
    error : OSError
        What the function raised.
    read : callable
        Reads from a disk.
    *arguments
        What it was called with.

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
        if error.errno not in PASSING:
            break
        time.sleep(pause)
        try:
            return read(*arguments)
        except OSError as next_error:
            error = next_error
    raise error
