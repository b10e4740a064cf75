"""Epochs of a data set: which of their batches are asked for, and what comes next."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple

import keras

from helpers import arguments
from helpers.generators.passes import Loop, Pass, calling_loop, is_before_an_epoch
from helpers.loading.read_ahead import ReadAhead, Reader

Batch = Any
"""What Keras takes: x, (x, y) or (x, y, sample_weight), each an array or a structure of them."""


class OwnLoop(NamedTuple):
    """A ``for`` loop over one epoch; it is under way until it ends."""

    data: "Epochs"
    epoch: int
    first_batch: int

    def is_under_way(self) -> bool:
        """Whether more may be asked for."""
        return True


ASKING: ContextVar[OwnLoop | None] = ContextVar("ASKING", default=None)
"""The loop that asks for a batch now, by ``[]``, which a class may have of its own."""


class Shown:
    """An attribute that Keras looks at, and that nobody sets."""

    def __init__(self, value: int):
        self.value = value

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, owner: type | None = None) -> int:
        return self.value

    def __set__(self, instance: object, value: object) -> None:
        raise AttributeError(
            f"{self.name} = {value!r} would have Keras prepare batches, too; to change who makes "
            f"them, call set_workers(workers, use_multiprocessing, max_queue_size)"
        )


class Epochs(keras.utils.PyDataset, ABC):
    """A data set whose batches depend on epoch and index, and are made ahead.

    Attributes
    ----------
    epoch : int
        Passes over all batches that are complete.
    """

    _read_ahead: ReadAhead

    def __init__(self):
        super().__init__()
        self.epoch = 0
        self._first_batch = 0
        self._pass = Pass()

    # ---- what a class that derives from this one says --------------------------------------------

    @property
    @abstractmethod
    def batches_per_epoch(self) -> int:
        """Batches in a whole epoch."""

    @abstractmethod
    def _make(self, epoch: int, index: int):
        """Make a batch, in any thread."""

    @abstractmethod
    def _handed_out(self, made) -> Batch:
        """Turn what `_make` made into what who asked gets, in the thread that asked."""

    def _before_reading(self, epoch: int) -> None:
        """Prepare what all batches of an epoch have in common."""

    def _after_reading(self) -> None:
        """Say what was seen in an epoch that ended."""

    def _draws_here(self) -> bool:
        """Whether making a batch may change the state of `random` here."""
        return False

    def _order_is_fixed(self) -> bool:
        """Whether the order of the next epoch is known before it begins."""
        return True

    # ---- what is asked for -----------------------------------------------------------------------

    # Keras is to prepare nothing, since this does it itself.
    workers = Shown(1)
    use_multiprocessing = Shown(False)

    def __len__(self) -> int:
        """Batches in an epoch; the first one after `start_at` has only those that are left."""
        return self.batches_per_epoch - self._first_batch

    def __getitem__(self, index: int) -> Batch:
        """Batch `index` of the current epoch."""
        index = arguments.whole_number("index", index, at_least=-sys.maxsize)
        loop = self._own_loop()
        epoch, first = (loop.epoch, loop.first_batch) if loop else (self.epoch, self._first_batch)
        return self.batch(epoch, index + first if index >= 0 else index)

    def batch(self, epoch: int, index: int) -> Batch:
        """Batch `index` of any epoch.

        Parameters
        ----------
        epoch : int
            Epoch, from 0. Without `shuffle` and `augment` every epoch is the same.
        index : int
            Batch in that epoch, from 0 to ``batches_per_epoch - 1``; negative counts from the
            end.

        Returns
        -------
        images : numpy.ndarray
            Array of shape (images, height, width, channels) and type `dtype`, on a 64-byte
            boundary; or the structure of several inputs. Alone, if there are no labels.
        labels : numpy.ndarray
            Array of shape (images, ...), or the structure of several targets.
        weights : numpy.ndarray
            Only with `sample_weight`.

        Raises
        ------
        IndexError
            If there is no such batch.
        ImageError
            If a file cannot be read (with ``on_error="skip"``: if no file of the batch can).
        TimeoutError
            If a process does not deliver the batch within `timeout` seconds.
        RuntimeError
            If `augment` fails, or if three processes die over this batch.
        """
        epoch = arguments.whole_number("epoch", epoch, at_least=0)
        index = arguments.whole_number("index", index, at_least=-sys.maxsize)
        count = self.batches_per_epoch
        if not -count <= index < count:
            raise IndexError(f"batch {index} asked for; there are {count}, 0 to {count - 1}")
        reader: Reader | None = self._own_loop()
        if reader is None and (loop := self._pass.asking_loop()):
            loop.hold_back()
            reader = loop
        return self._handed_out(self._read_ahead.take(reader, (epoch, index % count), self._make))

    def _own_loop(self) -> OwnLoop | None:
        """Return the ``for`` loop over this that asks for a batch now, if one does."""
        loop = ASKING.get()
        return loop if loop is not None and loop.data is self else None

    def __iter__(self) -> Iterator[Batch]:
        """Go through the batches of one epoch, read ahead: for a training loop of your own.

        After the last batch the epoch is over: the next loop has the next order and the next
        random numbers, as in ``fit``. A loop that is left early is no epoch, and the next one
        begins with the same batches (with ``generator.epoch += 1`` in between, it does not). Loops
        that run side by side keep their order; only the one that began last is read ahead.
        """
        epoch, first, count = self.epoch, self._first_batch, len(self)
        self._before_reading(epoch)
        loop = OwnLoop(self, epoch, first)
        batches = ((epoch, first + index) for index in range(count))
        self._read_ahead.begin(loop, batches, self._make)
        try:
            for index in range(count):
                asking = ASKING.set(loop)
                try:
                    batch = self[index]
                finally:
                    ASKING.reset(asking)
                yield batch
        finally:
            self._read_ahead.end(loop)
        self._after_reading()
        if not self._pass.is_under_way():  # or this was in a callback, whose fit has an epoch
            self._go_to(max(self.epoch, epoch + 1))

    # ---- when Keras asks -------------------------------------------------------------------------

    def on_epoch_begin(self) -> None:
        """Begin to read ahead; Keras calls this."""
        self.expect(len(self), lambda index: (self.epoch, self._first_batch + index))

    def expect(self, batches: int, place: Callable[[int], tuple[int, int]]) -> None:
        """Have batches made ahead for the epoch of Keras's that begins.

        Parameters
        ----------
        batches : int
            How many batches Keras believes that there are.
        place : callable
            ``place(index)`` returns the (epoch, index) of the one that Keras calls `index`.
        """
        if (loop := calling_loop()) is None:
            return
        before = self._pass.loop
        if (reader := self._pass.begin_epoch(loop)) is None:
            return  # it goes on with what is expected already
        if before is not self._pass.loop:
            self._read_ahead.end(before)
        if not self.epoch and reader.steps is None and reader.was_given(self):
            self._go_to(reader.first_epoch, self._first_batch)
        self._before_reading(self.epoch)
        reader.when_gone(self._read_ahead.end, reader)
        # Keras shuffles when it asks for the first batch.
        hold = reader.shuffles and self._draws_here()
        self._read_ahead.begin(reader, map(place, reader.order(batches)), self._make, hold)

    def on_epoch_end(self) -> None:
        """Go on to the next epoch: a new order if it shuffles, new numbers for augmenting.

        Keras calls this, and not only then. The epoch stays if batches are left of it, such as
        with ``steps_per_epoch``, until all of them came.
        """
        loop = calling_loop()
        if loop is not None and self._pass.is_within(loop):
            self._read_ahead.end(self._pass.inner)
        elif is_before_an_epoch():
            self._break_off(loop)
        else:
            self._after_reading()
            if is_over := self._pass.end_epoch(loop, len(self)):
                self._go_to(self.epoch + 1)
            self._prepare_next(self._pass.loop if loop else None, is_over)

    def start_at(self, epoch: int, batch: int = 0) -> None:
        """Go on where an earlier run ended; `helpers.BackupAndResume` calls this.

        In a new program ``generator.start_at(2)`` before ``fit(initial_epoch=2)`` gives that
        training the orders and the random numbers that it would have had without a break. (With a
        generator that was not used, ``initial_epoch`` alone does so, too.)

        Parameters
        ----------
        epoch : int
            What to set `epoch` to.
        batch : int
            Batches of that epoch that were used already. Until the epoch ends, ``len`` and
            ``[]`` are about the others.
        """
        epoch = arguments.whole_number("epoch", epoch, at_least=0)
        most = self.batches_per_epoch - 1
        batch = arguments.whole_number("batch", batch, at_least=0, at_most=most)
        self._go_to(epoch, batch)
        self._pass.break_off()

    def _go_to(self, epoch: int, batch: int = 0) -> None:
        self.epoch, self._first_batch = epoch, batch

    def _break_off(self, loop: Loop | None) -> None:
        """Forget who read before, as `loop` is about to begin."""
        if loop is not None and loop.is_same(self._pass.loop):
            self._pass.break_off()
        else:
            self._read_ahead.end(self._pass.loop)
            self._pass = Pass()

    def _prepare_next(self, loop: Loop | None, is_over: bool) -> None:
        """Begin the next epoch's batches while Keras validates, if their order is known."""
        if loop is None or (loop.goes_on and not is_over):
            return
        batches: list[tuple[int, int]] = []
        if loop.goes_on and not loop.shuffles and loop.was_given(self) and self._order_is_fixed():
            self._before_reading(self.epoch)
            batches = [(self.epoch, index) for index in range(len(self))]
        # Until fit is over the workers stay, even if nothing is begun.
        self._read_ahead.begin(loop, batches, self._make)
