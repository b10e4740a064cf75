import itertools
import os
import re
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import child, in_background, write_picture
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from packed_files import assert_same_pictures, three_classes

import helpers
from helpers import MY_Generator, read_image
from helpers.datasets import packing
from helpers.datasets.folders import ImageFiles
from helpers.datasets.packed import load_pack
from helpers.datasets.packing import pack
from helpers.images.packs import PackedNames, PackError
from helpers.images.reading import ImageError


@pytest.fixture
def files(pictures):
    return three_classes(pictures)


@pytest.fixture(scope="module")
def whole_pack(pictures, tmp_path_factory):
    """A pack of all `pictures`, which no test may change."""
    path = tmp_path_factory.mktemp("packs") / "whole.pack"
    pack(three_classes(pictures), path)
    return path


def contents(path):
    return {file.name: file.read_bytes() for file in path.iterdir()}


# ---- what is in a pack ---------------------------------------------------------------------------


def test_a_pack_gives_pictures_labels_and_class_names(files, tmp_path):
    packed = pack(files, tmp_path / "x.pack")
    assert_same_pictures(packed, files.filenames)
    assert isinstance(packed.filenames, PackedNames)
    np.testing.assert_array_equal(packed.labels, files.labels)
    assert packed.labels.dtype == np.int64
    assert packed.class_names == files.class_names
    assert sorted(contents(tmp_path / "x.pack")) == ["index.npy", "pack.json", "pixels.npy"]
    loaded = load_pack(str(tmp_path / "x.pack"))
    assert list(loaded.filenames) == list(packed.filenames)
    assert loaded.filenames[0] == str(tmp_path / "x.pack#0")
    np.testing.assert_array_equal(loaded.labels, files.labels)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=25),
    ending=st.sampled_from(["png", "jpg", "webp"]),
)
@example(sizes=[(5, 4), (5, 6)], ending="png")
@example(sizes=[(5, 4), (6, 4)], ending="png")
def test_any_sizes_come_back_as_they_are(tmp_path, sizes, ending):
    folder = tmp_path / "sizes"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    names = [str(folder / f"{number}.{ending}") for number in range(len(sizes))]
    for seed, (name, size) in enumerate(zip(names, sizes, strict=True)):
        write_picture(name, *size, seed)
    packed = pack(ImageFiles(names, np.arange(len(names)), ()), folder / "x.pack")
    assert_same_pictures(packed, names)
    pixels = np.load(folder / "x.pack" / "pixels.npy", mmap_mode="r")
    assert pixels.shape == (len(names), *sizes[0], 3) if len(set(sizes)) == 1 else (pixels.size,)


