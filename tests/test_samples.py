import datetime
import mmap
import os
import re
from collections import OrderedDict
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import ImageFiles
from helpers.images.pack_layout import PIXELS, PLACES
from helpers.images.packs import PackedNames
from helpers.samples import ArrayIndexed, check_samples

# ---- names ---------------------------------------------------------------------------------------

NAN = float("nan")


def files(count):
    return [f"{number}.png" for number in range(count)]


def test_samples_are_copies():
    names, labels = ["a.png", "b.png"], np.array([1, 2])
    kept_names, kept_labels = check_samples(names, labels)
    names[0], labels[0] = "c.png", 3
    assert kept_names == ["a.png", "b.png"]
    assert kept_labels.tolist() == [1, 2]


def test_samples_may_come_from_any_iterable():
    numbers = (number for number in range(3))
    names, labels = check_samples((f"{n}.png" for n in range(3)), numbers)
    assert names == ["0.png", "1.png", "2.png"]
    assert labels.tolist() == [0, 1, 2]


def test_a_name_is_text_or_a_path(tmp_path):
    (tmp_path / "c.png").touch()
    names = ["a.png", np.str_("b.png"), Path("c.png"), *os.scandir(tmp_path)]
    assert check_samples(names, range(4))[0] == names


MISSING = [None, NAN, np.float32("nan"), pd.NA, pd.NaT, np.datetime64("NaT")]


@given(
    st.lists(st.sampled_from(["a.png", Path("b.png"), *MISSING, b"c.png", 7, np.zeros(2)])).filter(
        lambda names: any(not isinstance(name, (str, Path)) for name in names)
    )
)
def test_the_first_of_other_things_than_names_is_shown_with_its_position(names):
    wrong = [place for place, name in enumerate(names) if not isinstance(name, (str, Path))]
    with pytest.raises(TypeError) as raised:
        check_samples(names, range(len(names)))
    message = str(raised.value)
    assert f"received {names[wrong[0]]!r} at position {wrong[0]}" in message
    assert (f"(and {len(wrong) - 1} more)" in message) == (len(wrong) > 1)


@pytest.mark.parametrize("value", MISSING, ids=repr)
@pytest.mark.parametrize("kind", [list, tuple, iter, pd.Series, lambda n: np.array(n, object)])
def test_a_hole_in_a_column_of_names_is_refused_with_the_line_that_mends_it(kind, value):
    names = kind([*files(17), value, "b.png"])
    with pytest.raises(TypeError, match=r"at position 17\. .*table\.dropna"):
        check_samples(names, range(19))


@pytest.mark.parametrize(
    "value", [None, NAN, pd.NA, "", object()], ids=lambda value: type(value).__name__
)
def test_an_array_of_strings_may_know_missing_names(value):
    kind = np.dtypes.StringDType(na_object=value)
    whole = np.array(files(20), kind)
    assert check_samples(whole, range(20))[0] is whole
    whole[[17, 19]] = value
    found = re.escape(f"{value!r} at position 17 (and 1 more)")
    with pytest.raises(TypeError, match=rf"{found}\. .*table\.dropna"):
        check_samples(whole, range(20))


@pytest.mark.parametrize("names", [[b"a.png", b"b.png"], np.array([b"a.png", b"b.png"])])
def test_bytes_are_refused_with_the_line_that_makes_names_of_them(names):
    with pytest.raises(TypeError, match=r"b'a\.png'\)? at position 0") as raised:
        check_samples(names, range(2))
    mended = eval(str(raised.value).split("bytes: ")[1], {"os": os, "image_filenames": names})
    assert check_samples(mended, range(2))[0] == ["a.png", "b.png"]


def test_a_table_is_no_list_of_names():
    with pytest.raises(TypeError, match="must be a list of files"):
        check_samples(pd.DataFrame({"filename": ["a.png"]}), [0])


