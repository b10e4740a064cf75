from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.generators.passes import HELD_BY_TENSORFLOW
from helpers.profiling.simulation import simulate

LANES = ["training", *(f"worker {number}" for number in range(1, 65))]
MANY = 64  # cores, when they are not to be short
LONG = 250  # batches, for a steady state in the middle


def rows_of(spans, *kinds):
    table = spans.table()
    return table[table["kind"].isin(kinds)]


def elapsed(spans):
    return spans.table()["stop"].max()


def steady_period(spans):
    """Seconds from step to step, when the queue neither fills nor empties any more.

    Workers that keep step with each other finish in bunches, of a size that divides 48.
    """
    starts = rows_of(spans, "step")["start"].to_numpy()
    assert len(starts) == LONG
    return (starts[96] - starts[48]) / 48


def made_and_taken(spans):
    """When each batch was given to a worker, when it was made, and when waiting for that ended."""
    making = spans.table()[lambda table: table["lane"].str.startswith("worker")].groupby("step")
    training = rows_of(spans, "hand-over", "step").query("lane == 'training'").groupby("step")
    return making["start"].min(), making["stop"].max(), training["start"].min()


milliseconds = st.integers(0, 300).map(lambda number: number / 1000)
pipelines = st.fixed_dictionaries(
    {
        "read": milliseconds,
        "decode": milliseconds,
        "hand_over": milliseconds,
        "step": milliseconds.filter(bool),
        "workers": st.integers(0, 20),
        "cores": st.integers(1, 8),
        "queue": st.integers(1, 12),
        "batches": st.integers(1, 40),
        "step_cores": st.floats(0, 10),
    }
)
with_pipelines = settings(deadline=None, max_examples=100)


# ---- the table -----------------------------------------------------------------------------------


def test_a_small_run_to_the_last_span():
    spans = simulate(read=1, decode=1, hand_over=1, step=4, workers=2, batches=3, batch_size=8)
    table = spans.table()
    assert list(table) == ["lane", "kind", "epoch", "step", "images", "start", "stop", "seconds"]
    expected = [
        ("training", "wait", 0, 0, 2),
        ("worker 1", "read", 0, 0, 1),
        ("worker 2", "read", 1, 0, 1),
        ("worker 1", "decode", 0, 1, 2),
        ("worker 2", "decode", 1, 1, 2),
        ("training", "hand-over", 0, 2, 3),
        ("queue", "queue", 1, 2, 7),
        ("worker 1", "read", 2, 2, 3),
        ("training", "step", 0, 3, 7),
        ("worker 1", "decode", 2, 3, 4),
        ("queue", "queue", 2, 4, 11),
        ("training", "step", 1, 7, 11),
        ("training", "step", 2, 11, 15),
    ]
    columns = ["lane", "kind", "step", "start", "stop"]
    got = table[columns].sort_values(["start", "lane", "step"]).to_records(index=False).tolist()
    assert got == sorted(expected, key=lambda row: (row[3], row[0], row[2]))
    assert table["start"].is_monotonic_increasing
    assert set(table["epoch"]) == {0}
    assert set(table["images"]) == {8}
    assert spans.summary()["images/s"] == 3 * 8 / 15


def test_what_takes_no_time_has_no_span():
    assert set(simulate(decode=0, step=1).table()["kind"]) == {"step", "queue"}
    assert set(simulate(decode=1, step=1).table()["kind"]) == {"wait", "decode", "step"}


def test_the_rounding_of_floats_is_no_time():
    spans = simulate(read=0.1, decode=0.7, step=0.8)  # so each batch is made just in time
    assert len(rows_of(spans, "wait")) == 1
    assert rows_of(spans, "queue").empty


# ---- cases that can be worked out on paper -------------------------------------------------------


def test_one_worker_and_a_slow_model():
    spans = simulate(read=1, decode=2, hand_over=1, step=6, batches=20)
    assert elapsed(spans) == 1 + 2 + 1 + 20 * 6
    assert rows_of(spans, "wait")["seconds"].tolist() == [3]
    assert rows_of(spans, "hand-over")["seconds"].tolist() == [1]


def test_one_worker_and_slow_data():
    spans = simulate(read=3, decode=2, hand_over=1, step=3, batches=20)
    assert elapsed(spans) == 20 * (3 + 2) + 1 + 3
    assert rows_of(spans, "wait")["seconds"].tolist() == [5, *19 * [1]]
    assert rows_of(spans, "hand-over")["seconds"].tolist() == 20 * [1]


@pytest.mark.parametrize("workers", [2, 3, 4, 6, 8, 16])
@pytest.mark.parametrize(("hand_over", "step"), [(0, 1), (0, 6), (2, 6), (6, 2)])
def test_workers_share_the_work_until_something_else_is_the_limit(workers, hand_over, step):
    spans = simulate(
        read=12,
        decode=12,
        hand_over=hand_over,
        step=step,
        workers=workers,
        cores=MANY,
        queue=20,
        batches=LONG,
    )
    assert steady_period(spans) == pytest.approx(max(24 / workers, hand_over, step))


