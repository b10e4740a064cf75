"""What a timeline is drawn from: a table of spans, the kinds there are, and their lanes.

`helpers.Spans.table` describes the table.
"""

import pandas as pd

from helpers.images.laps import WORK

COLUMNS = ["lane", "kind", "epoch", "step", "images", "start", "stop"]
MAKING = [*WORK, "make"]  # "make" where the parts are not known
TRAINING = ["wait", "hand-over", "step"]


def arranged(rows: pd.DataFrame) -> pd.DataFrame:
    """Put spans with `COLUMNS` into the order in which they began, and add their seconds."""
    table = rows.sort_values("start", kind="stable", ignore_index=True)
    return table.assign(seconds=table["stop"] - table["start"])


def lane_order(table: pd.DataFrame) -> list[str]:
    """Lanes of a table from top to bottom: the training, then the workers by number."""
    workers = {lane for lane in table["lane"] if lane.startswith("worker")}
    return ["training", *sorted(workers, key=lambda lane: int(lane.split()[1]))]


def ready_batches(table: pd.DataFrame) -> pd.Series:
    """Count the batches that wait, ready: a value for each moment at which that changes."""
    queued = table[table["kind"] == "queue"]
    changes = pd.concat([pd.Series(1, queued["start"]), pd.Series(-1, queued["stop"])])
    return changes.groupby(level=0).sum().sort_index().cumsum()
