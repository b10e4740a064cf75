import gc
import sys
import threading
import time
import weakref

import numpy as np
import pytest
from conftest import child, wait_until

from helpers.loading.threads import Threads


def names_of(pool, calls):
    """Threads that make so many calls, all at the same time."""
    together = threading.Barrier(calls)

    def name():
        together.wait(20)
        return threading.current_thread().name

    return {future.result(30) for future in [pool.submit(name) for _ in range(calls)]}


def test_calls_are_made_in_order_and_give_results_and_errors():
    pool, order = Threads(1), []
    futures = [pool.submit(order.append, number) for number in range(20)]
    broken = pool.submit(lambda: 1 // 0)
    named = pool.submit(int, "11", base=2)
    assert [future.result(10) for future in futures] == [None] * 20
    assert order == list(range(20))
    assert named.result(10) == 3
    with pytest.raises(ZeroDivisionError):
        broken.result(10)
    pool.shutdown()


@pytest.mark.parametrize("most", [1, 3])
def test_as_many_threads_as_are_needed_and_no_more(most):
    before = set(threading.enumerate())
    pool = Threads(most)
    assert set(threading.enumerate()) <= before
    assert len(names_of(pool, most)) == most
    [pool.submit(time.sleep, 0.01) for _ in range(10)][-1].result(10)
    assert len(set(threading.enumerate()) - before) == most
    pool.shutdown()
    assert wait_until(lambda: set(threading.enumerate()) <= before)


def test_a_call_that_was_cancelled_is_not_made():
    pool, go_on, made = Threads(1), threading.Event(), []
    pool.submit(go_on.wait, 20)
    second = pool.submit(made.append, 2)
    third = pool.submit(made.append, 3)
    assert second.cancel()
    go_on.set()
    third.result(10)
    assert made == [3]
    pool.shutdown()


def test_after_a_shutdown_there_are_new_threads_though_an_old_one_is_stuck():
    pool, go_on = Threads(2), threading.Event()
    stuck = pool.submit(go_on.wait, 30)
    assert wait_until(stuck.running)
    pool.shutdown()
    assert len(names_of(pool, 2)) == 2
    go_on.set()
    assert stuck.result(10)
    names = names_of(pool, 2)
    assert len(names) == 2
    pool.shutdown()
    assert wait_until(lambda: not names & {thread.name for thread in threading.enumerate()})


def test_a_thread_that_waits_keeps_neither_results_nor_errors():
    class Result(np.ndarray):
        pass

    def fail():
        here = np.zeros(3).view(Result)
        kept.append(weakref.ref(here))
        raise ValueError

    pool, kept = Threads(1), []
    gc.collect()
    gc.disable()
    try:
        future = pool.submit(np.zeros(3).view, Result)
        kept.append(weakref.ref(future.result(10)))
        del future
        assert wait_until(lambda: kept[0]() is None, 5)
        future = pool.submit(fail)
        with pytest.raises(ValueError):
            future.result(10)
        del future
        sys.last_value = sys.last_exc = None
        assert wait_until(lambda: kept[1]() is None, 5)
    finally:
        gc.enable()
    pool.shutdown()


STUCK = """
import threading
from helpers.loading.threads import Threads

print(Threads(1).submit(threading.Event().wait).running() in (True, False), flush=True)
"""


def test_a_program_ends_though_a_call_does_not():
    with child(STUCK) as program:
        out, error = program.communicate(timeout=30)
    assert (out, error, program.returncode) == ("True\n", "", 0)
