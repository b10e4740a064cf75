import os
import random
import time

import keras
import numpy as np
import pytest

from helpers.classroom import apart
from helpers.classroom.forks import in_forks


class Draws(keras.utils.PyDataset):
    """Four batches of one image that holds the epoch, the batch, and a number that is drawn."""

    epoch = 0

    def __init__(self):
        super().__init__(workers=4, use_multiprocessing=True)

    def __len__(self):
        return 4

    def __getitem__(self, index):
        time.sleep(0.5 if apart.LINUX else 0)
        drawn = np.random.random(), random.random()  # noqa: NPY002 - what the notebook shows
        return np.array([[self.epoch, index, *drawn]]), np.array([os.getpid()])


def looked_at(images):
    assert images.shape == (8, 4)
    assert images[:, :2].tolist() == [[epoch, index] for epoch in (0, 1) for index in range(4)]
    assert len(np.unique(images[:, 2])) == 1  # each worker drew the same


@pytest.mark.slow
@pytest.mark.skipif(not apart.LINUX, reason="there are no forks")
def test_forked_workers_draw_the_same_numbers_in_every_epoch():
    images, makers = in_forks(Draws(), epochs=2)
    looked_at(images)
    assert len(set(makers[:4])) == len(set(makers[4:])) == 4
    assert os.getpid() not in makers


def test_where_there_are_no_forks_they_are_imitated(monkeypatch, capsys):
    monkeypatch.setattr(apart, "LINUX", False)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    expected = random.Random()
    expected.setstate(random.getstate())
    images, makers = in_forks(Draws(), epochs=2)
    looked_at(images)
    assert len(np.unique(images[:, 3])) == 1
    assert set(makers) == {os.getpid()}
    assert random.random() == expected.random()  # the program's numbers go on as if nothing was
    assert "imitates" in capsys.readouterr().out
