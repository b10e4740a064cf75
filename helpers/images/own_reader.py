"""Files that the caller's own function reads: DICOM, `.npy`, many bands, or another place."""

import os

import numpy as np

from helpers.images.masks import as_mask
from helpers.images.reading import ImageError
from helpers.images.recipe import CHANNELS, Recipe


def read_by(recipe: Recipe, filename: str, folder: str = "") -> np.ndarray:
    """Call ``recipe.read``, and check what it returns.

    Parameters
    ----------
    recipe : Recipe
        Has a `read`.
    filename : str
        What to read.
    folder : str
        Where names begin that are not absolute, if that is another folder than Python's.

    Returns
    -------
    numpy.ndarray
        Array of shape (height, width, channels): uint8 as it is, other numbers as float32, with
        the values that they have (False and True are 0 and 1); of a mask, of ``recipe.dtype``.

    Raises
    ------
    ImageError
        If `read` fails, which is then the cause, or returns something else. It names the file,
        and says what to do.
    """
    assert recipe.read is not None
    try:
        result = recipe.read(_found_from_here(filename, folder))
        array = np.asarray(result)
    except Exception as error:
        raise ImageError(filename, f"read failed: {type(error).__name__}: {error}") from error
    if result is None:
        raise ImageError(filename, "read returned None: it must end with `return array`")
    try:
        return _checked(array, recipe)
    except ValueError as error:
        raise ImageError(filename, str(error)) from error


def _found_from_here(filename: str, folder: str) -> str:
    """Return the name as it was passed, unless it means another file here."""
    if "://" in filename or folder in ("", os.getcwd()):  # noqa: PTH109 - a string, as `folder` is
        return filename
    return os.path.join(folder, filename)  # noqa: PTH118


def _checked(array: np.ndarray, recipe: Recipe) -> np.ndarray:
    """Give what was read three axes, and a type that can be resized; ValueError if it has none."""
    if array.ndim == 2:
        array = array[..., np.newaxis]
    if array.dtype.kind not in "buif" or array.ndim != 3 or not array.size:
        raise ValueError(
            f"read returned {_described(array)}; it must return numbers of shape (height, width) "
            f"or (height, width, channels)"
        )
    if recipe.is_mask and array.shape[2] == 1:
        return as_mask(array, recipe.dtype)
    if recipe.color_mode == "rgb" and array.shape[2] == 1:  # as grey files are
        array = np.repeat(array, 3, axis=2)
    if array.shape[2] != recipe.channels:
        raise ValueError(f"read returned {_described(array)}; {_cure(array, recipe)}")
    if recipe.dtype == "uint8" != array.dtype:
        raise ValueError(
            f"read returned {array.dtype}, which dtype='uint8' cannot keep: pass dtype='float32'"
        )
    # Rows in one piece and the machine's own order of bytes, as OpenCV wants them.
    return np.ascontiguousarray(array, np.uint8 if array.dtype == np.uint8 else np.float32)


def _described(array: np.ndarray) -> str:
    return f"an array of {array.dtype}, of shape {array.shape}"


def _cure(array: np.ndarray, recipe: Recipe) -> str:
    """Say what to do where the last axis has not as many channels as it should."""
    if recipe.is_mask:
        return "a mask has the shape (height, width) or (height, width, 1)"
    if array.shape[0] < min(array.shape[1:]):
        return "channels are the last axis: np.moveaxis(array, 0, -1) puts the first one there"
    names = {channels: repr(name) for name, channels in CHANNELS.items()}
    fitting = names.get(array.shape[2], array.shape[2])
    return f"pass color_mode={fitting}, as color_mode={recipe.color_mode!r} has {recipe.channels}"
