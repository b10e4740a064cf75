import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import MY_Generator, arguments


def refused(error, received):
    """The error that names an argument and shows the value received."""
    return pytest.raises(error, match=rf"(?s)thing must be.*; received {re.escape(received)}")


# ---- what MY_Generator refuses -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "error", "received"),
    [
        ("image_filenames", [], ValueError, "empty"),
        ("image_filenames", "photos", TypeError, "'photos'"),
        ("image_filenames", b"photos", TypeError, "b'photos'"),
        ("image_filenames", Path("photos"), TypeError, "photos"),
        ("image_filenames", ["a.png"], ValueError, "1 image_filenames and 2 labels"),
        ("image_filenames", ["a.png", None], TypeError, "None at position 1"),
        ("image_filenames", {"a.png", "b.png"}, TypeError, "a set"),
        ("image_filenames", np.array([["a.png", "b.png"]]), TypeError, "[['a.png', 'b.png']]"),
        ("labels", [1, 2, 3], ValueError, "2 image_filenames and 3 labels"),
        ("labels", [], ValueError, "2 image_filenames and 0 labels"),
        ("labels", 7, ValueError, "the single label 7"),
        ("labels", "cat", ValueError, "the single label cat"),
        ("labels", ["cat", "dog"], TypeError, "'cat' at position 0"),
        ("labels", [1, None], ValueError, "None at position 1"),
        ("labels", {"a.png": 0, "b.png": 1}, TypeError, "a dict"),
        ("order", [1, 0], TypeError, "[1, 0]"),
        ("augment_batch", "mixup", TypeError, "'mixup'"),
        ("sample_weight", [1, -1], ValueError, "-1"),
        ("labels", [[1, 2], [3]], ValueError, "the same shape for each file"),
        ("batch_size", 0, ValueError, "0"),
        ("batch_size", -1, ValueError, "-1"),
        ("batch_size", 2.0, TypeError, "2.0"),
        ("batch_size", True, TypeError, "True"),
        ("batch_size", "32", TypeError, "'32'"),
        ("batch_size", None, TypeError, "None"),
        ("image_size", (0, 5), ValueError, "0"),
        ("image_size", (5, -1), ValueError, "-1"),
        ("image_size", (5.5, 5), TypeError, "5.5"),
        ("image_size", 200, ValueError, "200"),
        ("image_size", (200,), ValueError, "(200,)"),
        ("image_size", (200, 200, 3), ValueError, "(200, 200, 3)"),
        ("dtype", "float64", ValueError, "'float64'"),
        ("dtype", float, ValueError, "float"),
        ("dtype", "junk", ValueError, "'junk'"),
        ("dtype", None, ValueError, "None"),
        ("dtype", ",", ValueError, "','"),
        ("on_error", "ignore", ValueError, "'ignore'"),
        ("on_error", None, ValueError, "None"),
        ("shuffle", "yes", TypeError, "'yes'"),
        ("shuffle", 1, TypeError, "1"),
        ("seed", -1, ValueError, "-1"),
        ("seed", 1.5, TypeError, "1.5"),
        ("seed", None, TypeError, "None"),
        ("augment", "flip", TypeError, "'flip'"),
        ("workers", -1, ValueError, "-1"),
        ("workers", 2.5, TypeError, "2.5"),
        ("use_multiprocessing", "no", TypeError, "'no'"),
        ("max_queue_size", 0, ValueError, "0"),
        ("shard", 1, ValueError, "1"),
        ("shard", (0,), ValueError, "(0,)"),
        ("shard", (2, 2), ValueError, "2"),
        ("shard", (-1, 2), ValueError, "-1"),
        ("shard", (0, 0), ValueError, "0"),
        ("shard", (0.0, 2), TypeError, "0.0"),
        ("shard", (0, 3), ValueError, "3 trainers"),
        ("timeout", 0, ValueError, "0"),
        ("timeout", -1, ValueError, "-1"),
        ("timeout", "x", ValueError, "'x'"),
        ("timeout", True, ValueError, "True"),
        ("timeout", float("nan"), ValueError, "nan"),
    ],
)
def test_a_wrong_argument_is_named_with_the_value_received(name, value, error, received):
    arguments = {"image_filenames": ["a.png", "b.png"], "labels": [0, 1], "batch_size": 2}
    with pytest.raises(error, match=re.escape(received)) as raised:
        MY_Generator(**{**arguments, name: value})
    assert name in str(raised.value)


def test_single_images_must_divide_among_the_shards():
    with pytest.raises(ValueError, match=r"3 files in batches of 1 .* 2 trainers"):
        MY_Generator(["a.png"] * 3, [0] * 3, 1, shard=(0, 2))


