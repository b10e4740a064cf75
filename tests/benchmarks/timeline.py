"""What recording a timeline costs: training with and without it, taking turns.

    python tests/benchmarks/timeline.py [--images N] [--repeats N]

Each way trains the same model on the same files; a round has an epoch with a timeline and an
epoch without. The table has the medians, and the median of the ratios within the rounds. The
goal is less than 2 %. The worker's own stopwatch, which always runs, is timed apart: seconds
for its laps over seconds for the batch. Let nothing else run beside it.
"""

import argparse
import contextlib
import os
import time
from statistics import median

import numpy as np
import pandas as pd
from tqdm import tqdm

import helpers

GOAL = 2.0  # percent


WAYS = {
    "one thread": {},
    "2 threads": {"workers": 2},
    "2 processes": {"workers": 2, "use_multiprocessing": True},
    "16 processes": {"workers": 16, "use_multiprocessing": True, "max_queue_size": 32},
}


def make_model(*hidden):
    """Compile a small classifier."""
    from keras import Input, Sequential, layers

    last = [layers.Flatten(), layers.Dense(10, activation="softmax")]
    model = Sequential([Input((200, 200, 3)), *hidden, *last])
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def make_models():
    """Make a network whose step takes milliseconds, and one that does next to nothing."""
    from keras import layers

    convolution = layers.Conv2D(16, 5, strides=4, activation="relu")
    return {
        "network": make_model(convolution, layers.MaxPooling2D(4)),
        "nearly none": make_model(layers.AveragePooling2D(20)),
    }


def seconds(model, generator, recorded):
    """Seconds for an epoch."""
    timeline = helpers.Timeline(generator, model) if recorded else contextlib.nullcontext()
    with timeline:
        start = time.perf_counter()
        model.fit(generator, epochs=1, verbose=0)
        return time.perf_counter() - start


def measure(files, repeats):
    """Rows of the table."""
    pairs = [(name, model, way) for name, model in make_models().items() for way in WAYS]
    for name, model, way in tqdm(pairs):
        with helpers.MY_Generator(files.filenames, files.labels, 32, **WAYS[way]) as generator:
            rounds = []
            for number in range(repeats + 1):
                order = (False, True) if number % 2 else (True, False)
                rounds.append({recorded: seconds(model, generator, recorded) for recorded in order})
        table = 1000 * pd.DataFrame(rounds[1:]) / len(generator)  # the first one warms up
        yield {
            "model": name,
            "workers": way,
            "ms a batch": table[False].median(),
            "recorded": table[True].median(),
            "slower (%)": 100 * ((table[True] / table[False]).median() - 1),
        }


def stopwatch_share(files):
    """Percent of the time for a batch that its own stopwatch takes."""
    from helpers.images.arrays import empty_arrays
    from helpers.images.batches import load_batch
    from helpers.images.laps import Laps
    from helpers.images.recipe import Recipe
    from helpers.images.request import BatchRequest

    request = BatchRequest(files.filenames[:32], Recipe((200, 200)))
    memory = empty_arrays(request.layout, 32)

    def time_batch():
        start = time.perf_counter()
        load_batch(request, memory)
        return time.perf_counter() - start

    def time_laps():
        start = time.perf_counter()
        laps = Laps()
        for _ in range(32):
            for kind in ("read", "decode", "resize"):
                laps.end(kind)
        laps.times()
        return time.perf_counter() - start

    pairs = [(time_laps(), time_batch()) for _ in range(200)][20:]
    return 100 * median(laps / batch for laps, batch in pairs)


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=3200)
    parser.add_argument("--repeats", type=int, default=9, help="rounds")
    options = parser.parse_args()
    helpers.quiet_tensorflow()
    files = helpers.load_sample()[0].shuffled()
    files = files.select(np.arange(options.images) % len(files.filenames))
    table = pd.DataFrame(measure(files, options.repeats))
    print(f"{options.images:,} images in batches of 32, {os.cpu_count()} cores")
    print(table.round(2).to_string(index=False))
    worst = table["slower (%)"].median()
    verdict = "reached" if worst < GOAL else "missed"
    print(f"{verdict}: recording costs {worst:.1f} % in the median of the ways (goal {GOAL:g})")
    print(f"a worker's stopwatch, which always runs, takes {stopwatch_share(files):.2f} %")


if __name__ == "__main__":
    main()
