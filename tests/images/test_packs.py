import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
from conftest import write_picture

from helpers import read_image, resize_image
from helpers.datasets.image_files import ImageFiles
from helpers.datasets.packed import load_pack, verify_pack
from helpers.datasets.packing import pack
from helpers.images import packs
from helpers.images.arrays import empty_arrays
from helpers.images.batches import Watch, expanded, load_batch, load_smallest
from helpers.images.pack_layout import FILE_WITH, PIXELS, PLACES
from helpers.images.packs import OpenPacks, PackedNames, PackError
from helpers.images.reading import ImageError
from helpers.images.recipe import Recipe
from helpers.images.request import BatchRequest
from helpers.images.resizing import write_resized

CONTENTS = {
    "pixels": {},
    "files": {"contents": "files"},
    "jpeg": {"contents": "jpeg", "max_size": (20, 20)},
}
"""Arguments of `pack`. Of `pictures`, some are larger than that."""


@pytest.fixture(scope="module", params=CONTENTS)
def contents(request):
    return request.param


@pytest.fixture(scope="module")
def file(contents):
    """Which file holds the pictures."""
    return FILE_WITH[contents]


@pytest.fixture(scope="module")
def whole_pack(pictures, contents, tmp_path_factory):
    """A pack of all `pictures`, which no test may change."""
    path = tmp_path_factory.mktemp("packs") / "whole.pack"
    labels = np.arange(len(pictures)) % 2
    pack(ImageFiles(pictures, labels, ("even", "odd")), path, **CONTENTS[contents])
    return path


@pytest.fixture(scope="module")
def images(whole_pack, file):
    """Its pictures, as numpy and OpenCV read them."""
    data = (whole_pack / file).read_bytes()
    return [picture_of(row, data) for row in np.load(whole_pack / "index.npy")]


def picture_of(row, data):
    if "size" not in row.dtype.names:
        shape = row["height"], row["width"], 3
        return np.frombuffer(data, np.uint8, np.prod(shape), row["start"]).reshape(shape)
    encoded = np.frombuffer(data, np.uint8, row["size"], row["start"])
    return cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB)


def resized(images, image_size, dtype="float32"):
    """The batch that is to come."""
    batch = np.empty((len(images), *image_size, 3), dtype)
    for row, image in zip(batch, images, strict=True):
        write_resized(row, image, Recipe(image_size, dtype))
    return batch


@pytest.fixture
def packed(whole_pack, tmp_path):
    """A copy of that pack, to break."""
    return Path(shutil.copytree(whole_pack, tmp_path / "x.pack"))


def flip_byte(file, position):
    data = bytearray(file.read_bytes())
    data[position] ^= 0x10
    file.write_bytes(data)


# ---- names ---------------------------------------------------------------------------------------


def names_of(count):
    rows = np.zeros(count, PLACES[PIXELS])
    rows["number"] = np.arange(count)
    return PackedNames(Path("a.pack"), rows)


def test_names_are_a_sequence():
    names = names_of(5)
    assert list(names) == [f"a.pack#{number}" for number in range(5)]
    assert list(names[1:4]) == ["a.pack#1", "a.pack#2", "a.pack#3"]
    assert list(names[::-2]) == ["a.pack#4", "a.pack#2", "a.pack#0"]
    assert list(names[np.array([3, 3, -1])]) == ["a.pack#3", "a.pack#3", "a.pack#4"]
    assert list(names[1:][np.array([3, 0])][1:]) == ["a.pack#1"]
    assert isinstance(names[1:4], PackedNames)
    assert isinstance(names[np.array([2])], PackedNames)
    assert (len(names), len(names[3:]), names[-1]) == (5, 2, "a.pack#4")
    assert names[np.int64(3)] == "a.pack#3"
    assert "a.pack#4" in names
    assert "a.pack#5" not in names
    for item in (5, -6, np.array([1, 5])):
        with pytest.raises(IndexError):
            names[item]


# ---- pictures ------------------------------------------------------------------------------------


