"""Augmentations that a process of an executor can import without Keras."""

import numpy as np


def flip_and_brighten(images, masks, rng):
    """Flip two pictures and their mask, and brighten the first picture."""
    first, second = images
    if rng.random() < 0.5:
        first, second, masks = first[:, ::-1], second[:, ::-1], masks[:, ::-1]
    return (first * rng.random(dtype=np.float32), second), masks


def mix_up(inputs, targets, rng):
    """Mix the pictures of a batch; targets stay as they are, but for their class."""
    partners = rng.permutation(len(inputs["age"]))
    share = np.float32(rng.uniform(0.5, 1))
    for name in ("left", "right"):
        inputs[name] = share * inputs[name] + (1 - share) * inputs[name][partners]
    one_hot = np.eye(3, dtype=np.float32)[targets["class"]]
    return inputs, {**targets, "class": share * one_hot + (1 - share) * one_hot[partners]}
