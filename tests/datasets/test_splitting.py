import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from helpers import ImageFiles

fractions = st.integers(1, 99).map(lambda percent: percent / 100)


def files_of(labels, class_names=()):
    return ImageFiles([f"{n}.png" for n in range(len(labels))], np.asarray(labels), class_names)


def numbers_of(files):
    return [int(name.removesuffix(".png")) for name in files.filenames]


def assert_divided(files, rest, part):
    """Each file is in one part, with its own label, in the order of the files."""
    for some in (rest, part):
        numbers = numbers_of(some)
        assert numbers and numbers == sorted(numbers)
        np.testing.assert_array_equal(some.labels, files.labels[numbers])
        assert some.class_names == files.class_names
    assert sorted(numbers_of(rest) + numbers_of(part)) == list(range(len(files.filenames)))


@given(
    sizes=st.lists(st.integers(0, 30), min_size=1, max_size=8),
    fraction=fractions,
    seed=st.integers(0, 9),
)
@example(sizes=[1, 6, 6], fraction=0.2, seed=0)
@example(sizes=[5, 1, 1, 1], fraction=0.2, seed=0)
@example(sizes=[100, *8 * [1]], fraction=0.07, seed=0)  # 0.07 * 100 is a bit more than 7
def test_shares_of_classes_are_kept_to_within_one_file(sizes, fraction, seed):
    total = round(fraction * sum(sizes))
    assume(0 < total < sum(sizes))
    order = np.random.default_rng(seed).permutation(sum(sizes))
    files = files_of(np.repeat(np.arange(len(sizes)), sizes)[order], tuple(map(str, sizes)))
    rest, part = files.split(fraction, seed)
    assert_divided(files, rest, part)
    assert len(part.filenames) == total
    shares = fraction * np.array(sizes)
    counts = np.bincount(part.labels, minlength=len(sizes))
    assert (abs(counts - shares) < 1 - 1e-6).all()
    # What is rounded up lacked as much as what is rounded down, or more.
    up, down = counts > shares + 1e-6, counts < shares - 1e-6
    several = np.array(sizes) > 1
    remainders = shares % 1
    if (up & several).any() and (down & several).any():
        assert remainders[up & several].min() >= remainders[down & several].max() - 1e-6
    assert numbers_of(files.split(fraction, seed)[1]) == numbers_of(part)


@pytest.mark.parametrize("fraction", [0.2, 0.8])
def test_a_class_of_one_file_goes_to_the_larger_part(fraction):
    files = files_of([0] * 6 + [1] * 6 + [2])
    larger = [files.split(fraction, seed)[round(fraction)] for seed in range(20)]
    assert all(2 in part.labels for part in larger)


def test_seeds_give_all_files_the_same_chance():
    files = files_of([0] * 3 + [1] * 7)
    times = np.zeros(10)
    for seed in range(400):
        times[numbers_of(files.split(0.3, seed)[1])] += 1
    assert (abs(times / 400 - 0.3) < 0.1).all()  # more than four standard deviations


@pytest.mark.parametrize("labels", [np.linspace(0, 1, 10), np.eye(10), None])
def test_labels_that_are_no_classes_are_split_without_stratify_only(labels):
    files = files_of(range(10))._replace(labels=labels)
    with pytest.raises(ValueError, match=r"the labels are (None|float64 .*)\. Pass stratify=False"):
        files.split()
    rest, part = files.split(0.3, stratify=False)
    assert sorted(numbers_of(rest) + numbers_of(part)) == list(range(10))
    assert len(part.filenames) == 3
    if labels is None:
        assert rest.labels is None and part.labels is None
    else:
        np.testing.assert_array_equal(part.labels, labels[numbers_of(part)])


# ---- groups --------------------------------------------------------------------------------------


@given(
    groups=st.lists(st.sampled_from("abcdefghij"), min_size=2, max_size=80),
    fraction=fractions,
    seed=st.integers(0, 9),
    stratify=st.booleans(),
)
def test_groups_are_never_divided_and_sizes_are_near(groups, fraction, seed, stratify):
    assume(len(set(groups)) > 1)
    files = files_of(np.random.default_rng(seed).integers(0, 3, len(groups)))
    rest, part = files.split(fraction, seed, stratify, groups)
    assert_divided(files, rest, part)
    one, other = ({groups[number] for number in numbers_of(some)} for some in (rest, part))
    assert not one & other
    again = files.split(fraction, seed, stratify, np.array(groups))[1]
    assert numbers_of(again) == numbers_of(part)
    if not stratify:
        sizes = np.unique(groups, return_counts=True)[1]
        off = abs(len(part.filenames) - fraction * len(groups))
        smaller = min(rest, part, key=lambda some: len(some.filenames))
        assert off <= sizes.max() / 2 + 1e-6 or len(smaller.filenames) == sizes.min()


def test_classes_keep_their_shares_as_near_as_groups_allow():
    rng = np.random.default_rng(0)
    patients = rng.permutation(np.repeat(np.arange(100), rng.integers(1, 40, 100)))
    ill = rng.random(100) < 0.3  # a patient's pictures are mostly of one class
    labels = np.where(rng.random(len(patients)) < 0.9, ill[patients], ~ill[patients]).astype(int)
    for seed in range(5):
        for stratify in (True, False):
            part = files_of(labels).split(0.2, seed, stratify, [(n, "id") for n in patients])[1]
            share = np.bincount(part.labels) / np.bincount(labels)
            assert (abs(share - 0.2) < (0.01 if stratify else 0.2)).all()
            # Of large groups and of small ones: not the largest alone.
            assert 15 <= len(set(patients[numbers_of(part)])) <= 25


# ---- what cannot be split ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"fraction": 0}, ValueError, "fraction must be more than 0; received 0"),
        ({"fraction": 1}, ValueError, "fraction must be less than 1, such as 0.2; received 1"),
        ({"fraction": "0.2"}, TypeError, "fraction must be a number; received '0.2'"),
        ({"fraction": 0.04}, ValueError, "of 10 files is 0, which leaves a part empty"),
        ({"fraction": 0.96}, ValueError, "of 10 files is 10, which leaves a part empty"),
        ({"stratify": 1}, TypeError, "stratify must be True or False; received 1"),
        ({"groups": "abc"}, ValueError, "received 1 value for 10 files"),
        ({"groups": range(9)}, ValueError, "received 9 values for 10 files"),
        ({"groups": ["a"] * 10}, ValueError, "received ['a'] for all files"),
        ({"groups": ["a"] * 8 + [None] * 2}, ValueError, "2 are missing, the first at position 8"),
        ({"groups": pd.Series([1, float("nan")] * 5)}, ValueError, "5 are missing"),
        ({"groups": {f"{n}.png": n for n in range(10)}}, TypeError, "received a dict"),
    ],
)
def test_what_cannot_be_split_is_refused_in_words(options, error, words):
    with pytest.raises(error, match=re.escape(words)):
        files_of([0, 1] * 5).split(**options)
