"""Does `helpers.simulate` come true? Predicted against measured images/s, for 1 to 16 workers.

    python tests/benchmarks/simulation.py [--data FOLDER] [--batch-size N] [--batches N]
                                          [--repeats N] [--only WORD ...]

Three runs, each with threads and with processes: a GPU's step (a model that sleeps) with files
that are there at once, and with files that take 2 ms each to arrive (an `augment` that sleeps,
which uses no core); and a small network on the CPU. What the simulation is told is measured with
one worker, each part by itself: the data with a model that does nothing, the model with one batch
again and again. All ways take turns; each figure is the median of the repeats. Let nothing else
run beside it. It takes about ten minutes on two cores.
"""

import argparse
import time
from functools import partial
from statistics import median

import numpy as np
import pandas as pd
from speed import CORES, measure
from tqdm import tqdm

import helpers
from helpers.profiling.diagnosis import costs_of

GPU_SECONDS = 0.005
FILE_SECONDS = 0.002
WORKERS = (1, 2, 4, 8, 16)
KINDS = {"threads": {}, "processes": {"use_multiprocessing": True}}
GOAL = 20  # per cent


def sleeping_model(seconds):
    """Return a model whose step keeps no core busy, as that of a GPU."""
    import keras

    class Sleeping(keras.Model):
        def train_step(self, data):
            if seconds:
                time.sleep(seconds)
            return {"loss": 0.0}

    model = Sleeping()
    model.built = True  # there are no weights to make
    model.compile(run_eagerly=True)
    return model


def network(classes):
    """Return a network that is small enough for the data to matter, without a GPU."""
    from keras import Input, Sequential, layers
    from keras.losses import SparseCategoricalCrossentropy

    model = Sequential([Input((200, 200, 3))])
    for filters in (8, 16):
        model.add(layers.Conv2D(filters, 3, strides=4, activation="relu"))
    model.add(layers.GlobalAveragePooling2D())
    model.add(layers.Dense(classes))
    model.compile("adam", SparseCategoricalCrossentropy(from_logits=True))
    return model


def late(image, rng):
    """Stand in for a file that takes time to arrive."""
    time.sleep(FILE_SECONDS)
    return image


def watch(way, model):
    """Return the timeline of two epochs, of which the second one counts."""
    with way as sequence, helpers.Timeline(sequence, model) as timeline:
        model.fit(sequence, epochs=2, verbose=0)
    return timeline


def cost_of_data(way):
    """Seconds per batch, from a run with one worker and a model that does nothing."""
    timeline = watch(way, sleeping_model(0))
    costs = costs_of(timeline)
    return {
        "read": max(costs.work.sum() - timeline.batch_cpu, 0.0),
        "decode": timeline.batch_cpu,
        "hand_over": costs.hand_over,
    }


def cost_of_model(way, model):
    """Seconds from step to step with data that are there, and the cores that a step keeps busy."""
    timeline = watch(way, model)
    return {"step": costs_of(timeline).period, "step_cores": timeline.step_cores}


def medians(function, repeats):
    """Call a function that returns a dict of numbers; the median of each."""
    return pd.DataFrame([function() for _ in range(repeats)]).median().to_dict()


def compare(runs, generator, constant, options):
    """Return a table: a row for each run, kind and number of workers."""
    ways, rows = {}, []
    for run, (model, augment) in tqdm(runs.items(), desc="one worker"):
        step = medians(lambda model=model: cost_of_model(constant(), model), options.repeats)
        for kind, how in KINDS.items():
            make = partial(generator, augment=augment, **how)
            costs = step | medians(lambda make=make: cost_of_data(make(workers=1)), options.repeats)
            told = ", ".join(f"{name} {value:.4f}" for name, value in costs.items())
            tqdm.write(f"{run}, {kind}: {told}")
            for workers in WORKERS:
                ways[f"{run}, {workers} {kind}"] = partial(measured_rate, make, workers, model)
                rows.append((run, kind, workers, predicted_rate(costs, workers, options)))
    rates = measure(ways, options.repeats)
    table = pd.DataFrame(rows, columns=["run", "kind", "workers", "predicted"])
    table["measured"] = rates.median().array
    table["slowest"], table["fastest"] = rates.min().array, rates.max().array
    table["error (%)"] = 100 * (table["predicted"] / table["measured"] - 1)
    return table.set_index(["run", "kind", "workers"])


def measured_rate(make, workers, model):
    """Images/s that a run has in truth."""
    return watch(make(workers=workers), model).summary()["images/s"]


def predicted_rate(costs, workers, options):
    """Images/s that the simulation gives."""
    sizes = {"batches": options.batches, "batch_size": options.batch_size}
    spans = helpers.simulate(**costs, workers=workers, cores=CORES, **sizes)
    return spans.summary()["images/s"]


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="FOLDER", help="class folders; the sample if left out")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--batches", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs="*", metavar="WORD", help="runs with these words")
    options = parser.parse_args()
    helpers.quiet_tensorflow()
    import ways

    size, batches = options.batch_size, options.batches
    files = helpers.load_folder(options.data) if options.data else helpers.load_sample()[0]
    files = files.shuffled().select(np.arange(batches * size) % len(files.filenames))
    gpu = sleeping_model(GPU_SECONDS)
    runs = {
        f"a GPU's step of {1000 * GPU_SECONDS:g} ms": (gpu, None),
        f"the same, and files that take {1000 * FILE_SECONDS:g} ms each": (gpu, late),
        "a small network on the CPU": (network(len(files.class_names)), None),
    }
    if options.only:
        runs = {run: how for run, how in runs.items() if any(word in run for word in options.only)}
    generator = partial(ways.my_generator, files, size)
    constant = partial(ways.constant, files, size, batches)
    table = compare(runs, generator, constant, options)
    print(f"\nimages/s, batches of {size}, an epoch of {batches}, {CORES} cores")
    print(table.map("{:,.0f}".format).to_string())
    others = table.query("workers > 1")  # of one worker, the simulation was told
    error = median(others["error (%)"].abs())
    verdict = "reached" if error <= GOAL else "missed"
    print(f"{verdict:12}  median error with 2 workers or more: {error:.1f} % (goal {GOAL} %)")


if __name__ == "__main__":
    main()
