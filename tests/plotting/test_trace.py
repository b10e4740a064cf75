import json
from itertools import pairwise

import pandas as pd
import pytest
from runs import by_hand, measured_run

from helpers import simulate
from helpers.plotting.lanes import COLUMNS, lane_order, ready_batches

# ---- save ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def measured(pictures):
    return measured_run(pictures)


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
