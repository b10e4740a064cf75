"""The augmentation of whole batches: MixUp, CutMix and such."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from helpers import arguments
from helpers.images.augmenting import AugmentError, call_augment


def mixed(
    augment_batch: Callable, x: Any, y: Any, seed: tuple[int, ...], name: str
) -> tuple[Any, Any]:
    """Call `augment_batch` for a batch, and check what it returns.

    Parameters
    ----------
    augment_batch : callable
        ``augment_batch(images, targets, rng)``.
    x, y : structure of numpy.ndarray
        Inputs and targets; `augment_batch` may change them.
    seed : tuple of int
        Decides all random numbers.
    name : str
        What the batch is called in an error.

    Returns
    -------
    tuple
        Inputs, in the memory of those that came, and targets.

    Raises
    ------
    AugmentError
        If `augment_batch` fails, or returns something else.
    """
    result = call_augment(augment_batch, [x, y], seed, name, "augment_batch")
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        raise AugmentError(
            f"augment_batch on {name}: expected (images, targets), received {type(result).__name__}"
        )
    new_x, new_y = keras.tree.lists_to_tuples(tuple(result))  # as those that came

    def write(array: np.ndarray, new: Any) -> np.ndarray:
        if new is not array:
            new = np.asarray(new)
            if new.shape != array.shape:
                raise AugmentError(
                    f"augment_batch on {name}: expected inputs of shape {array.shape}, received "
                    f"{new.shape}"
                )
            if array.dtype.kind in "iu" and new.dtype.kind == "f":  # numpy would cut it off
                limits = np.iinfo(array.dtype)
                new = np.clip(np.rint(new), limits.min, limits.max)
            # Where TensorFlow, which copies other memory, takes it as it is.
            array[...] = new
        return array

    try:
        return keras.tree.map_structure(write, x, new_x), _checked(new_y, y, name)
    except (TypeError, ValueError) as error:
        message = f"augment_batch on {name}: what it returned has another structure ({error})"
        raise AugmentError(message) from error


def _checked(new: Any, y: Any, name: str) -> Any:
    if y is None:
        return None

    def check(old: np.ndarray, new: Any) -> np.ndarray:
        array = np.asarray(new)
        if array.ndim == 0 or len(array) != len(old):
            raise AugmentError(
                f"augment_batch on {name}: expected targets of "
                f"{arguments.counted(len(old), 'sample')}, received shape {array.shape}"
            )
        return array

    return keras.tree.map_structure(check, y, new)
