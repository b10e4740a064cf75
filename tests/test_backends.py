"""Keras on JAX and on PyTorch, in programs of their own: Keras takes one backend a program."""

import importlib.util
import os
import subprocess
import sys
import tempfile
import textwrap
from contextlib import ExitStack

import pytest
from conftest import REPOSITORY

pytestmark = pytest.mark.timeout(900)

HOW = {
    "jax": "pip install -r notebooks/requirements.txt",
    "torch": "pip install torch (its home page tells how to get a small one, for CPUs only)",
}


def require(backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed: {HOW[backend]}")


def start(backend, log, *command, **environment):
    """Start Python with a backend of Keras's; what it prints goes to a file."""
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=REPOSITORY,
        env={**os.environ, "KERAS_BACKEND": backend, **environment},
        stdout=log,
        stderr=subprocess.STDOUT,
    )


def end_of(program, log):
    """Wait until a program ends well; what it printed."""
    status = program.wait(800)
    log.seek(0)
    said = log.read().decode()
    assert status == 0, said
    return said


MARKED = [
    *("-m", "pytest", "-m", "backends", "-q", "-p", "no:cacheprovider", "-p", "no:nbval"),
    *("-o", "addopts=--strict-markers", "tests/generators", "tests/training/test_predictions.py"),
]


@pytest.fixture(scope="module")
def programs():
    """The marked tests on each backend, side by side: for half of their time they wait."""
    with ExitStack() as stack:
        begun = {}
        for backend in filter(importlib.util.find_spec, HOW):
            log = stack.enter_context(tempfile.TemporaryFile())
            program = stack.enter_context(start(backend, log, *MARKED))
            stack.callback(program.kill)
            begun[backend] = program, log
        yield begun


@pytest.mark.slow
@pytest.mark.parametrize("backend", HOW)
def test_what_holds_on_tensorflow_holds_here(programs, backend):
    """Run the tests that are marked so: orders, bytes, reading ahead, faults, uint8."""
    require(backend)
    said = end_of(*programs[backend])
    assert " passed" in said  # whether all of them did, the exit status said


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
    require("jax")
    flags = "--xla_force_host_platform_device_count=2"
    with tempfile.TemporaryFile() as log:
        program = start("jax", log, "-c", textwrap.dedent(DEVICES), XLA_FLAGS=flags)
        said = end_of(program, log).splitlines()
    lines = [
        line for line in said if line.startswith(("the last", "batch_size", "no", "2 batches"))
    ]
    assert len(lines) == 4 * 3, lines
    for short, odd, dropped in zip(lines[::3], lines[1::3], lines[2::3], strict=True):
        assert short.startswith("the last batch of an epoch has 1 image, which 2 devices cannot")
        assert "drop_last=True" in short
        assert odd == "batch_size 3 is no multiple of 2 devices"
        assert dropped == "2 batches"
