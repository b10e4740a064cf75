"""What is right in notebook 10, your own images: the exam."""

import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from helpers.arguments import kind_of
from helpers.classroom.exercises import exercise
from helpers.datasets.image_files import ImageFiles
from helpers.images.opencv import cv2


def broken_files(files: ImageFiles) -> dict[str, str]:
    """Return the files that cannot be read, each with the reason."""
    # Not above: workers import this file for `by_opencv`, and would import TensorFlow with it.
    from helpers.generators.my_generator import MY_Generator

    generator = MY_Generator(files.filenames, files.labels, 32, on_error="skip")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is skipped is returned
        for _ in generator:
            pass
    return dict(generator.skipped)


@exercise("10.A", finished=lambda: broken_files)
def finds_what_is_broken(written: Callable) -> str | None:
    """Give it a folder of 40 files, three of which are broken."""
    with tempfile.TemporaryDirectory() as folder:
        names = [_write_image(Path(folder), number) for number in range(40)]
        broken = {names[3], names[20], names[39]}
        for name in broken:
            Path(name).write_bytes(Path(name).read_bytes()[:60])
        found = written(ImageFiles(names, np.zeros(40, np.int64), ("any",)))
    if found is None:
        return "It returns None. Return what the generator has skipped."
    if not isinstance(found, Mapping):
        return f"It returns {kind_of(found)}; asked for is a dict: names and reasons."
    missed, more = broken - set(found), set(found) - broken
    if missed:
        return f"Of three broken files it finds {3 - len(missed)}. Were all batches asked for?"
    if more:
        return f"It also names files that can be read, such as {Path(min(more)).name}."
    if not all(found.values()):
        return "The reasons are missing."
    return None


def _write_image(folder: Path, number: int) -> str:
    path = folder / f"{number:02}.png"
    cv2.imwrite(str(path), np.full((8, 8, 3), number, np.uint8))
    return str(path)


def recall_of_each_class(table: pd.DataFrame) -> pd.Series:
    """Return of each class the share of its files that was found."""
    return (table["label"] == table["prediction"]).groupby(table["label"]).mean()


@exercise("10.B", finished=lambda: recall_of_each_class)
def gives_recalls(written: Callable) -> str | None:
    """Give it a small table, in which one class is never found."""
    label = ["cat"] * 4 + ["dog"] * 2 + ["horse"] * 4
    prediction = ["cat"] * 3 + ["dog"] + ["cat"] * 2 + ["horse"] * 2 + ["dog", "cat"]
    recalls = written(pd.DataFrame({"label": label, "prediction": prediction}))
    if not isinstance(recalls, Mapping | pd.Series):
        return f"It returns {kind_of(recalls)}; asked for is a number for each class, by its name."
    recalls = dict(recalls)
    if set(recalls) != {"cat", "dog", "horse"}:
        return f"Expected are cat, dog and horse; yours has {sorted(map(str, recalls))}."
    precision = {"cat": 0.5, "dog": 0.0, "horse": 1.0}
    if all(np.isclose(recalls[name], share) for name, share in precision.items()):
        return "That is of all that were called so, the share that is so: precision, not recall."
    for name, share in {"cat": 0.75, "dog": 0.0, "horse": 0.5}.items():
        if not np.isclose(recalls[name], share):
            return f"For {name} it gives {recalls[name]}. Of all files of the class, which share?"
    return None


