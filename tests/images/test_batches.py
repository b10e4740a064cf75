import math
import os
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from drawn import FORMATS, encode, kinds, paint, reference, sizes
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers.datasets.image_files import ImageFiles
from helpers.datasets.packed import load_pack
from helpers.datasets.packing import pack
from helpers.images import batches, reading
from helpers.images.arrays import batch_bytes, empty_arrays
from helpers.images.batches import Watch, expanded, load_batch, load_smallest
from helpers.images.laps import WORK
from helpers.images.orientation import ORIENTATION
from helpers.images.reading import ImageError, read_image
from helpers.images.recipe import Recipe
from helpers.images.request import BatchRequest, LoadedBatch
from helpers.images.resizing import resize_image, write_resized
from helpers.images.shrinking import Draft

# ---- load_batch ----------------------------------------------------------------------------------


@pytest.fixture
def pictures(save):
    """Five files of different sizes and kinds."""
    names = []
    for number, (height, width) in enumerate([(20, 30), (32, 32), (60, 10), (1, 1), (70, 90)]):
        image = Image.fromarray(paint("noise", height, width, seed=number))
        names.append(save(encode(image, "PNG"), f"{number}.png"))
    return names


@pytest.fixture
def broken(save):
    return save(FORMATS["PNG"][:100], "broken.png")


SIZE = (24, 28)


def test_load_batch_keeps_the_order(pictures):
    for names in (pictures, pictures[::-1], [pictures[1]] * 3):
        loaded = load_batch(BatchRequest(names, Recipe(SIZE)))
        assert isinstance(loaded, LoadedBatch)
        assert loaded.images.shape == (len(names), *SIZE, 3)
        assert loaded.images.dtype == np.float32
        assert loaded.images.ctypes.data % 64 == 0
        assert (loaded.positions, loaded.errors) == (list(range(len(names))), [])
        for row, name in zip(loaded.images, names, strict=True):
            expected = reference(np.asarray(Image.open(name)), SIZE)
            np.testing.assert_allclose(row, expected, rtol=0, atol=1e-5)


@given(shape=sizes, image_size=sizes, kind=kinds)
@settings(max_examples=25, deadline=None)
def test_load_batch_of_uint8_rounds(scratch_file, shape, image_size, kind):
    image = paint(kind, *shape, seed=5)
    scratch_file.write_bytes(encode(Image.fromarray(image), "BMP"))
    (row,) = load_batch(BatchRequest([str(scratch_file)], Recipe(image_size, "uint8"))).images
    assert row.dtype == np.uint8
    np.testing.assert_array_equal(row, np.rint(255 * resize_image(image, image_size)))
    expected = 255 * reference(image, image_size)
    assert np.abs(row - np.rint(expected)).max() <= 1
    clear = np.abs(expected % 1 - 0.5) > 0.003  # neither this side of one half nor that
    np.testing.assert_array_equal(row[clear], np.rint(expected[clear]))


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_load_batch_writes_to_the_array_given(pictures, dtype):
    request = BatchRequest(pictures, Recipe(SIZE, dtype))
    images = np.full((5, *SIZE, 3), 77, dtype)
    loaded = load_batch(request, [images])
    assert np.shares_memory(loaded.images, images)
    np.testing.assert_array_equal(images, load_batch(request).images)


def test_load_batch_raises_and_names_the_file(pictures, broken):
    with pytest.raises(ImageError) as caught:
        load_batch(BatchRequest([*pictures, broken], Recipe(SIZE)))
    assert caught.value.filename == broken


@pytest.mark.parametrize("place", [0, 2, 5])
def test_skip_errors_leaves_out_and_reports(pictures, broken, tmp_path, place):
    gone = str(tmp_path / "gone.png")
    names = [*pictures[:place], broken, gone, *pictures[place:]]
    loaded = load_batch(BatchRequest(names, Recipe(SIZE), skip_errors=True))
    assert [names[position] for position in loaded.positions] == pictures
    assert [error.filename for error in loaded.errors] == [broken, gone]
    assert all(isinstance(error, ImageError) for error in loaded.errors)
    np.testing.assert_array_equal(
        loaded.images, load_batch(BatchRequest(pictures, Recipe(SIZE))).images
    )


def test_a_batch_with_every_file_broken_raises(broken, tmp_path):
    names = [broken, str(tmp_path / "gone.png")]
    with pytest.raises(ImageError, match="none of the 2 files") as caught:
        load_batch(BatchRequest(names, Recipe(SIZE), skip_errors=True))
    assert caught.value.filename == broken


