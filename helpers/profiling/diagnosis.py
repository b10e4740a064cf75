"""What limits a run, in plain words, computed from its spans."""

import textwrap
from typing import NamedTuple

import pandas as pd

from helpers import arguments
from helpers.plotting.lanes import arranged
from helpers.profiling.pipeline import Pipeline
from helpers.profiling.summary import summarize

LITTLE = 0.1  # share of the time below which waiting is not worth a change
WORKERS = (*range(1, 17), 20, 24, 32, 48, 64)  # numbers that are tried
MUCH = 8  # times as long as it computes a worker waits: not only for a core
LINE = 95  # letters, as many as a notebook shows in one line

NAMES = {
    "read": "reading",
    "decode": "decoding",
    "resize": "resizing",
    "augment": "augmenting",
    "make": "making batches",
    "hand-over": "handing over",
}
ADVICE = {
    "model": "nothing about the data. A faster model needs a GPU, larger batches, mixed precision "
    "or fewer weights",
    "reading": "the disk. Copy the files to a faster one, or pack them into a few large files; "
    "more workers help too, since waiting for a disk costs no core",
    "decoding": "the number of pixels that are decoded. MY_Generator(draft=True) decodes large "
    "JPEGs at a fraction of their size; a pack of the resized images, helpers.pack(..., "
    "image_size=...), decodes them once; one of smaller JPEGs (contents='jpeg', max_size=...) "
    "saves disk, too",
    "resizing": "the number of pixels that are resized. MY_Generator(draft=True) leaves fewer of a "
    "large JPEG to shrink; a pack, helpers.pack(..., image_size=...), holds them resized; or "
    "give the model smaller images, and let keras.layers.Resizing enlarge them inside it",
    "augmenting": "augment. Compute on whole arrays instead of loops, or do it in the model with "
    "Keras's layers; Python code runs side by side in processes only (use_multiprocessing=True)",
    "making batches": "__getitem__. MY_Generator does the same in a fraction of the time, and "
    "shows the parts of it",
    "handing over": "what travels: nothing pickled and nothing copied (MY_Generator does neither), "
    "fewer bytes (dtype='uint8', smaller images), or larger and so fewer batches, since Keras "
    "and TensorFlow need about a millisecond for each, whatever is in it",
    "too many workers": "the threads. They wait for each other, for Python holds a lock: use "
    "processes (use_multiprocessing=True), or one worker",
    "queue": "max_queue_size. A longer queue bridges the time of batches that come late, and lets "
    "more workers work at once; one thread alone is one batch ahead whatever it is, so have two",
    "other programs": "nothing here. End what else keeps the cores busy, and measure again",
    "start of the epoch": "nothing about the speed. The queue is empty when an epoch begins: make "
    "epochs longer, or record more steps",
}
WAITING = (
    "They wait for a disk, a network or another program most of the time, and waiting costs no "
    "core. Faster code would change little"
)


class Diagnosis(NamedTuple):
    """What limits a run.

    Measure on a machine that has nothing else to do: where other programs take its cores, it may
    name the wrong limit.

    Attributes
    ----------
    limit : str
        "model", "reading", "decoding", "resizing", "augmenting", "making batches", "handing
        over", "workers that wait", "too few workers", "too many workers", "queue", "other
        programs" or "start of the epoch".
    speedup : float
        How many times as fast training would be at best, if it never stood still for data.
    workers : int
        Workers that this run could use, by `helpers.simulate`.
    text : str
        The same in words, a line for each finding. Printed, long lines are wrapped.
    """

    limit: str
    speedup: float
    workers: int
    text: str

    @property
    def named_limit(self) -> str:
        """Limit as it stands in a sentence."""
        return named(self.limit)

    def __repr__(self) -> str:
        lines = self.text.splitlines()
        return "\n".join(textwrap.fill(line, LINE, break_on_hyphens=False) for line in lines)


