"""The drawings are reproducible, varied, and neither too easy nor too hard to learn from."""

import keras
import numpy as np
import pytest
from keras import layers

from helpers import load_sample, read_image
from helpers.datasets import drawings
from helpers.datasets.drawings import CLASS_NAMES, draw_picture, draw_with_mask


def draw_many(class_name, count, seed=(0,)):
    return np.array(
        [draw_picture(class_name, np.random.default_rng([*seed, k])) for k in range(count)]
    )


def test_the_ten_classes_have_cifar10s_names_in_its_order():
    assert " ".join(CLASS_NAMES) == "airplane automobile bird cat deer dog frog horse ship truck"


@pytest.mark.parametrize("class_name", CLASS_NAMES)
def test_a_picture_has_the_shape_and_type_of_an_image(class_name):
    picture = draw_picture(class_name, np.random.default_rng(0))
    assert picture.shape == (32, 32, 3)
    assert picture.dtype == np.uint8


@pytest.mark.parametrize("size", [16, 33, 64])
def test_size_sets_height_and_width(size):
    assert draw_picture("frog", np.random.default_rng(0), size=size).shape == (size, size, 3)


@pytest.mark.parametrize("class_name", CLASS_NAMES)
def test_the_same_seed_gives_the_same_picture_and_another_seed_another(class_name):
    seeds = (1, 1, 2)
    first, again, other = (draw_picture(class_name, np.random.default_rng(s)) for s in seeds)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_picture_does_not_depend_on_those_drawn_before():
    before = draw_picture("truck", np.random.default_rng(3))
    for class_name in CLASS_NAMES:
        draw_picture(class_name, np.random.default_rng(4))
    np.testing.assert_array_equal(draw_picture("truck", np.random.default_rng(3)), before)


@pytest.mark.parametrize("unknown", ["zebra", "Cat", 3, None])
def test_an_unknown_class_is_named_in_the_error(unknown):
    with pytest.raises(ValueError, match=f"received {unknown!r}$"):
        draw_picture(unknown, np.random.default_rng(0))


@pytest.mark.parametrize("class_name", CLASS_NAMES)
def test_the_pictures_of_a_class_differ(class_name):
    pictures = draw_many(class_name, 50)
    assert len({picture.tobytes() for picture in pictures}) == 50
    mean_colours = pictures.mean(axis=(1, 2))
    assert (mean_colours.std(axis=0) > 10).all()


def test_no_class_is_much_lighter_or_darker_than_the_others():
    # Pictures of one class vary more in brightness than the classes do between them.
    brightness = np.array([draw_many(name, 50).mean(axis=(1, 2, 3)) for name in CLASS_NAMES])
    assert brightness.mean(axis=1).std() < 0.5 * brightness.std(axis=1).mean()


def read_all(files):
    images = np.stack([read_image(name) for name in files.filenames])
    return images / np.float32(255), files.labels


def accuracy_after_training(hidden_layers, train, test):
    keras.utils.set_random_seed(0)
    output = layers.Dense(10, activation="softmax")
    model = keras.Sequential([keras.Input((32, 32, 3)), *hidden_layers, layers.Flatten(), output])
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(*train, batch_size=32, epochs=10, verbose=0)
    return model.evaluate(*test, verbose=0)[1]


@pytest.mark.slow
def test_a_small_cnn_learns_the_sample_and_a_linear_model_does_not():
    train, test = map(read_all, load_sample())
    convolutions = []
    for filters in (16, 32, 64):
        convolutions += [
            layers.Conv2D(filters, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
        ]
    cnn = [*convolutions, layers.Flatten(), layers.Dense(64, activation="relu")]
    cnn_accuracy = accuracy_after_training(cnn, train, test)
    linear_accuracy = accuracy_after_training([], train, test)
    assert cnn_accuracy >= 0.85
    assert linear_accuracy <= cnn_accuracy - 0.2


@pytest.mark.parametrize("class_name", CLASS_NAMES)
def test_a_mask_is_where_the_object_was_painted(monkeypatch, class_name):
    rng = np.random.default_rng
    picture, mask = draw_with_mask(class_name, rng(3), size=40)
    np.testing.assert_array_equal(picture, draw_picture(class_name, rng(3), size=40))
    choose = drawings._choose_colours

    def all_in_one(*arguments):
        return dict.fromkeys(choose(*arguments), (-10_000, -10_000, -10_000))

    monkeypatch.setattr(drawings, "_choose_colours", all_in_one)
    monkeypatch.setattr(drawings, "_photograph", lambda picture, rng: picture)
    painted, _ = draw_with_mask(class_name, rng(3), size=40)
    covered = painted.max(axis=2) < -5000  # more than 4 of the 9 parts of a pixel
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, covered)
    assert 0.05 < mask.mean() < 0.8
