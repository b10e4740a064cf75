import socket
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import child
from PIL import Image

from helpers.datasets.photographs import SOURCES, cut, load_photographs

SIZE = 48, 80  # small, so that they are made at once


def contents(files):
    return [Path(name).read_bytes() for name in files.filenames]


def test_any_count_is_spread_over_the_classes(tmp_path, capfd):
    files = load_photographs(SIZE, 12, tmp_path)
    assert "12/12" in capfd.readouterr().err
    assert files.class_names == tuple(sorted(SOURCES))  # the numbers that load_folder gives
    assert files.labels.dtype == np.int64
    assert files.labels.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]
    folders = [Path(name).parent for name in files.filenames]
    assert [folder.name for folder in folders] == [files.class_names[n] for n in files.labels]
    assert {folder.parent for folder in folders} == {tmp_path / "photographs-80x48"}
    assert len(set(contents(files))) == 12


def test_they_are_the_same_everywhere(tmp_path):
    one, other = (load_photographs(SIZE, 7, tmp_path / name) for name in ("one", "other"))
    assert contents(one) == contents(other)


@pytest.mark.parametrize("size", [(375, 500), (1, 1), (700, 900)])
def test_they_are_jpeg_files_as_photographs_are(tmp_path, size):
    for name in load_photographs(size, 5, tmp_path).filenames:
        with Image.open(name) as picture:
            assert (picture.format, picture.mode, picture.size[::-1]) == ("JPEG", "RGB", size)
            # Sampling of each channel: two in each direction for brightness, one for colours.
            assert [layer[1:3] for layer in picture.layer] == [(2, 2), (1, 1), (1, 1)]
            # The standard's first value, 16, at quality 90.
            assert picture.quantization[0][0] == 3


def bytes_a_pixel(picture):
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].size / picture.size


@pytest.mark.parametrize("name", SOURCES)
def test_large_ones_have_the_detail_of_the_photograph(name):
    photograph = SOURCES[name]()
    large = cut(photograph, (1500, 2000), np.random.default_rng(0))
    enlarged = cv2.resize(photograph, (2000, 1500), interpolation=cv2.INTER_CUBIC)
    assert bytes_a_pixel(large) == pytest.approx(bytes_a_pixel(photograph), rel=0.25)
    assert bytes_a_pixel(large) > 1.5 * bytes_a_pixel(enlarged)


def test_a_small_one_is_a_piece_of_the_photograph():
    photograph = np.arange(40 * 60 * 3, dtype=np.uint16).reshape(40, 60, 3)  # all different
    mirrored = set()
    for seed in range(20):
        piece = cut(photograph, (30, 50), np.random.default_rng(seed))
        mirrored.add(step := int(np.sign(np.int64(piece[0, 1, 0]) - piece[0, 0, 0])))
        row, column = np.argwhere((photograph == piece[0, ::step][0]).all(axis=2))[0]
        original = photograph[row : row + 30, column : column + 50]
        np.testing.assert_array_equal(piece[:, ::step], original)
    assert mirrored == {1, -1}


def test_a_larger_one_is_filled_with_pieces():
    photograph = np.arange(1, 41, dtype=np.uint8).reshape(5, 8, 1).repeat(3, axis=2)
    for size in [(5, 8), (6, 8), (5, 9), (11, 100)]:
        picture = cut(photograph, size, np.random.default_rng(0))
        assert picture.shape == (*size, 3)
        assert picture.min() > 0


def test_more_of_them_are_made_beside_those_that_are_there(tmp_path, capfd):
    few = load_photographs(SIZE, 6, tmp_path)
    times = [Path(name).stat().st_mtime_ns for name in few.filenames]
    more = load_photographs(SIZE, 11, tmp_path)
    assert "5/5" in capfd.readouterr().err
    assert more.filenames[:6] == few.filenames
    assert [Path(name).stat().st_mtime_ns for name in few.filenames] == times
    again = load_photographs(SIZE, 3, str(tmp_path))
    assert again.filenames == few.filenames[:3]
    assert capfd.readouterr() == ("", "")


def test_one_that_was_deleted_is_made_again(tmp_path):
    files = load_photographs(SIZE, 6, tmp_path)
    before = contents(files)
    Path(files.filenames[2]).unlink()
    assert contents(load_photographs(SIZE, 6, tmp_path)) == before


def test_they_need_no_network(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "socket", refuse)
    assert len(load_photographs(SIZE, 5, tmp_path).filenames) == 5


CHILD = """
import sys, time
from helpers.datasets import photographs
cut = photographs.cut
def cut_slowly(*arguments):
    time.sleep(0.05)
    return cut(*arguments)
photographs.cut = cut_slowly
photographs.load_photographs((48, 80), 30, sys.argv[1])
"""


def test_it_goes_on_after_it_was_killed(tmp_path):
    partial = tmp_path / "photographs-80x48.partial"
    with child(CHILD, tmp_path) as process:
        deadline = time.monotonic() + 30
        while len(written := list(partial.glob("*/*.jpg"))) < 5:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
        process.wait(timeout=10)
    assert not (tmp_path / "photographs-80x48").exists()
    times = {path.relative_to(partial): path.stat().st_mtime_ns for path in written}
    files = load_photographs(SIZE, 30, tmp_path)
    assert contents(files) == contents(load_photographs(SIZE, 30, tmp_path / "other"))
    for path, time_before in times.items():
        assert (tmp_path / "photographs-80x48" / path).stat().st_mtime_ns == time_before


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"image_size": 200}, ValueError, r"image_size must be \(height, width\).*received 200"),
        ({"image_size": (0, 5)}, ValueError, "height must be at least 1; received 0"),
        ({"image_size": (5, 1.5)}, TypeError, "width must be a whole number; received 1.5"),
        ({"image_size": (5, 65_501)}, ValueError, "image_size must be at most 65500; .* 65501"),
        ({"count": 0}, ValueError, "count must be at least 1; received 0"),
        ({"count": "many"}, TypeError, "count must be a whole number; received 'many'"),
    ],
)
def test_wrong_arguments_are_named(tmp_path, arguments, error, words):
    with pytest.raises(error, match=words):
        load_photographs(**arguments, cache_dir=tmp_path)
    assert not list(tmp_path.iterdir())


def test_they_go_to_the_projects_data_by_default(tmp_path, monkeypatch):
    monkeypatch.setenv("BIGGER_THAN_MEMORY_DATA", str(tmp_path))
    (name,) = load_photographs(SIZE, 1).filenames
    assert Path(name) == tmp_path / "photographs-80x48" / "astronaut" / "00000.jpg"
