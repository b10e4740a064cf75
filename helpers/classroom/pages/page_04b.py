"""What is right in notebook 04b, which workers, how many, and how deep a queue."""

import math
from collections.abc import Callable

from helpers.classroom.exercises import exercise


@exercise("04b.1")
def depth_of_the_queue(depth: int) -> str | None:
    """Ask for the shortest queue that bridges 300 ms with steps of 25 ms."""
    if depth in (7500, 7.5e3):
        return "That is the product. How many steps fit into the time of the late batch?"
    if depth < 12:
        return f"After {depth} steps, of 25 ms each, the late batch is still not there."
    if depth > 12:
        return f"A depth of {depth} bridges it. Is there a smaller one?"
    return None


@exercise("04b.2")
def who_shares_the_time(sooner: set[str]) -> str | None:
    """Ask which kinds of work two threads finish sooner than one."""
    known = {"loop", "sort", "blur", "fetch"}
    if isinstance(sooner, str):
        return 'That is one name; a set of names is asked for, such as {"loop"}.'
    if unknown := set(sooner) - known:
        return f"What is {sorted(unknown)[0]!r}? The names are {', '.join(sorted(known))}."
    wrong = set(sooner) ^ {"blur", "fetch"}
    if not wrong:
        return None
    one = min(wrong, key=["loop", "fetch", "blur", "sort"].index)
    if one in sooner:
        return f'Look at "{one}" again: can a second thread work while one is at it?'
    return "At least one more is finished sooner: who gives the lock back?"


@exercise("04b.3")
def fewest_workers(function: Callable[[float, float, float, int], int | None]) -> str | None:
    """Ask for the smallest number of workers with which a training need not wait."""
    for waiting, computing, step, cores in (
        (50, 10, 20, 2),
        (0, 40, 20, 2),
        (0, 10, 20, 1),
        (90, 10, 20, 8),
        (85, 10, 20, 2),
        (0, 60, 20, 2),
        (500, 21, 20, 1),
    ):
        expected = math.ceil((waiting + computing) / step)
        expected_or_none = None if computing > cores * step else expected
        workers = function(waiting, computing, step, cores)
        if workers == expected_or_none and not isinstance(workers, bool):
            continue
        case = (
            f"With waiting={waiting}, computing={computing}, step={step} and cores={cores} it "
            f"returns {workers!r}."
        )
        if expected_or_none is None:
            return f"{case} In {step} ms, how much can {cores} of the cores compute?"
        if workers is None:
            return f"{case} Are the cores too few? They only do the computing."
        if workers < expected:
            return (
                f"{case} So many workers need {(waiting + computing) / workers:.1f} ms for a batch."
            )
        return f"{case} Fewer do, or a part of a worker: it should be the smallest whole number."
    return None
