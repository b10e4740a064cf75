"""A timeline for other programs to draw."""

import json
from pathlib import Path

import pandas as pd

from helpers.plotting.lanes import lane_order, ready_batches


def save_trace(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table of spans as a trace in Chrome's format.

    Parameters
    ----------
    table : pandas.DataFrame
        Spans, as `helpers.Spans.table` gives them.
    path : str or pathlib.Path
        File to write, such as "trace.json".

    Notes
    -----
    The format: "Trace Event Format" of the Chromium project, JSON object form; times in
    microseconds. Batches that wait in the queue are a counter, as they overlap.
    """
    Path(path).write_text(json.dumps({"traceEvents": _events(table)}), encoding="utf-8")


def _events(table: pd.DataFrame) -> list[dict]:
    lanes = lane_order(table)
    process = {"pid": 1, "ts": 0}
    events = [{"ph": "M", "name": "process_name", "args": {"name": "run"}, **process}]
    for number, lane in enumerate(lanes):
        thread = {"ph": "M", "tid": number, **process}
        events.append({"name": "thread_name", "args": {"name": lane}, **thread})
        events.append({"name": "thread_sort_index", "args": {"sort_index": number}, **thread})
    for row in table.itertuples():
        if row.lane in lanes and row.kind != "ask":
            about = {"epoch": row.epoch, "step": row.step, "images": row.images}
            where = {"cat": row.lane, "pid": 1, "tid": lanes.index(row.lane)}
            when = {"ts": 1e6 * row.start, "dur": 1e6 * row.seconds}
            # A colour that Chrome's own viewer knows; others choose theirs.
            colour = {"cname": "terrible"} if row.kind == "wait" else {}
            event = {"ph": "X", "name": row.kind, **where, **when, "args": about, **colour}
            events.append(event)
    for moment, ready in ready_batches(table).items():
        counter = {"name": "batches ready", "args": {"batches": int(ready)}}
        events.append({"ph": "C", "pid": 1, "ts": 1e6 * moment, **counter})
    return events
