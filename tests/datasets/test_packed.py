import json
import pickle
import shutil
import zlib
from pathlib import Path

import cv2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from conftest import write_picture
from packed_files import CONTENTS, assert_same_pictures, files_in, three_classes

import helpers
from helpers import MY_Generator, read_image
from helpers.datasets import packed
from helpers.datasets.image_files import ImageFiles
from helpers.datasets.packed import load_pack, verify_pack
from helpers.datasets.packing import pack
from helpers.images.batches import load_batch
from helpers.images.pack_layout import PLACES
from helpers.images.packs import PackedNames, PackError
from helpers.images.recipe import Recipe
from helpers.images.request import BatchRequest


@pytest.fixture
def files(pictures):
    return three_classes(pictures)


@pytest.fixture(scope="module", params=CONTENTS)
def contents(request):
    return request.param


@pytest.fixture(scope="module")
def whole_pack(pictures, contents, tmp_path_factory):
    """A pack of all `pictures`, which no test may change."""
    path = tmp_path_factory.mktemp("packs") / "whole.pack"
    pack(three_classes(pictures), path, **CONTENTS[contents])
    return path


@pytest.fixture(scope="module")
def same_files(pictures, contents, whole_pack, tmp_path_factory):
    """Files that give what the pack is to give: those that were packed, or those that lie in it."""
    if contents != "jpeg":
        return three_classes(pictures)
    folder = tmp_path_factory.mktemp("files")
    data, index = (np.load(whole_pack / name) for name in ("files.npy", "index.npy"))
    names = [folder / f"{number}.jpg" for number in range(70)]
    for name, row in zip(names, index, strict=True):
        start = row["start"] - 128  # which counts from the beginning of the file
        name.write_bytes(data[start : start + row["size"]].tobytes())
    return three_classes([str(name) for name in names])


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


@pytest.mark.parametrize("options", [{"contents": "files"}, CONTENTS["jpeg"]])
def test_numpy_opens_files_too(files, tmp_path, options):
    packed = pack(files, tmp_path / "x.pack", **options)
    data = np.load(tmp_path / "x.pack" / "files.npy", mmap_mode="r")
    assert (data.dtype, data.ndim) == (np.uint8, 1)
    for name, row in zip(packed.filenames, np.load(tmp_path / "x.pack" / "index.npy"), strict=True):
        start = row["start"] - 128
        image = cv2.imdecode(data[start : start + row["size"]], cv2.IMREAD_COLOR_RGB)
        np.testing.assert_array_equal(image, read_image(name))


def write_as_the_first_version_did(path, pixels):
    """Write a pack of equally large pictures, named 0.png to 9.png, with numpy alone."""
    path.mkdir()
    count, height, width, _ = pixels.shape
    index = np.zeros(count, "<u8, <u4, <u4, <i8, S5, <u4")
    index.dtype.names = "start", "height", "width", "label", "name", "crc32"
    index["start"] = 128 + height * width * 3 * np.arange(count)
    index["height"], index["width"], index["label"] = height, width, np.arange(count)
    index["name"] = [f"{number}.png" for number in range(count)]
    index["crc32"] = [zlib.crc32(picture.tobytes(), height) for picture in pixels]
    np.save(path / "pixels.npy", pixels)
    np.save(path / "index.npy", index)
    names = b"".join(name + b"\0" for name in index["name"])
    note = {
        "version": 1,
        "pictures": count,
        "image_size": None,
        "class_names": ["a", "b"],
        "names_and_labels": zlib.crc32(names, zlib.crc32(index["label"].tobytes())),
        "shape": pixels.shape,
        "index_bytes": (path / "index.npy").stat().st_size,
        "index_crc32": zlib.crc32((path / "index.npy").read_bytes()),
    }
    note["crc32"] = zlib.crc32(json.dumps(note).encode())
    (path / "pack.json").write_text(json.dumps(note, indent=1))


def test_a_pack_of_the_first_version_is_read_and_still_written_so(tmp_path):
    pixels = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
    path = tmp_path / "old.pack"
    write_as_the_first_version_did(path, pixels)
    verify_pack(path)
    packed = load_pack(path)
    assert packed.labels.tolist() == [0, 1]
    for number, name in enumerate(packed.filenames):
        np.testing.assert_array_equal(read_image(name), pixels[number])
    before = files_in(path)
    names = [str(tmp_path / f"{number}.png") for number in range(2)]
    for name, picture in zip(names, pixels, strict=True):
        assert cv2.imwrite(name, picture[..., ::-1])
    for place in (path, tmp_path / "new.pack"):
        pack(ImageFiles(names, [0, 1], ("a", "b")), place)
        assert files_in(place) == before


