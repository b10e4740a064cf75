import pickle
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from conftest import write_picture
from packed_files import assert_same_pictures, three_classes

import helpers
from helpers import MY_Generator, read_image
from helpers.datasets import packed
from helpers.datasets.folders import ImageFiles
from helpers.datasets.packed import load_pack
from helpers.datasets.packing import pack
from helpers.images.packs import PICTURE, PackedNames


@pytest.fixture
def files(pictures):
    return three_classes(pictures)


@pytest.fixture(scope="module")
def whole_pack(pictures, tmp_path_factory):
    """A pack of all `pictures`, which no test may change."""
    path = tmp_path_factory.mktemp("packs") / "whole.pack"
    pack(three_classes(pictures), path)
    return path


@pytest.mark.parametrize("one_size", [True, False])
def test_numpy_and_pandas_open_it(pictures, tmp_path, one_size):
    names = pictures if not one_size else [str(tmp_path / f"{number}.png") for number in range(9)]
    if one_size:
        for seed, name in enumerate(names):
            write_picture(name, 12, 10, seed)
    labels = np.arange(len(names)) % 2 - 5
    pack(ImageFiles(names, labels, ()), tmp_path / "x.pack")
    pixels = np.load(tmp_path / "x.pack" / "pixels.npy", mmap_mode="r")
    index = np.load(tmp_path / "x.pack" / "index.npy")
    table = pd.DataFrame(index)
    assert [name.decode() for name in table["name"]] == [Path(name).name for name in names]
    np.testing.assert_array_equal(table["label"], labels)
    data = (tmp_path / "x.pack" / "pixels.npy").read_bytes()
    for number, row in enumerate(index):
        image = read_image(names[number])
        assert image.shape == (row["height"], row["width"], 3)
        assert data[row["start"] :][: image.size] == image.tobytes()
        if one_size:
            np.testing.assert_array_equal(pixels[number], image)
    assert pixels.shape == ((9, 12, 10, 3) if one_size else (pixels.size,))


# ---- a pack takes the place of files -------------------------------------------------------------


ROLL = {"augment": lambda image, rng: np.roll(image, rng.integers(5), axis=1)}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"dtype": "uint8", "image_size": (12, 16)},
        {"shuffle": True, "seed": 3},
        {"shuffle": True} | ROLL,
        {"workers": 1, "use_multiprocessing": True, "shuffle": True},
        {"workers": 2, "use_multiprocessing": True} | ROLL,
    ],
)
def test_the_generator_gives_the_same_bytes_as_from_the_files(files, whole_pack, options):
    options = {"image_size": (20, 24)} | options
    packed = load_pack(whole_pack)
    with (
        MY_Generator(files.filenames, files.labels, 16, **options) as expected,
        MY_Generator(packed.filenames, packed.labels, 16, **options) as generator,
    ):
        for epoch in range(2):
            for index in range(5):
                images, labels = generator.batch(epoch, index)
                expected_images, expected_labels = expected.batch(epoch, index)
                assert images.tobytes() == expected_images.tobytes()
                np.testing.assert_array_equal(labels, expected_labels)


@pytest.mark.parametrize("how", [{"workers": 2}, {"workers": 2, "use_multiprocessing": True}])
def test_fit_gets_every_picture_once(whole_pack, how):
    packed = load_pack(whole_pack)
    with MY_Generator(
        packed.filenames, np.arange(70), 16, image_size=(8, 8), shuffle=True, **how
    ) as generator:
        assert helpers.time_epoch(generator).images == 70


def test_everything_else_that_takes_files_takes_a_pack(files, whole_pack):
    packed = load_pack(whole_pack)
    chosen = [9, 3, 66]
    for some, same in (
        (packed.select(chosen), files.select(chosen)),
        (packed.shuffled(1), files.shuffled(1)),
    ):
        assert isinstance(some.filenames, PackedNames)
        assert_same_pictures(some, same.filenames)
        np.testing.assert_array_equal(some.labels, same.labels)
    generator = MY_Generator(packed.filenames, packed.labels, 32, image_size=(10, 10))
    assert helpers.check_sequence(generator)
    helpers.show_batch(generator[0], class_names=packed.class_names)
    plt.close("all")


def test_an_index_is_read_some_rows_at_a_time(files, whole_pack, monkeypatch):
    monkeypatch.setattr(packed, "ROWS_AT_ONCE", 16)
    listed = load_pack(whole_pack)
    np.testing.assert_array_equal(listed.labels, files.labels)
    generator = MY_Generator(listed.filenames, listed.labels, 70, image_size=(20, 24))
    expected = MY_Generator(files.filenames, files.labels, 70, image_size=(20, 24))
    assert generator[0][0].tobytes() == expected[0][0].tobytes()


def test_a_request_from_a_million_names_is_small():
    rows = np.zeros(1_000_000, PICTURE)
    rows["number"] = np.arange(len(rows))
    names = PackedNames("a.pack", rows)
    generator = MY_Generator(names, np.zeros(len(rows)), 32, shuffle=True)
    request = generator._request(0, 5, generator.samples(0, 5))
    assert isinstance(request.filenames, PackedNames)
    assert len(pickle.dumps(request)) < 32 * PICTURE.itemsize + 700
    copy = pickle.loads(pickle.dumps(request))
    assert list(copy.filenames) == [f"a.pack#{sample}" for sample in generator.samples(0, 5)]


def test_there_is_no_pack(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*x.pack"):
        load_pack(tmp_path / "x.pack")
