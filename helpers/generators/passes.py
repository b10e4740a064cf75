"""When an epoch begins and ends, and in which order its batches come: what Keras's calls mean.

Keras calls `on_epoch_end` more often than epochs end: before the first one of ``fit`` and
``evaluate``, for a ``predict`` in a callback of ``fit`` in the middle of the training's epoch, and
after ``steps_per_epoch`` steps, with which a pass over the data need not be over. It does not say
which it is; the stack of calls does. What is used here of Keras's insides is tested in
``tests/generators/test_passes.py``, which fails when a new Keras is otherwise.
"""

import random
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

LOOPS = ("fit", "evaluate", "predict")

HELD_BY_TENSORFLOW = 2
"""Batches that TensorFlow may take before a step has need of them."""

HOLD_SECONDS, LOOK_SECONDS = 5.0, 0.001  # for its thread: how long it waits at most, and sleeps


class Loop:
    """A call of ``fit``, ``evaluate`` or ``predict``, which reads from a generator.

    Parameters
    ----------
    frame : types.FrameType
        That call, on the stack of this thread. Its variables are looked at once, before its first
        step: Python keeps what they are then, and TensorFlow's iterator must not be kept. (It is
        ended by who lets go of it last, with Python's lock held, which its thread may wait for.)
    iterator : EpochIterator
        What Keras counts its steps with. It lives as long as the call, and no longer.

    Attributes
    ----------
    steps : int or None
        Batches in each of its epochs, if it was told a number.
    first_epoch : int
        ``initial_epoch`` of ``fit``.
    shuffles : bool
        Whether it asks for the batches in an order of its own.
    """

    def __init__(self, frame: FrameType, iterator: Any):
        self.steps: int | None = iterator.steps_per_epoch
        self.first_epoch = self._epochs = self._begun = 0
        self.shuffles = False
        self._iterator = weakref.ref(iterator)
        self._frame, self._thread = id(frame), threading.get_ident()
        self._given = 0
        self._call_when_gone: weakref.finalize | None = None

    def begin_epoch(self) -> None:
        """Begin an epoch; the first one tells from the call's variables what is to come."""
        frame = loops_of_keras()[0]
        self._frame = id(frame)  # validations share an iterator
        if not self._begun:
            names = frame.f_locals
            self.first_epoch = names.get("initial_epoch", 0)
            self._epochs = names.get("epochs", 1) - self.first_epoch
            self.shuffles = bool(names.get("shuffle"))
        self._begun += 1

    def begin_anew(self) -> None:
        """Forget the epochs that were begun: Keras has only looked at the first batch."""
        self._begun = 0

    @property
    def goes_on(self) -> bool:
        """Whether another epoch is to come, as far as is known."""
        return self._begun < self._epochs

    def is_same(self, other: "Loop | None") -> bool:
        """Whether both are the same call."""
        iterator = self._iterator()
        return other is not None and iterator is not None and other._iterator() is iterator

    def is_under_way(self) -> bool:
        """Whether it may ask for more; called from any thread."""
        if self._iterator() is None:
            return False
        # After an error, its traceback may keep the iterator; but the call is on no stack then.
        frames = _frames_of_keras(sys._current_frames().get(self._thread))
        return any(id(frame) == self._frame for frame in frames)

    def is_around(self) -> bool:
        """Whether this is called from within it."""
        return threading.get_ident() == self._thread and self.is_under_way()

    def has_place_of(self, other: "Loop") -> bool:
        """Whether both calls were at the same place in memory, so that one of them is over."""
        return self._frame == other._frame

    def reads_by(self, adapter: Any) -> bool:
        """Whether `adapter` is what Keras asks by, for this call."""
        iterator = self._iterator()
        return iterator is not None and iterator.data_adapter is adapter

    def was_given(self, data: Any) -> bool:
        """Whether it was called with `data`, and not with something that reads from them."""
        iterator = self._iterator()
        return iterator is not None and iterator.data_adapter.py_dataset is data

    def when_gone(self, call: Callable, *arguments: Any) -> None:
        """Have a call made when it is over; the first that is given here."""
        if (iterator := self._iterator()) is not None and self._call_when_gone is None:
            self._call_when_gone = weakref.finalize(iterator, call, *arguments)
            self._call_when_gone.atexit = False

    def order(self, batches: int) -> list[int]:
        """Guess the order in which it will ask for the batches of the epoch that begins.

        ``fit`` shuffles ``list(range(batches))`` before it asks for the first one, with the random
        numbers that `random` is about to give. `random` itself is left as it is.
        """
        indices = list(range(batches))
        if self.shuffles:
            numbers = random.Random()
            numbers.setstate(random.getstate())
            numbers.shuffle(indices)
        return indices

    def begin_pass(self) -> None:
        """Count anew what is given to TensorFlow."""
        self._given = 0

    def hold_back(self) -> None:
        """Have TensorFlow's thread wait, if it asks for this call too early.

        Between a generator and its training, Keras puts a buffer of tf.data. TensorFlow doubles its
        length whenever the training finds it empty, and would come to hold dozens of batches.
        """
        if threading.get_ident() == self._thread:
            return
        until = time.monotonic() + HOLD_SECONDS
        while (seen := self._steps_seen()) is not None and time.monotonic() < until:
            if self._given - seen < HELD_BY_TENSORFLOW:
                break
            time.sleep(LOOK_SECONDS)
        self._given += 1

    def _steps_seen(self) -> int | None:
        """Batches that steps have asked for; None if the call is over."""
        iterator = self._iterator()
        return None if iterator is None else iterator._steps_seen