@pytest.mark.parametrize("kind", ["grey", "rgba", "16 bits", "palette"])
def test_kinds_of_pictures(tmp_path, kind):
    noise = np.random.default_rng(0).integers(0, 256, (7, 5, 4), np.uint8)
    image = {"grey": noise[..., 0], "rgba": noise, "16 bits": 257 * noise[..., :3].astype("u2")}
    for number, name in enumerate(("a.png", "b.png")):
        assert cv2.imwrite(str(tmp_path / name), image.get(kind, noise[..., 0] // 64) + number)
    names = [str(tmp_path / name) for name in ("a.png", "b.png")]
    packed = pack(ImageFiles(names, [0, 1], ("a", "b")), tmp_path / "x.pack")
    assert_same_pictures(packed, names)


@pytest.mark.parametrize("image_size", [(6, 9), (64, 48)])
def test_with_image_size_pictures_are_those_of_the_generator(files, tmp_path, image_size):
    packed = pack(files, tmp_path / "x.pack", image_size)
    generator = MY_Generator(
        files.filenames, files.labels, 70, dtype="uint8", image_size=image_size
    )
    images = generator[0][0]
    pixels = np.load(tmp_path / "x.pack" / "pixels.npy", mmap_mode="r")
    assert pixels.tobytes() == images.tobytes()
    assert read_image(packed.filenames[69]).tobytes() == images[69].tobytes()


def test_names_in_a_pack_are_relative_and_nothing_else_says_where_it_was_made(tmp_path):
    names = [tmp_path / "häuser" / "a" / "1.png", tmp_path / "häuser" / "b" / "dörfer 2.png"]
    for name in names:
        name.parent.mkdir(parents=True)
        cv2.imencode(".png", np.zeros((3, 3, 3), np.uint8))[1].tofile(name)
    pack(ImageFiles(names, [0, 1], ("a", "b")), tmp_path / "x.pack")
    index = np.load(tmp_path / "x.pack" / "index.npy")
    assert [name.decode() for name in index["name"]] == ["a/1.png", "b/dörfer 2.png"]
    assert str(tmp_path).encode() not in b"".join(contents(tmp_path / "x.pack").values())


def test_one_file_and_the_same_file_twice(files, tmp_path):
    for number, chosen in enumerate(([5], [5, 5])):
        some = files.select(chosen)
        assert_same_pictures(pack(some, tmp_path / f"{number}.pack"), some.filenames)


def test_a_pack_of_a_pack(files, whole_pack, tmp_path):
    packed = pack(load_pack(whole_pack), tmp_path / "y.pack")
    assert_same_pictures(packed, files.filenames)


# ---- what may be wrong ---------------------------------------------------------------------------


@pytest.mark.parametrize("image_size", [None, (6, 6)])
def test_pictures_that_may_be_wrong_are_warned_about_once(files, tmp_path, save, image_size):
    deep = [
        save(cv2.imencode(".png", np.full((5, 7), 4095, np.uint16))[1].tobytes(), f"{number}.png")
        for number in range(3)
    ]
    names = [*files.filenames[:5], *deep]
    with pytest.warns(UserWarning) as caught:
        pack(ImageFiles(names, np.zeros(8, int), ("x",)), tmp_path / "x.pack", image_size)
    [message] = [str(one.message) for one in caught]
    assert message.startswith("3 pictures were packed that may be wrong, the first of them")
    assert "0.png: has 16 bits a value" in message


@pytest.mark.parametrize("image_size", [None, (6, 6)])
def test_a_picture_of_more_pixels_than_allowed_is_refused(files, tmp_path, image_size):
    with pytest.raises(ImageError, match=r"pixels, more than the 50 allowed \(max_pixels\)"):
        pack(files, tmp_path / "x.pack", image_size, max_pixels=50)


# ---- what can be wrong ---------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [np.eye(70), np.linspace(0, 1, 70)])
def test_labels_that_are_not_one_integer_each_are_refused(files, tmp_path, labels):
    with pytest.raises(ValueError, match="one integer as the label of each file; received"):
        pack(files._replace(labels=labels), tmp_path / "x.pack")
    assert not (tmp_path / "x.pack").exists()


@pytest.mark.parametrize(
    ("change", "arguments", "words"),
    [
        ({}, {"path": "x"}, "must end in '.pack'; received 'x'"),
        ({}, {"image_size": (0, 5)}, "height must be at least 1"),
        ({"filenames": [], "labels": []}, {}, "empty"),
        ({"labels": [1]}, {}, "one entry for each file"),
    ],
)
def test_wrong_arguments(files, tmp_path, monkeypatch, change, arguments, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=words):
        pack(files._replace(**change), **({"path": "x.pack"} | arguments))
    assert not list(tmp_path.iterdir())


def test_a_picture_that_cannot_be_read_is_named_and_mending_it_is_enough(files, tmp_path):
    bad = str(tmp_path / "bad.png")
    Path(bad).write_bytes(b"no picture")
    some = files._replace(filenames=[*files.filenames[:-1], bad])
    with pytest.raises(ImageError, match=r"bad.png"):
        pack(some, tmp_path / "x.pack")
    with pytest.raises(PackError, match=r"not complete: .*pack.json is missing.*Call pack again"):
        load_pack(tmp_path / "x.pack")
    write_picture(bad, 5, 5, seed=0)
    assert_same_pictures(pack(some, tmp_path / "x.pack"), some.filenames)


OTHERS = {
    "names and labels": {"labels": np.zeros(70, np.int64)},
    "class names": {"class_names": ("x", "b", "c")},
    "image size": {},
}


@pytest.mark.parametrize("what", [*OTHERS, "pictures, names and labels"])
@pytest.mark.parametrize("complete", [True, False])
def test_a_folder_with_a_pack_of_other_files_is_left_alone(
    files, tmp_path, monkeypatch, what, complete
):
    path = tmp_path / "x.pack"
    if complete:
        pack(files, path)
    else:
        leave_unfinished(files, path, monkeypatch)
    before = contents(path)
    others = files.select(range(69)) if what.startswith("pic") else files._replace(**OTHERS[what])
    image_size = (5, 5) if what == "image size" else None
    with pytest.raises(ValueError, match=f"x.pack holds a pack with other {what} "):
        pack(others, path, image_size)
    renamed = files._replace(filenames=files.filenames[::-1])
    with pytest.raises(ValueError, match="other names and labels"):
        pack(renamed, path)
    assert contents(path) == before


def leave_unfinished(files, path, monkeypatch):
    """Pack all pictures, but stop before they are verified."""
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(packing, "_finish", interrupt)
        pack(files, path)


def interrupt(*arguments):
    raise KeyboardInterrupt


def test_a_folder_with_pixels_of_somebody_else_is_left_alone(files, tmp_path):
    (tmp_path / "x.pack").mkdir()
    np.save(tmp_path / "x.pack" / "pixels.npy", np.zeros(5))
    before = contents(tmp_path / "x.pack")
    with pytest.raises(ValueError, match="holds no pack"):
        pack(files, tmp_path / "x.pack")
    assert contents(tmp_path / "x.pack") == before


def test_a_complete_pack_is_not_made_again(files, tmp_path, monkeypatch):
    pack(files, tmp_path / "x.pack")
    monkeypatch.setattr(packing, "_pictures", interrupt)
    packed = pack(files, tmp_path / "x.pack")
    assert_same_pictures(packed, files.filenames)


def test_what_is_written_wrongly_is_never_called_complete(files, tmp_path, monkeypatch):
    right, numbers = packing.checksum, itertools.count()
    monkeypatch.setattr(packing, "checksum", lambda *args: right(*args) ^ (next(numbers) == 33))
    with pytest.raises(PackError, match=r"pixels.npy.*picture 33 \(made from 33.jpg\)"):
        pack(files, tmp_path / "x.pack")
    assert not (tmp_path / "x.pack" / "pack.json").exists()


@pytest.mark.parametrize("field", ["label", "name"])
def test_an_index_that_changes_before_it_is_complete_is_noticed(
    files, tmp_path, monkeypatch, field
):
    leave_unfinished(files, tmp_path / "x.pack", monkeypatch)
    index = np.load(tmp_path / "x.pack" / "index.npy")
    index[field][17] = index[field][18]
    np.save(tmp_path / "x.pack" / "index.npy", index)
    with pytest.raises(PackError, match=r"index.npy.*not those of the files"):
        pack(files, tmp_path / "x.pack")
    assert not (tmp_path / "x.pack" / "pack.json").exists()


def test_few_pictures_are_in_memory(files, monkeypatch):
    given_out = []
    monkeypatch.setattr(packing, "_pictures", lambda names, size: given_out.extend(names) or names)
    with packing.ThreadPoolExecutor(1) as threads:
        pictures = packing._in_order(threads, range(1000), None)
        assert [next(pictures) for _ in range(100)] == list(range(100))
        threads.submit(int).result()  # all before it are done
        assert len(given_out) <= 100 + packing.AT_ONCE * (packing.THREADS + 2)
        assert list(pictures) == list(range(100, 1000))


# ---- what interrupts it --------------------------------------------------------------------------


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cuts=st.tuples(st.integers(0, 2**20), st.integers(0, 2**20)), zeros=st.booleans())
def test_it_goes_on_after_the_last_whole_row(files, whole_pack, tmp_path, monkeypatch, cuts, zeros):
    path = tmp_path / "x.pack"
    shutil.rmtree(path, ignore_errors=True)
    leave_unfinished(files, path, monkeypatch)
    index = np.load(whole_pack / "index.npy")
    pixel_ends = index["start"] + 3 * index["height"] * index["width"]
    row_ends = (path / "index.npy").stat().st_size - np.arange(69, -1, -1) * index.itemsize
    sizes = []
    for file, cut in zip((path / "pixels.npy", path / "index.npy"), cuts, strict=True):
        size = file.stat().st_size
        sizes.append(cut % (size + 1))
        os.truncate(file, sizes[-1])
        if zeros:  # as after a power failure
            os.truncate(file, size)
    there = np.count_nonzero((pixel_ends <= sizes[0]) & (row_ends <= sizes[1]))
    made, pictures = [], packing._pictures
    with monkeypatch.context() as patch:
        patch.setattr(packing, "_pictures", lambda *args: made.extend(args[0]) or pictures(*args))
        packed = pack(files, path)
    assert sorted(made) == files.filenames[there:]
    assert_same_pictures(packed, files.filenames)
    assert contents(path) == contents(whole_pack)


def test_nothing_is_left_of_a_row_that_was_cut(tmp_path, monkeypatch):
    names = [str(tmp_path / f"{number}.png") for number in range(3)]
    for number, name in enumerate(names):
        write_picture(name, 9, 9, seed=number)
    files = ImageFiles(names, np.arange(3), ("a", "b", "c"))
    path = tmp_path / "x.pack"
    leave_unfinished(files, path, monkeypatch)
    os.truncate(path / "index.npy", (path / "index.npy").stat().st_size - 1)
    write_picture(names[2], 4, 5, seed=9)
    assert_same_pictures(pack(files, path), names)


# A program that forks: each child kills itself when it calls a function for the n-th time.
KILLED = """
import os, signal, sys
from helpers import load_folder
from helpers.datasets import packing
folder, *moments = sys.argv[1:]
files = load_folder(folder)
for moment in moments:
    if os.fork():
        os.wait()
        continue
    path, owner, name, calls = moment.split()
    owner = packing if owner == "packing" else getattr(packing, owner)
    original, calls = getattr(owner, name), [None] * int(calls)
    def kill(*args, **kwargs):
        calls.pop()
        if not calls:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)
    setattr(owner, name, kill)
    packing.pack(files, path)
    os._exit(0)
"""


def test_killed_at_any_moment_the_next_call_goes_on(tmp_path):
    folder = tmp_path / "pictures"
    for number in range(300):
        path = folder / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_picture(path, 20, 20 + number % 3, seed=number)
    files = helpers.load_folder(folder)
    moments = [
        "packing _write_note 1",
        "packing _write_rest 1",
        "packing _cut_to_whole_rows 1",
        "packing _pictures 1",
        "packing _pictures 20",
        "packing checksum 290",
        "packing _finish 1",
        "packed read_all 1",
        "packing _write_note 2",
        "Path replace 1",
        "Path replace 2",
        "Path unlink 1",
    ]
    paths = [tmp_path / f"{number}.pack" for number in range(len(moments))]
    arguments = [f"{path} {moment}" for path, moment in zip(paths, moments, strict=True)]
    with child(KILLED, folder, *arguments) as process:
        process.communicate(timeout=60)
    for path, moment in zip(paths, moments, strict=True):
        assert (path / "pack.json").exists() == (moment == "Path unlink 1"), moment
        if moment != "Path unlink 1":
            with pytest.raises(PackError, match="Call pack again"):
                load_pack(path)
        assert_same_pictures(pack(files, path), files.filenames)


FULL = """
import resource, sys
from helpers import load_folder
from helpers.datasets import packing
folder, path, limit = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
packing.pack(load_folder(folder), path)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no resource limits")
@pytest.mark.parametrize("limit", [50, 250_000])
def test_a_full_disk_is_one_clear_error_and_the_next_call_goes_on(tmp_path, limit):
    folder = tmp_path / "pictures"
    for number in range(100):
        path = folder / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_picture(path, 60, 40, seed=number)
    with child(FULL, folder, tmp_path / "x.pack", limit) as process:
        errors = process.communicate(timeout=60)[1]
    last = errors.strip().splitlines()[-1]
    found = re.search(r"OSError: .*There is no room for .*x.pack .*about ([\d.]+) MB more", last)
    assert found, errors
    assert last.endswith("call again to go on")
    assert float(found[1]) == pytest.approx((100 * 60 * 40 * 3 - limit) / 1e6, rel=0.2)
    files = helpers.load_folder(folder)
    assert_same_pictures(pack(files, tmp_path / "x.pack"), files.filenames)


TWO = """
import os, sys, time
from helpers import load_folder
from helpers.datasets import packing
folder, path, go = sys.argv[1:]
sys.stdout.reconfigure(line_buffering=True)
pictures = packing._pictures
def late(*arguments):
    print("packs")
    while not os.path.exists(go):
        time.sleep(0.01)
    return pictures(*arguments)
packing._pictures = late
print("done", len(packing.pack(load_folder(folder), path).filenames))
"""


def test_of_two_programs_one_waits_for_the_other(tmp_path):
    folder = tmp_path / "pictures"
    for number in range(20):
        path = folder / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_picture(path, 9, 9, seed=number)
    program = TWO, folder, tmp_path / "x.pack", tmp_path / "go"
    with child(*program) as one:
        assert in_background(one.stdout.readline).result(60) == "packs\n"
        with child(*program) as two:
            assert "waiting for it" in in_background(two.stdout.readline).result(60)
            (tmp_path / "go").touch()
            assert "done 20" in one.communicate(timeout=60)[0]
            assert two.communicate(timeout=60)[0] == "done 20\n"
    files = helpers.load_folder(folder)
    assert_same_pictures(load_pack(tmp_path / "x.pack"), files.filenames)
