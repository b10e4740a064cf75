import itertools
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
from packed_files import (
    CONTENTS,
    assert_same_pictures,
    files_in,
    interrupt,
    leave_unfinished,
    three_classes,
)

import helpers
from helpers import MY_Generator, read_image
from helpers.datasets import appending
from helpers.datasets.image_files import ImageFiles
from helpers.datasets.packed import load_pack
from helpers.datasets.packing import pack
from helpers.images.packs import PackedNames, PackError
from helpers.images.reading import ImageError


@pytest.fixture
def files(pictures):
    return three_classes(pictures)


@pytest.fixture(params=CONTENTS)
def options(request):
    return CONTENTS[request.param]


# ---- what is in a pack ---------------------------------------------------------------------------


def test_a_pack_gives_pictures_labels_and_class_names(files, tmp_path, options):
    packed = pack(files, tmp_path / "x.pack", **options)
    assert_same_pictures(packed, files.filenames, **options)
    assert isinstance(packed.filenames, PackedNames)
    np.testing.assert_array_equal(packed.labels, files.labels)
    assert packed.labels.dtype == np.int64
    assert packed.class_names == files.class_names
    pictures = "files.npy" if options else "pixels.npy"
    assert sorted(files_in(tmp_path / "x.pack")) == sorted(["index.npy", "pack.json", pictures])
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


def test_names_in_a_pack_are_relative_and_nothing_else_says_where_it_was_made(tmp_path, options):
    names = [tmp_path / "häuser" / "a" / "1.png", tmp_path / "häuser" / "b" / "dörfer 2.png"]
    for name in names:
        name.parent.mkdir(parents=True)
        cv2.imencode(".png", np.zeros((3, 3, 3), np.uint8))[1].tofile(name)
    pack(ImageFiles(names, [0, 1], ("a", "b")), tmp_path / "x.pack", **options)
    index = np.load(tmp_path / "x.pack" / "index.npy")
    assert [name.decode() for name in index["name"]] == ["a/1.png", "b/dörfer 2.png"]
    assert str(tmp_path).encode() not in b"".join(files_in(tmp_path / "x.pack").values())


def test_one_file_and_the_same_file_twice(files, tmp_path, options):
    for number, chosen in enumerate(([5], [5, 5])):
        some = files.select(chosen)
        packed = pack(some, tmp_path / f"{number}.pack", **options)
        assert_same_pictures(packed, some.filenames, **options)


@pytest.mark.parametrize("first", ["pixels", "files"])
@pytest.mark.parametrize("second", CONTENTS)
def test_a_pack_of_a_pack(files, tmp_path, first, second):
    packed = pack(files, tmp_path / "x.pack", contents=first)
    if (first, second) == ("pixels", "files"):
        with pytest.raises(ImageError, match=r"x.pack#\d+: is kept as pixels"):
            pack(packed, tmp_path / "y.pack", **CONTENTS[second])
    else:
        again = pack(packed, tmp_path / "y.pack", **CONTENTS[second])
        files_are_jpeg = first == "files"
        names = files.filenames if files_are_jpeg else packed.filenames
        assert_same_pictures(again, names, **CONTENTS[second])


# ---- what may be wrong ---------------------------------------------------------------------------


WAYS = [*CONTENTS.values(), {"image_size": (6, 6)}, {"contents": "jpeg", "image_size": (6, 6)}]


@pytest.mark.parametrize("options", WAYS)
def test_pictures_that_may_be_wrong_are_warned_about_once(files, tmp_path, save, options):
    deep = [
        save(cv2.imencode(".png", np.full((5, 7), 4095, np.uint16))[1].tobytes(), f"{number}.png")
        for number in range(3)
    ]
    names = [*files.filenames[:5], *deep]
    with pytest.warns(UserWarning) as caught:
        pack(ImageFiles(names, np.zeros(8, int), ("x",)), tmp_path / "x.pack", **options)
    [message] = [str(one.message) for one in caught]
    assert message.startswith("3 images were packed that may be wrong, the first of them")
    assert "0.png: has 16 bits a value" in message


@pytest.mark.parametrize("options", WAYS)
def test_a_picture_of_more_pixels_than_allowed_is_refused(files, tmp_path, options):
    with pytest.raises(ImageError, match=r"pixels, more than the 50 allowed \(max_pixels\)"):
        pack(files, tmp_path / "x.pack", max_pixels=50, **options)


