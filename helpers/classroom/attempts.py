"""Call what may fail, and see what it says in a line, without the long traceback."""

import textwrap
from collections.abc import Callable
from typing import Any


def attempt(function: Callable, *arguments: Any, **options: Any) -> None:
    """Call a function and print the error that it raises, or that it raised none.

    Parameters
    ----------
    function : callable
        What it returns is dropped.
    *arguments, **options
        Passed to it.

    Examples
    --------
    >>> attempt(int, "x")
    ValueError: invalid literal for int() with base 10: 'x'
    >>> attempt(int, "3")
    no error
    """
    try:
        function(*arguments, **options)
    except Exception as error:
        message = " ".join(str(error).split())
        line = f"{type(error).__name__}: {message}" if message else type(error).__name__
        print(textwrap.fill(line, width=95, subsequent_indent="    "))
    else:
        print("no error")
