"""Batches and the pipeline, to play with in a notebook (ipywidgets).

Each function returns a box: controls, a picture that follows them, and a line of words.
Where no widgets run (a notebook that is read on GitHub, printed or tested) the box is its
present picture.
"""

import base64
import functools
import html
import io
import itertools
import textwrap
from collections.abc import Callable, Sequence
from typing import NamedTuple

import ipywidgets
import keras
import numpy as np
from matplotlib.figure import Figure

from helpers import arguments
from helpers.generators.my_generator import CIFAR10Sequence, MY_Generator
from helpers.images.batches import read_image
from helpers.plotting.plots import class_name
from helpers.profiling.simulation import simulate

MOST_PAIRS = 8
MOST_WORKERS = 16
"""The sliders of workers, cores and queue end here, or where they start if that is more."""
LONGEST_MS = 200.0
"""The sliders of times end here, or at twice the longest time that they start with."""


class Playground(ipywidgets.VBox):
    """Controls, and a picture with a line of words that are made anew when one is moved.

    Parameters
    ----------
    controls : dict of str to ipywidgets.Widget
        Widgets with a ``value``, by the names of the parameters of `draw`.
    draw : callable
        ``draw(**values)`` returns a matplotlib figure and a line of words. If it raises,
        the box shows the error: what a widget's callback raises is seen by nobody.
    rows : sequence of ipywidgets.Widget
        The controls as they are arranged above the picture.

    Attributes
    ----------
    controls : dict of str to ipywidgets.Widget
        To move them from Python: ``box.controls["workers"].value = 4``.
    picture : ipywidgets.Image
        The picture, a PNG.
    words : ipywidgets.HTML
        The words beneath it.
    """

    def __init__(
        self,
        controls: dict[str, ipywidgets.Widget],
        draw: Callable[..., tuple[Figure, str]],
        rows: Sequence[ipywidgets.Widget],
    ):
        self.controls = controls
        self.picture = ipywidgets.Image(
            format="png", layout={"max_width": "100%", "align_self": "flex-start"}
        )
        self.words = ipywidgets.HTML()
        self._draw = draw
        super().__init__([*rows, self.picture, self.words])
        for control in controls.values():
            control.observe(self._redraw, "value")
        self._redraw()

    def _redraw(self, _change=None) -> None:
        values = {name: control.value for name, control in self.controls.items()}
        try:
            figure, words = self._draw(**values)
        except Exception as error:
            words = f"{type(error).__name__}: {error}"
            figure = _figure_of_words(words)
        self.words.value = html.escape(words)
        self.picture.value = _png(figure)

    def _repr_mimebundle_(self, **kwargs) -> dict:
        # Of these, JupyterLab takes the live widget. A reader that knows no widgets takes the
        # picture, and a terminal the words.
        bundle = super()._repr_mimebundle_(**kwargs)
        bundle["image/png"] = base64.b64encode(self.picture.value).decode()
        bundle["text/plain"] = html.unescape(self.words.value)
        return bundle


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    # Little compression: on its way to the browser a picture costs less than squeezing it.
    figure.savefig(file, format="png", dpi=90, pil_kwargs={"compress_level": 1})
    return file.getvalue()


def _figure_of_words(words: str) -> Figure:
    figure = Figure(figsize=(9.2, 2.6), facecolor="white")
    text = textwrap.fill(words, 100)
    # A $ in a file's name is no formula.
    figure.text(0.02, 0.5, text, va="center", color="tab:red", parse_math=False)
    return figure


