"""A loop of one's own, with a clock."""

import time

from helpers.classroom.loops import seconds_waited


def test_each_batch_has_its_waiting_and_the_step_is_no_part_of_it():
    def batches():
        for seconds in (0.0, 0.2, 0.0):
            time.sleep(seconds)
            yield "a batch"

    start = time.perf_counter()
    waited = seconds_waited(batches(), 0.05)
    assert time.perf_counter() - start >= 0.2 + 3 * 0.05
    assert len(waited) == 3
    assert waited[1] >= 0.2
    assert max(waited[0], waited[2]) < waited[1]


def test_what_is_made_during_the_step_is_not_waited_for():
    class Ahead:
        """Has its second batch ready 0.1 s after the first was given out."""

        def __iter__(self):
            yield 0
            ready = self.given + 0.1
            time.sleep(max(ready - time.perf_counter(), 0))
            yield 1

    ahead = Ahead()
    ahead.given = time.perf_counter()
    assert seconds_waited(ahead, 0.3)[1] < 0.1


def test_no_batches_no_waiting():
    assert seconds_waited([], 1.0) == []
