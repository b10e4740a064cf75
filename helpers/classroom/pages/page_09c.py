"""What is right in notebook 09c, on paper."""

import math

from helpers.classroom.exercises import exercise


@exercise("09c.1")
def workers_that_wait(workers: float) -> str | None:
    """Multiply what arrives each second by how long each stays."""
    if math.isclose(workers, 25, rel_tol=0.01):
        return "That is with 10 ms."
    if math.isclose(workers, 100, rel_tol=0.01):
        return None
    return f"{workers:g} is not it. How many requests are under way at any moment?"


@exercise("09c.2")
def images_through_a_cable(images: float) -> str | None:
    """Divide the bytes of a second by those of an image."""
    right = 10e9 / 8 / (224 * 224 * 3)
    for factor, words in (
        (8, "A Gbit is a billion bits, not bytes."),
        (3, "An image has three colours."),
        (1 / 4, "float32 is made here; each colour travels as one byte."),
    ):
        if math.isclose(images, factor * right, rel_tol=0.01):
            return words
    if math.isclose(images, right, rel_tol=0.01):
        return None
    return f"{images:,.0f} is not it: bytes that come in a second, by bytes of an image."
