"""Tests of helpers.training.launch: several trainers on this machine, which may die, and one."""

import subprocess
import sys

import numpy as np
import psutil
import pytest
from conftest import child, in_background, wait_until

from helpers.training import launch

pytest.importorskip("jax", reason="pip install -r notebooks/requirements.txt")
BATCH_SIZE, EPOCHS = 50, 4  # a backup in the middle of each epoch, and at its end
FLOAT_ERROR = 2e-5  # of 80 steps; other samples or steps change weights by far more


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Two trainers and one, and what they left."""
    folder = tmp_path_factory.mktemp("compared")
    return launch.compare(folder, 2, BATCH_SIZE, EPOCHS), folder


def saved_weights(folder):
    return [np.load(folder / f"trainer-{index}.npz")["weights"] for index in range(2)]


@pytest.mark.slow
def test_two_trainers_end_with_the_weights_of_one(compared):
    table, folder = compared
    assert list(table["images"]) == [1000, 1000, 2000]
    assert list(table["steps"]) == [20, 20, 20]
    assert list(table["shared"]) == [0, 0, 0]
    assert (table["difference"] < FLOAT_ERROR).all()
    np.testing.assert_array_equal(*saved_weights(folder / "several"))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_trainer_that_is_killed_changes_nothing(compared, tmp_path, capfd):
    run = in_background(launch.launch, tmp_path, 2, BATCH_SIZE, EPOCHS)
    assert wait_until((tmp_path / "backup/latest.weights.h5").exists, 100)
    (trainer,) = (it for it in psutil.Process().children() if "--index=1" in it.cmdline())
    trainer.kill()
    results = run.result(timeout=200)
    expected = saved_weights(compared[1] / "several")
    for result, weights in zip(results, expected, strict=True):
        np.testing.assert_allclose(result["weights"], weights, rtol=0, atol=1e-6)
    output = capfd.readouterr().out
    assert "try 1 of 3: trainer" in output and f"epoch {EPOCHS} of {EPOCHS}" in output
    assert not [
        it for it in psutil.Process().children() if "helpers.training.hosts" in it.cmdline()
    ]


@pytest.mark.slow
def test_trainers_of_several_devices_end_when_their_launcher_is_killed(tmp_path, monkeypatch):
    # Six devices, for which some of the 2,000 files must be left out.
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=3")
    code = "import pathlib, sys; from helpers.training.launch import launch; "
    code += "launch(pathlib.Path(sys.argv[1]), 2, 99, 1000)"
    with child(code, tmp_path) as launcher:
        assert "2 trainers" in launcher.stdout.readline()
        assert "epoch 1 of 1000" in launcher.stdout.readline()
        trainers = psutil.Process(launcher.pid).children()
        launcher.kill()
        gone, _ = psutil.wait_procs(trainers, timeout=20)
    assert len(gone) == len(trainers) == 2


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("raise SystemExit('no disk')", "no disk"),
        ("import os; os._exit(3)", "no word"),
        ("import os; os.kill(os.getpid(), 9)", "SIGKILL"),
    ],
)
def test_trainers_that_die_always_are_given_up(tmp_path, monkeypatch, capfd, code, how):
    if how == "SIGKILL" and sys.platform == "win32":
        pytest.skip("there is no SIGKILL")
    monkeypatch.setattr(launch, "TRAINER", [sys.executable, "-c", code])
    with pytest.raises(
        RuntimeError, match=rf"failed 3 times, last because trainer . ended with {how}"
    ):
        launch.launch(tmp_path, 2, 32, 1)
    assert "try 3 of 3" in capfd.readouterr().out


def test_trainers_that_hang_are_ended(tmp_path, monkeypatch):
    asleep = "import time; time.sleep(600)"
    monkeypatch.setattr(launch, "TRAINER", [sys.executable, "-c", asleep])
    monkeypatch.setattr(launch, "SILENCE", 0.2)
    with pytest.raises(RuntimeError, match=r"no epoch ended for 0 s"):
        launch.launch(tmp_path, 2, 32, 1)
    assert not [it for it in psutil.Process().children() if asleep in it.cmdline()]


def test_trainers_that_report_are_given_more_time_than_the_longest_silence(tmp_path, monkeypatch):
    code = "import time\nfor _ in range(6):\n    print('epoch', flush=True)\n    time.sleep(0.5)\n"
    monkeypatch.setattr(launch, "TRAINER", [sys.executable, "-c", f"{code}raise SystemExit('end')"])
    monkeypatch.setattr(launch, "SILENCE", 2.0)
    monkeypatch.setattr(launch, "TRIES", 1)
    with pytest.raises(RuntimeError, match="ended with end"):
        launch.launch(tmp_path, 1, 32, 1)


def test_the_table_counts_the_images_that_two_trainers_share(tmp_path, monkeypatch):
    def result(samples, weight):
        return {
            "samples": np.array(samples),
            "weights": np.array([0.0, weight]),
            "seconds": np.array([9.0, 1.0, 2.0, 3.0]),
            "steps": 2,
            "batch": 2,
        }

    runs = iter([[result([0, 1, 2], 1.0), result([2, 3, 1], 1.5)], [result([0, 1, 2, 3], 1.25)]])
    monkeypatch.setattr(launch, "launch", lambda *arguments: next(runs))
    table = launch.compare(tmp_path)
    assert list(table["shared"]) == [2, 2, 0]
    assert list(table["images"]) == [3, 3, 4]
    assert list(table["difference"]) == [0.25, 0.25, 0.0]
    assert list(table["s/epoch"]) == [2.0, 2.0, 2.0]  # the first is left out


def test_the_launcher_does_not_import_a_framework():
    code = "import sys, helpers.training.launch; "
    code += "print(*{'jax', 'keras', 'tensorflow'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == ""


def test_numbers_below_one_are_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        launch.main(["--epochs", "0"])
    assert "must be at least 1" in capsys.readouterr().err
