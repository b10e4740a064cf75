"""How a timeline looks on: from within a generator's class, and a model's training function.

Nothing of Keras is replaced that decides anything: the generator's class is exchanged for a
subclass that looks at the clock, and so is the model's ``train_function``. Both are as they
were when the `Recorder` is closed.
"""

import contextlib
import copy
import itertools
import os
import struct
import threading
import time
from typing import NamedTuple

import keras
import psutil

from helpers.generators.my_generator import MY_Generator
from helpers.images.laps import BatchTimes
from helpers.images.request import LoadedBatch


class Made(NamedTuple):
    """A batch, seen from where it is made or fetched; times of `time.perf_counter`.

    Attributes
    ----------
    turn : int
        Ends of epochs before it was taken (-1: it never was).
    taken : float
        Batches are used in the order of these times.
    asked, came : float
        When its making began, and when it was there.
    cpu : float
        Seconds for which a core computed.
    images : int
        Images in it.
    process, thread : int
        Who waited for it.
    times : BatchTimes, optional
        Who made it, and how long each part took.
    """

    turn: int
    taken: float
    asked: float
    came: float
    cpu: float
    images: int
    process: int
    thread: int
    times: BatchTimes | None = None

    @property
    def began(self) -> float:
        """When its maker began."""
        if self.times is None:
            return self.asked
        latest = self.came - sum(self.times.seconds.values())
        if self.asked <= self.times.start <= latest:
            return self.times.start
        return latest  # the maker has the clock of another machine


class Step(NamedTuple):
    """A training step; times of `time.perf_counter`, and of `time.process_time` at its end."""

    turn: int
    images: int
    asked: float
    arrived: float
    ended: float
    cpu: float


class Recorder:
    """Collects what happens, from all threads, and from forks of this process, until `close`.

    Parameters
    ----------
    generator, model
        As in `helpers.Timeline`.
    """

    # One size for all that comes from a fork, and smaller than what a pipe takes at once.
    FORMAT = struct.Struct("=qddddqqq")

    def __init__(self, generator: keras.utils.PyDataset, model: keras.Model):
        model.make_train_function()
        self.made: list[Made] = []
        self._ahead: dict[int, Made] = {}  # made and not taken; by the identity of their times
        self.steps: list[Step] = []
        self.turn = 0  # counts the ends of epochs, by which batches and steps are matched
        self.begin_epoch(generator)
        self._process = os.getpid()
        self._pipe: tuple[int, ...] = os.pipe() if hasattr(os, "fork") else ()
        for end in self._pipe:
            os.set_blocking(end, False)
        self._generator, self._class = generator, type(generator)
        self._model, self._train_function = model, model.train_function
        generator.__class__ = watched_class(self._class, self)
        self._watched_function = watched_function(self._train_function, self)
        model.train_function = self._watched_function

    def begin_epoch(self, generator: keras.utils.PyDataset) -> None:
        """Note what holds for an epoch; for the last one, in the end."""
        self.machine, self.threads = machine_clock(), threads_of(generator)

    def note_ahead(self, asked: float, loaded: LoadedBatch) -> None:
        """Keep what is known of a batch that was made, and may be taken; from any thread."""
        times, maker = loaded.times, (os.getpid(), threading.get_ident())
        seconds = 0.0, asked, time.perf_counter(), times.cpu
        self._ahead[id(times)] = Made(-1, *seconds, len(loaded.positions), *maker, times)

    def take(self, loaded: LoadedBatch) -> None:
        """Note that a batch is taken; unless its making was not seen."""
        if (batch := self._ahead.pop(id(loaded.times), None)) is not None:
            self.made.append(batch._replace(turn=self.turn, taken=time.perf_counter()))

    def note(self, batch: Made) -> None:
        """Keep what is known of a batch that is used; from any thread or fork."""
        if os.getpid() == self._process:
            self.made.append(batch)
        else:
            with contextlib.suppress(OSError):  # the pipe is full, or the watching is over
                os.write(self._pipe[1], self.FORMAT.pack(*batch[:-1]))

    def collect(self) -> None:
        """Take what came from forks, before the pipe is full."""
        with contextlib.suppress(BlockingIOError):
            while self._pipe and (data := os.read(self._pipe[0], 500 * self.FORMAT.size)):
                self.made.extend(Made(*fields) for fields in self.FORMAT.iter_unpack(data))

    def close(self) -> None:
        """Leave generator and model as they were, and stop collecting."""
        if self._model.train_function is self._watched_function:  # not after another compile
            self._model.train_function = self._train_function
        self._generator.__class__ = self._class
        self.collect()
        self.made.extend(list(self._ahead.values()))
        for end in self._pipe:
            os.close(end)