def test_what_was_packed_comes_back(contents, whole_pack, images, pictures):
    with OpenPacks() as open_packs:
        for name, image, picture in zip(
            load_pack(whole_pack).filenames, images, pictures, strict=True
        ):
            content = open_packs.read(name)
            if contents == "pixels":
                np.testing.assert_array_equal(content, image)
            elif contents == "files":
                assert content == Path(picture).read_bytes()
            np.testing.assert_array_equal(read_image(name), image)
            if contents != "jpeg":
                np.testing.assert_array_equal(image, read_image(picture))


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("load", [load_batch, "over a network"])
@pytest.mark.parametrize("draft", [{}, {"draft": True, "image_size": (2, 2)}])
def test_names_as_they_are_give_what_a_list_of_them_gives(whole_pack, dtype, load, draft):
    order = np.random.default_rng(0).permutation(70)
    names = load_pack(whole_pack).filenames[order]
    recipe = Recipe(**{"image_size": (20, 24), "dtype": dtype} | draft)
    expected = load_batch(BatchRequest(list(names), recipe))
    request = BatchRequest(names, recipe)
    if load is load_batch:
        loaded = load_batch(request)
    else:
        loaded = expanded(load_smallest(request), request, empty_arrays(request.layout, 70))
    assert loaded.images.tobytes() == expected.images.tobytes()
    assert loaded.positions == expected.positions


def test_the_index_is_not_read_for_names_as_they_are(packed, file):
    names = load_pack(packed).filenames
    (packed / "index.npy").unlink()
    assert len(load_batch(BatchRequest(names, Recipe((20, 20)))).images) == 70
    os.truncate(packed / file, 1000)
    with pytest.raises(ImageError, match=r"x.pack#69: .*image 69; delete the folder"):
        load_batch(BatchRequest(names[-1:], Recipe((20, 20))))


def test_read_image_gives_an_array_that_can_be_written_to(whole_pack, images):
    image = read_image(f"{whole_pack}#3")
    np.testing.assert_array_equal(image, images[3])
    image[:] = 0


def test_without_pread_as_on_windows(whole_pack, images, monkeypatch):
    monkeypatch.setattr(packs, "_read_at", packs._seek_and_read)
    names = load_pack(whole_pack).filenames
    packed = load_batch(BatchRequest(names, Recipe((20, 20))))
    assert packed.images.tobytes() == resized(images, (20, 20)).tobytes()
    for number in (69, 0, 17):
        np.testing.assert_array_equal(read_image(f"{whole_pack}#{number}"), images[number])


def test_pictures_of_several_packs_and_files_in_one_batch(whole_pack, packed, pictures, images):
    names = [f"{whole_pack}#1", pictures[2], f"{packed}#3", f"{whole_pack}#4"]
    mixed = load_batch(BatchRequest(names, Recipe((20, 20))))
    expected = resized([images[1], read_image(pictures[2]), *images[3:5]], (20, 20))
    assert mixed.images.tobytes() == expected.tobytes()


def test_a_relative_name_begins_in_the_folder_of_the_request(packed):
    expected = load_batch(BatchRequest([f"{packed}#0"], Recipe((20, 20))))
    names = PackedNames("x.pack", load_pack(packed).filenames.rows[:1])
    for relative in (["x.pack#0"], names):
        request = BatchRequest(relative, Recipe((20, 20)), folder=str(packed.parent))
        assert load_batch(request).images.tobytes() == expected.images.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_a_picture_that_has_the_size_already_gives_the_bytes_that_resizing_gives(tmp_path, dtype):
    pixels = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)  # has all 256 values
    file = str(tmp_path / "a.png")
    write_picture(file, 16, 16, seed=0)
    for image in (pixels, read_image(file)):
        resized = resize_image(image, (16, 16))
        expected = resized if dtype == "float32" else np.rint(255 * resized).astype(np.uint8)
        row = np.empty((16, 16, 3), dtype)
        write_resized(row, image, Recipe((16, 16), dtype))
        assert row.tobytes() == expected.tobytes()


def test_the_times_to_read_and_to_decode_are_noted(contents, whole_pack):
    names = load_pack(whole_pack).filenames
    for some in (names, list(names)):
        times = load_batch(BatchRequest(some, Recipe((20, 20)))).times
        assert times.seconds["read"] > 0
        assert (times.seconds["decode"] == 0) == (contents == "pixels")


