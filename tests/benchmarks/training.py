"""Does training wait? With a real network, and with an `augment` in slow Python.

    python tests/benchmarks/training.py [--data FOLDER] [--batch-size N] [--batches N]
                                        [--repeats N]

First table: images/s of ``fit`` itself with a small network at 200×200, against the same network
on a constant batch that lies in memory. Second table: images/s with an `augment` that holds the
GIL for 2 ms an image, with a model that does nothing. All ways take turns; each figure is the
median of the repeats, of the second of two epochs, and each goal's the median of the ratios
within each round.
"""

import argparse
import time
from functools import partial

import numpy as np
from speed import CORES, measure, print_goals, summarize, through_fit

import helpers

GIL_SECONDS = 0.002
CONSTANT = "a constant batch in memory"
ONE = "MY_Generator, one process"
THREADS = f"MY_Generator, {CORES} threads"
PROCESSES = f"MY_Generator, {CORES} processes"
SIXTEEN = "MY_Generator, 16 processes, queue 32"
WORKERS = {
    ONE: {},
    THREADS: {"workers": CORES},
    PROCESSES: {"workers": CORES, "use_multiprocessing": True},
    SIXTEEN: {"workers": 16, "use_multiprocessing": True, "max_queue_size": 32},
}


def network(classes):
    """Return the network of TensorFlow's tutorial on image classification, at 200×200.

    https://www.tensorflow.org/tutorials/images/classification. A lighter one would leave the
    question open on a machine without a GPU, where the decoder's share of the cores, however
    it is arranged, is lost to the training.
    """
    from keras import Input, Sequential, layers
    from keras.losses import SparseCategoricalCrossentropy

    model = Sequential([Input((200, 200, 3))])
    for filters in (16, 32, 64):
        model.add(layers.Conv2D(filters, 3, padding="same", activation="relu"))
        model.add(layers.MaxPooling2D())
    model.add(layers.Flatten())
    model.add(layers.Dense(128, activation="relu"))
    model.add(layers.Dense(classes))
    loss = SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    return model


def time_training(model, images, way):
    """Images/s of the second epoch of ``fit``, from its beginning to its last step."""
    from keras.callbacks import LambdaCallback

    times = {}
    note = LambdaCallback(
        on_epoch_begin=lambda epoch, logs: times.update(begin=time.perf_counter()),
        on_train_batch_end=lambda batch, logs: times.update(end=time.perf_counter()),
    )
    with way as sequence:
        model.fit(sequence, epochs=2, verbose=0, callbacks=[note])
    return images / (times["end"] - times["begin"])


def slow_augment():
    """Return an `augment` in plain Python that takes `GIL_SECONDS` on this machine."""

    def count(rounds):
        for _ in range(rounds):
            pass

    rounds = 1_000_000
    start = time.perf_counter()
    count(rounds)
    rounds = int(rounds * GIL_SECONDS / (time.perf_counter() - start))

    def augment(image, rng):
        count(rounds)
        return image

    return augment


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="FOLDER", help="class folders; the sample if left out")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--batches", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    helpers.quiet_tensorflow()
    import ways

    size, batches = options.batch_size, options.batches
    files = helpers.load_folder(options.data) if options.data else helpers.load_sample()[0]
    files = files.shuffled().select(np.arange(batches * size) % len(files.filenames))
    generator = partial(ways.my_generator, files, size)

    model = network(len(files.class_names))
    train = partial(time_training, model, len(files.filenames))
    rates = measure(
        {CONSTANT: lambda: train(ways.constant(files, size, batches))}
        | {name: lambda how=how: train(generator(**how)) for name, how in WORKERS.items()},
        options.repeats,
    )
    print(f"\nA network of {model.count_params():,} weights, batches of {size}, {CORES} cores")
    print(summarize(rates, size).to_string())
    print_goals(
        (f"{name}, of a constant batch", (rates[name] / rates[CONSTANT]).median(), 0.95)
        for name in (PROCESSES, SIXTEEN)
    )

    augment = slow_augment()
    rates = measure(
        {
            name: lambda how=how: through_fit(generator(augment=augment, **how))
            for name, how in WORKERS.items()
        },
        options.repeats,
    )
    print(
        f"\naugment holds the GIL for {1000 * GIL_SECONDS:g} ms, batches of {size}, {CORES} cores"
    )
    print(summarize(rates, size).to_string())
    print_goals(
        [(f"{PROCESSES}, of one process", (rates[PROCESSES] / rates[ONE]).median(), 0.8 * CORES)]
    )


if __name__ == "__main__":
    main()
