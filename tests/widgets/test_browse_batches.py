import keras
import numpy as np
import psutil
import pytest

from helpers import CIFAR10Sequence, ImageFiles, MY_Generator, read_image, resize_image
from helpers.widgets.browse_batches import batch_pairs, browse_batches, plot_pairs

NAMES = [f"class {number}" for number in range(10)]
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def files(pictures):
    return ImageFiles(pictures, np.arange(70) % 10, NAMES)


def make(files, **options):
    options = {"batch_size": 16, "image_size": (20, 24), "shuffle": True, "seed": 5} | options
    return MY_Generator(files.filenames, files.labels, **options)


def mirror(image, rng):
    return image[:, ::-1] if rng.random() < 0.5 else image


class Arrays(keras.utils.PyDataset):
    """A sequence of somebody's own, whose images come from no file."""

    def __init__(self, images, labels=None):
        super().__init__()
        self.images, self.labels = images, labels

    def __len__(self):
        return 2

    def __getitem__(self, index):
        images = self.images[4 * index : 4 * index + 4]
        return images if self.labels is None else (images, self.labels[4 * index :][:4])


# The samples of a batch, before anything is drawn.


@pytest.mark.parametrize("augment", [None, mirror])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(("epoch", "index"), [(0, 0), (0, 4), (3, 2)])
def test_each_image_stands_beside_its_own_file(files, shuffle, augment, epoch, index):
    generator = make(files, shuffle=shuffle, augment=augment)
    images, labels = generator.batch(epoch, index)
    pairs = batch_pairs(generator, epoch, index)
    assert len(pairs) == min(8, len(images))
    by_file = {read_image(name).tobytes(): number for number, name in enumerate(files.filenames)}
    for pair, image, label in zip(pairs, images, labels, strict=False):
        assert np.array_equal(pair.image, image)
        assert pair.label == label
        sample = by_file[pair.file.tobytes()]
        assert files.labels[sample] == label
        resized = resize_image(pair.file, (20, 24))
        assert np.allclose(image, resized) or (
            augment and np.allclose(image, resized[:, ::-1], atol=1e-6)
        )


def test_the_textbook_class_stands_beside_its_files(files):
    generator = CIFAR10Sequence(files.filenames, files.labels, 16)
    pairs = batch_pairs(generator, 0, 4)  # the short last one
    assert len(pairs) == 6
    for number, pair in enumerate(pairs, start=64):
        assert np.array_equal(pair.file, read_image(files.filenames[number]))
        assert pair.label == files.labels[number]
    assert np.array_equal([pair.image for pair in pairs], generator[4][0])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda labels: {"box": np.ones((70, 4)), "kind": labels}, 7),
        (lambda labels: [np.eye(10)[labels]], np.eye(10)[7]),
        (lambda labels: np.zeros((70, 20, 24, 1), int), None),
    ],
)
def test_of_all_that_belongs_to_an_image_the_class_stands_above_it(files, change, expected):
    generator = MY_Generator(files.filenames, change(files.labels), 7, image_size=(20, 24))
    pairs = batch_pairs(generator, 0, 1)
    assert np.array_equal(pairs[0].label, expected)
    assert bool(plot_pairs(pairs).axes[0].get_title()) == (expected is not None)


def test_files_that_a_function_of_your_own_reads_are_not_read_again(files):
    def read(name):
        return np.full((3, 4, 5), 9.0)

    several_bands = {"read": read, "color_mode": 5, "image_size": None}
    [pair, *_] = batch_pairs(MY_Generator(["a.dcm"] * 4, range(4), 2, **several_bands), 0, 1)
    assert pair.file is None and pair.label == 2
    assert pair.image.shape == (3, 4, 5)


def test_of_any_other_sequence_only_what_the_model_gets_is_shown():
    images = np.random.default_rng(0).random((8, 5, 5, 1))
    pairs = batch_pairs(Arrays(images, np.arange(8)), 0, 1)
    assert [pair.file for pair in pairs] == [None] * 4
    assert [pair.label for pair in pairs] == [4, 5, 6, 7]
    assert np.array_equal([pair.image for pair in pairs], images[4:])
    assert [pair.label for pair in batch_pairs(Arrays(images), 0, 1)] == [None] * 4


def test_of_a_class_that_changes_the_batches_what_it_gives_is_shown(files):
    class Dark(MY_Generator):
        def __getitem__(self, index):
            images, labels = super().__getitem__(index)
            return images * 0, labels

    pairs = batch_pairs(Dark(files.filenames, files.labels, 16), 0, 0)
    assert all(pair.file is None and pair.image.max() == 0 for pair in pairs)


def test_files_that_are_left_out_are_not_shown_and_not_counted(files, broken_file):
    names = [files.filenames[0], broken_file, *files.filenames[1:6]]
    generator = MY_Generator(names, range(7), 4, on_error="skip")
    assert [pair.label for pair in batch_pairs(generator, 0, 0)] == [0, 2, 3]
    assert generator.skipped == {}
    with pytest.raises(ValueError, match="no file of batch 0 can be read"):
        batch_pairs(MY_Generator([broken_file], [0], 4, on_error="skip"), 0, 0)


