import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers import load_table
from helpers.datasets import tables

NAMES = ["b.png", "a.png", "sub/c.png", "a.png"]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in NAMES:
        (tmp_path / name).touch()
    return tmp_path


def table_of(**columns):
    return pd.DataFrame({"filename": NAMES, "class": list("xyxz")} | columns)


def test_words_are_classes_in_alphabetical_order_and_rows_keep_theirs(folder, monkeypatch):
    table = table_of(**{"class": ["dog", "Cat", "dog", "ant"]})
    table.to_csv(folder / "table.csv", index=False)
    for given in (table, folder / "table.csv", table.astype({"class": "category"})):
        files = load_table(given, folder)
        assert files.filenames == [os.path.join(folder, name) for name in NAMES]  # noqa: PTH118
        assert all(type(name) is str for name in files.filenames)
        assert files.class_names == ("Cat", "ant", "dog")
        assert files.labels.tolist() == [2, 0, 2, 1] and files.labels.dtype == np.int64
        assert files.sample_weight is None
    monkeypatch.chdir(folder)
    assert load_table("table.csv").filenames == NAMES
    paths = table_of(filename=[folder / name for name in NAMES])
    assert load_table(paths, "elsewhere").filenames == [str(folder / name) for name in NAMES]


@pytest.mark.parametrize(
    ("column", "dtype"),
    [
        ([3, 1, 2, 3], np.int64),
        (pd.array([3, 1, 2, 3], "Int64"), np.int64),
        (pd.Series([3, 1, 2, 3], dtype="category"), np.int64),
        ([True, False, True, True], np.int64),
        ([0.5, 1, -2, 0], np.float64),
        (pd.Series([0.5, 1, 2, 3], dtype=object), np.float64),
    ],
)
def test_numbers_stay_numbers(folder, column, dtype):
    files = load_table(table_of(age=column), folder, label="age")
    assert files.labels.dtype == dtype and files.labels.tolist() == list(column)
    assert files.class_names == ()


def test_several_columns_no_labels_and_weights(folder):
    table = table_of(x=[1, 2, 3, 4], y=[0.5, 0, 0, 1], w=[1, 0.5, 2, 3])
    files = load_table(table.rename(columns={"filename": "id"}), folder, "id", ["x", "y"], "w")
    assert files.labels.tolist() == [[1, 0.5], [2, 0], [3, 0], [4, 1]]
    assert files.sample_weight.tolist() == [1, 0.5, 2, 3]
    assert sorted(files.shuffled(1).sample_weight) == [0.5, 1, 2, 3]
    files = load_table(table, folder, label=None)
    assert files.labels is None and files.class_names == ()


def test_names_in_a_csv_file_may_look_like_numbers(tmp_path):
    (tmp_path / "0001").touch()
    (tmp_path / "table.csv").write_text("filename,class\n0001,x\n0001,y\n")
    assert load_table(tmp_path / "table.csv", tmp_path).filenames == [str(tmp_path / "0001")] * 2


def test_a_test_table_has_the_class_numbers_of_the_training(folder):
    train = load_table(table_of(), folder)
    rows = table_of().iloc[2:]
    test = load_table(rows, folder, class_names=train.class_names)
    assert test.class_names == ("x", "y", "z") and test.labels.tolist() == [0, 2]


# ---- files ---------------------------------------------------------------------------------------


def test_folders_are_listed_once_and_files_that_are_there_are_not_asked_for(folder, monkeypatch):
    names = [f"{number}.png" for number in range(300)]
    for name in names:
        (folder / name).touch()
    (folder / "link.png").symlink_to(folder / "0.png")
    names = [
        *NAMES,
        *names,
        "link.png",
        "s3://bucket/cat.png",
        "https://example.org/x.png",
        "x.pack#7",
    ]
    listed, asked = [], []
    scandir, isfile = os.scandir, os.path.isfile
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(path) or scandir(path))
    monkeypatch.setattr(os.path, "isfile", lambda path: asked.append(path) or isfile(path))
    files = load_table(pd.DataFrame({"filename": names}), folder, label=None)
    assert sorted(listed) == [str(folder), str(folder / "sub")] and asked == []
    assert files.filenames[-3:-1] == ["s3://bucket/cat.png", "https://example.org/x.png"]


def test_a_file_in_a_folder_that_may_not_be_listed_is_there_all_the_same(folder, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert len(load_table(table_of(), folder).filenames) == 4


def test_all_missing_files_are_counted_and_20_are_named(folder):
    (folder / "dead.png").symlink_to(folder / "gone")
    gone = [f"sub/{number:02}.png" for number in range(30)]
    names = ["a.png", "dead.png", "sub", *gone, "sub/00.png", "b.png"]
    with pytest.raises(FileNotFoundError) as error:
        load_table(pd.DataFrame({"filename": names}), folder, label=None)
    first, *lines, last = str(error.value).splitlines()
    assert first.startswith("32 files that the table names are missing (looked from ")
    named = [Path(line.removeprefix("- ")).relative_to(folder).as_posix() for line in lines]
    assert named == ["dead.png", "sub", *gone[:18]]
    assert last == "… and 12 more"


# ---- what is wrong with a table ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "options", "error", "words"),
    [
        ({}, {"label": "age"}, ValueError, "column 'age'; its columns are ['filename', 'class']"),
        ({}, {"filename": "id"}, ValueError, "must have one column 'id'"),
        ({}, {"weight": "w"}, ValueError, "must have one column 'w'"),
        (
            {"class": ["x", None, "y", None]},
            {},
            ValueError,
            "'class' has no value in 2 rows: 1, 3 (",
        ),
        ({"filename": ["a.png", None, *NAMES[2:]]}, {}, ValueError, "dropna(subset=['filename'])"),
        ({"w": [1, np.nan, 1, 1]}, {"weight": "w"}, ValueError, "'w' has no value in 1 row: 1 ("),
        ({"filename": ["a.png", 7, *NAMES[2:]]}, {}, TypeError, "received 7 in row 1"),
        ({"class": ["x", 1, "y", 2]}, {}, TypeError, "words); received mixed-integer values"),
        ({"w": list("abcd")}, {"weight": "w"}, TypeError, "'w' must hold numbers"),
        ({"x": list("abcd")}, {"label": ["x"]}, TypeError, "'x' must hold numbers"),
        ({}, {"class_names": ["x", "y"]}, ValueError, "1 word that class_names lacks: ['z']"),
        ({}, {"class_names": "xyz"}, TypeError, "class_names must be a list"),
        ({}, {"class_names": ["x", "y"], "label": None}, ValueError, "label=None gives none"),
    ],
)
def test_columns_that_cannot_be_used_are_named(folder, columns, options, error, words):
    with pytest.raises(error, match=re.escape(words)):
        load_table(table_of(**columns), folder, **options)


def test_what_is_no_table_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no table '.*\.csv' \(looked from"):
        load_table(tmp_path / "table.csv")
    with pytest.raises(TypeError, match=r"a pandas.DataFrame; received a list"):
        load_table(NAMES)
    with pytest.raises(ValueError, match="no rows"):
        load_table(table_of().iloc[:0])
    for number, content in enumerate([b"", b"\xff\xd8\xff\xe0", b'a,b\n1,2\n1,2,3\n"']):
        path = tmp_path / f"{number}.csv"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"csv' cannot be read as a CSV file: .* with pandas"):
            load_table(path)
    assert tables.MOST_NAMED == 20
