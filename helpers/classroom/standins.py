"""A model that learns nothing: it notes which batches came, and can be as slow as you like."""

import time
from collections.abc import Callable

import keras
import numpy as np


class NotingModel(keras.Model):
    """A model that learns nothing and notes what came, and when.

    Parameters
    ----------
    seconds : float, default 0
        How long each step pretends to compute.
    keep_images : bool, default False
        Whether to keep the images, too. They take memory.

    Attributes
    ----------
    labels : list of int
        The label of every image that came, in the order in which they came.
    images : list of numpy.ndarray
        The images of every batch, if they are kept.
    times : list of float
        When each step began, in seconds of `time.perf_counter`.
    """

    def __init__(self, seconds: float = 0.0, keep_images: bool = False):
        super().__init__()
        self.seconds, self.keep_images = seconds, keep_images
        self.labels: list[int]
        self.images: list[np.ndarray]
        self.times: list[float]
        for name in ("labels", "images", "times"):
            object.__setattr__(self, name, [])  # Keras would make lists of its own kind
        self.built = True  # there are no weights to make
        self.compile(run_eagerly=True)  # so that Python calls train_step for every batch

    def train_step(self, data):
        """Note a batch, and wait."""
        self.times.append(time.perf_counter())
        self.labels.extend(np.asarray(data[1]).tolist())
        if self.keep_images:
            self.images.append(np.asarray(data[0]))
        time.sleep(self.seconds)
        return {"loss": 0.0}


def note_batches(
    sequence: keras.utils.PyDataset,
    after_batch: Callable | None = None,
    *,
    seconds: float = 0.0,
    keep_images: bool = False,
    **options,
) -> NotingModel:
    """Let ``fit`` go through a sequence, with a model that only notes what came.

    Parameters
    ----------
    sequence : keras.utils.PyDataset
    after_batch : callable, optional
        ``after_batch(batch, logs)`` is called when a step is over.
    seconds, keep_images
        As for `NotingModel`.
    **options
        Of ``fit``: ``epochs=``, ``shuffle=``, and so on.

    Returns
    -------
    NotingModel
        With its ``labels``, ``images`` and ``times``.
    """
    model = NotingModel(seconds, keep_images)
    callback = keras.callbacks.LambdaCallback(on_train_batch_end=after_batch)
    model.fit(sequence, callbacks=[callback], verbose=0, **options)
    return model
