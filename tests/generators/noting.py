"""A model that trains nothing and notes which batches it gets; and what its tests share."""

import copy
import zlib
from functools import partial

import cv2
import keras
import numpy as np
import psutil
import pytest
from conftest import shift

from helpers import MY_Generator

SIZE = (6, 7)
Generator = partial(MY_Generator, image_size=SIZE)
PROCESSES = {"workers": 2, "use_multiprocessing": True}
WAYS = [
    pytest.param({"workers": 1}, id="alone"),
    pytest.param({"workers": 2}, id="threads"),
    pytest.param(PROCESSES, id="processes", marks=pytest.mark.slow),
]


class Recorder(keras.Model):
    """Trains nothing; notes of each batch the labels and a checksum of each picture."""

    def __init__(self):
        super().__init__()
        self.built = True
        self.compile(run_eagerly=True)
        self.forget()

    def forget(self):
        self.epochs, self.validations = [], []

    def train_step(self, *arguments):
        return self._noted(self.epochs, *arguments)

    def test_step(self, *arguments):
        return self._noted(self.validations, *arguments)

    def _noted(self, pages, *arguments):
        *state, data = arguments  # on JAX there is a state, which is returned with the logs
        pages[-1].append(note(*map(keras.ops.convert_to_numpy, data)))
        return ({"loss": 0.0}, *state) if state else {"loss": 0.0}


class NewEpochs(keras.callbacks.Callback):
    """Opens a page for each epoch of a Recorder."""

    def on_epoch_begin(self, epoch, logs=None):
        self.model.epochs.append([])

    def on_test_begin(self, logs=None):
        self.model.validations.append([])


def note(images, labels):
    """What is remembered of a batch: [(label, checksum of the picture), …]."""
    checksums = [zlib.crc32(np.ascontiguousarray(image)) for image in images]
    return list(zip(labels.tolist(), checksums, strict=True))


def checksums_of(pictures):
    """What `note` has of each picture, made without batches, workers or Keras."""
    return note(*Generator(pictures, range(len(pictures)), len(pictures)).batch(0, 0))


recorder = Recorder()


def fit(generator, epochs=1, shuffle=False, callbacks=(), **options):
    """The batches of each epoch, as `note` has them, that ``fit`` hands to a model."""
    recorder.forget()
    callbacks = [NewEpochs(), *callbacks]
    recorder.fit(
        generator, epochs=epochs, shuffle=shuffle, verbose=0, callbacks=callbacks, **options
    )
    return recorder.epochs


def samples_of(epoch):
    """Everything in an epoch, sorted by label."""
    return sorted(sample for batch in epoch for sample in batch)


def numbers_of(epoch):
    """Labels of an epoch, in the order they came."""
    return [label for batch in epoch for label, _ in batch]


def labels_of(epoch):
    """Labels of each batch of an epoch."""
    return [[label for label, _ in batch] for batch in epoch]


def make(pictures, count=70, batch_size=7, **options):
    """A generator that shuffles and augments."""
    options = {"shuffle": True, "augment": shift, "seed": 3, **options}
    return Generator(pictures[:count], range(count), batch_size, **options)


def epochs_of(generator, epochs):
    """What whole epochs hold, made one after the other, without workers."""
    with copy.copy(generator) as alone:
        alone.close()
        indices = range(alone.batches_per_epoch)
        return [[note(*alone.batch(epoch, index)) for index in indices] for epoch in epochs]


def looped(generator):
    """An epoch, by a loop of one's own."""
    return [note(*batch) for batch in generator]


def child_processes(others=frozenset()):
    """What this program and its processes started, but `others`, which earlier tests left."""
    return set(psutil.Process().children(recursive=True)) - others


def contents(batch):
    """All that is in a batch: of each array the path to it, type, shape and bytes."""
    return [
        (path, array.dtype.str, array.shape, array.tobytes())
        for path, array in keras.tree.flatten_with_path(batch)
    ]


def write_masks(folder, pictures, values):
    """Write a mask for each picture, of its size; ``values(number, shape)`` returns its values."""
    paths = [str(folder / f"{number:02}.png") for number in range(len(pictures))]
    for number, path in enumerate(paths):
        mask = values(number, cv2.imread(pictures[number]).shape[:2])
        assert cv2.imwrite(path, mask)
    return paths
