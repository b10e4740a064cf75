import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from conftest import write_picture

from helpers import read_image, resize_image
from helpers.datasets.folders import ImageFiles
from helpers.datasets.packed import load_pack, verify_pack
from helpers.datasets.packing import pack
from helpers.images import packs
from helpers.images.batches import BatchRequest, expanded, load_batch, load_smallest
from helpers.images.packs import PICTURE, OpenPacks, PackedNames, PackError
from helpers.images.reading import ImageError
from helpers.images.resizing import write_resized


@pytest.fixture(scope="module")
def whole_pack(pictures, tmp_path_factory):
    """A pack of all `pictures`, which no test may change."""
    path = tmp_path_factory.mktemp("packs") / "whole.pack"
    labels = np.arange(len(pictures)) % 2
    pack(ImageFiles(pictures, labels, ("even", "odd")), path)
    return path


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
    rows = np.zeros(count, PICTURE)
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


def test_pictures_are_those_of_the_files(whole_pack, pictures):
    with OpenPacks() as open_packs:
        for name, filename in zip(load_pack(whole_pack).filenames, pictures, strict=True):
            np.testing.assert_array_equal(open_packs.read(name), read_image(filename))


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("load", [load_batch, "over a network"])
def test_names_as_they_are_give_what_a_list_of_them_gives(whole_pack, dtype, load):
    order = np.random.default_rng(0).permutation(70)
    names = load_pack(whole_pack).filenames[order]
    expected = load_batch(BatchRequest(list(names), (20, 24), dtype))
    request = BatchRequest(names, (20, 24), dtype)
    if load is load_batch:
        loaded = load_batch(request)
    else:
        loaded = expanded(load_smallest(request), request, np.empty(request.shape, dtype))
    assert loaded.images.tobytes() == expected.images.tobytes()
    assert loaded.positions == expected.positions


def test_the_index_is_not_read_for_names_as_they_are(packed):
    names = load_pack(packed).filenames
    (packed / "index.npy").unlink()
    assert len(load_batch(BatchRequest(names, (20, 20))).images) == 70
    os.truncate(packed / "pixels.npy", 1000)
    with pytest.raises(ImageError, match=r"x.pack#69: .*picture 69; delete the folder"):
        load_batch(BatchRequest(names[-1:], (20, 20)))


def test_read_image_gives_an_array_that_can_be_written_to(whole_pack, pictures):
    image = read_image(f"{whole_pack}#3")
    np.testing.assert_array_equal(image, read_image(pictures[3]))
    image[:] = 0


def test_without_pread_as_on_windows(whole_pack, pictures, monkeypatch):
    monkeypatch.setattr(packs, "_read_at", packs._seek_and_read)
    names = load_pack(whole_pack).filenames
    packed, files = (load_batch(BatchRequest(n, (20, 20))) for n in (names, pictures))
    assert packed.images.tobytes() == files.images.tobytes()
    for number in (69, 0, 17):
        np.testing.assert_array_equal(
            read_image(f"{whole_pack}#{number}"), read_image(pictures[number])
        )


def test_pictures_of_several_packs_and_files_in_one_batch(whole_pack, packed, pictures):
    names = [f"{whole_pack}#1", pictures[2], f"{packed}#3", f"{whole_pack}#4"]
    mixed = load_batch(BatchRequest(names, (20, 20)))
    files = load_batch(BatchRequest(pictures[1:5], (20, 20)))
    assert mixed.images.tobytes() == files.images.tobytes()


def test_a_relative_name_begins_in_the_folder_of_the_request(packed):
    expected = load_batch(BatchRequest([f"{packed}#0"], (20, 20)))
    names = PackedNames("x.pack", load_pack(packed).filenames.rows[:1])
    for relative in (["x.pack#0"], names):
        request = BatchRequest(relative, (20, 20), folder=str(packed.parent))
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
        write_resized(row, image, np.empty((16, 16, 3), np.float32))
        assert row.tobytes() == expected.tobytes()


