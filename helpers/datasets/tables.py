"""Your own pictures: image files that a table names, with their labels. No picture is read here."""

import os
import reprlib
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import arguments
from helpers.datasets.image_files import ImageFiles, WeightedImageFiles, check_class_names
from helpers.images import packs

MOST_NAMED = 20  # missing files in an error


def load_table(
    table, folder="", filename="filename", label="class", weight=None, *, class_names=None
):
    """List the image files that a table names.

    Parameters
    ----------
    table : str, Path or pandas.DataFrame
        A CSV file with a line of column names, or a table in memory. (In a CSV file pandas takes
        "NA" and "None" for missing values; of classes with such names, make the DataFrame with
        ``pandas.read_csv(..., keep_default_na=False)``.)
    folder : str or Path, optional
        Where names begin that are not absolute. Default: the current folder.
    filename : str, default="filename"
        The column with the names of the files. A file may come several times.
    label : str, list of str or None, default="class"
        The column with the labels: words, which are classes, or numbers, which stay what they are
        (True and False are 1 and 0). A list of columns with numbers gives a row for each file.
        None: there are no labels.
    weight : str, optional
        A column with numbers: the weight of each file, which becomes ``files.sample_weight``.
    class_names : list or tuple of str, optional
        All classes, in the order of their labels, as ``train.class_names`` for a test table.
        Default: the words that are there, in alphabetical order.

    Returns
    -------
    ImageFiles
        In the order of the table. Labels of classes are int64. Other numbers are int64 or
        float64, of shape (files,) or (files, columns), and there are no `class_names`.

    Raises
    ------
    FileNotFoundError
        If the CSV file is missing, or files that the table names: the message lists 20 of them.
        (Names with "://", such as s3://bucket/cat.png, are not looked for.)
    TypeError
        If `table` is something else, or a name of a file, a label or a weight is.
    ValueError
        If the CSV file cannot be read; the table is empty, lacks a column, or a value in one;
        a word is not in `class_names`.
    """
    table = _read(table, filename)
    names = _filenames(table, filename, os.fspath(folder))
    labels, class_names = _labels(table, label, class_names)
    _refuse_missing(names)
    files = ImageFiles(names, labels, class_names)
    if weight is None:
        return files
    return WeightedImageFiles(*files).with_weights(_numbers(table, weight))


def _read(table, filename):
    if not isinstance(table, pd.DataFrame):
        table = _read_csv(table, filename)
    if not len(table):
        raise ValueError("the table has no rows: there is nothing to load")
    return table


def _read_csv(path, filename):
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(
            f"table must be the path of a CSV file or a pandas.DataFrame; received a "
            f"{type(path).__name__}"
        )
    try:
        # Files may be named 0001. Pandas would guess types chunk by chunk, but for low_memory.
        return pd.read_csv(path, dtype={filename: str}, low_memory=False)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"There is no table {os.fspath(path)!r} (looked from {str(Path.cwd())!r}). Give a CSV "
            f"file or a pandas.DataFrame."
        ) from None
    except ValueError as error:
        raise ValueError(
            f"{os.fspath(path)!r} cannot be read as a CSV file: {str(error).strip()}. Read it "
            f"with pandas, and pass the DataFrame"
        ) from error


def _column(table, name):
    """Return a column in which no value is missing."""
    columns = list(table.columns)
    if columns.count(name) != 1:
        raise ValueError(
            f"the table must have one column {name!r}; its columns are {columns}. Say which one to "
            f"take with filename=, label= or weight= (label=None if there are no labels)"
        )
    missing = np.flatnonzero(table[name].isna())
    if len(missing):
        rows = ", ".join(map(str, missing[:5])) + (", …" if len(missing) > 5 else "")
        raise ValueError(
            f"column {name!r} has no value in {arguments.counted(len(missing), 'row')}: {rows} "
            f"(counted from 0). Fill in what is missing, or leave such rows out: pass "
            f"table.dropna(subset=[{name!r}])"
        )
    # What is categorical or nullable becomes plain.
    return table[name].astype(object).infer_objects()


def _labels(table, label, class_names):
    """Return labels, and the names of their classes if they are words."""
    several = isinstance(label, (list, tuple))
    if label is not None and not several:
        column = _column(table, label)
        if _kind(column) == "string":
            return _classes(column, label, class_names)
    if class_names is not None:
        raise ValueError(f"class_names takes words as labels, but label={label!r} gives none")
    if label is None:
        return None, ()
    if several:
        return np.column_stack([_numbers(table, name) for name in label]), ()
    return _numbers(table, label), ()


def _kind(column):
    return pd.api.types.infer_dtype(column, skipna=False)


def _classes(words, label, class_names):
    if class_names is not None:
        check_class_names(class_names)
    found = sorted(set(words))
    class_names = tuple(found if class_names is None else class_names)
    unknown = [word for word in found if word not in class_names]
    if unknown:
        raise ValueError(
            f"column {label!r} has {arguments.counted(len(unknown), 'word')} that class_names "
            f"lacks: {reprlib.repr(unknown)}. Add what is missing, or leave such rows out"
        )
    numbers = {name: number for number, name in enumerate(class_names)}
    return words.map(numbers).to_numpy(np.int64), class_names


def _numbers(table, name):
    column = _column(table, name)
    values = column.to_numpy()
    if values.dtype.kind not in "biuf":
        raise TypeError(
            f"column {name!r} must hold numbers (or, as the only label, words); received "
            f"{_kind(column)} values, the first is {values[0]!r}"
        )
    return values.astype(np.int64) if values.dtype.kind == "b" else values


# ---- files ---------------------------------------------------------------------------------------


def _filenames(table, column, folder):
    names = list(_column(table, column))
    for row, name in enumerate(names):
        if not isinstance(name, (str, os.PathLike)):
            raise TypeError(
                f"column {column!r} must hold names of files; received {name!r} in row {row} "
                f"(counted from 0)"
            )
    return [_full_name(folder, os.fspath(name)) for name in names]


def _full_name(folder, name):
    return name if "://" in name else os.path.join(folder, name)  # noqa: PTH118 - names are str


def _refuse_missing(names):
    """List each folder once, as to ask for each file takes long on a network."""
    listed, missing = {}, {}
    for name in names:
        if "://" in name or packs.is_packed(name):
            continue
        folder, file = os.path.split(name)
        if folder not in listed:
            listed[folder] = _files_in(folder)
        # It may be there all the same: under a name in other case, in a folder not to be listed.
        if file not in listed[folder] and not os.path.isfile(name):  # noqa: PTH113
            missing[name] = None
    if missing:
        some = "\n- ".join(list(missing)[:MOST_NAMED])
        more = f"\n… and {len(missing) - MOST_NAMED:,} more" if len(missing) > MOST_NAMED else ""
        raise FileNotFoundError(
            f"{arguments.counted(len(missing), 'file')} that the table names "
            f"{'is' if len(missing) == 1 else 'are'} missing (looked from "
            f"{str(Path.cwd())!r}; folder= says where names begin):\n- {some}{more}"
        )


def _files_in(folder):
    try:
        with os.scandir(folder or os.curdir) as entries:
            return {entry.name for entry in entries if entry.is_file()}
    except OSError:
        return set()