def named(limit: str) -> str:
    """Limit as it stands in a sentence."""
    return f"the {limit}" if limit in ("model", "queue") else limit


class Costs(NamedTuple):
    """Seconds per batch, from a run's summary.

    Attributes
    ----------
    wait, hand_over, step : float
        Of the training; `step` with what ``fit`` does between steps.
    work : pandas.Series
        Of a worker, by kind.
    ask : float
        From asking a worker until it begins.
    """

    wait: float
    hand_over: float
    step: float
    work: pd.Series
    ask: float

    @property
    def period(self) -> float:
        """Seconds from one step to the next."""
        return self.wait + self.hand_over + self.step

    @property
    def speedup(self) -> float:
        """How many times as fast training would be if it never stood still for data."""
        return self.period / self.step


def diagnose(spans) -> Diagnosis:
    """Say what limits a run, by how much, and what to change first.

    Parameters
    ----------
    spans : Spans
        A run, measured or simulated.

    Returns
    -------
    Diagnosis
        Printed, it is a few sentences.

    Notes
    -----
    Training that stands still less than a tenth of the time is limited by the model. If not,
    `helpers.simulate` repeats the run with other numbers of workers. If up to twice as many
    would end the waiting, there are too few; otherwise the largest part of the work is the
    limit, because only making it smaller helps. But if a worker computes for less than half of
    its time, it is not the code that is slow: its workers wait, and more can wait side by side.
    """
    costs = costs_of(spans)
    useful = useful_workers(spans, costs)
    limit = find_limit(spans, costs, useful)
    return Diagnosis(limit, costs.speedup, useful, "\n".join(words(spans, costs, limit, useful)))


def costs_of(spans) -> Costs:
    """Take the costs of a batch from a summary."""
    seconds = spans.summary().filter(like="(ms)") / 1000
    seconds.index = seconds.index.str.removesuffix(" (ms)")
    training = seconds.filter(like="training: ")
    training.index = training.index.str.removeprefix("training: ")
    work = seconds.filter(like="workers: ")
    work.index = work.index.str.removeprefix("workers: ")
    ask = work.pop("ask") if "ask" in work else 0.0
    step = training["step"] + training["other"]
    return Costs(training["wait"], training["hand-over"], step, work, ask)


def find_limit(spans, costs: Costs, useful: int) -> str:
    """Name what limits a run."""
    held = costs.wait + costs.hand_over
    if held < LITTLE * costs.period:
        return "model"
    if costs.work.empty:  # of processes that Keras starts anew, nothing is seen
        return "start of the epoch" if _waits_at_the_start(spans) else "making batches"
    if _threads_wait_for_each_other(spans, costs):  # and the training for them
        return "too many workers"
    if passing_seconds(spans.measured()) > (1 - LITTLE) * costs.period:
        return "handing over"
    if _waits_at_the_start(spans):
        return "start of the epoch"
    if costs.ask > costs.work.sum():  # asked and not begun: all are busy
        return "too few workers"
    if predicted_wait(spans, costs, spans.workers) < LITTLE / 2:
        return "other programs" if others_cores(spans, costs) > LITTLE * spans.cores else "queue"
    if _workers_wait_for_the_queue(spans, costs):
        return "queue"
    if useful <= 2 * spans.workers and predicted_wait(spans, costs, useful) < LITTLE:
        return "too few workers"
    if _workers_wait(spans, costs):
        return "workers that wait"
    return NAMES[spans.typical_work().idxmax()]


def passing_seconds(rows: pd.DataFrame) -> float:
    """Seconds to hand over a batch that is made, once the one before has arrived.

    Only batches count for which the training stood still then. Of others it cannot be seen: they
    were handed over while it computed.
    """
    rows = rows.set_index(["epoch", "step"])
    made = rows.loc[rows["lane"].str.startswith("worker"), "stop"].groupby(level=[0, 1]).max()
    arrived = rows.loc[rows["kind"] == "step", "start"]
    before = arrived.groupby(level=0).shift()
    seconds = arrived - pd.concat([made, before], axis="columns").max(axis="columns")
    training = rows[rows["lane"] == "training"]
    awaited = training.index[training["kind"] == "hand-over"]
    return seconds[awaited].mean() if len(awaited) else 0.0


