import re
from pathlib import Path

import keras
import numpy as np
import pytest

from helpers import CIFAR10Sequence, MY_Generator, checks
from helpers.checks import check_machine, check_sequence


class Numbers(keras.utils.PyDataset):
    """A correct sequence of 10 samples in batches of 4; the tests break it."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        count = 2 if index == 2 else 4
        return np.full((count, 2, 2, 3), index, np.float32), np.arange(count)


class Changed(Numbers):
    """Its batches, as `change` (index, images, labels) makes them."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def __getitem__(self, index):
        return self.change(index, *super().__getitem__(index))


def report(sequence, capsys):
    """Whether it is right, and the lines that were printed."""
    return check_sequence(sequence), capsys.readouterr().out.splitlines()


def failures(sequence, capsys):
    right, lines = report(sequence, capsys)
    failed = [line for line in lines if line.startswith("[FAIL]")]
    assert right == (not failed)
    return failed


def test_a_correct_sequence_passes(capsys):
    assert report(Numbers(), capsys) == (
        True,
        [
            "[OK]   length: 3 batches",
            "[OK]   each batch: (images, labels)",
            "[OK]   samples: 10 images, 4 in a batch, 2 in the last",
            "[OK]   shape of an image: (2, 2, 3)",
            "[OK]   type of the values: float32",
            "[OK]   values: all finite",
            "[OK]   range of the images: 0 to 2, within -10 to 10, as standardized images have",
            "[OK]   asked again, backwards: gives the same batches",
        ],
    )


def test_our_own_classes_pass_but_for_the_textbooks_float64(pictures, capsys):
    pngs = pictures[::2]
    assert failures(MY_Generator(pngs, range(35), 8, shuffle=True), capsys) == []
    [failure] = failures(CIFAR10Sequence(pngs[:6], range(6), 4), capsys)
    assert "float64" in failure


class FloatLength(Numbers):
    def __len__(self):
        return np.ceil(2.5)


class Empty(Numbers):
    def __len__(self):
        return 0


class LabelTooFew(Numbers):
    def __getitem__(self, index):
        images, labels = super().__getitem__(index)
        return images, labels[1:]


class ShortFirst(Numbers):
    def __getitem__(self, index):
        return super().__getitem__((index + 2) % 3)


class TwoShapes(Numbers):
    def __getitem__(self, index):
        images, labels = super().__getitem__(index)
        return (images[:, :1] if index == 1 else images), labels


class TwoTypes(Numbers):
    def __getitem__(self, index):
        images, labels = super().__getitem__(index)
        return (images.astype(np.uint8) if index == 1 else images), labels


class NotFinite(Numbers):
    def __getitem__(self, index):
        images, labels = super().__getitem__(index)
        return images * np.nan, labels


class Random(Numbers):
    rng = np.random.default_rng(0)

    def __getitem__(self, index):
        images, labels = super().__getitem__(index)
        return images + self.rng.random(dtype=np.float32), labels


@pytest.mark.parametrize(
    ("broken", "line"),
    [
        (FloatLength, "length"),
        (Empty, "length: 0"),
        (LabelTooFew, "batch 0 has 4 images and 3 labels"),
        (ShortFirst, "samples"),
        (TwoShapes, "shape of an image"),
        (TwoTypes, "type of the values: float32 and uint8"),
        (NotFinite, "values"),
        (Random, "asked again"),
    ],
)
def test_a_broken_contract_is_named(broken, line, capsys):
    found = failures(broken(), capsys)
    assert any(line in failure for failure in found), found


def masks(images, corner=0):
    """Masks of images of 2×2 pixels: the upper row `corner` and 0, the lower one 1."""
    return np.tile(np.float32([[[corner], [0]], [[1], [1]]]), (len(images), 1, 1, 1))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda _, x, y: x, "each batch: (images)"),
        (lambda _, x, y: (x, None), "each batch: (images)"),
        (lambda _, x, y: [x, y], "each batch: (images, labels)"),
        (lambda _, x, y: {"b": x, "a": y}, "each batch: (x['a'], x['b'])"),
        (lambda _, x, y: {"b": x, "a": y}, "shape of an image: (2, 2, 3)"),
        (lambda i, x, y: {"a": x, "b": np.array(["w" * i] * len(x))}, "(x['a'], x['b'])"),
        (lambda _, x, y: ((y, x), [y, {"boxes": y}]), "(x[0], x[1], y[0], y[1]['boxes'])"),
        (lambda _, x, y: (x, y, y + 1.0), "each batch: (images, labels, sample_weight)"),
        (lambda _, x, y: (x, y, y + 1.0), "sample_weight: 1 to 4"),
        (lambda _, x, y: (x, masks(x).astype("uint8")), "masks: values 0 to 1, integers"),
        (lambda _, x, y: (x, masks(x)[..., 0]), "masks: values 0 to 1, integers"),
        (lambda _, x, y: (x, {"m": masks(x) > 0}), "masks y['m']: values 0 to 1, integers"),
    ],
)
def test_any_batch_that_keras_takes_is_understood(change, line, capsys):
    right, lines = report(Changed(change), capsys)
    assert right, lines
    assert any(line in printed for printed in lines), lines


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda _, x, y: (x, y, y, y), "each batch: expected (x, y, sample_weight) at most"),
        (lambda _, x, y: (x, list(y)), "y[0] is np.int64(0), no array of numbers (make lists"),
        (lambda _, x, y: (x, y.astype(object)), "y is array([0, 1, 2, 3], dtype=object), no array"),
        (lambda _, x, y: (x[..., 0], y), "each batch: expected an array of (images, height,"),
        (lambda i, x, y: (x, y) if i else x, "batch 1 has (images, labels), batch 0 has (images)"),
        (lambda i, x, y: (x, {"a": y, "b": y[1:]}), "batch 0 has 4 images and 3 in y['b']"),
        (lambda i, x, y: (x, y, y[i:] + 1), "batch 1 has 4 images and 3 in sample_weight"),
        (lambda i, x, y: x[:0] if i == 2 else x, "batch 2 has 0 images"),
        (lambda i, x, y: (x, [y, y.repeat(2 * i + 2).reshape(len(y), -1)]), "shape of y[1]: (2,)"),
        (lambda i, x, y: (x, y / i if i else y), "type of labels: float64 and int64"),
        (lambda i, x, y: (x, np.where(y == 1, -np.inf, y)), "infinite or not a number: labels"),
        (
            lambda i, x, y: (x, y, np.where(y == 1, np.inf, y)),
            "infinite or not a number: sample_weight",
        ),
        (lambda i, x, y: (x, y, y - 1.0), "sample_weight: -1 to 2: none may be negative"),
        (lambda i, x, y: (x, y, [y, y * 0]), "sample_weight[1]: 0 to 0: nothing would be learned"),
        (lambda i, x, y: (x, 3 * masks(x, 0.4)), "masks: 25 % of the values lie between integers"),
    ],
)
def test_a_broken_structure_is_named(change, line, capsys):
    found = failures(Changed(change), capsys)
    assert any(line in failure for failure in found), found


