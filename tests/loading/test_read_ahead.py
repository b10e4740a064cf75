import contextlib
import gc
import os
import random
import threading
import time
import weakref

import numpy as np
import pytest
from conftest import child, in_background, wait_until
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.loading import read_ahead
from helpers.loading.read_ahead import WRONG_GUESSES, ReadAhead

pytestmark = pytest.mark.timeout(100)


class Reading:
    """A reader that is under way until it says otherwise."""

    under_way = True

    def is_under_way(self):
        return self.under_way


class Resting:
    """Stands for a loader; counts how often it was let rest, and closed."""

    def __init__(self):
        self.rests = self.ends = 0

    def rest(self):
        self.rests += 1

    def close(self):
        self.ends += 1


class Maker:
    """Makes batches that are their keys; notes which, and how many at once."""

    def __init__(self, seconds=0.0):
        self.made, self.seconds = [], seconds
        self.now = self.most = 0
        self.lock = threading.Lock()
        self.go_on = threading.Event()
        self.go_on.set()

    def __call__(self, *key):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
            self.made.append(key)
        self.go_on.wait(30)
        time.sleep(self.seconds)
        with self.lock:
            self.now -= 1
        return key


@contextlib.contextmanager
def reading_ahead(threads=2, most_ahead=4):
    ahead = ReadAhead(Resting(), threads, most_ahead)
    try:
        yield ahead
    finally:
        ahead.close()


def keys(*numbers):
    return [(number,) for number in numbers]


def settled(ahead, maker):
    """What was made when all that was begun is ready."""
    assert wait_until(lambda: all(future.done() for future in ahead._begun.values()))
    return sorted(maker.made)


# ---- what is made ahead --------------------------------------------------------------------------


@pytest.mark.parametrize(("threads", "most_ahead"), [(1, 1), (1, 3), (2, 4), (16, 3), (3, 50)])
def test_so_many_are_made_before_anything_is_asked_for_and_then_always(threads, most_ahead):
    maker, reader = Maker(), Reading()
    with reading_ahead(threads, most_ahead) as ahead:
        ahead.begin(reader, keys(*range(20)), maker)
        for number in range(20):
            assert settled(ahead, maker) == keys(*range(min(number + most_ahead, 20)))
            assert ahead.take(reader, (number,), maker) == (number,)
        assert settled(ahead, maker) == keys(*range(20))
    assert maker.most <= threads


@pytest.mark.parametrize(("threads", "most_ahead"), [(0, 4), (0, 0)])
def test_without_threads_nothing_is_made_ahead(threads, most_ahead):
    maker = Maker()
    with reading_ahead(threads, most_ahead) as ahead:
        ahead.begin(reader := Reading(), keys(*range(9)), maker)
        assert ahead.take(reader, (3,), maker) == (3,)
        assert maker.made == [(3,)]


def test_no_more_are_at_work_than_there_are_threads():
    maker = Maker(0.002)
    with reading_ahead(3, 8) as ahead:
        ahead.begin(reader := Reading(), keys(*range(60)), maker)
        assert [ahead.take(reader, (number,), maker) for number in range(60)] == keys(*range(60))
    assert 2 <= maker.most <= 3
    assert sorted(maker.made) == keys(*range(60))


@settings(max_examples=60, deadline=None)
@given(
    planned=st.lists(st.integers(0, 12), unique=True, max_size=12),
    asked=st.lists(st.integers(0, 12), max_size=20),
    threads=st.integers(0, 3),
    most_ahead=st.integers(1, 6),
)
def test_whatever_is_asked_for_comes_and_nothing_stays(planned, asked, threads, most_ahead):
    maker = Maker()
    with reading_ahead(threads, most_ahead) as ahead:
        reader = Reading()
        ahead.begin(reader, keys(*planned), maker)
        for number in asked:
            assert ahead.take(reader, (number,), maker) == (number,)
            assert len(ahead._begun) <= most_ahead
        ahead.end(reader)
        assert not ahead._begun


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(12)), st.integers(1, 4))
def test_threads_may_ask_in_any_order(asked, askers):
    maker = Maker()
    with reading_ahead(2, 5) as ahead:
        ahead.begin(reader := Reading(), keys(*range(12)), maker)
        shares = [asked[first::askers] for first in range(askers)]
        waiting = [
            in_background(lambda share: [ahead.take(reader, (one,), maker) for one in share], share)
            for share in shares
        ]
        assert [future.result(30) for future in waiting] == [keys(*share) for share in shares]


