"""What training takes of memory: more files, larger batches, longer queues, many names.

    python tests/benchmarks/memory.py [files] [formula] [photographs] [names] [cost]

files    The peak of ``fit`` over 2,000, 20,000 and 200,000 files (links to the sample's
         pictures): flat within 10 %.
formula  The growth of memory while a slow model lets as many batches be made ahead as may be,
         against a formula, for threads and processes, batch sizes and queue lengths: within 5 %.
photographs  The same with pictures of 12 megapixels, which take more than their batches.
names    A generator over 10,000,000 file names in a compact form.
cost     ``fit`` with `helpers.MemoryUse` and without, taking turns.

Each measurement has a process of its own, so that nothing of an earlier one counts. Without
names all of them are made, which takes about ten minutes.
"""

import argparse
import concurrent.futures
import contextlib
import math
import multiprocessing
import os
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
from tqdm import tqdm

import helpers
from helpers.profiling.footprint import MemoryUse

SIDE = 200  # pixels
PHOTOGRAPH, PHOTOGRAPHS = (3000, 4000), 62
PROCESSES = {"workers": 2, "use_multiprocessing": True}
THREADS = {"workers": 2}


def in_fresh_process(function, *arguments):
    """Call a function in a Python that did nothing before."""
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, spawn) as executor:
        return executor.submit(function, *arguments).result()


def make_model(seconds=0.0):
    """Compile a model that looks at each picture and takes `seconds` for a batch."""
    helpers.quiet_tensorflow()
    import keras

    class Slow(keras.Model):
        def train_step(self, *state_and_data):  # on JAX both, and both come back
            *state, (images, _) = state_and_data
            time.sleep(seconds)
            # Numpy looks at each backend's tensor where it is; Keras's own mean may take more.
            logs = {"mean": float(np.asarray(images).mean())}
            return (logs, *state) if state else logs

    model = Slow()
    model.built = True  # there are no weights
    model.compile(run_eagerly=True)
    return model


def sample_names(count):
    """Repeat the names of the sample's files."""
    names = helpers.load_sample()[0].filenames
    return [names[number % len(names)] for number in range(count)]


# More files


def link_files(folder, count):
    """Make `count` names of files, links to the sample's."""
    for number, name in enumerate(sample_names(count)):
        Path(folder, f"{number}.png").symlink_to(name)


def peak_of_fit(folder):
    """Memory of an epoch over all files of a folder, seconds and all."""
    names = [entry.path for entry in os.scandir(folder)]
    model = make_model(0.01)  # slower than the workers, so that few files fill the queue, too
    with (
        helpers.MY_Generator(names, np.zeros(len(names)), 32, shuffle=True, **PROCESSES) as batches,
        MemoryUse() as memory,
    ):
        model.fit(batches, verbose=0)
    return memory.summary()


def measure_files():
    """Print the peaks of more and more files."""
    rows = []
    for count in tqdm((2_000, 20_000, 200_000)):
        with tempfile.TemporaryDirectory() as folder:
            link_files(folder, count)
            rows.append({"files": count, **in_fresh_process(peak_of_fit, folder)})
    table = pd.DataFrame(rows)
    print(table.round(0).astype(int).to_string(index=False))
    growth = 100 * (table["peak (MB)"].iloc[-1] / table["peak (MB)"].iloc[0] - 1)
    verdict = "reached" if abs(growth) <= 10 else "missed"
    print(f"{verdict}: 100 times as many files take {growth:+.1f} % of memory (goal ±10)")


# Batch size and queue


def batches_held(workers, use_multiprocessing=False, max_queue_size=10):
    """Batches that there is memory for in the end, when the model is slow.

    `max_queue_size` are ready or in work, but one thread makes one. One is in TensorFlow's buffer
    (elsewhere Keras keeps the last one while it asks for the next), and one is trained on. If a
    step ever finds that buffer empty, as on a machine that is busy, TensorFlow holds one more.

    What comes next uses the memory of one that is gone. But one of several processes takes a slot
    that it had before, or a new one, before it takes one that another process had
    (SharedMemory.take): after some epochs all were used (MY_Generator._use_workers). For PyTorch
    Keras copies each batch, and has two of these copies besides.
    """
    import keras

    ahead = max_queue_size if use_multiprocessing or workers > 1 else 1
    others = 4 if use_multiprocessing and workers > 1 else 2
    return ahead + others + (2 if keras.backend.backend() == "torch" else 0)


def growth_of_fit(batch_size, options, of_photographs=False):
    """MB by which memory grows in ``fit``, and of that, what idle workers take."""

    def fit(side, size, seconds, epochs, of_photographs=False):
        if of_photographs:
            names = helpers.load_photographs(PHOTOGRAPH, PHOTOGRAPHS).filenames
        else:
            names = sample_names((options["max_queue_size"] + 10) * size)
        model = make_model(seconds)
        with (
            helpers.MY_Generator(
                names, np.zeros(len(names)), size, image_size=(side, side), **options
            ) as batches,
            MemoryUse() as memory,
        ):
            model.fit(batches, epochs=epochs, verbose=0)
        return memory

    # Tiny batches first: what TensorFlow takes once is there when it is the others' turn.
    idle = fit(8, 2, seconds=0.05, epochs=1).over_time()["workers"].max()
    grown = fit(SIDE, batch_size, 0.0015 * batch_size, 6, of_photographs).summary()
    return grown["data grew by (MB)"], idle


