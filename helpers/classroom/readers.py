"""What other libraries need to read our files, and what is asked of all of them alike.

Worker processes import this file, so it loads nothing heavy.
"""

import importlib.util
import os
import re
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from helpers.classroom import apart

GREYS = 12  # images that `write_greys` writes
GREY_STEP = 20  # from one to the next


def installed(package: str) -> bool:
    """Tell whether a package can be imported; if not, a line says that it is left out.

    Parameters
    ----------
    package : str

    Returns
    -------
    bool
    """
    if importlib.util.find_spec(package) is None:
        print(f"{package} is left out: it is not installed.")
        return False
    return True


def load_with_pillow(filename: str, image_size: tuple[int, int]) -> np.ndarray:
    """Read an image and resize it with Pillow, which filters before it shrinks.

    Parameters
    ----------
    filename : str
    image_size : tuple of int
        Height and width.

    Returns
    -------
    numpy.ndarray
        float32 of shape (height, width, 3), from 0 to 1.
    """
    with Image.open(filename) as image:
        resized = image.convert("RGB").resize(image_size[::-1], Image.Resampling.BILINEAR)
    return np.asarray(resized, np.float32) / 255


class SingleImages:
    """Single images and their labels: a data set for PyTorch, and a data source for Grain.

    Parameters
    ----------
    files : helpers.ImageFiles
    image_size : tuple of int
        Height and width.
    load : callable, optional
        ``load(filename, image_size)`` returns an image.
    """

    def __init__(self, files: Any, image_size: tuple[int, int], load: Callable = load_with_pillow):
        self.filenames = [os.fspath(name) for name in files.filenames]
        self.labels = files.labels
        self.image_size = image_size
        self.load = load

    def __len__(self) -> int:
        return len(self.filenames)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        return self.load(self.filenames[index], self.image_size), int(self.labels[index])


def copied(files: Any, folder: str | os.PathLike) -> Path:
    """Copy files into a folder, with a folder of its own for each class.

    Parameters
    ----------
    files : helpers.ImageFiles
    folder : str or os.PathLike
        Made if it is not there.

    Returns
    -------
    Path
        The folder.
    """
    for number, (name, label) in enumerate(zip(files.filenames, files.labels, strict=True)):
        source = Path(name)
        target = Path(folder) / files.class_names[label] / f"{number:05}{source.suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    return Path(folder)


def write_greys(folder: str | os.PathLike) -> list[Path]:
    """Write twelve images of one grey each, in two classes: the grey tells which image it is.

    Parameters
    ----------
    folder : str or os.PathLike

    Returns
    -------
    list of Path
        The files: number 0 is black, each further one is brighter.
    """
    paths = [Path(folder) / "ab"[2 * n // GREYS] / f"{n:02}.png" for n in range(GREYS)]
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        paint(path, number)
    return paths


def paint(path: str | os.PathLike, number: int) -> None:
    """Write the grey image of this number into a file.

    Parameters
    ----------
    path : str or os.PathLike
    number : int
        From 0 to 12.
    """
    Image.fromarray(np.full((8, 8, 3), GREY_STEP * number, np.uint8)).save(path)


def numbers_of(batches: Iterable) -> list[int]:
    """Go through batches of `write_greys`'s images, and tell which came, in their order.

    Parameters
    ----------
    batches : iterable
        Of pairs of images and labels; images from 0 to 1, or from 0 to 255.

    Returns
    -------
    list of int
    """
    numbers: list[int] = []
    for images, _ in batches:
        greys = np.asarray(images, np.float64).mean(axis=(1, 2, 3))
        scale = 1 if greys.max() > 1 else 255
        numbers.extend(int(number) for number in np.round(scale * greys / GREY_STEP))
    return numbers


def images_per_second(readers: dict[str, Iterable], rounds: int = 3) -> dict[str, float]:
    """Time an epoch of each reader, in turns; a first round warms up and does not count.

    Parameters
    ----------
    readers : dict of str to iterable
        Each gives an epoch of batches, again and again.
    rounds : int, default 3

    Returns
    -------
    dict of str to float
        The median of each.
    """
    rates: dict[str, list[float]] = {name: [] for name in readers}
    for _ in range(rounds + 1):
        for name, reader in readers.items():
            start = time.perf_counter()
            count = sum(len(labels) for _, labels in reader)
            rates[name].append(count / (time.perf_counter() - start))
    return {name: statistics.median(rate[1:]) for name, rate in rates.items()}


def line_of(error: BaseException) -> str:
    """Return an error in a line: its kind, and what its message ends with, without folders.

    Parameters
    ----------
    error : BaseException

    Returns
    -------
    str

    Examples
    --------
    >>> line_of(ValueError("/data/dogs/12.png is damaged"))
    'ValueError: 12.png is damaged'
    """
    message = re.sub(r"\{\{.*?\}\}|\[\[.*?\]\]|\[Op:\w+\] name:", "", str(error))
    lines = [line.strip() for line in message.splitlines() if line.strip()] or [""]
    kind = type(error).__name__
    last = re.sub(r"(?:[A-Za-z]:)?[/\\](?:[^/\\\s']+[/\\])*", "", lines[-1])
    return f"{kind}: " + re.sub(rf"^(?:\w+\.)*{kind}: ", "", last)


def after_kills(makes: dict[str, Callable[[], Iterable]], seconds: float = 90) -> dict[str, str]:
    """Kill a worker process of each reader in the midst of an epoch, and tell how each ended.

    Each runs in a program of its own, on a leash, all of them side by side.

    Parameters
    ----------
    makes : dict of str to callable
        Each returns what is to be read; of a notebook, or of anywhere.
    seconds : float, default 90
        After that they are ended.

    Returns
    -------
    dict of str to str
        For each: how many images came, or the error, or that there was no end. Empty, with a
        line that says so, on another system than Linux.
    """
    if not apart.LINUX:
        print("Skipped: this needs workers that are forks, as they are on Linux.")
        return {}

    def ending(make: Callable[[], Iterable]) -> str:
        try:
            return apart.on_a_leash(_kill_and_count, make, seconds=seconds)
        except subprocess.TimeoutExpired:
            return f"no end: still waiting after {seconds:g} s"

    with ThreadPoolExecutor(len(makes)) as threads:
        return dict(zip(makes, threads.map(ending, makes.values()), strict=True))


def _kill_and_count(make: Callable[[], Iterable], after: int = 3) -> str:
    if importlib.util.find_spec("absl"):
        from absl import flags

        flags.FLAGS.mark_as_parsed()  # Grain's processes look at them (google/grain#1355)
    count = killed = 0
    try:
        for number, (_, labels) in enumerate(make(), start=1):
            count += len(labels)
            if number == after:
                for victim in _workers()[:1]:
                    killed += 1
                    victim.kill()
                    time.sleep(0.5)  # PyTorch's error comes with the signal, wherever one is then
    except Exception as error:
        line = re.sub(r"(pid\S*) \d+", r"\1 …", line_of(error))
        return f"{killed} killed; then {line}"
    return f"{killed} killed; {count} images came"


def _workers() -> list[psutil.Process]:
    """Return the processes of this one that started none themselves, but for Python's own."""
    return [
        process
        for process in psutil.Process().children(recursive=True)
        if not process.children() and "resource_tracker" not in " ".join(process.cmdline())
    ]