def _waits_at_the_start(spans) -> bool:
    """Whether nearly all waiting is for the first batches, which no worker could make before."""
    rows = spans.measured()
    waits = rows[(rows["lane"] == "training") & (rows["kind"] != "step")]
    steps = rows["step"].max() + 1
    first = spans.workers if steps > 2 * spans.workers else 1
    at_the_start = waits.loc[waits["step"] < first, "seconds"].sum()
    return steps > 1 and at_the_start > 0.8 * waits["seconds"].sum()


def _workers_wait(spans, costs: Costs) -> bool:
    """Whether a worker waits for longer than it computes: for what is no file and no core."""
    if spans.batch_cpu is None or spans.typical_work().idxmax() == "read":
        return False
    computing, waiting = worker_seconds(spans, costs)
    elsewhere = waiting - costs.work.filter(["read", "hand-over"]).sum()
    # Threads that keep most of a core busy together may wait for Python's lock.
    locked = spans.workers > 1 and not spans.processes and computing > 0.7 * costs.period
    # Where no core is free, some of it is waiting for one, and nobody knows how much.
    times = MUCH if all_cores_are_busy(spans, costs) else 1
    return elsewhere > times * computing and not locked


def _threads_wait_for_each_other(spans, costs: Costs) -> bool:
    """Whether threads keep one core busy and no more, although another one is idle."""
    measured = spans.batch_cpu is not None and spans.busy_cores is not None
    if spans.processes or spans.workers == 1 or not measured:
        return False
    computing = spans.batch_cpu
    stopped = costs.work.drop("read", errors="ignore").sum() - computing
    one_core = computing > 0.5 * costs.period and own_cores(spans, costs) < 1.4 < spans.cores
    return stopped > 0.5 * computing and one_core and not all_cores_are_busy(spans, costs)


def _workers_wait_for_the_queue(spans, costs: Costs) -> bool:
    """Whether more batches on their way at the same time would give all workers something to do."""
    if spans.workers <= spans.queue + 1:
        return False
    longer = predicted(spans, costs, spans.workers, queue=2 * spans.workers)
    if longer["waiting (%)"] < 100 * LITTLE / 2:  # the end of the waiting, however little it was
        return True
    now = predicted(spans, costs, spans.workers)
    return longer["images/s"] > (1 + LITTLE) * now["images/s"]


def useful_workers(spans, costs: Costs) -> int:
    """Smallest number of workers with which the run would be nearly as fast as with any."""
    best = predicted(spans, costs, WORKERS[-1])["images/s"]
    return next(
        workers
        for workers in WORKERS
        if predicted(spans, costs, workers)["images/s"] >= (1 - LITTLE / 2) * best
    )


def predicted_wait(spans, costs: Costs, workers: int) -> float:
    """Share of the time that training would stand still with another number of workers."""
    return predicted(spans, costs, workers)["waiting (%)"] / 100


def predicted(spans, costs: Costs, workers: int, queue: int | None = None) -> pd.Series:
    """Summary of the run as it would be with another number of workers, or another queue."""
    computing, waiting = worker_seconds(spans, costs)
    making = {"read": waiting, "decode": computing, "workers": workers}
    training = {"hand_over": costs.hand_over, "step": costs.step, "step_cores": spans.step_cores}
    limits = {"cores": spans.cores, "queue": queue or spans.queue}
    rows = Pipeline(**making, **training, **limits, batches=100).run()
    return summarize(arranged(rows), workers)


