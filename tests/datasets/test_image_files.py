import copy
import html
import pickle
from pathlib import Path

import numpy as np
import pytest

from helpers import ImageFiles
from helpers.datasets.image_files import WeightedImageFiles
from helpers.images.pack_layout import PIXELS, PLACES
from helpers.images.packs import PackedNames


def weighted():
    files = WeightedImageFiles(
        ["a.png", "b.png", "c.png", "d.png"], np.array([0, 1, 1, 0]), ("x", "y")
    )
    return files.with_weights(np.array([0.5, 1, 2, 4]))


# ---- weights -------------------------------------------------------------------------------------


def test_weights_are_no_field_and_go_with_the_files():
    files = weighted()
    names, labels, class_names = files
    assert (names[2], labels[2], class_names) == ("c.png", 1, ("x", "y"))
    assert ImageFiles(*files).sample_weight is None
    weights = dict(zip(names, files.sample_weight, strict=True))
    selections = [
        files.select([3, 0]),
        files.shuffled(),
        *files.split(0.5),
        files._replace(class_names=("z", "y")),
        copy.copy(files),
        pickle.loads(pickle.dumps(files)),
        files.shuffled().select([1, 1]),
    ]
    for some in selections:
        assert isinstance(some, ImageFiles)
        assert some.sample_weight.tolist() == [weights[name] for name in some.filenames]
    assert files.sample_weight.tolist() == [0.5, 1, 2, 4]


def test_files_without_labels_are_selected_and_shuffled():
    files = ImageFiles(["a.png", "b.png"], None, ()).select([1])
    assert files == (["b.png"], None, ())
    assert ImageFiles(["a.png", "b.png"], None, ()).shuffled().labels is None


def test_files_that_were_skipped_are_taken_out():
    files = ImageFiles(
        [Path("a.png"), "b.png", "c.png", "b.png"], np.array([0, 1, 0, 1]), ("x", "y")
    )
    left = files.without({"b.png": "is empty (0 bytes)", "d.png": "is missing"})
    assert [str(name) for name in left.filenames] == ["a.png", "c.png"]
    assert left.labels.tolist() == [0, 0]


# ---- print ---------------------------------------------------------------------------------------


def test_a_data_set_prints_itself_as_a_table_of_its_classes():
    names = [Path("/home/me/dog/1.png"), Path("/home/me/cat/2.png"), Path("/home/me/dog/3.png")]
    files = ImageFiles(names, np.array([1, 0, 1]), ("cat", "dog", "<owl>"))
    assert str(files).splitlines() == [
        "3 image files",
        "class  files first file",
        "  cat      1      2.png",
        "  dog      2      1.png",
        "<owl>      0           ",
    ]
    page = files._repr_html_()
    assert page.startswith("<p>3 image files</p>")
    for cell in ("<td>dog</td>", "<td>2</td>", "<td>1.png</td>", "<td>&lt;owl&gt;</td>"):
        assert cell in page
    assert "home" not in str(files) + page


@pytest.mark.parametrize(
    ("files", "lines"),
    [
        (
            ImageFiles(["in/<a>.png", "in/b.png"], None, ()),
            ["2 image files, the first is <a>.png, no labels"],
        ),
        (
            ImageFiles(["a.png", "b.png"], np.array([0.5, 2.25]), ()),
            [
                "2 image files, the first is a.png",
                " label  lowest  highest",
                "     0     0.5     2.25",
            ],
        ),
        (
            ImageFiles(["a.png", "b.png"], np.array([[1, 2, 3], [3, 2, 1]]), ()),
            [
                "2 image files, the first is a.png",
                " label  lowest  highest",
                "     0       1        3",
                "     1       2        2",
                "     2       1        3",
            ],
        ),
        (ImageFiles([], np.zeros(0, np.int64), ()), ["0 image files"]),
        (ImageFiles(["a.png"], np.array(["x"]), ()), ["1 image file, the first is a.png"]),
    ],
)
def test_other_labels_are_printed_as_their_range(files, lines):
    assert str(files).splitlines() == lines
    assert html.escape(lines[0]) in files._repr_html_()


def test_weights_are_printed_as_their_range():
    assert str(weighted()).startswith("4 image files, weights from 0.5 to 4\n")


def test_many_classes_are_cut_short():
    names = np.array([f"{number}.png" for number in range(1000)], np.dtypes.StringDType())
    files = ImageFiles(names, np.arange(1000), tuple(map(str, range(1000))))
    assert len(str(files).splitlines()) == 23
    assert str(files).endswith("19      1     19.png\n… 980 more")
    assert files._repr_html_().endswith("<p>… 980 more</p>")


def test_a_million_packed_names_are_printed_without_making_them(monkeypatch):
    rows = np.zeros(1_000_000, PLACES[PIXELS])
    rows["number"] = np.arange(len(rows))
    made = []
    item = PackedNames.__getitem__
    monkeypatch.setattr(
        PackedNames, "__getitem__", lambda *which: made.append(which) or item(*which)
    )
    files = ImageFiles(PackedNames("my/x.pack", rows), np.arange(len(rows)) % 2, ("a", "b"))
    assert "500000   x.pack#1" in str(files)
    assert len(made) == 2
