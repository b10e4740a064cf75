"""What happened to every batch of a run, as spans of time: measured or simulated."""

import functools
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from helpers.plotting.gantt import plot_timeline
from helpers.plotting.lanes import arranged
from helpers.plotting.trace import save_trace
from helpers.profiling.diagnosis import Diagnosis, diagnose
from helpers.profiling.summary import summarize


class Spans:
    """What happened to every batch of a run.

    `helpers.Timeline` measures one, `helpers.simulate` computes one.

    Parameters
    ----------
    table : pandas.DataFrame
        A row for each span, see `table`.
    workers : int
        Threads or processes that make batches.
    cores : int
        Processor cores.
    queue : int
        ``max_queue_size``: batches that several workers may make ahead.
    processes : bool
        Whether the workers are processes.
    batch_cpu : float, optional
        Seconds that a core computes to make a batch. Without it, all but "read" counts.
    step_cores : float
        Cores that a training step keeps busy; 0 if it runs elsewhere, on a GPU.
    busy_cores : float, optional
        Cores that were busy on average, with this run and whatever else the machine did.
    """

    def __init__(
        self,
        table: pd.DataFrame,
        *,
        workers: int,
        cores: int,
        queue: int,
        processes: bool = False,
        batch_cpu: float | None = None,
        step_cores: float = 0.0,
        busy_cores: float | None = None,
    ):
        self.__dict__.pop("_summary", None)  # of another run that was recorded before
        self._table = arranged(table)
        self.workers, self.cores, self.queue = workers, cores, queue
        self.processes = processes
        self.batch_cpu, self.step_cores, self.busy_cores = batch_cpu, step_cores, busy_cores

    def table(self) -> pd.DataFrame:
        """Every span of the run, in the order in which they began.

        Returns
        -------
        pandas.DataFrame
            Columns: ``lane`` ("training", "worker 1", …, "queue"); ``kind`` (below);
            ``epoch`` and ``step`` of the training that used the batch, from 0 (-1: none);
            ``images`` in the batch; ``start``, ``stop`` and ``seconds``, in seconds since
            the run began.

        Notes
        -----
        Kinds on a worker's lane: "ask" (from the request until the worker begins), "read",
        "decode", "resize", "augment" (each summed over the images of a batch and laid end to
        end; in truth they take turns, image by image), "make" (all of these, where only the
        whole is seen), "hand-over" (until the batch is back in the training's process).

        Kinds on the training's lane: "wait" (the batch is not made yet), "hand-over" (it is
        made and on its way to the model; training stands still), "step". On the lane
        "queue": "queue", from when a batch is made until the training asks for it.
        """
        return self._table.copy()

    def measured(self) -> pd.DataFrame:
        """Rows of `table` that `summary` and `diagnose` count: all that belong to a step."""
        rows = self._table[self._table["step"] >= 0]
        if rows.empty:
            raise ValueError("no training step was recorded yet; see the example in Timeline")
        return rows

    def summary(self) -> pd.Series:
        """How fast the run was, and where the time of a batch went.

        Returns
        -------
        pandas.Series
            ``images/s``; ``waiting (%)``, the share of the time in which training stood
            still for data (kinds "wait" and "hand-over" of its lane); ``workers busy (%)``;
            then milliseconds per batch: ``training: …`` for each kind of its lane (with
            "other": what ``fit`` does between steps) and ``workers: …`` for theirs.
        """
        return self._summary.copy()

    @functools.cached_property
    def _summary(self) -> pd.Series:  # asked for many times, by the picture and the diagnosis
        return summarize(self.measured(), self.workers)

    def typical_work(self) -> pd.Series:
        """Seconds that a worker spends on a typical batch, by kind of work: medians.

        Where cores are short, a mean is mostly waiting for one.
        """
        rows = self.measured()
        rows = rows[rows["lane"].str.startswith("worker") & (rows["kind"] != "ask")]
        return rows.groupby("kind")["seconds"].median()

    def plot(self, title: str | None = None) -> Figure:
        """Draw who did what, when; see `helpers.plot_timeline`."""
        return plot_timeline(self, title)

    def diagnose(self) -> Diagnosis:
        """Say in plain words what limits the run; see `helpers.diagnose`."""
        return diagnose(self)

    def save(self, path: str | Path) -> None:
        """Write a trace in Chrome's format, for viewers such as https://ui.perfetto.dev.

        Parameters
        ----------
        path : str or pathlib.Path
            File to write, such as "trace.json".
        """
        save_trace(self._table, path)
