import io

import numpy as np

from helpers.classroom.image_rows import count_different, plot_image_rows


def images(count, start=0):
    values = np.linspace(0, 1, 4 * 4 * 3).reshape(1, 4, 4, 3)
    return np.clip(values * np.arange(start, start + count).reshape(-1, 1, 1, 1) / 10, 0, 1)


def test_images_differ_if_one_value_does():
    three = np.repeat(images(1, 5), 3, axis=0)
    assert count_different(three) == 1
    three[1, 0, 0, 0] += 1e-9
    assert count_different(three) == 2
    assert count_different([]) == 0


def test_each_row_has_its_name_once_and_its_images_in_order():
    rows = {"original": images(1), "changed": images(3, 5)}
    figure = plot_image_rows(rows, "A title")
    drawn = np.reshape(figure.axes, (2, 3))
    assert [axis.get_ylabel() for axis in drawn[:, 0]] == ["original", "changed"]
    assert not any(axis.get_ylabel() or axis.get_title() for axis in drawn[:, 1:].flat)
    assert [len(axis.images) for axis in drawn.flat] == [1, 0, 0, 1, 1, 1]
    for axis, image in zip(drawn[1], rows["changed"], strict=True):
        assert np.allclose(axis.images[0].get_array(), image, atol=1e-6)
    assert figure.get_suptitle() == "A title"


def test_no_name_is_cut_off():
    figure = plot_image_rows({"a rather long name": images(2)}, "A title")
    figure.savefig(io.BytesIO())
    box = figure.axes[0].yaxis.label.get_window_extent()
    assert 0 <= box.x0 < box.x1 < figure.axes[0].get_window_extent().x0


def test_it_says_in_words_what_it_shows():
    words = plot_image_rows({"one": np.repeat(images(1), 4, axis=0)}, "Rows").alt_text
    assert words == "Rows. Rows of images. one: 4, 1 different."
