"""What ``fit`` gets from Keras's own worker processes where these are forks: copies of it."""

import random

import keras
import numpy as np

from helpers.classroom import apart, standins


def in_forks(sequence: keras.utils.PyDataset, epochs: int = 1) -> tuple[np.ndarray, list]:
    """Let ``fit`` go through a sequence whose workers are forks, in a process of its own.

    Before each epoch ``sequence.epoch`` is set to its number, from 0. Where there are no forks, a
    line says so and they are imitated: each batch is made from the state in which the random
    numbers of the program were when its worker would have been forked.

    Parameters
    ----------
    sequence : keras.utils.PyDataset
        With ``use_multiprocessing=True``, and with as many workers as it has batches.
    epochs : int, default 1

    Returns
    -------
    images : numpy.ndarray
        All images, in the order of the batches.
    labels : list
        Their labels.
    """
    came = apart.on_a_leash(_through_fit, sequence, epochs, seconds=120)
    if came is None:
        print("What follows imitates them: for each batch, a copy of the random numbers' state.")
        came = _imitated(sequence, epochs)
    return came


def _through_fit(sequence: keras.utils.PyDataset, epochs: int) -> tuple[np.ndarray, list]:
    model = standins.NotingModel(keep_images=True)
    tell = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: setattr(sequence, "epoch", epoch)
    )
    model.fit(sequence, epochs=epochs, shuffle=False, verbose=0, callbacks=[tell])
    return np.concatenate(model.images), list(model.labels)


def _imitated(sequence: keras.utils.PyDataset, epochs: int) -> tuple[np.ndarray, list]:
    program, python = np.random.get_state(), random.getstate()  # noqa: NPY002 - what forks copy
    images, labels = [], []
    for epoch in range(epochs):
        sequence.epoch = epoch
        for index in range(len(sequence)):
            np.random.set_state(program)  # noqa: NPY002
            random.setstate(python)
            x, y = sequence[index]
            images.append(np.asarray(x))
            labels.extend(np.asarray(y).tolist())
    np.random.set_state(program)  # noqa: NPY002 - what the workers drew is gone with them
    random.setstate(python)
    return np.concatenate(images), labels
