"""How late epochs of Keras's fit begin on TensorFlow, with data that are there at once.

    python tests/benchmarks/epoch_starts.py

`Zeros` returns the same array again and again, so nothing is ever waited for, and still some
epochs begin late, by seconds. It is TensorFlow's tf.data: Keras leaves its autotuning on for a
sequence with ``workers=1``, which is what `MY_Generator` shows it.
"""

import time
from statistics import median

import keras
import numpy as np
import pandas as pd
from keras import layers

from helpers import MY_Generator, load_sample

EPOCHS = 20


class Zeros(keras.utils.PyDataset):
    """So many batches that need not be made."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches
        self.batch = np.zeros((32, 200, 200, 3), np.float32), np.zeros(32)

    def __len__(self):
        return self.batches

    def __getitem__(self, index):
        return self.batch


class Starts(keras.callbacks.Callback):
    """Notes how long the first step of each epoch took, and the median of the others."""

    def __init__(self):
        super().__init__()
        self.first, self.other = [], []

    def on_epoch_begin(self, epoch, logs=None):
        self.ends = [time.perf_counter()]

    def on_train_batch_end(self, batch, logs=None):
        self.ends.append(time.perf_counter())

    def on_epoch_end(self, epoch, logs=None):
        steps = np.diff(self.ends)
        self.first.append(steps[0])
        self.other.append(median(steps[1:]))


def network():
    """Return a network whose step takes a tenth of a second or two, on two cores."""
    convolutions = [layers.Conv2D(n, 3, strides=2, activation="relu") for n in (32, 64, 128)]
    end = [layers.GlobalMaxPooling2D(), layers.Dense(10, activation="softmax")]
    model = keras.Sequential([keras.Input((200, 200, 3)), *convolutions, *end])
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def ours(batches):
    """Return a generator of so many batches of drawings, made by two threads."""
    files = load_sample()[0].select(range(32 * batches))
    return MY_Generator(files.filenames, files.labels, 32, workers=2)


def row(model, what, make, batches):
    """Train, and count the epochs after the first that began late by more than a step."""
    starts = Starts()
    model.fit(make(batches), epochs=EPOCHS + 1, verbose=0, callbacks=[starts])
    step = median(starts.other)
    late = [first - step for first in starts.first[1:] if first > 2 * step]
    return {
        "what": what,
        "batches": batches,
        "an epoch's steps (s)": batches * step,
        f"late, of {EPOCHS}": len(late),
        "median of these (s)": median(late) if late else 0.0,
    }


def main():
    model = network()
    model.fit(Zeros(3), verbose=0)  # compiles it
    rows = [
        row(model, what, make, batches)
        for batches in (10, 20, 40)
        for what, make in {"zeros": Zeros, "MY_Generator": ours}.items()
    ]
    print(pd.DataFrame(rows).round(2).to_string(index=False))


if __name__ == "__main__":
    main()
