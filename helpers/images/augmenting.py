"""The augmentation of one picture: checked, and repeatable whatever it draws its numbers from."""

import contextlib
import os
import random
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.random import (  # type: ignore[attr-defined]  # numpy's hints leave them out
    get_bit_generator,
    set_bit_generator,
)

from helpers.images.reading import printable

ENOUGH_CALLS = 100
"""An augment that drew nothing from `np.random` and `random` in so many calls is left alone."""

DREW = -1


class AugmentError(RuntimeError):
    """An `augment` that failed on a picture, or returned none; the message names the file."""


def augment_rows(
    rows: Sequence[np.ndarray], masks: int, augment: Callable, seed: tuple[int, ...], filename: str
) -> None:
    """Call `augment` for a sample, check what it returns, and write that to its rows.

    Parameters
    ----------
    rows : sequence of numpy.ndarray
        The resized pictures of a sample, and then its masks; `augment` may change them.
    masks : int
        How many of them are masks.
    augment : callable
        ``augment(image, rng)``, or with masks ``augment(image, masks, rng)``; several pictures, or
        several masks, are a list. What it draws from `np.random` or `random` is repeatable, too,
        as far as `SharedNumbers` says.
    seed : tuple of int
        Decides all random numbers.
    filename : str
        What the sample is called in an error.

    Raises
    ------
    AugmentError
        If `augment` fails, which is then the cause, or returns something else than it got.
    """
    pictures, masks_of_them = rows[: len(rows) - masks], rows[len(rows) - masks :]
    name = printable(filename)
    if masks:
        given = [_one_or_list(pictures), _one_or_list(masks_of_them)]
        results = _parts(call_augment(augment, given, seed, name), 2, "image and masks", name)
        _write(masks_of_them, results[1], "masks", name)
    else:
        results = [call_augment(augment, [_one_or_list(pictures)], seed, name)]
    _write(pictures, results[0], "images", name)


def call_augment(
    augment: Callable,
    given: Sequence,
    seed: tuple[int, ...],
    name: str,
    what: str = "augment",
) -> Any:
    """Call the caller's function with random numbers that a seed decides; AugmentError if it fails.

    Parameters
    ----------
    augment : callable
        ``augment(*given, rng)``.
    given : sequence
        What it gets before the `rng`.
    seed : tuple of int
        Decides all random numbers.
    name : str
        What an error says that it failed on.
    what : str
        What an error calls the function.

    Returns
    -------
    object
        What it returned.
    """
    try:
        return _shared_numbers.call(augment, given, seed)
    except Exception as error:
        message = f"{what} failed on {name}: {type(error).__name__}: {error}"
        raise AugmentError(message) from error


def _one_or_list(rows: Sequence[np.ndarray]) -> np.ndarray | list[np.ndarray]:
    return rows[0] if len(rows) == 1 else list(rows)


def _write(rows: Sequence[np.ndarray], result: Any, what: str, name: str) -> None:
    if len(rows) == 1:
        rows[0][...] = _checked(np.asarray(result), rows[0], name)
        return
    # Copied first: two pictures that change places are each other's rows.
    arrays = [np.array(array) for array in _parts(result, len(rows), what, name)]
    for row, array in zip(rows, arrays, strict=True):
        row[...] = _checked(array, row, name)


def _parts(result: Any, count: int, what: str, name: str) -> Sequence:
    if not isinstance(result, (tuple, list)) or len(result) != count:
        received = f"{len(result)} of them" if hasattr(result, "__len__") else type(result).__name__
        if isinstance(result, np.ndarray):
            received = f"a single array of shape {result.shape}"
        raise AugmentError(
            f"augment on {name}: expected a tuple of {count} ({what}), received {received}"
        )
    return result


def _checked(result: np.ndarray, row: np.ndarray, name: str) -> np.ndarray:
    fits = result.dtype == row.dtype or result.dtype.kind == row.dtype.kind == "f"
    if result.shape != row.shape or not fits:
        expected, received = (f"{a.dtype} array of shape {a.shape}" for a in (row, result))
        raise AugmentError(f"augment on {name}: expected an {expected}, received {received}")
    return result


class SharedNumbers:
    """What `np.random` and `random` give while an augment is called.

    Each has one state for all threads of the process, which belongs to the program. An augment
    that draws from them, as those for older libraries do, is called by one thread at a time, on
    states that its own seed decides; then the program's states are put back.

    Whether an augment draws shows in its calls. Threads wait for its first call, and always if it
    drew. One that has not drawn yet is called at once if another thread is in such a call, and
    after `ENOUGH_CALLS` it is not watched any more: it would be slower in vain. So what an
    augment draws that hardly ever does is not repeatable.
    """

    def __init__(self):
        # One that a thread can take twice: an augment may make a batch itself, or fork.
        self.lock = threading.RLock()
        self._generator = np.random.MT19937()  # the kind that np.random.seed seeds
        self._calls: dict[int, int] = {}  # by id of the augment; DREW, if it drew in one of them

    def call(self, augment: Callable, given: Sequence, seed: tuple[int, ...]) -> Any:
        """Call an augment, with all random numbers decided by a seed if it draws any."""
        sequence = np.random.SeedSequence(seed)
        rng = np.random.default_rng(sequence)
        calls = self._calls.get(id(augment), 0)
        must_wait = calls in (0, DREW)
        if calls >= ENOUGH_CALLS or not self.lock.acquire(blocking=must_wait):
            return augment(*given, rng)
        try:
            with self._program_states_put_back():
                self._seed(sequence)
                result = augment(*given, rng)
                if calls != DREW:
                    self._note(augment, self._has_drawn(sequence))
            return result
        finally:
            self.lock.release()

    @contextlib.contextmanager
    def _program_states_put_back(self) -> Iterator[None]:
        generator = get_bit_generator()
        state = np.random.get_state(legacy=False)  # noqa: NPY002 - old code is what this is for
        python_state = random.getstate()
        set_bit_generator(self._generator)
        try:
            yield
        finally:
            set_bit_generator(generator)  # which forgets half of a pair of normal numbers
            if state["has_gauss"] or generator is self._generator:  # of a call around this one
                np.random.set_state(state)  # noqa: NPY002
            random.setstate(python_state)

    def _seed(self, sequence: np.random.SeedSequence) -> None:
        for_numpy, for_python = sequence.generate_state(2).tolist()
        np.random.seed(for_numpy)  # noqa: NPY002
        random.seed(for_python)

    def _has_drawn(self, sequence: np.random.SeedSequence) -> bool:
        next_numbers = self._generator.random_raw(), random.random()
        self._seed(sequence)
        return next_numbers != (self._generator.random_raw(), random.random())

    def _note(self, augment: Callable, drew: bool) -> None:
        key = id(augment)
        if key not in self._calls:
            try:
                weakref.finalize(augment, self._calls.pop, key, None).atexit = False
            except TypeError:  # nothing tells when it is gone and another has its id: ask each time
                return
        self._calls[key] = DREW if drew else self._calls.get(key, 0) + 1


_shared_numbers = SharedNumbers()
if hasattr(os, "register_at_fork"):
    # A fork during a call would have the states of its augment, and a lock closed for ever.
    os.register_at_fork(
        before=_shared_numbers.lock.acquire,
        after_in_parent=_shared_numbers.lock.release,
        after_in_child=_shared_numbers.lock.release,
    )