def test_a_list_of_no_files_says_where_files_come_from():
    with pytest.raises(TypeError, match="load_folder"):
        MY_Generator("photos/", [0], 1)


# ---- numbers -------------------------------------------------------------------------------------


@given(st.integers(-5, 5), st.integers(-5, 5))
def test_whole_number(value, at_least):
    if value >= at_least:
        assert arguments.whole_number("thing", value, at_least) == value
    else:
        with refused(ValueError, f"{value}"):
            arguments.whole_number("thing", value, at_least)


@pytest.mark.parametrize("value", [np.int32(4), np.uint8(4), np.int64(4)])
def test_a_whole_number_of_numpy_becomes_an_int(value):
    assert type(arguments.whole_number("thing", value, 1)) is int


@pytest.mark.parametrize("value", [4.0, "4", None, True, np.True_, [4], np.array([4])])
def test_what_is_no_whole_number(value):
    with refused(TypeError, repr(value)):
        arguments.whole_number("thing", value, 0)


@pytest.mark.parametrize("value", [1, 0.5, np.float32(2.5), np.int64(3)])
def test_number(value):
    assert arguments.number("thing", value) == value
    assert arguments.number("thing", value, zero=False) == value
    assert type(arguments.number("thing", value)) is float


def test_zero_may_be_refused():
    assert arguments.number("thing", 0) == 0
    with refused(ValueError, "0") as raised:
        arguments.number("thing", 0, zero=False)
    assert "more than 0" in str(raised.value)


@pytest.mark.parametrize("value", [-1, -0.5, float("nan"), float("inf")])
def test_a_number_is_not_negative_and_has_an_end(value):
    with refused(ValueError, repr(value)):
        arguments.number("thing", value)


@pytest.mark.parametrize("value", ["1", None, True, np.True_, [1], np.array([1.0]), 1j])
def test_what_is_no_number(value):
    with refused(TypeError, repr(value)):
        arguments.number("thing", value)


@pytest.mark.parametrize("value", [1, 0.5, 120.0, None])
def test_seconds(value):
    assert arguments.seconds("thing", value) == value


@pytest.mark.parametrize("value", [0, -1, -0.5, float("nan"), "1", True, [1]])
def test_what_is_no_time(value):
    with refused(ValueError, repr(value)):
        arguments.seconds("thing", value)


@pytest.mark.parametrize("value", [(3, 4), [3, 4], np.array([3, 4])])
def test_image_size(value):
    size = arguments.image_size(value)
    assert size == (3, 4)
    assert type(size) is tuple
    assert {type(side) for side in size} == {int}


@pytest.mark.parametrize(
    ("value", "side"), [((0, 4), "height"), ((4, 0), "width"), ((-1, 4), "height")]
)
def test_an_image_size_says_which_side_is_wrong(value, side):
    with pytest.raises(ValueError, match=f"{side} must be at least 1"):
        arguments.image_size(value)


# ---- words, switches and functions ---------------------------------------------------------------


def test_choice():
    assert arguments.choice("thing", "b", ("a", "b")) == "b"
    with refused(ValueError, "'c'") as raised:
        arguments.choice("thing", "c", ("a", "b"))
    assert "'a' or 'b'" in str(raised.value)


@pytest.mark.parametrize("value", ["float32", np.float32, np.dtype("float32"), "f4", "<f4"])
def test_dtype_name(value):
    assert arguments.dtype_name(value) == "float32"


@pytest.mark.parametrize("value", [True, False, np.True_, np.False_])
def test_yes_or_no(value):
    assert arguments.yes_or_no("thing", value) is bool(value)


@pytest.mark.parametrize("value", ["yes", 1, 0, None, []])
def test_what_is_neither_yes_nor_no(value):
    with refused(TypeError, repr(value)):
        arguments.yes_or_no("thing", value)


def test_function():
    assert arguments.function("thing", len, "of (x)") is len
    assert arguments.function("thing", None, "of (x)") is None
    with refused(TypeError, "'len'") as raised:
        arguments.function("thing", "len", "of (x)")
    assert "of (x)" in str(raised.value)


# ---- counts in messages --------------------------------------------------------------------------


def test_one_thing_is_not_called_many():
    counts = [arguments.counted(count, "file") for count in (0, 1, 2, 12_345)]
    assert counts == ["0 files", "1 file", "2 files", "12,345 files"]
    assert arguments.counted(1, "batch is", "batches are") == "1 batch is"
    assert arguments.counted(np.int64(2), "batch is", "batches are") == "2 batches are"


def test_a_type_is_named_with_its_article():
    kinds = [arguments.kind_of(value) for value in (3, [], np.zeros(2), OSError(), "")]
    assert kinds == ["an int", "a list", "an ndarray", "an OSError", "a str"]
