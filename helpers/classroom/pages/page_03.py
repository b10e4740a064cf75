"""What is right in notebook 03, MY_Generator."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from skimage.io import imread, imsave
from skimage.transform import resize

from helpers.classroom.exercises import exercise
from helpers.images.reading import read_image
from helpers.profiling.timing import EpochTiming

_SIZE = (200, 200)


class Startable(keras.utils.PyDataset):
    """What notebook 03 goes on with after faults 1 to 4: it starts, and is not right yet."""

    def __init__(self, image_filenames, labels, batch_size, **kwargs):
        super().__init__(**kwargs)
        self.image_filenames, self.labels = image_filenames, labels
        self.batch_size = batch_size

    def __len__(self):
        """Batches in an epoch, the short last one included."""
        return int(np.ceil(len(self.image_filenames) / self.batch_size))

    def __getitem__(self, idx):
        """Batch `idx`, as the article makes it."""
        window = slice(idx * self.batch_size, (idx + 1) * self.batch_size)
        images = [resize(imread(name), _SIZE) for name in self.image_filenames[window]]
        return np.array(images), np.array(self.labels[window])


class Mended(Startable):
    """What notebook 03 goes on with after faults 7 and 8."""

    def __getitem__(self, idx):
        """Batch `idx`, in three colours and in float32, of whatever kind the files are."""
        window = slice(idx * self.batch_size, (idx + 1) * self.batch_size)
        names = self.image_filenames[window]
        images = np.empty((len(names), *_SIZE, 3), np.float32)
        for place, name in zip(images, names, strict=True):
            place[...] = resize(read_image(name), _SIZE, mode="edge")
        return images, np.array(self.labels[window])


@exercise("03.A", finished=lambda: Startable)
def it_starts(written: type) -> str | None:
    """Ask for a class with a whole length, which passes on what Keras is to know."""
    if not issubclass(written, keras.utils.PyDataset):
        return "Keras does not know this class: it has to be a keras.utils.PyDataset."
    for files, batches in ((70, 3), (64, 2), (1, 1)):
        length = len(written(["name"] * files, [0] * files, 32))
        if length != batches:
            return f"{files} files in batches of 32 have a length of {length}: count by hand."
    return _what_keras_is_not_told(written) or _is_it_the_same(written)


def _what_keras_is_not_told(written: type) -> str | None:
    asked = {"workers": 16, "use_multiprocessing": True, "max_queue_size": 32}
    try:
        made = written(["name"], [0], 32, **asked)
    except TypeError as error:
        return f"Keras's own arguments are not taken yet: {error}."
    with contextlib.suppress(AttributeError):
        if all(getattr(made, name) == value for name, value in asked.items()):
            return None
    return "It takes workers=16, but Keras never hears of it. Who keeps these arguments?"


def _is_it_the_same(written: type) -> str | None:
    with _odd_files() as files:
        images, labels = written([files["colour"]] * 3, [4, 5, 6], 2)[1]
    if np.shape(images) != (1, *_SIZE, 3) or list(labels) != [6]:
        return "Of three files in batches of two, batch 1 should be the third. See what was kept."
    return None


@exercise("03.B", finished=lambda: _notice_dropped)
def dropped(notice: Callable) -> str | None:
    """Ask for an error where an epoch has fewer steps than there are batches."""
    two, eleven = (Startable(["name"] * files, [0] * files, 32) for files in (64, 330))
    return _notices(
        notice,
        faulty={
            "in 10 steps where there are 11 batches": (eleven, 10),
            "in a single step where there are two batches": (two, 1),
        },
        mended={"11 steps and 11 batches": (eleven, 11), "two steps and two batches": (two, 2)},
    )


def _notice_dropped(generator, steps_per_epoch):
    left_out = len(generator) - steps_per_epoch
    assert left_out == 0, f"{left_out} of {len(generator)} batches left out"


@exercise("03.C", finished=lambda: _notice_threads)
def threads(notice: Callable) -> str | None:
    """Ask for an error where the process that trains makes batches, too."""
    return _notices(
        notice,
        faulty={
            "where process 7 trains and makes all batches": ([7] * 11, 7),
            "where process 7 trains and makes the last batch": ([8, 9, 7], 7),
        },
        mended={
            "two other processes made the batches": ([8, 9, 8], 7),
            "one other process made them all": ([8] * 20, 7),
        },
    )


def _notice_threads(makers, training):
    here = makers.count(training)
    assert here == 0, f"{here} of {len(makers)} batches made by threads of the training"


@exercise("03.D", finished=lambda: _notice_float64)
def float64(notice: Callable) -> str | None:
    """Ask for an error where images are float64."""
    images, labels = np.zeros((2, 4, 4, 3)), np.zeros(2)
    return _notices(
        notice,
        faulty={
            "of images in float64": (images, labels.astype(np.int64)),
            "of images in float64 with labels in float32": (images, labels.astype(np.float32)),
        },
        mended={"images in float32, and labels in float64": (images.astype(np.float32), labels)},
        is_one=True,
    )


def _notice_float64(batch):
    images = batch[0]
    assert images.dtype == np.float32, f"{images.dtype}: {images.nbytes / 1e6:.1f} MB a batch"


@exercise("03.E", finished=lambda: Mended)
def any_file(written: type) -> str | None:
    """Ask for batches of three colours in float32, whatever the files are."""
    with _odd_files() as files:
        for kind, name in files.items():
            try:
                images, labels = written([name], [3], 2)[0]
            except Exception as error:
                return f"A {kind} file ends with {type(error).__name__}: {error}"
            if np.shape(images) != (1, *_SIZE, 3):
                return f"A {kind} file gives the shape {np.shape(images)}."
            if images.dtype != np.float32:
                return f"A {kind} file gives {images.dtype}."
            if (wrong := _difference(images[0], name)) is not None:
                return f"A {kind} file: {wrong}"
        names = list(files.values())
        images, labels = written(names, [4, 5, 6], 2)[1]
        if np.shape(images) != (1, *_SIZE, 3) or list(labels) != [6]:
            return "Three files in batches of two: batch 1 should hold the third image alone."
        images, labels = written(names, [4, 5, 6], 3)[0]
        if list(labels) != [4, 5, 6]:
            return f"The labels 4, 5, 6 came as {', '.join(map(str, labels))}."
        if any(_difference(image, name) for image, name in zip(images, names, strict=True)):
            return (
                "Each file alone is right. In a batch of three kinds, an image is not its file's."
            )
    return None


def _difference(image: np.ndarray, name: str) -> str | None:
    expected = resize(read_image(name), _SIZE, mode="edge")
    differs = np.abs(image - expected) > 1e-4
    if not differs.any():
        return None
    if image.max() > 1.5:
        return f"its values go up to {image.max():.0f}, not to 1."
    if not differs[8:-8, 8:-8].any():
        return 'its outer rows and columns are mirrored. The task names a mode of "resize".'
    return "its values are not those of the file, resized."


@exercise("03.F", finished=lambda: _notice_waiting)
def waiting(notice: Callable) -> str | None:
    """Ask for an error where training waits for 5 % of the time, or more."""
    quick, slow = (2.0, 900.0, 640), (0.01, 12.0, 640)

    def timing(measured, waited):
        return EpochTiming(*measured[:2], waited, measured[2])

    return _notices(
        notice,
        faulty={
            "of a wait of 22 %": timing(quick, 0.22),
            "of a wait of 6 %": timing(slow, 0.06),
        },
        mended={
            "training waited for 1 % of the time": timing(quick, 0.01),
            "training waited for 4 % of the time": timing(slow, 0.04),
        },
        is_one=True,
    )


def _notice_waiting(timing):
    assert timing.waited < 0.05, f"training waited for {timing.waited:.0%} of the time"


@exercise("03.1")
def one_file_is_broken(images: int, skipped: Mapping) -> str | None:
    """Ask how many images come of ten files, one of them broken, and what is noted of it."""
    if not isinstance(images, int | np.integer):
        return f"{images!r} is no number of images."
    if images == 10:
        return "Ten files, and ten images? One of them cannot be read. Count what comes."
    if images != 9:
        return f"{images} images? An epoch has three batches here; add up all of them."
    if not isinstance(skipped, Mapping):
        return "The generator itself keeps a dict of what it left out. Read its attribute."
    if not skipped:
        return "It holds nothing yet. Go through the batches first, then read it."
    if [Path(name).name for name in skipped] != ["half.png"]:
        return "What it holds is not the file that is broken, or not that alone."
    return None


@exercise("03.2")
def which_shuffle(with_fit: int, with_generator: int) -> str | None:
    """Ask for the most classes in any batch, with fit's shuffle and with the generator's."""
    if with_fit == with_generator:
        return f"Both {with_fit}? They shuffle different things. Look into the batches of each."
    if (with_fit, with_generator) == (10, 2):
        return "One of the two never takes a batch apart. Which?"
    if with_fit != 2:
        return (
            f"fit: {with_fit}? A class has 200 files, one after the other, and a batch takes 32 in "
            "a row. Look at the labels of all batches, not only of the first."
        )
    if with_generator != 10:
        return f"The generator: {with_generator}? Look at all batches of an epoch."
    return None


@contextlib.contextmanager
def _odd_files() -> Iterator[dict[str, str]]:
    """Write a file of each kind, all different."""
    drawn = np.random.default_rng(3).integers(0, 256, (3, 20, 30, 4)).astype(np.uint8)
    drawn[..., 3] = 255  # opaque: all ways to drop a fourth channel are the same
    kinds = {"colour": drawn[0, ..., :3], "grey": drawn[1, ..., 0], "transparent": drawn[2]}
    with tempfile.TemporaryDirectory() as folder:
        for kind, image in kinds.items():
            imsave(Path(folder) / f"{kind}.png", image, check_contrast=False)
        yield {kind: os.path.join(folder, f"{kind}.png") for kind in kinds}  # noqa: PTH118


def _notices(
    notice: Callable, faulty: dict[str, Any], mended: dict[str, Any], is_one: bool = False
) -> str | None:
    """Say where a function does not raise AssertionError, or does where nothing is wrong.

    Each case has a description, and the arguments, or with `is_one` the only argument.
    """
    for case, given in faulty.items():
        try:
            returned = notice(given) if is_one else notice(*given)
        except AssertionError as error:
            if not str(error):
                return "It stops, and does not say why. Put a message behind the comma of assert."
        else:
            what = "nothing is raised" if returned is None else f"{returned!r} is returned"
            return f"It does not notice the fault: {case}, {what}."
    for case, given in mended.items():
        try:
            notice(given) if is_one else notice(*given)
        except AssertionError as error:
            return f"It raises without a fault: {case}. It says: {error}"
    return None
