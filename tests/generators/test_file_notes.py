"""Files that were left out, and files that were read and may be wrong."""

import re
import warnings
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
from noting import SIZE, WAYS, Generator, checksums_of, fit, samples_of

from helpers import ImageError

# ---- files that were left out --------------------------------------------------------------------


@pytest.mark.parametrize("how", WAYS)
def test_broken_files_are_left_out_and_warned_about_once_an_epoch(
    pictures, broken_file, tmp_path, how
):
    missing = str(tmp_path / "missing.png")
    names = pictures[:20]
    names[2], names[13] = broken_file, missing
    expected = [sample for sample in checksums_of(pictures[:20]) if sample[0] not in (2, 13)]
    with (
        Generator(names, range(20), 4, on_error="skip", shuffle=True, **how) as generator,
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        epochs = fit(generator, epochs=3)
    assert [samples_of(epoch) for epoch in epochs] == [expected] * 3
    assert set(generator.skipped) == {broken_file, missing}
    assert "no image" in generator.skipped[broken_file]
    assert "cannot be opened" in generator.skipped[missing]
    messages = [str(one.message) for one in caught if "left out" in str(one.message)]
    assert len(messages) == 3
    for message in messages:
        assert message.startswith("2 of 20 files")
        assert broken_file in message
        assert missing in message


def test_a_warning_of_many_files_names_three(pictures, tmp_path):
    missing = [str(tmp_path / f"missing {number}.png") for number in range(5)]
    generator = Generator(pictures[:5] + missing, range(10), 10, on_error="skip")
    with pytest.warns(UserWarning, match=r"5 of 10 files.*missing 2\.png, … ") as caught:
        fit(generator)
    assert "missing 3" not in str(caught[0].message)
    assert len(generator.skipped) == 5


@pytest.mark.parametrize("how", WAYS)
def test_a_file_that_was_mended_is_not_listed_any_more(pictures, broken_file, how):
    names = [*pictures[:3], broken_file]
    with Generator(names, range(4), 4, on_error="skip", **how) as generator:
        assert len(generator[0][0]) == 3
        assert set(generator.skipped) == {broken_file}
        Path(broken_file).write_bytes(Path(pictures[0]).read_bytes())
        assert len(generator[0][0]) == 4
        assert generator.skipped == {}


@pytest.mark.parametrize("how", WAYS)
def test_predictions_belong_to_the_files_that_were_not_skipped(
    pictures, broken_file, tmp_path, how
):
    names = [pictures[0], broken_file, *pictures[1:9], str(tmp_path / "missing.png"), pictures[9]]
    with Generator(names, range(12), 4, on_error="skip", **how) as generator:
        model = keras.Sequential([keras.Input((*SIZE, 3)), keras.layers.GlobalAveragePooling2D()])
        predictions = model.predict(generator, verbose=0)
        read = [name for name in generator.filenames if name not in generator.skipped]
    assert read == pictures[:10]
    means = [Generator([name], [0], 1)[0][0].mean(axis=(1, 2)) for name in read]
    np.testing.assert_allclose(predictions, np.concatenate(means), rtol=0, atol=1e-6)


def test_a_batch_of_broken_files_only_is_an_error_that_names_them(pictures, broken_file):
    generator = Generator([*pictures[:2], broken_file], range(3), 2, on_error="skip")
    assert len(generator[0][0]) == 2
    with pytest.raises(ImageError, match=re.escape(broken_file)):
        generator[1]
    with pytest.raises(Exception, match=r"broken\.png"):
        fit(generator)


@pytest.mark.parametrize("how", WAYS)
def test_values_of_12_bits_are_warned_about_once_a_run_with_the_largest(pictures, save, how):
    deep = [
        save(cv2.imencode(".png", np.full((5, 7), largest, np.uint16))[1].tobytes(), f"{largest}")
        for largest in (4095, 4094)
    ]
    names = [pictures[0], deep[0], pictures[1], deep[1]]
    with (
        Generator(names, range(4), 2, **how) as generator,
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        fit(generator, epochs=3)
    [warning] = [str(one.message) for one in caught if "may be wrong" in str(one.message)]
    assert re.search("409[45] was read, and may be wrong: .*no value above 4,09[45]", warning)
    assert sorted(name for name, _ in generator.suspect) == sorted(deep)
    assert all("nearly black" in line for _, line in generator.suspect)


def test_a_suspect_file_that_was_mended_is_not_listed_any_more(pictures, save):
    deep = save(cv2.imencode(".png", np.full((5, 7), 4095, np.uint16))[1].tobytes())
    generator = Generator([pictures[0], deep], range(2), 2)
    with pytest.warns(UserWarning, match="may be wrong"):
        generator[0]
    assert [name for name, _ in generator.suspect] == [deep]
    Path(deep).write_bytes(Path(pictures[0]).read_bytes())
    generator[0]
    assert generator.suspect == []


@pytest.mark.backends
def test_a_loop_warns_of_files_that_were_left_out(pictures, broken_file):
    names = [*pictures[:9], broken_file]
    generator = Generator(names, range(10), 5, on_error="skip", workers=2)
    for _ in range(2):
        with pytest.warns(UserWarning, match=r"1 of 10 files .* left out of epoch"):
            assert sum(len(labels) for _, labels in generator) == 9
