import concurrent.futures
import os
import random
import threading
import time

import numpy as np
import pytest
from conftest import child

from helpers.images.augmenting import ENOUGH_CALLS, AugmentError, augment_rows

# ruff: noqa: NPY002 - np.random's old functions are what all this is about


def call(augment, sample=0, epoch=0, seed=7):
    return augmented(np.zeros((5, 4, 3)), augment, (1, seed, epoch, sample), "a.png")


def augmented(row, augment, seed, filename):
    augment_rows([row], 0, augment, seed, filename)
    return row


def numbers(augment, **seed):
    """The numbers that `new` made an augment draw."""
    return tuple(call(augment, **seed).ravel()[:4])


def new_old_augment():
    """Return an augment as they were written before there was an `rng`."""

    def augment(image, rng):
        image[0, 0] = np.random.uniform(), np.random.randn(), random.random()
        image[0, 1, 0] = random.gauss(0, 1)
        return image

    return augment


def new_augment():
    """Return an augment that draws from its `rng` only."""

    def augment(image, rng):
        image[0, 0] = rng.random(3)
        return image

    return augment


# ---- old augmentations ---------------------------------------------------------------------------


def test_what_is_drawn_from_old_generators_depends_on_seed_epoch_and_sample_only():
    augment = new_old_augment()
    seeds = [
        {"sample": sample, "epoch": epoch, "seed": seed}
        for sample in range(5)
        for epoch in range(3)
        for seed in (7, 8)
    ]
    first = [numbers(augment, **seed) for seed in seeds]
    random.seed()
    np.random.seed()
    assert [numbers(augment, **seed) for seed in reversed(seeds)] == first[::-1]
    assert [numbers(new_old_augment(), **seed) for seed in seeds] == first
    for drawn in zip(*first, strict=True):
        assert len(set(drawn)) == len(seeds)


def test_the_generator_that_augment_gets_is_not_touched():
    for augment in (new_augment(), new_augment()):
        for _ in range(3):
            expected = np.random.default_rng((1, 7, 0, 5)).random(3)
            np.testing.assert_array_equal(call(augment, 5)[0, 0], expected)


def draw():
    """Numbers of the program's own, of all kinds that leave a state behind."""
    return [
        np.random.random(),
        np.random.randn(),  # of a pair, whose other half comes next
        np.random.randint(1000),
        random.random(),
        random.gauss(0, 1),
    ]


def fail(image, rng):
    np.random.random(), random.random()
    raise ZeroDivisionError


def seed_everything(image, rng):
    np.random.seed(0)
    random.seed(0)
    return image


@pytest.mark.parametrize(
    "augment",
    [new_old_augment(), new_augment(), fail, seed_everything],
    ids=["draws", "leaves", "fails", "seeds"],
)
@pytest.mark.parametrize("generator", [np.random.MT19937, np.random.PCG64])
def test_the_states_of_the_program_are_not_touched(augment, generator):
    def draw_between(between):
        np.random.set_bit_generator(generator(3))
        random.seed(3)
        drawn = draw()
        for sample in range(3):
            between(sample)
            drawn += draw()
        return drawn

    def augment_between(sample):
        if augment is fail:
            with pytest.raises(AugmentError, match="ZeroDivisionError"):
                call(augment, sample)
        else:
            call(augment, sample)

    before = np.random.get_bit_generator()
    try:
        assert draw_between(augment_between) == draw_between(lambda sample: None)
        assert type(np.random.get_bit_generator()) is generator
    finally:
        np.random.set_bit_generator(before)


def test_an_old_augment_in_many_threads_draws_the_same():
    def slow(image, rng):
        image[0, 0, 0] = np.random.uniform()
        time.sleep(0.001)
        image[0, 0, 1:] = np.random.uniform(), random.random()
        return image

    expected = [numbers(slow, sample=sample) for sample in range(60)]

    def slow_again(image, rng):
        return slow(image, rng)

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        drawn = list(threads.map(lambda sample: numbers(slow_again, sample=sample), range(60)))
    assert drawn == expected