class Pair(NamedTuple):
    """A sample as it lies on the disk, and as the model gets it.

    Attributes
    ----------
    label : object
        Its label, or None.
    file : numpy.ndarray or None
        The file's own picture, uint8 of shape (height, width, 3); None if it is not known
        which file it is.
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
        pairs = [Pair(label, read_image(name), image) for name, image, label in samples]
        if not pairs:
            raise ValueError(f"no file of batch {index} can be read")
        return pairs
    batch = generator[index]
    images, labels = batch[:2] if isinstance(batch, (tuple, list)) else (batch, None)
    images = np.asarray(images)
    if images.ndim != 4 or len(images) == 0 or images.shape[-1] not in (1, 3):
        raise ValueError(
            f"expected images of shape (images, height, width, 3); received shape {images.shape}"
        )
    shown = range(min(most, len(images)))
    if _makes_batches_as(CIFAR10Sequence, generator):
        start = index * generator.batch_size
        files = [read_image(generator.x[start + number]) for number in shown]
    else:
        files = [None for _ in shown]
    return [
        Pair(None if labels is None else labels[number], files[number], images[number])
        for number in shown
    ]


def _makes_batches_as(kind: type, generator: keras.utils.PyDataset) -> bool:
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
    axes = figure.subplots(
        len(rows),
        MOST_PAIRS,
        squeeze=False,
        gridspec_kw={
            "left": 0.08,
            "right": 0.995,
            "top": 1 - 0.3 / height,
            "bottom": 0.22 / height,
            "hspace": 0.25,
            "wspace": 0.08,
        },
    )
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[], frame_on=False)
    for axis, name in zip(axes[:, 0], rows, strict=True):
        axis.set_ylabel(name, fontsize=9)
    for column, pair in zip(axes.T, pairs, strict=False):
        if pair.label is not None:
            column[0].set_title(class_name(pair.label, class_names), fontsize=10, pad=4)
        images = [image for image in (pair.file, pair.image) if image is not None]
        for axis, image in zip(column, images, strict=True):
            shown = image if image.dtype == np.uint8 else np.clip(image, 0, 1)
            # Few pixels are shown as they are; many are averaged, or the picture would jag.
            axis.imshow(shown, cmap="gray", interpolation="auto")
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
        Batches of (images, labels). Of a `MY_Generator` or a `CIFAR10Sequence` the first 8
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

    batch = _slider("batch", 0, 0, count - 1)
    controls, rows = {"batch": batch}, [_with_buttons(batch)]
    if _makes_batches_as(MY_Generator, generator) and (generator.shuffle or generator.augment):
        controls["epoch"] = _slider("epoch", epoch, 0, max(9, epoch))
        rows.append(_with_buttons(controls["epoch"]))
    return Playground(controls, draw, rows)


def _slider(name: str, value: float, low: float, high: float) -> ipywidgets.Widget:
    whole = isinstance(value, int)
    return (ipywidgets.IntSlider if whole else ipywidgets.FloatSlider)(
        value,
        min=low,
        max=max(high, low + 1),  # the slider of the browser cannot be without any length
        disabled=low == high,
        step=1,
        description=name,
        style={"description_width": "105px"},
        layout={"width": "370px", "max_width": "100%"},
        readout_format="d" if whole else ".1f",
    )


def _with_buttons(slider: ipywidgets.Widget) -> ipywidgets.HBox:
    buttons = []
    for icon, word, change in (("arrow-left", "previous", -1), ("arrow-right", "next", 1)):
        button = ipywidgets.Button(
            icon=icon, tooltip=f"{word} {slider.description}", layout={"width": "40px"}
        )
        button.on_click(functools.partial(_move, slider, change))
        buttons.append(button)
    return ipywidgets.HBox([slider, *buttons], layout={"flex_flow": "row wrap"})


def _move(slider: ipywidgets.Widget, change: int, _button) -> None:
    slider.value = min(max(slider.value + change, slider.min), slider.max)


def _words_of_pairs(generator, batch: int, epoch: int, pairs: Sequence[Pair]) -> str:
    of_epoch = f" of epoch {epoch}" if hasattr(generator, "epoch") else ""
    return (
        f"Batch {batch}{of_epoch} (of {len(generator):,} batches, 0 to {len(generator) - 1}), "
        f"its first {len(pairs)} images. What the model gets: {pairs[0].image.dtype}, "
        f"{min(pair.image.min() for pair in pairs):.3g} to "
        f"{max(pair.image.max() for pair in pairs):.3g}."
    )


def play_pipeline(
    *,
    read: float = 0.010,
    decode: float = 0.060,
    hand_over: float = 0.005,
    step: float = 0.040,
    workers: int = 1,
    cores: int = 4,
    queue: int = 10,
    batches: int = 24,
    batch_size: int = 32,
    step_cores: float = 0.0,
) -> Playground:
    """Turn the knobs of the pipeline and see at once what becomes of the training.

    Nothing is run: each picture is the timeline that `helpers.simulate` computes.

    Parameters
    ----------
    read, decode, hand_over, step : float
        Seconds per batch that the sliders start with: reading files, decoding and resizing,
        handing over to the model, a training step. The sliders show milliseconds.
    workers, cores, queue : int
        What the other sliders start with, as in `helpers.simulate`.
    batches, batch_size : int
        Batches in the picture, and images in each.
    step_cores : float
        Cores that a training step keeps busy: 0 with a GPU.

    Returns
    -------
    Playground
        As the last line of a cell it is shown. Beneath the picture stand images/s, the share
        of time in which training waits, and what limits the run. Where no widgets run, its
        picture is shown.

    Raises
    ------
    TypeError, ValueError
        If a number is wrong; the message says what was received.

    Examples
    --------
    >>> play_pipeline(decode=0.310, step=0.040)  # the article's class: 10 ms an image
    """
    counts = {"workers": workers, "cores": cores, "queue": queue}
    batches = arguments.whole_number("batches", batches, at_least=1)
    batch_size = arguments.whole_number("batch_size", batch_size, at_least=1)
    step_cores = arguments.number("step_cores", step_cores)
    milliseconds = {
        name: 1000 * arguments.number(name, seconds, zero=name != "step")
        for name, seconds in {
            "read": read,
            "decode": decode,
            "hand_over": hand_over,
            "step": step,
        }.items()
    }

    def draw(workers: int, cores: int, queue: int, **milliseconds: float) -> tuple[Figure, str]:
        seconds = {name: value / 1000 for name, value in milliseconds.items()}
        spans = simulate(
            **seconds,
            workers=workers,
            cores=cores,
            queue=queue,
            batches=batches,
            batch_size=batch_size,
            step_cores=step_cores,
        )
        rate = f"{spans.summary()['images/s']:,.0f} images/s"
        diagnosis = spans.diagnose()
        words = " ".join([f"{rate}.", *diagnosis.text.splitlines()[:2]])
        return spans.plot(f"{rate}; limit: {diagnosis.limit}"), words

    controls = {}
    for name, count in counts.items():
        count = arguments.whole_number(name, count, at_least=1)
        controls[name] = _slider(name, count, 1, max(MOST_WORKERS, count))
    longest = max(LONGEST_MS, 2 * max(milliseconds.values()))
    for name, value in milliseconds.items():
        label = f"{name.replace('_', '-')} (ms)"
        lowest = min(1, value) if name == "step" else 0
        controls[name] = _slider(label, value, lowest, longest)
    sliders = list(controls.values())
    columns = [ipywidgets.VBox(sliders[: len(counts)]), ipywidgets.VBox(sliders[len(counts) :])]
    return Playground(controls, draw, [ipywidgets.HBox(columns, layout={"flex_flow": "row wrap"})])
