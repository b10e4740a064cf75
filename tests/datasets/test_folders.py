import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.datasets import folders


def make_files(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


# ---- load_folder ---------------------------------------------------------------------------------


def test_load_folder(tmp_path):
    make_files(tmp_path, "dog/b.jpg", "cat/2.png", "dog/a.jpg", "cat/10.png", "cat/1.png")
    files = folders.load_folder(tmp_path)
    assert isinstance(files, folders.ImageFiles)
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
    files = folders.load_folder(path)
    assert files.filenames[0] == os.path.join(path, "cat", "1.png")  # noqa: PTH118


def test_load_folder_reads_every_ending_in_any_case(tmp_path):
    endings = ["jpg", "jpeg", "png", "bmp", "webp", "tif", "tiff", "gif"]
    names = [f"cat/1.{e}" for e in endings] + [f"dog/1.{e.upper()}" for e in endings]
    make_files(tmp_path, *names, "dog/2.Jpg")
    assert len(folders.load_folder(tmp_path).filenames) == 17


def test_load_folder_ignores_hidden_files_and_those_of_windows(tmp_path):
    make_files(tmp_path, "cat/1.png", "dog/1.png", ".cache/1.png", ".DS_Store", "desktop.ini")
    make_files(tmp_path, "cat/.2.png", "cat/Thumbs.db", "dog/.ipynb_checkpoints/1.png")
    make_files(tmp_path, "labels.csv", "README.md")  # beside the class folders: no pictures
    files = folders.load_folder(tmp_path)
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
    files = folders.load_folder(folder)
    assert files.class_names == tuple(sorted(classes))
    expected = [str(folder / name / f"{image}.JPG") for name in sorted(classes)]
    assert files.filenames == expected


@pytest.mark.parametrize("name", ["my cat", "猫", "кошка", "🐈", "قطة"])
def test_load_folder_with_names_like_these(tmp_path, name):
    make_files(tmp_path, f"{name}/{name} 1.jpeg", "0 other/x.png")
    files = folders.load_folder(tmp_path)
    assert files.class_names == ("0 other", name)
    assert Path(files.filenames[1]).is_file()


def test_load_folder_without_a_folder(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        folders.load_folder(tmp_path / "photo")
    assert repr(str(tmp_path / "photo")) in str(error.value)
    assert str(Path.cwd()) in str(error.value)
    make_files(tmp_path, "cat.zip")
    with pytest.raises(NotADirectoryError, match=r"cat\.zip' is a file"):
        folders.load_folder(tmp_path / "cat.zip")


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
        folders.load_folder(tmp_path)
    for message in messages:
        assert message in str(error.value)
    assert str(tmp_path) in str(error.value).replace("\\\\", "\\")
