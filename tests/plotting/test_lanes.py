import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.plotting.lanes import COLUMNS, lane_order, ready_batches


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
