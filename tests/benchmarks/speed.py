"""How fast batches come, this way and others: one command, one table for each batch size.

    pip install -r tests/benchmarks/requirements.txt
    python tests/benchmarks/speed.py [--data FOLDER] [--images N] [--batch-sizes N ...]
                                     [--repeats N] [--only WORD ...]

All ways read the same files in the same run and take turns; each is measured through ``fit``
with a model that does nothing (see `helpers.time_epoch`). The table has the median of the
repeats, the slowest and the fastest. Below it each goal is compared with what was reached: the
median of the ratios within each round. Let nothing else run beside it. With 8,000 images,
both batch sizes and five repeats it takes about half an hour on two cores.
"""

import argparse
import os
import tempfile
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
from absl import logging
from decoding import SIZE, measure_limit
from tqdm import tqdm

import helpers

# Keras is imported in functions only: Grain's processes import this file again when they start.
logging.set_verbosity(logging.ERROR)  # Grain warns, in each of them, that there is no JAX

CORES = os.cpu_count()
ONE = "MY_Generator, one process"
PROCESSES = f"MY_Generator, {CORES} processes"
SIXTEEN = "MY_Generator, 16 processes, queue 32"
RECIPE = "CIFAR10Sequence, 16 processes, queue 32"
FIT = "the same batch again and again, aligned"
LIMIT = f"decode and resize alone, {CORES} processes"
REQUIREMENTS = "tests/benchmarks/requirements.txt"
TEXTBOOK_BATCHES = 4  # the textbook class is so slow that more would only take longer
RECIPE_BATCHES = 16  # one for each process
FEW_IMAGES = 2000  # for Keras's own pool, which is slow as well


def make_ways(files, folder, size):
    """Return all ways, as functions that measure once and return images/s."""
    import ways

    batches = -(-len(files.filenames) // size)
    few = files.select(range(min(FEW_IMAGES, len(files.filenames))))
    queue = {"workers": 16, "use_multiprocessing": True, "max_queue_size": 32}

    def mine(**options):
        return lambda: through_fit(ways.my_generator(files, size, **options))

    def fit(way, *arguments, **options):
        return lambda: through_fit(way(*arguments, size, **options))

    peers = {}
    if ways.installed("torch"):
        for workers in (0, CORES, 16):
            peers[f"DataLoader, {workers} workers"] = fit(ways.data_loader, files, workers=workers)
    if ways.installed("grain"):
        peers[f"Grain, {CORES} threads"] = fit(ways.grain, files, threads=CORES)
        peers[f"Grain, {CORES} processes"] = fit(ways.grain, files, processes=CORES)
    return {
        RECIPE: fit(ways.textbook, files, batches=RECIPE_BATCHES, **queue),
        "CIFAR10Sequence, one process": fit(ways.textbook, files, batches=TEXTBOOK_BATCHES),
        f"Keras's own {CORES} processes, our decoder": fit(ways.keras_pool, few, workers=CORES),
        "image_dataset_from_directory": fit(ways.from_directory, folder),
        "tf.data, per image": fit(ways.tf_data, files, resize_batches=False),
        "tf.data, per batch": fit(ways.tf_data, files, resize_batches=True),
        **peers,
        ONE: mine(),
        f"MY_Generator, {CORES} threads": mine(workers=CORES),
        PROCESSES: mine(workers=CORES, use_multiprocessing=True),
        SIXTEEN: mine(**queue),
        "the same batch again and again, not aligned": fit(
            ways.constant, files, batches=batches, aligned=False
        ),
        FIT: fit(ways.constant, files, batches=batches),
        LIMIT: lambda: measure_limit(files.filenames, CORES, size),
    }


def through_fit(way):
    """Images/s of one way."""
    with way as sequence:
        return helpers.time_epoch(sequence).images_per_second


def measure(ways, repeats):
    """Table of images/s: a row for each round, a column for each way."""
    rounds = [(number, name) for number in range(repeats) for name in ways]
    rates = pd.DataFrame(index=range(repeats), columns=list(ways), dtype=float)
    progress = tqdm(rounds)
    for number, name in progress:
        progress.set_description(name)
        rates.loc[number, name] = ways[name]()
    return rates


def summarize(rates, size):
    """Return the table that is printed."""
    table = pd.DataFrame(
        {
            "images/s": rates.median(),
            "slowest": rates.min(),
            "fastest": rates.max(),
            "ms a batch": 1000 * size / rates.median(),
        }
    )
    if RECIPE in rates:
        table["× the article's"] = rates.div(rates[RECIPE], axis=0).median()
    return table.sort_values("images/s").map("{:,.1f}".format)


def goals(rates, size):
    """Yield (what is compared, figure reached or None, goal)."""

    def best(*kinds):
        return rates[[name for name in rates if name.startswith(kinds)]].max(axis=1)

    def ratio(a, b):
        return median(a / b) if len(a.dropna()) and len(b.dropna()) else None

    rate = {name: rates.get(name, pd.Series(np.nan, rates.index)) for name in WITH_GOALS}
    if size >= 128:
        what = f"{CORES} processes, of the limit"
        yield what, ratio(rate[PROCESSES], rate[LIMIT]), 0.8
    else:
        # A batch costs `limit` seconds on all cores, and `fit` itself costs one core `own`
        # seconds; spread over all cores that is `limit + own / cores`. Less than `own` is not
        # to be had, since `fit` has one thread.
        limit, own = size / rate[LIMIT], size / rate[FIT]
        left = size / np.maximum(limit + own / CORES, own)
        what = f"{CORES} processes, of what the limit leaves beside fit's own cost"
        yield what, ratio(rate[PROCESSES], left), 0.8
    tf_data = ("tf.data", "image_dataset")
    others = best(*tf_data, "DataLoader", "Grain")
    yield f"{CORES} processes, of the best of the others", ratio(rate[PROCESSES], others), 2.5
    yield f"16 processes, of {CORES} processes", ratio(rate[SIXTEEN], rate[PROCESSES]), 0.9
    yield "16 processes, of the article's recipe", ratio(rate[SIXTEEN], rate[RECIPE]), 60
    yield "one process, of tf.data on all cores", ratio(rate[ONE], best(*tf_data)), 1.3


WITH_GOALS = (ONE, PROCESSES, SIXTEEN, RECIPE, FIT, LIMIT)


def print_goals(compared, at_most=False):
    """Print a line for each goal: what is to be reached, or not to be exceeded."""
    words = "goal: at most" if at_most else "goal"
    for what, reached, goal in compared:
        if reached is None:
            print(f"not measured  {what} ({words} {goal:g})")
        else:
            good = reached <= goal if at_most else reached >= goal
            print(f"{'reached' if good else 'missed':12}  {what}: {reached:.2f} ({words} {goal:g})")


def print_versions():
    """Print which libraries are compared."""
    versions = []
    for name in ("keras", "tensorflow", "torch", "grain"):
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            versions.append(f"{name} is not installed (pip install -r {REQUIREMENTS})")
    print(", ".join(versions))


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data",
        metavar="FOLDER",
        help="class folders of JPEG or PNG files, all of one size; the sample if left out",
    )
    parser.add_argument("--images", type=int, default=8000, help="files are repeated as needed")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[32, 128], metavar="N")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs="+", metavar="WORD", help="ways with one of these in them")
    return parser.parse_args()


