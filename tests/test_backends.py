"""Keras on JAX and on PyTorch, in programs of their own: Keras takes one backend a program."""

import importlib.util
import os
import subprocess
import sys
import textwrap

import pytest
from conftest import REPOSITORY

pytestmark = pytest.mark.timeout(900)

HOW = {
    "jax": "pip install -r notebooks/requirements.txt",
    "torch": "pip install torch (its home page tells how to get a small one, for CPUs only)",
}


@pytest.fixture(params=HOW)
def backend(request):
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed: {HOW[request.param]}")
    return request.param


def run(backend, *command, **environment):
    """Run Python with a backend of Keras's; what it printed."""
    environment = {**os.environ, "KERAS_BACKEND": backend, **environment}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=800,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.slow
def test_what_holds_on_tensorflow_holds_here(backend):
    """Run the tests that are marked so: orders, bytes, reading ahead, faults, uint8."""
    options = ["-m", "backends", "-q", "-p", "no:cacheprovider", "-p", "no:nbval"]
    out = run(
        backend,
        "-m",
        "pytest",
        *options,
        "-o",
        "addopts=--strict-markers",
        "tests/generators",
        "tests/training/test_predictions.py",
    )
    assert " passed" in out  # whether all of them did, the exit status said


DEVICES = """
import keras, numpy as np
from helpers import MY_Generator, fit_generator, load_sample

files = load_sample()[0]
keras.distribution.set_distribution(keras.distribution.DataParallel())
model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(1)])
model.compile("sgd", "mse")

def make(count, batch_size, **options):
    names = files.filenames[:count]
    return MY_Generator(names, np.arange(count), batch_size, image_size=(8, 8), **options)

for train in (
    lambda generator: model.fit(generator, verbose=0),
    lambda generator: model.predict(generator, verbose=0),
    lambda generator: fit_generator(model, generator, steps_per_epoch=2, verbose=0),
    lambda generator: model.fit(make(8, 4), validation_data=generator, verbose=0),
):
    for generator in (make(9, 4), make(8, 3)):
        before = model.get_weights()
        try:
            train(generator)
        except ValueError as error:
            print(error)
        else:
            print("no error")
    generator = make(9, 4, drop_last=True, workers=2)
    train(generator)
    print(len(generator), "batches")
"""


def test_devices_need_batches_that_they_can_share():
    if importlib.util.find_spec("jax") is None:
        pytest.skip(f"jax is not installed: {HOW['jax']}")
    flags = "--xla_force_host_platform_device_count=2"
    lines = run("jax", "-c", textwrap.dedent(DEVICES), XLA_FLAGS=flags).splitlines()
    lines = [
        line for line in lines if line.startswith(("the last", "batch_size", "no", "2 batches"))
    ]
    assert len(lines) == 4 * 3, lines
    for short, odd, dropped in zip(lines[::3], lines[1::3], lines[2::3], strict=True):
        assert short.startswith("the last batch of an epoch has 1 image, which 2 devices cannot")
        assert "drop_last=True" in short
        assert odd == "batch_size 3 is no multiple of 2 devices"
        assert dropped == "2 batches"
