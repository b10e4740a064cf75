import os
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.datasets import folders
from helpers.datasets.image_files import ImageFiles
from helpers.datasets.listing import IGNORED_NAMES, IMAGE_ENDINGS


def make_files(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


# ---- load_folder ---------------------------------------------------------------------------------


def test_load_folder(tmp_path):
    make_files(tmp_path, "dog/b.jpg", "cat/2.png", "dog/a.jpg", "cat/10.png", "cat/1.png")
    files = folders.load_folder(tmp_path)
    assert isinstance(files, ImageFiles)
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
    endings = ["jpg", "jpeg", "jpe", "jfif", "png", "bmp", "dib", "webp", "tif", "tiff", "gif"]
    endings += ["avif", "heic", "heif"]
    assert set(IMAGE_ENDINGS) == {f".{ending}" for ending in endings}
    names = [f"cat/1.{e}" for e in endings] + [f"dog/1.{e.upper()}" for e in endings]
    make_files(tmp_path, *names, "dog/2.Jpg")
    assert len(folders.load_folder(tmp_path).filenames) == 29


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("recursive", [False, True])
def test_load_folder_ignores_hidden_files_and_those_that_systems_make(tmp_path, recursive):
    make_files(tmp_path, "cat/1.png", "dog/1.png", ".cache/1.png", ".DS_Store", "desktop.ini")
    make_files(tmp_path, "cat/.2.png", "cat/Thumbs.db", "dog/.ipynb_checkpoints/1.png")
    make_files(tmp_path, "__MACOSX/cat/._1.png", "cat/__MACOSX/._2.png")
    make_files(tmp_path, "@eaDir/1.png", "cat/@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg")
    make_files(tmp_path, "labels.csv", "README.md")  # beside the class folders: no pictures
    files = folders.load_folder(tmp_path, recursive=recursive)
    assert [Path(name).name for name in files.filenames] == ["1.png", "1.png"]
    assert files.class_names == ("cat", "dog")


# Any letters, marks, numbers, punctuation, symbols (emoji) and spaces, of any script.
names_of_any_script = st.text(
    st.characters(categories=("L", "M", "N", "P", "S", "Zs"), exclude_characters='/\\:*?"<>|'),
    min_size=1,
    max_size=20,
).filter(lambda name: name.strip(" .") == name and name.lower() not in IGNORED_NAMES)


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


def make_tree(folder, *names):
    """Make empty files, folders (their names end with a slash) and links to nothing."""
    for name in names:
        if name.endswith("/"):
            (folder / name).mkdir(parents=True)
        elif name.endswith("link"):
            (folder / name).symlink_to("what is gone")
        else:
            make_files(folder, name)


def complaint(path, **options):
    """What load_folder says of a folder that it does not take."""
    with pytest.raises(ValueError) as error:
        folders.load_folder(path, **options)
    message = str(error.value).replace("\\\\", "/")  # on Windows
    assert path.as_posix() in message.replace("\\", "/")
    return message


@pytest.mark.parametrize(
    ("names", "messages"),
    [
        (["notes.txt"], ["<class name>", "- 0 class folders", "train.class_names)"]),
        (["cat/1.jpg"], ["- 1 class folder, but", "takes two", "train.class_names", ": 'cat'"]),
        (
            ["cat/1.jpg", "dog/.hidden"],
            ["- 1 empty class folder (put images into it;", "train.class_names", ": 'dog'"],
        ),
        (["a/1.jpg", "b/c/2.jpg"], ["- 1 class folder that holds f", "recursive=True", ": 'b'"]),
        (["cat/1.jpg", "dog/1.jpg", "dog/link"], ["- 1 link that leads nowhere", ": 'dog/link'"]),
        (["cat/1.jpg", "dog/1.jpg", "link"], ["- 1 link that leads nowhere", ": 'link'"]),
    ],
)
def test_load_folder_says_what_is_wrong(tmp_path, names, messages):
    make_tree(tmp_path, *names)
    told = complaint(tmp_path)
    assert told.count("\n- ") == 1
    for message in messages:
        assert message in told
    assert told.endswith(messages[-1])
    assert "remove it" not in told  # that would give the other classes other numbers


def test_load_folder_says_all_that_is_wrong_at_once(tmp_path):
    make_tree(
        tmp_path, "1.jpg", "cat/1.jpg", "cat/old/2.jpg", "cat/1.xml", "cat/2.jpg.link", "dog/"
    )
    make_files(tmp_path, "owl/young/1.jpg")
    told = complaint(tmp_path)
    for name in ("'1.jpg'", "'cat/old'", "'cat/1.xml'", "'cat/2.jpg.link'", "'dog'", "'owl'"):
        assert told.count(f": {name}") == 1
    assert told.count("\n- ") == 6


def test_load_folder_follows_links_but_no_circle(tmp_path):
    make_files(tmp_path, "photos/cat/1.jpg", "photos/dog/1.jpg", "elsewhere/2.jpg")
    (tmp_path / "photos/cat/2.jpg").symlink_to(tmp_path / "elsewhere/2.jpg")
    (tmp_path / "photos/owl").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    files = folders.load_folder(tmp_path / "photos")
    assert files.class_names == ("cat", "dog", "owl") and files.labels.tolist() == [0, 0, 1, 2]
    circle = tmp_path / "photos/cat/circle.jpg"
    circle.symlink_to(circle)
    assert "- 1 link that leads nowhere" in complaint(tmp_path / "photos")


def test_load_folder_names_folders_that_may_not_be_listed(tmp_path, monkeypatch):
    make_files(tmp_path, "cat/1.jpg", "dog/1.jpg", "owl/1.txt")
    scandir = os.scandir

    def scandir_of_another_user(path):  # whoever runs the tests may be allowed everything
        if Path(path).name == "dog":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scandir_of_another_user)
    told = complaint(tmp_path)
    assert "- 1 folder that cannot be listed (do you have permission?): 'dog'" in told
    assert "'owl/1.txt'" in told


