"""When an epoch begins and ends: what the calls of Keras mean.

Keras calls `on_epoch_end` more often than epochs end: before the first one of ``fit`` and
``evaluate``, for a ``predict`` in a callback of ``fit`` in the middle of the training's epoch, and
after ``steps_per_epoch`` steps, with which a pass over the data need not be over. It does not say
which it is; the stack of calls does.
"""

import traceback
from types import FrameType
from typing import Any

LOOPS = ("fit", "evaluate", "predict")


class Pass:
    """One pass over all batches of a generator, in one epoch of Keras's or in several."""

    def __init__(self):
        self._asked: set[int] = set()
        self._depth: int | None = None  # of the loop whose epoch it is, while there is one

    def ask(self, index: int) -> None:
        """Note that a batch was asked for."""
        self._asked.add(index)

    def begin_epoch(self) -> bool:
        """Begin an epoch; False if it is that of a loop in a callback of the one under way."""
        depth = len(loops_of_keras())
        if self._depth is not None and depth > self._depth:
            return False
        self._depth = depth
        return True

    def end_epoch(self, batches: int) -> bool | None:
        """End an epoch.

        Parameters
        ----------
        batches : int
            How many belong to a pass.

        Returns
        -------
        bool or None
            Whether the pass is over, too; None if no epoch has ended.
        """
        depth = len(loops_of_keras())
        if self._depth is not None and depth > self._depth:
            return None
        self._depth = None
        if is_before_an_epoch():
            self._asked.clear()  # who asked before will not go on
            return None
        is_by_hand = depth == 0
        is_over = is_by_hand or len(self._asked) >= batches
        if is_over:
            self._asked.clear()
        return is_over


def loops_of_keras() -> list[FrameType]:
    """List the calls of ``fit``, ``evaluate`` and ``predict`` under way, the innermost first.

    They are one in the other when ``fit`` validates, or a callback reads.
    """
    return [frame for frame in _frames_of_keras() if frame.f_code.co_name in LOOPS]


def names_in_fit() -> dict[str, Any] | None:
    """Arguments and variables of the ``fit`` that calls; None if it is another loop, or none."""
    for frame in loops_of_keras()[:1]:
        if frame.f_code.co_name == "fit":
            return frame.f_locals
    return None


def is_before_an_epoch() -> bool:
    """Whether a loop calls that is about to begin: it "resets" its data by ending an epoch."""
    for frame in _frames_of_keras():
        if frame.f_code.co_name in LOOPS:
            return False
        if frame.f_code.co_name == "reset":
            return True
    return False


def _frames_of_keras() -> list[FrameType]:
    stack = (frame for frame, _ in traceback.walk_stack(None))
    return [frame for frame in stack if frame.f_globals.get("__name__", "").startswith("keras.")]
