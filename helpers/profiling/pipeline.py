"""The data pipeline of Keras as a machine: workers, queue and training, from event to event."""

import heapq
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from helpers.plotting.lanes import COLUMNS

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

    Time goes on from one end of a job to the next; in between nothing changes. The parameters
    are those of `helpers.simulate`, which checks them.
    """

    def __init__(
        self, *, read, decode, hand_over, step, workers, cores, queue, step_cores, batches
    ):
        making = [Job("decode", decode, 1, reading=read)]
        training = [Job("step", step, step_cores)]
        handing_over = Job("hand-over", hand_over, 1)
        if workers == 1:
            making.append(handing_over)
        else:
            training.insert(0, handing_over)
        # What a worker, and then the training, does to each batch.
        self.making = [job for job in making if job.seconds]
        self.training = [job for job in training if job.seconds]
        # Keras asks its pool for a batch before it puts it into the queue (OrderedEnqueuer._run),
        # and there it waits if the queue is full: `queue` in it and one more. The training takes
        # a batch out of the queue, which makes room, before it waits for it (OrderedEnqueuer.get).
        self.ahead = queue + 1
        self.cores, self.batches = cores, batches
        self.now = 0.0
        self.tasks: list[Task] = []
        self.free = list(range(1, workers + 1))
        self.made: dict[int, float] = {}  # batches that wait in the queue, and since when
        # Batches so far: given to workers; asked for, taken and finished by the training.
        self.given = self.asked = self.taken = self.finished = 0
        self.asked_at = 0.0
        self.rows: list[tuple] = []
        # Ends so close together are one: what lies between them is the rounding of floats.
        self.instant = 1e-9 * max(job.seconds for job in [*self.making, *self.training])

    def run(self, batch_size: int = 32) -> pd.DataFrame:
        """Train on all batches.

        Parameters
        ----------
        batch_size : int
            Images in each batch.

        Returns
        -------
        pandas.DataFrame
            The spans of one epoch, for `helpers.Spans` to arrange.
        """
        self.begin_all()
        while self.tasks:
            self.go_on()
            self.begin_all()
        rows = pd.DataFrame(self.rows, columns=["lane", "kind", "step", "start", "stop"])
        return rows.assign(epoch=0, images=batch_size)[COLUMNS]

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
