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


def failures(sequence, capsys):
    right = check_sequence(sequence)
    lines = capsys.readouterr().out.splitlines()
    failed = [line for line in lines if line.startswith("[FAIL]")]
    assert right == (not failed)
    return failed


def test_a_correct_sequence_passes(capsys):
    assert failures(Numbers(), capsys) == []


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


class ImagesAlone(Numbers):
    def __getitem__(self, index):
        return super().__getitem__(index)[0]


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
        (ImagesAlone, "each batch"),
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


def test_this_machine_is_ready(capsys):
    assert check_machine()
    assert "[FAIL]" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("PYTHON_VERSIONS", ((3, 14), (3, 15)), "[FAIL] Python"),
        ("LIBRARIES", ("no-such-library",), "no-such-library: not installed"),
        ("DATA_DIR", "/no/such/folder", "[FAIL] folder for the data"),
        ("SAMPLE_BYTES", 10**18, "[FAIL] folder for the data"),
    ],
)
def test_what_is_missing_is_named(name, value, line, capsys, monkeypatch):
    monkeypatch.setattr(checks, name, value)
    assert not check_machine()
    assert line in capsys.readouterr().out