@pytest.mark.parametrize(
    ("names", "suggested"),
    [
        (["train/cat/1.jpg", "train/dog/1.jpg", "val/cat/1.jpg"], ["train"]),
        (["photos/cat/1.jpg", "photos/dog/1.jpg", "__MACOSX/._photos"], ["photos"]),
        ([f"{i}/{name}/1.jpg" for i in range(5) for name in "ab"], ["0", "1", "2"]),
        (["bmp/cat/1.bmp", "bmp/dog/1.raw", "png/cat/1.png", "png/cat/old/1.png"], []),
        (["photos/cat/1.png", "photos/dog/"], []),
        (["cat/1.jpg", "dog/a/1.jpg", "dog/b/1.jpg"], ["dog"]),
        (["photos/train/cat/1.jpg", "photos/train/dog/1.jpg", "photos/val/cat/1.jpg"], []),
    ],
)
def test_load_folder_suggests_only_what_it_would_take(tmp_path, names, suggested):
    make_tree(tmp_path, *names)
    told = complaint(tmp_path)
    assert "empty class folders" not in told  # they hold folders
    assert re.findall(r"load_folder\('([^']*)'\)", told) == [
        f"{tmp_path.as_posix()}/{name}" for name in suggested
    ]
    for name in suggested:
        folders.load_folder(tmp_path / name)


