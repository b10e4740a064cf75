import itertools
from functools import lru_cache, partial

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import same_color, to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from helpers import plot_timeline, simulate
from helpers.plotting.gantt import COLOURS, HATCHES, LARGE_STEPS, MOST_STEPS
from helpers.plotting.lanes import COLUMNS, lane_order, ready_batches
from helpers.profiling.spans import Spans

RED = COLOURS["wait"]

# A run whose training waits; some batches are ready all the same, at the start of it.
run = partial(simulate, read=0.02, decode=0.05, hand_over=0.002, step=0.01)


@lru_cache
def figure_of(batches, workers, cores=2):
    spans = run(batches=batches, workers=workers, cores=cores, queue=2 * workers)
    figure = plot_timeline(spans)
    FigureCanvasAgg(figure).draw()
    return spans, figure


every_size = pytest.mark.parametrize("workers", [1, 3, 16, 64])
every_length = pytest.mark.parametrize("batches", [4, 40, 41, 500])


def texts(figure):
    """Texts of a figure that are drawn, with their extents in pixels."""
    hidden = {
        label
        for axes in figure.axes
        for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim()))
        for tick in axis.get_major_ticks()
        for label in (tick.label1, tick.label2)
        if not min(limits) <= tick.get_loc() <= max(limits)
    }
    found = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    return {text: text.get_window_extent() for text in found if text not in hidden}


def bars(axes, colour):
    """(left, right) of the bars of a colour, in the order in which they were drawn."""
    found = []
    for collection in axes.collections:
        if same_color(collection.get_facecolor()[:1], [colour]):
            found += [path.get_extents().intervalx for path in collection.get_paths()]
    return np.array(found).reshape(-1, 2)


def lanes_axes(figure):
    return next(a for a in figure.axes if "training" in labels(a) and "worker 1" in labels(a))


def labels(axes):
    texts = [text.get_text() for text in axes.texts]
    return [text for text in texts if text == "training" or text.startswith("worker")]


# ---- legible -------------------------------------------------------------------------------------


@every_size
@every_length
def test_nothing_is_cut_off(batches, workers):
    _, figure = figure_of(batches, workers, 64)
    whole = figure.bbox
    for text, extent in texts(figure).items():
        inside = (
            extent.x0 >= whole.x0
            and extent.x1 <= whole.x1
            and extent.y0 >= whole.y0
            and extent.y1 <= whole.y1
        )
        assert inside, (text.get_text(), extent, whole)


@every_size
@every_length
def test_no_text_lies_on_another(batches, workers):
    found = list(texts(figure_of(batches, workers, 64)[1]).items())
    for number, (text, extent) in enumerate(found):
        for other, other_extent in found[:number]:
            common = extent.intersection(extent, other_extent)
            if common is not None:  # letters reach less far than the box around them
                touching = min(common.width, common.height)
                assert touching < 3, (text.get_text(), other.get_text(), touching)


@every_size
@every_length
def test_no_words_lie_on_a_frame(batches, workers):
    _, figure = figure_of(batches, workers, 64)
    for axes in figure.axes:
        frame = axes.get_window_extent()
        for text, extent in texts(figure).items():
            common = frame.intersection(frame, extent)
            if text.axes is not axes and common is not None:
                assert min(common.width, common.height) < 2, text.get_text()


@every_length
def test_the_figure_fits_on_a_screen(batches):
    for workers in (1, 16, 64):
        width, height = figure_of(batches, workers, 64)[1].get_size_inches()
        assert width == 10
        assert height < 21


def test_the_legend_has_room_for_every_kind():
    kinds = [("training", kind) for kind in ("wait", "hand-over", "step")]
    # "make" is only there where no other work is known.
    kinds += [("worker 1", kind) for kind in ("read", "decode", "resize", "augment")]
    rows = [(lane, kind, 0, 0, 8, n, n + 1.0) for n, (lane, kind) in enumerate(kinds)]
    figure = plot_timeline(Spans(pd.DataFrame(rows, columns=COLUMNS), workers=1, cores=2, queue=10))
    FigureCanvasAgg(figure).draw()
    assert len(figure.legends[0].get_texts()) == len(kinds) + 1
    assert figure.legends[0].get_window_extent().x1 <= figure.bbox.x1


