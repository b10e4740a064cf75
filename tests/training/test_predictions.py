"""Rows of predictions, and the files that they belong to."""

import copy
import warnings
from functools import partial

import keras
import numpy as np
import pytest
from keras import layers

from helpers import ImageError, Masks, MY_Generator, balanced_order, predictions

SIZE = (6, 7)
Generator = partial(MY_Generator, image_size=SIZE)
PROCESSES = {"workers": 2, "use_multiprocessing": True}
COUNT = 13
CLASSES = np.arange(COUNT) % 3
NAMES = ("ant", "bee", "cow")


def model_of(*parts):
    return keras.Sequential([keras.Input((*SIZE, 3)), *parts])


@pytest.fixture(scope="module")
def classifier():
    return model_of(layers.Flatten(), layers.Dense(3, "softmax"))


@pytest.fixture(scope="module")
def regression():
    return model_of(layers.Flatten(), layers.Dense(1))


@pytest.fixture(scope="module")
def names(pictures):
    return pictures[:COUNT]


def one_by_one(model, generator, names):
    """What a model says of each file, that is read by itself."""
    return model.predict(np.stack([generator.read(name) for name in names]), verbose=0)


@pytest.mark.backends
@pytest.mark.parametrize(
    "options",
    [
        {"shuffle": True, "augment": lambda image, rng: image * 0, "workers": 0},
        {"order": balanced_order(CLASSES), "augment_batch": lambda x, y, rng: (x * 0, y)},
        {"drop_last": True, "shuffle": True, **PROCESSES},
        {"sample_weight": np.arange(COUNT)},
    ],
    ids=["shuffle", "order", "processes", "weights"],
)
def test_each_file_once_in_its_order_with_what_the_model_says(names, classifier, options):
    with Generator(names, CLASSES, 4, **options) as generator:
        generator.start_at(2, 1)
        before = dict(vars(generator))
        table = predictions(classifier, generator, NAMES)
        assert vars(generator) == before
        assert (generator.epoch, len(generator)) == (2, generator.batches_per_epoch - 1)
    expected = one_by_one(classifier, generator, names)
    assert list(table) == ["filename", "label", "prediction", "probability", "error"]
    assert list(table.index) == list(range(COUNT))
    assert list(table.filename) == names
    assert list(table.label) == [NAMES[number] for number in CLASSES]
    assert list(table.prediction) == [NAMES[number] for number in expected.argmax(1)]
    np.testing.assert_allclose(table.probability, expected.max(1), atol=1e-5)
    assert table.error.isna().all()


