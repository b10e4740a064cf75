"""The data pipeline as a machine: workers, TensorFlow's thread and training, event by event."""

import heapq
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from helpers.generators.passes import HELD_BY_TENSORFLOW
from helpers.plotting.lanes import COLUMNS


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
        return self.cores * self.computing / self.seconds if self.computing else 0.0


@dataclass(slots=True)
class Task:
    """A job that is underway."""

    job: Job
    batch: int
    worker: int  # who does it, if it is a worker
    began: float
    left: float  # seconds that it still needs, if it gets all the cores it wants


class Pipeline:
    """Workers, TensorFlow's thread and the training, and what each of them does now.

    Time goes on from one end of a job to the next; in between nothing changes. The parameters
    are those of `helpers.simulate`, which checks them.
    """

    def __init__(
        self, *, read, decode, hand_over, step, workers, cores, queue, step_cores, batches
    ):
        self.making = Job("decode", decode, 1, reading=read)
        self.handing_over = Job("hand-over", hand_over, 1)
        self.step = Job("step", step, step_cores)
        # As `MY_Generator.set_workers` has it: besides the batch that is asked for.
        self.ahead = queue if workers > 1 else 1
        self.cores, self.batches = cores, batches
        self.now = 0.0
        self.tasks: list[Task] = []
        self.free = list(range(1, workers + 1))
        self.made: dict[int, float] = {}  # when each batch was made
        # Batches so far: given to workers; asked for, taken and handed over by TensorFlow's
        # thread; asked for, begun and finished by the training.
        self.given = self.wanted = self.taken = self.arrived = 0
        self.asked = self.begun = self.finished = 0
        self.asked_at = 0.0
        self.rows: list[tuple] = []
        # Ends so close together are one: what lies between them is the rounding of floats.
        self.instant = 1e-9 * max(self.making.seconds, hand_over, step)

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
        while (
            self.ask() or self.begin_step() or self.want() or self.hand_over() or self.give_batch()
        ):
            pass

    def ask(self) -> bool:
        """Let the training ask for its next batch, if it has finished the last one."""
        if self.asked > self.finished or self.asked == self.batches:
            return False
        self.asked += 1
        self.asked_at = self.now
        return True

    def begin_step(self) -> bool:
        """Let the training begin a step, if the batch that it asked for has arrived."""
        batch = self.begun
        if batch == min(self.asked, self.arrived):
            return False
        waited = max(self.made[batch], self.asked_at)
        self.note("training", "wait", batch, self.asked_at, waited)
        self.note("training", "hand-over", batch, waited, self.now)
        self.note("queue", "queue", batch, self.made[batch], self.asked_at)
        self.begun += 1
        self.begin(self.step, batch)
        return True

    def want(self) -> bool:
        """Let TensorFlow's thread ask for its next batch, unless it holds enough of them."""
        most = min(self.asked + HELD_BY_TENSORFLOW, self.batches)
        if self.wanted > self.arrived or self.wanted == most:
            return False
        self.wanted += 1
        return True

    def hand_over(self) -> bool:
        """Let TensorFlow's thread hand over the batch that it asked for, if it is made."""
        if self.taken == self.wanted or self.taken not in self.made:
            return False
        self.taken += 1
        self.begin(self.handing_over, self.taken - 1)
        return True

    def give_batch(self) -> bool:
        """Give the next batch to the free worker with the lowest number."""
        if not self.free or self.given == min(self.wanted + self.ahead, self.batches):
            return False
        self.given += 1
        self.begin(self.making, self.given - 1, heapq.heappop(self.free))
        return True

    def begin(self, job: Job, batch: int, worker: int = 0) -> None:
        """Begin a job; one that takes no time is over at once."""
        task = Task(job, batch, worker, self.now, job.seconds)
        if job.seconds:
            self.tasks.append(task)
        else:
            self.end(task)

    def end(self, task: Task) -> None:
        """End a job."""
        if task.job is self.making:
            self.made[task.batch] = self.now
            heapq.heappush(self.free, task.worker)
            # Reading and decoding, which take turns, are laid end to end.
            read = min(task.began + task.job.reading, self.now)
            self.note(f"worker {task.worker}", "read", task.batch, task.began, read)
            self.note(f"worker {task.worker}", "decode", task.batch, read, self.now)
        elif task.job is self.handing_over:
            self.arrived += 1
        else:
            self.finished += 1
            self.note("training", "step", task.batch, task.began, self.now)

    def go_on(self) -> None:
        """Go to the next end of a job. If cores are short, all that want some are slowed alike."""
        share = self.cores / max(sum(task.job.wanted for task in self.tasks), self.cores)
        speeds = [share if task.job.wanted else 1.0 for task in self.tasks]
        seconds = min(task.left / speed for task, speed in zip(self.tasks, speeds, strict=True))
        self.now += seconds
        for task, speed in zip(self.tasks, speeds, strict=True):
            task.left -= seconds * speed
        ended = [task for task in self.tasks if task.left <= self.instant]
        self.tasks = [task for task in self.tasks if task.left > self.instant]
        for task in ended:
            self.end(task)

    def note(self, lane: str, kind: str, batch: int, start: float, stop: float) -> None:
        """Keep a span, unless it took no time."""
        if stop - start > self.instant:
            self.rows.append((lane, kind, batch, start, stop))
