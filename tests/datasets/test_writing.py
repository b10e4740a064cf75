import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import REPOSITORY, child, wait_until

from helpers.datasets.writing import (
    DATA_VARIABLE,
    data_folder,
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


def test_data_are_kept_in_the_project_or_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    assert data_folder() == REPOSITORY / "data"
    monkeypatch.setenv(DATA_VARIABLE, "")
    assert data_folder() == REPOSITORY / "data"
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    assert data_folder() == tmp_path
    monkeypatch.setenv(DATA_VARIABLE, os.path.join("~", "data"))  # noqa: PTH118
    assert data_folder() == Path.home() / "data"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(DATA_VARIABLE, "here")
    assert data_folder() == tmp_path / "here"


# A network, or a disk, is not needed for what is refused: permissions are enough, and whoever may
# do everything gives that up when all is imported.
LOADS = """
import os, sys
from helpers import check_machine, checks, load_photographs, load_sample, make_messy_folder
checks.LIBRARIES = ()
if "powerless" in sys.argv and os.geteuid() == 0:
    os.seteuid(65534)
check_machine()
for load in (load_sample, load_photographs, make_messy_folder):
    try:
        load()
    except OSError as error:
        print(error)
"""


def outside(code, folder, data=None, *arguments):
    """What a Python prints that runs `code` in another folder than the project's."""
    environment = {name: value for name, value in os.environ.items() if name != DATA_VARIABLE}
    if data is not None:
        environment[DATA_VARIABLE] = str(data)
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def says_what_to_do(lines, data):
    """Whether each loader, and the check, says in one line what is refused, and what helps."""
    told = [line for line in lines if "cannot be written" in line]
    assert len(told) == 4, lines
    for line in told:
        assert f"{data} cannot be written (" in line
        assert f"or name another folder in the environment variable {DATA_VARIABLE}" in line
    return True


def test_a_file_where_the_data_should_be_gets_one_clear_line(tmp_path):
    file = tmp_path / "data"
    file.touch()
    assert says_what_to_do(outside(LOADS, tmp_path, file), file)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no folders that are read-only")
def test_a_read_only_folder_for_the_data_gets_one_clear_line():
    with tempfile.TemporaryDirectory() as folder:  # not tmp_path, which only its owner may enter
        data = Path(folder).resolve()
        data.chmod(0o555)
        assert says_what_to_do(outside(LOADS, "/", data, "powerless"), data)


def test_a_python_that_starts_in_another_folder_finds_the_package_and_the_data(tmp_path):
    [name] = outside("import helpers; print(helpers.load_sample()[0].filenames[0])", tmp_path)
    assert Path(name).is_relative_to(REPOSITORY / "data" / "sample")
    code = "import helpers; print(helpers.load_photographs((24, 32), 1).filenames[0])"
    [name] = outside(code, tmp_path, tmp_path / "elsewhere")
    assert Path(name) == tmp_path / "elsewhere" / "photographs-32x24" / "astronaut" / "00000.jpg"
    assert Path(name).exists()


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
