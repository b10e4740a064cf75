"""What one trainer refuses. Test_launch has trainings of several."""

import socket

import pytest
from conftest import child

from helpers.training import hosts

pytest.importorskip("jax", reason="pip install -r notebooks/requirements.txt")
OPTIONS = ["--address=127.0.0.1:1", "--folder=x", "--count=2"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "arguments are required: --address, --count, --index, --folder"),
        ([*OPTIONS, "--index=2"], "--index must be from 0 to 1; received 2"),
        ([*OPTIONS, "--index=-1"], "--index must be from 0 to 1; received -1"),
    ],
)
def test_wrong_arguments_are_named(arguments, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        hosts.main(arguments)
    assert message in capsys.readouterr().err


def test_a_missing_jax_is_named(monkeypatch, capsys):
    monkeypatch.setattr(hosts.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="2"):
        hosts.main([*OPTIONS, "--index=0"])
    assert "pip install -r notebooks/requirements.txt" in capsys.readouterr().err


def test_shares_that_are_not_equal_are_refused(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    code = "from helpers import MY_Generator; MY_Generator(list('abcde'), [0] * 5, 2, shard=(0, 2))"
    with child(code) as process:
        _, errors = process.communicate(timeout=100)
    assert "shard (0, 2) of 5 files: Keras needs equal shares on JAX; leave 1 of them" in errors


@pytest.mark.slow
def test_trainers_that_do_not_share_their_folder_are_refused(tmp_path, monkeypatch):
    """As if the first one alone had a backup: they begin at different batches."""
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    code = """
import sys
from helpers.training import hosts
from helpers.training import resume
index, address, folder = sys.argv[1:]

def begin(self, logs=None):
    if self.generator.shard[0] == 0:
        self.generator.start_at(1, 3)

resume.BackupAndResume.on_train_begin = begin
options = [f"--address={address}", f"--folder={folder}", "--count=2", f"--index={index}"]
hosts.main(options)
"""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    with child(code, 0, address, tmp_path) as first, child(code, 1, address, tmp_path) as second:
        errors = [trainer.communicate(timeout=100)[1] for trainer in (first, second)]
    assert first.returncode != 0 and second.returncode != 0
    # Both see it at the same time; JAX may end one of them first, because the other is gone.
    assert any("same folder on all hosts?" in error for error in errors)
