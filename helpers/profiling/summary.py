"""What happened to every batch of a run, as spans of time: measured or simulated."""

import functools
import json
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from helpers.images.laps import WORK

COLUMNS = ["lane", "kind", "epoch", "step", "images", "start", "stop"]
MAKING = [*WORK, "make"]  # "make" where the parts are not known
TRAINING = ["wait", "hand-over", "step"]


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
        Batches that may wait, ready, for the training.
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
        self._table = table.sort_values("start", kind="stable", ignore_index=True)
        self._table["seconds"] = self._table["stop"] - self._table["start"]
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
        "queue": "queue", from when a batch is ready until the training takes it.
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
        rows = self.measured()
        training = rows[rows["lane"] == "training"]
        working = rows[rows["lane"].str.startswith("worker")]
        steps = training[training["kind"] == "step"]
        elapsed = elapsed_seconds(training)
        kinds = training.groupby("kind")["seconds"].sum().reindex(TRAINING, fill_value=0.0)
        kinds["other"] = elapsed - kinds.sum()
        works = working.groupby("kind")["seconds"].sum()
        works = works.reindex([kind for kind in ("ask", *MAKING, "hand-over") if kind in works])
        busy = works.drop("ask", errors="ignore").sum() / (elapsed * self.workers)
        per_batch = 1000 / len(steps)
        return pd.Series(
            {
                "images/s": steps["images"].sum() / elapsed,
                "waiting (%)": 100 * (kinds["wait"] + kinds["hand-over"]) / elapsed,
                "workers busy (%)": 100 * busy,
                **{f"training: {kind} (ms)": kinds[kind] * per_batch for kind in kinds.index},
                **{f"workers: {kind} (ms)": works[kind] * per_batch for kind in works.index},
            }
        )

    def typical_work(self) -> pd.Series:
        """Seconds that a worker spends on a typical batch, by kind of work: medians.

        Where cores are short, a mean is mostly waiting for one.
        """
        rows = self.measured()
        rows = rows[rows["lane"].str.startswith("worker") & (rows["kind"] != "ask")]
        return rows.groupby("kind")["seconds"].median()

    def plot(self, title: str | None = None) -> Figure:
        """Draw who did what, when; see `helpers.plot_timeline`."""
        from helpers.plotting.gantt import plot_timeline

        return plot_timeline(self, title)

    def diagnose(self):
        """Say in plain words what limits the run; see `helpers.profiling.diagnosis.diagnose`."""
        from helpers.profiling.diagnosis import diagnose

        return diagnose(self)

    def save(self, path: str | Path) -> None:
        """Write a trace in Chrome's format, for viewers such as https://ui.perfetto.dev.

        Parameters
        ----------
        path : str or pathlib.Path
            File to write, such as "trace.json".

        Notes
        -----
        The format: "Trace Event Format" of the Chromium project, JSON object form; times in
        microseconds. Batches that wait in the queue are a counter, as they overlap.
        """
        Path(path).write_text(json.dumps({"traceEvents": self._events()}), encoding="utf-8")

    def _events(self) -> list[dict]:
        lanes = lane_order(self._table)
        process = {"pid": 1, "ts": 0}
        events = [{"ph": "M", "name": "process_name", "args": {"name": "run"}, **process}]
        for number, lane in enumerate(lanes):
            thread = {"ph": "M", "tid": number, **process}
            events.append({"name": "thread_name", "args": {"name": lane}, **thread})
            events.append({"name": "thread_sort_index", "args": {"sort_index": number}, **thread})
        for row in self._table.itertuples():
            if row.lane in lanes and row.kind != "ask":
                about = {"epoch": row.epoch, "step": row.step, "images": row.images}
                events.append(
                    {
                        "ph": "X",
                        "name": row.kind,
                        "cat": row.lane,
                        "pid": 1,
                        "tid": lanes.index(row.lane),
                        "ts": 1e6 * row.start,
                        "dur": 1e6 * row.seconds,
                        "args": about,
                        # A colour that Chrome's own viewer knows; others choose theirs.
                        **({"cname": "terrible"} if row.kind == "wait" else {}),
                    }
                )
        for moment, ready in ready_batches(self._table).items():
            counter = {"name": "batches ready", "args": {"batches": int(ready)}}
            events.append({"ph": "C", "pid": 1, "ts": 1e6 * moment, **counter})
        return events


def elapsed_seconds(training: pd.DataFrame) -> float:
    """Sum, over the epochs, from when the first batch is asked for to the end of the last step."""
    epochs = training.groupby("epoch").agg({"start": "min", "stop": "max"})
    return (epochs["stop"] - epochs["start"]).sum()


def lane_order(table: pd.DataFrame) -> list[str]:
    """Lanes of a table from top to bottom: the training, then the workers by number."""
    workers = {lane for lane in table["lane"] if lane.startswith("worker")}
    return ["training", *sorted(workers, key=lambda lane: int(lane.split()[1]))]


def ready_batches(table: pd.DataFrame) -> pd.Series:
    """Count the batches that wait, ready: a value for each moment at which that changes."""
    queued = table[table["kind"] == "queue"]
    changes = pd.concat([pd.Series(1, queued["start"]), pd.Series(-1, queued["stop"])])
    return changes.groupby(level=0).sum().sort_index().cumsum()
