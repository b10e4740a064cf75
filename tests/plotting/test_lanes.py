import json
from itertools import pairwise

import keras
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import MY_Generator, Spans, Timeline, simulate
from helpers.profiling.spans import COLUMNS, elapsed_seconds, lane_order, ready_batches

# Two epochs of two steps, on two workers; seconds chosen so that sums are easy.
BY_HAND = pd.DataFrame(
    [
        ("worker 1", "read", 0, 0, 10, 0.0, 0.1),
        ("worker 1", "decode", 0, 0, 10, 0.1, 0.4),
        ("worker 1", "hand-over", 0, 0, 10, 0.4, 0.5),
        ("worker 2", "ask", 0, 1, 6, 0.0, 0.2),
        ("worker 2", "read", 0, 1, 6, 0.2, 0.3),
        ("worker 2", "decode", 0, 1, 6, 0.3, 0.9),
        ("training", "wait", 0, 0, 10, 0.0, 0.5),
        ("training", "hand-over", 0, 0, 10, 0.5, 0.6),
        ("training", "step", 0, 0, 10, 0.6, 1.0),
        ("queue", "queue", 0, 1, 6, 0.9, 1.1),
        ("training", "step", 0, 1, 6, 1.1, 1.5),
        ("worker 1", "make", 1, 0, 4, 2.0, 2.5),
        ("training", "wait", 1, 0, 4, 2.0, 2.5),
        ("training", "step", 1, 0, 4, 2.5, 3.0),
        ("worker 2", "read", -1, -1, 9, 2.6, 9.0),
    ],
    columns=COLUMNS,
)


def by_hand(**options):
    return Spans(BY_HAND, **{"workers": 2, "cores": 4, "queue": 10, **options})


# ---- table and summary ---------------------------------------------------------------------------


def test_the_table_is_sorted_and_has_seconds():
    shuffled = BY_HAND.sample(frac=1, random_state=0)
    table = Spans(shuffled, workers=2, cores=4, queue=10).table()
    assert list(table.columns) == [*COLUMNS, "seconds"]
    assert list(table.index) == list(range(len(BY_HAND)))
    assert table["start"].is_monotonic_increasing
    assert np.array_equal(table["seconds"], table["stop"] - table["start"])


def test_the_table_is_a_copy():
    spans = by_hand()
    table = spans.table()
    table["seconds"] = 0.0
    table.loc[0, "kind"] = "changed"
    assert spans.table()["seconds"].gt(0).all()
    assert "changed" not in set(spans.table()["kind"])
    assert "seconds" not in BY_HAND


def test_a_summary_as_computed_by_hand():
    summary = by_hand().summary()
    # From 0 to 1.5 s and from 2 to 3 s, 20 images in three steps.
    expected = {
        "images/s": 20 / 2.5,
        "waiting (%)": 100 * (0.5 + 0.1 + 0.5) / 2.5,
        "workers busy (%)": 100 * (0.5 + 0.7 + 0.5) / (2 * 2.5),
        "training: wait (ms)": 1000 / 3,
        "training: hand-over (ms)": 100 / 3,
        "training: step (ms)": 1300 / 3,
        "training: other (ms)": 100 / 3,
        "workers: ask (ms)": 200 / 3,
        "workers: read (ms)": 200 / 3,
        "workers: decode (ms)": 900 / 3,
        "workers: make (ms)": 500 / 3,
        "workers: hand-over (ms)": 100 / 3,
    }
    assert dict(summary) == pytest.approx(expected)
    assert list(summary.index) == list(expected)


def test_what_belongs_to_no_step_does_not_count():
    without = BY_HAND[BY_HAND["step"] >= 0]
    summary = Spans(without, workers=2, cores=4, queue=10).summary()
    pd.testing.assert_series_equal(summary, by_hand().summary())
    assert (by_hand().measured()["step"] >= 0).all()


