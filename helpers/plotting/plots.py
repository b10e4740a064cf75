"""Pictures of batches and of measurements.

Every function returns a matplotlib figure on a white ground, which reads the same in
JupyterLab's light and dark themes. As the last line of a cell it is shown; ``savefig``
writes it to a file.
"""

import itertools
import math
import os

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from helpers import arguments

MOST_IMAGES = 64
CELL_INCHES = 1.15
# Okabe and Ito's, which the colour-blind can tell apart. Class 0, most often the ground, has none.
MASK_COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")


class DescribedFigure(Figure):
    """A figure with a text for those who do not see it.

    Attributes
    ----------
    alt_text : str
        What the figure shows. A notebook keeps it in its output's metadata, from where
        ``jupyter nbconvert --template classic`` takes it as the image's ``alt``.
    """

    alt_text = ""

    def _repr_mimebundle_(self, **kwargs):
        return {}, {"image/png": {"alt": self.alt_text}}


def new_figure(*args, **kwargs):
    """Make a figure and its axes, as ``plt.subplots`` does, for a function to return.

    The function then says in the figure's ``alt_text`` what it shows.
    """
    figure, axes = plt.subplots(
        *args, FigureClass=DescribedFigure, facecolor="white", layout="constrained", **kwargs
    )
    plt.close(figure)  # or a notebook would show it twice: when it is made, and when returned
    return figure, axes


def show_batch(batch, class_names=None, title=None) -> Figure:
    """Show the images of a batch in a grid, each with its class and its mask, if it has them.

    Parameters
    ----------
    batch : tuple, list, dict or numpy.ndarray
        What a generator gives: images alone, (x, y), or (x, y, sample_weight), each an array,
        or a dict, tuple or list of arrays. Images are the first array in x of shape (images,
        height, width, 1, 3 or 4), of which a fourth channel is not shown. If they are not
        uint8, 0 is black and 1 white, or, where values lie beyond -0.5 to 1.5, the least is
        black (0, if none is negative) and the largest white. Labels are class numbers of shape
        (images,), or else one-hot of shape (images, classes). Masks, drawn in colours over the
        images, are whole numbers of shape (images, height, width), or with a last axis of 1.
    class_names : sequence of str, optional
        Names to write instead of class numbers.
    title : str, optional
        A line above the grid.

    Returns
    -------
    matplotlib.figure.Figure
        The first 64 images at most; a line says so when there are more.

    Raises
    ------
    ValueError
        If `batch` holds no images.
    """
    images, labels, masks = images_labels_masks(batch)
    shown = min(len(images), MOST_IMAGES)
    columns = min(8, math.ceil(math.sqrt(shown)) if shown < 16 else 8)
    rows = math.ceil(shown / columns)
    size = (max(columns * CELL_INCHES, 2.4), rows * (CELL_INCHES + 0.25) + 0.35)
    figure, axes = new_figure(rows, columns, figsize=size, squeeze=False)
    _draw_images(axes, images, labels, class_names)
    if masks is not None:
        _draw_masks(axes, masks)
    height, width = images.shape[1:3]
    which = f"the first {shown} of {len(images)}" if shown < len(images) else f"{shown}"
    what = f"{which} {'image' if shown == 1 else 'images'}, {height}×{width}, {images.dtype}"
    figure.suptitle(title or what, fontsize=10)
    figure.alt_text = _words_of_images(what, labels, class_names, masks is not None)
    return figure


def _words_of_images(what: str, labels, class_names, masks: bool) -> str:
    words = f"A grid: {what}{', each with its mask in colour' if masks else ''}"
    if labels is None:
        return f"{words}."
    names = [class_name(label, class_names) for label in labels[:MOST_IMAGES]]
    return f"{words}, of the classes {', '.join(names)}."


def images_labels_masks(batch) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Take apart a batch, as `show_batch` takes it; None stands for what it has not."""
    x, y, *_ = (*batch, None) if isinstance(batch, (tuple, list)) else (batch, None)
    inputs, targets = _arrays(x), _arrays(y)
    for images in inputs:
        if images.ndim == 4 and len(images) and images.shape[-1] in (1, 3, 4):
            break
    else:
        received = " and ".join(dict.fromkeys(str(array.shape) for array in inputs))
        raise ValueError(
            "expected images of shape (images, height, width, 1, 3 or 4); received shape "
            f"{received} (of more channels, pass three: images[..., :3])"
        )
    shape = images.shape[:3]
    labels = [array for dimensions in (1, 2) for array in targets if array.ndim == dimensions]
    masks = [array.reshape(shape) for array in targets if _are_masks(array, shape)]
    return images, labels[0] if labels else None, masks[0] if masks else None


def _arrays(structure) -> list[np.ndarray]:
    """Arrays in Keras's order. Keras is not asked: who measures memory imports this file."""
    if isinstance(structure, dict):
        structure = [structure[key] for key in sorted(structure)]
    if isinstance(structure, (tuple, list)) and not all(map(np.isscalar, structure)):
        return [array for part in structure for array in _arrays(part)]
    return [np.asarray(structure)]


