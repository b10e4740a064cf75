import numpy as np
import pytest
from runs import BY_HAND, by_hand

from helpers import Spans, simulate
from helpers.plotting.lanes import COLUMNS


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


@pytest.mark.parametrize("use", ["summary", "plot", "diagnose"])
@pytest.mark.parametrize("rows", [BY_HAND[:0], BY_HAND[-1:]], ids=["nothing", "no step"])
def test_a_run_without_a_step_says_so(rows, use):
    spans = Spans(rows, workers=2, cores=4, queue=10)
    assert len(spans.table()) == len(rows)
    with pytest.raises(ValueError, match="no training step"):
        getattr(spans, use)()


# ---- the words and the picture -------------------------------------------------------------------


def test_a_run_tells_and_draws_itself():
    spans = simulate(read=0.03, decode=0.01, step=0.01)
    assert str(spans.diagnose()).startswith("Training stands still")
    assert spans.plot("as it was").get_suptitle() == "as it was"
