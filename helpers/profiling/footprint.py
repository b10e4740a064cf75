"""How much memory a training run takes: this process and its workers, over time.

A thread takes the samples. To read a process's memory is the system's work, during which
Python's lock is free; a process of its own would spend the same time on it, take memory itself,
start later, and could be left behind.
"""

import contextlib
import threading
import time
from pathlib import Path

import pandas as pd
import psutil
from matplotlib.figure import Figure

from helpers import arguments
from helpers.plotting.plots import new_figure

MEASURES = {
    "PSS": "shared pages counted once",
    "USS": "shared pages left out",
    "RSS": "shared pages counted in each process",
}
"""What systems tell of a process, the best first: Linux PSS, macOS and Windows USS."""

COLUMNS = ["seconds", "process", "what", "measure", "data (MB)", "files (MB)"]
COLOURS = {"files": "#c8c8c8", "training": "#4a4a4a", "workers": "#6cb4ee"}
HATCHES = {"files": "..", "training": "", "workers": "\\\\"}

MOST_TIME = 0.05
"""Part of a core that sampling may take: a process with TensorFlow takes 9 ms, a large one more."""


class MemoryUse:
    """Samples the memory of this process and of all its children while a block runs.

    Pages that processes share, such as a batch that a worker wrote and the training reads, are
    counted once: each of n processes that have looked at a page is charged 1/n of it, so their
    sum is right. (Linux calls this the *proportional set size*, PSS. Other systems tell the
    *unique set size*, USS, which leaves shared pages out; the table says which it is.)

    Linux also tells how much of it are pages of files: libraries, and files that are mapped into
    memory. They are listed apart, because the system can drop them and read them again, and
    because other programs share them: when a second program loads TensorFlow, half of its
    libraries is charged to that one.

    What one call takes and frees again while it holds Python's lock is not seen. Processes are
    looked at one after the other: a page that comes to be shared in between is counted twice in
    that sample.

    Parameters
    ----------
    interval : float
        Seconds from one sample to the next. They come less often if that would take more than
        5 % of a core.

    Raises
    ------
    TypeError, ValueError
        If `interval` is not a positive number.

    Examples
    --------
    >>> with MemoryUse() as memory:
    ...     model.fit(generator)
    >>> memory.summary()
    >>> memory.plot()
    """

    def __init__(self, interval: float = 0.1):
        self.interval = arguments.number("interval", interval, zero=False)
        self._rows: list[tuple] = []

    def __enter__(self):
        self._rows = []
        self._began = time.perf_counter()
        self._sample()  # what there was before
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample_until_stopped, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._stop.set()
        self._thread.join()
        self._sample()

    def _sample_until_stopped(self) -> None:
        pause = self.interval
        while not self._stop.wait(pause):
            before = time.thread_time()
            self._sample()
            pause = max(self.interval, (time.thread_time() - before) / MOST_TIME)

    def _sample(self) -> None:
        seconds = time.perf_counter() - self._began
        program = psutil.Process()
        for process in [program, *program.children(recursive=True)]:
            what = "training" if process == program else "worker"
            with contextlib.suppress(psutil.Error):  # it ended meanwhile, or is somebody else's
                self._rows.append((seconds, process.pid, what, *_memory(process)))

    def table(self) -> pd.DataFrame:
        """Every process in every sample.

        Returns
        -------
        pandas.DataFrame
            Columns: ``seconds`` since the block began, the same for a whole sample;
            ``process``, its id; ``what``: "training" for this process, "worker" for every child
            of it, the one that starts the workers included; ``measure``: "PSS", or "USS" or
            "RSS" where the system does not tell more; ``data (MB)`` and ``files (MB)``, which
            add up to that measure, in 10⁶ bytes (where the system does not tell them apart,
            all is data).
        """
        return pd.DataFrame(self._rows, columns=COLUMNS)

    def over_time(self) -> pd.DataFrame:
        """Memory in each sample.

        Returns
        -------
        pandas.DataFrame
            Index: seconds. Columns, in MB, which add up to all there is: ``files``, the pages
            of files of all processes; ``training`` and ``workers``, their data.
        """
        samples = self.table().groupby("seconds")
        data = self.table().pivot_table("data (MB)", "seconds", "what", "sum", fill_value=0.0)
        return pd.DataFrame(
            {
                "files": samples["files (MB)"].sum(),
                "training": data["training"],
                "workers": data.get("worker", 0.0),
            }
        )

    def peak(self) -> float:
        """Most memory that all processes took together, in MB."""
        return self.over_time().sum(axis="columns").max()

    def summary(self) -> pd.Series:
        """Tell the run in a few numbers.

        Returns
        -------
        pandas.Series
            "peak (MB)", the most memory at one time, and its parts, "files (MB)", "training
            (MB)" and "workers (MB)"; "data grew by (MB)", from the beginning of the block to
            the most data at one time; "samples".
        """
        memory = self.over_time()
        highest = memory.loc[memory.sum(axis="columns").idxmax()]
        data = memory["training"] + memory["workers"]
        return pd.Series(
            {
                "peak (MB)": highest.sum(),
                **{f"{part} (MB)": highest[part] for part in memory},
                "data grew by (MB)": data.max() - data.iloc[0],
                "samples": len(memory),
            }
        )

    def plot(self, title: str | None = None) -> Figure:
        """Draw the memory over time, stacked: files, the training's data, the workers' data.

        Parameters
        ----------
        title : str, optional
            A line above, instead of the peak.

        Returns
        -------
        matplotlib.figure.Figure
            An area for each part, with a pattern of its own; the peak is marked.
        """
        memory = self.over_time()
        memory = memory.loc[:, memory.any()]
        total = memory.sum(axis="columns")
        at, peak = total.idxmax(), total.max()
        measure = self._rows[0][COLUMNS.index("measure")]
        figure, axis = new_figure(figsize=(8, 3.6))
        colours = [COLOURS[part] for part in memory]
        areas = axis.stackplot(memory.index, memory.T, labels=memory.columns, colors=colours)
        for part, area in zip(memory, areas, strict=True):  # told apart without colours, too
            area.set(hatch=HATCHES[part], edgecolor="white", linewidth=0)
        axis.plot(at, peak, "o", color="black", markersize=5)
        side = "right" if at > memory.index[-1] / 2 else "left"
        label = {"xytext": (0, 6), "textcoords": "offset points", "ha": side}
        axis.annotate(f"peak: {peak:,.0f} MB", (at, peak), **label)
        axis.set(xlim=(0, memory.index[-1]), ylim=(0, 1.15 * peak))
        axis.set(xlabel="seconds", ylabel=f"MB, {MEASURES[measure]}")
        axis.set_title(title or f"Memory while training: at most {peak:,.0f} MB")
        axis.yaxis.set_major_formatter("{x:,.0f}")
        axis.grid(alpha=0.3)
        axis.legend(loc="upper left", bbox_to_anchor=(1, 1), reverse=True)
        shares = ", ".join(f"{part} {memory.loc[at, part]:,.0f}" for part in memory)
        figure.alt_text = (
            f"Memory over {memory.index[-1]:.1f} seconds, as stacked areas. The peak, after "
            f"{at:.1f} seconds, is {peak:,.0f} MB: {shares}."
        )
        return figure


def _memory(process: psutil.Process) -> tuple[str, float, float]:
    """Say what is measured, and how much of it are data and how much files, in MB."""
    try:  # Linux; psutil gives only the sum
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()[1:]
        kibibytes = {line.split(":")[0]: int(line.split()[1]) for line in lines}
        files = 1.024e-3 * kibibytes["Pss_File"]
        return "PSS", 1.024e-3 * kibibytes["Pss"] - files, files
    except (OSError, KeyError):
        memory = process.memory_full_info()
        measure = next(name for name in MEASURES if hasattr(memory, name.lower()))
        return measure, getattr(memory, measure.lower()) / 1e6, 0.0
