import os
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import child
from skimage.io import imread

from helpers.datasets import sample
from helpers.datasets.drawings import CLASS_NAMES, draw_picture, draw_with_mask

# ---- load_sample ---------------------------------------------------------------------------------


@pytest.fixture
def small_sample(monkeypatch):
    monkeypatch.setattr(sample, "SAMPLE_SIZES", {"train": 3, "test": 2})


def file_times(folder):
    return {str(path): path.stat().st_mtime_ns for path in folder.glob("*/*/*.png")}


def test_load_sample_has_2000_and_500_pictures(tmp_path, monkeypatch, capfd):
    picture = np.zeros((32, 32, 3), np.uint8)
    monkeypatch.setattr(sample, "draw_picture", lambda class_name, rng: picture)
    train, test = sample.load_sample(tmp_path)
    assert (len(train.filenames), len(test.filenames)) == (2000, 500)
    assert train.class_names == test.class_names == tuple(CLASS_NAMES)
    assert np.bincount(train.labels).tolist() == [200] * 10
    assert np.bincount(test.labels).tolist() == [50] * 10
    assert sorted(os.listdir(tmp_path)) == ["sample", "sample.lock"]  # noqa: PTH208
    assert "2500/2500" in capfd.readouterr().err


def test_load_sample_has_the_drawings_of_its_seeds(tmp_path, small_sample):
    train, test = sample.load_sample(tmp_path)
    for split_number, files in enumerate((train, test)):
        for name, label in zip(files.filenames, files.labels, strict=True):
            rng = np.random.default_rng([split_number, label, int(Path(name).stem)])
            np.testing.assert_array_equal(imread(name), draw_picture(CLASS_NAMES[label], rng))


def test_masks_are_those_of_the_drawings(tmp_path, small_sample):
    pairs = zip(sample.load_sample(tmp_path), sample.load_sample_masks(tmp_path), strict=True)
    for split_number, (pictures, masks) in enumerate(pairs):
        for picture, mask, label in zip(
            pictures.filenames, masks.filenames, pictures.labels, strict=True
        ):
            rng = np.random.default_rng([split_number, label, int(Path(picture).stem)])
            drawn = draw_with_mask(CLASS_NAMES[label], rng)
            for file, expected in zip((picture, mask), drawn, strict=True):
                np.testing.assert_array_equal(imread(file), expected)


def test_load_sample_draws_once(tmp_path, small_sample, capfd):
    first, _ = sample.load_sample(tmp_path)
    times = file_times(tmp_path)
    capfd.readouterr()
    (tmp_path / "sample").chmod(0o555)  # and reading it needs no permission to write
    again, _ = sample.load_sample(str(tmp_path))
    (tmp_path / "sample").chmod(0o755)
    assert again.filenames == first.filenames
    assert file_times(tmp_path) == times
    assert capfd.readouterr() == ("", "")


def test_load_sample_draws_what_was_deleted(tmp_path, small_sample, monkeypatch):
    train, _ = sample.load_sample(tmp_path)
    pictures = {name: Path(name).read_bytes() for name in train.filenames}
    times = file_times(tmp_path / "sample")
    deleted = [name for name in train.filenames if "frog" in name] + [train.filenames[0]]
    for name in deleted:
        Path(name).unlink()
    (tmp_path / "sample/train/frog").rmdir()
    (tmp_path / "sample/train/cat/my own.png").touch()  # must not make up for a missing one
    drawn = []

    def draw(class_name, rng):
        drawn.append(class_name)
        return draw_picture(class_name, rng)

    monkeypatch.setattr(sample, "draw_picture", draw)
    again, _ = sample.load_sample(tmp_path)
    assert drawn == ["airplane", "frog", "frog", "frog"]
    assert len(again.filenames) == 31
    assert {name: Path(name).read_bytes() for name in train.filenames} == pictures
    now = file_times(tmp_path / "sample")
    assert {name for name in times if now[name] != times[name]} == set(deleted)


CHILD = """
import sys, time
from helpers.datasets import sample
sample.SAMPLE_SIZES = {"train": 3, "test": 2}
draw = sample.draw_picture
def draw_slowly(class_name, rng):
    time.sleep(0.02)
    return draw(class_name, rng)
sample.draw_picture = draw_slowly
train, test = sample.load_sample(sys.argv[1])
print(len(train.filenames), len(test.filenames))
"""


def test_load_sample_after_it_was_killed(tmp_path, small_sample):
    partial = tmp_path / "sample.partial"
    with child(CHILD, tmp_path) as process:
        deadline = time.monotonic() + 20
        while len(file_times(partial)) < 20:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.kill()
        process.wait(timeout=10)
    written = file_times(partial)
    assert len(written) < 50
    assert not (tmp_path / "sample").exists()
    train, test = sample.load_sample(tmp_path)
    assert (len(train.filenames), len(test.filenames)) == (30, 20)
    assert not partial.exists()
    now = file_times(tmp_path / "sample")
    assert [now[name.replace("sample.partial", "sample")] for name in written] == [
        *written.values()
    ]


def test_load_sample_in_two_processes_at_once(tmp_path):
    with child(CHILD, tmp_path) as one, child(CHILD, tmp_path) as two:
        outputs = [process.communicate(timeout=60) for process in (one, two)]
    assert [out.splitlines()[-1] for out, _ in outputs] == ["30 20", "30 20"], outputs
    assert sum("50/50" in err for _, err in outputs) == 1  # one drew, the other waited
    assert sum("waiting for it" in out for out, _ in outputs) == 1