class Pass:
    """One pass over all batches of a generator, in one epoch of Keras's or in several.

    Attributes
    ----------
    loop : Loop or None
        Whose pass it is.
    inner : Loop or None
        Who reads meanwhile, in a callback of that one, or to validate.
    """

    def __init__(self):
        self.loop: Loop | None = None
        self.inner: Loop | None = None
        self._used = 0

    def is_under_way(self) -> bool:
        """Whether this thread is in the call whose pass it is."""
        return self.loop is not None and self.loop.is_around()

    def is_within(self, loop: Loop) -> bool:
        """Whether a call is made from within the one whose pass it is."""
        if self.loop is None or loop.is_same(self.loop):
            return False
        # One that is over may have left its place on the stack to this one.
        return not loop.has_place_of(self.loop) and self.loop.is_around()

    def begin_epoch(self, loop: Loop) -> Loop | None:
        """Begin an epoch.

        Returns
        -------
        Loop or None
            Who goes through all batches now; None if it goes on with what is left of a pass.
        """
        mine = [one for one in (self.loop, self.inner) if one is not None and one.is_same(loop)]
        known = mine[0] if mine else loop
        is_within = self.is_within(loop)
        known.begin_epoch()
        if is_within:
            self.inner = known
        elif known is self.loop and self._used:
            return None
        else:
            self.loop, self.inner, self._used = known, None, 0
        known.begin_pass()
        return known

    def end_epoch(self, loop: Loop | None, batches: int) -> bool:
        """End an epoch of `loop`; whether the pass over so many batches is over, too."""
        steps = loop and loop.steps
        self._used = min(self._used + (steps or batches), batches)
        if self._used < batches:
            return False
        self._used = 0
        return True

    def break_off(self) -> None:
        """Forget what was begun of the pass: nobody will go on with it."""
        self._used = 0
        if self.loop is not None:
            self.loop.begin_anew()

    def asking_loop(self) -> Loop | None:
        """Return the one of the two that asks for a batch now; None if somebody else does."""
        asking = next(_frames_of_keras(sys._getframe()), None)
        adapter = asking and asking.f_locals.get("self")
        for loop in (self.inner, self.loop):
            if loop is not None and loop.reads_by(adapter):
                return loop
        return None


def calling_loop() -> Loop | None:
    """Return the call of ``fit``, ``evaluate`` or ``predict`` that this one comes from."""
    iterator = None
    for frame in _frames_of_keras(sys._getframe()):
        if _is_loop(frame):
            return None if iterator is None else Loop(frame, iterator)
        if iterator is None and hasattr(frame.f_locals.get("self"), "data_adapter"):
            iterator = frame.f_locals["self"]
    return None


def loops_of_keras() -> list[FrameType]:
    """List the calls of ``fit``, ``evaluate`` and ``predict`` under way, the innermost first.

    They are one in the other when ``fit`` validates, or a callback reads.
    """
    return list(filter(_is_loop, _frames_of_keras(sys._getframe())))


def names_in_fit() -> dict[str, Any] | None:
    """Arguments and variables of the ``fit`` that calls; None if it is another loop, or none.

    To be asked for before its first step only; see `Loop`.
    """
    for frame in loops_of_keras()[:1]:
        if frame.f_code.co_name == "fit":
            return frame.f_locals
    return None


def is_before_an_epoch() -> bool:
    """Whether a loop calls that is about to begin: it "resets" its data by ending an epoch."""
    for frame in _frames_of_keras(sys._getframe()):
        if _is_loop(frame):
            return False
        if frame.f_code.co_name == "reset":
            return True
    return False


def _is_loop(frame: FrameType) -> bool:
    return frame.f_code.co_name in LOOPS


def _frames_of_keras(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield the calls of Keras's functions on a stack, the innermost first."""
    if frame is None:
        return
    for caller, _ in traceback.walk_stack(frame):
        if caller.f_globals.get("__name__", "").startswith("keras."):
            yield caller
