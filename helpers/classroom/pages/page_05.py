"""Notebook 05: where the time goes."""

import time
from numbers import Real
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from helpers.arguments import kind_of
from helpers.classroom.exercises import exercise
from helpers.plotting.lanes import COLUMNS, arranged

_RUN = arranged(
    pd.DataFrame(
        [
            ("training", "wait", 0, 0, 8, 1.0, 1.5),
            ("training", "hand-over", 0, 0, 8, 1.5, 1.7),
            ("training", "step", 0, 0, 8, 1.7, 2.6),
            ("training", "wait", 0, 1, 8, 2.7, 2.8),
            ("training", "step", 0, 1, 8, 2.8, 3.0),
            ("worker 1", "decode", 0, 0, 8, 1.0, 1.4),
            ("worker 1", "hand-over", 0, 0, 8, 1.4, 1.5),
            ("worker 1", "decode", 0, 1, 8, 2.0, 2.7),
            ("worker 1", "hand-over", 0, 1, 8, 2.7, 2.8),
        ],
        columns=COLUMNS,
    )
)
_LASTED = 2.0  # seconds; 0.6 of them it waited, 0.2 were hand-overs, 1.1 were steps
_WRONG = {
    0.6: "Red alone is not all: the training stands still during its hand-overs, too.",
    0.2: "During which kind of span, other than the hand-over, does the training stand still?",
    1.1: "This is the share in which it computes. Asked is the rest.",
    1.0: "The hand-overs of the workers hold up nobody: only one lane counts.",
    0.9: "What lies between two spans is no row of the table: add up the rows that stand still.",
}


@exercise("05.1")
def standing_still(function: Any) -> str | None:
    """During how many percent of the time a training stands still, from a table of spans."""
    received = function(_RUN.copy())
    if not isinstance(received, Real):
        return f"Return one number; received {kind_of(received)}."
    percent, expected = float(received), 100 * 0.8 / _LASTED
    if np.isclose(percent, expected):
        return None
    if np.isclose(percent, expected / 100):
        return "That is a share, from 0 to 1. Asked are percent."
    for seconds, words in _WRONG.items():
        if np.isclose(percent, 100 * seconds / _LASTED):
            return words
    if np.isclose(percent, 100 * 0.8 / 3.0):
        return "A table need not begin at second 0: from where to where does this lane reach?"
    return f"A run of {_LASTED:g} s, still for 0.8 s of them, came out as {percent:.3g} %."


@exercise("05.2")
def frame(rows: int) -> str | None:
    """Rows at the upper border in which the two ways to resize differ."""
    if not isinstance(rows, int | np.integer) or isinstance(rows, bool):
        return f"How many rows: a whole number. Received {rows!r}."
    if rows == 6:
        return "These are those of the upper and of the lower border."
    if rows > 6:
        return "So many differ only at their left and right ends. Look at the middle columns."
    if rows < 3:
        return "There are more: look at the largest difference of each row."
    if rows != 3:
        return "That is near. Count those that differ by more than 0.01."
    return None


@exercise("05.3")
def slow_disk(written: type, advice: str) -> str | None:
    """Class whose batches wait for 0.2 s, and what its diagnosis advises."""
    files = SimpleNamespace(filenames=["black", "grey"] * 32, labels=np.arange(64))
    images = {"black": np.zeros((200, 200, 3)), "grey": np.full((200, 200, 3), 0.5)}
    sequence = written(files, images.__getitem__, np.array, "float32")
    began = time.perf_counter()
    batch = sequence[1]
    seconds = time.perf_counter() - began
    if batch is None:
        return "Its __getitem__ returns nothing: what does Parts return?"
    received, labels = batch
    if not np.array_equal(labels, files.labels[32:]) or not received[1::2].all():
        return "It does not return the batch that Parts returns for the same index."
    if seconds < 0.19:
        return f"A batch came after {seconds:.2f} s: it does not wait for 0.2 s."
    if seconds > 1:
        return f"A batch came after {seconds:.1f} s: wait once for a batch, not once for an image."
    if advice not in ("faster code", "more workers"):
        return 'Advice is "faster code" or "more workers".'
    if advice != "more workers":
        return "Record it and read the line that begins with 'Change first'."
    return None