@pytest.mark.parametrize("cores", [1, 2, 3, 8])
def test_more_workers_than_cores_share_the_cores(cores):
    spans = simulate(decode=6, step=0.01, workers=16, cores=cores, queue=20, batches=LONG)
    assert steady_period(spans) == pytest.approx(6 / cores)


def test_reading_needs_no_core():
    spans = simulate(read=15, decode=1, step=0.01, workers=8, cores=1, queue=20, batches=LONG)
    assert steady_period(spans) == pytest.approx(16 / 8)
    more = simulate(read=15, decode=1, step=0.01, workers=48, cores=1, queue=60, batches=LONG)
    assert steady_period(more) == pytest.approx(1)  # until the core has no time left


def test_a_step_on_a_gpu_needs_no_core():
    spans = simulate(decode=1, step=2, cores=1, batches=20)
    assert elapsed(spans) == 1 + 20 * 2
    crowded = simulate(decode=3, step=2, workers=16, cores=1, batches=100)
    assert rows_of(crowded, "step")["seconds"].to_numpy() == pytest.approx(2)


def test_a_step_on_the_cpu_shares_the_cores_with_the_workers():
    spans = simulate(decode=1, step=1, step_cores=1, workers=2, cores=1, batches=LONG)
    assert steady_period(spans) == pytest.approx(1 + 1)
    spans = simulate(decode=2, step=1, step_cores=2, workers=4, cores=2, batches=LONG)
    assert steady_period(spans) == pytest.approx((2 + 2 * 1) / 2)


def test_a_step_that_wants_more_cores_than_there_are_takes_longer():
    assert elapsed(simulate(decode=0, step=1, step_cores=4, cores=2, batches=10)) == 10 * 4 / 2


def test_handing_over_needs_a_core():
    options = {"decode": 1, "hand_over": 1, "step": 0.01, "workers": 2, "batches": LONG}
    assert steady_period(simulate(**options, cores=1)) == pytest.approx(2, abs=0.02)
    assert steady_period(simulate(**options, cores=2)) == pytest.approx(1.01, abs=0.02)


@pytest.mark.parametrize("workers", [1, 2, 16])
def test_handing_over_goes_on_while_the_training_computes(workers):
    options = {"decode": 0.1, "cores": MANY, "workers": workers, "batches": LONG}
    assert steady_period(simulate(**options, hand_over=1, step=1)) == pytest.approx(1)
    slow = simulate(**options, hand_over=3, step=1)
    assert steady_period(slow) == pytest.approx(3)
    stops = rows_of(slow, "hand-over")
    assert set(stops["lane"]) == {"training"}
    assert stops["seconds"].tolist() == pytest.approx([3, *(LONG - 1) * [2]])


def test_the_free_worker_with_the_lowest_number_takes_the_next_batch():
    lanes = rows_of(simulate(decode=1, step=10, workers=4, cores=4, queue=3), "decode")["lane"]
    assert lanes[:4].tolist() == ["worker 1", "worker 2", "worker 3", "worker 4"]
    assert lanes[4:6].tolist() == ["worker 1", "worker 2"]  # of those that TensorFlow took
    assert set(lanes[6:]) == {"worker 1"}


@pytest.mark.parametrize(("workers", "ahead"), [(1, 1), (2, 3), (20, 3)])
def test_so_many_are_ahead_of_the_one_asked_for_and_of_those_that_tensorflow_holds(workers, ahead):
    spans = simulate(decode=1, step=100, workers=workers, cores=20, queue=3, batches=12)
    given, _, taken = made_and_taken(spans)
    if workers == 20:
        assert (given == 0).sum() == 1 + ahead
        assert (given == 1).sum() == HELD_BY_TENSORFLOW
    at_first = 1 + HELD_BY_TENSORFLOW + ahead
    assert (given < 100).sum() == at_first
    steps = rows_of(spans, "step").set_index("step")
    for batch in range(at_first, 12):
        before = taken < given[batch]
        assert given[batch] == steps["stop"][batch - at_first]  # when the next one is asked for
        assert batch - before.sum() == HELD_BY_TENSORFLOW + ahead


# ---- what always holds ---------------------------------------------------------------------------


@with_pipelines
@given(pipelines)
def test_every_batch_is_trained_on_once_and_in_order(options):
    spans = simulate(**options)
    assert rows_of(spans, "step")["step"].tolist() == list(range(options["batches"]))
    counts = spans.table().groupby(["lane", "kind", "step"]).size()
    assert counts.max() == 1
    for kind in ("read", "decode"):
        expected = options["batches"] if options[kind] else 0
        assert len(rows_of(spans, kind)) == expected


