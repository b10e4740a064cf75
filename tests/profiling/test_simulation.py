import re

import numpy as np
import pandas as pd
import pytest

from helpers.profiling.simulation import simulate


def test_numbers_of_any_kind_will_do():
    numbers = {"decode": np.float32(0.5), "step": 1, "workers": np.int64(2)}
    expected = simulate(decode=0.5, step=1.0, workers=2)
    pd.testing.assert_frame_equal(simulate(**numbers).table(), expected.table())


def test_the_spans_know_the_run():
    spans = simulate(
        read=3, decode=2, step=1, workers=3, cores=5, queue=7, step_cores=1.5, batches=2
    )
    known = (spans.workers, spans.cores, spans.queue, spans.batch_cpu, spans.step_cores)
    assert known == (3, 5, 7, 2.0, 1.5)


def test_no_workers_are_one():
    none, one = (simulate(decode=2, hand_over=1, step=1, workers=count) for count in (0, 1))
    pd.testing.assert_frame_equal(none.table(), one.table())
    assert none.workers == 1


# ---- wrong arguments -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "error", "received"),
    [
        ("read", -0.1, ValueError, "-0.1"),
        ("decode", float("nan"), ValueError, "nan"),
        ("decode", "0.1", TypeError, "'0.1'"),
        ("hand_over", None, TypeError, "None"),
        ("hand_over", True, TypeError, "True"),
        ("step", 0, ValueError, "0"),
        ("step", float("inf"), ValueError, "inf"),
        ("step_cores", -1, ValueError, "-1"),
        ("workers", -1, ValueError, "-1"),
        ("workers", 2.5, TypeError, "2.5"),
        ("cores", 0, ValueError, "0"),
        ("queue", 0, ValueError, "0"),
        ("batches", 0, ValueError, "0"),
        ("batch_size", 0, ValueError, "0"),
    ],
)
def test_a_wrong_argument_is_named_with_the_value_received(name, value, error, received):
    with pytest.raises(error, match=rf"{name} must be.*; received {re.escape(received)}"):
        simulate(**{"decode": 0.1, "step": 0.1, name: value})