def test_a_picture_that_claims_more_pixels_than_the_request_allows_is_refused(pictures):
    with pytest.raises(ImageError) as caught:
        load_batch(BatchRequest(pictures, Recipe(SIZE, max_pixels=70 * 90 - 1)))
    assert caught.value.filename == pictures[4]
    assert len(load_batch(BatchRequest(pictures, Recipe(SIZE, max_pixels=70 * 90))).images) == 5


# ---- what is noticed on the way ------------------------------------------------------------------


@pytest.fixture
def dark(save):
    """A picture of 16 bits that comes out nearly black."""
    return save(cv2.imencode(".png", np.full((9, 9), 200, np.uint16))[1].tobytes(), "dark.png")


class Listening(Watch):
    """Notes what it is told; each picture that is decoded has a remark, and the last one two."""

    def __init__(self):
        self.told = []

    def begin(self, position):
        self.told.append(position)

    def heard(self):
        self.told.append("heard")
        return ["a remark", "another"] if self.told.count("heard") == 2 else ["a remark"]

    def stop_listening(self):
        self.told.append("stop")


@pytest.mark.parametrize("load", [load_batch, lambda request: travelled(request)[0]])
def test_a_doubtful_picture_is_named_and_its_neighbours_are_not(pictures, dark, load):
    assert load(BatchRequest(pictures, Recipe(SIZE))).suspects == ()
    [(filename, remark)] = load(BatchRequest([*pictures, dark, *pictures], Recipe(SIZE))).suspects
    assert filename == dark
    assert "nearly black" in remark


def test_a_watch_is_told_where_the_work_is(pictures):
    for augment in (None, nothing):
        watch = Listening()
        request = BatchRequest(pictures[:2], Recipe(SIZE), augment=augment, seeds=[(0,)] * 2)
        suspects = load_batch(request, watch=watch).suspects
        after_each = ["stop"] if augment else []  # what augment says is not about the file
        one, two = ([number, "heard", *after_each] for number in range(2))
        assert watch.told == [*one, *two, "stop"]
        remarks = [(pictures[0], "a remark"), (pictures[1], "a remark"), (pictures[1], "another")]
        assert suspects == tuple(remarks)


def test_nobody_listens_after_an_error(pictures, broken):
    watch = Listening()
    with pytest.raises(ImageError):
        load_batch(BatchRequest([pictures[0], broken], Recipe(SIZE)), watch=watch)
    assert watch.told == [0, "heard", 1, "heard", "stop"]


def test_remarks_on_a_file_that_is_left_out_are_left_out(pictures, broken):
    request = BatchRequest([broken, *pictures], Recipe(SIZE), skip_errors=True)
    loaded = load_batch(request, watch=Listening())
    assert broken not in {filename for filename, _ in loaded.suspects}
    assert {filename for filename, _ in loaded.suspects} == set(pictures)


@pytest.mark.parametrize("form", ["compact", "list"])
def test_a_watch_is_told_where_the_work_is_in_a_pack(pictures, tmp_path, form):
    pack(ImageFiles(pictures, [0] * 5, ["a"]), tmp_path / "some.pack")
    names = load_pack(tmp_path / "some.pack").filenames
    watch = Listening()
    load_batch(BatchRequest(names if form == "compact" else list(names), Recipe(SIZE)), watch=watch)
    assert watch.told == [0, 1, 2, 3, 4, "stop"]


# ---- augment -------------------------------------------------------------------------------------


def augmented(names, augment, dtype="float32", **options):
    seeds = [(7, 0, number) for number in range(len(names))]
    return load_batch(BatchRequest(names, Recipe(SIZE, dtype), augment, seeds, **options))


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_augment_gets_the_resized_picture_and_its_own_generator(pictures, broken, dtype):
    received = []

    def augment(image, rng):
        received.append((image.copy(), rng.random(5)))
        return image

    augmented([pictures[0], broken, *pictures[1:]], augment, dtype, skip_errors=True)
    plain = load_batch(BatchRequest(pictures, Recipe(SIZE, dtype))).images
    assert [image.dtype for image, _ in received] == [plain.dtype] * 5
    np.testing.assert_array_equal([image for image, _ in received], plain)
    # Position 1 is the broken file: its seed is nobody else's.
    expected = [np.random.default_rng((7, 0, number)).random(5) for number in (0, 2, 3, 4, 5)]
    np.testing.assert_array_equal([numbers for _, numbers in received], expected)