@with_pipelines
@given(pipelines)
def test_nobody_does_two_things_at_once(options):
    table = simulate(**options).table()
    lanes = {lane: rows for lane, rows in table.groupby("lane") if lane != "queue"}
    assert set(lanes) <= set(LANES[: max(options["workers"], 1) + 1])
    for rows in lanes.values():
        assert (rows["start"].to_numpy()[1:] >= rows["stop"].to_numpy()[:-1]).all()


@with_pipelines
@given(pipelines)
def test_training_never_stands_idle_without_saying_why(options):
    spans = simulate(**options)
    training = spans.table().query("lane == 'training'")
    assert training["start"].iloc[0] == pytest.approx(0, abs=1e-6)
    assert training["stop"].to_numpy()[:-1] == pytest.approx(
        training["start"].to_numpy()[1:], abs=1e-6
    )
    assert training["stop"].iloc[-1] == elapsed(spans)


@with_pipelines
@given(pipelines)
def test_no_batch_is_used_before_it_is_made_and_until_then_it_waits(options):
    spans = simulate(**options)
    _, made, taken = made_and_taken(spans)
    assert (taken[made.index] >= made).all()
    queued = rows_of(spans, "queue").set_index("step")
    for batch in made.index:
        wait = taken[batch] - made[batch]
        assert queued["seconds"].get(batch, 0.0) == pytest.approx(wait, abs=1e-6)


@with_pipelines
@given(pipelines)
def test_no_more_batches_are_on_their_way_than_may_be_ahead(options):
    spans = simulate(**options)
    given, _, _ = made_and_taken(spans)
    finished = rows_of(spans, "step").set_index("step")["stop"]
    ahead = options["queue"] if options["workers"] > 1 else 1
    for batch, start in given.items():
        asked = 1 + (finished <= start).sum()
        assert batch + 1 - asked <= HELD_BY_TENSORFLOW + ahead


@with_pipelines
@given(pipelines)
def test_no_more_is_computed_than_the_cores_can(options):
    spans = simulate(**options)
    given, made, _ = made_and_taken(spans)
    jobs = [(given[batch], made[batch], options["decode"]) for batch in given.index]
    for row in rows_of(spans, "step").itertuples():
        jobs.append((row.start, row.stop, options["step"] * options["step_cores"]))
        jobs.append((made.get(row.step, 0.0), row.start, options["hand_over"]))
    jobs = np.array(sorted(jobs, key=lambda job: job[1]))
    for begin in jobs[:, 0]:
        within = jobs[jobs[:, 0] >= begin]  # and so done between `begin` and its own end
        done = within[:, 2].cumsum()
        assert (done <= options["cores"] * (within[:, 1] - begin) + 1e-6).all()


@with_pipelines
@given(pipelines)
def test_nothing_takes_less_than_its_time_and_with_enough_cores_no_more(options):
    for cores in (options["cores"], MANY):
        spans = simulate(**{**options, "cores": cores})
        for kind in ("read", "decode", "step"):
            seconds = rows_of(spans, kind)["seconds"]
            assert (seconds >= options[kind] - 1e-6).all()
            if kind == "read" or cores == MANY:
                assert seconds.to_numpy() == pytest.approx(options[kind], abs=1e-6)
        _, made, _ = made_and_taken(spans)
        handed_over = rows_of(spans, "step").set_index("step")["start"] - made
        assert (handed_over.dropna() >= options["hand_over"] - 1e-6).all()
    stops = rows_of(spans, "hand-over").set_index("step")["seconds"]
    assert (stops <= options["hand_over"] + 1e-6).all()
    if options["hand_over"]:
        waited = rows_of(spans, "wait")["step"]
        assert stops[waited].to_numpy() == pytest.approx(options["hand_over"], abs=1e-6)


@with_pipelines
@given(pipelines)
def test_more_workers_or_a_longer_queue_are_never_slower_if_there_are_cores(options):
    options |= {"cores": MANY, "workers": max(options["workers"], 2)}
    time = elapsed(simulate(**options))
    assert elapsed(simulate(**{**options, "queue": options["queue"] + 1})) <= time + 1e-6
    assert elapsed(simulate(**{**options, "workers": options["workers"] + 1})) <= time + 1e-6
    times = [elapsed(simulate(**{**options, "workers": workers})) for workers in (1, 2, 3)]
    assert all(more <= fewer + 1e-6 for fewer, more in pairwise(times))


@with_pipelines
@given(pipelines, st.sampled_from([0.25, 8.0, 1024.0]))
def test_a_factor_on_all_times_is_a_factor_on_the_result(options, factor):
    table = simulate(**options).table()
    times = ("read", "decode", "hand_over", "step")
    longer = simulate(**options | {name: factor * options[name] for name in times}).table()
    table[["start", "stop", "seconds"]] *= factor  # without rounding: these are powers of two
    pd.testing.assert_frame_equal(table, longer, check_exact=True)


@with_pipelines
@given(pipelines)
def test_the_same_arguments_give_the_same_spans(options):
    first, second = simulate(**options).table(), simulate(**options).table()
    pd.testing.assert_frame_equal(first, second, check_exact=True)
