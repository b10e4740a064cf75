import copy
import gc
import pickle
from contextlib import nullcontext

import keras
import numpy as np
import psutil
import pytest
import tensorflow as tf
from conftest import child, wait_until
from watched import (
    HOW,
    SIZE,
    Generator,
    Noting,
    Sleeping,
    WrongGuess,
    assert_sound,
    flip,
    linear_model,
    record,
    rows_of,
    sizes,
    slow_augment,
)

from helpers import CIFAR10Sequence, MY_Generator, Timeline
from helpers.generators.passes import HELD_BY_TENSORFLOW
from helpers.profiling.recording import Recorder


class Remade(Sleeping):
    """A sequence that says itself how it is pickled."""

    def __reduce__(self):
        return Remade, (self.delay, self.batches)


class Raising(keras.callbacks.Callback):
    """Raises an error after some batches, as Ctrl-C might."""

    def __init__(self, error, batches=2):
        super().__init__()
        self.error, self.left = error, batches

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if not self.left:
            raise self.error


def descriptors_and_threads():
    gc.collect()
    process = psutil.Process()
    return process.num_fds(), process.num_threads()


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_all_records_come_back_from_forks():
    """More than a pipe takes at once: a record is 64 bytes, a pipe takes 65,536."""
    batches = 1500
    generator = Sleeping(batches=batches, workers=2, use_multiprocessing=True)
    timeline = record(generator, epochs=1)
    assert len(rows_of(timeline, "make")) == batches
    assert len(rows_of(timeline, "step")) == batches


# ---- batches that are made ahead -----------------------------------------------------------------


def test_a_batch_belongs_to_its_own_taking(pictures):
    generator = Generator(pictures, range(70), 16)
    recorder = Recorder(generator, Noting())
    for index in (3, 1, 3):
        generator._make(0, index)  # as in a thread that reads ahead
    recorder.turn = 5
    generator.batch(0, -5)
    recorder.close()
    taken, *unused = recorder.made
    assert taken.turn == 5
    assert taken.came <= taken.taken
    assert [batch.turn for batch in unused] == [-1] * 3
    assert all(batch.came <= taken.asked for batch in unused)  # nobody expected them
    generator.batch(0, 1)
    assert len(recorder.made) == 4  # it is over


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_a_wrong_guess_is_seen_and_each_step_has_its_own_batch(pictures, workers):
    generator = WrongGuess(pictures, range(70), 16, image_size=SIZE, workers=workers)
    with generator:
        timeline = record(generator, epochs=2)
    assert_sound(timeline)
    expected = [16, 16, 16, 16, 6]
    assert sizes(timeline) == sizes(timeline, "worker", ["read"]) == [expected, expected]
    unused = timeline.table().query("kind == 'read' and step == -1")
    assert set(unused["epoch"]) == {-1}
    assert list(unused["images"]).count(6) == 2  # expected first, in each epoch
    assert unused["lane"].str.startswith("worker").all()


def test_a_batch_that_is_made_twice_is_shown_twice(pictures):
    """Validation interrupts the training's next epoch, whose first batch is in work already."""
    generator = Generator(pictures, range(70), 16, augment=slow_augment)
    timeline = record(generator, epochs=2, validation_data=generator)
    assert_sound(timeline)
    assert sizes(timeline) == sizes(timeline, "worker", ["read"]) == [[16, 16, 16, 16, 6]] * 2
    table = timeline.table()
    made = table[table["kind"] == "read"]
    first, second = made["start"][made["step"] == 0]
    between = made[(made["step"] == -1) & made["start"].between(first, second)]
    assert len(between) >= 5 + 1  # of the validation, and the one that was made in vain


@pytest.mark.parametrize(("workers", "ahead"), [(1, 1), (3, 2)])
def test_after_an_early_stop_the_batches_made_ahead_belong_to_no_step(pictures, workers, ahead):
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = True

    generator = Generator(pictures, range(70), 10, workers=workers, max_queue_size=2)
    with generator:
        timeline = record(generator, Noting(delay=0.2), callbacks=[Stop()])
    assert_sound(timeline)
    assert sizes(timeline) == sizes(timeline, "worker", ["read"]) == [[10]]
    unused = timeline.table().query("kind == 'read' and step == -1")
    looked_at = 2  # by Keras, before
    assert looked_at + ahead < len(unused) <= looked_at + ahead + HELD_BY_TENSORFLOW


