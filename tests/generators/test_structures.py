"""Several inputs and outputs, weights, masks and pictures of any size, through Keras itself."""

import keras
import numpy as np
import pytest
from noting import SIZE, Generator, write_masks

from helpers import Masks, MY_Generator

pytestmark = pytest.mark.backends

COUNT, BATCH_SIZE = 22, 4
AGES = np.linspace(0, 1, COUNT, dtype=np.float32)[:, np.newaxis]
CLASSES = np.arange(COUNT) % 3
WEIGHTS = np.linspace(0.1, 3, COUNT, dtype=np.float32)
OPTIONS = {"shuffle": False, "epochs": 2, "verbose": 0}


@pytest.fixture
def names(pictures):
    return pictures[:COUNT]


@pytest.fixture
def images(names):
    return Generator(names, None, COUNT)[0]


def picture_of(name="photo"):
    return keras.Input((*SIZE, 3), name=name)


def trained(model, data, target=None, **options):
    """Losses, and the weights after training, of a model that begins as it is."""
    begin = model.get_weights()
    losses = model.fit(data, target, **OPTIONS, **options).history
    weights = model.get_weights()
    model.set_weights(begin)
    return losses, weights


def assert_trains_alike(model, generator, *arrays):
    """Whether a generator gives the training of whole arrays, which Keras cuts into batches."""
    data, target, *weights = arrays
    with generator:
        losses, end = trained(model, generator)
    options = {"batch_size": BATCH_SIZE, **({"sample_weight": weights[0]} if weights else {})}
    expected_losses, expected_end = trained(model, data, target, **options)
    assert losses.keys() == expected_losses.keys()
    for name, values in expected_losses.items():
        np.testing.assert_allclose(losses[name], values, rtol=1e-4, err_msg=name)
    for weights, expected in zip(end, expected_end, strict=True):
        np.testing.assert_allclose(weights, expected, rtol=1e-3, atol=1e-6)
    assert any((a != b).any() for a, b in zip(end, model.get_weights(), strict=True))


@pytest.mark.parametrize("structure", [dict, tuple])
def test_two_inputs_and_two_outputs_with_weights_train_as_arrays_do(names, images, structure):
    photo, age = picture_of(), keras.Input((1,), name="age")
    features = keras.layers.Concatenate()([keras.layers.Flatten()(photo), age])
    kind = keras.layers.Dense(3, "softmax", name="kind")(features)
    height = keras.layers.Dense(1, name="height")(features)
    if structure is dict:
        model = keras.Model({"photo": photo, "age": age}, {"kind": kind, "height": height})
        inputs, x = ({"age": AGES, "photo": files} for files in (names, images))
        labels = {"height": AGES, "kind": CLASSES}
        weights = {"kind": WEIGHTS, "height": WEIGHTS[::-1]}
        losses = {"kind": "sparse_categorical_crossentropy", "height": "mse"}
    else:
        model = keras.Model([photo, age], [kind, height])
        inputs, x = (names, AGES), (images, AGES)
        labels, weights = (CLASSES, AGES), (WEIGHTS, WEIGHTS[::-1])
        losses = ["sparse_categorical_crossentropy", "mse"]
    model.compile(keras.optimizers.SGD(0.01), losses)
    generator = Generator(inputs, labels, BATCH_SIZE, sample_weight=weights, workers=2)
    assert_trains_alike(model, generator, x, labels, weights)
    alone = Generator(inputs, None, BATCH_SIZE, workers=2)  # to predict from
    expected = model.predict(x, verbose=0)
    got = model.predict(alone, verbose=0)
    for one, other in zip(*map(keras.tree.flatten, (got, expected)), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_model_of_masks_trains_as_arrays_do(names, images, tmp_path):
    # With a softmax over channels plain arrays fail, too, on PyTorch.
    masks = write_masks(tmp_path, names, lambda number, shape: np.full(shape, number % 2, np.uint8))
    layers = [picture_of(), keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid")]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.SGD(0.1), "binary_crossentropy")
    targets = (np.arange(COUNT) % 2)[:, None, None, None] * np.ones((1, *SIZE, 1), np.uint8)
    generator = Generator(names, Masks(masks), BATCH_SIZE, sample_weight=WEIGHTS)
    # Keras needs as many axes as it has losses: one of each pixel.
    assert_trains_alike(model, generator, images, targets, WEIGHTS[:, None, None])


def test_weights_of_classes_and_of_files_are_one_too_many_for_keras(names):
    layers = [picture_of(), keras.layers.Flatten(), keras.layers.Dense(3, "softmax")]
    model = keras.Sequential(layers)
    model.compile("sgd", "sparse_categorical_crossentropy")
    weights = {0: 1.0, 1: 2.0, 2: 0.5}
    with pytest.raises(ValueError, match="`class_weight` and `sample_weight` at the same time"):
        model.fit(
            Generator(names, CLASSES, BATCH_SIZE, sample_weight=WEIGHTS),
            class_weight=weights,
            verbose=0,
        )
    alone = trained(model, Generator(names, CLASSES, BATCH_SIZE), class_weight=weights)[0]
    as_files = Generator(names, CLASSES, BATCH_SIZE, sample_weight=[weights[c] for c in CLASSES])
    np.testing.assert_allclose(alone["loss"], trained(model, as_files)[0]["loss"], rtol=1e-5)


def test_pictures_of_any_size_train(names):
    layers = [
        keras.Input((None, None, 3)),
        keras.layers.Conv2D(2, 3, padding="same"),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(1),
    ]
    model = keras.Sequential(layers)
    model.compile("sgd", "mse")
    options = {"image_size": None, "workers": 2}
    # On TensorFlow Keras learns the shape from the first two batches: what they have in common,
    # height or width, all must have.
    with MY_Generator(names[:8], AGES[:8], 1, **options) as generator:
        assert len({images.shape for images, _ in generator}) == 8
        assert np.isfinite(model.fit(generator, **OPTIONS).history["loss"]).all()
        rows = model.predict(generator, verbose=0)
        alone = [model.predict(generator.read(n)[np.newaxis], verbose=0) for n in names[:3]]
    np.testing.assert_allclose(rows[:3], np.concatenate(alone), atol=1e-5)
    with MY_Generator([names[0], *names[:3]], AGES[:4], 1, **options) as generator:
        if keras.backend.backend() == "tensorflow":
            with pytest.raises(Exception, match="was expected"):
                model.fit(generator, **OPTIONS)
        else:
            model.fit(generator, **OPTIONS)
        for batch in generator:  # a loop of one's own takes any sizes, on each of them
            loss = model.train_on_batch(*batch)
        assert np.isfinite(loss)