def test_load_folder_looks_into_a_few_folders_only_before_it_suggests_some(tmp_path, monkeypatch):
    make_files(tmp_path, *(f"{i}/one class/1.jpg" for i in range(50)))
    make_files(tmp_path, "0 images only/1.jpg", "0 both/1.jpg")
    make_files(tmp_path, *(f"0 both/{name}/1.jpg" for name in "abc"))
    listed = []
    scandir = os.scandir

    def counting_scandir(path):
        listed.append(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", counting_scandir)
    complaint(tmp_path)
    assert len(listed) == 1 + 52 + 2 * folders.MOST_TRIED


# ---- what is left out ----------------------------------------------------------------------------

MESS = [
    *("labels.csv", "x.PNG", ".hidden/1.jpg", "@eaDir/1.jpg"),
    *("cat/1.jpg", "cat/old/2.jpg", "cat/old/older/3.jpg", "cat/old/notes.txt"),
    *("dog/1.jpg", *(f"dog/{number}.txt" for number in range(5))),
]


def names_in(files, folder):
    return [Path(name).relative_to(folder).as_posix() for name in files.filenames]


@pytest.mark.parametrize(
    ("options", "names", "told"),
    [
        (
            {},
            ["cat/1.jpg", "dog/1.jpg"],
            [
                r"- 1 image beside the class folders: 'x.PNG'",
                r"- 5 files that are no .*: 'dog/0.txt', 'dog/1.txt', 'dog/2.txt', …",
                r"- 1 folder inside \(recursive=True .*: 'cat/old'",
            ],
        ),
        (
            {"recursive": True},
            ["cat/1.jpg", "cat/old/2.jpg", "cat/old/older/3.jpg", "dog/1.jpg"],
            [r"- 1 image beside .*", r"- 6 files that are no .*: 'cat/old/notes.txt', .*"],
        ),
        (
            {"labels": None},
            ["x.PNG"],
            [r"- 1 file that is no .*: 'labels.csv'", r"- 2 folders inside .*: 'cat', 'dog'"],
        ),
        (
            {"labels": None, "recursive": True},
            ["cat/1.jpg", "cat/old/2.jpg", "cat/old/older/3.jpg", "dog/1.jpg", "x.PNG"],
            [r"- 7 files that are no .*"],
        ),
    ],
)
def test_load_folder_warns_once_of_what_it_leaves_out(tmp_path, options, names, told):
    make_files(tmp_path, *MESS)
    with pytest.warns(UserWarning) as caught:
        files = folders.load_folder(tmp_path, **options)
    assert names_in(files, tmp_path) == names
    [warning] = caught
    assert warning.filename == __file__
    first, *lines = str(warning.message).replace("\\\\", "/").splitlines()
    assert first.endswith(": left out are")
    assert len(lines) == len(told) and all(map(re.fullmatch, told, lines))
    if "labels" in options:
        assert files.labels is None and files.class_names == ()
    else:
        assert files.labels.tolist() == [name.startswith("dog") for name in names]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"labels": None}, ValueError, "- 0 images (put in at least one; recursive=True"),
        ({"labels": [0, 1]}, ValueError, "'inferred' or None; received [0, 1]. For a label of"),
        ({"labels": None, "class_names": ["a", "b"]}, ValueError, "no use with labels=None"),
        ({"recursive": "yes"}, TypeError, "recursive must be True or False; received 'yes'"),
    ],
)
def test_load_folder_refuses_other_labels_and_no_images(tmp_path, options, error, words):
    make_files(tmp_path, "a/1.jpg", "b/1.jpg")
    with pytest.raises(error, match=re.escape(words)):
        folders.load_folder(tmp_path, **options)


# ---- class_names ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [list, tuple])
def test_load_folder_numbers_classes_as_class_names_does(tmp_path, kind):
    make_tree(tmp_path, "a/1.png", "c/1.png", "c/2.png", "empty/")
    names = ("c", "missing", "a", "empty")
    files = folders.load_folder(tmp_path, class_names=kind(names))
    assert files.class_names == names
    assert [Path(name).parent.name for name in files.filenames] == ["c", "c", "a"]
    assert files.labels.tolist() == [0, 0, 2]
    assert files.labels.dtype == np.int64


def test_load_folder_takes_a_test_folder_with_one_of_the_classes(tmp_path):
    make_files(tmp_path, "train/a/1.png", "train/b/1.png", "test/b/1.png")
    train = folders.load_folder(tmp_path / "train")
    test = folders.load_folder(tmp_path / "test", train.class_names)
    assert test.class_names == ("a", "b") and test.labels.tolist() == [1]


@pytest.mark.parametrize(
    ("names", "messages"),
    [
        (
            ["cat/1.jpg", "Dog/1.jpg"],
            ["- 1 folder that class_names lacks (move it out;", "'dog'", ": 'Dog'"],
        ),
        (["cat/1.txt", "dog/"], ["- 1 file that is no image", "- 0 images in class folders"]),
        (["notes.txt"], ["- 0 images in class folders"]),
        (["test/cat/1.jpg"], ["'test'", "test', class_names=…)"]),
    ],
)
def test_load_folder_says_what_does_not_fit_class_names(tmp_path, names, messages):
    make_tree(tmp_path, *names)
    told = complaint(tmp_path, class_names=["cat", "dog"])
    for message in messages:
        assert message in told


@pytest.mark.parametrize(
    ("class_names", "error", "message"),
    [
        ("cat", TypeError, "strings; received 'cat'"),
        ([1, 2], TypeError, "strings; received [1, 2]"),
        ({"cat", "dog"}, TypeError, "list or tuple"),  # without an order
        (["cat"], ValueError, "two classes or more; received ['cat']"),
        ((), ValueError, "received ()"),
        (["cat", "dog", "cat"], ValueError, "'cat' only once; received ['cat', 'dog', 'cat']"),
    ],
)
def test_load_folder_refuses_other_class_names(tmp_path, class_names, error, message):
    make_files(tmp_path, "cat/1.jpg", "dog/1.jpg")
    with pytest.raises(error, match=re.escape(message)):
        folders.load_folder(tmp_path, class_names=class_names)
