"""Which worker process began which image, and when: read from a file that they write, and drawn."""

import os
from collections.abc import Sequence

import numpy as np
import pandas as pd
import psutil
from matplotlib.figure import Figure

from helpers.loading.pool import WORKER_PROCESS
from helpers.plotting.plots import new_figure

BLUE, ORANGE, RED = "#0072B2", "#E69F00", "#B2182B"


def worker_processes() -> list[psutil.Process]:
    """Return the processes that make batches for the generators of this program.

    `MY_Generator` has one process that starts its workers; they are the children of that one.
    On Windows there are none: there threads make the batches.
    """
    servers = [child for child in psutil.Process().children() if _is_server(child)]
    return [worker for server in servers for worker in server.children()]


def _is_server(process: psutil.Process) -> bool:
    try:
        return WORKER_PROCESS in process.cmdline()
    except psutil.Error:  # it ended, or is another user's
        return False


def read_diary(path: str | os.PathLike) -> pd.DataFrame:
    """Read lines of three numbers: a process, a time in seconds, and what stands for an image.

    Parameters
    ----------
    path : str or os.PathLike

    Returns
    -------
    pandas.DataFrame
        A row for each line, with the columns ``process``, ``time`` and ``image``.
    """
    return pd.read_csv(path, sep=" ", names=["process", "time", "image"])


def draw_diary(
    diary: pd.DataFrame, kills: Sequence[tuple[float, int]], steps: Sequence[float]
) -> Figure:
    """Draw what each process did, and how the training went on meanwhile.

    Parameters
    ----------
    diary : pandas.DataFrame
        As `read_diary` returns it.
    kills : sequence of tuple
        Time and process of each kill. The process may have begun no image.
    steps : sequence of float
        When each batch was trained on, by the same clock.

    Returns
    -------
    matplotlib.figure.Figure
    """
    start = min(diary["time"].min(), min(steps))
    order = list(dict.fromkeys([*diary["process"], *(process for _, process in kills)]))
    again = int(diary.duplicated("image").sum())
    twice = diary.duplicated("image", keep=False)
    figure, (top, bottom) = new_figure(
        2, 1, sharex=True, height_ratios=[max(2, len(order) / 3), 1], figsize=(8.6, 5)
    )
    for rows, style, label in (
        (diary[~twice], {"marker": "|", "s": 110, "color": BLUE}, "an image"),
        (
            diary[twice],
            {
                "marker": "o",
                "s": 45,
                "facecolor": "none",
                "edgecolor": ORANGE,
                "linewidth": 2,
                "zorder": 4,
            },
            "an image that was begun twice",
        ),
        (
            pd.DataFrame(kills, columns=["time", "process"]),
            {"marker": "X", "s": 110, "color": RED, "zorder": 3},
            "killed",
        ),
    ):
        heights = [order.index(process) for process in rows["process"]]
        top.scatter(rows["time"] - start, heights, label=label, **style)
    for when, _ in kills:
        bottom.axvline(when - start, color=RED, linestyle=":")
    top.set_yticks(range(len(order)), [f"worker {row + 1}" for row in range(len(order))])
    top.set_ylim(len(order) - 0.5, -0.5)
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    bottom.step(np.array(steps) - start, np.arange(len(steps)) + 1, where="post", color=BLUE)
    bottom.set(xlabel="seconds", ylabel="batches\ntrained on")
    figure.alt_text = (
        f"Above, a row for each of {len(order)} workers with a tick for each image. Rows that end "
        f"at a cross, where the worker was killed: {len(kills)}. Images that were begun twice: "
        f"{again}. Below, the number of batches trained on climbs to {len(steps)}."
    )
    return figure