FORMS = {
    "dict": lambda x, y: {"b": x, "a": x},
    "list": lambda x, y: [x, y],
    "x only": lambda x, y: (x,),
    "an array": lambda x, y: x,
    "weights": lambda x, y: (x, y, np.ones(len(y))),
    "two inputs": lambda x, y: ((x, x), y),
}


@pytest.mark.parametrize("form", FORMS)
def test_batches_of_every_form_that_keras_takes(form):
    timeline = record(Sleeping(form=FORMS[form]), epochs=2)
    assert_sound(timeline)
    expected = [10, 10, 10, 10, 10, 4]
    assert sizes(timeline) == sizes(timeline, "worker", ["make"]) == [expected] * 2


# ---- training is the same ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "compiled"),
    [
        ({}, {}),
        ({"workers": 2, "shuffle": True}, {}),
        ({"augment": flip}, {"steps_per_execution": 3}),
        ({}, {"run_eagerly": True}),
    ],
    ids=["plain", "threads", "three steps at a time", "eager"],
)
def test_weights_and_losses_are_the_same_with_and_without(pictures, how, compiled):
    results = []
    for watch in (False, True):
        model = linear_model(metrics=["mae"], **compiled)
        generator = Generator(pictures, np.linspace(0, 1, 70), 16, **how)
        options = {"epochs": 3, "shuffle": False, "verbose": 0, "validation_data": generator}
        if watch:
            with Timeline(generator, model):
                history = model.fit(generator, **options)
        else:
            history = model.fit(generator, **options)
        results.append((history.history, model.get_weights()))
    (losses, weights), (watched_losses, watched_weights) = results
    assert losses == watched_losses
    assert all(map(np.array_equal, weights, watched_weights))
    assert len(losses["loss"]) == 3 and losses["loss"][0] != losses["loss"][2]


def convolution():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((24, 24, 3)), keras.layers.Conv2D(16, 3, padding="same")])
    for layer in (keras.layers.Conv2D(16, 3), keras.layers.GlobalAveragePooling2D()):
        model.add(layer)
    model.compile("adam", "mse")
    return model


def test_weights_of_convolutions_are_those_of_train_on_batch(pictures):
    generator = MY_Generator(pictures, np.zeros((70, 16)), 10, image_size=(24, 24))
    watched, plain, by_hand = convolution(), convolution(), convolution()
    with Timeline(generator, watched):
        losses = watched.fit(generator, epochs=2, shuffle=False, verbose=0).history["loss"]
    for _ in range(2):
        for images, labels in generator:
            by_hand.train_on_batch(tf.constant(images), tf.constant(labels))
    assert all(map(np.array_equal, watched.get_weights(), by_hand.get_weights()))
    plain_losses = plain.fit(generator, epochs=2, shuffle=False, verbose=0).history["loss"]
    np.testing.assert_allclose(losses, plain_losses, rtol=1e-6)


def test_the_same_batches_arrive(pictures):
    plain, watched = Noting(), Noting()
    options = {"shuffle": True, "augment": flip, "workers": 3}
    plain.fit(Generator(pictures, range(70), 16, **options), epochs=2, verbose=0, shuffle=False)
    record(Generator(pictures, range(70), 16, **options), watched, epochs=2, shuffle=False)
    assert len(plain.batches) == 10
    assert plain.batches == watched.batches


def test_callbacks_see_the_same_steps_and_logs(pictures):
    seen = {}
    for watch in (False, True):
        seen[watch] = []
        note = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs, to=seen[watch]: to.append((batch, dict(logs)))
        )
        model = linear_model(metrics=["mae"])
        generator = Generator(pictures, range(70), 16)
        with Timeline(generator, model) if watch else nullcontext():
            model.fit(generator, verbose=0, shuffle=False, callbacks=[note])
    assert seen[True] == seen[False]
    assert [(step, sorted(logs)) for step, logs in seen[True]] == [
        (step, ["loss", "mae"]) for step in range(5)
    ]


