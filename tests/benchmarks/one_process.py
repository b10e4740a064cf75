"""How fast batches come without worker processes: one command, one table.

    python tests/benchmarks/one_process.py [--data FOLDER] [--batch-size N] [--repeats N]

All ways read the same files in the same run and take turns; each is measured through ``fit``
with a model that does nothing (see `helpers.time_epoch`); the table has medians.
"""

import argparse
from statistics import median

from helpers import load_folder, load_sample, quiet_tensorflow

quiet_tensorflow()

import keras  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import tensorflow as tf  # noqa: E402
from tqdm import tqdm  # noqa: E402

from helpers import CIFAR10Sequence, MY_Generator, time_epoch  # noqa: E402
from helpers.images import aligned_empty  # noqa: E402

SIZE = (200, 200)
TEXTBOOK_BATCHES = 6  # it is so slow that more would only take longer


class Constant(keras.utils.PyDataset):
    """The same batch again and again: what ``fit`` and the hand-over cost by themselves."""

    def __init__(self, images, batches):
        super().__init__()
        self.batch = images, np.zeros(len(images), np.int64)
        self.batches = batches

    def __len__(self):
        return self.batches

    def __getitem__(self, index):
        return self.batch


def tf_data(files, batch_size):
    """Read, decode, resize and batch as TensorFlow's guides do it, on all cores."""

    def load(filename, label):
        image = tf.io.decode_image(tf.io.read_file(filename), channels=3, expand_animations=False)
        return tf.image.resize(image, SIZE) / 255, label

    return (
        tf.data.Dataset.from_tensor_slices((files.filenames, files.labels))
        .map(load, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(batch_size)
        .prefetch(tf.data.AUTOTUNE)
    )


def unaligned(batch_size):
    """Make a batch at an address that TensorFlow does not take without a copy."""
    memory = aligned_empty((batch_size * SIZE[0] * SIZE[1] * 3 + 4,), "float32")
    return memory[4:].reshape(batch_size, *SIZE, 3)


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="a folder of class folders; the sample if left out")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    size = options.batch_size
    files = load_folder(options.data) if options.data else load_sample()[0]
    files = files.shuffled().select(range(2000))
    few = files.select(range(TEXTBOOK_BATCHES * size))
    batches = len(files.filenames) // size
    aligned = aligned_empty((size, *SIZE, 3), "float32")
    aligned[...] = 0

    def generator(workers):
        return MY_Generator(files.filenames, files.labels, size, image_size=SIZE, workers=workers)

    ways = {
        "CIFAR10Sequence, one process": lambda: CIFAR10Sequence(few.filenames, few.labels, size),
        "tf.data, all cores": lambda: tf_data(files, size),
        "MY_Generator, one process": lambda: generator(1),
        "MY_Generator, 2 threads": lambda: generator(2),
        "constant batch, not aligned": lambda: Constant(unaligned(size), batches),
        "constant batch, aligned": lambda: Constant(aligned, batches),
    }
    rates = {name: [] for name in ways}
    for name in tqdm(list(ways) * options.repeats, leave=False):
        rates[name].append(time_epoch(ways[name]()).images_per_second)
    medians = pd.Series({name: median(values) for name, values in rates.items()})
    table = pd.DataFrame(
        {
            "images/s": medians,
            "ms a batch": 1000 * size / medians,
            "× CIFAR10Sequence": medians / medians["CIFAR10Sequence, one process"],
            "× tf.data": medians / medians["tf.data, all cores"],
        }
    )
    print(f"batches of {size}, {SIZE[0]}×{SIZE[1]}, medians of {options.repeats}")
    print(table.to_string(float_format="{:,.2f}".format))


if __name__ == "__main__":
    main()
