import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.generators.order import augment_seeds, batch_bounds, batches_per_epoch, epoch_order


def test_seeds_decide_the_order():
    orders = {tuple(epoch_order(seed, 50, epoch)) for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25
    assert np.array_equal(epoch_order(3, 50, 4), epoch_order(3, 50, 4))


@settings(deadline=None)
@given(st.integers(0, 2**70), st.integers(1, 300), st.integers(0, 10**6))
def test_an_order_is_a_permutation(seed, count, epoch):
    assert sorted(epoch_order(seed, count, epoch)) == list(range(count))


@st.composite
def epochs(draw):
    """Files, batch size, shards for which there is an image for each generator, and drop_last."""
    count, batch_size = draw(st.integers(1, 5)), draw(st.integers(2, 9))
    return draw(st.integers(count, 200)), batch_size, count, draw(st.booleans())


@settings(deadline=None)
@given(epochs())
def test_batches_of_all_shards_cover_an_epoch_once(epoch):
    files, batch_size, count, drop_last = epoch
    covered = []
    batches = batches_per_epoch(files, batch_size, (0, count), drop_last)
    for index in range(batches):
        for number in range(count):
            bounds = batch_bounds(index, batches, files, batch_size, (number, count))
            positions = range(files)[bounds]
            assert (batch_size if drop_last else 1) <= len(positions) <= batch_size
            covered += positions
    dropped = files % (batch_size * count) if drop_last else 0
    assert covered == list(range(files - dropped))


@given(files=st.integers(1, 200), batch_size=st.integers(1, 40))
def test_batches_of_the_only_generator_are_slices_of_batch_size(files, batch_size):
    count = batches_per_epoch(files, batch_size, (0, 1))
    assert count == int(np.ceil(files / batch_size))
    for index in range(count):
        expected = slice(index * batch_size, min((index + 1) * batch_size, files))
        assert batch_bounds(index, count, files, batch_size, (0, 1)) == expected


def test_seeds_of_a_sample_are_its_own_and_not_those_of_an_order():
    seeds = [seed for epoch in (0, 1) for seed in augment_seeds(7, epoch, np.arange(3))]
    assert len(set(seeds)) == 6
    numbers = {np.random.default_rng(seed).random() for seed in seeds}
    numbers |= {np.random.default_rng((0, 7, epoch)).random() for epoch in (0, 1)}
    assert len(numbers) == 8