def test_all_lanes_are_named():
    spans, figure = figure_of(40, 64, 64)
    assert labels(lanes_axes(figure)) == lane_order(spans.table())
    assert len(lane_order(spans.table())) > 40


# ---- what it shows -------------------------------------------------------------------------------


@every_length
def test_waiting_is_red_and_nothing_else_is(batches):
    spans, figure = figure_of(batches, 3)
    table = spans.table()
    waits = table[table["kind"] == "wait"]
    drawn = bars(figure.axes[0], RED)
    assert np.allclose(drawn, waits[["start", "stop"]].values, atol=1e-4)
    for kind, colour in COLOURS.items():
        red, green, blue = to_rgb(colour)
        if kind != "wait":
            assert not (red > 0.8 and green < 0.3 and blue < 0.3), kind
    assert COLOURS["wait"] == RED and len({*COLOURS.values()} - {RED}) >= len(COLOURS) - 2


def test_a_run_that_never_waits_shows_no_red():
    kinds = ("read", "decode", "step")
    table = pd.DataFrame(
        [
            (lane, kind, 0, step, 8, step + start, step + stop)
            for step in range(5)
            for lane, kind, start, stop in [
                ("worker 1", "read", 0.0, 0.1),
                ("worker 1", "decode", 0.1, 0.3),
                ("training", "step", 0.4, 1.4),
            ]
        ],
        columns=COLUMNS,
    )
    figure = plot_timeline(Spans(table, workers=1, cores=2, queue=10))
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["training step", *kinds[:2], "nothing to do"]
    assert all(len(bars(axes, RED)) == 0 for axes in figure.axes)
    pixels = painted(figure)
    assert not ((pixels[..., 0] > 180) & (pixels[..., 1:].max(axis=-1) < 60)).any()


