"""Check what a student wrote: say what is wrong, and never give the answer away."""

import dis
import importlib
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

RIGHT, NOT_YET, TO_DO = "right", "not yet", "still to do"


class Exercise(NamedTuple):
    """What is asked for in one place of a notebook.

    Attributes
    ----------
    check : callable
        Takes what was written and returns None if it is right, else a sentence that says what
        is wrong, without the answer.
    finished : callable or None
        Returns what the notebook goes on with as long as that which was written is not right.
    """

    check: Callable[..., str | None]
    finished: Callable[[], Any] | None = None


_EXERCISES: dict[str, Exercise] = {}


def exercise(number: str, finished: Callable[[], Any] | None = None) -> Callable:
    """Register the decorated function as the check of an exercise; for ``classroom.pages``.

    Parameters
    ----------
    number : str
        Notebook and exercise, such as ``"02.1"``, or ``"02.A"`` for what `checked` asks about.
    finished : callable, optional
        For `checked`: returns the finished thing.
    """

    def register(check: Callable[..., str | None]) -> Callable[..., str | None]:
        _EXERCISES[number] = Exercise(check, finished)
        return check

    return register


def check_exercise(number: str, *answers: Any) -> None:
    """Print whether the answers to an exercise are right, and if not, what is wrong.

    Parameters
    ----------
    number : str
        Notebook and exercise, such as ``"02.1"``.
    *answers
        What was written; ``...`` stands for what is still to be written.

    Raises
    ------
    ValueError
        If there is no such exercise.
    """
    _judge(number, answers)


def checked(number: str, written: Any) -> Any:
    """Print whether what was written is right; return it if it is, else the finished thing.

    So the notebook goes on to its end, whatever is still to be written.

    Parameters
    ----------
    number : str
        Notebook and task, such as ``"02.A"``.
    written : object
        The class or function that was written.

    Returns
    -------
    object
        `written` if it is right, else the finished one of this package.
    """
    if _judge(number, (written,)) == RIGHT:
        return written
    finished = _find(number).finished
    assert finished is not None, f"{number} has nothing finished to go on with"
    print("Until then, this notebook goes on with the finished one.")
    return finished()


def _judge(number: str, answers: tuple) -> str:
    check = _find(number).check
    if any(is_unwritten(answer) for answer in answers):
        state, words = TO_DO, ""
    else:
        words = _what_is_wrong(check, answers)
        state = NOT_YET if words else RIGHT
    print(f"Exercise {number}: {state}. {words}".strip())
    return state


def _find(number: str) -> Exercise:
    notebook = number.split(".")[0]
    try:
        importlib.import_module(f"helpers.classroom.pages.page_{notebook}")
        return _EXERCISES[number]
    except (ModuleNotFoundError, KeyError) as error:
        raise ValueError(f"there is no exercise {number!r}; the first is '01.1'") from error


def _what_is_wrong(check: Callable[..., str | None], answers: tuple) -> str:
    try:
        return check(*answers) or ""
    except Exception as error:  # of what the student wrote: it is what is wrong
        return f"It ended with {type(error).__name__}: {error}"


def is_unwritten(answer: Any) -> bool:
    """Tell whether an answer is still ``...``, or a function or class with an empty body in it."""
    if answer is ...:
        return True
    if inspect.isfunction(answer):
        return _does_nothing(answer)
    if inspect.isclass(answer):
        return any(is_unwritten(value) for value in vars(answer).values() if value is not ...)
    return isinstance(answer, tuple | list) and any(item is ... for item in answer)


def _does_nothing(function: Callable) -> bool:
    """Tell whether all that a function does is to return None, or ``...``."""
    instructions = [line for line in dis.get_instructions(function) if line.opname != "RESUME"]
    returned = {line.argval for line in instructions if line.opname.endswith("_CONST")}
    opnames = {line.opname for line in instructions}
    return opnames <= {"NOP", "LOAD_CONST", "RETURN_CONST", "RETURN_VALUE"} and returned <= {
        None,
        ...,
    }
