"""Tests of helpers.training.resume: trainings that are interrupted, again and again, and go on."""

import functools
import os
import signal
import sys
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import child, write_picture
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import layers

from helpers import MY_Generator
from helpers.training.resume import BackupAndResume

EPOCHS, BATCHES, BATCH_SIZE = 3, 11, 4
SAMPLES = 41  # the last batch has one
ALL_BATCHES = EPOCHS * BATCHES


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Small pictures, all different."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(SAMPLES):
        write_picture(folder / f"{number:02}.png", 8, 8, seed=number)
    return sorted(map(str, folder.iterdir()))


def make_generator(files, **options):
    """A generator whose every batch shows in the weights; the labels number the samples."""

    def noisy(image, rng):  # within a function, so that processes need not import this module
        return image + rng.normal(0, 0.1, image.shape).astype("float32")

    options = {"image_size": (8, 8), "shuffle": True, "augment": noisy} | options
    return MY_Generator(files, np.arange(len(files)), BATCH_SIZE, **options)


def learning_model(optimizer=None, **options):
    """A model with all that has a state: slots of the optimizer, averages, random numbers."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(8)])
    model.add(layers.BatchNormalization())
    model.add(layers.Dropout(0.3))
    model.add(layers.Dense(SAMPLES))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    options = {"metrics": ["accuracy"], "jit_compile": False} | options  # compiled sooner
    model.compile(optimizer or keras.optimizers.Adam(0.01), loss, **options)
    return model


class MinusTheLogit(keras.losses.Loss):
    """A loss whose gradient is -1 for the logit of a sample's number, and 0 for all others."""

    def __init__(self):
        super().__init__(reduction="sum")

    def call(self, numbers, logits):
        picked = keras.ops.one_hot(keras.ops.cast(numbers, "int32"), SAMPLES)
        return -keras.ops.sum(picked * logits, axis=-1)


def counting_model():
    """A model whose bias counts how often it was trained on each sample."""
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(SAMPLES)])
    model.compile(keras.optimizers.SGD(1.0), MinusTheLogit(), jit_compile=False)
    return model


class StopAfter(keras.callbacks.Callback):
    """Interrupt a training by an error, after some batches and before the backup is made."""

    def __init__(self, batches):
        super().__init__()
        self.batches_left = batches

    def on_train_batch_end(self, batch, logs=None):
        self.batches_left -= 1
        if self.batches_left == 0:
            raise InterruptedError


def train(model, generator, *callbacks, **options):
    options = {"epochs": EPOCHS, "shuffle": False, "verbose": 0} | options
    return model.fit(generator, callbacks=list(callbacks), **options)


def train_with_stops(make_model, make_generator, folder, stops, save_freq, **options):
    """Train, begin anew after every stop, and return the last program's model and history."""
    for batches in stops:
        generator = make_generator()
        backup = BackupAndResume(folder, generator, save_freq)
        with pytest.raises(InterruptedError):
            train(make_model(), generator, StopAfter(batches), backup, **options)
    model, generator = make_model(), make_generator()
    history = train(model, generator, BackupAndResume(folder, generator, save_freq), **options)
    return model, history


WAYS = {
    "one thread": {},
    "epochs only": {"save_freq": "epoch", "stops": (14,), "epochs": [1, 2]},
    "threads": {"generator": {"workers": 3}, "stops": (5,), "epochs": [0, 1, 2]},
    "processes": {
        "generator": {"workers": 2, "use_multiprocessing": True},
        "stops": (5,),
        "epochs": [0, 1, 2],
    },
    "accumulated gradients": {
        "optimizer": {"gradient_accumulation_steps": 2},
        "stops": (14,),
        "epochs": [1, 2],
    },
    "several steps at once": {
        "model": {"steps_per_execution": 2},
        "stops": (4,),
        "epochs": [0, 1, 2],
    },
}


@pytest.fixture(scope="module")
def uninterrupted(files):
    """The weights of a training without interruption, for each kind of optimizer."""

    @functools.cache
    def weights(gradient_accumulation_steps=None):
        optimizer = keras.optimizers.Adam(
            0.01, gradient_accumulation_steps=gradient_accumulation_steps
        )
        model = learning_model(optimizer)
        train(model, make_generator(files))
        return model.get_weights()

    return weights


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_weights_are_those_of_a_training_without_interruption(files, tmp_path, uninterrupted, way):
    def make_model():
        optimizer = keras.optimizers.Adam(0.01, **way.get("optimizer", {}))
        return learning_model(optimizer, **way.get("model", {}))

    def make():
        return make_generator(files, **way.get("generator", {}))

    with warnings.catch_warnings():
        warnings.simplefilter("error" if "model" not in way else "default", UserWarning)
        model, history = train_with_stops(
            make_model, make, tmp_path, way.get("stops", (5, 9)), way.get("save_freq", 3)
        )
    expected = uninterrupted(**way.get("optimizer", {}))
    for weight, undisturbed in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(weight, undisturbed, rtol=0, atol=1e-6)
    assert int(model.optimizer.variables[0]) == ALL_BATCHES
    assert history.epoch == way.get("epochs", [1, 2])
    assert list(tmp_path.iterdir()) == []


