"""How fast photographs come, this way and others: one command, one table for each kind.

    pip install -r tests/benchmarks/requirements.txt
    python tests/benchmarks/photos.py [web] [camera] [resize] [--images N] [--batch-size N]
                                      [--repeats N] [--only WORD ...]
    python tests/benchmarks/photos.py --data FOLDER ...

web     1,000 JPEG files of 500×375, batches of 32 (see `helpers.load_photographs`).
camera  62 of 4000×3000, batches of 16.
resize  One picture, one thread: as `python tests/benchmarks/resizing.py`.

Without names all are measured; with --data only the JPEG files of a folder. Pictures become
224×224, float32. All ways read the same files in the same run and take turns. This project and
tf.data are measured through ``fit`` with a model that does nothing (see `helpers.time_epoch`),
the others by themselves, which takes less. Each table has the median of the repeats, the slowest
and the fastest, and says whether a way filters before it shrinks: one that does not has less to
do, and its pictures are worse. Each goal's figure is the median of the ratios within each round.
Let nothing else run beside it.
"""

import argparse
import os
import time
import warnings
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import pandas as pd
from decoding import load_with_area, load_with_pillow, measure_limit
from PIL import Image
from resizing import LARGE, measure_resizing
from speed import (
    CORES,
    ONE,
    PROCESSES,
    SIXTEEN,
    measure,
    print_goals,
    print_versions,
    through_fit,
)

import helpers
from helpers.datasets.listing import JPEG_ENDINGS

# Keras is imported in functions only: Grain's processes import this file again when they start.

SIZE = (224, 224)

ONE_DRAFT = "MY_Generator, draft, one process"
PROCESSES_DRAFT = f"MY_Generator, draft, {CORES} processes"
SIXTEEN_DRAFT = "MY_Generator, draft, 16 processes, queue 32"
TF_DATA = "tf.data, not antialiased"
TF_DATA_ANTIALIASED = "tf.data, antialiased"
LOADER = f"DataLoader, Pillow, {CORES} workers"
LOADER_DRAFT = f"DataLoader, Pillow's draft, {CORES} workers"
GRAIN = "Grain, INTER_AREA"
DECODE = f"decode alone, {CORES} processes"
FILTERS = {  # how the names of ways begin
    "MY_Generator": "yes, Gaussian",
    TF_DATA: "no",
    TF_DATA_ANTIALIASED: "yes, triangle",
    "DataLoader": "yes, triangle",
    GRAIN: "yes, box",
    DECODE: "",
}


class Kind(NamedTuple):
    """A kind of pictures, and what is to be reached: a way, others (the best of them), a ratio."""

    image_size: tuple[int, int]
    images: int
    batch_size: int
    goals: tuple[tuple[str, str, float], ...]


WEB_GOALS = (
    (PROCESSES, TF_DATA, 0.95),
    (PROCESSES, TF_DATA_ANTIALIASED, 2),
    (PROCESSES, GRAIN, 1.25),
    (PROCESSES, LOADER, 1.5),
    (SIXTEEN, PROCESSES, 0.95),
    (ONE, PROCESSES, 0.45),
)
CAMERA_GOALS = (
    (PROCESSES, TF_DATA_ANTIALIASED, 1),
    (PROCESSES, LOADER, 1.4),
    (PROCESSES_DRAFT, LOADER_DRAFT, 1.2),
    (PROCESSES_DRAFT, TF_DATA, 1.5),
)
KINDS = {
    "web": Kind((375, 500), 1000, 32, WEB_GOALS),
    "camera": Kind((3000, 4000), 62, 16, CAMERA_GOALS),
}


def make_ways(files, batch_size):
    """Return all ways, as functions that measure once and return images/s."""
    import ways

    processes = {"workers": CORES, "use_multiprocessing": True}
    sixteen = {"workers": 16, "use_multiprocessing": True, "max_queue_size": 32}

    def fit(way, **options):
        return lambda: through_fit(way(files, batch_size, image_size=SIZE, **options))

    def drain(way, load, **options):
        return lambda: drained(way(files, batch_size, load=load, **options))

    mine = partial(fit, ways.my_generator)
    area = partial(load_with_area, image_size=SIZE)
    pillow = partial(load_with_pillow, image_size=SIZE)
    draft = partial(pillow, draft=True)
    peers = {}
    if ways.installed("torch"):
        peers[LOADER] = drain(ways.data_loader, pillow, workers=CORES)
        peers[LOADER_DRAFT] = drain(ways.data_loader, draft, workers=CORES)
    if ways.installed("grain"):
        peers[f"{GRAIN}, {CORES} threads"] = drain(ways.grain, area, threads=CORES)
        peers[f"{GRAIN}, {CORES} processes"] = drain(ways.grain, area, processes=CORES)
    return {
        ONE: mine(),
        f"MY_Generator, {CORES} threads": mine(workers=CORES),
        PROCESSES: mine(**processes),
        SIXTEEN: mine(**sixteen),
        ONE_DRAFT: mine(draft=True),
        PROCESSES_DRAFT: mine(draft=True, **processes),
        SIXTEEN_DRAFT: mine(draft=True, **sixteen),
        TF_DATA: fit(ways.tf_data),
        TF_DATA_ANTIALIASED: fit(ways.tf_data, antialias=True),
        **peers,
        DECODE: lambda: measure_limit(files.filenames, CORES),
    }


