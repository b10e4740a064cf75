"""A data set: names of files, a label for each, and the names of the classes."""

import html
import os
import reprlib
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from helpers import arguments
from helpers.datasets.splitting import choose_part
from helpers.samples import ArrayIndexed

MOST_SHOWN = 20  # rows of the table that a data set is printed as


class ImageFiles(NamedTuple):
    """Image files and their labels: `filenames[i]` shows a `class_names[labels[i]]`.

    It prints itself as a table of its classes.

    Attributes
    ----------
    filenames : sequence of str
    labels : numpy.ndarray or None
        Classes: int64, as long as `filenames`, from 0 to ``len(class_names) - 1``. Other targets,
        of a table: numbers of shape (files,) or (files, columns). None if there are no labels.
    class_names : tuple of str
        Empty if the labels are no classes.
    """

    filenames: Sequence[str]
    labels: np.ndarray
    class_names: tuple[str, ...]

    @property
    def sample_weight(self):
        """Weight of each file, of shape (files,), if `load_table` was given weights; or None."""
        return None

    def select(self, indices):
        """Return the files at `indices` (a sequence of int), in that order."""
        indices = np.asarray(indices, dtype=np.int64)
        if isinstance(self.filenames, ArrayIndexed):
            filenames = self.filenames[indices]
        else:
            filenames = [self.filenames[i] for i in indices]
        labels = None if self.labels is None else self.labels[indices]
        return self._replace(filenames=filenames, labels=labels)

    def without(self, filenames):
        """Return the files but for those of these names, such as ``generator.skipped``."""
        names = {os.fspath(name) for name in filenames}
        kept = [i for i, name in enumerate(self.filenames) if os.fspath(name) not in names]
        return self.select(kept)

    def shuffled(self, seed=0):
        """Return the files in a random order, the same for the same `seed`.

        Folders list one class after another: a batch cut from such a list shows one class.
        """
        return self.select(np.random.default_rng(seed).permutation(len(self.filenames)))

    def split(self, fraction=0.2, seed=0, stratify=True, groups=None):
        """Divide the files at random, such as into those to train on and those to validate with.

        Parameters
        ----------
        fraction : float, default=0.2
            Share of the files in the second part, between 0 and 1.
        seed : int, default=0
            The same seed gives the same parts.
        stratify : bool, default=True
            Whether both parts get the same share of each class, to within one file. (A class of
            one file goes to the larger part, if the number of files allows it.)
        groups : sequence, optional
            A value for each file, such as its patient or its video. Files with the same value stay
            together. Numbers of files are then as near to `fraction` as groups, taken one after
            the other, the largest first, make them.

        Returns
        -------
        rest, part : ImageFiles
            Each file is in one of them, in the order of the files. `part` has
            ``round(fraction * files)`` files, but with `groups`.

        Raises
        ------
        TypeError
            If `fraction` is no number, `stratify` is not True or False, or `groups` has no order.
        ValueError
            If `fraction` is not between 0 and 1, or so that a part would be empty. If `stratify` is
            True and the labels are no class numbers. If `groups` has not one value for each file,
            or only one for all.

        Examples
        --------
        >>> train, validation = load_folder("photos").split(0.2)
        """
        count = len(self.filenames)
        chosen = choose_part(count, self.labels, fraction, seed, stratify, groups)
        return self.select(np.flatnonzero(~chosen)), self.select(np.flatnonzero(chosen))

    def __repr__(self):
        heading, table, more = _description(self)
        shown = [] if table is None else [table.to_string(index=False)]
        return "\n".join([heading, *shown, *more])

    def _repr_html_(self):
        heading, table, more = _description(self)
        shown = [] if table is None else [table.to_html(index=False)]
        lines = [f"<p>{html.escape(line)}</p>" for line in (heading, *more)]
        return "\n".join([lines[0], *shown, *lines[1:]])


class WeightedImageFiles(ImageFiles):
    """Image files that have a weight each, which goes with them into every selection.

    The weights are no field: ``filenames, labels, class_names = files`` goes on working.
    """

    sample_weight = None

    def select(self, indices):
        """Return the files at `indices` (a sequence of int), in that order."""
        selected = super().select(indices)
        return selected.with_weights(self.sample_weight[np.asarray(indices, dtype=np.int64)])

    def with_weights(self, sample_weight):
        """Return the same files with these weights, an array of shape (files,)."""
        files = type(self)(*self)
        files.sample_weight = sample_weight
        return files

    def _replace(self, **fields):
        return super()._replace(**fields).with_weights(self.sample_weight)


def check_class_names(names):
    """Refuse what is no list of two classes or more; they are to differ."""
    received = f"received {reprlib.repr(names)}"  # cut short if it is long
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"class_names must be a list or tuple of strings; {received}")
    if len(names) < 2:
        raise ValueError(f"class_names must name two classes or more; {received}")
    repeated = [name for name, times in Counter(names).items() if times > 1]
    if repeated:
        raise ValueError(f"class_names must name {repeated[0]!r} only once; {received}")


# ---- print ---------------------------------------------------------------------------------------


def _description(files):
    """Return a heading, a table or None, and lines that say what the table lacks."""
    count = len(files.filenames)
    heading = arguments.counted(count, "image file")
    if files.sample_weight is not None and count:
        lowest, highest = files.sample_weight.min(), files.sample_weight.max()
        heading += f", weights from {lowest:g} to {highest:g}"
    if count and not files.class_names:
        heading += f", the first is {_shown_name(files, 0)}"
    if files.labels is None:
        return f"{heading}, no labels", None, []
    rows = _rows(files, np.asarray(files.labels), count)
    if rows is None:
        return heading, None, []
    more = [f"… {len(rows) - MOST_SHOWN:,} more"] if len(rows) > MOST_SHOWN else []
    return heading, rows.head(MOST_SHOWN), more


def _rows(files, labels, count):
    """Return a table with a row for each class, or for each number that a label has; or None."""
    import pandas as pd  # as above

    if files.class_names and labels.shape == (count,):
        found = np.unique(labels, return_index=True, return_counts=True)
        of_class = {
            number: (amount, _shown_name(files, first))
            for number, first, amount in zip(*found, strict=True)
        }
        rows = [(name, *of_class.get(n, (0, ""))) for n, name in enumerate(files.class_names)]
        return pd.DataFrame(rows, columns=["class", "files", "first file"])
    if labels.dtype.kind in "biuf" and labels.size:
        columns = labels.reshape(len(labels), -1)
        lowest, highest = columns.min(axis=0), columns.max(axis=0)
        table = {"label": range(columns.shape[1]), "lowest": lowest, "highest": highest}
        return pd.DataFrame(table)
    return None


def _shown_name(files, position):
    return os.path.basename(files.filenames[position])  # noqa: PTH119 - may be a str or a Path
