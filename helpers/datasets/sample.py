"""The sample: drawings that come with the class, for taking it without a download."""

from pathlib import Path

import numpy as np

from helpers.datasets.drawings import CLASS_NAMES, draw_picture, draw_with_mask
from helpers.datasets.folders import load_folder
from helpers.datasets.writing import data_folder, make_once, whole_or_absent, write_pictures

SAMPLE_SIZES = {"train": 200, "test": 50}  # pictures of each class


def load_sample(cache_dir=None):
    """Load the sample of 2,500 drawings in CIFAR-10's ten classes; on first use, draw it.

    These are drawings, made by this project's own code. They are NOT CIFAR-10: an accuracy
    reached on them says nothing about photographs. They need no network and seconds to make.

    Parameters
    ----------
    cache_dir : str or Path, optional
        Where to keep them, in a folder ``sample``. Default: this project's ``data``,
        or what the environment variable ``BIGGER_THAN_MEMORY_DATA`` names.

    Returns
    -------
    train, test : ImageFiles
        2,000 and 500 PNG files of 32×32; 200 and 50 of each class. Files that are missing are
        drawn again.

    Raises
    ------
    OSError
        If the disk is full or `cache_dir` cannot be written.
    """
    folder = Path(cache_dir or data_folder()) / "sample"
    make_once(folder, _draw_sample, _sample_is_whole, space="about 10 MB")
    return load_folder(folder / "train"), load_folder(folder / "test")


def load_sample_masks(cache_dir=None):
    """Say of each pixel of the sample's drawings whether it shows the object or the ground.

    The project's own code drew the objects, so it knows their outlines. On first use they are
    drawn, in seconds.

    Parameters
    ----------
    cache_dir : str or Path, optional
        Where to keep them, in a folder ``sample-masks``. Default: this project's ``data``,
        or what the environment variable ``BIGGER_THAN_MEMORY_DATA`` names.

    Returns
    -------
    train, test : ImageFiles
        PNG files in the order of those of `load_sample`, grey: 1 where the object is, else 0.
        For `helpers.Masks`.

    Examples
    --------
    >>> pictures, _ = load_sample()
    >>> masks, _ = load_sample_masks()
    >>> generator = MY_Generator(pictures.filenames, Masks(masks.filenames), 32)
    """
    folder = Path(cache_dir or data_folder()) / "sample-masks"
    make_once(folder, _draw_masks, _sample_is_whole, space="about 10 MB")
    return load_folder(folder / "train"), load_folder(folder / "test")


def _draw_sample(folder):
    _write_missing(folder, draw_picture, "Drawing the sample")


def _draw_masks(folder):
    def mask(class_name, rng):
        return draw_with_mask(class_name, rng)[1]

    _write_missing(folder, mask, "Drawing the masks")


def _write_missing(folder, draw, what):
    with whole_or_absent(folder) as working_folder:
        missing = [plan for plan in _sample_plan() if not (working_folder / plan[0]).exists()]
        drawings = (
            (name, draw(class_name, np.random.default_rng(seed)))
            for name, class_name, seed in missing
        )
        write_pictures(working_folder, drawings, len(missing), what)


def _sample_plan():
    """Yield (file name, class name, seed) of each picture of the sample."""
    for split_number, (split, count) in enumerate(SAMPLE_SIZES.items()):
        for class_number, class_name in enumerate(CLASS_NAMES):
            for number in range(count):
                name = f"{split}/{class_name}/{number:04d}.png"
                yield name, class_name, [split_number, class_number, number]


def _sample_is_whole(folder):
    return all((folder / name).exists() for name, _, _ in _sample_plan())