def test_an_augment_that_does_not_always_draw_is_repeatable_too():
    def new():
        def sometimes(image, rng):
            if rng.random() < 0.3:
                image[0, 0] = np.random.uniform(), random.random(), 1
            return image

        return sometimes

    first = new()
    drawn = [numbers(first, sample=sample) for sample in range(60)]
    second = new()
    assert [numbers(second, sample=sample) for sample in range(59, -1, -1)] == drawn[::-1]
    assert 5 < sum(any(numbers) for numbers in drawn) < 55


class WithoutHash:
    """As a dataclass is: it can be compared, and so has no hash."""

    def __eq__(self, other):
        return True

    def __call__(self, image, rng):
        return new_old_augment()(image, rng)


class WithoutWeakReference:
    __slots__ = ()

    def __call__(self, image, rng):
        return new_old_augment()(image, rng)


@pytest.mark.parametrize("kind", [WithoutHash, WithoutWeakReference])
def test_any_object_that_can_be_called_may_augment(kind):
    expected = numbers(new_old_augment(), sample=3)
    assert [numbers(kind(), sample=3) for _ in range(3)] == [expected] * 3


def test_an_augment_may_augment():
    inner, outer = new_old_augment(), new_old_augment()

    def nested(image, rng):
        call(inner)
        return outer(image, rng)

    random.seed(1)
    state = random.getstate()
    assert numbers(nested) == numbers(nested)
    assert random.getstate() == state


# ---- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("augment", [fail, lambda image, rng: None])
def test_an_error_names_a_file_whose_name_is_no_text(augment):
    name = os.fsdecode(b"caf\xe9.png")
    with pytest.raises(AugmentError) as caught:
        augmented(np.zeros((5, 4, 3)), augment, (1, 2), name)
    assert rb"on caf\udce9.png" in str(caught.value).encode()


# ---- new augmentations ---------------------------------------------------------------------------


def test_threads_do_not_wait_for_each_other_if_nothing_is_drawn_from_old_generators():
    together = threading.Barrier(4)

    def augment(image, rng):
        if image[0, 0, 0]:
            together.wait(30)
        return image

    def call(value):
        return augmented(np.full((5, 4, 3), value), augment, (1, 2, 3, 4), "a.png")

    call(0.0)  # threads wait for the first call, to see what it draws
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        list(threads.map(call, [1.0] * 4))


def test_an_augment_that_drew_nothing_for_long_is_left_alone():
    generators = []

    def augment(image, rng):
        generators.append(np.random.get_bit_generator())
        return image

    for sample in range(ENOUGH_CALLS + 3):
        call(augment, sample)
    own = np.random.get_bit_generator()
    assert [generator is own for generator in generators] == [False] * ENOUGH_CALLS + [True] * 3


# ---- forks ---------------------------------------------------------------------------------------

FORK = """
import os, random, signal, threading, time, warnings
import numpy as np
from helpers.images.augmenting import augment_rows

warnings.simplefilter("ignore")  # of a fork beside threads, which is tried here
begun = threading.Event()

def augment(image, rng):
    image[0] = np.random.uniform(), random.random()
    begun.set()
    time.sleep(1)
    return image

def call():
    row = np.zeros((1, 2))
    augment_rows([row], 0, augment, (1, 2, 3), "a.png")
    return row.tolist()

np.random.seed(5)
random.seed(5)
expected = np.random.random(), random.random()
np.random.seed(5)
random.seed(5)
thread = threading.Thread(target=call)
thread.start()
begun.wait()
child = os.fork()
if not child:
    signal.alarm(30)  # ends it if it hangs
    same = np.random.random() == expected[0]  # Python itself seeds random anew
    os._exit(7 if same and call() == call() else 8)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
thread.join()
print((np.random.random(), random.random()) == expected)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_a_fork_during_a_call_has_its_own_states_and_does_not_hang():
    with child(FORK) as process:
        out, err = process.communicate(timeout=60)
    assert (out.split(), err) == (["7", "True"], "")
