"""Images in rows, each row with one name: the same image in many versions."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from helpers.plotting.plots import displayed, new_figure


def count_different(images: np.ndarray) -> int:
    """Count the images that differ from each other in any bit."""
    return len({np.asarray(image).tobytes() for image in images})


def plot_image_rows(rows: Mapping[str, np.ndarray], title: str) -> Figure:
    """Draw rows of images, with the name of each row to its left.

    Parameters
    ----------
    rows : dict of str to numpy.ndarray
        Images of shape (images, height, width, 1, 3 or 4), uint8 or from 0 to 1. A row may have
        fewer of them than another.
    title : str
        A line above the rows.

    Returns
    -------
    matplotlib.figure.Figure
        As the last line of a cell it is shown.
    """
    columns = max(len(images) for images in rows.values())
    size = (1.15 * columns + 1, 1.2 * len(rows) + 0.4)
    figure, axes = new_figure(len(rows), columns, figsize=size, squeeze=False)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[], frame_on=False)
    for row, (name, images) in zip(axes, rows.items(), strict=True):
        row[0].set_ylabel(name, rotation="horizontal", ha="right", va="center", fontsize=10)
        for axis, image in zip(row, displayed(np.asarray(images)), strict=False):
            axis.imshow(image, interpolation="nearest")
    figure.suptitle(title, fontsize=10)
    words = (f"{name}: {len(row)}, {count_different(row)} different" for name, row in rows.items())
    figure.alt_text = f"{title}. Rows of images. {'; '.join(words)}."
    return figure
