"""Which prediction belongs to which file."""

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import pandas as pd
from tqdm import tqdm  # unlike tqdm.auto, it shows nothing before the delay

from helpers.generators.my_generator import MY_Generator

ROUNDING = 1e-3  # by how much the probabilities of a softmax, float16 too, may miss a sum of 1


def predictions(
    model: keras.Model, generator: MY_Generator, class_names: Sequence[str] | None = None
) -> pd.DataFrame:
    """Predict from each file of a generator, once, and say of each row which file it is.

    The files come in the order of their list, whatever the generator's `shuffle` or `order`, and
    without `augment`. The generator itself is left as it is; its workers' settings are used.

    Parameters
    ----------
    model : keras.Model
        What predicts.
    generator : MY_Generator
        Names the files, and says how they become arrays. Of one with a `shard` the files of that
        share.
    class_names : sequence of str, optional
        Names of the classes; without them there are numbers, and so there are for labels and
        outputs of other classes than these.

    Returns
    -------
    pandas.DataFrame
        A row for each file. Columns: "filename"; "label", as the generator has it, if it is one
        number for each file (of several targets one column each); then what the model said. Where
        that is a softmax, "prediction" (the likeliest class) and "probability"; else "output",
        which is numbered if it is a vector, and holds arrays if it is larger. With several outputs
        each column begins with the name of its output. "error" says why a row is empty (with
        ``on_error="skip"``), and is itself missing elsewhere.

    Raises
    ------
    ImageError
        If a file cannot be read, unless the generator has ``on_error="skip"``.

    Examples
    --------
    >>> table = predictions(model, validation, files.class_names)
    >>> table[table.label != table.prediction].sort_values("probability")  # the surest mistakes
    """
    with generator.in_file_order() as in_order:
        batches = in_order.batches_per_epoch
        asked = np.concatenate([in_order.samples(0, index) for index in range(batches)])
        bar = tqdm(in_order, "Predicting", batches, delay=2, leave=False)
        came, reasons, outputs = _predicted(model, bar, in_order.batch_size)
    names = [os.fspath(generator.filenames[position]) for position in asked]
    table = pd.DataFrame({"filename": names}, index=asked)
    for column, values in _label_columns(generator.labels, asked, class_names):
        table[column] = values
    for column, values in _output_columns(outputs, class_names):
        table[column] = pd.Series(values, index=came)
    table["error"] = pd.Series(reasons, index=asked, dtype="str")
    return table.reset_index(drop=True)


def _predicted(
    model: keras.Model, batches: Iterable, batch_size: int
) -> tuple[np.ndarray, dict[int, str], dict[str, np.ndarray]]:
    """Positions of the samples that came, why others did not, and an array for each output."""
    came: list[np.ndarray] = []
    reasons: dict[int, str] = {}
    outputs: list[dict[str, np.ndarray]] = []
    for x, positions, reasons_of_batch in batches:
        reasons |= reasons_of_batch
        if count := len(positions):  # none, if no file of the batch can be read
            # A short batch is filled up: for each size TensorFlow and JAX would compile anew.
            output = model.predict_on_batch(_first(x, batch_size))
            came.append(positions)
            outputs.append(_named(model, _first(output, count)))
    if not came:
        return np.empty(0, np.int64), reasons, {}
    arrays = {name: np.concatenate([batch[name] for batch in outputs]) for name in outputs[0]}
    return np.concatenate(came), reasons, arrays


def _first(batch: Any, count: int) -> Any:
    """Return the first `count` rows of each array; where there are fewer, the last one again."""

    def rows(array: np.ndarray) -> np.ndarray:
        if len(array) >= count:
            return array[:count]
        return array[np.minimum(np.arange(count), len(array) - 1)]

    return keras.tree.map_structure(rows, batch)


def _named(model: keras.Model, output: Any) -> dict[str, np.ndarray]:
    """Return outputs by name; the name of an only one is empty."""
    if isinstance(output, dict):
        return output
    if isinstance(output, (list, tuple)):
        names = getattr(model, "output_names", range(len(output)))
        return {str(name): array for name, array in zip(names, output, strict=True)}
    return {"": output}


def _output_columns(
    outputs: dict[str, np.ndarray], class_names: Sequence[str] | None
) -> Iterator[tuple[str, Any]]:
    for name, array in outputs.items():
        prefix = f"{name} " if name else ""
        if _is_softmax(array):
            likeliest = array.argmax(axis=1)
            yield f"{prefix}prediction", _class_of(likeliest, array.shape[1], class_names)
            yield f"{prefix}probability", array.max(axis=1)
        else:
            yield from _value_columns(name or "output", array)


def _is_softmax(array: np.ndarray) -> bool:
    if array.ndim != 2 or array.shape[1] < 2:
        return False
    return bool((array >= 0).all()) and np.allclose(array.sum(axis=1), 1, rtol=0, atol=ROUNDING)


def _value_columns(name: str, array: np.ndarray) -> Iterator[tuple[str, Any]]:
    """Yield a column of numbers; of a vector one for each; of anything larger one of arrays."""
    array = array.reshape(len(array)) if array.size == len(array) else array
    if array.ndim == 1:
        yield name, array
    elif array.ndim == 2:
        for number, column in enumerate(array.T):
            yield f"{name} {number}", column
    else:
        yield name, list(array)


def _label_columns(
    labels: Any, asked: np.ndarray, class_names: Sequence[str] | None
) -> Iterator[tuple[str, Any]]:
    for path, values in keras.tree.flatten_with_path(labels):
        if not isinstance(values, np.ndarray):
            continue  # masks, or no labels
        name = " ".join(map(str, ("label", *path)))
        rows = values[asked]
        is_class = rows.ndim == 1 and rows.dtype.kind in "iu"
        if is_class and values.min() >= 0:
            yield name, _class_of(rows, int(values.max()) + 1, class_names)
        else:
            yield from _value_columns(name, rows)


def _class_of(numbers: np.ndarray, classes: int, class_names: Sequence[str] | None) -> Any:
    if class_names is None or len(class_names) < classes:
        return numbers
    return [class_names[number] for number in numbers]