def worker_seconds(spans, costs: Costs) -> tuple[float, float]:
    """Seconds for which a batch keeps a core busy, and for which its worker waits for a disk.

    What remains of the measured time, a worker waited for a core. That cannot be seen, only
    bounded: so many want one, and all get the same share.
    """
    whole = costs.work.sum()
    computing = min(computing_seconds(spans, costs), whole)
    wanted = spans.workers + spans.step_cores + others_cores(spans, costs)
    slower = wanted / spans.cores if all_cores_are_busy(spans, costs) else 1.0
    return computing, max(whole - computing * max(slower, 1.0), 0.0)


def computing_seconds(spans, costs: Costs) -> float:
    """Seconds for which a batch keeps a core busy."""
    if spans.batch_cpu is not None:
        return spans.batch_cpu
    return costs.work.drop(["read", "hand-over"], errors="ignore").sum()


def own_cores(spans, costs: Costs) -> float:
    """Cores that this run kept busy, on average."""
    return (computing_seconds(spans, costs) + spans.step_cores * costs.step) / costs.period


def others_cores(spans, costs: Costs) -> float:
    """Cores that other programs kept busy meanwhile."""
    own = own_cores(spans, costs)
    return max(own if spans.busy_cores is None else spans.busy_cores, own) - own


def all_cores_are_busy(spans, costs: Costs) -> bool:
    """Whether work had to wait for cores."""
    return own_cores(spans, costs) + others_cores(spans, costs) > 0.85 * spans.cores


def words(spans, costs: Costs, limit: str, useful: int) -> list[str]:
    """Put the findings into sentences."""
    held = costs.wait + costs.hand_over
    rate = spans.summary()["images/s"]
    kind = "processes" if spans.processes else "threads"
    times = f"{costs.speedup:.2g}" if costs.speedup < 99.5 else f"{costs.speedup:,.0f}"
    lines = [
        f"Training stands still for data {held / costs.period:.0%} of the time: "
        f"{1000 * held:.1f} of the {1000 * costs.period:.1f} ms from step to step.",
        f"The limit is {named(limit)}.",
        f"If it never had to wait, training would be {times} times as fast at best "
        f"({rate:,.0f} → {rate * costs.speedup:,.0f} images/s).",
    ]
    parts = spans.typical_work().sort_values(ascending=False)
    if len(parts):
        shares = ", ".join(f"{kind} {1000 * part:.1f}" for kind, part in parts.items())
        lines.append(f"A worker spends {1000 * parts.sum():.1f} ms on a typical batch: {shares}.")
        if _workers_wait(spans, costs):
            computing = 1000 * computing_seconds(spans, costs)
            lines.append(f"It computes for only {computing:.1f} ms of that; the rest it waits.")
    more = f"the number of workers, from {spans.workers} to {max(useful, spans.workers + 1)}"
    changes = {"too few workers": more, "workers that wait": f"{more}. {WAITING}"} | ADVICE
    lines.append(f"Change first: {changes[limit]}.")
    if all_cores_are_busy(spans, costs):
        lines.append(busy_words(spans, costs))
    now = f"{spans.workers} ({kind})" if spans.workers > 1 else "1"
    if not len(parts):
        return [*lines, f"Workers: {now}. What they do was not seen."]
    if spans.workers > spans.queue + 1:
        lines.append(
            f"With max_queue_size={spans.queue}, no more than "
            f"{arguments.counted(spans.queue + 1, 'batch is', 'batches are')} in work at a time: "
            f"other workers have nothing to do."
        )
    cores = arguments.counted(spans.cores, "core")
    lines.append(f"Workers: {now} now; this run could use {useful}, on {cores}.")
    return lines


def busy_words(spans, costs: Costs) -> str:
    """Say that there is no core left, and who has them."""
    others = others_cores(spans, costs)
    text = f"All {spans.cores} cores are busy" if spans.cores > 1 else "The only core is busy"
    return f"{text}, {others:.1f} of them with other programs." if others > 0.3 else f"{text}."