@pytest.mark.parametrize("use", ["summary", "plot", "diagnose"])
@pytest.mark.parametrize("rows", [BY_HAND[:0], BY_HAND[-1:]], ids=["nothing", "no step"])
def test_a_run_without_a_step_says_so(rows, use):
    spans = Spans(rows, workers=2, cores=4, queue=10)
    assert len(spans.table()) == len(rows)
    with pytest.raises(ValueError, match="no training step"):
        getattr(spans, use)()


def assert_consistent(spans):
    """The summary agrees with the table."""
    summary, rows = spans.summary(), spans.measured()
    training = rows[rows["lane"] == "training"]
    steps = training[training["kind"] == "step"]
    elapsed = elapsed_seconds(training)
    assert summary["images/s"] * elapsed == pytest.approx(steps["images"].sum())
    assert summary.filter(like="training: ").sum() * len(steps) == pytest.approx(1000 * elapsed)
    for who, lane in (("training", "training"), ("workers", "worker")):
        own = rows[rows["lane"].str.startswith(lane)]
        for kind, group in own.groupby("kind"):
            total = summary[f"{who}: {kind} (ms)"] * len(steps) / 1000
            assert total == pytest.approx(group["seconds"].sum())
    waited = training.loc[training["kind"] != "step", "seconds"].sum()
    assert summary["waiting (%)"] == pytest.approx(100 * waited / elapsed)
    assert 0 <= summary["waiting (%)"] <= 100
    assert 0 <= summary["workers busy (%)"] <= 100 + 1e-9
    assert (summary >= -1e-9).all()


times = st.floats(0.001, 0.1)


@given(
    read=times,
    decode=times,
    hand_over=st.floats(0, 0.02),
    step=times,
    workers=st.integers(1, 9),
    cores=st.integers(1, 9),
    batches=st.integers(1, 30),
)
@settings(max_examples=40, deadline=None)
def test_shares_and_sums_of_a_simulated_run_agree_with_its_table(**run):
    assert_consistent(simulate(**run))


def test_shares_and_sums_of_a_measured_run_agree_with_its_table(measured):
    assert_consistent(measured)


@pytest.fixture(scope="module")
def measured(pictures):
    model = keras.Sequential([keras.Input((6, 7, 3)), keras.layers.Flatten()])
    model.add(keras.layers.Dense(1))
    model.compile("sgd", loss="mse")
    generator = MY_Generator(pictures, range(70), 10, image_size=(6, 7), workers=3)
    with Timeline(generator, model) as timeline:
        model.fit(generator, epochs=3, verbose=0)
    return timeline


# ---- parts ---------------------------------------------------------------------------------------


def test_elapsed_seconds_leave_out_what_lies_between_epochs():
    training = BY_HAND[BY_HAND["lane"] == "training"]
    assert elapsed_seconds(training) == pytest.approx(1.5 + 1.0)
    assert elapsed_seconds(training[training["epoch"] == 1]) == pytest.approx(1.0)


def test_lanes_are_ordered_by_number():
    lanes = ["worker 10", "queue", "worker 2", "training", "worker 1", "worker 2"]
    table = pd.DataFrame({"lane": lanes})
    assert lane_order(table) == ["training", "worker 1", "worker 2", "worker 10"]
    assert lane_order(table[:0]) == ["training"]


def queue_of(*spans):
    return pd.DataFrame(
        [("queue", "queue", 0, 0, 1, *span) for span in spans]
        + [("training", "step", 0, 0, 1, 0, 9)],
        columns=COLUMNS,
    )


def test_batches_that_are_ready_are_counted():
    ready = ready_batches(queue_of((1, 4), (2, 3), (2, 5)))
    assert dict(ready) == {1: 1, 2: 3, 3: 2, 4: 1, 5: 0}


def test_one_that_comes_as_another_goes_changes_nothing():
    assert dict(ready_batches(queue_of((1, 2), (2, 3)))) == {1: 1, 2: 1, 3: 0}


