"""What comes on Keras's other backends, in a program of its own."""

import importlib.util
import os
import sys

import pytest

from helpers.classroom import other_backends as backends


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch", "tensorflow"])
def test_ours_come_in_order_and_are_made_during_the_step(backend):
    pytest.importorskip(backend)
    came = backends.batches_on(backend)
    every_one = list(range(backends.BATCHES))
    assert came.ours == every_one
    assert len(came.keras) == backends.BATCHES
    # A fault of Keras's, which notebook 04c is about: when it is mended, so is the notebook.
    assert (came.keras == every_one) == (backend == "tensorflow")
    step = 1000 * backends.SECONDS
    assert came.milliseconds[2] >= step
    if backend != "tensorflow":  # there a thread of its own asks, and makes what no worker makes
        assert came.milliseconds[0] >= 2 * step > came.milliseconds[2]


def test_a_backend_that_is_not_installed_is_left_out(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert backends.batches_on("jax") is None
    assert capsys.readouterr().out == "jax is left out: it is not installed.\n"


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for Python is a script for sh")
def test_a_program_that_fails_is_an_error_with_its_last_words(monkeypatch, tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho lost >&2\nexit 3\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(RuntimeError, match="on tensorflow ended with: lost"):
        backends.batches_on("tensorflow")