def by_opencv(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Turn an image a little and shift its hue, by chance."""
    height, width = image.shape[:2]
    centre = (width - 1) / 2, (height - 1) / 2
    turn = cv2.getRotationMatrix2D(centre, rng.uniform(-15, 15), 1)
    edge: dict[str, Any] = {"flags": cv2.INTER_CUBIC, "borderMode": cv2.BORDER_REPLICATE}
    image = cv2.warpAffine(image, turn, (width, height), **edge)
    hsv = cv2.cvtColor(np.clip(image, 0, 1), cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + 360 * rng.uniform(-0.05, 0.05)) % 360
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


@exercise("10.C", finished=lambda: by_opencv)
def changes_images(written: Callable) -> str | None:
    """Try it on images of two shapes, with equal and with different random numbers."""
    grid = np.indices((40, 64)).sum(axis=0) / 104
    image = np.stack([grid, 1 - grid, 0.5 * grid], axis=-1).astype(np.float32)
    images = [written(image.copy(), np.random.default_rng(seed)) for seed in (0, 0, 1, 2, 3)]
    return (
        _what_it_is(images[0], image)
        or _what_it_depends_on(images, image)
        or _how_it_looks(images, image)
        or _how_long_it_takes(written, image)
    )


def _what_it_is(changed: Any, image: np.ndarray) -> str | None:
    if not isinstance(changed, np.ndarray):
        return f"It returns {kind_of(changed)}; asked for is an array."
    if changed.shape != image.shape:
        shapes = f"{image.shape} and is {changed.shape}"
        return f"The shape was {shapes}. A size is (width, height) in OpenCV."
    if changed.dtype != np.float32:
        return f"The dtype is {changed.dtype}; asked for is float32."
    if changed.min() < -0.01 or changed.max() > 1.01:
        return f"Values go from {changed.min():.2f} to {changed.max():.2f}; asked for is 0 to 1."
    return None


def _what_it_depends_on(images: list[np.ndarray], image: np.ndarray) -> str | None:
    first, again, other, *_ = images
    if not np.array_equal(first, again):
        return "With equal random numbers come different images. Is all chance from `rng`?"
    if np.array_equal(first, other) or np.array_equal(first, image):
        return "With other random numbers comes the same image."
    return None


def _how_it_looks(images: list[np.ndarray], image: np.ndarray) -> str | None:
    far = max(float(np.abs(changed - image).mean()) for changed in images)
    if far > 0.25:
        return "The image is hardly the same one any more. In which range does OpenCV give hues?"
    return None


def _how_long_it_takes(written: Callable, image: np.ndarray) -> str | None:
    """Compare with the finished one, in the same moment: what is asked is the size of it."""
    ours, theirs = (
        min(_seconds(function, image) for _ in range(5)) for function in (by_opencv, written)
    )
    if theirs > 8 * ours:
        return (
            f"It takes {theirs / ours:.0f} times as long as it could. Is scikit-image still in it?"
        )
    return None


def _seconds(function: Callable, image: np.ndarray) -> float:
    rng, began = np.random.default_rng(0), time.perf_counter()
    for _ in range(5):
        function(image, rng)
    return time.perf_counter() - began


@exercise("10.1")
def lists_the_same_files(from_table: ImageFiles, files: ImageFiles) -> str | None:
    """Compare what a table lists with what the folder does."""
    if not isinstance(from_table, tuple) or not hasattr(from_table, "filenames"):
        return f"That is {kind_of(from_table)}; load_table returns the files."
    if len(from_table.filenames) != len(files.filenames):
        return f"{len(from_table.filenames)} files are listed, of {len(files.filenames)}."
    theirs, ours = (
        [Path(name).resolve() for name in listed.filenames] for listed in (from_table, files)
    )
    if theirs != ours:
        return "These are other files, or in another order."
    if tuple(from_table.class_names or ()) != tuple(files.class_names):
        return "The classes have no names. What stands in the column `class`?"
    if not np.array_equal(from_table.labels, files.labels):
        return "The labels are others. Does each row have the class of its own file?"
    return None


@exercise("10.2")
def balances_the_classes(weights: Any, labels: np.ndarray) -> str | None:
    """Add up the weights of each class."""
    weights = np.asarray(weights, dtype=float)
    if weights.shape != labels.shape:
        return f"There are {len(labels)} files; your weights have the shape {weights.shape}."
    sums = np.bincount(labels, weights=weights)
    if not np.allclose(sums, sums[0]):
        return f"The classes' sums are {', '.join(f'{number:.1f}' for number in sums)}: not equal."
    if not np.isclose(weights.mean(), 1):
        return f"The sums are equal; the mean of all weights is {weights.mean():.3g}, and not 1."
    return None
