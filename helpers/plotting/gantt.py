"""The figure of a run: a lane for the training and one for each worker."""

import textwrap

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import AutoLocator

from helpers.arguments import counted
from helpers.plotting.lanes import MAKING, TRAINING, lane_order, ready_batches
from helpers.plotting.plots import DescribedFigure

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
# For those who see no colours, or print without: neighbours in a lane differ in this, too.
HATCHES = {"wait": "//", "hand-over": "...", "decode": "\\\\", "augment": "++", "make": "xx"}
WORDS = {
    "wait": "training waits",
    "step": "training step",
    "make": "making a batch",
}
MOST_STEPS = 40  # more than this many are shown as a whole, and some of them large
LARGE_STEPS = 24
LARGE = {"fontsize": 14, "fontweight": "bold", "va": "top", "ha": "left"}  # the headline
LINE = 80  # letters of the headline's size
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
        A lane for the training, in which waiting is red and striped; one for each worker; the
        number of batches that wait, ready, unless none does at any time; and below, the time of
        one batch by kind. Of more than 40 steps the whole is drawn first, and then 24 from its
        middle, large.
    """
    rows = spans.measured()
    rows = rows[rows["epoch"] == rows["epoch"].max()]
    began = rows.loc[rows["lane"] == "training", "start"].min()
    rows = rows.assign(start=rows["start"] - began, stop=rows["stop"] - began)
    steps = rows[rows["kind"] == "step"]
    many = len(steps) > MOST_STEPS
    lanes = len(lane_order(rows))
    gantt = 0.5 + (0.32 if lanes <= 9 else 0.2) * lanes
    any_ready = "queue" in set(rows["lane"])
    parts = _parts(spans)
    sums = 0.2 + 0.325 * len(parts)
    heights = [0.35 + 0.08 * min(lanes, 20)] * many + [gantt] + [0.55] * any_ready + [sums]
    title = title or headline(spans)
    figure, axes = _panels(heights, textwrap.wrap(title, LINE), rows)
    overview, [lanes_axis, *ready_axes, sums_axis] = axes[: int(many)], axes[int(many) :]
    whole = 0, rows.loc[rows["lane"] == "training", "stop"].max()
    shown = _middle(rows, steps) if many else whole
    for axis in overview:
        _draw_lanes(axis, rows, whole, names=False)
        axis.axvspan(*shown, facecolor="none", edgecolor="black", linewidth=1.5, zorder=3)
        axis.set_title(f"all {len(steps)} steps; the frame is drawn large below", **SMALL)
        axis.set_title("time since the epoch began", **{**SMALL, "loc": "right"})
    _draw_lanes(lanes_axis, rows, shown)
    for axis in ready_axes:
        _draw_ready(axis, rows, shown, spans.queue)
    if not any_ready:
        _milliseconds(lanes_axis)
    _draw_sums(sums_axis, parts, min(spans.workers, lanes - 1))
    figure.alt_text = _in_words(title, rows, len(steps), parts)
    return figure


def headline(spans) -> str:
    """Say in one line what the figure shows."""
    waiting = f"{spans.summary()['waiting (%)']:.0f} %"
    limit = spans.diagnose().named_limit
    return f"Training stands still for data {waiting} of the time; limit: {limit}"


def _panels(heights: list[float], headlines: list[str], rows: pd.DataFrame) -> tuple:
    """Make the figure, with its headline and legend, and a panel of each height, in inches."""
    above, between, below = 0.63 + 0.22 * len(headlines), 0.6, 0.15
    height = above + sum(heights) + between * (len(heights) - 1) + below
    looks = {"figsize": (10, height), "height_ratios": heights, "facecolor": "white"}
    figure, axes = plt.subplots(len(heights), FigureClass=DescribedFigure, **looks)
    plt.close(figure)
    margins = {"left": 0.095, "right": 0.96, "bottom": below / height, "top": 1 - above / height}
    figure.subplots_adjust(**margins, hspace=between * len(heights) / sum(heights))
    figure.suptitle("\n".join(headlines), x=0.01, y=1 - 0.08 / height, **LARGE)
    _legend(figure, rows, above - 0.55)
    return figure, axes


def _in_words(title: str, rows: pd.DataFrame, steps: int, parts: dict) -> str:
    """Say what is to be seen, for who does not see it."""
    workers = counted(len(lane_order(rows)) - 1, "worker")
    words = [f"Timeline of {counted(steps, 'step')}: lanes of the training and of {workers}."]
    words.append(f"{title}.")
    for who, kinds in parts.items():
        named = ", ".join(
            f"{WORDS.get(kind, kind)} {_short(width)}" for kind, width in kinds.items()
        )
        words.append(f"Milliseconds for one batch, {who}: {named}.")
    ready = ready_batches(rows)
    most = f"At most {int(ready.max())} are" if len(ready) else "None is at any time"
    return " ".join([*words, f"{most} ready and waiting."])


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 999.5 else f"{number:.3g}"


def _parts(spans) -> dict[str, dict[str, float]]:
    """Milliseconds for one batch by kind, of the training and of a worker, if one was seen."""
    summary, worker = spans.summary(), dict(1000 * spans.typical_work())
    training = {kind: summary[f"training: {kind} (ms)"] for kind in TRAINING}
    parts = {
        "training": {kind: width for kind, width in training.items() if width},
        "a worker": {kind: worker[kind] for kind in (*MAKING, "hand-over") if kind in worker},
    }
    return {who: kinds for who, kinds in parts.items() if kinds}


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
    # Small, only the waiting is to be found; more lines would be grey.
    hatches = HATCHES if names else {"wait": HATCHES["wait"]}
    for (lane, kind), group in rows[rows["kind"] != "ask"].groupby(["lane", "kind"]):
        bars = list(zip(group["start"], group["stop"] - group["start"], strict=True))
        place = -lanes.index(lane) - 0.44, 0.88
        looks = {"facecolor": COLOURS[kind], "hatch": hatches.get(kind), **edge}
        axis.broken_barh(bars, place, snap=False, **looks)
    axis.set(xlim=shown, ylim=(0.5 - len(lanes), 0.56), yticks=[])
    if not names:
        _milliseconds(axis)
    else:
        axis.set_xticks([])  # the panel below has them; ticks take most of the drawing time
        for number, lane in enumerate(lanes):
            left = axis.get_yaxis_transform()
            axis.text(-0.01, -number, lane, transform=left, ha="right", va="center", fontsize=9)
        axis.axhline(-0.5, color="black", linewidth=0.8)
        for row in rows[rows["kind"] != "ask"].itertuples():
            _label(axis, row, -lanes.index(row.lane), shown)


def _label(axis: Axes, row, y: float, shown: tuple) -> None:
    """Write onto a bar what it is, if there is room."""
    start, stop = max(row.start, shown[0]), min(row.stop, shown[1])
    if (stop - start) / (shown[1] - shown[0]) > 0.0125 * len(row.kind):
        _write(axis, (start + stop) / 2, y, row.kind, row.kind)


def _write(axis: Axes, x: float, y: float, text: str, kind: str) -> None:
    red, green, blue = to_rgb(COLOURS[kind])
    dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
    ground = {"facecolor": COLOURS[kind], "edgecolor": "none", "pad": 1.2}
    looks = {"color": "white" if dark else "black", "bbox": ground if kind in HATCHES else None}
    axis.text(x, y, text, fontsize=9, ha="center", va="center", clip_on=True, **looks)


def _draw_ready(axis: Axes, rows: pd.DataFrame, shown: tuple, queue: int) -> None:
    ready = ready_batches(rows)
    moments = [rows["start"].min(), *ready.index, shown[1]]
    counts = [0, *ready, *ready[-1:]]
    axis.fill_between(moments, counts, step="post", color="#9bbf85")
    axis.set(xlim=shown, ylim=(0, max(1.15 * max(counts), 2)))
    axis.yaxis.get_major_locator().set_params(integer=True, nbins=3)
    _milliseconds(axis)
    axis.set_title(f"batches that are ready and wait (max_queue_size={queue})", **SMALL)
    axis.set_title("time since the epoch began", **{**SMALL, "loc": "right"})


def _milliseconds(axis: Axes) -> None:
    axis.xaxis.set_major_locator(AutoLocator())
    axis.xaxis.set_major_formatter(lambda seconds, _: f"{1000 * seconds:,.10g} ms")
    axis.tick_params(labelsize=9)


def _draw_sums(axis: Axes, parts: dict[str, dict[str, float]], workers: int) -> None:
    """Draw the time of one batch, of the training and of a worker, as bars."""
    longest = max(sum(kinds.values()) for kinds in parts.values())
    for place, kinds in enumerate(parts.values()):
        left = 0.0
        for kind, width in kinds.items():
            looks = {"color": COLOURS[kind], "hatch": HATCHES.get(kind), "edgecolor": "white"}
            axis.barh(-place, width, 0.84, left, linewidth=0.4, **looks)
            if width > 0.035 * longest:
                _write(axis, left + width / 2, -place, _short(width), kind)
            left += width
    axis.set(xlim=(0, 1.02 * longest), ylim=(0.5 - len(parts), 0.5), xticks=[])
    axis.set_yticks([-place for place in range(len(parts))], labels=list(parts))
    axis.tick_params(labelsize=9)
    means = {"training": "of the training (mean)", "a worker": "of a worker (median)"}
    several = f", of which {workers} work side by side" if workers > 1 else ""
    named = ", ".join(means[who] for who in parts)
    axis.set_title(f"milliseconds for one batch: {named}{several}", **SMALL)


def _legend(figure: Figure, rows: pd.DataFrame, below: float) -> None:
    kinds = [kind for kind in COLOURS if kind in set(rows["kind"])]
    patches = [
        Patch(facecolor=COLOURS[kind], hatch=HATCHES.get(kind), edgecolor="white", linewidth=0.4)
        for kind in kinds
    ]
    patches.append(Patch(facecolor="white", edgecolor="grey"))
    words = [*(WORDS.get(kind, kind) for kind in kinds), "nothing to do"]
    place = {"loc": "upper left", "bbox_to_anchor": (0.0, 1 - below / figure.get_figheight())}
    looks = {"fontsize": 9, "frameon": False, "handlelength": 1.8, "columnspacing": 1.0}
    figure.legend(patches, words, ncols=len(words), **place, **looks)