def test_what_only_a_newer_program_reads_says_so(contents, whole_pack, tmp_path):
    path = shutil.copytree(whole_pack, tmp_path / "x.pack")
    note = json.loads((path / "pack.json").read_text())
    assert note["version"] == (1 if contents == "pixels" else 2)
    del note["crc32"]
    note["version"] = 3
    note["crc32"] = zlib.crc32(json.dumps(note).encode())
    (path / "pack.json").write_text(json.dumps(note))
    with pytest.raises(PackError, match=r"pack.json has version 3; this program reads 1 and 2"):
        load_pack(path)


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
def test_the_generator_gives_the_same_bytes_as_from_the_files(same_files, whole_pack, options):
    options = {"image_size": (20, 24)} | options
    packed = load_pack(whole_pack)
    with (
        MY_Generator(same_files.filenames, same_files.labels, 16, **options) as expected,
        MY_Generator(packed.filenames, packed.labels, 16, **options) as generator,
    ):
        for epoch in range(2):
            for index in range(5):
                images, labels = generator.batch(epoch, index)
                expected_images, expected_labels = expected.batch(epoch, index)
                assert images.tobytes() == expected_images.tobytes()
                np.testing.assert_array_equal(labels, expected_labels)


@pytest.mark.parametrize("how", [{}, {"workers": 2, "use_multiprocessing": True}])
@pytest.mark.parametrize("as_list", [False, True])
def test_a_draft_of_a_file_in_a_pack_is_that_of_the_file(
    contents, same_files, whole_pack, how, as_list
):
    names = load_pack(whole_pack).filenames
    names = list(names) if as_list else names
    expected, whole = (
        load_batch(BatchRequest(same_files.filenames, Recipe((2, 2), draft=draft))).images
        for draft in (True, False)
    )
    with MY_Generator(names, np.zeros(70), 70, image_size=(2, 2), draft=True, **how) as generator:
        images, _ = generator.batch(0, 0)
    assert whole.tobytes() != expected.tobytes()
    # Pixels are decoded already.
    assert images.tobytes() == (whole if contents == "pixels" else expected).tobytes()


@pytest.mark.parametrize("how", [{"workers": 2}, {"workers": 2, "use_multiprocessing": True}])
def test_fit_gets_every_picture_once(whole_pack, how):
    packed = load_pack(whole_pack)
    with MY_Generator(
        packed.filenames, np.arange(70), 16, image_size=(8, 8), shuffle=True, **how
    ) as generator:
        assert helpers.time_epoch(generator).images == 70


def test_everything_else_that_takes_files_takes_a_pack(same_files, whole_pack):
    packed = load_pack(whole_pack)
    chosen = [9, 3, 66]
    for some, same in (
        (packed.select(chosen), same_files.select(chosen)),
        (packed.shuffled(1), same_files.shuffled(1)),
    ):
        assert isinstance(some.filenames, PackedNames)
        assert_same_pictures(some, same.filenames)
        np.testing.assert_array_equal(some.labels, same.labels)
    generator = MY_Generator(packed.filenames, packed.labels, 32, image_size=(10, 10))
    assert helpers.check_sequence(generator)
    expected = load_batch(BatchRequest(same_files.filenames[:3], Recipe((10, 10)))).images
    shown = [image for (_, image, _), _ in zip(generator.preview(0, 0), range(3), strict=False)]
    np.testing.assert_array_equal(shown, expected)
    helpers.show_batch(generator[0], class_names=packed.class_names)
    plt.close("all")


def test_an_index_is_read_some_rows_at_a_time(same_files, whole_pack, monkeypatch):
    monkeypatch.setattr(packed, "ROWS_AT_ONCE", 16)
    listed = load_pack(whole_pack)
    np.testing.assert_array_equal(listed.labels, same_files.labels)
    generator = MY_Generator(listed.filenames, listed.labels, 70, image_size=(20, 24))
    expected = MY_Generator(same_files.filenames, same_files.labels, 70, image_size=(20, 24))
    assert generator[0][0].tobytes() == expected[0][0].tobytes()


@pytest.mark.parametrize("place", PLACES.values())
def test_a_request_from_a_million_names_is_small(place):
    rows = np.zeros(1_000_000, place)
    rows["number"] = np.arange(len(rows))
    names = PackedNames("a.pack", rows)
    generator = MY_Generator(names, np.zeros(len(rows)), 32, shuffle=True)
    request = generator._request(0, 5, generator.samples(0, 5))
    assert isinstance(request.filenames, PackedNames)
    assert len(pickle.dumps(request)) < 32 * place.itemsize + 700
    copy = pickle.loads(pickle.dumps(request))
    assert list(copy.filenames) == [f"a.pack#{sample}" for sample in generator.samples(0, 5)]


def test_there_is_no_pack(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*x.pack"):
        load_pack(tmp_path / "x.pack")