def test_what_may_be_wrong_with_a_file_is_noted_under_its_name_in_the_pack(tmp_path):
    file, path = tmp_path / "deep.png", tmp_path / "x.pack"
    file.write_bytes(cv2.imencode(".png", np.full((5, 7), 4095, np.uint16))[1].tobytes())
    with pytest.warns(UserWarning, match="deep.png: has 16 bits a value"):
        names = pack(ImageFiles([str(file)], [0], ("a",)), path, contents="files").filenames
    lines = LinesOf(["first", "second"])
    for some in (names, list(names)):
        [*heard, doubt] = load_batch(BatchRequest(some, Recipe((5, 7))), watch=lines).suspects
        assert heard == [(f"{path}#0", "first"), (f"{path}#0", "second")]
        assert doubt[0] == f"{path}#0" and doubt[1].startswith("has 16 bits a value")
    with pytest.warns(UserWarning, match="x.pack#0: has 16 bits a value"):
        read_image(names[0])


class LinesOf(Watch):
    """Hears the same lines from each picture."""

    def __init__(self, lines):
        self.lines = lines

    def heard(self):
        return self.lines


def test_a_worker_imports_numpy_and_the_standard_library_only():
    code = "import sys, helpers.images.packs; print({m.partition('.')[0] for m in sys.modules})"
    names = eval(subprocess.run([sys.executable, "-c", code], stdout=-1, check=True).stdout)
    # An editable installation adds a module of its own.
    names = {name for name in names if not name.startswith("__editable__")}
    assert names - sys.stdlib_module_names <= {"helpers", "lazy_loader", "numpy", "__main__"} | {
        name for name in names if name.startswith(("_", "cython", "sitecustomize"))
    }


# ---- what can be wrong ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("x.pack#70", ["index.npy", "ends before image 70"]),
        ("x.pack#a", ["numbers", "'a'"]),
        ("x.pack#-1", ["numbers", "'-1'"]),
        ("y.pack#0", ["y.pack", "index.npy", "No such file"]),
        ("y\0.pack#0", ["null"]),
    ],
)
def test_a_name_that_means_nothing_is_an_error_that_says_so(packed, name, words):
    with pytest.raises(ImageError) as caught:
        read_image(packed.parent / name)
    assert caught.value.filename == str(packed.parent / name)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("in_index", [False, True])
@pytest.mark.parametrize("size", [0, 5, 200, 0.5, -1])
def test_a_file_that_is_cut_is_named_before_and_while_it_is_used(packed, file, in_index, size):
    file = "index.npy" if in_index else file
    names = load_pack(packed).filenames
    before = load_batch(BatchRequest(names, Recipe((20, 20))))
    whole = (packed / file).stat().st_size
    os.truncate(packed / file, int(whole * size) if size == 0.5 else size % whole)
    for check in (load_pack, verify_pack):
        with pytest.raises(PackError, match=file):
            check(packed)
    for some in (list(names),) if in_index else (list(names), names):
        with pytest.raises(ImageError, match=f"{file}.*pack the files again"):
            load_batch(BatchRequest(some, Recipe((20, 20))))
        if size in (0.5, -1):
            rest = load_batch(BatchRequest(some, Recipe((20, 20)), skip_errors=True))
            assert rest.images.tobytes() == before.images[rest.positions].tobytes()
            assert len(rest.positions) + len(rest.errors) == len(names)
            assert rest.errors[-1].filename == names[-1]


def test_a_file_that_is_cut_while_it_is_open_is_an_error_and_no_crash(packed, file):
    number, _, start, *size = load_pack(packed).filenames.rows[-1].item()
    with OpenPacks() as open_packs:
        open_packs.read(f"{packed}#69")
        os.truncate(packed / file, 1000)
        for crc32 in (0, packs.checksum(b"", size[0])):
            with pytest.raises(PackError, match=rf"{file} .*69.*made from 69.jpg"):
                open_packs.pack(str(packed)).read(number, crc32, start, *size)
        with pytest.raises(PackError, match=rf"{file} .*69.*made from 69.jpg"):
            open_packs.read(f"{packed}#69")
        os.truncate(packed / "index.npy", 1000)
        with pytest.raises(PackError, match=r"index.npy ends before image 69"):
            open_packs.read(f"{packed}#69")