def test_an_error_comes_when_its_batch_is_asked_for_and_only_then():
    def make(number):
        if number % 2:
            raise ValueError(f"no {number}")
        return number

    with reading_ahead() as ahead:
        ahead.begin(reader := Reading(), keys(*range(6)), make)
        for number in range(6):
            if number % 2:
                with pytest.raises(ValueError, match=f"no {number}"):
                    ahead.take(reader, (number,), make)
            else:
                assert ahead.take(reader, (number,), make) == number


def test_a_plan_that_is_held_begins_when_its_reader_asks():
    maker, reader = Maker(), Reading()
    with reading_ahead(2, 3) as ahead:
        ahead.begin(reader, keys(*range(9)), maker, hold=True)
        ahead.take(None, (5,), maker)
        time.sleep(0.1)
        assert maker.made == [(5,)]
        assert ahead.take(reader, (0,), maker) == (0,)
        assert settled(ahead, maker) == keys(0, 1, 2, 3, 5)
        assert ahead._plans[-1].wrong_guesses == 0


# ---- wrong guesses -------------------------------------------------------------------------------


def test_what_was_passed_by_is_given_back_and_reading_goes_on():
    maker, reader = Maker(), Reading()
    with reading_ahead(2, 4) as ahead:
        ahead.begin(reader, keys(*range(10)), maker)
        settled(ahead, maker)
        ahead.take(reader, (2,), maker)
        assert settled(ahead, maker) == keys(*range(7))
        assert list(ahead._begun) == keys(3, 4, 5, 6)
        ahead.take(reader, (0,), maker)  # gone, so it is made again, here
        assert maker.made.count((0,)) == 2
        ahead.take(reader, (3,), maker)
        assert settled(ahead, maker) == sorted([(0,), *keys(*range(8))])


def test_after_wrong_guesses_in_a_row_nothing_is_made_ahead():
    maker, reader = Maker(), Reading()
    with reading_ahead(2, 4) as ahead:
        ahead.begin(reader, keys(*range(100)), maker)
        settled(ahead, maker)
        for number in range(WRONG_GUESSES - 1):
            ahead.take(reader, (50 + number,), maker)
        ahead.take(reader, (0,), maker)  # a right one in between
        for number in range(WRONG_GUESSES):
            assert ahead._begun
            ahead.take(reader, (60 + number,), maker)
        assert not ahead._begun
        ahead.take(reader, (1,), maker)
        assert not ahead._begun
        ahead.begin(reader, keys(7, 8), maker)  # the next epoch
        assert list(ahead._begun) == keys(7, 8)


# ---- plans ---------------------------------------------------------------------------------------


def test_a_new_plan_takes_over_what_was_begun_and_comes_now_too():
    maker, reader = Maker(), Reading()
    with reading_ahead(2, 4) as ahead:
        ahead.begin(reader, keys(0, 1, 2, 3), maker)
        settled(ahead, maker)
        ahead.begin(reader, keys(9, 3, 1), maker)
        settled(ahead, maker)
        assert [ahead.take(reader, key, maker) for key in keys(9, 3, 1)] == keys(9, 3, 1)
        assert sorted(maker.made) == keys(0, 1, 2, 3, 9)


