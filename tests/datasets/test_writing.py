import errno
import os

import cv2
import numpy as np
import pytest
from conftest import child, wait_until

from helpers.datasets.writing import (
    make_once,
    size_of,
    unfinished,
    whole_or_absent,
    write_pictures,
    write_whole,
)


def test_a_folder_has_its_name_only_when_it_is_full(tmp_path):
    folder = tmp_path / "pictures"
    with whole_or_absent(folder) as working_folder:
        (working_folder / "a").touch()
        assert not folder.exists()
    assert [file.name for file in folder.iterdir()] == ["a"]
    assert not working_folder.exists()


def test_what_was_begun_is_kept_when_filling_it_fails(tmp_path):
    folder = tmp_path / "pictures"
    with pytest.raises(ZeroDivisionError), whole_or_absent(folder) as working_folder:
        (working_folder / "a").touch()
        _ = 1 / 0
    assert not folder.exists()
    with whole_or_absent(folder) as working_folder:
        assert (working_folder / "a").exists()
    assert folder.exists()


def test_a_folder_that_exists_is_mended_in_place(tmp_path):
    with whole_or_absent(tmp_path) as working_folder:
        assert working_folder == tmp_path


def test_a_file_is_whole_or_what_it_was(tmp_path):
    file = tmp_path / "note"
    write_whole(file, b"first")
    write_whole(file, b"second")
    assert file.read_bytes() == b"second"
    unfinished(file, ".tmp").mkdir()  # so that it cannot be written
    with pytest.raises(OSError):
        write_whole(file, b"third")
    assert file.read_bytes() == b"second"


def test_sizes(tmp_path):
    file = tmp_path / "note"
    assert size_of(file) == 0
    file.write_bytes(b"12345")
    assert size_of(file) == 5


def test_pictures_that_are_there_are_not_written_again(tmp_path):
    rng = np.random.default_rng(0)
    pictures = {f"cat/{name}.png": rng.integers(0, 256, (5, 7, 3), np.uint8) for name in "abc"}
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat/a.png").write_bytes(b"mine")
    (tmp_path / "cat/b.png").touch()  # empty: the disk was full, say
    write_pictures(tmp_path, pictures.items(), len(pictures), "Writing")
    assert (tmp_path / "cat/a.png").read_bytes() == b"mine"
    for name in ("cat/b.png", "cat/c.png"):
        written = cv2.imread(os.fspath(tmp_path / name))[:, :, ::-1]
        np.testing.assert_array_equal(written, pictures[name])


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "is full: this takes 3 MB"),
        (errno.EROFS, r"cannot be written .*Allow it \(3 MB\)"),
    ],
)
def test_what_the_system_refuses_says_what_to_do(tmp_path, number, words):
    def fail(folder):
        raise OSError(number, os.strerror(number))

    with pytest.raises(OSError, match=f"{words}.* or pass cache_dir=") as caught:
        make_once(tmp_path / "data", fail, lambda folder: False, space="3 MB")
    assert caught.value.errno == number


def test_another_error_is_passed_on_as_it_is(tmp_path):
    def fail(folder):
        raise OSError(errno.EIO, "broken disk")

    with pytest.raises(OSError, match=r"broken disk$"):
        make_once(tmp_path / "data", fail, lambda folder: False, space="3 MB")


MAKER = """
import pathlib, sys, time
from helpers.datasets.writing import make_once
def make(folder):
    (folder.parent / f"made by {sys.argv[2]}").touch()
    time.sleep(1)
    folder.mkdir()
make_once(pathlib.Path(sys.argv[1]), make, pathlib.Path.exists, space="nothing")
"""


def test_of_two_programs_one_makes_it_and_the_other_waits(tmp_path):
    folder = tmp_path / "data"
    with child(MAKER, folder, 1) as first, child(MAKER, folder, 2) as second:
        outputs = [program.communicate(timeout=60)[0] for program in (first, second)]
        assert first.returncode == second.returncode == 0
    assert folder.exists()
    assert len(list(tmp_path.glob("made by *"))) == 1
    assert sum("waiting for it" in output for output in outputs) == 1


def test_where_a_program_that_makes_it_is_killed_the_next_one_makes_it(tmp_path):
    folder = tmp_path / "data"
    with child(MAKER, folder, 1) as first:
        assert wait_until((tmp_path / "made by 1").exists)
        first.kill()
        first.wait(10)
    with child(MAKER, folder, 2) as second:
        second.communicate(timeout=60)
        assert second.returncode == 0
    assert folder.exists()
