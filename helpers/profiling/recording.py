"""Who did what, when: every batch of a training run, watched while ``fit`` runs.

Nothing of Keras is replaced that decides anything: the generator's class is exchanged for a
subclass that looks at the clock, and so is the model's ``train_function``. Both are as they
were when the ``with`` block ends.
"""

import contextlib
import itertools
import os
import struct
import threading
import time
from statistics import median
from typing import NamedTuple

import keras
import pandas as pd
import psutil

from helpers.generators.my_generator import MY_Generator
from helpers.images.laps import BatchTimes
from helpers.profiling.spans import COLUMNS, Spans


class Made(NamedTuple):
    """A batch, seen from where the generator was asked for it; times of `time.perf_counter`."""

    turn: int
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


class Timeline(Spans):
    """Watches a generator and a model while ``fit`` runs.

    Of `helpers.MY_Generator` all is seen that happens to a batch, in every mode. Of other
    sequences: when and by whom a batch was made, and what the training did meanwhile (but
    not what happens in processes that Keras starts by another method than fork).

    Record two epochs or more, of one ``fit``: in the first one the model is compiled and the
    workers start, so it is left out of `summary`, `plot` and `diagnose` when there are more.
    Batches are matched with steps in the order in which they were asked for.

    Parameters
    ----------
    generator : keras.utils.PyDataset
        What ``fit`` is going to read from.
    model : keras.Model
        The compiled model that is going to be trained.

    Raises
    ------
    TypeError
        If they are something else.
    ValueError
        If the model was not compiled.

    Examples
    --------
    >>> with Timeline(generator, model) as timeline:
    ...     model.fit(generator, epochs=2)
    >>> timeline.plot()
    >>> timeline.diagnose()
    """

    def __init__(self, generator: keras.utils.PyDataset, model: keras.Model):
        if not isinstance(generator, keras.utils.PyDataset):
            kind = type(generator).__name__
            raise TypeError(f"expected a keras.utils.PyDataset to watch, received {kind}")
        if not isinstance(model, keras.Model):
            raise TypeError(f"expected a keras.Model to watch, received {type(model).__name__}")
        if not model.compiled:
            raise ValueError("the model is not compiled: call model.compile(...) first")
        self.generator = generator
        self.model = model
        self._arrange([], [])

    def __enter__(self):
        self.model.make_train_function()
        self._recorder = Recorder()
        self._class = type(self.generator)
        self.generator.__class__ = watched_class(self._class, self._recorder)
        self._train_function = self.model.train_function
        self._watched_function = watched_function(self._train_function, self._recorder)
        self.model.train_function = self._watched_function
        return self

    def __exit__(self, *exception):
        if self.model.train_function is self._watched_function:  # not after another compile
            self.model.train_function = self._train_function
        self.generator.__class__ = self._class
        self._recorder.close()
        self._arrange(self._recorder.made, self._recorder.steps)
        if exception[0] is None and not (self._recorder.steps and self._recorder.made):
            raise RuntimeError(
                "no training step was seen: call fit inside the with block, of the model and "
                "with the generator that Timeline was given"
            )

    def _arrange(self, made: list["Made"], steps: list["Step"]) -> None:
        workers = max(self.generator.workers, 1)
        super().__init__(
            spans_table(made, steps, workers),
            workers=workers,
            cores=os.cpu_count(),
            queue=self.generator.max_queue_size,
            **(processor_use(made, steps, self._recorder.machine) if steps else {}),
        )

    def measured(self) -> pd.DataFrame:
        """Rows of `table` that `summary` and `diagnose` count.

        All epochs but the first, in which the model is compiled and workers start. If there
        is only one, all that began after its first step.
        """
        rows = super().measured()
        if rows["epoch"].nunique() > 1:
            return rows[rows["epoch"] > rows["epoch"].min()]
        later = rows[rows["step"] > rows["step"].min()]
        return rows if later.empty else later


class Recorder:
    """Collects what happens, from all threads, and from forks of this process."""

    # One size for all that comes from a fork, and smaller than what a pipe takes at once.
    FORMAT = struct.Struct("=qdddqqq")

    def __init__(self):
        self.made: list[Made] = []
        self.steps: list[Step] = []
        self.turn = 0  # counts the ends of epochs, by which batches and steps are matched
        self.machine = machine_clock()  # when the last epoch began
        self.making = threading.local()
        self._process = os.getpid()
        self._pipe = os.pipe() if hasattr(os, "fork") else ()
        for end in self._pipe:
            os.set_blocking(end, False)

    def note(self, batch: Made) -> None:
        """Keep what is known of a batch; from any thread or fork."""
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
        """Stop collecting."""
        self.collect()
        for end in self._pipe:
            os.close(end)


def watched_class(sequence_class: type, recorder: Recorder) -> type:
    """Subclass whose batches are noted by `recorder`."""

    def note(make):
        """Make a batch by a call of `make`, and note it."""
        recorder.making.times = None
        turn, asked, cpu = recorder.turn, time.perf_counter(), time.thread_time()
        batch = make()
        recorder.note(
            Made(
                turn,
                asked,
                time.perf_counter(),
                time.thread_time() - cpu,
                image_count(batch),
                os.getpid(),
                threading.get_ident(),
                recorder.making.times,
            )
        )
        return batch

    class Watched(sequence_class):
        def on_epoch_begin(self):
            super().on_epoch_begin()
            recorder.machine = machine_clock()

        def on_epoch_end(self):
            super().on_epoch_end()
            recorder.turn += 1

        def __reduce_ex__(self, protocol):
            # In a process that shares nothing with this one, it is what it was before.
            unwatched = object.__new__(sequence_class)
            vars(unwatched).update(vars(self))
            return itself, (unwatched,)

    if issubclass(sequence_class, MY_Generator):

        def batch(self, epoch, index):  # where `fit_generator` asks, and __getitem__ does
            return note(lambda: super(Watched, self).batch(epoch, index))

        def _load(self, request):
            loaded = super(Watched, self)._load(request)
            recorder.making.times = loaded.times
            return loaded

        Watched.batch, Watched._load = batch, _load
    else:

        def __getitem__(self, index):
            return note(lambda: super(Watched, self).__getitem__(index))

        Watched.__getitem__ = __getitem__
    Watched.__name__ = sequence_class.__name__
    return Watched


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


