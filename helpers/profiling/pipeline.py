"""The data pipeline of Keras as arithmetic: what a run would do, without running it."""

import heapq
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from helpers import arguments
from helpers.profiling.spans import COLUMNS, Spans

TRAINING = 0
"""Number of the training's lane; the workers' lanes follow from 1, then comes the queue's."""


class Job(NamedTuple):
    """One part of what is done to every batch.

    Attributes
    ----------
    kind : str
        What the table calls it.
    computing : float
        Seconds that it takes, on `cores` cores.
    cores : float
        0 if it is no work for this machine's cores.
    reading : float
        Seconds that it waits for files besides. Both take turns, image by image.
    """

    kind: str
    computing: float
    cores: float
    reading: float = 0.0

    @property
    def seconds(self) -> float:
        """How long it takes if it gets all the cores it wants."""
        return self.reading + self.computing

    @property
    def wanted(self) -> float:
        """Cores it wants, on average: half a core, if it reads half of its time."""
        return self.cores * self.computing / self.seconds


@dataclass(slots=True)
class Task:
    """A batch that a worker, or the training, has in hand. The first of its jobs is underway."""

    lane: int
    batch: int
    jobs: list[Job]
    began: float  # when that job began
    left: float  # seconds that it still needs, if it gets all the cores it wants
    wanted: float  # cores


class Pipeline:
    """The workers, the queue and the training, and what each of them does now.

    Time goes on from one end of a job to the next; in between nothing changes.

    Parameters
    ----------
    making, training : list of Job
        What a worker, and then the training, does to each batch.
    workers, cores, batches : int
        As in `simulate`.
    ahead : int
        Batches that are asked for ahead of the one that the training asks for.
    """

    def __init__(self, making, training, *, workers, cores, batches, ahead):
        self.making, self.training = making, training
        self.cores, self.batches, self.ahead = cores, batches, ahead
        self.now = 0.0
        self.tasks: list[Task] = []
        self.free = list(range(1, workers + 1))
        self.made: dict[int, float] = {}  # batches that wait in the queue, and since when
        # Batches so far: given to workers; asked for, taken and finished by the training.
        self.given = self.asked = self.taken = self.finished = 0
        self.asked_at = 0.0
        self.rows: list[tuple] = []
        # Ends so close together are one: what lies between them is the rounding of floats.
        self.instant = 1e-9 * max(job.seconds for job in [*making, *training])

    def run(self) -> list[tuple]:
        """Train on all batches; the spans (lane, kind, batch, start, stop)."""
        self.begin_all()
        while self.tasks:
            self.go_on()
            self.begin_all()
        return self.rows

    def begin_all(self) -> None:
        """Begin all that can begin now."""
        while self.give_batch() or self.ask() or self.take_batch():
            pass

    def give_batch(self) -> bool:
        """Give the next batch to the free worker with the lowest number."""
        if not self.free or self.given == min(self.batches, self.asked + self.ahead):
            return False
        self.begin(heapq.heappop(self.free), self.given, self.making)
        self.given += 1
        return True

    def ask(self) -> bool:
        """Let the training ask for its next batch, if it has finished the last one."""
        if self.asked > self.finished or self.asked == self.batches:
            return False
        self.asked += 1
        self.asked_at = self.now
        return True

    def take_batch(self) -> bool:
        """Let the training take the batch that it asked for, if it is made."""
        if self.taken == self.asked or self.taken not in self.made:
            return False
        batch = self.taken
        self.note("training", "wait", batch, self.asked_at, self.now)
        self.note("queue", "queue", batch, self.made.pop(batch), self.now)
        self.taken += 1
        self.begin(TRAINING, batch, self.training)
        return True

    def begin(self, lane: int, batch: int, jobs: list[Job]) -> None:
        """Begin the first of the jobs, or see that none is left."""
        if jobs:
            job = jobs[0]
            self.tasks.append(Task(lane, batch, jobs, self.now, job.seconds, job.wanted))
        elif lane == TRAINING:
            self.finished += 1
        else:
            self.made[batch] = self.now
            heapq.heappush(self.free, lane)

    def go_on(self) -> None:
        """Go to the next end of a job. If cores are short, all that want some are slowed alike."""
        share = self.cores / max(sum(task.wanted for task in self.tasks), self.cores)
        speeds = [share if task.wanted else 1.0 for task in self.tasks]
        seconds = min(task.left / speed for task, speed in zip(self.tasks, speeds, strict=True))
        self.now += seconds
        for task, speed in zip(self.tasks, speeds, strict=True):
            task.left -= seconds * speed
        ended = [task for task in self.tasks if task.left <= self.instant]
        self.tasks = [task for task in self.tasks if task.left > self.instant]
        for task in ended:
            self.note_job(task)
            self.begin(task.lane, task.batch, task.jobs[1:])

    def note_job(self, task: Task) -> None:
        """Keep the spans of a job that ends now: its parts are laid end to end."""
        lane = f"worker {task.lane}" if task.lane else "training"
        job = task.jobs[0]
        read = min(task.began + job.reading, self.now)
        self.note(lane, "read", task.batch, task.began, read)
        self.note(lane, job.kind, task.batch, read, self.now)

    def note(self, lane: str, kind: str, batch: int, start: float, stop: float) -> None:
        """Keep a span, unless it took no time."""
        if stop - start > self.instant:
            self.rows.append((lane, kind, batch, start, stop))