def decoding_megabytes():
    """MB that the largest photograph takes in the process that makes its row of a batch.

    Its file is read, it is decoded (3 bytes a pixel), and copied once as OpenCV hands it over. What
    a worker process once took, it keeps.
    """
    names = helpers.load_photographs(PHOTOGRAPH, PHOTOGRAPHS).filenames
    file_bytes = max(Path(name).stat().st_size for name in names)
    return (file_bytes + 2 * math.prod(PHOTOGRAPH) * 3) / 1e6


def measure_formula():
    """Print measured growth beside the formula's."""
    one = {"workers": 1}
    few = [(options, *case) for options in (one, PROCESSES | one) for case in ((128, 10), (128, 4))]
    many = [
        (options, *case)
        for options in (THREADS, PROCESSES, PROCESSES | {"workers": 8})
        for case in ((64, 2), (32, 10), (32, 32), (128, 4))
    ]
    print_growth([(*case, False) for case in few + many])


def measure_photographs():
    """The same for photographs."""
    print_growth([(PROCESSES | {"workers": workers}, 4, 4, True) for workers in (2, 4)])


def print_growth(cases):
    """Measure cases of (options, batch size, queue, of photographs or not), and print a table."""
    rows = []
    for options, batch_size, queue, of_photographs in tqdm(cases):
        options = {**options, "max_queue_size": queue}
        grown, idle = in_fresh_process(growth_of_fit, batch_size, options, of_photographs)
        batch = batch_size * SIDE * SIDE * 3 * 4 / 1e6
        formula = batches_held(**options) * batch + idle
        if of_photographs:
            formula += options["workers"] * decoding_megabytes()
        rows.append(
            {
                "workers": options["workers"],
                "what": "processes" if "use_multiprocessing" in options else "threads",
                "batch size": batch_size,
                "queue": queue,
                "grown by (MB)": grown,
                "formula (MB)": formula,
                "off by (%)": 100 * (grown / formula - 1),
            }
        )
    table = pd.DataFrame(rows)
    print(table.round(0).to_string(index=False))
    worst = table["off by (%)"].abs().max()
    verdict = "reached" if worst <= 5 else "missed"
    print(f"{verdict}: the formula is off by at most {worst:.0f} % (goal 5)")
    print("threads:   batch bytes × (queue + 2); of one thread, × 3")
    print("processes: batch bytes × (queue + 4) + idle processes; of one process, × (queue + 2)")
    print("           + workers × what decoding takes: the largest file, and 2 × its picture")
    print("on PyTorch: 2 batches more")


# Many names


def make_generator_of(count):
    """Make a generator over `count` names and use it; what each step took."""
    real = np.array(helpers.load_sample()[0].filenames, np.dtypes.StringDType())
    helpers.MY_Generator(real, np.zeros(len(real)), 128)[0]  # imports and first uses
    made, rows = {}, []

    def names():
        made["names"] = np.tile(real, count // len(real)), np.zeros(count, np.int64)

    def construction():
        made["batches"] = helpers.MY_Generator(*made["names"], 128, shuffle=True)

    steps = {
        "names and labels, made by numpy": names,
        "construction": construction,
        "first batch, with its epoch's shuffle": lambda: made["batches"][0],
        "another batch": lambda: made["batches"][1],
        "first batch of the next epoch, with its shuffle": lambda: made["batches"].batch(1, 0),
    }
    for what, step in steps.items():
        with MemoryUse(interval=60) as memory:  # before and after: looking takes time, too
            start = time.perf_counter()
            step()
            seconds = time.perf_counter() - start
        rows.append({"what": what, "seconds": seconds, **memory.summary()})
    return pd.DataFrame(rows)[["what", "seconds", "data grew by (MB)"]]


def measure_names():
    """Print what 10,000,000 names take."""
    count = 10_000_000
    table = in_fresh_process(make_generator_of, count)
    print(f"{count:,} names as a numpy array of np.dtypes.StringDType(), batches of 128")
    print(table.round(3).to_string(index=False))
    print(f"in all: {table['data grew by (MB)'].sum():,.0f} MB")


# The cost of looking


def seconds_of_fit(generator, watched):
    """Seconds for an epoch, with or without a `MemoryUse`."""
    model = make_model()
    with MemoryUse() if watched else contextlib.nullcontext():
        start = time.perf_counter()
        model.fit(generator, verbose=0)
        return time.perf_counter() - start


def measure_cost(images=6_400, repeats=9):
    """Print what looking costs: epochs with it and without it, taking turns."""
    names, labels = sample_names(images), np.zeros(images)
    for what, options in {"threads": THREADS, "processes": PROCESSES}.items():
        with helpers.MY_Generator(names, labels, 32, **options) as generator:
            seconds_of_fit(generator, watched=True)  # to warm up
            ratios = []
            for number in range(repeats):
                order = (False, True) if number % 2 else (True, False)
                seconds = {watched: seconds_of_fit(generator, watched) for watched in order}
                ratios.append(seconds[True] / seconds[False])
        print(f"2 {what}: an epoch with MemoryUse takes {median(ratios):.3f} times as long")


def main():
    """Measure and print."""
    parts = {
        "files": measure_files,
        "formula": measure_formula,
        "photographs": measure_photographs,
        "names": measure_names,
        "cost": lambda: in_fresh_process(measure_cost),
    }
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*parts, []], help="all of them, if none")
    for part in parser.parse_args().parts or parts:
        parts[part]()


if __name__ == "__main__":
    main()