def spans_table(made: list[Made], steps: list[Step], workers: int) -> pd.DataFrame:
    """Arrange what was noted as spans, with the columns of `helpers.Spans.table`."""
    epochs = {turn: epoch for epoch, turn in enumerate(sorted({step.turn for step in steps}))}
    made = sorted(made, key=lambda batch: batch.asked)
    lanes = worker_lanes(made, workers)
    rows, used = [], []
    for batch, lane in zip(made, lanes, strict=True):
        if batch.turn in epochs:
            used.append((batch, lane))
        else:  # Keras looks at the first batches before it begins, to learn their shapes
            rows += batch_rows(batch, lane, -1, -1)
    numbers = dict.fromkeys(epochs.values(), 0)
    # Batches are used in the order in which they were asked for.
    for pair, step in itertools.zip_longest(used, steps):
        batch, lane = pair or (None, None)
        epoch = number = -1  # of a batch that no step has used
        if step is not None:
            epoch = epochs[step.turn]
            number, numbers[epoch] = numbers[epoch], numbers[epoch] + 1
            rows += step_rows(step, batch, epoch, number)
        if batch is not None:
            rows += batch_rows(batch, lane, epoch, number)
    table = pd.DataFrame(rows, columns=COLUMNS)
    began = table["start"].min()
    return table.assign(start=table["start"] - began, stop=table["stop"] - began)


def batch_rows(batch: Made, lane: str, epoch: int, step: int) -> list[tuple]:
    """Rows of one batch on its worker's lane."""
    if batch.times is None:
        moments = {"make": (batch.asked, batch.came)}
    else:
        seconds = batch.times.seconds
        start, whole = batch.began, sum(seconds.values())
        starts = itertools.accumulate(seconds.values(), initial=start)
        moments = {
            kind: (begin, begin + seconds[kind])
            for kind, begin in zip(seconds, starts, strict=False)
        }
        if (batch.times.process, batch.times.thread) != (batch.process, batch.thread):
            moments["ask"] = batch.asked, start
            moments["hand-over"] = start + whole, batch.came
    return [
        (lane, kind, epoch, step, batch.images, start, stop)
        for kind, (start, stop) in moments.items()
        if stop > start
    ]


def step_rows(step: Step, batch: Made | None, epoch: int, number: int) -> list[tuple]:
    """Rows of one step on the training's lane, and of its batch on the queue's."""
    ready = batch.came if batch else step.arrived
    made = min(max(ready, step.asked), step.arrived)
    moments = [
        ("training", "wait", step.asked, made),
        ("training", "hand-over", made, step.arrived),
        ("training", "step", step.arrived, step.ended),
        ("queue", "queue", ready, step.asked),
    ]
    return [
        (lane, kind, epoch, number, step.images, start, stop)
        for lane, kind, start, stop in moments
        if stop > start
    ]


def worker_lanes(made: list[Made], workers: int) -> list[str]:
    """Lane of each batch: that of its maker, unless it is taken.

    Keras makes new threads for each epoch, and TensorFlow changes them as it likes. So a new
    maker opens a lane only while there are fewer than workers; then it takes one that is free.
    """
    busy_until: list[float] = []
    homes: dict[tuple[int, int], int] = {}
    lanes = []
    for batch in made:
        maker = (batch.times or batch).process, (batch.times or batch).thread
        free = [lane for lane, until in enumerate(busy_until) if until <= batch.began]
        home = homes.get(maker)
        if home not in free:
            home = len(busy_until) if len(busy_until) < workers or not free else free[0]
        if home == len(busy_until):
            busy_until.append(0.0)
        homes[maker] = home
        busy_until[home] = batch.came
        lanes.append(f"worker {home + 1}")
    return lanes


def machine_clock() -> tuple[float, float]:
    """Seconds for which the machine's cores have computed, for any program; and the time."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    return sum(times) - idle, time.perf_counter()


def processor_use(made: list[Made], steps: list[Step], began: tuple[float, float]) -> dict:
    """How much of the cores a batch, a step and the whole machine used in the last epoch.

    `began` is what `machine_clock` said at its beginning.
    """
    first, *others = [step for step in steps if step.turn == steps[-1].turn]
    made = [batch for batch in made if batch.turn == first.turn]
    cpu = [batch.times.cpu if batch.times else batch.cpu for batch in made]
    here = [(batch.times or batch).process == os.getpid() for batch in made]
    stepping = sum(step.ended - step.arrived for step in others)
    computed = steps[-1].cpu - first.cpu
    for batch, seconds, in_this_process in zip(made, cpu, here, strict=True):
        if in_this_process and first.ended < batch.came < steps[-1].ended:
            computed -= seconds
    busy, now = machine_clock()
    return {
        "processes": not all(here),
        "batch_cpu": median(cpu) if cpu else None,
        # Not more than there are: what this process does between steps is counted as well.
        "step_cores": min(max(computed, 0.0) / stepping, os.cpu_count()) if stepping else 0.0,
        "busy_cores": (busy - began[0]) / (now - began[1]),
    }
