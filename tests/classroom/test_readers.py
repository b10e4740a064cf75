"""What other libraries need to read our files, and what is asked of all of them alike."""

import concurrent.futures
import multiprocessing
import time

import numpy as np
import pytest
from PIL import Image

from helpers import load_folder
from helpers.classroom import readers
from helpers.classroom.apart import LINUX
from helpers.classroom.readers import SingleImages, numbers_of, paint, write_greys

forks = pytest.mark.skipif(not LINUX, reason="it needs workers that are forks")
BATCH = np.zeros((2, 8, 8, 3)), np.zeros(2)


@pytest.fixture
def greys(tmp_path):
    return write_greys(tmp_path)


def test_what_is_not_installed_is_left_out_with_a_line(capsys):
    assert readers.installed("numpy")
    assert capsys.readouterr().out == ""
    assert not readers.installed("no_such_package")
    assert capsys.readouterr().out == "no_such_package is left out: it is not installed.\n"


def test_pillow_filters_before_it_shrinks(tmp_path):
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    Image.fromarray(stripes).save(tmp_path / "stripes.png")
    image = readers.load_with_pillow(str(tmp_path / "stripes.png"), (6, 8))
    assert image.shape == (6, 8, 3) and image.dtype == np.float32
    np.testing.assert_allclose(image, 0.5, atol=0.05)


def test_single_images_are_pairs_in_the_order_of_the_files(greys, tmp_path):
    images = SingleImages(load_folder(tmp_path), (4, 4))
    assert len(images) == len(greys)
    image, label = images[7]
    np.testing.assert_allclose(image, 140 / 255, atol=1e-6)
    assert image.shape == (4, 4, 3) and label == 1
    named = SingleImages(load_folder(tmp_path), (4, 4), lambda name, size: (name, size))
    assert named[0] == ((str(greys[0]), (4, 4)), 0)


def test_copies_are_in_a_folder_for_each_class(greys, tmp_path):
    files = load_folder(tmp_path).select([11, 0, 3])
    copies = load_folder(readers.copied(files, tmp_path / "copies"))
    assert copies.class_names == ("a", "b")
    assert copies.labels.tolist() == [0, 0, 1]
    assert numbers_of([([SingleImages(copies, (8, 8))[i][0] for i in range(3)], 0)]) == [0, 3, 11]


@pytest.mark.parametrize("scale", [1, 255])
def test_the_greys_tell_which_images_came(greys, tmp_path, scale):
    paint(greys[5], 12)
    images = SingleImages(load_folder(tmp_path), (8, 8))
    batches = [(scale * np.stack([images[i][0], images[i + 1][0]]), 0) for i in (4, 0, 10)]
    assert numbers_of(batches) == [4, 12, 0, 1, 10, 11]


def test_readers_take_turns_and_the_first_round_does_not_count():
    turns = []

    class Reader:
        def __init__(self, name, seconds):
            self.name, self.seconds = name, iter(seconds)

        def __iter__(self):
            turns.append(self.name)
            time.sleep(next(self.seconds))
            yield BATCH

    rates = readers.images_per_second(
        {"a": Reader("a", [0.5, 0.05, 0.05, 0.3]), "b": Reader("b", [0, 0.1, 0.1, 0.1])}
    )
    assert turns == ["a", "b"] * 4
    assert 25 < rates["a"] <= 40  # two images in 0.05 s
    assert 13 < rates["b"] <= 20


class KeyedError(KeyError):
    def __str__(self):
        return "{{node x}} Bad PNG\n\t [[{{node y}}]] [Op:IteratorGetNext] name: "


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("/data/dogs/12.png is damaged"), "ValueError: 12.png is damaged"),
        (ValueError(r"C:\data\12.png is damaged"), "ValueError: 12.png is damaged"),
        (OSError("Caught OSError.\nTraceback …\nOSError: cut off\n"), "OSError: cut off"),
        (KeyedError(), "KeyedError: Bad PNG"),
        (ValueError(), "ValueError: "),
    ],
)
def test_an_error_is_told_in_a_line(error, line):
    assert readers.line_of(error) == line


def of_processes():
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        for _ in range(20):
            yield pool.submit(slowly).result()


def slowly():
    time.sleep(0.05)
    return BATCH


def without_processes():
    yield from [BATCH] * 5


def for_ever():
    time.sleep(1000)
    yield BATCH


@forks
def test_a_kill_ends_in_an_error_or_is_survived():
    assert multiprocessing.get_all_start_methods()[0] in ("fork", "forkserver")
    endings = readers.after_kills({"pool": of_processes, "none": without_processes})
    assert endings["pool"].startswith("1 killed; then BrokenProcessPool: ")
    assert endings["none"] == "0 killed; 10 images came"


@forks
def test_what_hangs_after_a_kill_is_ended():
    start = time.perf_counter()
    assert readers.after_kills({"hangs": for_ever}, seconds=2) == {
        "hangs": "no end: still waiting after 2 s"
    }
    assert time.perf_counter() - start < 30


def test_on_another_system_nothing_is_killed(monkeypatch, capsys):
    monkeypatch.setattr(readers.apart, "LINUX", False)
    assert readers.after_kills({"pool": of_processes}) == {}
    assert capsys.readouterr().out.startswith("Skipped: ")