def test_the_time_to_read_is_noted(whole_pack):
    names = load_pack(whole_pack).filenames
    for some in (names, list(names)):
        times = load_batch(BatchRequest(some, (20, 20))).times
        assert times.seconds["read"] > 0
        assert times.seconds["decode"] == 0


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
        ("x.pack#70", ["index.npy", "ends before picture 70"]),
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


@pytest.mark.parametrize("file", ["pixels.npy", "index.npy"])
@pytest.mark.parametrize("size", [0, 5, 200, 0.5, -1])
def test_a_file_that_is_cut_is_named_before_and_while_it_is_used(packed, file, size):
    names = load_pack(packed).filenames
    before = load_batch(BatchRequest(names, (20, 20)))
    whole = (packed / file).stat().st_size
    os.truncate(packed / file, int(whole * size) if size == 0.5 else size % whole)
    for check in (load_pack, verify_pack):
        with pytest.raises(PackError, match=file):
            check(packed)
    for some in (list(names), names) if file == "pixels.npy" else (list(names),):
        with pytest.raises(ImageError, match=f"{file}.*pack the files again"):
            load_batch(BatchRequest(some, (20, 20)))
        if size in (0.5, -1):
            rest = load_batch(BatchRequest(some, (20, 20), skip_errors=True))
            assert rest.images.tobytes() == before.images[rest.positions].tobytes()
            assert len(rest.positions) + len(rest.errors) == len(names)
            assert rest.errors[-1].filename == names[-1]


def test_a_file_that_is_cut_while_it_is_open_is_an_error_and_no_crash(packed, pictures):
    last = load_pack(packed).filenames.rows[-1].item()
    with OpenPacks() as open_packs:
        open_packs.read(f"{packed}#69")
        open_packs.pack(str(packed)).read(*last)
        os.truncate(packed / "pixels.npy", 1000)
        checksum_of_nothing = packs.checksum(b"", last[2])
        for row in (last, (*last[:-1], checksum_of_nothing)):
            with pytest.raises(PackError, match=r"pixels.npy .*69.*made from 69.jpg"):
                open_packs.pack(str(packed)).read(*row)
        with pytest.raises(PackError, match=r"pixels.npy .*69.*made from 69.jpg"):
            open_packs.read(f"{packed}#69")
        os.truncate(packed / "index.npy", 1000)
        with pytest.raises(PackError, match=r"index.npy ends before picture 69"):
            open_packs.read(f"{packed}#69")


@pytest.mark.parametrize("file", ["pixels.npy", "index.npy", "pack.json"])
def test_a_file_that_is_missing_is_named(packed, file):
    (packed / file).unlink()
    with pytest.raises(PackError, match=file):
        load_pack(packed)
    if file != "pack.json":
        with pytest.raises(ImageError, match=rf"{file} .*No such file"):
            read_image(f"{packed}#0")


@pytest.mark.parametrize("rows", [np.arange(99), np.zeros(99, [("name", "S9"), ("other", "i8")])])
def test_an_index_of_another_kind_is_named(packed, rows):
    np.save(packed / "index.npy", rows)
    with pytest.raises(ImageError, match=r"index.npy is damaged or cut off: it has "):
        read_image(f"{packed}#0")


def test_a_changed_pixel_names_the_picture(packed, pictures):
    names = load_pack(packed).filenames
    row = np.load(packed / "index.npy")[17]
    flip_byte(packed / "pixels.npy", int(row["start"]) + 5)
    words = r"x.pack#17: .*pixels.npy.*made from 17.jpg"
    for some in (names, list(names)):
        with pytest.raises(ImageError, match=words) as caught:
            load_batch(BatchRequest(some, (20, 20)))
        assert caught.value.filename == names[17]
        rest = load_batch(BatchRequest(some, (20, 20), skip_errors=True))
        assert [error.filename for error in rest.errors] == [names[17]]
        assert rest.positions == [*range(17), *range(18, 70)]
    with pytest.raises(PackError, match=r"pixels.npy.*made from 17.jpg"):
        verify_pack(packed)


