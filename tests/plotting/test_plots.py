import subprocess
import sys

import keras
import numpy as np
import pandas as pd
import pytest
from IPython.core.formatters import DisplayFormatter
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from helpers import ImageFiles
from helpers.plotting import plots

NAMES = ("airplane", "automobile", "bird")


def batch(count, dtype="float32", size=8):
    images = np.random.default_rng(0).random((count, size, size, 3))
    images = (255 * images).astype("uint8") if dtype == "uint8" else images.astype(dtype)
    return images, np.arange(count) % 3


def drawn(figure):
    """The images of a figure and their titles."""
    axes = [axis for axis in figure.axes if axis.images]
    return [axis.images[0].get_array() for axis in axes], [axis.get_title() for axis in axes]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 9, 16, 17, 32, 63, 64])
def test_every_image_of_a_batch_is_shown_once_in_order_with_its_class(count):
    images, labels = batch(count)
    shown, titles = drawn(plots.show_batch((images, labels), NAMES))
    assert len(shown) == count
    assert all(np.array_equal(a, b) for a, b in zip(shown, images, strict=True))
    assert titles == [NAMES[label] for label in labels]


def test_of_a_larger_batch_64_are_shown_and_this_is_said():
    figure = plots.show_batch(batch(100), NAMES)
    assert len(drawn(figure)[0]) == 64
    assert "the first 64 of 100" in figure.get_suptitle()


def test_no_title_is_wider_than_its_picture():
    figure = plots.show_batch(batch(64), ["automobile"] * 3)
    figure.canvas.draw()
    for axis in figure.axes:
        assert axis.title.get_window_extent().width < axis.get_window_extent().width


def test_labels_may_be_one_hot_or_missing():
    images, labels = batch(3)
    assert drawn(plots.show_batch((images, np.eye(3)[labels]), NAMES))[1] == list(NAMES)
    assert drawn(plots.show_batch(images))[1] == [""] * 3
    assert drawn(plots.show_batch((images, labels)))[1] == ["0", "1", "2"]


def test_uint8_is_shown_as_it_is_and_floats_are_clipped():
    images, labels = batch(2, "uint8")
    assert np.array_equal(drawn(plots.show_batch((images, labels)))[0][1], images[1])
    assert drawn(plots.show_batch(np.full((1, 4, 4, 3), 1.5)))[0][0].max() == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda x, y: [x, y],
        lambda x, y: (x, y, np.ones(3)),
        lambda x, y: ({"size": y, "image": x}, {"a": np.ones((3, 4)), "b": y}),
        lambda x, y: ({"right": x * 0, "left": x}, y),
        lambda x, y: ((y, x, x * 0), [np.eye(3)[y], None]),
        lambda x, y: (x, (y[:, np.newaxis], x)),
        lambda x, y: (x, list(y)),
    ],
)
def test_images_and_labels_are_found_in_any_structure(change):
    images, labels = batch(3)
    shown, titles = drawn(plots.show_batch(change(images, labels), NAMES))
    assert np.array_equal(shown, images)
    assert titles == [NAMES[label] for label in labels]
    assert drawn(plots.show_batch({"size": labels, "image": images}))[1] == [""] * 3


def test_importing_the_plots_does_not_import_keras():
    """A program that measures memory imports them, and is not to hold TensorFlow for it."""
    code = "import sys, helpers.plotting.plots; sys.exit('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("channels", [1, 4])
def test_grey_is_drawn_in_three_channels_and_a_fourth_is_left_out(channels, dtype):
    images = np.concatenate([batch(2, dtype)[0]] * 2, axis=-1)[..., :channels]
    [first, _], _ = drawn(plots.show_batch(images))
    assert np.array_equal(first, np.broadcast_to(images[0, ..., :3], (8, 8, 3)))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([-1, 0, 1], [0, 0.5, 1]),
        ([0, 51, 255], [0, 0.2, 1]),
        ([-2.0, 0.5, 3], [0, 0.5, 1]),
        ([819, 1638, 4095], [0.2, 0.4, 1]),
        ([-0.2, 0.3, 1.4], [0, 0.3, 1]),
        ([np.nan, 1, 4], [np.nan, 0.25, 1]),
    ],
)
def test_values_of_any_range_can_be_seen(values, expected):
    images = np.full((3, 4, 4, 3), np.reshape(values, (3, 1, 1, 1)))
    shown = [np.ma.filled(image, np.nan) for image in drawn(plots.show_batch(images))[0]]
    assert [image[0, 0, 0] for image in shown] == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("change", [lambda y: y, lambda y: {"m": y[..., 0].astype("float32")}])
def test_masks_are_drawn_over_the_images_in_the_same_colour_everywhere(change):
    images, labels = batch(2)
    masks = np.zeros((2, 8, 8, 1), np.uint8)
    masks[0, 2:4], masks[1, 5:] = 2, 3
    figure = plots.show_batch((images, change(masks)))
    for axis, mask, colour in zip(figure.axes, masks, plots.MASK_COLOURS[1:], strict=False):
        _, over = axis.images
        drawn_over = over.to_rgba(over.get_array())
        assert np.array_equal(drawn_over[..., 3] > 0, mask[..., 0] > 0)
        assert to_hex(drawn_over[mask[..., 0] > 0][0, :3]).upper() == colour
    assert drawn(figure)[1] == ["", ""]
    assert drawn(plots.show_batch((images, [labels, masks])))[1] == ["0", "1"]


