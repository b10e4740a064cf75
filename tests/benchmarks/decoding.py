"""How a file becomes an array, here and elsewhere; imports nothing heavy, for worker processes.

As a command it measures the limit of any way to load batches: all cores decode and resize into
the same memory again and again (or into that of several batches in turn, as they must if batches
are to be used), and nothing is handed over. Without a batch size they only decode. It reads file
names from its standard input and prints images/s.

    python tests/benchmarks/decoding.py PROCESSES [BATCH_SIZE [BATCHES_IN_TURN]] < NAMES
"""

import multiprocessing
import subprocess
import sys
import time
from functools import partial
from itertools import cycle

import cv2
import numpy as np
from PIL import Image

from helpers.images.arrays import empty_arrays
from helpers.images.batches import load_batch
from helpers.images.reading import read_image
from helpers.images.recipe import Recipe
from helpers.images.request import BatchRequest
from helpers.images.resizing import resize_image

SIZE = (200, 200)
WARM_UP = 8  # pieces of work before the clock starts, which map the memory


def load_here(filename):
    """Load a picture as this project does."""
    return resize_image(read_image(filename), SIZE)


def load_with_area(filename, image_size):
    """Load a picture with OpenCV, each pixel the mean of those that it covers."""
    image = cv2.imread(filename, cv2.IMREAD_COLOR_RGB)
    return cv2.resize(image, image_size[::-1], interpolation=cv2.INTER_AREA) / np.float32(255)


def load_with_pillow(filename, image_size, draft=False):
    """Load a picture with Pillow, which may have the decoder leave fine detail out."""
    width_height = image_size[::-1]
    with Image.open(filename) as image:
        if draft:  # it gets no smaller than this, so that resizing still has something to filter
            image.draft("RGB", [2 * length for length in width_height])
        resized = image.convert("RGB").resize(width_height, Image.Resampling.BILINEAR)
    return np.asarray(resized, np.float32) / 255


class Pictures:
    """Single pictures and their labels: a data set for PyTorch, and a data source for Grain."""

    def __init__(self, files, load=load_here):
        self.filenames, self.labels = files.filenames, files.labels
        self.load = load

    def __len__(self):
        return len(self.filenames)

    def __getitem__(self, index):
        return self.load(self.filenames[index]), self.labels[index]


def requests(filenames, batch_size):
    """Cut a list of files into batches."""
    starts = range(0, len(filenames), batch_size)
    return [BatchRequest(filenames[start : start + batch_size], Recipe(SIZE)) for start in starts]


def measure_limit(filenames, processes, *batch_size_and_in_turn):
    """Images/s of `processes` that only decode and resize; without a batch size, only decode."""
    # In a program of its own: a fork of one that runs TensorFlow would not start clean.
    command = [sys.executable, __file__, str(processes), *map(str, batch_size_and_in_turn)]
    names = "\n".join(filenames)
    return float(subprocess.run(command, input=names, text=True, stdout=-1, check=True).stdout)


def pieces_of_work(filenames, batch_size=None, in_turn=1):
    """Return functions that load a batch each, or, without a batch size, decode a picture."""
    if batch_size is None:
        return [partial(decode, filename) for filename in filenames]
    batches = requests(filenames, batch_size)
    layout = batches[0].layout
    memories = cycle([empty_arrays(layout, len(batches[0].filenames)) for _ in range(in_turn)])
    return [
        partial(load_batch, batch, arrays) for batch, arrays in zip(batches, memories, strict=False)
    ]


def decode(filename):
    """Decode a picture with OpenCV alone."""
    cv2.imdecode(np.fromfile(filename, np.uint8), cv2.IMREAD_COLOR_RGB)


def work(ready, seconds, *arguments):
    """Do all pieces of work, when everyone is ready, and put the seconds that it took."""
    cv2.setNumThreads(1)
    pieces = pieces_of_work(*arguments)
    for piece in pieces[:WARM_UP]:
        piece()
    ready.wait()
    start = time.perf_counter()
    for piece in pieces:
        piece()
    seconds.put(time.perf_counter() - start)


def main():
    """Measure and print."""
    processes, *batch_size_and_in_turn = (int(argument) for argument in sys.argv[1:])
    filenames = sys.stdin.read().split("\n")
    ready, seconds = multiprocessing.Barrier(processes), multiprocessing.Queue()
    arguments = ready, seconds, filenames, *batch_size_and_in_turn
    started = [multiprocessing.Process(target=work, args=arguments) for _ in range(processes)]
    for process in started:
        process.start()
    slowest = max(seconds.get() for _ in started)
    for process in started:
        process.join()
    print(processes * len(filenames) / slowest)


if __name__ == "__main__":
    main()