def test_a_file_that_is_missing_is_named(packed, file):
    names = load_pack(packed).filenames
    for missing in (file, "index.npy", "pack.json"):
        content = (packed / missing).read_bytes()
        (packed / missing).unlink()
        with pytest.raises(PackError, match=missing):
            load_pack(packed)
        if missing != "pack.json":
            with pytest.raises(ImageError, match=rf"{missing} .*No such file"):
                read_image(f"{packed}#0")
        if missing == file:
            with pytest.raises(ImageError, match=rf"x.pack#0: .*{missing} .*No such file"):
                load_batch(BatchRequest(names, Recipe((20, 20))))
        (packed / missing).write_bytes(content)
    load_pack(packed)


@pytest.mark.parametrize("rows", [np.arange(99), np.zeros(99, [("name", "S9"), ("other", "i8")])])
def test_an_index_of_another_kind_is_named(packed, rows):
    np.save(packed / "index.npy", rows)
    with pytest.raises(ImageError, match=r"index.npy is damaged or cut off: it has "):
        read_image(f"{packed}#0")


def test_a_changed_byte_names_the_picture(packed, file):
    names = load_pack(packed).filenames
    row = np.load(packed / "index.npy")[17]
    flip_byte(packed / file, int(row["start"]) + 5)
    words = rf"x.pack#17: .*{file}.*made from 17.jpg"
    for some in (names, list(names)):
        with pytest.raises(ImageError, match=words) as caught:
            load_batch(BatchRequest(some, Recipe((20, 20))))
        assert caught.value.filename == names[17]
        rest = load_batch(BatchRequest(some, Recipe((20, 20)), skip_errors=True))
        assert [error.filename for error in rest.errors] == [names[17]]
        assert rest.positions == [*range(17), *range(18, 70)]
    with pytest.raises(PackError, match=rf"{file}.*made from 17.jpg"):
        verify_pack(packed)


def test_any_byte_that_changes_is_noticed(tmp_path, contents, file):
    files = [str(tmp_path / f"{number}.png") for number in range(2)]
    for number, name in enumerate(files):
        write_picture(name, 2, 3, seed=number)
    path = tmp_path / "x.pack"
    packed_names = pack(
        ImageFiles(files, np.arange(2), ("a", "b")), path, **CONTENTS[contents]
    ).filenames
    names = list(packed_names)
    images = [read_image(name) for name in names]
    batch = np.stack(images)
    for changed in (file, "index.npy"):
        data = (path / changed).read_bytes()
        for position in range(len(data)):
            flip_byte(path / changed, position)
            with pytest.raises(PackError, match=changed):
                verify_pack(path)
            for name, image in zip(names, images, strict=True):
                try:
                    assert read_image(name).tobytes() == image.tobytes()
                except ImageError as error:
                    assert changed in str(error)
            request = BatchRequest(packed_names, Recipe((2, 3), "uint8"), skip_errors=True)
            loaded = load_batch(request)
            assert loaded.images.tobytes() == batch[loaded.positions].tobytes()
            assert all(changed in error.reason for error in loaded.errors)
            (path / changed).write_bytes(data)
    note = path / "pack.json"
    data = note.read_bytes()
    for position in range(len(data)):
        flip_byte(note, position)
        try:
            assert load_pack(path).class_names == ("a", "b")  # white space changed
        except PackError as error:
            assert "pack.json" in str(error)
        note.write_bytes(data)


@pytest.mark.parametrize("contents", ["files", "jpeg"], indirect=True)
@pytest.mark.parametrize("as_list", [False, True])
def test_a_file_that_cannot_be_decoded_is_named_as_in_the_pack_and_as_it_was(packed, as_list):
    names = load_pack(packed).filenames[[21]]
    request = BatchRequest(list(names) if as_list else names, Recipe((20, 20), max_pixels=50))
    words = r"x.pack#21: claims .* more than the 50 allowed \(max_pixels\) \(made from 21.jpg\)"
    with pytest.raises(ImageError, match=words) as caught:
        load_batch(request)
    assert caught.value.filename == names[0]
    with pytest.raises(ImageError, match=words):
        read_image(names[0], max_pixels=50)
    (packed / "index.npy").write_bytes(b"no index")
    if not as_list:
        with pytest.raises(ImageError, match=r"x.pack#21: claims .* \(max_pixels\)$"):
            load_batch(request)


