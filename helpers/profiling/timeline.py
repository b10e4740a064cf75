"""Who did what, when: every batch of a training run, watched while ``fit`` runs."""

import itertools
import os
from statistics import median

import keras
import pandas as pd

from helpers.generators.my_generator import MY_Generator
from helpers.plotting.lanes import COLUMNS
from helpers.profiling.recording import Made, Recorder, Step, machine_clock, threads_of
from helpers.profiling.spans import Spans


class Timeline(Spans):
    """Watches a generator and a model while ``fit`` runs.

    Of `helpers.MY_Generator` all is seen that happens to a batch, in every mode. Of other
    sequences: when and by whom a batch was made, and what the training did meanwhile (but
    not what happens in processes that Keras starts by another method than fork).

    Record two epochs or more, of one ``fit``: in the first one the model is compiled and the
    workers start, so it is left out of `summary`, `plot` and `diagnose` when there are more.
    Batches are matched with steps in the order in which they were taken. A batch that was made and
    not taken belongs to no step.

    A step that is watched gets its batch from outside of TensorFlow's graph, as
    `keras.Model.train_on_batch` does, and ends with the same weights as that to the bit. ``fit``
    alone compiles another graph, whose convolutions round otherwise: there losses may differ in
    the eighth digit.

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
        self._arrange(threads_of(generator), [], [])

    def __enter__(self):
        self._recorder = Recorder(self.generator, self.model)
        return self

    def __exit__(self, *exception):
        self._recorder.close()
        self._arrange(self._recorder.threads, self._recorder.made, self._recorder.steps)
        if exception[0] is None and not (self._recorder.steps and self._recorder.made):
            raise RuntimeError(
                "no training step was seen: call fit inside the with block, of the model and "
                "with the generator that Timeline was given"
            )

    def _arrange(self, threads: int, made: list[Made], steps: list[Step]) -> None:
        workers = max(threads, 1)
        super().__init__(
            spans_table(made, steps, workers),
            workers=workers,
            cores=os.cpu_count() or 1,
            queue=self.generator.max_queue_size,
            processes=makes_in_processes(self.generator, made),
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


def spans_table(made: list[Made], steps: list[Step], workers: int) -> pd.DataFrame:
    """Arrange what was noted as spans, with the columns of `helpers.Spans.table`."""
    epochs = {turn: epoch for epoch, turn in enumerate(sorted({step.turn for step in steps}))}
    made = sorted(made, key=lambda batch: batch.asked)
    lanes = worker_lanes(made, workers)
    rows, used = [], []
    for batch, lane in zip(made, lanes, strict=True):
        if batch.turn in epochs:
            used.append((batch, lane))
        else:  # never taken; or Keras looked at it before it began, to learn the shapes
            rows += batch_rows(batch, lane, -1, -1)
    used.sort(key=lambda pair: pair[0].taken)
    numbers = dict.fromkeys(epochs.values(), 0)
    for pair, step in itertools.zip_longest(used, steps):
        epoch = number = -1  # of a batch that no step has used
        if step is not None:
            epoch = epochs[step.turn]
            number, numbers[epoch] = numbers[epoch], numbers[epoch] + 1
            rows += step_rows(step, pair and pair[0], epoch, number)
        if pair is not None:
            batch, lane = pair
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

    Threads come and go, and who asks for a batch may make it itself. So a new maker opens a lane
    only while there are fewer than workers; then it takes one that is free.
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


def makes_in_processes(generator: keras.utils.PyDataset, made: list[Made]) -> bool:
    """Tell whether batches are made in other processes.

    What is made in a process that Keras starts by another method than fork is not in `made`.
    """
    if not all(map(is_made_here, made)):
        return True
    by_keras = not isinstance(generator, MY_Generator)  # that tells Keras nothing of its own ones
    return by_keras and generator.use_multiprocessing and generator.workers > 0


def is_made_here(batch: Made) -> bool:
    """Tell whether a batch was made in this process."""
    return (batch.times or batch).process == os.getpid()


def processor_use(made: list[Made], steps: list[Step], began: tuple[float, float]) -> dict:
    """How much of the cores a batch, a step and the whole machine used in the last epoch.

    `began` is what `machine_clock` said at its beginning.
    """
    first, *others = [step for step in steps if step.turn == steps[-1].turn]
    used = [batch for batch in made if batch.turn == first.turn]
    here = [batch for batch in made if is_made_here(batch)]
    stepping = sum(step.ended - step.arrived for step in others)
    computed = steps[-1].cpu - first.cpu
    computed -= sum(batch.cpu for batch in here if first.ended < batch.came < steps[-1].ended)
    busy, now = machine_clock()
    return {
        "batch_cpu": median(batch.cpu for batch in used) if used else None,
        # Not more than there are: what this process does between steps is counted as well.
        "step_cores": min(max(computed, 0.0) / stepping, os.cpu_count() or 1) if stepping else 0.0,
        "busy_cores": (busy - began[0]) / (now - began[1]),
    }
