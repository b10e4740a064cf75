"""The ways to feed ``fit`` that are compared: each is a context that gives what ``fit`` takes.

The others are set up as their own guides say. What a way started is ended with its context.
"""

import contextlib
import importlib.util
import warnings

import keras
import numpy as np
import tensorflow as tf
from absl import flags
from decoding import SIZE, Pictures, load_here, requests

from helpers import CIFAR10Sequence, MY_Generator
from helpers.images.arrays import empty_block
from helpers.images.batches import load_batch


def installed(package):
    """Whether a package can be imported, without doing so."""
    return importlib.util.find_spec(package) is not None


@contextlib.contextmanager
def my_generator(files, batch_size, image_size=SIZE, **options):
    """Yield this project's generator, and end its processes."""
    options["image_size"] = image_size
    with MY_Generator(files.filenames, files.labels, batch_size, **options) as generator:
        yield generator


def textbook(files, batch_size, batches, **options):
    """Give the article's class, on a few batches only: it is so slow."""
    few = files.select(np.arange(batches * batch_size) % len(files.filenames))
    return contextlib.nullcontext(CIFAR10Sequence(few.filenames, few.labels, batch_size, **options))


class KerasPool(keras.utils.PyDataset):
    """Keras's own process pool, with this project's decoder."""

    def __init__(self, files, batch_size, workers):
        super().__init__(workers=workers, use_multiprocessing=True)
        self.requests = requests(files.filenames, batch_size)
        self.labels = np.split(files.labels, range(batch_size, len(files.labels), batch_size))

    def __len__(self):
        return len(self.requests)

    def __getitem__(self, index):
        return load_batch(self.requests[index]).images, self.labels[index]


def keras_pool(files, batch_size, workers):
    """Give Keras's own process pool; Keras ends it after each epoch."""
    return contextlib.nullcontext(KerasPool(files, batch_size, workers))


def tf_data(files, batch_size, resize_batches=False, image_size=SIZE, antialias=False):
    """Read, decode, resize and batch as TensorFlow's guides do it, on all cores.

    "Vectorize mapping", says the one on performance: `resize_batches` resizes whole batches,
    which needs pictures of one size.
    """
    jpeg = files.filenames[0].lower().endswith((".jpg", ".jpeg"))
    decode = tf.io.decode_jpeg if jpeg else tf.io.decode_png  # each reads the other kind, too

    def read(filename, label):
        return decode(tf.io.read_file(filename), channels=3), label

    def resize(images, labels):
        return tf.image.resize(images, image_size, antialias=antialias) / 255, labels

    parallel = {"num_parallel_calls": tf.data.AUTOTUNE}
    dataset = tf.data.Dataset.from_tensor_slices((files.filenames, files.labels))
    if resize_batches:
        dataset = dataset.map(read, **parallel).batch(batch_size).map(resize, **parallel)
    else:
        dataset = dataset.map(lambda *pair: resize(*read(*pair)), **parallel).batch(batch_size)
    return contextlib.nullcontext(dataset.prefetch(tf.data.AUTOTUNE))


def from_directory(folder, batch_size):
    """Give Keras's tf.data pipeline. (Its values go from 0 to 255: it has a division less.)"""
    return contextlib.nullcontext(
        keras.utils.image_dataset_from_directory(
            folder, batch_size=batch_size, image_size=SIZE, shuffle=False, verbose=False
        )
    )


@contextlib.contextmanager
def data_loader(files, batch_size, workers, load=load_here):
    """Yield PyTorch's DataLoader, whose workers live on from epoch to epoch."""
    from torch.utils.data import DataLoader

    warnings.filterwarnings("ignore", "This DataLoader will create 16 worker processes")
    pictures = Pictures(files, load)
    loader = DataLoader(pictures, batch_size, num_workers=workers, persistent_workers=workers > 0)
    try:
        yield loader
    finally:
        if loader._iterator is not None:
            loader._iterator._shutdown_workers()  # no public way, and TensorFlow keeps the loader


class Endless(keras.utils.PyDataset):
    """The batches of an iterator that never ends, cut into epochs.

    Given to ``fit`` as it is, a Grain data set would start its processes anew for each epoch.
    """

    def __init__(self, iterator, batches):
        super().__init__()
        self.iterator, self.batches = iterator, batches

    def __len__(self):
        return self.batches

    def __getitem__(self, index):
        return next(self.iterator)


@contextlib.contextmanager
def grain(files, batch_size, threads=1, processes=0, load=load_here):
    """Yield Grain's batches, made by threads or processes that live on from epoch to epoch."""
    import grain

    # Where JAX is installed, too, it looks at a flag of its own (google/grain#1355).
    flags.FLAGS.mark_as_parsed()
    batches = grain.MapDataset.source(Pictures(files, load)).batch(batch_size)
    # The buffer counts what a thread makes, here whole batches.
    read = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
    dataset = batches.repeat().to_iter_dataset(read)
    if processes:
        dataset = dataset.mp_prefetch(
            grain.MultiprocessingOptions(num_workers=processes, per_worker_buffer_size=2)
        )
    iterator = iter(dataset)
    try:
        yield Endless(iterator, len(batches))
    finally:
        iterator.close()


class Constant(keras.utils.PyDataset):
    """The same batch again and again: what ``fit`` and the hand-over cost by themselves."""

    def __init__(self, images, labels, batches):
        super().__init__()
        self.batch = images, labels
        self.batches = batches

    def __len__(self):
        return self.batches

    def __getitem__(self, index):
        return self.batch


def constant(files, batch_size, batches, aligned=True):
    """Give a batch in memory, at an address that TensorFlow takes without a copy, or not."""
    memory = empty_block(4 * (batch_size * SIZE[0] * SIZE[1] * 3 + 4)).view("float32")
    images = (memory[:-4] if aligned else memory[4:]).reshape(batch_size, *SIZE, 3)
    load_batch(requests(files.filenames, batch_size)[0], [images])
    return contextlib.nullcontext(Constant(images, files.labels[:batch_size], batches))