def in_place(image, rng):
    image *= 0.5
    return image


@pytest.mark.parametrize(
    ("augment", "expected"),
    [
        (in_place, lambda batch: batch * np.float32(0.5)),
        (lambda image, rng: image * np.float32(0.5), lambda batch: batch * np.float32(0.5)),
        (lambda image, rng: image.astype(float), lambda batch: batch),
        (lambda image, rng: image.tolist(), lambda batch: batch),
        (lambda image, rng: image[:, ::-1], lambda batch: batch[:, :, ::-1]),
        (lambda image, rng: image[::-1], lambda batch: batch[:, ::-1]),
        (lambda image, rng: np.roll(image, 3, axis=0), lambda batch: np.roll(batch, 3, axis=1)),
    ],
    ids=["in place", "new array", "float64", "list", "flip", "upside down", "roll"],
)
def test_augment_may_change_the_picture_or_return_another(pictures, augment, expected):
    plain = load_batch(BatchRequest(pictures, Recipe(SIZE))).images
    np.testing.assert_array_equal(augmented(pictures, augment).images, expected(plain))


def test_augment_that_flips_uint8(pictures):
    plain = load_batch(BatchRequest(pictures, Recipe(SIZE, "uint8"))).images
    flipped = augmented(pictures, lambda image, rng: image[:, ::-1], "uint8").images
    np.testing.assert_array_equal(flipped, plain[:, :, ::-1])


@pytest.mark.parametrize(
    ("dtype", "augment"),
    [
        ("float32", lambda image, rng: None),
        ("float32", lambda image, rng: image[:-1]),
        ("float32", lambda image, rng: image[..., 0]),
        ("float32", lambda image, rng: image.mean()),
        ("float32", lambda image, rng: (255 * image).astype(np.uint8)),
        ("uint8", lambda image, rng: image / 255),
        ("uint8", lambda image, rng: image.astype(int) + 300),
    ],
    ids=["nothing", "too small", "no channels", "number", "uint8", "float", "int"],
)
def test_augment_that_returns_no_such_picture(pictures, dtype, augment):
    with pytest.raises(RuntimeError, match=r"expected an? .* received") as caught:
        augmented(pictures[1:2], augment, dtype)
    assert pictures[1] in str(caught.value)


def test_augment_that_raises(pictures):
    def augment(image, rng):
        raise ZeroDivisionError("too bright")

    with pytest.raises(RuntimeError, match="ZeroDivisionError: too bright") as caught:
        augmented(pictures[2:3], augment)
    assert pictures[2] in str(caught.value)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


# ---- drafts --------------------------------------------------------------------------------------

PHOTOGRAPHS = {"astronaut": 8, "cat": 4}  # by how much they can be reduced for SIZE


def photograph(name):
    return Image.fromarray(getattr(skimage.data, name)())


