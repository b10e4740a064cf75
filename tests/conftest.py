"""Settings and pictures that the tests share."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")

import cv2
import numpy as np
import pytest


def write_picture(path, height, width, seed):
    """Write a soft random picture in colour, of any format that OpenCV knows."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    assert cv2.imwrite(os.fspath(path), cv2.blur(noise, (3, 3)))


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