def drained(way):
    """Images/s of one way by itself: of the second epoch, as through ``fit``."""
    with way as batches:
        for _ in range(2):
            start = time.perf_counter()
            images = sum(len(labels) for _, labels in batches)
            seconds = time.perf_counter() - start
    return images / seconds


def summarize(rates):
    """Return the table that is printed."""
    table = pd.DataFrame(
        {
            "images/s": rates.median(),
            "slowest": rates.min(),
            "fastest": rates.max(),
            "ms an image": 1000 / rates.median(),
        }
    )
    table = table.sort_values("images/s").map("{:,.1f}".format)
    table["filters before shrinking"] = [
        next(text for start, text in FILTERS.items() if name.startswith(start))
        for name in table.index
    ]
    return table


def compare(rates, goals):
    """Yield (what is compared, figure reached or None, goal)."""
    for way, others, goal in goals:
        columns = [name for name in rates if name.startswith(others)]
        measured = way in rates and columns
        ratios = rates[way] / rates[columns].max(axis=1) if measured else None
        yield f"{way}, of {others}", median(ratios) if measured else None, goal


def measure_files(files, batch_size, goals, options):
    """Measure all ways with these files, and print."""
    for filename in set(files.filenames):
        Path(filename).read_bytes()  # from here on, all are in the system's cache
    ways = make_ways(files, batch_size)
    if options.only:
        ways = {n: way for n, way in ways.items() if any(word in n for word in options.only)}
    rates = measure(ways, options.repeats)
    kilobytes = np.mean([Path(name).stat().st_size for name in files.filenames]) / 1000
    print(f"\n{len(files.filenames):,} files of {kilobytes:,.0f} kB on average, to 224×224")
    print(f"Batches of {batch_size}, {CORES} cores, medians of {options.repeats}")
    print(summarize(rates).to_string())
    print_goals(compare(rates, goals))


def measure_kind(kind, options):
    """Measure with pictures of one kind."""
    files = helpers.load_photographs(kind.image_size, options.images or kind.images)
    measure_files(files, options.batch_size or kind.batch_size, kind.goals, options)


def measure_folder(options):
    """Measure with the user's own pictures, against the goals of their kind."""
    paths = sorted(Path(options.data).rglob("*"))
    names = [os.fspath(path) for path in paths if path.suffix.lower() in JPEG_ENDINGS]
    if not names:
        raise SystemExit(f"There are no JPEG files in {options.data!r}")
    files = helpers.ImageFiles(names, np.zeros(len(names), np.int64), ("all",)).shuffled()
    files = files.select(np.arange(options.images or len(names)) % len(names))
    large = median(megapixels(name) for name in names) >= LARGE
    goals = KINDS["camera" if large else "web"].goals
    measure_files(files, options.batch_size or 32, goals, options)


def megapixels(filename):
    """Look up the size of a picture in its header."""
    with Image.open(filename) as image:
        return image.width * image.height / 1e6


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = (*KINDS, "resize")
    parser.add_argument("parts", nargs="*", choices=[*parts, []], help="all of them, if none")
    parser.add_argument("--data", metavar="FOLDER", help="JPEG files of yours, in any depth")
    parser.add_argument("--images", type=int, help="those of a folder are repeated as needed")
    parser.add_argument("--batch-size", type=int, help="32, of a camera's pictures 16")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs="+", metavar="WORD", help="ways with one of these in them")
    options = parser.parse_args()
    options.parts = options.parts or parts
    return options


def main():
    """Measure and print."""
    options = parse()
    helpers.quiet_tensorflow()
    warnings.filterwarnings("ignore", "`shuffle=True` was passed")  # Keras, of data sets
    print_versions()
    if options.data:
        measure_folder(options)
        return
    for name, kind in KINDS.items():
        if name in options.parts:
            measure_kind(kind, options)
    if "resize" in options.parts:
        measure_resizing(options.repeats)


if __name__ == "__main__":
    main()
