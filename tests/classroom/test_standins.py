"""The model that only notes: it notes what a sequence gave, all of it, in its order."""

import keras
import numpy as np
import pytest

from helpers.classroom.standins import NotingModel, note_batches


class Numbered(keras.utils.PyDataset):
    """Batches of 4, 4 and 2 images, each image full of its own number, which is its label."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        labels = np.arange(4 * index, min(4 * index + 4, 10))
        return np.float32(labels)[:, None, None, None] + np.zeros((1, 2, 3, 1), np.float32), labels


def test_labels_come_in_the_order_in_which_the_sequence_gave_them():
    model = note_batches(Numbered(), shuffle=False)
    assert model.labels == list(range(10))
    assert type(model.labels) is list
    assert model.images == []


def test_images_are_kept_batch_by_batch_if_asked_for():
    model = note_batches(Numbered(), keep_images=True, shuffle=False)
    assert len(model.images) == 3
    for index, images in enumerate(model.images):
        np.testing.assert_array_equal(images, Numbered()[index][0])


def test_epochs_and_a_shuffle_are_noted_as_they_came():
    keras.utils.set_random_seed(1)
    model = note_batches(Numbered(), epochs=3)
    assert sorted(model.labels) == sorted([*range(10)] * 3)
    assert model.labels != [*range(10)] * 3
    assert len(model.times) == 9


def test_a_step_takes_as_long_as_asked_for():
    model = note_batches(Numbered(), seconds=0.05, shuffle=False)
    assert np.all(np.diff(model.times) >= 0.05)


def test_the_callback_comes_after_each_batch_and_may_stop_fit():
    came = []

    def note(batch, logs):
        came.append((batch, logs))
        if batch == 1:
            raise InterruptedError("enough")

    with pytest.raises(InterruptedError):
        note_batches(Numbered(), note, shuffle=False)
    assert came == [(0, {"loss": 0.0}), (1, {"loss": 0.0})]


def test_one_model_notes_several_fits():
    model = NotingModel()
    for _ in range(2):
        model.fit(Numbered(), shuffle=False, verbose=0)
    assert model.labels == [*range(10)] * 2
