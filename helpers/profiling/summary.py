"""The numbers of a run: how fast it was, and where the time of a batch went."""

import pandas as pd

from helpers.plotting.lanes import MAKING, TRAINING


def summarize(rows: pd.DataFrame, workers: int) -> pd.Series:
    """Sum up spans; see `helpers.Spans.summary`.

    Parameters
    ----------
    rows : pandas.DataFrame
        Rows of `helpers.Spans.table` that belong to a step.
    workers : int
        Threads or processes that make batches.

    Returns
    -------
    pandas.Series
        As `helpers.Spans.summary` says.
    """
    training = rows[rows["lane"] == "training"]
    working = rows[rows["lane"].str.startswith("worker")]
    steps = training[training["kind"] == "step"]
    elapsed = elapsed_seconds(training)
    kinds = training.groupby("kind")["seconds"].sum().reindex(TRAINING, fill_value=0.0)
    kinds["other"] = elapsed - kinds.sum()
    works = working.groupby("kind")["seconds"].sum()
    works = works.reindex([kind for kind in ("ask", *MAKING, "hand-over") if kind in works])
    busy = works.drop("ask", errors="ignore").sum() / (elapsed * workers)
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


def elapsed_seconds(training: pd.DataFrame) -> float:
    """Sum, over the epochs, from when the first batch is asked for to the end of the last step."""
    epochs = training.groupby("epoch").agg({"start": "min", "stop": "max"})
    return (epochs["stop"] - epochs["start"]).sum()
