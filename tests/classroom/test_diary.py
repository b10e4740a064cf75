"""The diary of the workers is read and drawn, and their processes are found."""

import sys

import numpy as np
import pandas as pd
import psutil
import pytest
from conftest import unchanged, wait_until

from helpers.classroom.diary import draw_diary, read_diary, worker_processes
from helpers.generators.my_generator import MY_Generator

STEPS = [1.0, 1.5, 2.0]


def diary_of(*rows):
    return pd.DataFrame(rows, columns=["process", "time", "image"])


def ticks_of(figure):
    top = figure.axes[0]
    return {
        points.get_label(): [tuple(place) for place in points.get_offsets().tolist()]
        for points in top.collections
    }


def test_a_diary_is_read_line_by_line(tmp_path):
    path = tmp_path / "diary.txt"
    path.write_text("17 1.5 0.25\n18 2.5 0.75\n")
    diary = read_diary(path)
    assert diary.to_dict("list") == {"process": [17, 18], "time": [1.5, 2.5], "image": [0.25, 0.75]}


def test_each_image_is_a_tick_in_the_row_of_its_worker():
    diary = diary_of((17, 1.0, 0.1), (18, 1.25, 0.2), (17, 1.5, 0.3), (19, 2.0, 0.3))
    figure = draw_diary(diary, [(1.75, 17)], STEPS)
    assert ticks_of(figure) == {
        "an image": [(0, 0), (0.25, 1)],
        "an image that was begun twice": [(0.5, 0), (1, 2)],
        "killed": [(0.75, 0)],
    }
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["worker 1", "worker 2", "worker 3"]
    curve = figure.axes[1].lines[-1]
    np.testing.assert_array_equal(curve.get_xydata(), [(0, 1), (0.5, 2), (1, 3)])
    assert "3 workers" in figure.alt_text
    assert "was killed: 1. Images that were begun twice: 1." in figure.alt_text
    assert "climbs to 3" in figure.alt_text


def test_a_worker_that_was_killed_before_its_first_image_has_a_row():
    diary = diary_of((17, 1.0, 0.1))
    figure = draw_diary(diary, [(1.5, 99), (1.75, 17)], STEPS)
    assert ticks_of(figure)["killed"] == [(0.5, 1), (0.75, 0)]


def test_where_nobody_was_killed_and_nothing_came_twice_it_is_drawn_all_the_same():
    figure = draw_diary(diary_of((17, 1.0, 0.1)), [], STEPS)
    assert ticks_of(figure) == {
        "an image": [(0, 0)],
        "an image that was begun twice": [],
        "killed": [],
    }
    figure.canvas.draw()


@pytest.mark.skipif(sys.platform == "win32", reason="there threads make the batches")
def test_the_worker_processes_of_this_program_are_found_and_no_others(pictures):
    with psutil.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as other:
        try:
            assert worker_processes() == []
            labels = np.arange(len(pictures))
            processes = {"workers": 2, "use_multiprocessing": True}
            with MY_Generator(pictures, labels, 4, augment=unchanged, **processes) as generator:
                list(generator)
                assert len(worker_processes()) == 2
                assert other.pid not in [worker.pid for worker in worker_processes()]
            assert wait_until(lambda: worker_processes() == [], 5)
        finally:
            other.kill()