def _are_masks(array: np.ndarray, shape: tuple[int, ...]) -> bool:
    return array.shape in (shape, (*shape, 1)) and np.array_equal(array, np.rint(array))


def displayed(images: np.ndarray) -> np.ndarray:
    """Images of any type and range as matplotlib draws them: uint8, or values from 0 to 1."""
    images = images[..., :3] if images.shape[-1] > 2 else np.repeat(images[..., :1], 3, axis=-1)
    if images.dtype == np.uint8:
        return images
    images = images.astype(np.float32)
    finite = np.isfinite(images)
    low = np.min(images, where=finite, initial=0)
    high = np.max(images, where=finite, initial=1)
    if low < -0.5 or high > 1.5:  # a little beyond 0 to 1 is due to augmenting
        images = (images - low) / (high - low)
    return np.clip(images, 0, 1)


def _draw_images(axes, images, labels, class_names) -> None:
    for axis in axes.flat:
        axis.set_axis_off()
    images = displayed(images[: axes.size])
    for number, (axis, image) in enumerate(zip(axes.flat, images, strict=False)):
        axis.imshow(image, interpolation="nearest")
        if labels is not None:
            axis.set_title(class_name(labels[number], class_names), fontsize=9, pad=3)


def _draw_masks(axes, masks: np.ndarray) -> None:
    for axis, mask in zip(axes.flat, masks.astype(int), strict=False):
        colours = np.ma.masked_array((mask - 1) % len(MASK_COLOURS), mask == 0)
        looks = {"cmap": ListedColormap(MASK_COLOURS), "vmin": 0, "vmax": len(MASK_COLOURS) - 1}
        axis.imshow(colours, alpha=0.5, interpolation="nearest", **looks)


def class_name(label, class_names) -> str:
    """Name of a label: a class number or a one-hot array; the number itself without names."""
    number = int(np.argmax(label)) if np.size(label) > 1 else int(np.reshape(label, ()))
    return str(number) if class_names is None else class_names[number]


def plot_class_counts(files, title="Images in each class") -> Figure:
    """Show how many images each class has.

    Parameters
    ----------
    files : ImageFiles
        The data set.
    title : str
        A line above the bars.

    Returns
    -------
    matplotlib.figure.Figure
        A bar for each class, with its number.
    """
    counts = np.bincount(files.labels, minlength=len(files.class_names))
    figure, axis = new_figure(figsize=(6, 0.28 * len(counts) + 0.9))
    bars = axis.barh(files.class_names, counts, color="tab:blue")
    axis.bar_label(bars, fmt="{:,.0f}", padding=3)
    axis.invert_yaxis()
    axis.margins(x=0.12)
    axis.set(xlabel="images", title=title)
    bars_in_words = ", ".join(
        f"{name} {count:,}" for name, count in zip(files.class_names, counts, strict=True)
    )
    figure.alt_text = f"{title}, as bars: {bars_in_words}."
    return figure


def plot_history(history, title="Training") -> Figure:
    """Show the learning curves of a training run.

    Parameters
    ----------
    history : keras.callbacks.History
        What ``fit`` returned.
    title : str
        A line above the curves.

    Returns
    -------
    matplotlib.figure.Figure
        A panel for each metric, training and validation together.
    """
    metrics = [name for name in history.history if not name.startswith("val_")]
    figure, axes = new_figure(1, len(metrics), figsize=(4.2 * len(metrics), 3.2), squeeze=False)
    epochs = [epoch + 1 for epoch in history.epoch]
    for axis, name in zip(axes.flat, metrics, strict=True):
        for key, label, looks in ((name, "training", "o-"), (f"val_{name}", "validation", "s--")):
            if key in history.history:
                axis.plot(epochs, history.history[key], looks, markersize=4, label=label)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.set(xlabel="epoch", ylabel=name.replace("_", " "))
        axis.grid(alpha=0.3)
        axis.legend()
    figure.suptitle(title)
    ends = ", ".join(
        f"{name.replace('val_', 'validation ')} from {values[0]:.2f} to {values[-1]:.2f}"
        for name, values in history.history.items()
    )
    figure.alt_text = f"{title}, curves over {arguments.counted(len(epochs), 'epoch')}: {ends}."
    return figure