def test_pictures_to_learn_are_no_masks(capsys):
    right, lines = report(Changed(lambda _, x, y: (x, masks(x) * 0.5 + 0.2)), capsys)
    assert right
    assert not any("masks" in line for line in lines)


@pytest.mark.parametrize(
    ("low", "high", "dtype", "line"),
    [
        (0, 1, "float32", "[OK]   range of the images: 0 to 1, within 0 to 1"),
        (0, 1 + 2e-7, "float32", "[OK]   range of the images: 0 to 1, within 0 to 1"),  # rounded
        (-1, 0.5, "float32", "[OK]   range of the images: -1 to 0.5, within -1 to 1"),
        (-2.1, 2.6, "float32", "-2.1 to 2.6, within -10 to 10, as standardized images have"),
        (3, 255, "float32", "[OK]   range of the images: 3 to 255, within 0 to 255"),
        (-123.7, 151, "float32", "-124 to 151, within -128 to 152, as 0 to 255 without its mean"),
        (3, 9, "uint8", "[OK]   range of the images: 3 to 9, within 0 to 255"),
        (0, 1 / 255, "float32", "0 to 0.00392, nearly black: divided by 255 once too often?"),
        (0, 1, "uint8", "0 to 1, nearly black: divided by 255 once too often?"),
        (0, 0, "float32", "[FAIL] range of the images: 0 to 0: there is nothing to see"),
        (0, 4095, "float32", "0 to 4095: models expect 0 to 1, -1 to 1 or 0 to 255. Where you"),
        (-3, 255, "float32", "[FAIL] range of the images: -3 to 255: models expect"),
    ],
)
def test_the_range_of_all_batches_is_one_that_models_expect(low, high, dtype, line, capsys):
    def change(index, images, labels):
        return np.full_like(images, (high, low, low)[index], dtype), labels

    right, lines = report(Changed(change), capsys)
    [printed] = [printed for printed in lines if "range" in printed]
    assert line in printed
    assert right == printed.startswith("[OK]")


def test_this_machine_is_ready(capsys):
    assert check_machine()
    assert "[FAIL]" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("PYTHON_VERSIONS", ((3, 14), (3, 15)), "[FAIL] Python"),
        ("LIBRARIES", ("no-such-library",), "no-such-library: not installed: run %pip install -e"),
        ("SAMPLE_BYTES", 10**18, "1,000,000,000,000 MB needed. Free some space, or name another"),
    ],
)
def test_what_is_missing_is_named(name, value, line, capsys, monkeypatch):
    monkeypatch.setattr(checks, name, value)
    assert not check_machine()
    assert line in capsys.readouterr().out


def test_what_is_to_be_installed_is_this_project(capsys, monkeypatch):
    monkeypatch.setattr(checks, "LIBRARIES", ("no-such-library",))
    check_machine()
    named = re.search('%pip install -e "(.*)"', capsys.readouterr().out)[1]
    assert (Path(named) / "pyproject.toml").exists()


def test_a_folder_for_the_data_that_cannot_be_made_is_named_in_one_line(
    tmp_path, capsys, monkeypatch
):
    file = tmp_path / "file"
    file.touch()
    for folder in (file, file / "below"):
        monkeypatch.setenv("BIGGER_THAN_MEMORY_DATA", str(folder))
        assert not check_machine()
        [line] = [line for line in capsys.readouterr().out.splitlines() if "[FAIL]" in line]
        assert f"{folder} cannot be written (" in line
        assert line.endswith("another folder in the environment variable BIGGER_THAN_MEMORY_DATA")


def test_a_folder_for_the_data_that_is_named_is_made(tmp_path, capsys, monkeypatch):
    folder = tmp_path / "a" / "b"
    monkeypatch.setenv("BIGGER_THAN_MEMORY_DATA", str(folder))
    assert check_machine()
    assert folder.is_dir() and not list(folder.iterdir())