def test_a_reader_in_between_has_its_own_plan_and_then_the_first_goes_on():
    maker, outer, inner = Maker(), Reading(), Reading()
    with reading_ahead(2, 3) as ahead:
        ahead.begin(outer, keys(*range(10)), maker)
        ahead.take(outer, (0,), maker)
        ahead.begin(inner, keys(20, 21, 22), maker)
        assert list(ahead._begun) == keys(20, 21, 22)
        for number in (20, 21):
            ahead.take(inner, (number,), maker)
        ahead.end(inner)
        assert list(ahead._begun) == keys(1, 2, 3)
        assert [ahead.take(outer, (number,), maker) for number in range(1, 10)] == keys(
            *range(1, 10)
        )
        ahead.end(outer)
        assert not ahead._begun


def test_who_is_no_reader_or_not_the_last_disturbs_no_plan():
    maker, outer, inner = Maker(), Reading(), Reading()
    with reading_ahead(2, 3) as ahead:
        ahead.begin(outer, keys(*range(5)), maker)
        ahead.begin(inner, keys(*range(5)), maker)
        settled(ahead, maker)
        for other in (None, outer, Reading()):
            for number in (4, 1, 3, 1):
                assert ahead.take(other, (number,), maker) == (number,)
        assert list(ahead._begun) == keys(0, 1, 2)
        assert ahead._plans[-1].wrong_guesses == 0


def test_an_end_of_a_reader_that_has_no_plan_changes_nothing():
    maker = Maker()
    with reading_ahead(2, 3) as ahead:
        ahead.begin(Reading(), keys(1, 2), maker)
        settled(ahead, maker)
        ahead.end(Reading())
        ahead.end(None)
        assert list(ahead._begun) == keys(1, 2)
        assert sorted(maker.made) == keys(1, 2)


def test_what_is_not_wanted_is_not_begun_any_more():
    maker, reader = Maker(), Reading()
    maker.go_on.clear()
    with reading_ahead(2, 8) as ahead:
        ahead.begin(reader, keys(*range(8)), maker)
        assert wait_until(lambda: maker.now == 2)
        ahead.end(reader)
        maker.go_on.set()
        assert wait_until(lambda: maker.now == 0)
        time.sleep(0.1)
        assert sorted(maker.made) == keys(0, 1)


def test_who_asks_makes_a_batch_that_no_thread_has_begun():
    """A thread that hangs over a batch that nobody wants any more holds up nobody."""
    maker, reader, hung = Maker(), Reading(), threading.Event()
    with reading_ahead(1, 3) as ahead:
        ahead.begin(reader, [("hangs",)], lambda key: hung.wait(30))
        assert wait_until(lambda: all(future.running() for future in ahead._begun.values()))
        ahead.begin(reader, keys(0, 1), maker)
        assert in_background(ahead.take, reader, (0,), maker).result(10) == (0,)
        hung.set()


def test_batches_that_nobody_took_are_not_kept():
    class Batch(np.ndarray):
        pass

    kept = []

    def make(number):
        batch = np.zeros(3).view(Batch)
        kept.append(weakref.ref(batch))
        return batch

    with reading_ahead(2, 4) as ahead:
        for _ in range(8):
            reader = Reading()
            ahead.begin(reader, keys(*range(9)), make)
            ahead.take(reader, (0,), make)
            ahead.end(reader)
        gc.collect()
        assert wait_until(lambda: not any(one() is not None for one in kept))


# ---- rest, and the end ---------------------------------------------------------------------------


@pytest.fixture
def short_rest(monkeypatch):
    monkeypatch.setattr(read_ahead, "IDLE_SECONDS", 0.3)