def plot_workers(table: pd.DataFrame, title=None) -> Figure:
    """Show how the rate of images depends on the number of workers.

    Parameters
    ----------
    table : pandas.DataFrame
        What `helpers.compare_workers` returned; a further column ``what`` makes a line of
        its own for each of its values.
    title : str, optional
        A line above the curves; the number of cores is added to it.

    Returns
    -------
    matplotlib.figure.Figure
        Images per second over workers, with bars from the slowest to the fastest epoch.
    """
    figure, axis = new_figure(figsize=(6.4, 3.8))
    groups = [name for name in ("what", "kind") if name in table]
    markers, lines = itertools.cycle("osD^v"), itertools.cycle(["-", "--", ":", "-."])
    words = []
    for name, rows in table.groupby(groups, sort=False):
        below = rows["images/s"] - rows["slowest"]
        above = rows["fastest"] - rows["images/s"]
        looks = {"marker": next(markers), "linestyle": next(lines), "capsize": 3}
        looks["label"] = ", ".join(name)
        pairs = zip(rows["workers"], rows["images/s"], strict=True)
        words.append(f"{looks['label']}: " + ", ".join(f"{w} {rate:,.0f}" for w, rate in pairs))
        axis.errorbar(rows["workers"], rows["images/s"], yerr=[below, above], **looks)
    axis.set_xscale("log", base=2)
    ticks = sorted(set(table["workers"]))
    axis.set_xticks(ticks, labels=[str(tick) for tick in ticks])
    axis.minorticks_off()
    if table["images/s"].max() > 10 * table["images/s"].min():
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter("{x:,.0f}")
    else:
        axis.set_ylim(bottom=0)
    cores = _cores()
    axis.set(xlabel="workers", ylabel="images per second")
    axis.set_title(f"{title}, {cores}" if title else f"Images per second on {cores}")
    axis.grid(alpha=0.3)
    axis.legend()
    figure.alt_text = f"Images per second for each number of workers. {'; '.join(words)}."
    return figure


def _cores() -> str:
    return arguments.counted(os.cpu_count() or 1, "core")


def plot_report(batch, class_names, table: pd.DataFrame) -> Figure:
    """Show a batch and a table of timings in one figure.

    Parameters
    ----------
    batch : tuple
        (images, labels), of which the first 16 are shown.
    class_names : sequence of str
        Names of the classes.
    table : pandas.DataFrame
        Columns ``images``, ``what``, ``how`` and ``images/s``.

    Returns
    -------
    matplotlib.figure.Figure
        Two rows of images, and a bar for each row of the table, those of each kind of
        images in a panel of their own.
    """
    kinds = table["images"].unique()
    figure = DescribedFigure(
        figsize=(9.2, 3.8 + 1.7 * len(kinds)), facecolor="white", layout="constrained"
    )
    top, bottom = figure.subfigures(2, 1, height_ratios=[2.1, 1.7 * len(kinds)])
    top.suptitle("A batch, as the model gets it", fontsize=10)
    images, labels = batch
    _draw_images(top.subplots(2, 8), images, labels, class_names)
    axes = bottom.subplots(len(kinds), 1, sharex=True, squeeze=False)[:, 0]
    for axis, kind in zip(axes, kinds, strict=True):
        _draw_timings(axis, table[table["images"] == kind])
        axis.set_title(f"How fast batches come: {kind}; {_cores()}", fontsize=10)
    axes[-1].set(xlabel="images per second (logarithmic)")
    rates = "; ".join(
        f"{row['images']}, {row['what']}, {row['how']} {row['images/s']:,.0f}"
        for _, row in table.iterrows()
    )
    figure.alt_text = f"A batch of images, and bars of images per second: {rates}."
    return figure


def _draw_timings(axis, table: pd.DataFrame) -> None:
    of_textbook = table["what"].str.startswith("CIFAR10Sequence")
    colours = np.where(of_textbook, "tab:gray", "tab:blue")
    bars = axis.barh(table["what"] + ", " + table["how"], table["images/s"], color=colours)
    axis.bar_label(bars, fmt="{:,.0f}", padding=3)
    axis.invert_yaxis()
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.margins(x=0.15)
