import re
import warnings

import keras
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from noting import SIZE, Generator, NewEpochs, labels_of, note, recorder

from helpers import CIFAR10Sequence, fit_generator


def fit_as_the_article(generator, **options):
    """The same, through fit_generator."""
    recorder.forget()
    options = {"verbose": 0, "shuffle": False, **options}
    history = fit_generator(recorder, generator, callbacks=[NewEpochs()], **options)
    assert len(history.epoch) == len(recorder.epochs)
    return recorder.epochs


# ---- fit_generator ------------------------------------------------------------------------------


@pytest.mark.filterwarnings("error")
def test_the_articles_call(pictures, capsys):
    train = Generator(pictures[:22], range(22), 4)
    validation = Generator(pictures[22:33], range(22, 33), 4)
    epochs = fit_as_the_article(
        generator=train,
        steps_per_epoch=22 // 4,
        epochs=3,
        verbose=1,
        validation_data=validation,
        validation_steps=11 // 4,
        use_multiprocessing=False,
        workers=16,
        max_queue_size=32,
    )
    assert [len(epoch) for epoch in epochs] == [5, 5, 5]
    assert labels_of(recorder.validations[0]) == [[22, 23, 24, 25], [26, 27, 28, 29]]
    assert recorder.validations == [recorder.validations[0]] * 3
    for sequence in (train, validation):
        assert (sequence._read_ahead.threads, sequence.max_queue_size) == (16, 32)
    assert "Epoch 3/3" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("make", [CIFAR10Sequence, Generator], ids=["textbook", "MY_Generator"])
def test_the_articles_call_with_processes(pictures, make):
    train, validation = make(pictures[:7], range(7), 2), make(pictures[7:12], range(7, 12), 2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        epochs = fit_as_the_article(
            generator=train,
            steps_per_epoch=7 // 2,
            epochs=3,
            verbose=1,
            validation_data=validation,
            validation_steps=5 // 2,
            use_multiprocessing=True,
            workers=4,
            max_queue_size=32,
        )
    assert not [one for one in caught if "ran out of data" in str(one.message)]
    assert [labels_of(epoch) for epoch in epochs] == [
        [[0, 1], [2, 3], [4, 5]],
        [[6], [0, 1], [2, 3]],
        [[4, 5], [6], [0, 1]],
    ]
    assert [labels_of(epoch) for epoch in recorder.validations] == [[[7, 8], [9, 10]]] * 3


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
@settings(max_examples=12, deadline=None)
@given(
    batches=st.integers(1, 7),
    steps=st.integers(1, 16),
    epochs=st.integers(1, 4),
    workers=st.sampled_from([1, 2]),
    shuffle=st.booleans(),
)
def test_epochs_of_any_number_of_steps_are_one_stream(
    pictures, batches, steps, epochs, workers, shuffle
):
    generator = Generator(pictures[: 2 * batches], range(2 * batches), 2, shuffle=shuffle)
    seen = fit_as_the_article(generator, steps_per_epoch=steps, epochs=epochs, workers=workers)
    assert [len(epoch) for epoch in seen] == [steps] * epochs
    stream = [batch for epoch in seen for batch in epoch]
    assert stream == [
        note(*generator.batch(position // batches, position % batches))
        for position in range(steps * epochs)
    ]


def test_every_batch_comes_as_often_as_any_other(pictures):
    generator = Generator(pictures[:10], range(10), 2)
    epochs = fit_as_the_article(generator, steps_per_epoch=3, epochs=5, shuffle=True, workers=2)
    first_of_batch = sorted(labels[0] for epoch in epochs for labels in labels_of(epoch))
    assert first_of_batch == [0, 0, 0, 2, 2, 2, 4, 4, 4, 6, 6, 6, 8, 8, 8]


def test_initial_epoch_goes_on_with_the_stream(pictures):
    generator = Generator(pictures[:10], range(10), 2)
    epochs = fit_as_the_article(generator, steps_per_epoch=3, epochs=3, initial_epoch=1)
    assert labels_of(epochs[0]) == [[6, 7], [8, 9], [0, 1]]
    assert labels_of(epochs[1]) == [[2, 3], [4, 5], [6, 7]]


@pytest.mark.parametrize(
    ("steps", "epochs", "passes"), [(3, 4, 2), (6, 2, 2), (4, 2, 2), (2, 2, 1)]
)
def test_the_next_call_goes_on_with_the_next_order(pictures, steps, epochs, passes):
    generator = Generator(pictures[:22], range(22), 4, shuffle=True)
    for call in (1, 2):
        batches = fit_as_the_article(generator, steps_per_epoch=steps, epochs=epochs)
        assert batches[0][0] == note(*generator.batch((call - 1) * passes, 0))
        assert generator.epoch == call * passes


def test_without_steps_an_epoch_is_the_whole_generator(pictures):
    generator = Generator(pictures[:7], range(7), 3)
    epochs = fit_as_the_article(
        generator, epochs=2, validation_data=Generator(pictures[7:9], [7, 8], 2)
    )
    assert [labels_of(epoch) for epoch in epochs] == [[[0, 1, 2], [3, 4, 5], [6]]] * 2
    assert [labels_of(epoch) for epoch in recorder.validations] == [[[7, 8]]] * 2


def test_broken_files_are_warned_about_once_an_epoch_of_fit_generator(pictures, broken_file):
    generator = Generator([*pictures[:9], broken_file], range(10), 5, on_error="skip")
    with pytest.warns(UserWarning, match="1 of 10 files") as caught:
        fit_as_the_article(generator, steps_per_epoch=2, epochs=3, workers=2)
    assert len([one for one in caught if "left out" in str(one.message)]) == 3


@pytest.mark.parametrize("name", ["steps_per_epoch", "validation_steps"])
@pytest.mark.parametrize("value", [0, -1, 2.0, True, "3"])
def test_wrong_steps_are_refused(pictures, name, value):
    generator = Generator(pictures[:4], range(4), 2)
    options = {"validation_data": generator, name: value}
    with pytest.raises((TypeError, ValueError), match=re.escape(repr(value))) as raised:
        fit_generator(recorder, generator, **options)
    assert name in str(raised.value)


def test_class_weights_reach_the_loss(pictures):
    layers = [keras.Input((*SIZE, 3)), keras.layers.Flatten(), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.compile("sgd", loss=lambda y, y_pred: 1.0 + 0.0 * keras.ops.sum(y_pred, -1))
    generator = Generator(pictures[:4], [0, 0, 1, 1], 2)
    history = fit_generator(model, generator, class_weight={0: 1.0, 1: 3.0}, verbose=0)
    assert history.history["loss"] == pytest.approx([2.0])