def watched_class(sequence_class: type, recorder: Recorder) -> type:
    """Subclass whose batches are noted by `recorder`."""

    class Watched(sequence_class):
        def on_epoch_begin(self):
            super().on_epoch_begin()
            recorder.begin_epoch(self)

        def on_epoch_end(self):
            super().on_epoch_end()
            recorder.turn += 1

        def __reduce_ex__(self, protocol):
            # In a process that shares nothing with this one, it is what it was before.
            unwatched = object.__new__(sequence_class)
            vars(unwatched).update(vars(self))
            return itself, (copy.copy(unwatched),)

    # These are called from any thread, and may go on when the generator is of its own class again.

    def __getitem__(self, index):
        turn, asked, cpu = recorder.turn, time.perf_counter(), time.thread_time()
        batch = sequence_class.__getitem__(self, index)
        came, cpu = time.perf_counter(), time.thread_time() - cpu
        maker = os.getpid(), threading.get_ident()
        recorder.note(Made(turn, asked, asked, came, cpu, image_count(batch), *maker))
        return batch

    def _make(self, epoch, index):
        asked = time.perf_counter()
        *about, loaded = sequence_class._make(self, epoch, index)
        recorder.note_ahead(asked, loaded)
        return *about, loaded

    def _handed_out(self, made):  # of a batch that is taken
        recorder.take(made[-1])
        return sequence_class._handed_out(self, made)

    if issubclass(sequence_class, MY_Generator):
        Watched._make, Watched._handed_out = _make, _handed_out
    else:
        Watched.__getitem__ = __getitem__
    Watched.__name__ = sequence_class.__name__
    return Watched


def threads_of(generator: keras.utils.PyDataset) -> int:
    """How many batches are made at a time, by a generator or by Keras."""
    if isinstance(generator, MY_Generator):  # what it tells Keras is 1
        return generator._read_ahead.threads
    return generator.workers


def itself(sequence):
    """Return a sequence; what is unpickled of one that was watched."""
    return sequence


def image_count(batch) -> int:
    """Images in a batch, of any form that Keras takes; 0 if that cannot be seen."""
    first = keras.tree.flatten(batch)[0]
    return getattr(first, "shape", (0,))[0]


def watched_function(train_function, recorder: Recorder):
    """Training function that does the same and has each step noted by `recorder`.

    Keras calls it with an iterator over batches, as the last argument, and takes any iterator
    there (`keras.Model.train_on_batch` gives it a Python one). So the next batch is fetched
    here, by the clock, and passed on.
    """

    def watched(*arguments):
        *state, batches = arguments
        asked = [time.perf_counter()]
        fetched_by_keras = isinstance(batches, list)  # on PyTorch, before it calls this
        if fetched_by_keras and recorder.steps and recorder.steps[-1].turn == recorder.turn:
            asked = [recorder.steps[-1].ended]
        arrived, images = [], []

        def noted():
            for batch in batches:
                arrived.append(time.perf_counter())
                images.append(image_count(batch))
                yield batch
                asked.append(time.perf_counter())  # for the next, with steps_per_execution

        fetched = noted()
        first = next(fetched)  # at its end it stops the epoch, as Keras's own function does
        passed_on = batches if fetched_by_keras else itertools.chain([first], fetched)
        result = train_function(*state, passed_on)
        # A GPU works on when the function has returned: wait for its result.
        for value in keras.tree.flatten(result)[:1]:
            keras.ops.convert_to_numpy(value)
        ended = [*asked[1:], time.perf_counter()]
        cpu = time.process_time()
        for moments in zip(images, asked, arrived, ended, strict=False):
            recorder.steps.append(Step(recorder.turn, *moments, cpu))
        recorder.collect()
        return result

    return watched


def machine_clock() -> tuple[float, float]:
    """Seconds for which the machine's cores have computed, for any program; and the time."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    return sum(times) - idle, time.perf_counter()
