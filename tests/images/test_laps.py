import os
import pickle
import threading
import time

import pytest

from helpers.images.laps import WORK, BatchTimes, Laps


def test_time_goes_to_the_work_that_ends():
    laps = Laps()
    for kind, delay in (("read", 0.02), ("decode", 0.04), ("read", 0.02), ("augment", 0.03)):
        time.sleep(delay)
        laps.end(kind)
    seconds = laps.times().seconds
    assert 0.04 <= seconds["read"] < 0.4
    assert 0.04 <= seconds["decode"] < 0.4
    assert 0.03 <= seconds["augment"] < 0.4
    assert seconds["resize"] == 0


def test_all_kinds_are_there_in_the_order_of_the_work():
    assert list(Laps().times().seconds) == list(WORK) == ["read", "decode", "resize", "augment"]


def test_laps_add_up_to_the_time_that_passed():
    start = time.perf_counter()
    laps = Laps()
    for number in range(200):
        laps.end(WORK[number % 4])
    passed = time.perf_counter() - start
    times = laps.times()
    assert 0 < sum(times.seconds.values()) <= passed
    assert start <= times.start <= start + passed


def test_time_after_the_last_lap_belongs_to_no_kind():
    laps = Laps()
    laps.end("read")
    time.sleep(0.05)
    assert sum(laps.times().seconds.values()) < 0.04


def test_sleeping_is_no_computing():
    laps = Laps()
    time.sleep(0.2)
    laps.end("read")
    assert laps.times().cpu < 0.1


def test_computing_is_counted_whatever_it_is():
    laps = Laps()
    end = time.thread_time() + 0.05
    while time.thread_time() < end:
        pass
    assert 0.05 <= laps.times().cpu <= 0.15


def test_other_threads_do_not_count():
    laps = Laps()

    def compute():
        end = time.thread_time() + 0.2
        while time.thread_time() < end:
            pass

    thread = threading.Thread(target=compute)
    thread.start()
    thread.join(timeout=60)
    assert not thread.is_alive()
    assert laps.times().cpu < 0.1


def test_process_and_thread_are_those_that_worked():
    found = []
    thread = threading.Thread(target=lambda: found.append(Laps().times()))
    thread.start()
    thread.join(timeout=60)
    assert (found[0].process, found[0].thread) == (os.getpid(), thread.ident)
    here = Laps().times()
    assert (here.process, here.thread) == (os.getpid(), threading.get_ident())


def test_times_come_through_a_pipe():
    laps = Laps()
    laps.end("decode")
    times = laps.times()
    other = pickle.loads(pickle.dumps(times))
    assert type(other) is BatchTimes
    assert other == times


def test_an_unknown_kind_is_an_error():
    with pytest.raises(KeyError):
        Laps().end("reading")