# ---- afterwards everything is as before ----------------------------------------------------------


def test_generator_and_model_are_as_before(pictures):
    generator, model = Generator(pictures, range(70), 16), linear_model()
    model.fit(generator, verbose=0)
    attributes, function = set(vars(generator)), model.train_function
    with Timeline(generator, model):
        assert isinstance(generator, MY_Generator)
        assert type(generator).__name__ == "MY_Generator"
        assert repr(generator).startswith("MY_Generator(")
        model.fit(generator, verbose=0)
    assert type(generator) is MY_Generator
    assert model.train_function is function
    assert set(vars(generator)) == attributes
    model.fit(generator, verbose=0)
    assert generator[0][0].shape == (16, *SIZE, 3)


def test_a_model_that_never_trained_is_as_after_fit(pictures):
    generator, model = Generator(pictures, range(70), 16), linear_model()
    record(generator, model)
    function = model.train_function
    model.fit(generator, verbose=0)
    assert model.train_function is function


@pytest.mark.parametrize("how", HOW)
def test_nothing_is_left_open(pictures, how):
    options = {name: value for name, value in HOW[how].items() if name != "executor"}
    model = Noting()
    with Generator(pictures, range(70), 16, **options) as generator:
        model.fit(generator, verbose=0)  # what TensorFlow opens once is open now
        record(generator, model)
        before = descriptors_and_threads()
        for _ in range(5):
            record(generator, model)
        few = 2  # threads of TensorFlow come and go
        assert wait_until(lambda: descriptors_and_threads()[0] <= before[0])
        assert wait_until(lambda: descriptors_and_threads()[1] <= before[1] + few)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_broken_picture_ends_fit_as_without_it(pictures, broken_file, workers):
    names = [*pictures[:25], broken_file]
    generator, model = Generator(names, range(26), 10, workers=workers), Noting()
    function, before = model.make_train_function() or model.train_function, None
    for _ in range(3):
        with pytest.raises(Exception, match=r"broken\.png"), Timeline(generator, model) as timeline:
            model.fit(generator, verbose=0)
        assert type(generator) is MY_Generator
        assert model.train_function is function
        before = before or descriptors_and_threads()
    assert wait_until(lambda: descriptors_and_threads()[0] <= before[0])
    assert set(timeline.table()["step"]) <= {-1, 0, 1}
    generator.on_error = "skip"
    with pytest.warns(UserWarning, match=r"broken\.png"):
        assert sum(sizes(record(generator, model))[0]) == 25


@pytest.mark.parametrize(
    ("how", "error"),
    [("none", KeyboardInterrupt()), ("threads", ValueError()), ("processes", KeyboardInterrupt())],
    ids=["none, Ctrl-C", "threads, its own", "processes, Ctrl-C"],
)
def test_an_interrupted_fit_leaves_a_timeline_and_nothing_else(pictures, how, error):
    model = Noting()
    with Generator(pictures, range(70), 10, **HOW[how]) as generator:
        function, opened = None, []
        for watch in [False] * 4 + [True] * 4:
            timeline = Timeline(generator, model) if watch else nullcontext()
            with pytest.raises(type(error)), timeline:
                model.fit(generator, verbose=0, callbacks=[Raising(error, 3)])
            function = function or model.train_function
            assert type(generator) is MY_Generator
            assert model.train_function is function
            opened.append(descriptors_and_threads()[0])
        if how != "processes":  # they, and their memory, come when they are needed
            # Keras leaves descriptors open when it is interrupted, now and then; a timeline
            # that did would leave two each time.
            assert opened[7] - opened[4] <= opened[3] - opened[0] + 4
        assert sizes(timeline) == [[10] * 3]
        assert timeline.summary()["images/s"] > 0
        assert sizes(record(generator, model)) == [[10] * 7]