@pytest.mark.parametrize(
    ("crc32", "start", "side"), [(0, 0, 0), (7, 128, 2**32 - 1), (7, 2**64 - 1, 1)]
)
def test_a_row_that_claims_what_is_not_there(packed, file, crc32, start, side):
    row = (0, crc32, start, side, side) if file == PIXELS else (0, crc32, start, side * side)
    with pytest.raises(ImageError, match=rf"x.pack#0: .*{file}.*made from 00.png"):
        load_batch(
            BatchRequest(PackedNames(packed, np.array([row], PLACES[file])), Recipe((20, 20)))
        )


@pytest.mark.parametrize("contents", ["pixels"], indirect=True)
def test_width_and_height_are_part_of_the_checksum(packed):
    rows = load_pack(packed).filenames.rows.copy()
    rows["height"], rows["width"] = rows["width"], rows["height"].copy()
    turned = load_batch(BatchRequest(PackedNames(packed, rows), Recipe((20, 20)), skip_errors=True))
    assert turned.positions == np.flatnonzero(rows["height"] == rows["width"]).tolist()


def test_a_disk_that_cannot_be_read_is_an_error_that_names_the_file(packed, file, monkeypatch):
    row_bytes = np.load(packed / "index.npy").itemsize

    def fail(descriptor, size, start):
        if size not in (packs.HEADER_BYTES, row_bytes):
            raise OSError(5, "Input/output error")
        return os.pread(descriptor, size, start)

    monkeypatch.setattr(packs, "_read_at", fail)
    for names in (load_pack(packed).filenames[-1:], [f"{packed}#69"]):
        with pytest.raises(ImageError, match=rf"{file}.*Input/output error.*69.jpg"):
            load_batch(BatchRequest(names, Recipe((20, 20))))


@pytest.mark.skipif(not hasattr(psutil.Process, "num_fds"), reason="no descriptors on Windows")
def test_no_descriptor_stays_open(packed, file):
    names = load_pack(packed).filenames
    flip_byte(packed / file, 1000)
    before = psutil.Process().num_fds()
    for some in (names, list(names)) * 3:
        with pytest.raises(ImageError):
            load_batch(BatchRequest(some, Recipe((20, 20))))
        load_batch(BatchRequest(some, Recipe((20, 20)), skip_errors=True))
        with pytest.raises(ImageError):
            read_image("nowhere.pack#0")
        with pytest.raises(RuntimeError):
            load_batch(BatchRequest(some, Recipe((20, 20)), augment=int, seeds=[0] * 70))
    assert psutil.Process().num_fds() == before
    (packed / "index.npy").write_bytes(b"no index")
    with OpenPacks() as open_packs:
        for name in names:
            with pytest.raises(PackError):
                open_packs.read(name)
        assert psutil.Process().num_fds() == before


def test_a_pack_that_is_made_anew_is_read_anew(packed, contents, images, pictures):
    with OpenPacks() as open_packs:
        open_packs.read(f"{packed}#0")
    shutil.rmtree(packed)
    files = ImageFiles(pictures[::-1], np.zeros(70, np.int64), ("a",))
    pack(files, packed, **CONTENTS[contents])
    np.testing.assert_array_equal(read_image(f"{packed}#0"), images[-1])


def test_a_pack_that_is_made_anew_with_other_contents_says_what_is_missing(packed, pictures):
    names = load_pack(packed).filenames
    other = "files" if names.rows.dtype == PLACES[PIXELS] else "pixels"
    shutil.rmtree(packed)
    pack(ImageFiles(pictures, np.zeros(70, np.int64), ("a",)), packed, contents=other)
    with pytest.raises(ImageError, match=r"x.pack#0: .*(pixels|files).npy cannot be opened"):
        load_batch(BatchRequest(names, Recipe((20, 20))))