@pytest.mark.parametrize("orientation", [1, 3, 6, 7])
@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_a_draft_of_a_photograph_differs_little_and_lies_right(save, name, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encode(photograph(name), "JPEG", quality=90, exif=exif)
    names = [save(data, "photograph.jpg")]
    image, _, draft = reading.decode(data, names[0], Recipe(SIZE, draft=True))
    whole = read_image(names[0])
    assert draft == Draft(PHOTOGRAPHS[name], *whole.shape[:2])
    assert image.shape[:2] == tuple(-(-side // draft.factor) for side in whole.shape[:2])
    for dtype, largest in (("float32", 1), ("uint8", 255)):
        request = BatchRequest(names, Recipe(SIZE, dtype))
        right = load_batch(request).images.astype(float) / largest
        quick = load_batch(BatchRequest(names, Recipe(SIZE, dtype, draft=True))).images / largest
        assert 0 < 255 * np.abs(quick - right).mean() < 1


def test_of_a_draft_the_smaller_picture_travels_and_the_bytes_are_the_same(save):
    names = [
        save(encode(photograph(name), "JPEG", quality=90), f"{name}.jpg") for name in PHOTOGRAPHS
    ]
    for dtype in ("float32", "uint8"):
        request = BatchRequest(names, Recipe(SIZE, dtype, draft=True))
        smallest = load_smallest(request)
        assert len(smallest) < batch_bytes(request.layout, len(names)) + 1000
        loaded = expanded(smallest, request, empty_arrays(request.layout, len(names)))
        np.testing.assert_array_equal(loaded.images, load_batch(request).images)


def test_what_is_no_large_jpeg_has_no_draft(save, pictures):
    small = save(encode(photograph("cat").resize((4 * 28, 4 * 24 - 1)), "JPEG"), "small.jpg")
    photo = save(encode(photograph("cat"), "PNG"), "cat.png")
    names = [*pictures, small, photo]
    whole, draft = (
        load_batch(BatchRequest(names, Recipe(SIZE, draft=draft))).images for draft in (False, True)
    )
    np.testing.assert_array_equal(draft, whole)


@given(
    size=st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
    image_size=st.tuples(st.integers(1, 400), st.integers(1, 400)),
)
def test_a_draft_is_the_smallest_that_is_twice_as_large(size, image_size):
    draft = reading._choose_draft(size, image_size)
    factor = draft.factor if draft else 1

    def is_enough(factor):
        return all(a >= 2 * factor * b for a, b in zip(size, image_size, strict=True))

    assert factor == 1 or is_enough(factor)
    assert factor == 8 or not is_enough(2 * factor)


# ---- times ---------------------------------------------------------------------------------------


def slowed(function):
    def slow(*arguments, **options):
        time.sleep(0.01)
        return function(*arguments, **options)

    return slow


SLOW = {
    "read": lambda patch: patch.setattr(reading, "open", slowed(open), raising=False),
    "decode": lambda patch: patch.setattr(cv2, "imdecode", slowed(cv2.imdecode)),
    "resize": lambda patch: patch.setattr(batches, "write_resized", slowed(write_resized)),
}


def nothing(image, rng):
    return image


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("kind", WORK)
def test_time_is_counted_as_the_kind_of_work_that_took_it(pictures, monkeypatch, kind, dtype):
    SLOW.get(kind, lambda patch: None)(monkeypatch)
    augment = slowed(nothing) if kind == "augment" else nothing
    seconds = augmented(pictures, augment, dtype).times.seconds
    assert list(seconds) == list(WORK)
    assert seconds[kind] >= 0.01 * len(pictures)
    assert all(seconds[other] < seconds[kind] for other in WORK if other != kind)
    assert all(seconds[other] > 0 for other in WORK)


def test_times_add_up_to_what_passed(pictures):
    start = time.perf_counter()
    times = augmented(pictures, slowed(nothing)).times
    passed = time.perf_counter() - start
    assert start <= times.start
    assert times.start + sum(times.seconds.values()) <= start + passed
    assert 0.01 * len(pictures) <= sum(times.seconds.values())


def test_without_augment_no_time_is_counted_for_it(pictures):
    assert load_batch(BatchRequest(pictures, Recipe(SIZE))).times.seconds["augment"] == 0


def test_times_tell_who_made_a_batch(pictures):
    request = BatchRequest(pictures, Recipe(SIZE))
    with ThreadPoolExecutor(1) as executor:
        thread = executor.submit(threading.get_ident).result(timeout=60)
        times = executor.submit(load_batch, request).result(timeout=60).times
    assert (times.process, times.thread) == (os.getpid(), thread)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        process = executor.submit(os.getpid).result(timeout=60)
        start = time.perf_counter()
        loaded = executor.submit(load_batch, request).result(timeout=60)
    assert loaded.times.process == process != os.getpid()
    assert start <= loaded.times.start <= time.perf_counter()  # the same clock


def test_times_tell_for_how_long_a_core_computed(pictures):
    def compute(image, rng):
        end = time.thread_time() + 0.01
        while time.thread_time() < end:
            pass
        return image

    assert augmented(pictures, compute).times.cpu >= 0.01 * len(pictures)
    times = augmented(pictures, slowed(nothing)).times
    assert times.cpu < sum(times.seconds.values())


def test_time_for_a_file_that_is_skipped_is_counted(pictures, broken, tmp_path, monkeypatch):
    gone = str(tmp_path / "gone.png")
    names = [broken, *pictures, broken, gone]
    plain = load_batch(BatchRequest(names, Recipe(SIZE), skip_errors=True)).times
    assert all(plain.seconds[kind] > 0 for kind in ("read", "decode", "resize"))
    SLOW["read"](monkeypatch)
    loaded = load_batch(BatchRequest(names, Recipe(SIZE), skip_errors=True))
    assert len(loaded.positions) == len(pictures)
    # All but the last file were opened; how long the last one took goes to what comes next.
    assert loaded.times.seconds["read"] >= 0.01 * (len(names) - 1)


# ---- over a network ------------------------------------------------------------------------------


def travelled(request):
    """The batch, by way of a network; and the arrays that travelled."""
    smallest = load_smallest(request)
    arrays = empty_arrays(request.layout, len(request.filenames))
    loaded = expanded(smallest, request, arrays)
    return loaded, [images[0] for images in pickle.loads(smallest).arrays]


def mirror_and_darken(image, rng):
    return (image[:, ::-1] * rng.uniform(0.2, 1)).astype(image.dtype)


@given(
    shape=sizes,
    image_size=sizes,
    kind=kinds,
    dtype=st.sampled_from(["float32", "uint8"]),
    augment=st.sampled_from([None, mirror_and_darken]),
)
@example(shape=(9, 9), image_size=(9, 9), kind="noise", dtype="float32", augment=None)
@example(shape=(9, 9), image_size=(9, 9), kind="noise", dtype="uint8", augment=None)
@example(shape=(6, 12), image_size=(9, 8), kind="noise", dtype="uint8", augment=None)
@settings(max_examples=60, deadline=None)
def test_the_smaller_picture_travels_and_becomes_the_same_bytes(
    scratch_file, shape, image_size, kind, dtype, augment
):
    scratch_file.write_bytes(encode(Image.fromarray(paint(kind, *shape, seed=5)), "BMP"))
    seeds = [(1, 2), (3, 4)]
    request = BatchRequest([str(scratch_file)] * 2, Recipe(image_size, dtype), augment, seeds)
    loaded, arrays = travelled(request)
    expected = load_batch(request)
    assert loaded.images.dtype == dtype and loaded.images.shape == expected.images.shape
    assert loaded.images.tobytes() == expected.images.tobytes()
    assert (loaded.positions, loaded.errors) == (expected.positions, [])
    resized = expected.images[0].nbytes
    own = resized if augment else math.prod(shape) * 3
    assert [array.nbytes for array in arrays] == [min(own, resized)] * 2


def test_what_travels_has_little_beside_the_pictures(pictures):
    request = BatchRequest(pictures * 40, Recipe((200, 200)))
    own = 40 * sum(np.asarray(Image.open(name).convert("RGB")).nbytes for name in pictures)
    assert own < len(load_smallest(request)) < own + 200 * 100 + 1000


@pytest.mark.parametrize("place", [0, 2, 5])
def test_files_left_out_do_not_travel(pictures, broken, place):
    names = [*pictures[:place], broken, *pictures[place:]]
    request = BatchRequest(names, Recipe(SIZE), skip_errors=True)
    loaded, arrays = travelled(request)
    expected = load_batch(request)
    assert len(arrays) == 5
    assert loaded.positions == expected.positions
    assert [error.filename for error in loaded.errors] == [broken]
    assert loaded.images.tobytes() == expected.images.tobytes()


def test_what_cannot_travel_raises_as_load_batch_does(pictures, broken):
    def fail(image, rng):
        raise KeyError("brightness")

    for request in (
        BatchRequest([*pictures, broken], Recipe(SIZE)),
        BatchRequest([broken], Recipe(SIZE), skip_errors=True),
        BatchRequest(pictures, Recipe(SIZE), augment=fail, seeds=[(0,)] * 5),
    ):
        with pytest.raises((ImageError, RuntimeError)) as expected:
            load_batch(request)
        with pytest.raises(type(expected.value)) as caught:
            load_smallest(request)
        assert str(caught.value) == str(expected.value)


@pytest.mark.parametrize("load", [load_batch, lambda request: travelled(request)[0]])
def test_names_begin_in_the_folder_of_the_request(pictures, tmp_path, monkeypatch, load):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    relative = [Path(name).name for name in pictures]
    expected = load_batch(BatchRequest(pictures, Recipe(SIZE))).images
    for names, folder in ((relative, str(tmp_path)), (pictures, str(elsewhere))):
        loaded = load(BatchRequest(names, Recipe(SIZE), folder=folder))
        np.testing.assert_array_equal(loaded.images, expected)
    with pytest.raises(ImageError) as caught:
        load(BatchRequest(["gone.png"], Recipe(SIZE), folder=str(tmp_path)))
    assert caught.value.filename == "gone.png"  # as the user called it


# ---- imports ------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["helpers.images.batches", "helpers.loading.loaders"])
def test_a_worker_imports_little(tmp_path, module):
    command = f"import sys, {module}; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    imported = {name.partition(".")[0] for name in run.stdout.split()}
    assert {"helpers", "cv2", "numpy"} <= imported
    heavy = {"keras", "tensorflow", "skimage", "scipy", "matplotlib", "pandas", "PIL"}
    assert not imported & heavy