# ---- what can be wrong ---------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [np.eye(70), np.linspace(0, 1, 70), None])
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


def test_a_picture_that_cannot_be_read_is_named_and_mending_it_is_enough(files, tmp_path, options):
    bad = str(tmp_path / "bad.png")
    Path(bad).write_bytes(b"no picture")
    some = files._replace(filenames=[*files.filenames[:-1], bad])
    with pytest.raises(ImageError, match=r"bad.png"):
        pack(some, tmp_path / "x.pack", **options)
    with pytest.raises(PackError, match=r"not complete: .*pack.json is missing.*Call pack again"):
        load_pack(tmp_path / "x.pack")
    write_picture(bad, 5, 5, seed=0)
    packed = pack(some, tmp_path / "x.pack", **options)
    assert_same_pictures(packed, some.filenames, **options)


OTHERS = {
    "names and labels": {"labels": np.zeros(70, np.int64)},
    "class names": {"class_names": ("x", "b", "c")},
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
    before = files_in(path)
    others = files.select(range(69)) if what.startswith("pic") else files._replace(**OTHERS[what])
    with pytest.raises(ValueError, match=f"x.pack holds a pack with other {what} "):
        pack(others, path)
    renamed = files._replace(filenames=files.filenames[::-1])
    with pytest.raises(ValueError, match="other names and labels"):
        pack(renamed, path)
    assert files_in(path) == before


JPEG = {"contents": "jpeg", "image_size": (5, 5)}


@pytest.mark.parametrize(
    ("first", "second", "what"),
    [
        ({}, {"image_size": (5, 5)}, "image size"),
        ({"image_size": (5, 5)}, {"image_size": (5, 5), "draft": True}, "draft"),
        ({}, {"contents": "files"}, "contents"),
        ({"contents": "files"}, {}, "contents"),
        ({"contents": "files"}, JPEG, "image size, contents, quality"),
        (JPEG, JPEG | {"quality": 91}, "quality"),
        (JPEG, {"contents": "jpeg", "max_size": (5, 5)}, "image size, max size"),
    ],
)
@pytest.mark.parametrize("complete", [True, False])
def test_a_folder_that_was_packed_in_another_way_is_left_alone(
    files, tmp_path, monkeypatch, first, second, what, complete
):
    path = tmp_path / "x.pack"
    if complete:
        pack(files, path, **first)
    else:
        leave_unfinished(files, path, monkeypatch, **first)
    before = files_in(path)
    with pytest.raises(ValueError, match=f"x.pack holds a pack with other {what} "):
        pack(files, path, **second)
    assert files_in(path) == before


def test_a_folder_with_pictures_of_somebody_else_is_left_alone(files, tmp_path, options):
    (tmp_path / "x.pack").mkdir()
    np.save(tmp_path / "x.pack" / ("files.npy" if options else "pixels.npy"), np.zeros(5))
    before = files_in(tmp_path / "x.pack")
    with pytest.raises(ValueError, match="holds no pack"):
        pack(files, tmp_path / "x.pack", **options)
    assert files_in(tmp_path / "x.pack") == before


def test_a_complete_pack_is_not_made_again(files, tmp_path, monkeypatch, options, capsys):
    pack(files, tmp_path / "x.pack", **options)
    monkeypatch.setattr(appending, "keep", interrupt)
    capsys.readouterr()
    packed = pack(files, tmp_path / "x.pack", **options)
    assert_same_pictures(packed, files.filenames, **options)
    assert not capsys.readouterr().out


def test_what_is_written_wrongly_is_never_called_complete(files, tmp_path, monkeypatch, options):
    right, numbers = appending.checksum, itertools.count()
    monkeypatch.setattr(appending, "checksum", lambda *args: right(*args) ^ (next(numbers) == 33))
    with pytest.raises(PackError, match=r"(pixels|files).npy.*image 33 \(made from 33.jpg\)"):
        pack(files, tmp_path / "x.pack", **options)
    assert not (tmp_path / "x.pack" / "pack.json").exists()


@pytest.mark.parametrize("field", ["label", "name"])
def test_an_index_that_changes_before_it_is_complete_is_noticed(
    files, tmp_path, monkeypatch, field, options
):
    leave_unfinished(files, tmp_path / "x.pack", monkeypatch, **options)
    index = np.load(tmp_path / "x.pack" / "index.npy")
    index[field][17] = index[field][18]
    np.save(tmp_path / "x.pack" / "index.npy", index)
    with pytest.raises(PackError, match=r"index.npy.*not those of the files"):
        pack(files, tmp_path / "x.pack", **options)
    assert not (tmp_path / "x.pack" / "pack.json").exists()


# ---- what interrupts it --------------------------------------------------------------------------


# A program that forks: each child kills itself when it calls a function for the n-th time.
KILLED = """
import os, signal, sys
from helpers import load_folder
from helpers.datasets import appending, packing
folder, options, *moments = sys.argv[1:]
files = load_folder(folder)
for moment in moments:
    if os.fork():
        os.wait()
        continue
    path, owner, name, calls = moment.split()
    owner = {"packing": packing, "appending": appending}.get(owner) or getattr(packing, owner)
    original, calls = getattr(owner, name), [None] * int(calls)
    def kill(*args, **kwargs):
        calls.pop()
        if not calls:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)
    setattr(owner, name, kill)
    packing.pack(files, path, **eval(options))
    os._exit(0)
"""


def test_killed_at_any_moment_the_next_call_goes_on(tmp_path, options):
    folder = tmp_path / "pictures"
    for number in range(300):
        path = folder / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_picture(path, 20, 20 + number % 3, seed=number)
    files = helpers.load_folder(folder)
    moments = [
        "packed write_note 1",
        "packing append_rest 1",
        "appending _cut_to_whole_rows 1",
        "appending _keep_each 1",
        "appending _keep_each 20",
        "appending checksum 290",
        "packing _finish 1",
        "packed read_all 1",
        "packed write_note 2",
        "Path replace 1",
        "Path replace 2",
        "Path unlink 1",
    ]
    paths = [tmp_path / f"{number}.pack" for number in range(len(moments))]
    arguments = [f"{path} {moment}" for path, moment in zip(paths, moments, strict=True)]
    with child(KILLED, folder, repr(options), *arguments) as process:
        process.communicate(timeout=60)
    for path, moment in zip(paths, moments, strict=True):
        assert (path / "pack.json").exists() == (moment == "Path unlink 1"), moment
        if moment != "Path unlink 1":
            with pytest.raises(PackError, match="Call pack again"):
                load_pack(path)
        assert_same_pictures(pack(files, path, **options), files.filenames, **options)
    notes = {(path / "pack.json").read_text() for path in paths}
    assert len(notes) == 1  # so what was lost is counted as if nobody had been killed


FULL = """
import resource, sys
from helpers import load_folder
from helpers.datasets import packing
folder, path, limit, options = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
packing.pack(load_folder(folder), path, **eval(options))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no resource limits")
@pytest.mark.parametrize("limit", [50, 250_000])
@pytest.mark.parametrize("options", [{}, {"contents": "files"}, JPEG | {"image_size": (160, 120)}])
def test_a_full_disk_is_one_clear_error_and_the_next_call_goes_on(tmp_path, limit, options):
    folder = tmp_path / "pictures"
    for number in range(100):
        path = folder / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_picture(path, 60, 40, seed=number)
    with child(FULL, folder, tmp_path / "x.pack", limit, options) as process:
        errors = process.communicate(timeout=60)[1]
    last = errors.strip().splitlines()[-1]
    found = re.search(r"OSError: .*There is no room for .*x.pack .*about ([\d.]+) MB more", last)
    assert found, errors
    assert last.endswith("call again to go on")
    pack(helpers.load_folder(folder), tmp_path / "x.pack", **options)
    whole = sum(len(content) for content in files_in(tmp_path / "x.pack").values())
    assert float(found[1]) == pytest.approx((whole - limit) / 1e6, rel=0.2)


TWO = """
import os, sys, time
from helpers import load_folder
from helpers.datasets import appending, packing
folder, path, go = sys.argv[1:]
sys.stdout.reconfigure(line_buffering=True)
keep = appending.keep
def late(*arguments):
    sys.stdout.write("packs\\n")  # at once, whichever thread it is
    while not os.path.exists(go):
        time.sleep(0.01)
    return keep(*arguments)
appending.keep = late
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