def test_a_generator_that_is_watched_is_pickled_as_what_it_was(pictures):
    textbook = CIFAR10Sequence(pictures, range(70), 16)
    sequences = [textbook, Sleeping(batches=3), Remade(0.0, batches=3)]
    for sequence in sequences:
        with pytest.raises(RuntimeError, match="no training step"), Timeline(sequence, Noting()):
            copies = [pickle.loads(pickle.dumps(sequence, protocol)) for protocol in range(2, 6)]
            copies += [copy.copy(sequence), copy.deepcopy(sequence)]
        for other in copies:
            assert type(other) is type(sequence)
            assert vars(other).keys() == vars(sequence).keys()
            assert len(other) == len(sequence)


def test_where_keras_spawns_its_processes_the_training_is_seen(pictures):
    code = """
import multiprocessing, sys
multiprocessing.set_start_method("spawn")
from helpers import CIFAR10Sequence
from watched import Noting, record, sizes

if __name__ == "__main__":
    how = {"workers": 2, "use_multiprocessing": True}
    timeline = record(CIFAR10Sequence(sys.argv[1:], range(12), 4, **how))
    print(sizes(timeline), type(timeline.generator).__name__)
    print(timeline.processes, bool(timeline.diagnose().text), bool(timeline.plot().axes))
"""
    with child(
        f"import sys; sys.path.insert(0, 'tests/profiling')\n{code}", *pictures[:24:2]
    ) as process:
        output, errors = process.communicate(timeout=120)
    said = ["[[4, 4, 4]] CIFAR10Sequence", "True True True"]
    assert output.splitlines() == said, errors


def test_a_mistake_of_the_users_own_is_not_hidden():
    with pytest.raises(ZeroDivisionError), Timeline(Sleeping(), Noting()):
        1 / 0  # noqa: B018


def test_a_model_that_is_compiled_anew_keeps_its_new_function():
    generator, model = Sleeping(), Noting()
    with pytest.raises(RuntimeError, match="no training step"), Timeline(generator, model):
        model.compile(run_eagerly=True, steps_per_execution=2)
        model.fit(generator, verbose=0)
        function = model.train_function
    assert model.train_function is function


# ---- what it leans on ----------------------------------------------------------------------------

BROKEN_BY_KERAS = (
    f"Keras {keras.__version__} calls model.train_function in a way that "
    "helpers.profiling.timeline does not expect: see watched_function there, "
    "and Keras's own fit (backend/*/trainer.py)"
)


def test_keras_calls_train_function_with_an_iterator_that_may_be_any(pictures):
    generator, model = Generator(pictures, range(70), 16), linear_model()
    model.make_train_function()
    plain, calls = model.train_function, []

    def watched(*arguments):
        calls.append(arguments)
        *state, batches = arguments
        return plain(*state, iter([next(iter(batches))]))

    model.train_function = watched
    before = model.get_weights()[0]
    model.fit(generator, verbose=0)
    assert len(calls) == 5, BROKEN_BY_KERAS
    assert hasattr(calls[0][-1], "__next__"), BROKEN_BY_KERAS
    assert model.train_function is watched, BROKEN_BY_KERAS
    assert not np.array_equal(before, model.get_weights()[0]), BROKEN_BY_KERAS


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_other_backends(pictures, backend):
    pytest.importorskip(backend)
    code = f"""
import os, sys
os.environ["KERAS_BACKEND"] = "{backend}"
sys.path.insert(0, "tests/profiling")
import keras
assert keras.backend.backend() == "{backend}"
from helpers import MY_Generator
from watched import SIZE, WrongGuess, assert_sound, linear_model, record, sizes

for workers in (1, 2):
    for make in (MY_Generator, WrongGuess):
        with make(sys.argv[1:], range(70), 16, image_size=SIZE, workers=workers) as generator:
            timeline = record(generator, linear_model(), epochs=2)
        assert_sound(timeline)
        assert sizes(timeline) == sizes(timeline, "worker", ["read"])
        unused = timeline.table().query("kind == 'read' and step == -1")["images"]
        assert make is MY_Generator or list(unused).count(6) >= 2  # expected first, in each epoch
        assert timeline.summary()["images/s"] > 0
        print(sizes(timeline))
"""
    with child(code, *pictures) as process:
        output, errors = process.communicate(timeout=300)
    assert output.splitlines() == [str([[16, 16, 16, 16, 6]] * 2)] * 4, errors
