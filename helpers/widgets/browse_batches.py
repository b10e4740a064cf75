"""Leaf through the batches of a generator."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np
from matplotlib.figure import Figure

from helpers import arguments
from helpers.generators.my_generator import MY_Generator
from helpers.generators.textbook import CIFAR10Sequence
from helpers.images.reading import read_image
from helpers.plotting.plots import class_name, displayed, images_labels_masks
from helpers.widgets.playground import Playground, slider, with_buttons

MOST_PAIRS = 8


class Pair(NamedTuple):
    """A sample as it lies on the disk, and as the model gets it.

    Attributes
    ----------
    label : object
        Its label, or None.
    file : numpy.ndarray or None
        The file's own picture, uint8 of shape (height, width, 3); None if it is not known
        which file it is, or a function of your own reads it.
    image : numpy.ndarray
        What the model gets.
    """

    label: object
    file: np.ndarray | None
    image: np.ndarray


def batch_pairs(
    generator: keras.utils.PyDataset, epoch: int, index: int, most: int = MOST_PAIRS
) -> list[Pair]:
    """Take the first samples of a batch, each beside its file's own picture.

    No worker is started, and the generator's epoch stays what it is.

    Parameters
    ----------
    generator : keras.utils.PyDataset
        Of a `MY_Generator` or a `CIFAR10Sequence` the files are known; of any other
        sequence, and of a class that makes their batches in another way, they are not.
    epoch : int
        Epoch, from 0. Counts for a `MY_Generator` only.
    index : int
        Batch, from 0.
    most : int
        Samples, at most.

    Returns
    -------
    list of Pair
        In the order of the batch. Files that are left out with ``on_error="skip"`` are not
        among them.

    Raises
    ------
    ValueError
        If the sequence does not give batches of images.
    """
    if _makes_batches_as(MY_Generator, generator):
        samples = itertools.islice(generator.preview(epoch, index), most)
        recipe = generator.recipe
        pairs = [
            Pair(
                label=None if label is None else _class_of(image, label),
                file=None if recipe.read else read_image(name, recipe.max_pixels),
                image=image,
            )
            for name, image, label in samples
        ]
        if not pairs:
            raise ValueError(f"no file of batch {index} can be read")
        return pairs
    images, labels, _ = images_labels_masks(generator[index])
    shown = range(min(most, len(images)))
    files: list[np.ndarray | None] = [None for _ in shown]
    if _makes_batches_as(CIFAR10Sequence, generator):
        start = index * generator.batch_size
        files = [read_image(generator.x[start + number]) for number in shown]
    return [
        Pair(None if labels is None else labels[number], files[number], images[number])
        for number in shown
    ]


def _class_of(image: np.ndarray, label):
    """Choose what to write above an image, of all that belongs to it."""
    sample = displayed(image), label
    batch = keras.tree.map_structure(lambda part: np.expand_dims(part, 0), sample)
    _, labels, _ = images_labels_masks(batch)
    return None if labels is None else labels[0]


def _makes_batches_as(kind: type[keras.utils.PyDataset], generator) -> bool:
    return isinstance(generator, kind) and type(generator).__getitem__ is kind.__getitem__


def plot_pairs(pairs: Sequence[Pair], class_names: Sequence[str] | None = None) -> Figure:
    """Draw samples in columns: above the file, below what the model gets.

    Parameters
    ----------
    pairs : sequence of Pair
        At most 8.
    class_names : sequence of str, optional
        Names to write instead of class numbers.

    Returns
    -------
    matplotlib.figure.Figure
        One row, if no files are known.
    """
    rows = ["what the\nmodel gets"]
    if pairs[0].file is not None:
        rows.insert(0, "the file")
    height = 0.3 + 1.25 * len(rows)
    figure = Figure(figsize=(9.2, height), facecolor="white")
    # Margins of our own: to have matplotlib find them takes as long as all the drawing.
    margins = {"left": 0.08, "right": 0.995, "top": 1 - 0.3 / height, "bottom": 0.22 / height}
    figure.subplots_adjust(**margins, hspace=0.25, wspace=0.08)
    axes = figure.subplots(len(rows), MOST_PAIRS, squeeze=False)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[], frame_on=False)
    for axis, name in zip(axes[:, 0], rows, strict=True):
        axis.set_ylabel(name, fontsize=9)
    for column, pair in zip(axes.T, pairs, strict=False):
        if pair.label is not None:
            column[0].set_title(class_name(pair.label, class_names), fontsize=10, pad=4)
        images = [image for image in (pair.file, pair.image) if image is not None]
        for axis, image in zip(column, images, strict=True):
            # Few pixels are shown as they are; many are averaged, or the picture would jag.
            axis.imshow(displayed(image), interpolation="auto")
            axis.set_xlabel(f"{image.shape[0]}×{image.shape[1]}", fontsize=8, labelpad=2)
    return figure


def browse_batches(
    generator: keras.utils.PyDataset, class_names: Sequence[str] | None = None
) -> Playground:
    """Leaf through the batches of a generator: the files, and below what the model gets.

    No worker is started for it, the generator's epoch stays what it is, and no file is
    counted as skipped.

    Parameters
    ----------
    generator : keras.utils.PyDataset
        Batches as `show_batch` takes them. Of a `MY_Generator` or a `CIFAR10Sequence` the first 8
        samples of a batch are shown beside their files, of any other sequence alone.
    class_names : sequence of str, optional
        Names to write instead of class numbers.

    Returns
    -------
    Playground
        As the last line of a cell it is shown: a slider and two buttons for the batch, and
        one slider for the epoch if epochs differ. Where no widgets run, its picture is.

    Raises
    ------
    ValueError
        If the generator has no batch.

    Examples
    --------
    >>> train, test = helpers.load_sample()
    >>> browse_batches(MY_Generator(train.filenames, train.labels, 32), train.class_names)
    """
    count = len(generator)
    if count == 0:
        raise ValueError("there is nothing to leaf through: the generator has 0 batches")
    epoch = getattr(generator, "epoch", 0)

    def draw(batch: int, epoch: int = epoch) -> tuple[Figure, str]:
        pairs = batch_pairs(generator, epoch, batch)
        words = _words_of_pairs(generator, batch, epoch, pairs)
        return plot_pairs(pairs, class_names), words

    batch = slider("batch", 0, 0, count - 1)
    controls, rows = {"batch": batch}, [with_buttons(batch)]
    if _makes_batches_as(MY_Generator, generator) and (generator.shuffle or generator.augment):
        controls["epoch"] = slider("epoch", epoch, 0, max(9, epoch))
        rows.append(with_buttons(controls["epoch"]))
    return Playground(controls, draw, rows)


def _words_of_pairs(generator, batch: int, epoch: int, pairs: Sequence[Pair]) -> str:
    of_epoch = f" of epoch {epoch}" if hasattr(generator, "epoch") else ""
    batches = arguments.counted(len(generator), "batch", "batches")
    images = "image" if len(pairs) == 1 else f"{len(pairs)} images"
    return (
        f"Batch {batch}{of_epoch} (of {batches}, 0 to {len(generator) - 1}), "
        f"its first {images}. What the model gets: {pairs[0].image.dtype}, "
        f"{min(pair.image.min() for pair in pairs):.3g} to "
        f"{max(pair.image.max() for pair in pairs):.3g}."
    )