def test_pictures_to_learn_are_not_drawn_as_masks():
    images, _ = batch(2)
    figure = plots.show_batch((images, images[..., :1]))
    assert [len(axis.images) for axis in figure.axes] == [1, 1]


@pytest.mark.parametrize("shape", [(0, 8, 8, 3), (8, 8, 3), (2, 8, 8, 5)])
def test_what_is_no_batch_is_refused_with_its_shape(shape):
    with pytest.raises(ValueError, match=str(shape).replace("(", r"\(").replace(")", r"\)")):
        plots.show_batch(np.zeros(shape))


def test_class_counts():
    files = ImageFiles(["a"] * 5, np.array([0, 0, 2, 2, 2]), NAMES)
    axis = plots.plot_class_counts(files).axes[0]
    assert [bar.get_width() for bar in axis.patches] == [2, 0, 3]
    assert [text.get_text() for text in axis.get_yticklabels()] == list(NAMES)


def test_learning_curves_show_training_and_validation():
    history = keras.callbacks.History()
    history.epoch = [0, 1]
    history.history = {"loss": [2, 1], "accuracy": [0.1, 0.4], "val_loss": [3, 2]}
    loss, accuracy = plots.plot_history(history).axes
    assert [list(line.get_ydata()) for line in loss.lines] == [[2, 1], [3, 2]]
    assert [list(line.get_xdata()) for line in accuracy.lines] == [[1, 2]]
    assert loss.get_ylabel() == "loss" and loss.get_xlabel() == "epoch"


@pytest.fixture
def timings():
    return pd.DataFrame(
        {
            "kind": ["threads", "threads", "processes"],
            "workers": [1, 16, 16],
            "images/s": [100.0, 150.0, 50.0],
            "slowest": [90.0, 140.0, 40.0],
            "fastest": [110.0, 160.0, 60.0],
        }
    )


def test_worker_timings_have_a_line_for_each_kind_and_the_cores_in_the_title(timings, monkeypatch):
    monkeypatch.setattr(plots.os, "cpu_count", lambda: 7)
    axis = plots.plot_workers(timings, title="Textbook").axes[0]
    assert axis.get_title() == "Textbook, 7 cores"
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["threads", "processes"]
    assert [list(line[0].get_ydata()) for line in axis.containers] == [[100, 150], [50]]


def test_rates_that_differ_tenfold_get_a_logarithmic_axis(timings):
    assert plots.plot_workers(timings).axes[0].get_yscale() == "linear"
    timings.loc[0, ["images/s", "fastest"]] = 4000.0
    assert plots.plot_workers(timings).axes[0].get_yscale() == "log"


def test_the_report_shows_16_images_and_a_bar_for_each_way_by_kind_of_pictures():
    table = pd.DataFrame(
        {
            "images": ["photographs"] * 2 + ["drawings"] * 2,
            "what": ["CIFAR10Sequence", "MY_Generator"] * 2,
            "how": ["one process"] * 4,
            "images/s": [10.0, 300.0, 100.0, 4000.0],
        }
    )
    figure = plots.plot_report(batch(20), NAMES, table)
    assert len(drawn(figure)[0]) == 16
    for axis, kind, rates in zip(
        figure.axes[-2:], ("photographs", "drawings"), ([10, 300], [100, 4000]), strict=True
    ):
        assert kind in axis.get_title()
        assert [bar.get_width() for bar in axis.patches] == rates


def test_figures_are_white_and_not_left_open_for_a_notebook_to_show_twice(timings):
    import matplotlib.pyplot as plt

    for figure in (plots.show_batch(batch(2)), plots.plot_workers(timings)):
        assert isinstance(figure, Figure)
        assert figure.get_facecolor() == (1, 1, 1, 1)
    assert plt.get_fignums() == []


def two_rows():
    row = {"images": "drawings", "what": "MY_Generator", "how": "2 processes", "workers": 2}
    row |= {"kind": "processes", "images/s": 1234.5, "slowest": 1200.0, "fastest": 1300.0}
    return pd.DataFrame([row, row | {"what": "CIFAR10Sequence", "images/s": 99.0, "slowest": 98.0}])


def learnt():
    history = keras.callbacks.History()
    history.epoch, history.history = [0, 1], {"loss": [2.3, 0.71], "val_loss": [2.4, 0.92]}
    return history


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda: plots.show_batch(batch(2), NAMES), ["2 images, 8×8", "airplane, automobile"]),
        (lambda: plots.plot_class_counts(ImageFiles(["a", "b"], [0, 0], NAMES)), ["airplane 2"]),
        (lambda: plots.plot_history(learnt()), ["loss from 2.30 to 0.71", "validation loss"]),
        (lambda: plots.plot_workers(two_rows()), ["MY_Generator, processes: 2 1,234", "2 99"]),
        (lambda: plots.plot_report(batch(16), NAMES, two_rows()), ["2 processes 1,234"]),
    ],
    ids=["show_batch", "plot_class_counts", "plot_history", "plot_workers", "plot_report"],
)
def test_a_figure_says_in_words_what_it_shows_where_a_notebook_keeps_it(draw, words):
    figure = draw()
    assert all(word in figure.alt_text for word in words), figure.alt_text
    _, metadata = DisplayFormatter().format(figure)
    assert metadata["image/png"]["alt"] == figure.alt_text


def test_lines_are_told_apart_without_their_colour():
    for figure in (plots.plot_workers(two_rows()), plots.plot_history(learnt())):
        lines = [line for line in figure.axes[0].lines if line.get_linestyle() != "None"]
        looks = {(line.get_marker(), line.get_linestyle()) for line in lines}
        assert len(looks) == len(lines) == 2
