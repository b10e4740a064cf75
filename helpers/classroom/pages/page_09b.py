"""What is right in notebook 09b, several hosts train."""

from collections.abc import Callable

import numpy as np

from helpers.classroom.exercises import exercise


@exercise("09b.1")
def steps_of_three_trainers(steps: int) -> str | None:
    """Count the steps of 96 images, 24 at a time."""
    if steps == 12:
        return "That is with one trainer. How many images do three of them take in a step?"
    if steps == 36:
        return "Three trainers do not make an epoch longer."
    return None if steps == 4 else f"{steps} is not it: a step is over when all three had theirs."


@exercise("09b.2")
def deals_out(written: Callable) -> str | None:
    """Deal out an order to 1 to 4 trainers: everything once, and equally much to each."""
    for count in (1, 2, 3, 4):
        order = np.random.default_rng(count).permutation(24)
        batch_size = 24 // (2 * count)
        steps = [
            [list(written(order, index, count, batch_size, step)) for index in range(count)]
            for step in range(2)
        ]
        for step, shares in enumerate(steps):
            sizes = [len(share) for share in shares]
            if set(sizes) != {batch_size}:
                return (
                    f"{count} trainers got {sizes} samples in step {step}; "
                    f"asked for are {batch_size} each."
                )
        dealt = [int(sample) for shares in steps for share in shares for sample in share]
        twice = len(dealt) - len(set(dealt))
        if twice:
            return f"With {count} trainers, {twice} of 24 samples came twice, and others not."
        if not set(dealt) <= set(order.tolist()):
            return "There are samples that are not in `order`."
        if np.array_equal(dealt, range(24)):
            return "These are the places in `order`, and not what stands there."
    return None