# ---- labels --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "value"),
    [
        ([0, 1, None, None], "None"),
        ([0, 1, NAN, NAN], "nan"),
        (np.array([0, 1, NAN, NAN], np.float16), "nan"),
        ([[0, 1], [1, 2], [NAN, NAN], [0, NAN]], "nan"),
        ([[0, 1], [1, 2], [3, None], [None, 4]], "None"),
        (np.array([0, 1, NAN, NAN], object), "nan"),
        (pd.Series([[0, 1], [1, 2], [3, None], [None, 4]]), "None"),
        (np.ma.array([0, 1, 2, 3], mask=[0, 0, 1, 1]), "None"),
        ([0, True, pd.NA, pd.NA], "<NA>"),
        ([0, Decimal(1), Decimal("nan"), NAN], "Decimal('NaN')"),
        (["cat", "dog", NAN, None], "nan"),
        ([["cat"], ["dog"], [NAN], [None]], "nan"),
        (pd.Series(["cat", "dog", None, None]), "nan"),
        (pd.Series(["cat", "dog", None, None], dtype="category"), "nan"),
        (pd.Series([1, 2, None, None], dtype="Int64"), "nan"),
        (pd.Series([True, False, None, None], dtype="boolean"), "<NA>"),
        (pd.Series([1, 2, None, None], dtype="category"), "nan"),
        (np.array(["a", "b", None, None], np.dtypes.StringDType(na_object=None)), "None"),
        ((label for label in [0, 1, None, None]), "None"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_missing_label_is_shown_with_its_position(labels, value):
    found = re.escape(f"received {value} at position 2 (and 1 more)")
    with pytest.raises(ValueError, match=rf"{found}\. .*table\.dropna"):
        check_samples(files(4), labels)


@given(st.lists(st.sampled_from([0.0, 1.5, np.inf, -np.inf, NAN]), min_size=1))
def test_every_label_may_be_a_number_and_none_may_be_nan(labels):
    if np.isnan(labels).any():
        with pytest.raises(ValueError, match=f"nan at position {np.isnan(labels).argmax()}"):
            check_samples(files(len(labels)), labels)
    else:
        assert check_samples(files(len(labels)), labels)[1].tolist() == labels


@pytest.mark.parametrize("hole", ["filename", "label"])
def test_the_line_for_a_table_with_holes_mends_it(hole):
    table = pd.DataFrame({"filename": files(3), "label": ["1", "2", "3"]})
    table.loc[1, hole] = None
    table["label"] = table["label"].astype(float)
    with pytest.raises((TypeError, ValueError)) as raised:
        check_samples(table["filename"], table["label"])
    line = str(raised.value).split("of a table, table = ")[1]
    table = eval(line, {"table": table})
    names, labels = check_samples(table["filename"], table["label"])
    assert names == ["0.png", "2.png"]
    assert labels.tolist() == [1, 3]


WORDS = {
    "list": list,
    "tuple": tuple,
    "array": np.array,
    "bytes": lambda words: np.array(words, "S"),
    "StringDType": lambda words: np.array(words, np.dtypes.StringDType()),
    "objects": lambda words: np.array(words, object),
    "series": lambda words: pd.Series(words, index=[5] * len(words)),
    "index": pd.Index,
    "categorical": pd.Categorical,
    "categories": lambda words: pd.Series(words, dtype="category"),
}


@pytest.mark.parametrize("kind", WORDS.values(), ids=WORDS)
@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        (["dog", "cat", "dog"], [1, 0, 1]),
        (["10", "9", "10"], [10, 9, 10]),
        (["0.5", "1", "2"], [0.5, 1, 2]),
    ],
)
def test_words_are_refused_with_the_line_that_makes_numbers_of_them(kind, words, numbers):
    labels = kind(words)
    with pytest.raises(TypeError, match=rf"'{words[0]}' at position 0 \(and 2 more\)") as raised:
        check_samples(files(3), labels)
    variables = {"np": np, "labels": labels}
    exec(re.split(": |, class_names", str(raised.value))[-1], variables)
    array = check_samples(files(3), variables["labels"])[1]
    assert array.tolist() == numbers
    assert array.dtype == np.array(numbers).dtype


def test_the_first_word_among_numbers_is_found():
    with pytest.raises(TypeError, match="'cat' at position 1"):
        check_samples(files(3), [0, "cat", 1])


@pytest.mark.parametrize(
    ("labels", "numbers", "kind"),
    [
        ([True, False], [True, False], "bool"),
        (np.array([1, 2], np.uint8), [1, 2], "uint8"),
        (np.array([1, 0.5], np.float16), [1, 0.5], "float16"),
        ([0.5, np.inf], [0.5, np.inf], "float64"),
        (np.zeros((2, 0)), [[], []], "float64"),
        (np.array([1, True], object), [1, 1], "int64"),
        (np.array([True, False], object), [True, False], "bool"),
        (np.array([np.float32(0.5), 2], object), [0.5, 2], "float64"),
        ([Decimal("0.5"), 2], [0.5, 2], "float64"),
        ([Fraction(1, 2), np.True_], [0.5, 1], "float64"),
        (pd.Series([1, 2], dtype="Int64"), [1, 2], "int64"),
        (pd.Series([7, 8], index=[1, 1], dtype="category"), [7, 8], "int64"),
        (pd.Index([7, 8]), [7, 8], "int64"),
        (pd.Series([[0, 1], [1, 0]]), [[0, 1], [1, 0]], "int64"),
        (pd.DataFrame({"x": [1, 2], "y": [0.5, 3]}, index=[4, 4]), [[1, 0.5], [2, 3]], "float64"),
        (zip([0, 1], [1, 0], strict=True), [[0, 1], [1, 0]], "int64"),
        ((3, 4), [3, 4], "int64"),
        ([[0, 1], [1, 0]], [[0, 1], [1, 0]], "int64"),
        ([np.array([0, 1]), np.array([1, 0])], [[0, 1], [1, 0]], "int64"),
        (np.ma.array([1, 2], np.float32), [1, 2], "float32"),
    ],
)
def test_labels_are_numbers_in_any_form(labels, numbers, kind):
    array = check_samples(files(2), labels)[1]
    assert array.tolist() == numbers
    assert array.dtype == kind


