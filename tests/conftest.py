"""Settings and pictures that the tests share."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")

import cv2
import numpy as np
import psutil
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


def write_picture(path, height, width, seed):
    """Write a soft random picture in colour, of any format that OpenCV knows."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    assert cv2.imwrite(os.fspath(path), cv2.blur(noise, (3, 3)))


def unchanged(image, rng):
    """Augment nothing; a module's function, as an executor of processes needs it."""
    return image


def shift(image, rng):
    """Add a random number; here, where a process that imports it imports no TensorFlow."""
    return image + rng.random(dtype=np.float32)


def is_alive(pid):
    """Whether a process runs; one that has ended and was not asked for yet does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(condition, seconds=30):
    """Whether a condition comes true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def in_background(function, *arguments):
    """Call a function in a thread that does not keep Python from ending; its result to come."""
    future = Future()

    def call():
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=call, daemon=True).start()
    return future


@contextmanager
def child(code, *arguments):
    """A Python that runs `code`; it is killed if it is still there at the end."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, cwd=REPOSITORY, text=True, **pipes)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=10)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Paths of 70 different pictures in colour, PNG and JPEG, of 9 to 30 pixels."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = [folder / f"{number:02}.{('png', 'jpg')[number % 2]}" for number in range(70)]
    for number, path in enumerate(paths):
        write_picture(path, 9 + number % 22, 9 + number * 7 % 22, seed=number)
    return [str(path) for path in paths]


@pytest.fixture
def broken_file(tmp_path):
    """A file that calls itself a picture and is none."""
    path = tmp_path / "broken.png"
    path.write_bytes(b"no picture")
    return str(path)


@pytest.fixture
def save(tmp_path):
    """Write bytes to a file and return its name."""

    def save(data, name="picture"):
        path = tmp_path / name
        path.write_bytes(data)
        return str(path)

    return save


@pytest.fixture(scope="module")
def scratch_file(tmp_path_factory):
    """One file for all the examples of a property."""
    return tmp_path_factory.mktemp("scratch") / "picture"
