import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.datasets import messy
from helpers.datasets.folders import load_folder
from helpers.datasets.messy import make_messy_folder
from helpers.images.reading import ImageError, read_image


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_messy_folder(tmp_path_factory.mktemp("data"))


def names_in(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def times(folder):
    return {name: (folder / name).stat().st_mtime_ns for name in names_in(folder)}


def test_it_holds_what_its_page_says(folder):
    endings = (".jpg", ".JPG", ".png")
    pictures = [
        f"{name}/IMG_{number:04d}{endings[number % 3]}"
        for name, count in {"cat": 160, "dog": 24, "horse": 160}.items()
        for number in range(count)
    ]
    others = [".DS_Store", "__MACOSX/cat/._IMG_0000.jpg", "cat/Thumbs.db", "cat/notes.txt"]
    assert names_in(folder) == sorted([*pictures, *others, "IMG_0500.jpg"])
    assert [(folder / name).stat().st_size for name in others[:3]] == [0, 0, 0]
    assert sorted(path.name for path in folder.parent.iterdir()) == ["messy", "messy.lock"]


def test_the_pictures_are_of_several_kinds_and_sizes(folder):
    kinds, sizes, unreadable = Counter(), [], []
    for name in sorted(folder.glob("*/IMG_*")):
        with Image.open(name) as picture:
            kinds[picture.format, picture.mode] += 1
            sizes.append(picture.size)
            assert picture.format == ("PNG" if name.suffix == ".png" else "JPEG")
        try:
            read_image(name)
        except ImageError as error:
            unreadable.append(Path(error.filename).relative_to(folder).as_posix())
    assert unreadable == ["horse/IMG_0096.jpg"]
    assert sum(kinds.values()) == 344
    assert {mode for _, mode in kinds} == {"RGB", "L", "RGBA"}
    assert kinds["PNG", "RGBA"] == 1
    assert Image.open(folder / "cat/IMG_0002.png").mode == "RGBA"
    grey = kinds["PNG", "L"] + kinds["JPEG", "L"]
    assert grey == 16 + 2 + 16
    sides = np.array(sizes)
    assert sides.min() >= 0.7 * 40 and sides.max() == 160
    assert len(set(sides.max(axis=1))) == 5
    assert np.mean(sides[:, 0] == sides[:, 1]) < 0.1


def test_what_load_folder_says_of_it(folder):
    with pytest.warns(UserWarning) as caught:
        files = load_folder(folder)
    (warning,) = caught
    heading, *lines = str(warning.message).splitlines()
    assert heading.endswith("left out are")
    assert len(lines) == 2
    assert lines[0].endswith("'IMG_0500.jpg'")
    assert lines[1].endswith(repr(str(Path("cat", "notes.txt"))))
    assert files.class_names == ("cat", "dog", "horse")
    assert np.bincount(files.labels).tolist() == [160, 24, 160]


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(messy, "COUNTS", {"cat": 3, "dog": 2, "horse": 3})


def test_it_is_made_once_and_mended(tmp_path, small, capfd):
    folder = make_messy_folder(str(tmp_path))
    before = times(folder)
    capfd.readouterr()
    assert make_messy_folder(tmp_path) == folder
    assert times(folder) == before
    assert capfd.readouterr() == ("", "")
    lost = folder / "dog" / "IMG_0001.JPG"
    content = lost.read_bytes()
    lost.unlink()
    (folder / "cat" / "my own.png").touch()
    make_messy_folder(tmp_path)
    assert lost.read_bytes() == content
    after = times(folder)
    assert {name for name in before if after[name] != before[name]} == {"dog/IMG_0001.JPG"}


def test_it_is_the_same_on_each_machine(tmp_path, small):
    one, other = make_messy_folder(tmp_path / "one"), make_messy_folder(tmp_path / "other")
    for name in names_in(one):
        assert (one / name).read_bytes() == (other / name).read_bytes()


def test_it_can_be_read_without_a_warning_but_load_folders(tmp_path, small):
    folder = make_messy_folder(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in folder.glob("*/IMG_*"):
            read_image(name)
