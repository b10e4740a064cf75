"""Runs to look at: one made up by hand, and one that is measured."""

import keras
import pandas as pd

from helpers import MY_Generator, Spans, Timeline
from helpers.plotting.lanes import COLUMNS

# Two epochs of two steps, on two workers; seconds chosen so that sums are easy.
BY_HAND = pd.DataFrame(
    [
        ("worker 1", "read", 0, 0, 10, 0.0, 0.1),
        ("worker 1", "decode", 0, 0, 10, 0.1, 0.4),
        ("worker 1", "hand-over", 0, 0, 10, 0.4, 0.5),
        ("worker 2", "ask", 0, 1, 6, 0.0, 0.2),
        ("worker 2", "read", 0, 1, 6, 0.2, 0.3),
        ("worker 2", "decode", 0, 1, 6, 0.3, 0.9),
        ("training", "wait", 0, 0, 10, 0.0, 0.5),
        ("training", "hand-over", 0, 0, 10, 0.5, 0.6),
        ("training", "step", 0, 0, 10, 0.6, 1.0),
        ("queue", "queue", 0, 1, 6, 0.9, 1.1),
        ("training", "step", 0, 1, 6, 1.1, 1.5),
        ("worker 1", "make", 1, 0, 4, 2.0, 2.5),
        ("training", "wait", 1, 0, 4, 2.0, 2.5),
        ("training", "step", 1, 0, 4, 2.5, 3.0),
        ("worker 2", "read", -1, -1, 9, 2.6, 9.0),
    ],
    columns=COLUMNS,
)


def by_hand(**options):
    return Spans(BY_HAND, **{"workers": 2, "cores": 4, "queue": 10, **options})


def measured_run(pictures):
    model = keras.Sequential([keras.Input((6, 7, 3)), keras.layers.Flatten()])
    model.add(keras.layers.Dense(1))
    model.compile("sgd", loss="mse")
    generator = MY_Generator(pictures, range(70), 10, image_size=(6, 7), workers=3)
    with Timeline(generator, model) as timeline:
        model.fit(generator, epochs=3, verbose=0)
    return timeline
