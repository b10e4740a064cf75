"""The picture of a run: a lane for the training and one for each worker."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from helpers.plotting.lanes import MAKING, TRAINING, lane_order, ready_batches

# In pairs that colour-blind readers can tell apart; nothing else is as bright as the waiting.
COLOURS = {
    "wait": "#e3000f",
    "hand-over": "#f5a623",
    "step": "#4a4a4a",
    "read": "#1f6fb2",
    "decode": "#6cb4ee",
    "resize": "#7d5ba6",
    "augment": "#4daf7c",
    "make": "#7d5ba6",
}
WORDS = {
    "wait": "training waits for data",
    "hand-over": "handing a batch over",
    "step": "training step",
    "make": "making a batch",
}
MOST_STEPS = 40  # more than this many are shown as a whole, and some of them large
LARGE_STEPS = 24
LARGE = {"fontsize": 14, "fontweight": "bold", "va": "top", "ha": "left"}  # the headline
SMALL = {"fontsize": 10, "loc": "left", "pad": 4}  # a panel's title


def plot_timeline(spans, title: str | None = None) -> Figure:
    """Draw who did what, when: the training, each worker, and the batches that are ready.

    Parameters
    ----------
    spans : Spans
        A run, measured by `helpers.Timeline` or computed by `helpers.simulate`. Its last
        epoch is drawn.
    title : str, optional
        A line above, instead of what limits the run.

    Returns
    -------
    matplotlib.figure.Figure
        A lane for the training, in which waiting is red; one for each worker; the number of
        batches that wait, ready; and below, the time of one batch by kind. Of more than 40
        steps the whole is drawn first, and then 24 from its middle, large.
    """
    rows = spans.measured()
    rows = rows[rows["epoch"] == rows["epoch"].max()]
    began = rows.loc[rows["lane"] == "training", "start"].min()
    rows = rows.assign(start=rows["start"] - began, stop=rows["stop"] - began)
    steps = rows[rows["kind"] == "step"]
    many = len(steps) > MOST_STEPS
    lanes = len(lane_order(rows))
    gantt = 0.5 + (0.32 if lanes <= 9 else 0.2) * lanes
    heights = [0.35 + 0.08 * min(lanes, 20)] * many + [gantt, 0.55, 0.85]
    above, between, below = 0.85, 0.6, 0.15  # inches
    height = above + sum(heights) + between * (len(heights) - 1) + below
    figure, axes = plt.subplots(
        len(heights), figsize=(10, height), height_ratios=heights, facecolor="white"
    )
    margins = {"left": 0.095, "right": 0.975, "bottom": below / height, "top": 1 - above / height}
    figure.subplots_adjust(**margins, hspace=between * len(heights) / sum(heights))
    plt.close(figure)
    *overview, lanes_axis, ready_axis, sums_axis = axes
    whole = 0, rows.loc[rows["lane"] == "training", "stop"].max()
    shown = _middle(rows, steps) if many else whole
    for axis in overview:
        _draw_lanes(axis, rows, whole, names=False)
        axis.axvspan(*shown, facecolor="none", edgecolor="black", linewidth=1.5, zorder=3)
        axis.set_title(f"all {len(steps)} steps; the frame is drawn large below", **SMALL)
    _draw_lanes(lanes_axis, rows, shown)
    _draw_ready(ready_axis, rows, shown, spans.queue)
    _draw_sums(sums_axis, spans)
    _legend(figure, rows)
    figure.suptitle(title or headline(spans), x=0.01, y=1 - 0.08 / height, **LARGE)
    return figure


def headline(spans) -> str:
    """Say in one line what the picture shows."""
    waiting = f"{spans.summary()['waiting (%)']:.0f} %"
    limit = spans.diagnose().named_limit
    return f"Training stands still for data {waiting} of the time; limit: {limit}"


def _middle(rows: pd.DataFrame, steps: pd.DataFrame) -> tuple[float, float]:
    first = len(steps) // 2 - LARGE_STEPS // 2
    numbers = steps["step"].iloc[[first, first + LARGE_STEPS - 1]]
    training = rows[(rows["lane"] == "training") & rows["step"].between(*numbers)]
    return training["start"].min(), training["stop"].max()


def _draw_lanes(axis: Axes, rows: pd.DataFrame, shown: tuple, names: bool = True) -> None:
    lanes = lane_order(rows)
    first, last = shown
    rows = rows[rows["lane"].isin(lanes) & (rows["stop"] > first) & (rows["start"] < last)]
    edge = {"edgecolor": "white", "linewidth": 0.4 if names else 0}  # tells steps apart
    for (lane, kind), group in rows[rows["kind"] != "ask"].groupby(["lane", "kind"]):
        bars = list(zip(group["start"], group["stop"] - group["start"], strict=True))
        place = -lanes.index(lane) - 0.44, 0.88
        axis.broken_barh(bars, place, facecolor=COLOURS[kind], snap=False, **edge)
    axis.set(xlim=shown, ylim=(0.5 - len(lanes), 0.56), yticks=[])
    if not names:
        _milliseconds(axis)
    else:
        axis.set_xticks([])  # the panel below has them; ticks take most of the drawing time
        for number, lane in enumerate(lanes):
            left = axis.get_yaxis_transform()
            axis.text(-0.01, -number, lane, transform=left, ha="right", va="center", fontsize=9)
        axis.axhline(-0.5, color="black", linewidth=0.8)
        for row in rows[rows["lane"] == "training"].itertuples():
            _label(axis, row, shown)


def _label(axis: Axes, row, shown: tuple) -> None:
    """Write onto a bar of the training what it is, if there is room."""
    start, stop = max(row.start, shown[0]), min(row.stop, shown[1])
    if (stop - start) / (shown[1] - shown[0]) > 0.0125 * len(row.kind):
        _write(axis, (start + stop) / 2, 0, row.kind)


def _write(axis: Axes, x: float, y: float, text: str) -> None:
    axis.text(x, y, text, color="white", fontsize=9, ha="center", va="center", clip_on=True)


def _draw_ready(axis: Axes, rows: pd.DataFrame, shown: tuple, queue: int) -> None:
    ready = ready_batches(rows)
    moments = [rows["start"].min(), *ready.index, shown[1]]
    counts = [0, *ready, *(ready[-1:] if len(ready) else [0])]
    if not any(counts):
        axis.text(0.5, 0.5, "none at any time", transform=axis.transAxes, ha="center", va="center")
    axis.fill_between(moments, counts, step="post", color="#9bbf85")
    axis.set(xlim=shown, ylim=(0, max(1.15 * max(counts), 2)))
    axis.yaxis.get_major_locator().set_params(integer=True, nbins=3)
    _milliseconds(axis)
    axis.set_title(f"batches that are ready and wait (max_queue_size={queue})", **SMALL)
    axis.set_title("milliseconds since the epoch began", **{**SMALL, "loc": "right"})


def _milliseconds(axis: Axes) -> None:
    axis.xaxis.set_major_formatter(lambda seconds, _: f"{1000 * seconds:g}")
    axis.tick_params(labelsize=9)


def _draw_sums(axis: Axes, spans) -> None:
    """Draw the time of one batch, of the training and of a worker, as two bars."""
    summary = spans.summary()
    training = {kind: summary[f"training: {kind} (ms)"] for kind in TRAINING}
    worker = dict(1000 * spans.typical_work())
    worker = {kind: worker[kind] for kind in (*MAKING, "hand-over") if kind in worker}
    longest = max(sum(training.values()), sum(worker.values()))
    for place, widths in enumerate((training, worker)):
        left = 0.0
        for kind, width in widths.items():
            axis.barh(-place, width, 0.84, left, color=COLOURS[kind])
            if width > 0.035 * longest:
                _write(axis, left + width / 2, -place, f"{width:.3g}")
            left += width
    axis.set(xlim=(0, 1.02 * longest), ylim=(-1.5, 0.5), xticks=[])
    axis.set_yticks([0, -1], labels=["training", "a worker"])
    axis.tick_params(labelsize=9)
    several = f", of which {spans.workers} work side by side" if spans.workers > 1 else ""
    title = f"milliseconds for one batch: of the training (mean), of a worker (median){several}"
    axis.set_title(title, **SMALL)


def _legend(figure: Figure, rows: pd.DataFrame) -> None:
    kinds = [kind for kind in COLOURS if kind in set(rows["kind"])]
    patches = [Patch(color=COLOURS[kind]) for kind in kinds]
    patches.append(Patch(facecolor="white", edgecolor="grey"))
    words = [*(WORDS.get(kind, kind) for kind in kinds), "nothing to do"]
    place = {"loc": "upper left", "bbox_to_anchor": (0.0, 1 - 0.3 / figure.get_figheight())}
    looks = {"fontsize": 10, "frameon": False, "handlelength": 1.2, "columnspacing": 1.2}
    figure.legend(patches, words, ncols=len(words), **place, **looks)
