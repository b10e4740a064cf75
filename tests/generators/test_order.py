"""Which samples are in which batch of which epoch, and their random numbers."""

import itertools

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from noting import Generator, fit, numbers_of

from helpers import balanced_order
from helpers.generators.order import (
    AUGMENTING,
    EpochOrder,
    batch_bounds,
    batches_per_epoch,
    epoch_order,
)

SEED = 7


def order_of(files, batch_size=2, shuffle=False, order=None, shard=None, drop_last=False):
    return EpochOrder(files, batch_size, SEED, shuffle, order, shard, drop_last)


def whole(order, epoch=0):
    """All samples of an epoch, in their order."""
    batches = [order.samples(epoch, index) for index in range(order.batches_per_epoch)]
    return np.concatenate(batches).tolist()


def seeds_of(order, epoch=0):
    """The seeds of an epoch's samples, in their order."""
    batches = range(order.batches_per_epoch)
    return [
        seed
        for index in batches
        for seed in order.augment_seeds(epoch, index, order.samples(epoch, index))
    ]


# ---- orders that are drawn -----------------------------------------------------------------------


def test_seeds_decide_the_order():
    orders = {tuple(epoch_order(seed, 50, epoch)) for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25
    assert np.array_equal(epoch_order(3, 50, 4), epoch_order(3, 50, 4))


@settings(deadline=None)
@given(st.integers(0, 2**70), st.integers(1, 300), st.integers(0, 10**6))
def test_an_order_is_a_permutation(seed, count, epoch):
    assert sorted(epoch_order(seed, count, epoch)) == list(range(count))


def test_epochs_that_shuffle_have_this_order_and_others_that_of_the_files():
    order = order_of(9, shuffle=True)
    for epoch in (0, 5, 1, 0):  # whatever was drawn before
        assert whole(order, epoch) == epoch_order(SEED, 9, epoch).tolist()
    assert whole(order_of(9), 5) == whole(order.in_file_order(), 5) == list(range(9))


# ---- batches -------------------------------------------------------------------------------------


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


# ---- orders of the caller's own ------------------------------------------------------------------


@given(
    positions=st.lists(st.integers(0, 19), min_size=3, max_size=60),
    batch_size=st.integers(2, 9),
    shards=st.integers(1, 3),
)
def test_an_order_may_repeat_files_and_leave_some_out(positions, batch_size, shards):
    def order(epoch, rng):
        return positions[::-1] if epoch else positions

    parts = [order_of(20, batch_size, order=order, shard=(n, shards)) for n in range(shards)]
    steps = range(-(-len(positions) // (batch_size * shards)))
    assert {part.batches_per_epoch for part in parts} == {len(steps)}
    for epoch, expected in enumerate((positions, positions[::-1])):
        batches = [part.samples(epoch, step) for step in steps for part in parts]
        assert np.concatenate(batches).tolist() == expected
        assert all(1 <= len(batch) <= batch_size for batch in batches)


def test_an_order_gets_the_epoch_and_numbers_of_its_own():
    def order(epoch, rng):
        return [epoch, *rng.integers(0, 1000, 5)]

    first, other = order_of(1000, order=order), order_of(1000, order=order)
    drawn = {epoch: whole(first, epoch) for epoch in (3, 0, 1, 3)}
    assert drawn == {epoch: whole(other, epoch) for epoch in (0, 1, 3)}
    assert [positions[0] for positions in drawn.values()] == [3, 0, 1]
    assert len({tuple(positions[1:]) for positions in drawn.values()}) == 3


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        ([0.0, 1.0], r"order must return positions.* float64 of shape \(2,\) for epoch 0"),
        ([[0, 1]], r"int64 of shape \(1, 2\)"),
        ([], r"of shape \(0,\)"),
        ([True, False], "received bool"),
        (["a.png"], "received <U5"),
        ([0, 5], "positions from 0 to 4; received 0 to 5 for epoch 0"),
        ([3, -1], "received -1 to 3"),
    ],
)
def test_an_order_that_returns_no_positions_is_refused_at_once(pictures, positions, message):
    with pytest.raises(ValueError, match=message):
        Generator(pictures[:5], range(5), 2, order=lambda epoch, rng: positions)


def test_an_order_needs_as_many_positions_in_each_epoch_and_no_shuffle():
    order = order_of(9, order=lambda epoch, rng: range(9 - epoch))
    with pytest.raises(ValueError, match="order returned 7 positions for epoch 2, and 9 for"):
        order.prepare(2)
    with pytest.raises(ValueError, match=r"order= decides the order; .* without shuffle=True"):
        order_of(9, shuffle=True, order=lambda epoch, rng: range(9))
    with pytest.raises(ValueError, match="drop_last=True leaves nothing: 3 files"):
        order_of(9, 4, order=lambda epoch, rng: range(3), drop_last=True)


@pytest.mark.backends
@pytest.mark.parametrize("workers", [1, 3])
def test_an_order_may_look_at_what_a_callback_noted_of_the_last_epoch(pictures, workers):
    """It is not asked while Keras validates: some callbacks look at the validation first."""
    events = []
    wanted = list(range(20))

    def order(epoch, rng):
        events.append(f"order {epoch}")
        return wanted

    def end(epoch, logs):
        events.append(f"end {epoch}")
        wanted.append(wanted.pop(0))

    callback = keras.callbacks.LambdaCallback(on_epoch_end=end)
    validation = Generator(pictures[:6], range(6), 3)
    with Generator(pictures[:20], range(20), 3, order=order, workers=workers) as generator:
        got = fit(generator, 3, callbacks=[callback], validation_data=validation)
    assert events[-5:] == ["end 0", "order 1", "end 1", "order 2", "end 2"]
    assert set(events[:-5]) == {"order 0"}
    assert list(map(numbers_of, got)) == [[*range(n, 20), *range(n)] for n in range(3)]


# ---- random numbers of a sample ------------------------------------------------------------------


def test_seeds_of_a_sample_are_its_own_and_not_those_of_an_order():
    order = order_of(3, shuffle=True)
    seeds = [seed for epoch in (0, 1) for seed in seeds_of(order, epoch)]
    assert len(set(seeds)) == 6
    numbers = {np.random.default_rng(seed).random() for seed in seeds}
    numbers |= {np.random.default_rng((0, SEED, epoch)).random() for epoch in (0, 1)}
    numbers |= {np.random.default_rng(order.mixing_seed(0, index)).random() for index in (0, 1)}
    assert len(numbers) == 10


def test_a_file_that_comes_again_has_other_numbers_and_the_first_time_the_usual_ones():
    positions = [4, 2, 4, 4, 2, 0]
    seeds = seeds_of(order_of(5, order=lambda epoch, rng: positions), 1)
    usual = dict(zip(range(5), seeds_of(order_of(5), 1), strict=True))
    assert usual[2] == (AUGMENTING, SEED, 1, 2)
    assert [seeds[place] for place in (0, 1, 5)] == [usual[4], usual[2], usual[0]]
    assert seeds[2:5] == [(*usual[4], 1), (*usual[4], 2), (*usual[2], 1)]
    assert len({np.random.default_rng(seed).random() for seed in seeds}) == 6


# ---- all classes equally often -------------------------------------------------------------------


@settings(deadline=None)
@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6), data=st.data())
def test_each_class_comes_equally_often_and_its_files_do_to_within_one(sizes, data):
    numbers = data.draw(st.permutations(range(-3, 12)))  # class numbers, with gaps
    labels = np.repeat(numbers[: len(sizes)], sizes)
    labels = data.draw(st.randoms()).sample(labels.tolist(), len(labels))
    order = balanced_order(labels)
    each = len(labels) // len(sizes)
    positions = order(0, np.random.default_rng(1))
    times = np.bincount(positions, minlength=len(labels))
    for label, size in zip(numbers, sizes, strict=False):
        of_class = times[np.array(labels) == label]
        assert of_class.sum() == each
        assert set(of_class.tolist()) <= {each // size, -(-each // size)}
    again = order(0, np.random.default_rng(1))
    np.testing.assert_array_equal(positions, again)


def test_a_balanced_order_is_mixed_and_another_in_each_epoch(pictures):
    labels = np.repeat([0, 1], [60, 10])
    generator = Generator(pictures, labels, 7, order=balanced_order(labels))
    epochs = [
        np.concatenate([generator.samples(epoch, index) for index in range(10)])
        for epoch in range(4)
    ]
    for one, other in itertools.combinations(epochs, 2):
        assert (one != other).any()
    assert [int(labels[positions].sum()) for positions in epochs] == [35] * 4
    assert len(set().union(*map(set, epochs))) == 70  # what was left out comes in another epoch
    first_batches = [labels[positions[:7]].mean() for positions in epochs]
    assert 0 < np.mean(first_batches) < 1


@pytest.mark.parametrize(
    "labels", [[0.0, 1.0], np.eye(2, dtype=int), [], ["a", "b"], 3, [True, False]], ids=str
)
def test_a_balanced_order_of_what_are_no_classes(labels):
    with pytest.raises(ValueError, match="balanced_order needs a class number for each file"):
        balanced_order(labels)