def painted(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def test_waiting_is_red_in_the_picture():
    _, figure = figure_of(40, 1)
    pixels = painted(figure)
    red = (pixels[..., 0] > 180) & (pixels[..., 1:].max(axis=-1) < 60)
    assert red.mean() > 0.05


@every_size
def test_every_span_of_a_short_run_is_drawn_in_its_lane(workers):
    spans, figure = figure_of(40, workers, 64)
    table, axes = spans.table(), lanes_axes(figure)
    for (lane, kind), rows in table[table["lane"] != "queue"].groupby(["lane", "kind"]):
        place = -lane_order(table).index(lane)
        drawn = [
            path.get_extents()
            for collection in axes.collections
            if same_color(collection.get_facecolor()[:1], [COLOURS[kind]])
            for path in collection.get_paths()
            if abs(path.get_extents().intervaly.mean() - place) < 0.01
        ]
        found = [bar.intervalx for bar in drawn]
        assert np.allclose(found, rows[["start", "stop"]].values)


def test_up_to_40_steps_are_drawn_as_they_are():
    spans, figure = figure_of(MOST_STEPS, 3)
    assert len(figure.axes) == 3
    end = spans.table().query("lane == 'training'")["stop"].max()
    assert lanes_axes(figure).get_xlim() == pytest.approx((0, end))


@pytest.mark.parametrize("batches", [MOST_STEPS + 1, 500])
def test_of_more_steps_the_middle_is_drawn_large_and_framed(batches):
    spans, figure = figure_of(batches, 3)
    overview, large, ready, _ = figure.axes
    training = spans.table().query("lane == 'training'")
    assert overview.get_xlim() == pytest.approx((0, training["stop"].max()))
    assert overview.get_title("left").startswith(f"all {batches} steps")
    shown = large.get_xlim()
    assert ready.get_xlim() == shown
    within = training[(training["start"] < shown[1]) & (training["stop"] > shown[0])]
    steps = within.loc[within["kind"] == "step", "step"]
    assert len(steps) == LARGE_STEPS
    assert abs(steps.mean() - (batches - 1) / 2) <= 1
    assert within["start"].min() == pytest.approx(shown[0])
    assert within["stop"].max() == pytest.approx(shown[1])
    frames = [patch.get_extents().transformed(overview.transData.inverted())
              for patch in overview.patches]  # fmt: skip
    assert len(frames) == 1
    assert tuple(frames[0].intervalx) == pytest.approx(shown, abs=1e-6)


def test_the_batches_that_wait_are_drawn():
    spans, figure = figure_of(40, 3, 64)
    ready = ready_batches(spans.table())
    axes = figure.axes[-2]
    outline = axes.collections[0].get_paths()[0].vertices
    assert outline[:, 1].max() == ready.max()
    assert axes.get_ylim()[1] > ready.max()
    assert "max_queue_size=6" in axes.get_title("left")


def test_the_sums_are_those_of_the_summary():
    spans, figure = figure_of(40, 3)
    summary = spans.summary()
    found = [patch.get_width() for patch in figure.axes[-1].patches if patch.get_width()]
    expected = [
        value
        for name, value in summary.filter(like="training: ").items()
        if "other" not in name and value
    ]
    expected += list(1000 * spans.typical_work())
    assert sorted(found) == pytest.approx(sorted(expected))


def test_the_title_says_what_limits_the_run():
    spans = run(batches=40, workers=1)
    title = spans.plot().get_suptitle()
    assert f"{spans.summary()['waiting (%)']:.0f} %" in title
    assert title.endswith(f"limit: {spans.diagnose().limit}")


def test_a_title_of_ones_own():
    figure = plot_timeline(run(batches=4), "Textbook class, 2 cores")
    assert figure.get_suptitle() == "Textbook class, 2 cores"


def test_a_title_that_is_too_long_for_a_line_gets_two():
    title = "The article's class, sixteen threads, a queue of ten batches, and two cores, as it was"
    figure = plot_timeline(run(batches=4), f"{title}; {title}")
    lines = figure.get_suptitle().splitlines()
    assert len(lines) > 1 and " ".join(lines) == f"{title}; {title}"
    FigureCanvasAgg(figure).draw()
    found = texts(figure)
    headline = next(extent for text, extent in found.items() if title[:9] in text.get_text())
    assert figure.bbox.x0 <= headline.x0 and headline.x1 <= figure.bbox.x1
    assert headline.y0 > max(extent.y1 for extent in found.values() if extent is not headline)


# ---- without colours, without eyes ---------------------------------------------------------------


def test_kinds_that_lie_beside_each_other_differ_in_more_than_colour():
    beside = [("wait", "hand-over", "step"), ("read", "decode", "resize", "augment"), ("make",)]
    for kinds in beside:
        for left, right in itertools.pairwise(kinds):
            assert HATCHES.get(left) != HATCHES.get(right), (left, right)
    assert HATCHES["wait"]
    figure = figure_of(40, 3)[1]
    legend = dict(zip((t.get_text() for t in figure.legends[0].get_texts()),
                      figure.legends[0].get_patches(), strict=True))  # fmt: skip
    assert legend["training waits"].get_hatch() == HATCHES["wait"]
    assert legend["decode"].get_hatch() == HATCHES["decode"]
    for axes in (lanes_axes(figure), figure.axes[-1]):
        for shape in [*axes.collections, *axes.patches]:
            colour = np.reshape(shape.get_facecolor(), (-1, 4))[:1]
            (kind,) = [kind for kind in ("wait", "hand-over", "step", "read", "decode")
                       if same_color(colour, [COLOURS[kind]])]  # fmt: skip
            assert shape.get_hatch() == HATCHES.get(kind)


def test_bars_that_are_wide_enough_say_what_they_are_on_every_lane():
    figure = plot_timeline(simulate(decode=0.1, step=0.1, batches=4))
    words = [text.get_text() for text in lanes_axes(figure).texts]
    assert words.count("decode") == 4 and words.count("step") == 4


def test_the_figure_says_what_it_shows():
    spans = simulate(read=0.03, decode=0.07, hand_over=0.02, step=0.1, workers=3, batches=20)
    text = plot_timeline(spans).alt_text
    summary = spans.summary()
    assert text.startswith("Timeline of 20 steps: lanes of the training and of 3 workers.")
    assert f"stands still for data {summary['waiting (%)']:.0f} % of the time" in text
    waited = f"training waits {summary['training: wait (ms)']:.3g}"
    handed = f"hand-over {summary['training: hand-over (ms)']:.3g}"
    assert f"training: {waited}, {handed}, training step 100." in text
    assert f"At most {ready_batches(spans.table()).max()} are ready and waiting." in text
    one = plot_timeline(simulate(decode=0.1, step=0.01, batches=1)).alt_text
    assert one.startswith("Timeline of 1 step: lanes of the training and of 1 worker.")
    assert "a worker: decode 100." in one
    assert one.endswith("None is at any time ready and waiting.")


def test_large_numbers_are_written_out():
    figure = plot_timeline(simulate(decode=12.3456, step=0.0504, batches=3))
    assert "a worker: decode 12,346." in figure.alt_text
    assert "12,346" in [text.get_text() for text in figure.axes[-1].texts]
    assert "training step 50.4." in figure.alt_text


# ---- nothing empty, nothing untrue ---------------------------------------------------------------


def test_where_no_batch_is_ever_ready_there_is_no_panel_for_them():
    figure = plot_timeline(simulate(decode=0.1, step=0.01, batches=4))
    assert len(figure.axes) == 2
    titles = " ".join(axes.get_title("left") for axes in figure.axes)
    assert "ready" not in titles
    ticks = [label.get_text() for label in lanes_axes(figure).get_xticklabels()]
    assert len(ticks) > 2 and all(tick.endswith(" ms") for tick in ticks)


def test_where_no_worker_was_seen_there_is_no_bar_for_one():
    table = run(batches=5).table()
    training = table.loc[table["lane"] == "training", COLUMNS]
    figure = plot_timeline(Spans(training, workers=2, cores=2, queue=10))
    labels = [text.get_text() for text in figure.axes[-1].get_yticklabels()]
    assert labels == ["training"]
    assert "worker" not in figure.axes[-1].get_title("left")
    assert "of 0 workers" in figure.alt_text


@pytest.mark.parametrize(("queue", "lanes"), [(3, 4), (20, 16)])
def test_only_workers_that_have_a_lane_work_side_by_side(queue, lanes):
    spans = simulate(decode=0.3, step=0.01, workers=16, cores=64, queue=queue)
    figure = plot_timeline(spans)
    assert len(lane_order(spans.table())) - 1 == lanes
    assert figure.axes[-1].get_title("left").endswith(f"of which {lanes} work side by side")


@every_length
def test_every_axis_of_time_has_a_unit(batches):
    figure = figure_of(batches, 3)[1]
    with_ticks = [axes for axes in figure.axes if len(axes.get_xticks())]
    assert len(with_ticks) == (2 if batches > MOST_STEPS else 1)
    for axes in with_ticks:
        assert all(label.get_text().endswith(" ms") for label in axes.get_xticklabels())
        assert axes.get_title("right") == "time since the epoch began"


def test_only_kinds_that_are_there_are_explained():
    figure = plot_timeline(simulate(decode=0.05, step=0.01, batches=5))
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["training waits", "training step", "decode", "nothing to do"]


def test_of_several_epochs_the_last_is_drawn():
    once = run(batches=5).table()[COLUMNS]
    later = once.assign(epoch=1, start=once["start"] + 7, stop=once["stop"] + 7)
    # The first epoch has one step less, so that they can be told apart.
    table = pd.concat([once[once["step"] < 4], later])
    figure = plot_timeline(Spans(table, workers=1, cores=2, queue=10))
    drawn = bars(lanes_axes(figure), COLOURS["step"])
    expected = once[once["kind"] == "step"][["start", "stop"]].values
    assert np.allclose(drawn, expected)


def test_it_is_a_figure_that_pyplot_does_not_keep():
    before = plt.get_fignums()
    figure = plot_timeline(run(batches=4))
    assert isinstance(figure, Figure)
    assert plt.get_fignums() == before
    assert same_color(figure.get_facecolor(), "white")
