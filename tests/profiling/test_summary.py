import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import BY_HAND, by_hand, measured_run

from helpers import Spans, simulate
from helpers.profiling.summary import elapsed_seconds


@pytest.fixture(scope="module")
def measured(pictures):
    return measured_run(pictures)


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


# ---- parts ---------------------------------------------------------------------------------------


def test_elapsed_seconds_leave_out_what_lies_between_epochs():
    training = BY_HAND[BY_HAND["lane"] == "training"]
    assert elapsed_seconds(training) == pytest.approx(1.5 + 1.0)
    assert elapsed_seconds(training[training["epoch"] == 1]) == pytest.approx(1.0)
