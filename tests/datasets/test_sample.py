import os
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import child
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.io import imread

from helpers.datasets import folders as datasets
from helpers.datasets.drawings import CLASS_NAMES, draw_picture


def make_files(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


# ---- load_folder ---------------------------------------------------------------------------------


def test_load_folder(tmp_path):
    make_files(tmp_path, "dog/b.jpg", "cat/2.png", "dog/a.jpg", "cat/10.png", "cat/1.png")
    files = datasets.load_folder(tmp_path)
    assert isinstance(files, datasets.ImageFiles)
    names = ["cat/1.png", "cat/10.png", "cat/2.png", "dog/a.jpg", "dog/b.jpg"]
    assert files.filenames == [os.path.join(tmp_path, *name.split("/")) for name in names]  # noqa: PTH118
    assert all(type(name) is str for name in files.filenames)
    assert files.labels.tolist() == [0, 0, 0, 1, 1]
    assert files.labels.dtype == np.int64
    assert files.class_names == ("cat", "dog")


@pytest.mark.parametrize("path", ["photos", "photos/", Path("photos"), "./photos"])
def test_load_folder_keeps_the_path_as_given(tmp_path, monkeypatch, path):
    make_files(tmp_path, "photos/cat/1.png", "photos/dog/1.png")
    monkeypatch.chdir(tmp_path)
    files = datasets.load_folder(path)
    assert files.filenames[0] == os.path.join(path, "cat", "1.png")  # noqa: PTH118


def test_load_folder_reads_every_ending_in_any_case(tmp_path):
    endings = ["jpg", "jpeg", "png", "bmp", "webp", "tif", "tiff", "gif"]
    names = [f"cat/1.{e}" for e in endings] + [f"dog/1.{e.upper()}" for e in endings]
    make_files(tmp_path, *names, "dog/2.Jpg")
    assert len(datasets.load_folder(tmp_path).filenames) == 17


def test_load_folder_ignores_hidden_files_and_those_of_windows(tmp_path):
    make_files(tmp_path, "cat/1.png", "dog/1.png", ".cache/1.png", ".DS_Store", "desktop.ini")
    make_files(tmp_path, "cat/.2.png", "cat/Thumbs.db", "dog/.ipynb_checkpoints/1.png")
    make_files(tmp_path, "labels.csv", "README.md")  # beside the class folders: no pictures
    files = datasets.load_folder(tmp_path)
    assert [Path(name).name for name in files.filenames] == ["1.png", "1.png"]
    assert files.class_names == ("cat", "dog")


# Any letters, marks, numbers, punctuation, symbols (emoji) and spaces, of any script.
names_of_any_script = st.text(
    st.characters(categories=("L", "M", "N", "P", "S", "Zs"), exclude_characters='/\\:*?"<>|'),
    min_size=1,
    max_size=20,
).filter(lambda name: name.strip(" .") == name and name.lower() != "thumbs.db")


@settings(max_examples=50, deadline=None)
@given(
    classes=st.lists(names_of_any_script, min_size=2, max_size=4, unique_by=str.casefold),
    image=names_of_any_script,
)
def test_load_folder_with_names_of_any_script(tmp_path_factory, classes, image):
    folder = tmp_path_factory.mktemp("photos")
    make_files(folder, *(f"{name}/{image}.JPG" for name in classes))
    files = datasets.load_folder(folder)
    assert files.class_names == tuple(sorted(classes))
    expected = [str(folder / name / f"{image}.JPG") for name in sorted(classes)]
    assert files.filenames == expected


@pytest.mark.parametrize("name", ["my cat", "猫", "кошка", "🐈", "قطة"])
def test_load_folder_with_names_like_these(tmp_path, name):
    make_files(tmp_path, f"{name}/{name} 1.jpeg", "0 other/x.png")
    files = datasets.load_folder(tmp_path)
    assert files.class_names == ("0 other", name)
    assert Path(files.filenames[1]).is_file()


def test_load_folder_without_a_folder(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        datasets.load_folder(tmp_path / "photo")
    assert repr(str(tmp_path / "photo")) in str(error.value)
    assert str(Path.cwd()) in str(error.value)
    make_files(tmp_path, "cat.zip")
    with pytest.raises(NotADirectoryError, match=r"cat\.zip' is a file"):
        datasets.load_folder(tmp_path / "cat.zip")


@pytest.mark.parametrize(
    ("names", "messages"),
    [
        (["notes.txt"], ["holds no class folders", "<class name>"]),
        (["1.jpg", "2.jpg"], ["2 images outside any class folder", "'1.jpg'", "<class name>"]),
        (["cat/1.jpg", "dog/1.jpg", "x.PNG"], ["1 images outside any class folder ('x.PNG')"]),
        (["cat/1.jpg"], ["only one class, 'cat'"]),
        (["cat/1.jpg", "dog/.hidden"], ["dog' is empty", "remove it"]),
        (
            ["cat/1.jpg", *(f"dog/{i}.txt" for i in range(5)), "dog/5.jpg"],
            ["dog' holds 5 files that are no images", "('0.txt', '1.txt', '2.txt', …)", ".webp"],
        ),
        (["cat/1.jpg", "dog/2.heic"], ["dog' holds 1 files that are no images", "('2.heic')"]),
        (
            ["train/cat/1.jpg", "train/dog/1.jpg", "val/cat/1.jpg"],
            ["train' holds folders ('cat', 'dog')", "load_folder('", "train')"],
        ),
    ],
)
def test_load_folder_says_what_is_wrong(tmp_path, names, messages):
    make_files(tmp_path, *names)
    with pytest.raises(ValueError) as error:
        datasets.load_folder(tmp_path)
    for message in messages:
        assert message in str(error.value)
    assert str(tmp_path) in str(error.value).replace("\\\\", "\\")


# ---- load_sample ---------------------------------------------------------------------------------


@pytest.fixture
def small_sample(monkeypatch):
    monkeypatch.setattr(datasets, "SAMPLE_SIZES", {"train": 3, "test": 2})


def file_times(folder):
    return {str(path): path.stat().st_mtime_ns for path in folder.glob("*/*/*.png")}


def test_load_sample_has_2000_and_500_pictures(tmp_path, monkeypatch, capfd):
    picture = np.zeros((32, 32, 3), np.uint8)
    monkeypatch.setattr(datasets, "draw_picture", lambda class_name, rng: picture)
    train, test = datasets.load_sample(tmp_path)
    assert (len(train.filenames), len(test.filenames)) == (2000, 500)
    assert train.class_names == test.class_names == tuple(CLASS_NAMES)
    assert np.bincount(train.labels).tolist() == [200] * 10
    assert np.bincount(test.labels).tolist() == [50] * 10
    assert sorted(os.listdir(tmp_path)) == ["sample", "sample.lock"]  # noqa: PTH208
    assert "2500/2500" in capfd.readouterr().err


def test_load_sample_has_the_drawings_of_its_seeds(tmp_path, small_sample):
    train, test = datasets.load_sample(tmp_path)
    for split_number, files in enumerate((train, test)):
        for name, label in zip(files.filenames, files.labels, strict=True):
            rng = np.random.default_rng([split_number, label, int(Path(name).stem)])
            np.testing.assert_array_equal(imread(name), draw_picture(CLASS_NAMES[label], rng))


def test_load_sample_draws_once(tmp_path, small_sample, capfd):
    first, _ = datasets.load_sample(tmp_path)
    times = file_times(tmp_path)
    capfd.readouterr()
    (tmp_path / "sample").chmod(0o555)  # and reading it needs no permission to write
    again, _ = datasets.load_sample(str(tmp_path))
    (tmp_path / "sample").chmod(0o755)
    assert again.filenames == first.filenames
    assert file_times(tmp_path) == times
    assert capfd.readouterr() == ("", "")


def test_load_sample_draws_what_was_deleted(tmp_path, small_sample, monkeypatch):
    train, _ = datasets.load_sample(tmp_path)
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

    monkeypatch.setattr(datasets, "draw_picture", draw)
    again, _ = datasets.load_sample(tmp_path)
    assert drawn == ["airplane", "frog", "frog", "frog"]
    assert len(again.filenames) == 31
    assert {name: Path(name).read_bytes() for name in train.filenames} == pictures
    now = file_times(tmp_path / "sample")
    assert {name for name in times if now[name] != times[name]} == set(deleted)


CHILD = """
import sys, time
from helpers.datasets import folders as datasets
datasets.SAMPLE_SIZES = {"train": 3, "test": 2}
draw = datasets.draw_picture
def draw_slowly(class_name, rng):
    time.sleep(0.02)
    return draw(class_name, rng)
datasets.draw_picture = draw_slowly
train, test = datasets.load_sample(sys.argv[1])
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
    train, test = datasets.load_sample(tmp_path)
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