@settings(
    max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(stops=st.lists(st.integers(1, 7), max_size=3), save_freq=st.integers(1, 5))
def test_every_sample_is_trained_on_once_an_epoch(files, tmp_path_factory, stops, save_freq):
    folder = tmp_path_factory.mktemp("backup")
    model, _ = train_with_stops(
        counting_model, lambda: make_generator(files), folder, stops, save_freq
    )
    np.testing.assert_array_equal(model.get_weights()[-1], np.full(SAMPLES, EPOCHS))


PROGRAM = """
import os, pathlib, signal, sys
sys.path[:0] = "tests", "tests/training"
import numpy as np
import test_resume as here

pictures, folder, moment = map(pathlib.Path, sys.argv[1:])

def die(*arguments, **options):
    os.kill(os.getpid(), signal.SIGKILL)

class DieInBatch(here.keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if moment.name == "batch" and batch == 6:
            die()

model = here.counting_model()
save_weights = model.save_weights

def save_half(path, **options):
    save_weights(path, **options)
    os.truncate(path, path.stat().st_size // 2)
    die()

if moment.name == "saving":
    model.save_weights = save_half
if moment.name == "replacing":
    pathlib.Path.replace = die
generator = here.make_generator(sorted(map(str, pictures.iterdir())))
here.train(model, generator, DieInBatch(), here.BackupAndResume(folder / "backup", generator, 3))
np.save(folder / "counts.npy", model.get_weights()[-1])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize(
    ("backend", "moments"),
    [("tensorflow", ["batch", "saving", "end"]), ("jax", ["batch", "replacing", "end"])],
)
def test_a_program_that_is_killed_again_and_again(files, tmp_path, monkeypatch, backend, moments):
    pytest.importorskip(backend)
    monkeypatch.setenv("KERAS_BACKEND", backend)
    for moment in moments:
        with child(PROGRAM, Path(files[0]).parent, tmp_path, moment) as program:
            _, errors = program.communicate(timeout=100)
        assert program.returncode == (0 if moment == "end" else -signal.SIGKILL), errors
    np.testing.assert_array_equal(np.load(tmp_path / "counts.npy"), np.full(SAMPLES, EPOCHS))


def test_the_next_fit_begins_at_the_beginning(files, tmp_path):
    model, generator = learning_model(), make_generator(files)
    backup = BackupAndResume(tmp_path, generator, 3)
    with pytest.raises(InterruptedError):
        train(model, generator, backup, StopAfter(BATCHES + 5))
    assert train(model, generator, backup).epoch == [1, 2]
    assert train(model, generator).epoch == [0, 1, 2]


def test_a_training_that_had_reached_its_end_is_not_repeated(files, tmp_path):
    model, generator = learning_model(), make_generator(files)
    backup = BackupAndResume(tmp_path, generator)
    train(model, generator, backup, epochs=1)
    backup._save(1, 0)  # as if killed before it was deleted
    weights = model.get_weights()
    assert train(model, generator, backup, epochs=1).epoch == []
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    assert train(model, generator, backup, epochs=1).epoch == [0]


def test_only_the_first_trainer_writes_and_all_read(files, tmp_path):
    first, second = (make_generator(files, shard=(index, 2)) for index in range(2))
    model = learning_model()
    with pytest.raises(InterruptedError):
        train(model, second, BackupAndResume(tmp_path, second, 1), StopAfter(4))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InterruptedError):
        train(learning_model(), first, BackupAndResume(tmp_path, first, 1), StopAfter(4))
    second = make_generator(files, shard=(1, 2))
    with pytest.raises(InterruptedError):
        train(model, second, BackupAndResume(tmp_path, second, 1), StopAfter(1))
    assert (second.epoch, len(second)) == (0, second.batches_per_epoch - 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shuffle": True}, r"save_freq=3 needs fit\(..., shuffle=False\)"),
        ({"steps_per_epoch": 5}, "steps_per_epoch=5 makes epochs"),
    ],
)
def test_a_fit_whose_batches_cannot_be_counted_is_refused(files, tmp_path, options, message):
    generator = make_generator(files)
    with pytest.raises(ValueError, match=message):
        train(learning_model(), generator, BackupAndResume(tmp_path, generator, 3), **options)


def test_fit_may_shuffle_if_whole_epochs_are_saved(files, tmp_path):
    generator = make_generator(files)
    backup = BackupAndResume(tmp_path, generator)
    assert train(learning_model(), generator, backup, epochs=1, shuffle=True).epoch == [0]


def test_another_generator_is_refused(files, tmp_path):
    with pytest.raises(ValueError, match="pass the same generator to both"):
        train(
            learning_model(),
            make_generator(files),
            BackupAndResume(tmp_path, make_generator(files)),
        )


def test_a_backup_of_another_training_is_refused(files, tmp_path):
    generator = make_generator(files)
    with pytest.raises(InterruptedError):
        train(learning_model(), generator, BackupAndResume(tmp_path, generator, 3), StopAfter(5))
    other = make_generator(files, seed=1)
    with pytest.raises(ValueError, match=r"latest\.weights\.h5 is the backup of another training"):
        train(learning_model(), other, BackupAndResume(tmp_path, other, 3))
    with pytest.raises(ValueError, match=r"latest\.weights\.h5 is damaged or .* another model"):
        train(counting_model(), generator, BackupAndResume(tmp_path, generator, 3))
    backup = next(tmp_path.iterdir())
    os.truncate(backup, backup.stat().st_size // 2)
    with pytest.raises(ValueError, match=r"latest\.weights\.h5 is damaged.*delete it"):
        train(learning_model(), generator, BackupAndResume(tmp_path, generator, 3))


@pytest.mark.parametrize("save_freq", [0, -1, 2.5, "batch", True, None])
def test_a_wrong_save_freq_is_refused(files, tmp_path, save_freq):
    with pytest.raises(ValueError, match=r"save_freq must be .* received"):
        BackupAndResume(tmp_path, make_generator(files), save_freq)
