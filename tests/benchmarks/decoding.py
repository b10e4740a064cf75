"""This project's decoder alone; needs numpy and OpenCV only, as worker processes do.

As a command it measures the limit of any way to load batches: all cores decode and resize into
the same memory again and again, and nothing is handed over. It reads file names from its
standard input and prints images/s.

    python tests/benchmarks/decoding.py BATCH_SIZE PROCESSES < NAMES
"""

import multiprocessing
import subprocess
import sys
import time

import cv2

from helpers.images.batches import BatchRequest, aligned_empty, load_batch
from helpers.images.reading import read_image
from helpers.images.resizing import resize_image

SIZE = (200, 200)


class Pictures:
    """Single pictures and their labels: a data set for PyTorch, and a data source for Grain."""

    def __init__(self, files):
        self.filenames, self.labels = files.filenames, files.labels

    def __len__(self):
        return len(self.filenames)

    def __getitem__(self, index):
        return resize_image(read_image(self.filenames[index]), SIZE), self.labels[index]


def requests(filenames, batch_size):
    """Cut a list of files into batches."""
    starts = range(0, len(filenames), batch_size)
    return [BatchRequest(filenames[start : start + batch_size], SIZE) for start in starts]


def measure_limit(filenames, batch_size, processes):
    """Images/s of `processes` that only decode and resize."""
    # In a program of its own: a fork of one that runs TensorFlow would not start clean.
    command = [sys.executable, __file__, str(batch_size), str(processes)]
    names = "\n".join(filenames)
    return float(subprocess.run(command, input=names, text=True, stdout=-1, check=True).stdout)


def load_all(batches, ready, seconds):
    """Load all batches, when everyone is ready, and put the seconds that it took."""
    cv2.setNumThreads(1)
    images = aligned_empty(batches[0].shape, "float32")
    load_batch(batches[0], images)  # maps the memory and warms everything up
    ready.wait()
    start = time.perf_counter()
    for batch in batches:
        load_batch(batch, images[: len(batch.filenames)])
    seconds.put(time.perf_counter() - start)


def main():
    """Measure and print."""
    batch_size, processes = (int(argument) for argument in sys.argv[1:])
    filenames = sys.stdin.read().split("\n")
    ready, seconds = multiprocessing.Barrier(processes), multiprocessing.Queue()
    arguments = requests(filenames, batch_size), ready, seconds
    started = [multiprocessing.Process(target=load_all, args=arguments) for _ in range(processes)]
    for process in started:
        process.start()
    slowest = max(seconds.get() for _ in started)
    for process in started:
        process.join()
    print(processes * len(filenames) / slowest)


if __name__ == "__main__":
    main()
