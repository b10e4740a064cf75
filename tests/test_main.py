"""The main job, run as a user runs it: in a process of its own."""

import os
import shutil
import subprocess
import sys

import pytest

from helpers import __main__ as main


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "helpers", *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture
def folder(tmp_path, pictures):
    """12 pictures in each of two classes, and one file in each that is no picture."""
    for number, name in enumerate(("cats and dogs", "狗")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for picture in pictures[12 * number : 12 * number + 12]:
            shutil.copy(picture, tmp_path / "photos" / name)
        (tmp_path / "photos" / name / "broken.jpg").write_bytes(b"no picture")
    return tmp_path / "photos"


@pytest.mark.slow
def test_the_main_job_on_a_folder_with_broken_files(folder, tmp_path, pictures):
    options = ["--data", str(folder), "--epochs", "2", "--batch-size", "8", "--workers", "2"]
    done = run(*options, BIGGER_THAN_MEMORY_DATA=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "Epoch 2/2" in done.stdout
    assert "MY_Generator, batches of 8 one process" in " ".join(done.stdout.split())
    assert "MY_Generator, batches of 8 2 processes" in " ".join(done.stdout.split())
    for column in ("images/s", "first batch (s)", "waited (%)"):
        assert column in done.stdout
    assert "CIFAR10Sequence cannot read these files" in done.stdout  # it takes no broken ones
    assert "broken.jpg" in done.stderr and "Traceback" not in done.stderr
    assert (tmp_path / main.PICTURE).read_bytes().startswith(b"\x89PNG")
    assert str(tmp_path / main.PICTURE) in done.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--epochs", "0"], 2, "received '0'"),
        (["--batch-size", "-1"], 2, "received '-1'"),
        (["--workers", "many"], 2, "received 'many'"),
        (["--colour", "red"], 2, "--colour red"),
        (["--data", "no such folder"], 1, "no such folder"),
    ],
)
def test_a_bad_argument_gets_one_clear_line(arguments, status, message):
    done = run(*arguments)
    assert done.returncode == status
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_the_sample_is_said_to_be_drawings(capsys):
    main._load("sample")
    assert "They are not CIFAR-10" in capsys.readouterr().out


def test_a_folder_is_split_without_overlap(folder):
    train, test = main._load(str(folder))
    assert len(train.filenames) == 21 and len(test.filenames) == 5
    assert not set(train.filenames) & set(test.filenames)