def simulate(
    *,
    read: float = 0.0,
    decode: float,
    hand_over: float = 0.0,
    step: float,
    workers: int = 1,
    cores: int = 2,
    queue: int = 10,
    batches: int = 40,
    batch_size: int = 32,
    step_cores: float = 0.0,
) -> Spans:
    """Compute the timeline of one epoch of ``fit``, without running anything.

    The same arguments give the same spans, on every machine: there is no clock in it and no
    chance. All times are seconds for one batch, as one worker needs them that has a core to
    itself.

    Parameters
    ----------
    read : float
        Seconds in which a worker waits for the files, and uses no core.
    decode : float
        Seconds in which a worker then computes on one core: decode, resize and augment.
    hand_over : float
        Seconds of one core from the finished batch to the model: a copy, mostly.
    step : float
        Seconds of a training step.
    workers : int
        Threads or processes that make batches. 0 and 1 both mean one, as a thread of its own.
    cores : int
        Processor cores.
    queue : int
        ``max_queue_size``: batches that Keras prepares ahead.
    batches : int
        Batches in the epoch.
    batch_size : int
        Images in each batch.
    step_cores : float
        Cores that a training step keeps busy: 0 with a GPU, up to `cores` without.

    Returns
    -------
    Spans
        One epoch, from when the first batch is asked for. The workers are there already.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong; the message says what was received.

    Notes
    -----
    *Batches.* Batches are given out in order, each to the free worker with the lowest number.
    While the training computes, `queue` + 1 are on their way, made or in work, and the one
    that it waits for besides. With one worker Keras has no such queue: a thread of tf.data
    makes one batch after the other, into a buffer whose length TensorFlow chooses. Here this
    is one worker with the given queue.

    *Training.* It asks for a batch, waits until that is made, has it handed over, makes a
    step, and asks for the next one. With one worker that thread of tf.data hands over as well,
    while the training goes on; with more the training stands still meanwhile. (That is how
    Keras 3 works on TensorFlow. So two workers may be slower than one, if handing over is
    what takes long.)

    *Cores.* A worker reads and decodes in turns, image by image, so it wants decode/(read +
    decode) of a core; the hand-over wants one core, a step `step_cores`. If more are wanted than
    there are, all that want some go on at the same part of their speed, cores/wanted. The
    table lays a batch's reading and decoding end to end, as a measured timeline does; what it
    takes longer because cores are short counts as decoding.

    *Left out.* Batches that take longer than others, the start of the workers, what they
    spend on talking to each other, and Python's lock, for which threads wait.

    Examples
    --------
    >>> spans = simulate(read=0.030, decode=0.010, step=0.010, workers=4, cores=8)
    >>> spans.summary()["images/s"]
    >>> spans.plot()
    """
    times = {"read": read, "decode": decode, "hand_over": hand_over, "step": step}
    for name, value in times.items():
        # Without steps there would be no training whose speed could be told.
        times[name] = arguments.number(name, value, zero=name != "step")
    step_cores = arguments.number("step_cores", step_cores)
    workers = max(arguments.whole_number("workers", workers, at_least=0), 1)
    cores = arguments.whole_number("cores", cores, at_least=1)
    queue = arguments.whole_number("queue", queue, at_least=1)
    batches = arguments.whole_number("batches", batches, at_least=1)
    batch_size = arguments.whole_number("batch_size", batch_size, at_least=1)

    making = [Job("decode", times["decode"], 1, reading=times["read"])]
    training = [Job("step", times["step"], step_cores)]
    handing_over = Job("hand-over", times["hand_over"], 1)
    if workers == 1:
        making.append(handing_over)
    else:
        training.insert(0, handing_over)

    # Keras asks its pool for a batch before it puts it into the queue (OrderedEnqueuer._run),
    # and there it waits if the queue is full: `queue` in it and one more. The training takes
    # a batch out of the queue, which makes room, before it waits for it (OrderedEnqueuer.get).
    pipeline = Pipeline(
        [job for job in making if job.seconds],
        [job for job in training if job.seconds],
        workers=workers,
        cores=cores,
        batches=batches,
        ahead=queue + 1,
    )
    table = pd.DataFrame(pipeline.run(), columns=["lane", "kind", "step", "start", "stop"])
    return Spans(
        table.assign(epoch=0, images=batch_size)[COLUMNS],
        workers=workers,
        cores=cores,
        queue=queue,
        batch_cpu=times["decode"],
        step_cores=step_cores,
    )
