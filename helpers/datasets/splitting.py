"""Choose a part of the files: at random, with the same share of each class, in whole groups."""

from collections import Counter, defaultdict
from collections.abc import Mapping

import numpy as np

from helpers import arguments


def choose_part(count, labels, fraction, seed, stratify, groups):
    """Choose `fraction` of `count` files; see `ImageFiles.split`.

    Returns
    -------
    numpy.ndarray
        bool, of shape (count,): True where a file is in the part.
    """
    fraction = arguments.number("fraction", fraction, zero=False)
    if fraction >= 1:
        raise ValueError(f"fraction must be less than 1, such as 0.2; received {fraction}")
    stratify = arguments.yes_or_no("stratify", stratify)
    classes = _class_numbers(labels, count) if stratify else np.zeros(count, np.int64)
    rng = np.random.default_rng(seed)
    if groups is None:
        return _choose_files(classes, fraction, rng)
    return _choose_groups(classes, _group_numbers(groups, count), fraction, rng)


def _class_numbers(labels, count):
    array = np.asarray(labels)
    if array.shape != (count,) or array.dtype.kind not in "biu":
        found = "None" if labels is None else f"{array.dtype} of shape {array.shape}"
        raise ValueError(
            f"stratify=True needs labels that are class numbers, one for each of "
            f"{arguments.counted(count, 'file')}; "
            f"the labels are {found}. Pass stratify=False"
        )
    return np.unique(array, return_inverse=True)[1]


def _choose_files(classes, fraction, rng):
    """Choose a share of each class; a boolean array."""
    sizes = np.bincount(classes)
    numbers = _shares(sizes, fraction, rng)
    shuffled = rng.permutation(len(classes))
    by_class = shuffled[np.argsort(classes[shuffled], kind="stable")]
    position_in_class = np.arange(len(classes)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    chosen = np.zeros(len(classes), bool)
    chosen[by_class] = position_in_class < np.repeat(numbers, sizes)
    return chosen


def _shares(sizes, fraction, rng):
    """Round the share of each class so that they add up (the method of the largest remainder)."""
    total = round(fraction * sizes.sum())
    if not 0 < total < sizes.sum():
        raise ValueError(
            f"fraction={fraction} of {arguments.counted(sizes.sum(), 'file')} is {total:,}, which "
            f"leaves a part empty. Pass another fraction, or more files"
        )
    shares = np.round(fraction * sizes, 9)  # 0.07 * 100 is a bit more than 7
    numbers = np.floor(shares).astype(np.int64)
    remainders = shares - numbers
    later = (sizes == 1) == (fraction <= 0.5)  # a class of one file is to be in the larger part
    in_turn = np.lexsort((rng.random(len(sizes)), -remainders, later, remainders == 0))
    numbers[in_turn[: total - numbers.sum()]] += 1
    return numbers


def _group_numbers(groups, count):
    import pandas as pd  # which takes longer to import than a folder to list

    if isinstance(groups, Mapping):
        raise TypeError(
            "groups must be a list with a value for each file; received a "
            f"{type(groups).__name__}. Pass [groups[name] for name in files.filenames]"
        )
    numbers, values = pd.factorize(pd.Series(groups))
    if len(numbers) != count:
        raise ValueError(
            f"groups must have one value for each file; received "
            f"{arguments.counted(len(numbers), 'value')} for {arguments.counted(count, 'file')}"
        )
    missing = np.flatnonzero(numbers < 0)
    if len(missing):
        raise ValueError(
            f"groups must have a value for each file; "
            f"{arguments.counted(len(missing), 'is', 'are')} missing, the first at position "
            f"{missing[0]}. Give such files a group of their own, or leave them out"
        )
    if len(values) < 2:
        raise ValueError(
            f"groups are never divided, so two parts take two of them; received "
            f"{list(values)!r} for all files. Pass other groups, or none"
        )
    return numbers


def _choose_groups(classes, groups, fraction, rng):
    """Choose whole groups so that each class comes near to its share; a boolean array of files."""
    if fraction > 0.5:  # the smaller part is filled, so that some groups are left for the other
        return ~_choose_groups(classes, groups, 1 - fraction, rng)
    classes_in = defaultdict(list)  # of each group: (class, number of files)
    pairs = zip(groups.tolist(), classes.tolist(), strict=True)
    for (group, kind), number in Counter(pairs).items():
        classes_in[group].append((kind, number))
    sizes = np.bincount(groups)
    shuffled = rng.permutation(len(sizes))
    largest_first = shuffled[np.argsort(-sizes[shuffled], kind="stable")]
    seen, taken, chosen = Counter(), Counter(), np.zeros(len(sizes), bool)
    for group in largest_first.tolist():
        gain = 0.0  # how much less the squares of what lacks would be
        for kind, added in classes_in[group]:
            # Of what was seen so far, not of all files: the largest groups alone would be taken.
            seen[kind] += added
            gain += added * (2 * (fraction * seen[kind] - taken[kind]) - added)
        if gain > 0:
            chosen[group] = True
            for kind, added in classes_in[group]:
                taken[kind] += added
    if not chosen.any():
        chosen[largest_first[-1]] = True
    return chosen[groups]