def test_what_is_no_batch_of_images_is_refused():
    with pytest.raises(ValueError, match=r"received shape \(4, 5\)"):
        batch_pairs(Arrays(np.zeros((8, 5))), 0, 0)


def test_browsing_starts_no_process_and_leaves_the_generator_as_it_was(files):
    before = psutil.Process().children(recursive=True)
    with make(files, augment=mirror, workers=2, use_multiprocessing=True) as generator:
        box = browse_batches(generator)
        box.controls["epoch"].value = 7
        box.controls["batch"].value = 4
        assert generator.epoch == 0
        assert psutil.Process().children(recursive=True) == before


# The picture of them.


def test_files_are_drawn_above_and_what_the_model_gets_below(files):
    pairs = batch_pairs(make(files), 0, 0)
    figure = plot_pairs(pairs, NAMES)
    axes = np.array(figure.axes).reshape(2, 8)
    for column, pair in zip(axes.T, pairs, strict=True):
        assert np.array_equal(column[0].images[0].get_array(), pair.file)
        assert np.allclose(column[1].images[0].get_array(), pair.image)
        assert column[0].get_title() == NAMES[pair.label]
        height, width = pair.file.shape[:2]
        assert [axis.get_xlabel() for axis in column] == [f"{height}×{width}", "20×24"]


def test_without_files_there_is_one_row(files):
    figure = plot_pairs(batch_pairs(Arrays(np.ones((8, 5, 5, 3), "uint8")), 0, 0))
    assert len(figure.axes) == 8
    assert [len(axis.images) for axis in figure.axes] == [1] * 4 + [0] * 4


def test_nothing_of_the_picture_of_a_batch_is_cut_off(files):
    figure = plot_pairs(batch_pairs(make(files), 0, 0), ["automobile"] * 10)
    figure.canvas.draw()
    box = figure.get_tightbbox()
    assert box.x0 >= 0 and box.y0 >= 0
    assert box.x1 <= figure.get_figwidth() and box.y1 <= figure.get_figheight()
    for axis in figure.axes:
        column = figure.bbox.width * axis.get_position(original=True).width
        assert axis.title.get_window_extent().width <= column


# The boxes.


def test_each_slider_of_the_batches_changes_the_picture(files):
    box = browse_batches(make(files), NAMES)
    for name, value in (("batch", 4), ("epoch", 2)):
        before = box.picture.value
        box.controls[name].value = value
        assert bytes(box.picture.value).startswith(PNG)
        assert box.picture.value != before
    assert "Batch 4 of epoch 2 (of 5 batches, 0 to 4), its first 6 images" in box.words.value


def test_where_all_epochs_are_the_same_there_is_no_slider_for_them(files):
    assert list(browse_batches(make(files, shuffle=False)).controls) == ["batch"]
    assert list(browse_batches(make(files, shuffle=False, augment=mirror)).controls) == [
        "batch",
        "epoch",
    ]
    arrays = Arrays(np.zeros((8, 5, 5, 3)))
    assert list(browse_batches(arrays).controls) == ["batch"]


def test_the_epoch_that_the_generator_is_in_is_shown_first(files):
    generator = make(files)
    generator.epoch = 30
    box = browse_batches(generator)
    assert box.controls["epoch"].value == 30
    assert "of epoch 30" in box.words.value


def test_the_sliders_end_with_the_last_batch(files):
    batch = browse_batches(make(files)).controls["batch"]
    assert (batch.min, batch.max, batch.disabled) == (0, 4, False)
    batch.value = 99
    assert batch.value == 4
    assert browse_batches(make(files, batch_size=100)).controls["batch"].disabled


def test_buttons_go_one_back_and_one_on_and_stop_at_the_ends(files):
    box = browse_batches(make(files, batch_size=30))
    slider, back, on = box.children[0].children
    seen = []
    for button in (back, on, on, on, back):
        button.click()
        seen.append(slider.value)
    assert seen == [0, 1, 2, 2, 1]


def test_a_batch_that_cannot_be_made_shows_why_and_the_others_can_be_seen(files, tmp_path):
    broken = tmp_path / "broken $1 and $2.png"  # between two $ matplotlib expects a formula
    broken.write_bytes(b"no picture")
    generator = MY_Generator([broken, *files.filenames[:3]], range(4), 2)
    box = browse_batches(generator)
    assert "broken $1 and $2.png" in box.words.value
    assert bytes(box.picture.value).startswith(PNG)
    box.controls["batch"].value = 1
    assert "Batch 1" in box.words.value


def test_a_generator_without_batches_is_refused():
    class Empty(Arrays):
        def __len__(self):
            return 0

    with pytest.raises(ValueError, match="0 batches"):
        browse_batches(Empty([]))