def test_after_a_while_without_a_reader_all_rests(short_rest):
    before, maker, reader = threading.active_count(), Maker(), Reading()
    with reading_ahead() as ahead:
        for turn in (1, 2):
            ahead.begin(reader, keys(0, 1, 2), maker)
            ahead.take(reader, (0,), maker)
            reader.under_way = False
            assert wait_until(lambda turn=turn: ahead.loader.rests == turn)
            assert not ahead._begun
            assert wait_until(lambda: threading.active_count() <= before)
            reader.under_way = True
        time.sleep(0.7)
        assert ahead.loader.rests == 2  # nothing happens when nothing happened


def test_while_a_reader_is_under_way_nothing_rests(short_rest):
    maker, reader = Maker(), Reading()
    with reading_ahead() as ahead:
        ahead.begin(reader, keys(0, 1, 2), maker)
        ahead.take(reader, (0,), maker)
        time.sleep(1.0)
        assert (ahead.loader.rests, list(ahead._begun)) == (0, keys(1, 2))
        reader.under_way = False
        assert wait_until(lambda: ahead.loader.rests == 1)


def test_who_is_at_work_does_not_rest(short_rest):
    slow = Maker(1.0)
    with reading_ahead() as ahead:
        ahead.take(None, (0,), slow)
        taking = in_background(ahead.take, None, (1,), slow)
        assert taking.result(10) == (1,)
        assert ahead.loader.rests == 0
        assert wait_until(lambda: ahead.loader.rests == 1)


def test_close_ends_loader_threads_and_timer():
    before, maker = threading.active_count(), Maker()
    ahead = ReadAhead(Resting(), 3, 6)
    ahead.begin(reader := Reading(), keys(*range(9)), maker)
    ahead.take(reader, (0,), maker)
    ahead.close()
    ahead.close()
    assert ahead.loader.ends == 2
    assert not ahead._begun
    assert wait_until(lambda: threading.active_count() <= before)
    assert ahead.take(reader, (5,), maker) == (5,)  # here
    ahead.close()


def test_a_read_ahead_that_is_garbage_leaves_no_thread(short_rest):
    before = threading.active_count()
    for _ in range(5):
        ahead = ReadAhead(Resting(), 2, 4)
        ahead.begin(Reading(), keys(*range(4)), Maker())
        ahead.take(None, (0,), Maker())
        ahead._plans[0].reader.under_way = False
    del ahead
    gc.collect()
    assert wait_until(lambda: threading.active_count() <= before)


@pytest.mark.timeout(100)
def test_readers_that_come_and_go_in_many_threads_do_not_hang():
    """Whatever meets whatever: each batch comes, and at the end nothing is left."""
    maker, before = Maker(), threading.active_count()

    def use(ahead, seed):
        draw = random.Random(seed)
        for _ in range(40):
            reader = Reading()
            ahead.begin(reader, keys(*draw.sample(range(30), 10)), maker)
            for _ in range(draw.randrange(12)):
                key = (draw.randrange(30),)
                assert ahead.take(reader, key, maker) == key
            ahead.end(reader)
        return True

    with reading_ahead(3, 6) as ahead:
        assert all(one.result(60) for one in [in_background(use, ahead, n) for n in range(6)])
        assert not ahead._begun and not ahead._plans
    assert wait_until(lambda: threading.active_count() <= before)


FORKED = """
import os, threading
from helpers.loading.read_ahead import ReadAhead

class Rest:
    rest = close = is_under_way = lambda self: True

ahead = ReadAhead(Rest(), 2, 4)
held = threading.Event()

def hold():
    with ahead._lock:
        held.set()
        threading.Event().wait()

threading.Thread(target=hold, daemon=True).start()
held.wait()
child = os.fork()
if not child:
    ahead.begin(Rest(), [(1,)], lambda number: number)
    ahead.end(Rest())
    number = ahead.take(None, (7,), lambda number: number)
    ahead.close()
    os._exit(number)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_in_a_fork_of_the_program_a_lock_that_is_held_holds_up_nothing():
    with child(FORKED) as program:
        out, _ = program.communicate(timeout=30)
    assert out == "7\n"