def link_into_folder(files, folder):
    """Make class folders with a link to each file, for image_dataset_from_directory."""
    for number, (filename, label) in enumerate(zip(files.filenames, files.labels, strict=True)):
        source = Path(filename).resolve()
        link = folder / files.class_names[label] / f"{number:07d}{source.suffix}"
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(source)


def main():
    """Measure and print."""
    options = parse()
    helpers.quiet_tensorflow()
    warnings.filterwarnings("ignore", "`shuffle=True` was passed")  # Keras, of data sets
    files = helpers.load_folder(options.data) if options.data else helpers.load_sample()[0]
    files = files.shuffled().select(np.arange(options.images) % len(files.filenames))
    for filename in set(files.filenames):
        Path(filename).read_bytes()  # from here on, all are in the system's cache
    kind = Path(files.filenames[0]).suffix
    print(f"{len(files.filenames):,} files ({kind}) at {SIZE[0]}×{SIZE[1]}, {CORES} cores")
    print_versions()
    with tempfile.TemporaryDirectory() as folder:
        link_into_folder(files, Path(folder))
        for size in options.batch_sizes:
            ways = make_ways(files, folder, size)
            if options.only:
                ways = {n: way for n, way in ways.items() if any(w in n for w in options.only)}
            rates = measure(ways, options.repeats)
            print(f"\nBatches of {size}, medians of {options.repeats}")
            few = f"{TEXTBOOK_BATCHES} batches an epoch, {RECIPE_BATCHES} in 16 processes"
            print(f"(CIFAR10Sequence: {few})")
            print(summarize(rates, size).to_string())
            print_goals(goals(rates, size))


if __name__ == "__main__":
    main()