def test_any_byte_that_changes_is_noticed(tmp_path):
    files = [str(tmp_path / f"{number}.png") for number in range(2)]
    for number, file in enumerate(files):
        write_picture(file, 2, 3, seed=number)
    path = tmp_path / "x.pack"
    packed_names = pack(ImageFiles(files, np.arange(2), ("a", "b")), path).filenames
    names = list(packed_names)
    images = [read_image(file) for file in files]
    batch = np.stack(images)
    for file in ("pixels.npy", "index.npy"):
        data = (path / file).read_bytes()
        for position in range(len(data)):
            flip_byte(path / file, position)
            with pytest.raises(PackError, match=file):
                verify_pack(path)
            for name, image in zip(names, images, strict=True):
                try:
                    assert read_image(name).tobytes() == image.tobytes()
                except ImageError as error:
                    assert file in str(error)
            request = BatchRequest(packed_names, (2, 3), "uint8", skip_errors=True)
            loaded = load_batch(request)
            assert loaded.images.tobytes() == batch[loaded.positions].tobytes()
            assert all(file in error.reason for error in loaded.errors)
            (path / file).write_bytes(data)
    note = path / "pack.json"
    data = note.read_bytes()
    for position in range(len(data)):
        flip_byte(note, position)
        try:
            assert load_pack(path).class_names == ("a", "b")  # white space changed
        except PackError as error:
            assert "pack.json" in str(error)
        note.write_bytes(data)


@pytest.mark.parametrize(
    "row", [(0, 0, 0, 0, 0), (0, 128, 2**32 - 1, 2**32 - 1, 7), (0, 2**64 - 1, 1, 1, 7)]
)
def test_a_row_that_claims_what_is_not_there(packed, row):
    with pytest.raises(ImageError, match=r"x.pack#0: .*pixels.npy.*made from 00.png"):
        load_batch(BatchRequest(PackedNames(packed, np.array([row], PICTURE)), (20, 20)))


def test_width_and_height_are_part_of_the_checksum(packed):
    rows = load_pack(packed).filenames.rows.copy()
    rows["height"], rows["width"] = rows["width"], rows["height"].copy()
    turned = load_batch(BatchRequest(PackedNames(packed, rows), (20, 20), skip_errors=True))
    assert turned.positions == np.flatnonzero(rows["height"] == rows["width"]).tolist()


def test_a_disk_that_cannot_be_read_is_an_error_that_names_the_file(packed, monkeypatch):
    row_bytes = np.load(packed / "index.npy").itemsize

    def fail(descriptor, size, start):
        if size not in (packs.HEADER_BYTES, row_bytes):
            raise OSError(5, "Input/output error")
        return os.pread(descriptor, size, start)

    monkeypatch.setattr(packs, "_read_at", fail)
    for names in (load_pack(packed).filenames[-1:], [f"{packed}#69"]):
        with pytest.raises(ImageError, match=r"pixels.npy.*Input/output error.*69.jpg"):
            load_batch(BatchRequest(names, (20, 20)))


@pytest.mark.skipif(not hasattr(psutil.Process, "num_fds"), reason="no descriptors on Windows")
def test_no_descriptor_stays_open(packed):
    names = load_pack(packed).filenames
    flip_byte(packed / "pixels.npy", 1000)
    before = psutil.Process().num_fds()
    for some in (names, list(names)) * 3:
        with pytest.raises(ImageError):
            load_batch(BatchRequest(some, (20, 20)))
        load_batch(BatchRequest(some, (20, 20), skip_errors=True))
        with pytest.raises(ImageError):
            read_image("nowhere.pack#0")
        with pytest.raises(RuntimeError):
            load_batch(BatchRequest(some, (20, 20), augment=int, seeds=[0] * 70))
    assert psutil.Process().num_fds() == before
    (packed / "index.npy").write_bytes(b"no index")
    with OpenPacks() as open_packs:
        for name in names:
            with pytest.raises(PackError):
                open_packs.read(name)
        assert psutil.Process().num_fds() == before


def test_a_pack_that_is_made_anew_is_read_anew(packed, pictures):
    with OpenPacks() as open_packs:
        open_packs.read(f"{packed}#0")
    shutil.rmtree(packed)
    pack(ImageFiles(pictures[::-1], np.zeros(70, np.int64), ("a",)), packed)
    np.testing.assert_array_equal(read_image(f"{packed}#0"), read_image(pictures[-1]))