def test_no_batches_ready_is_an_empty_count():
    assert ready_batches(queue_of()).empty


moments = st.tuples(st.integers(0, 30), st.integers(1, 9)).map(lambda both: (both[0], sum(both)))


@given(st.lists(moments, min_size=1, max_size=30))
@settings(max_examples=200, deadline=None)
def test_the_count_is_right_at_every_moment(found):
    ready = ready_batches(queue_of(*found))
    assert ready.index.is_monotonic_increasing and ready.index.is_unique
    assert ready.iloc[-1] == 0
    for moment, count in ready.items():
        assert count == sum(start <= moment < stop for start, stop in found)


# ---- save ----------------------------------------------------------------------------------------


@pytest.fixture(params=["by hand", "simulated", "measured"])
def spans(request):
    if request.param == "measured":
        return request.getfixturevalue("measured")
    if request.param == "simulated":
        return simulate(read=0.01, decode=0.02, hand_over=0.003, step=0.015, workers=12, cores=3)
    return by_hand()


@pytest.fixture
def events(spans, tmp_path):
    path = tmp_path / "trace.json"
    spans.save(path)
    text = path.read_text(encoding="utf-8")
    assert "NaN" not in text
    trace = json.loads(text)
    assert list(trace) == ["traceEvents"]
    return trace["traceEvents"]


def test_a_trace_has_the_spans_of_every_lane_in_microseconds(spans, events):
    table = spans.table()
    table = table[(table["lane"] != "queue") & (table["kind"] != "ask")]
    names = {
        (event["pid"], event["tid"]): event["args"]["name"]
        for event in events
        if event["name"] == "thread_name"
    }
    complete = [event for event in events if event["ph"] == "X"]
    found = [
        (
            names[event["pid"], event["tid"]],
            event["name"],
            *(event["args"][name] for name in ("epoch", "step", "images")),
            event["ts"] / 1e6,
            (event["ts"] + event["dur"]) / 1e6,
        )
        for event in complete
    ]
    again = pd.DataFrame(found, columns=COLUMNS)
    pd.testing.assert_frame_equal(again, table[COLUMNS].reset_index(drop=True), check_dtype=False)
    assert sorted(names.values()) == sorted(lane_order(table))


def test_events_of_a_lane_do_not_overlap(events):
    lanes = {}
    for event in events:
        assert event["ts"] >= 0
        if event["ph"] == "X":
            assert event["dur"] > 0
            lanes.setdefault((event["pid"], event["tid"]), []).append(event)
    assert len(lanes) >= 2
    for own in lanes.values():
        for before, after in pairwise(own):
            assert before["ts"] + before["dur"] <= after["ts"] + 1e-3


def test_lanes_are_named_and_stand_in_order(spans, events):
    places = {
        event["tid"]: event["args"]["sort_index"]
        for event in events
        if event["name"] == "thread_sort_index"
    }
    names = {
        event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"
    }
    ordered = [names[tid] for tid in sorted(places, key=places.get)]
    assert ordered == lane_order(spans.table())
    assert [e["args"]["name"] for e in events if e["name"] == "process_name"] == ["run"]


def test_the_counter_is_never_negative_and_ends_empty(spans, events):
    counts = [event for event in events if event["ph"] == "C"]
    assert counts
    assert [event["ts"] for event in counts] == sorted(event["ts"] for event in counts)
    values = [event["args"]["batches"] for event in counts]
    assert min(values) >= 0 and values[-1] == 0
    assert values == list(ready_batches(spans.table()))


def test_a_trace_may_be_saved_by_the_name_of_its_file(tmp_path):
    by_hand().save(str(tmp_path / "trace.json"))
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]


# ---- the words and the picture -------------------------------------------------------------------


def test_a_run_tells_and_draws_itself():
    spans = simulate(read=0.03, decode=0.01, step=0.01)
    assert str(spans.diagnose()).startswith("Training stands still")
    assert spans.plot("as it was").get_suptitle() == "as it was"