def test_a_training_goes_on_as_if_nothing_was_predicted(names, classifier):
    """In a callback, and while a loop of one's own reads."""

    class Predict(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1:
                predictions(classifier, generator)

    model = model_of(layers.Flatten(), layers.Dense(1))
    model.compile("sgd", "mse")
    with Generator(names, CLASSES, 3, shuffle=True, workers=2) as generator:
        expected = [labels.tolist() for _, labels in copy.copy(generator)]
        batches = iter(generator)
        got = [next(batches)[1].tolist() for _ in range(2)]
        predictions(classifier, generator)
        got += [labels.tolist() for _, labels in batches]
        assert got == expected
        generator.epoch = 0
        model.fit(generator, epochs=2, verbose=0, callbacks=[Predict()])
        assert generator.epoch == 2


@pytest.mark.parametrize("way", [{"workers": 0}, {"workers": 2}, PROCESSES], ids=str)
def test_rows_of_files_that_cannot_be_read_say_why(names, classifier, broken_file, tmp_path, way):
    missing = str(tmp_path / "missing.png")
    # The second batch has no file that can be read; one file comes three times.
    names = [*names[:2], broken_file, names[3], *[broken_file] * 3, missing, *[names[3]] * 2]
    classes = np.arange(10) % 3
    with Generator(names, classes, 4, on_error="skip", **way) as generator:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # the table says it all
            table = predictions(classifier, generator)
        assert generator.skipped == {}
    assert list(table.filename) == names
    assert list(table.label) == classes.tolist()
    read = [name not in (broken_file, missing) for name in names]
    assert list(table.prediction.notna()) == list(table.error.isna()) == read
    assert all("no image" in reason for reason in table.error[table.filename == broken_file])
    assert "cannot be opened" in table.error[7]
    expected = one_by_one(classifier, generator, [names[n] for n in (0, 1, 3, 8, 9)])
    np.testing.assert_allclose(table.probability[read], expected.max(1), atol=1e-5)
    assert list(table.prediction[read]) == expected.argmax(1).tolist()
    with pytest.raises(ImageError, match=r"broken\.png"):
        predictions(classifier, Generator(names, classes, 4, **way))


def test_no_file_can_be_read(classifier, broken_file):
    table = predictions(classifier, Generator([broken_file] * 3, None, 2, on_error="skip"))
    assert list(table) == ["filename", "error"]
    assert table.error.notna().all()


def test_a_reason_is_that_of_its_row_where_a_file_comes_with_several_others(names, broken_file):
    left, right = keras.Input((*SIZE, 3)), keras.Input((*SIZE, 3))
    difference = layers.Flatten()(layers.Subtract()([left, right]))
    model = keras.Model((left, right), layers.Dense(1)(difference))
    pairs = [names[0]] * 5, [names[1], broken_file, names[0], broken_file + "?", names[1]]
    with Generator(pairs, None, 2, on_error="skip") as generator:
        table = predictions(model, generator)
    assert list(table.filename) == [names[0]] * 5
    assert list(table.error.isna()) == list(table.output.notna()) == [1, 0, 1, 0, 1]
    assert f"goes with {broken_file}: is no image" in table.error[1]
    assert f"goes with {broken_file}?: cannot be opened" in table.error[3]
    assert table.output[0] == pytest.approx(table.output[4])
    assert table.output[2] == pytest.approx(0, abs=1e-6)


def test_two_shards_together_have_each_file_once(names, regression):
    shards = [Generator(names[:12], None, 2, shuffle=True, shard=(n, 2)) for n in range(2)]
    tables = [predictions(regression, shard) for shard in shards]
    assert [len(table) for table in tables] == [6, 6]
    assert sorted([*tables[0].filename, *tables[1].filename]) == names[:12]
    for table in tables:
        expected = one_by_one(regression, shards[0], table.filename)
        np.testing.assert_allclose(table.output, expected[:, 0], atol=1e-5)


def test_numbers_vectors_and_pictures_that_a_model_says(names, regression, tmp_path):
    heights = np.linspace(0, 1, COUNT)
    table = predictions(regression, Generator(names, heights, 5))
    assert list(table) == ["filename", "label", "output", "error"]
    np.testing.assert_array_equal(table.label, heights)
    expected = one_by_one(regression, generator := Generator(names, None, 5), names)
    np.testing.assert_allclose(table.output, expected[:, 0], atol=1e-5)

    vector = model_of(layers.Flatten(), layers.Dense(2))
    table = predictions(vector, Generator(names, np.eye(COUNT)[:, :2], 5), NAMES)
    columns = ["label 0", "label 1", "output 0", "output 1"]
    assert list(table) == ["filename", *columns, "error"]
    np.testing.assert_array_equal(table[columns[:2]], np.eye(COUNT)[:, :2])
    expected = one_by_one(vector, generator, names)
    np.testing.assert_allclose(table[columns[2:]], expected, atol=1e-5)

    mask = model_of(layers.Conv2D(1, 3, padding="same", activation="sigmoid"))
    # The files of masks need not be there.
    table = predictions(mask, Generator(names, Masks([str(tmp_path / "no.png")] * COUNT), 5))
    assert list(table) == ["filename", "output", "error"]
    expected = one_by_one(mask, generator, names)
    np.testing.assert_allclose(np.stack(list(table.output)), expected, atol=1e-5)


@pytest.mark.backends
@pytest.mark.parametrize("structure", [dict, list])
def test_several_inputs_targets_and_outputs(names, structure):
    photo, age = keras.Input((*SIZE, 3), name="photo"), keras.Input((1,), name="age")
    features = layers.Concatenate()([layers.Flatten()(photo), age])
    kind = layers.Dense(3, "softmax", name="kind")(features)
    height = layers.Dense(1, name="height")(features)
    ages = np.linspace(0, 3, COUNT, dtype=np.float32)[:, np.newaxis]
    counts = 2 * np.arange(COUNT)  # no classes that have names
    if structure is dict:
        model = keras.Model({"photo": photo, "age": age}, {"kind": kind, "height": height})
        inputs, labels = {"age": ages, "photo": names}, {"kind": CLASSES, "count": counts}
    else:
        model = keras.Model([photo, age], [kind, height])
        inputs, labels = (names, ages), [CLASSES, counts, Masks(names)]
    generator = Generator(inputs, labels, 5, workers=2)
    table = predictions(model, generator, NAMES)
    of_labels = ["label kind", "label count"] if structure is dict else ["label 0", "label 1"]
    of_outputs = {"kind prediction", "kind probability", "height"}
    assert set(table) == {"filename", *of_labels, *of_outputs, "error"}
    assert list(table[of_labels[0]]) == [NAMES[number] for number in CLASSES]
    assert list(table[of_labels[1]]) == counts.tolist()
    images = np.stack([generator.read(name) for name in names])
    x = {"photo": images, "age": ages} if structure is dict else [images, ages]
    expected = model.predict(x, verbose=0)
    kinds, heights = map(expected.__getitem__, ("kind", "height") if structure is dict else (0, 1))
    assert list(table["kind prediction"]) == [NAMES[number] for number in kinds.argmax(1)]
    np.testing.assert_allclose(table["kind probability"], kinds.max(1), atol=1e-5)
    np.testing.assert_allclose(table.height, heights[:, 0], atol=1e-5)


def test_pictures_of_their_own_sizes(names):
    parts = [layers.Conv2D(2, 3), layers.GlobalAveragePooling2D(), layers.Dense(1)]
    model = keras.Sequential([keras.Input((None, None, 3)), *parts])
    # Equal sizes come first, as on TensorFlow `predict` would learn the shape from two batches.
    names = [names[0], *names[:4]]
    generator = MY_Generator(names, None, 1, image_size=None, workers=2)
    table = predictions(model, generator)
    expected = [model(generator.read(name)[np.newaxis]) for name in names]
    expected = [float(keras.ops.convert_to_numpy(row)[0, 0]) for row in expected]
    np.testing.assert_allclose(table.output, expected, atol=1e-5)
    assert list(table.filename) == names