@pytest.mark.parametrize(
    ("labels", "received"),
    [
        (pd.to_datetime(["2020-01-01", "2021-01-01"]), "datetime64"),
        (np.array([1, 2], "timedelta64[s]"), "timedelta64"),
        ([1, 2j], "complex128"),
        (np.array([1, 2j], object), "complex128"),
        (np.zeros(2, [("x", int), ("y", int)]), "'x'"),
        ([0, datetime.date(2020, 1, 1)], "datetime.date(2020, 1, 1) at position 1"),
        ([{"x": 1}, {"x": 2}], "{'x': 1} at position 0 (and 1 more)"),
        (pd.period_range("2020", "2021", freq="Y"), "Period('2020', 'Y-DEC') at position 0"),
    ],
)
def test_labels_that_are_neither_numbers_nor_words(labels, received):
    with pytest.raises(TypeError, match=rf"must be numbers.*{re.escape(received)}"):
        check_samples(files(2), labels)


# ---- files and labels belong together by position ------------------------------------------------

TABLE = {"a.png": 0, "b.png": 1}
WITHOUT_POSITIONS = {
    "set": set(TABLE),
    "frozenset": frozenset(TABLE),
    "dict": TABLE,
    "OrderedDict": OrderedDict(TABLE),
    "dict_keys": TABLE.keys(),
    "dict_values": TABLE.values(),
    "dict_items": TABLE.items(),
}


@pytest.mark.parametrize("name", ["image_filenames", "labels"])
@pytest.mark.parametrize(("kind", "values"), WITHOUT_POSITIONS.items(), ids=WITHOUT_POSITIONS)
def test_what_has_no_positions_is_refused(name, kind, values):
    samples = {"image_filenames": files(2), "labels": [0, 1], name: values}
    with pytest.raises(TypeError, match=rf"{name} must be a list.* a {kind}, .* Pass a list"):
        check_samples(*samples.values())


# ---- labels in a mapped file ---------------------------------------------------------------------


@pytest.fixture
def mapped(tmp_path):
    """Labels in a file, one of them NaN."""
    labels = np.memmap(tmp_path / "labels", np.float32, "w+", shape=(3, 2))
    labels[1] = NAN
    return labels


@pytest.mark.parametrize("view", [lambda m: m, lambda m: m[::-1], np.asarray, lambda m: m.T[:1].T])
def test_labels_in_a_mapped_file_are_neither_copied_nor_searched(mapped, view):
    labels = view(mapped)
    assert check_samples(files(3), labels)[1] is labels


def test_a_file_may_be_mapped_without_numpy(mapped):
    with Path(mapped.filename).open("rb") as file:
        opened = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    labels = np.frombuffer(opened, np.float32)
    assert check_samples(files(6), labels)[1] is labels


def test_what_was_read_of_a_mapped_file_is_checked_as_all_else(mapped):
    read = mapped[[0, 2]]
    assert not np.shares_memory(check_samples(files(2), read)[1], read)
    with pytest.raises(ValueError, match="nan at position 1"):
        check_samples(files(3), mapped.copy())
    with pytest.raises(ValueError, match="3 labels"):
        check_samples(files(2), mapped)


def test_a_mapped_file_of_dates_is_refused(mapped):
    with pytest.raises(TypeError, match="datetime64"):
        check_samples(files(3), mapped.view("datetime64[s]")[:, 0])


# ---- what an array can index ---------------------------------------------------------------------

COMPACT = {
    "strings": np.array(["a.png", "b.png", "c.png"]),
    "StringDType": np.array(["a.png", "b.png", "c.png"], np.dtypes.StringDType()),
    "pack": PackedNames("c.pack", np.zeros(3, PLACES[PIXELS])),
}


@pytest.mark.parametrize("names", COMPACT.values(), ids=COMPACT)
def test_names_that_an_array_can_index_are_kept_and_selected_as_they_are(names):
    assert isinstance(names, ArrayIndexed)
    assert check_samples(names, range(3))[0] is names
    some = ImageFiles(names, np.arange(3), ("x",)).select([2, 0])
    assert type(some.filenames) is type(names)
    assert list(some.filenames) == [names[2], names[0]]


@pytest.mark.parametrize("kind", [list, tuple, pd.Series, lambda names: np.array(names, object)])
def test_names_of_other_kinds_become_a_list(kind):
    names = check_samples(kind(["a.png", "b.png"]), range(2))[0]
    assert names == ["a.png", "b.png"] and type(names) is list


def test_an_array_is_no_sequence_all_the_same():
    """TensorFlow and others ask that, and would take an array apart."""
    assert not isinstance(np.arange(3), Sequence)
    assert isinstance(COMPACT["pack"], Sequence)
