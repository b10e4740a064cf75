import contextlib
import copy
import multiprocessing
import os
import pickle
import random
import re
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import keras
import numpy as np
import pandas as pd
import pytest
import skimage.data
import tensorflow as tf
from augments import flip_and_brighten, mix_up
from hypothesis import given, settings
from hypothesis import strategies as st
from noting import (
    PROCESSES,
    SIZE,
    WAYS,
    Generator,
    NewEpochs,
    Recorder,
    checksums_of,
    contents,
    fit,
    labels_of,
    note,
    numbers_of,
    recorder,
    samples_of,
    write_masks,
)
from skimage.io import imread
from skimage.transform import resize

from helpers import (
    ImageError,
    ImageFiles,
    Masks,
    MY_Generator,
    balanced_order,
    load_pack,
    pack,
    read_image,
    resize_image,
)
from helpers.generators.order import epoch_order


@pytest.fixture(scope="module")
def checksums(pictures):
    return checksums_of(pictures)


@pytest.fixture(scope="module")
def threads():
    with ThreadPoolExecutor(4) as executor:
        yield executor


# ---- exactly once -------------------------------------------------------------------------------

lengths, batch_sizes = st.integers(1, 70), st.integers(1, 20)


@settings(max_examples=10, deadline=None)
@given(count=lengths, batch_size=batch_sizes, shuffle=st.booleans(), workers=st.integers(0, 3))
def test_every_sample_comes_once_an_epoch_in_an_executor(
    pictures, checksums, threads, count, batch_size, shuffle, workers
):
    generator = Generator(
        pictures[:count],
        range(count),
        batch_size,
        shuffle=shuffle,
        workers=workers,
        executor=threads,
    )
    for epoch in fit(generator, epochs=2):
        assert samples_of(epoch) == checksums[:count]


@pytest.mark.slow
def test_the_same_bytes_in_the_same_order_whoever_makes_them(pictures, threads):
    def shift(image, rng):
        return image + rng.random(dtype=np.float32)

    def generator_with(**how):
        options = {"shuffle": True, "seed": 7, "augment": shift}
        return Generator(pictures[:23], range(23), 4, **options, **how)

    def epochs_with(**how):
        with generator_with(**how) as generator:
            return fit(generator, epochs=3)

    direct = generator_with()
    expected = [[note(*direct.batch(epoch, index)) for index in range(6)] for epoch in range(3)]
    assert samples_of(expected[0]) != samples_of(expected[1])  # other random numbers
    assert epochs_with(workers=0) == expected
    assert epochs_with(workers=1) == expected
    assert epochs_with(workers=2) == expected
    assert epochs_with(workers=16, max_queue_size=1) == expected
    assert epochs_with(workers=3, executor=threads) == expected
    assert epochs_with(workers=2, use_multiprocessing=True) == expected


def test_fit_goes_on_with_new_orders_where_it_ended(pictures):
    generator = Generator(pictures[:20], range(20), 5, shuffle=True, workers=2)
    epochs = [numbers_of(epoch) for _ in range(2) for epoch in fit(generator, epochs=2)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(20))] * 4
    assert all(epochs[i] != epochs[j] for i in range(4) for j in range(i))


def test_setting_epoch_goes_back_and_on(pictures):
    generator = Generator(pictures[:20], range(20), 5, shuffle=True)
    whole = fit(generator, epochs=3)
    assert generator.epoch == 3
    generator.epoch = 0
    assert fit(generator, epochs=2) == whole[:2]
    another = Generator(pictures[:20], range(20), 5, shuffle=True)
    another.epoch = generator.epoch
    assert fit(another) == whole[2:]


# ---- one pass, whatever else reads, and however fit cuts it --------------------------------------


def reads_in_the_middle(read):
    """A callback that reads the training's own generator after its fifth batch."""
    return keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: batch != 4 or read()
    )


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(("steps", "epochs"), [(10, 4), (5, 8), (1, 40), (20, 2)])
def test_every_sample_comes_once_a_pass_however_fit_cuts_it(pictures, steps, epochs, shuffle):
    generator = Generator(pictures[:60], range(60), 3, shuffle=True)
    numbers = numbers_of(
        batch for epoch in fit(generator, epochs, shuffle, steps_per_epoch=steps) for batch in epoch
    )
    assert sorted(numbers[:60]) == sorted(numbers[60:]) == list(range(60))
    assert numbers[:60] != numbers[60:]
    assert generator.epoch == 2


def test_steps_that_do_not_divide_the_batches(pictures):
    generator = Generator(pictures[:60], range(60), 3, shuffle=True)
    with pytest.warns(UserWarning, match="ran out of data"):
        epochs = fit(generator, 6, steps_per_epoch=8)
    assert [len(epoch) for epoch in epochs] == [8, 8, 4] * 2
    numbers = numbers_of(batch for epoch in epochs for batch in epoch)
    assert sorted(numbers[:60]) == sorted(numbers[60:]) == list(range(60))


def test_steps_after_a_training_that_was_broken_off(pictures):
    generator = Generator(pictures[:60], range(60), 3, shuffle=True)

    def stop():
        raise InterruptedError

    with pytest.raises(InterruptedError):
        recorder.fit(generator, verbose=0, callbacks=[NewEpochs(), reads_in_the_middle(stop)])
    assert generator.epoch == 0
    numbers = numbers_of(
        batch for epoch in fit(generator, 8, True, steps_per_epoch=5) for batch in epoch
    )
    assert sorted(numbers[:60]) == sorted(numbers[60:]) == list(range(60))


def test_fit_shuffle_only_shuffles_whole_batches(pictures):
    generator = Generator(pictures, range(70), 4)
    random.seed(0)
    [epoch] = fit(generator, shuffle=True)
    [in_order] = fit(generator)
    assert epoch != in_order
    assert sorted(epoch) == in_order


# ---- pure ---------------------------------------------------------------------------------------


def draw(image, rng):
    """An augmentation that leaves its random number in the picture."""
    image[...] = rng.random()
    return image


def numbers_drawn(generator, epoch):
    """{sample: the random number that `draw` got}."""
    drawn = {}
    for index in range(len(generator)):
        images, labels = generator.batch(epoch, index)
        drawn.update(zip(labels.tolist(), images[:, 0, 0, 0].tolist(), strict=True))
    return drawn


def test_a_batch_is_the_same_in_any_order_and_from_any_generator(pictures, threads):
    options = {"shuffle": True, "augment": draw, "seed": 5}
    one, other = (Generator(pictures[:13], range(13), 4, **options) for _ in range(2))
    asked = [(epoch, index) for epoch in range(4) for index in range(4)]
    expected = {batch: note(*one.batch(*batch)) for batch in asked}
    for batch in random.Random(1).sample(asked * 3, len(asked) * 3):
        assert note(*other.batch(*batch)) == expected[batch]
    at_once = threads.map(lambda batch: note(*one.batch(*batch)), asked * 3)
    assert list(at_once) == [expected[batch] for batch in asked * 3]


def test_indexing_gives_the_current_epoch(pictures):
    generator = Generator(pictures[:9], range(9), 4, shuffle=True)
    assert note(*generator[1]) == note(*generator.batch(0, 1))
    generator.on_epoch_end()
    assert generator.epoch == 1
    assert note(*generator[1]) == note(*generator.batch(1, 1)) != note(*generator.batch(0, 1))


def test_without_shuffle_and_augment_every_epoch_is_the_same(pictures):
    generator = Generator(pictures[:9], range(9), 4)
    assert note(*generator.batch(0, 1)) == note(*generator.batch(5, 1))


def test_random_numbers_depend_on_seed_epoch_and_sample_only(pictures):
    def drawn(epoch=3, batch_size=4, **options):
        generator = Generator(pictures[:15], range(15), batch_size, augment=draw, **options)
        return numbers_drawn(generator, epoch)

    expected = drawn()
    assert len(set(expected.values())) == 15
    assert drawn(batch_size=7) == drawn(batch_size=1) == expected
    assert drawn(shuffle=True) == drawn(shuffle=True, batch_size=15) == expected
    for others in (drawn(epoch=4), drawn(seed=1)):
        assert not set(others.values()) & set(expected.values())


# ---- pictures and labels ------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(12, 12), (200, 200), (4, 31), (33, 5), (1, 1)])
def test_pictures_equal_those_of_scikit_image(pictures, size):
    for filename in pictures[:12]:
        picture = imread(filename)
        shrinking = any(old > new for old, new in zip(picture.shape, size, strict=False))
        expected = resize(picture, size, mode="edge", anti_aliasing=shrinking)
        as_float, as_bytes = (
            MY_Generator([filename], [0], 1, image_size=size, dtype=dtype)[0][0][0]
            for dtype in ("float32", "uint8")
        )
        assert as_float.dtype == np.float32
        assert as_bytes.dtype == np.uint8
        np.testing.assert_allclose(as_float, expected, rtol=0, atol=1e-5)
        assert np.array_equal(as_bytes, np.rint(255 * as_float))


@pytest.mark.parametrize("dtype", ["float32", np.float32, np.dtype("float32"), "uint8", np.uint8])
def test_a_type_may_be_given_in_any_way(pictures, dtype):
    assert Generator(pictures[:1], [0], 1, dtype=dtype)[0][0].dtype == dtype


@pytest.mark.parametrize("how", [{}, {"executor": "threads"}], ids=["alone", "executor"])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_batches_start_on_64_byte_boundaries(pictures, request, dtype, how):
    how = {name: request.getfixturevalue(value) for name, value in how.items()}
    generator = Generator(pictures[:5], range(5), 2, dtype=dtype, **how)
    batches = [generator[index][0] for index in range(3)]
    assert [len(images) for images in batches] == [2, 2, 1]
    for images in batches:
        assert images.shape[1:] == (*SIZE, 3)
        assert images.ctypes.data % 64 == 0
        assert images.flags.c_contiguous


@pytest.mark.parametrize(
    "labels",
    [
        [5, 3, 1],
        np.eye(3),
        np.arange(12).reshape(3, 2, 2),
        [0.5, 1.5, 2.5],
        pd.Series([1, 2, 3], index=[9, 9, 0]),
        pd.get_dummies(["a", "b", "a"]),
    ],
    ids=["int", "one-hot", "2-D", "float", "series", "frame"],
)
def test_labels_of_any_shape(pictures, labels):
    generator = Generator(pictures[:3], labels, 2)
    parts = [generator[index][1] for index in range(2)]
    assert [len(part) for part in parts] == [2, 1]
    together = np.concatenate(parts)
    assert np.array_equal(together, np.array(labels))
    assert together.dtype == np.array(labels).dtype


@pytest.mark.parametrize(
    "as_given",
    [list, tuple, np.array, lambda names: pd.Series(names, index=[7, 7, 0]), partial(map, Path)],
    ids=["list", "tuple", "array", "series", "paths"],
)
def test_file_names_of_any_kind(pictures, checksums, as_given):
    generator = Generator(as_given(pictures[:3]), range(3), 2)
    assert [note(*generator[index]) for index in range(2)] == [checksums[:2], checksums[2:3]]


COMPACT = {"StringDType": np.dtypes.StringDType(), "fixed width": np.str_}


@pytest.mark.parametrize("dtype", COMPACT.values(), ids=COMPACT)
def test_an_array_of_names_is_not_copied_or_looked_through(pictures, checksums, dtype):
    names = np.array(pictures, dtype)
    generator = Generator(names, range(70), 8, shuffle=True)
    assert generator.filenames is names
    assert samples_of(fit(generator)[0]) == list(checksums)
    assert {type(name) for name in generator._request(0, 0, np.arange(3)).filenames} == {str}


def test_relative_names_mean_this_programs_folder(pictures, checksums, monkeypatch):
    generator = Generator(pictures, range(70), 70, **PROCESSES)
    with generator:
        generator[0]  # the workers start here
        monkeypatch.chdir(Path(pictures[0]).parent)
        elsewhere = Generator([Path(name).name for name in pictures], range(70), 70)
        elsewhere._read_ahead = generator._read_ahead
        assert note(*elsewhere[0]) == checksums


# ---- yours to keep ------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2, "executor"])
def test_batches_and_slices_that_are_kept_never_change(pictures, threads, workers):
    how = {"executor": threads} if workers == "executor" else {"workers": workers}
    kept = []

    class Keeping(Generator.func):
        def __getitem__(self, index):
            images, labels = super().__getitem__(index)
            for part in (images[0], images[-1:, ::2], images.reshape(-1)[3:9]):
                kept.append((part, part.copy()))
            if index % 3 == 0:
                kept.append((images, images.copy()))
            return images, labels

    generator = Keeping(pictures, range(70), 6, image_size=SIZE, shuffle=True, **how)
    fit(generator, epochs=3)
    assert len(kept) >= 3 * 3 * len(generator)
    assert all(np.array_equal(now, then) for now, then in kept)


def test_tensors_that_are_kept_never_change(pictures):
    kept = []

    class Keeping(Recorder):
        def train_step(self, data):
            kept.append((data[0], data[0].numpy().copy()))
            return {"loss": 0.0}

    generator = MY_Generator(pictures, range(70), 14, image_size=(64, 64), shuffle=True, workers=2)
    Keeping().fit(generator, epochs=3, verbose=0)
    assert len(kept) == 15
    assert all(np.array_equal(now.numpy(), then) for now, then in kept)


def test_what_happens_to_the_callers_lists_does_not_matter(pictures):
    names, labels = pictures[:6], np.arange(6)
    generator = Generator(names, labels, 4)
    before = note(*generator[0])
    _, numbers = generator[0]
    names.reverse()
    labels[:] = -1
    numbers[:] = -2
    assert note(*generator[0]) == before
    assert len(generator) == 2


# ---- batches that there are ---------------------------------------------------------------------


def test_a_batch_that_does_not_exist(pictures):
    generator = Generator(pictures[:5], range(5), 2)
    for index in (3, -4, 100):
        with pytest.raises(IndexError, match=f"batch {index} asked for; there are 3"):
            generator[index]
    assert note(*generator[-1]) == note(*generator[2])
    assert note(*generator[-3]) == note(*generator[0])
    assert len(list(generator)) == 3


@pytest.mark.parametrize("index", [slice(0, 1), 1.5, "0", None])
def test_an_index_that_is_no_whole_number(pictures, index):
    with pytest.raises(TypeError, match=re.escape(repr(index))):
        Generator(pictures, range(70), 8)[index]


def test_an_epoch_before_the_first(pictures):
    with pytest.raises(ValueError, match="epoch must be at least 0; received -1"):
        Generator(pictures, range(70), 8, shuffle=True).batch(-1, 0)


def test_its_text_says_what_it_is(pictures):
    assert repr(MY_Generator(pictures, range(70), 32)) == (
        "MY_Generator(70 files, 3 batches of 32, 200×200, float32)"
    )


# ---- broken files -------------------------------------------------------------------------------


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("position", [1, 17])  # Keras looks at the first two batches before it fits
def test_a_broken_file_is_named_by_fit_and_mending_it_is_enough(
    pictures, broken_file, how, position
):
    names = pictures[:20]
    names[position] = broken_file
    with (
        Generator(names, range(20), 4, **how) as generator,
        pytest.raises(Exception, match=r"(?s)broken\.png") as raised,
    ):
        fit(generator)
    assert "ImageError" in f"{type(raised.value).__name__}: {raised.value}"
    with Generator(pictures[:20], range(20), 4, **how) as mended:
        [epoch] = fit(mended)
    assert labels_of(epoch) == np.arange(20).reshape(5, 4).tolist()


def test_a_broken_file_is_an_image_error(pictures, broken_file):
    generator = Generator([pictures[0], broken_file], range(2), 2)
    with pytest.raises(ImageError, match=re.escape(broken_file)):
        generator[0]


def test_a_broken_file_whose_name_is_no_utf_8_is_named_by_fit(pictures, tmp_path):
    name = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")
    Path(name).write_bytes(b"no picture")
    with pytest.raises(Exception, match=r"ImageError: .*caf\\+udce9\.png: is no image"):
        fit(Generator([*pictures[:2], name], range(3), 1))  # Keras looks at two batches itself


@pytest.fixture
def photographs(save):
    """JPEG files that are shrunk by little, by much, and by so much that drafts are made."""
    names = []
    for number, side in enumerate((9, 20, 300, 1100)):
        image = np.resize(skimage.data.astronaut(), (side, side + 9, 3))
        names.append(save(cv2.imencode(".jpg", image)[1].tobytes(), f"{number}.jpg"))
    return names


@pytest.mark.parametrize("draft", [False, True])
def test_photographs_have_the_same_bytes_whoever_reads_them(photographs, threads, draft):
    exact = np.stack([resize_image(read_image(name), SIZE) for name in photographs])
    for how in ({}, {"workers": 2, "use_multiprocessing": True}, {"executor": threads}):
        with Generator(photographs, range(4), 4, draft=draft, **how) as generator:
            images = generator[0][0]
            previewed = [image for _, image, _ in generator.preview(0, 0)]
            read = [generator.read(name) for name in photographs]
        if not draft:
            np.testing.assert_array_equal(images, exact)
        for others in (previewed, read):
            np.testing.assert_array_equal(images, others)
    np.testing.assert_array_equal(images[:2], exact[:2])  # for which a draft would be too small
    assert draft == (images != exact).any()


def test_read_does_not_augment_and_does_not_skip(pictures, tmp_path):
    generator = Generator(pictures[:4], range(4), 2, augment=np.zeros_like, on_error="skip")
    image = generator.read(Path(pictures[1]))
    np.testing.assert_array_equal(image, resize_image(read_image(pictures[1]), SIZE))
    with pytest.raises(ImageError, match="missing"):
        generator.read(tmp_path / "missing.png")


@pytest.mark.parametrize("how", WAYS)
def test_one_limit_of_pixels_holds_whoever_reads(save, how):
    names = [save(cv2.imencode(".png", np.zeros((10, 10)))[1].tobytes(), "100 pixels.png")]
    refused = pytest.raises(ImageError, match=r"100 pixels\.png: claims 10 × 10 pixels, more than")
    with Generator(names, [0], 1, max_pixels=99, **how) as generator, refused:
        generator[0]
    with Generator(names, [0], 1, max_pixels=100, **how) as generator:
        assert generator[0][0].shape == (1, *SIZE, 3)


def test_a_failing_augmentation_names_the_file(pictures):
    def divide(image, rng):
        return image / 0 if rng is None else 1 / 0

    generator = Generator(pictures[:2], range(2), 2, augment=divide)
    with pytest.raises(RuntimeError, match=re.escape(pictures[0])) as raised:
        generator[0]
    assert isinstance(raised.value.__cause__, ZeroDivisionError)


# ---- shares of several trainers ------------------------------------------------------------------


@st.composite
def shared_epochs(draw):
    """Files, batch size and trainers, such that each step has an image for each trainer."""
    trainers = draw(st.integers(1, 5))
    batch_size = draw(st.integers(1, 7))
    files = draw(st.integers(trainers, 69))
    return (files // trainers * trainers if batch_size == 1 else files), batch_size, trainers


@given(shared_epochs(), st.booleans(), st.integers(0, 3))
def test_shards_share_every_epoch(sizes, shuffle, epoch):
    files, batch_size, trainers = sizes
    names = [str(number) for number in range(files)]
    shards = [
        Generator(names, range(files), batch_size, shuffle=shuffle, shard=(index, trainers))
        for index in range(trainers)
    ]
    together = Generator(names, range(files), batch_size * trainers, shuffle=shuffle)
    assert {len(shard) for shard in shards} == {len(together)}
    seen = []
    for step in range(len(together)):
        shares = [shard.samples(epoch, step) for shard in shards]
        assert all(1 <= len(share) <= batch_size for share in shares)
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
        if files % (batch_size * trainers) in (0, *range(trainers, files)):
            np.testing.assert_array_equal(np.concatenate(shares), together.samples(epoch, step))
        seen += np.concatenate(shares).tolist()
    expected = epoch_order(0, files, epoch).tolist() if shuffle else list(range(files))
    assert seen == expected


def test_shards_through_fit(pictures):
    shards = [
        Generator(pictures, range(70), 4, shuffle=True, shard=(index, 3), workers=index)
        for index in range(3)
    ]
    epochs = [fit(shard, epochs=2) for shard in shards]
    for epoch in range(2):
        shares = [set(numbers_of(of_shard[epoch])) for of_shard in epochs]
        assert sum(map(len, shares)) == 70
        assert set.union(*shares) == set(range(70))
        assert {len(of_shard[epoch]) for of_shard in epochs} == {6}


def test_augmentation_does_not_depend_on_the_shard(pictures):
    alone = Generator(pictures, range(70), 4, shuffle=True, augment=draw)
    drawn = numbers_drawn(alone, 1)
    for index in range(2):
        shard = Generator(pictures, range(70), 2, shuffle=True, augment=draw, shard=(index, 2))
        assert numbers_drawn(shard, 1).items() <= drawn.items()


# ---- going on where an earlier run ended ---------------------------------------------------------


@given(st.integers(1, 69), st.integers(1, 9), st.data())
def test_start_at_leaves_out_what_was_used(count, batch_size, data):
    generator = Generator([str(n) for n in range(count)], range(count), batch_size, shuffle=True)
    whole = len(generator)
    first = data.draw(st.integers(0, whole - 1))
    generator.start_at(3, first)
    assert (generator.epoch, len(generator), generator.batches_per_epoch) == (
        3,
        whole - first,
        whole,
    )
    generator.on_epoch_end()
    assert (generator.epoch, len(generator)) == (4, whole)


@pytest.mark.parametrize("workers", [1, 3])
def test_the_rest_of_an_epoch_and_then_whole_ones(pictures, workers):
    def make():
        return Generator(pictures, range(70), 8, shuffle=True, augment=draw, workers=workers)

    class GoOn(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            generator.start_at(1, 5)

    expected = fit(make(), epochs=3)
    generator = make()
    recorder.forget()
    with pytest.warns(UserWarning, match="ran out of data"):
        recorder.fit(generator, epochs=2, shuffle=False, verbose=0, callbacks=[NewEpochs(), GoOn()])
    assert recorder.epochs == [expected[1][5:], expected[2]]
    generator.start_at(1, 5)
    assert note(*generator[0]) == expected[1][5]
    assert note(*generator[-1]) == expected[1][-1]
    assert note(*generator.batch(1, 0)) == expected[1][0]


@pytest.mark.parametrize(("epoch", "batch"), [(-1, 0), (0, -1), (0, 9), (0, 100)])
def test_a_start_that_does_not_exist(pictures, epoch, batch):
    with pytest.raises(ValueError, match="must be at"):
        Generator(pictures, range(70), 8).start_at(epoch, batch)


# ---- predict and evaluate -----------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 4])
def test_predict_and_evaluate_go_through_the_files_in_order(pictures, workers):
    generator = Generator(pictures[:21], np.linspace(0, 1, 21), 4, workers=workers)
    images = np.concatenate([images for images, _ in generator])
    means = images.mean((1, 2, 3))
    average = keras.Sequential(
        [
            keras.Input((*SIZE, 3)),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(1, "linear", False, keras.initializers.Constant(1 / 3)),
        ]
    )
    average.compile(loss="mse")
    np.testing.assert_allclose(average.predict(generator, verbose=0)[:, 0], means, atol=1e-6)
    error = average.evaluate(generator, verbose=0)
    assert error == pytest.approx(np.mean((means - np.linspace(0, 1, 21)) ** 2), rel=1e-4)


# ---- all at once ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def everything(pictures, tmp_path_factory):
    """Make a generator that uses all there is; one of its pictures is broken, and one mask."""
    folder = tmp_path_factory.mktemp("everything")

    def noise(number, shape):
        return np.random.default_rng(number).integers(0, 9, shape, np.uint8)

    masks = write_masks(folder, pictures[:24], noise)
    broken = folder / "broken.png"
    broken.write_bytes(b"no picture")
    left, right = pictures[:24], pictures[24:48]
    right[20] = masks[15] = str(broken)  # of classes that all epochs have whole
    classes = np.repeat([0, 1, 2], [14, 6, 4])
    ages = np.linspace(0, 1, 24, dtype=np.float32)

    def make(**options):
        return Generator(
            {"left": left, "right": right, "age": ages},
            {"class": classes, "mask": Masks(masks)},
            options.pop("batch_size", 5),
            sample_weight={"class": ages + 1},
            augment=flip_and_brighten,
            order=balanced_order(classes),
            crop_to_aspect_ratio=True,
            on_error="skip",
            **{"augment_batch": mix_up, "seed": 4, **options},
        )

    return make


@pytest.fixture(scope="module")
def expected(everything):
    """What each batch of two epochs holds."""
    generator = everything(workers=0)
    return [[contents(generator.batch(epoch, index)) for index in range(5)] for epoch in range(2)]


EVERY_WAY = {
    "none": {"workers": 0},
    "2 threads": {"workers": 2},
    "16 threads": {"workers": 16},
    "2 processes": PROCESSES,
    "16 processes": {"workers": 16, "use_multiprocessing": True},
    "executor": {"executor": partial(ThreadPoolExecutor, 3), "workers": 4},
    "spawned": {
        "executor": partial(ProcessPoolExecutor, 1, multiprocessing.get_context("spawn")),
        "workers": 2,
    },
}


@pytest.mark.filterwarnings("ignore:.* files could not be read")
@pytest.mark.parametrize("way", EVERY_WAY.values(), ids=EVERY_WAY)
def test_all_there_is_has_the_same_bytes_whoever_makes_it(everything, expected, way):
    with contextlib.ExitStack() as stack:
        if "executor" in way:
            way = {**way, "executor": stack.enter_context(way["executor"]())}
        generator = stack.enter_context(everything(**way))
        assert [list(map(contents, generator)) for _ in range(2)] == expected
        left_out = {Path(name).name: reason for name, reason in generator.skipped.items()}
    assert set(left_out) == {"20.png", "15.jpg"}
    assert all("goes with" in reason and "broken.png" in reason for reason in left_out.values())


@pytest.mark.filterwarnings("ignore:.* files could not be read")
def test_all_there_is_after_a_resume_and_in_copies(everything, expected):
    assert len({str(batch) for epoch in expected for batch in epoch}) == 10
    with everything(workers=2) as generator:
        generator.start_at(1, 2)
        for duplicate in (copy.deepcopy(generator), pickle.loads(pickle.dumps(generator))):
            assert list(map(contents, duplicate)) == expected[1][2:]
        assert list(map(contents, generator)) == expected[1][2:]


def test_two_shards_of_all_there_is_have_what_one_generator_has(everything):
    whole = everything(augment_batch=None, batch_size=10)
    shards = [everything(augment_batch=None, shard=(index, 2)) for index in range(2)]
    assert [len(shard) for shard in shards] == [len(whole)] * 2 == [3, 3]
    for index in range(3):
        parts = [shard.batch(1, index) for shard in shards]
        joined = keras.tree.map_structure(lambda *arrays: np.concatenate(arrays), *parts)
        assert contents(joined) == contents(whole.batch(1, index))


# ---- pictures that keep their sizes, and other ways to read them ---------------------------------


@pytest.mark.parametrize("way", [{}, PROCESSES, {"executor": "threads"}], ids=str)
def test_pictures_keep_their_own_sizes(pictures, tmp_path, request, way):
    way = {name: request.getfixturevalue(v) if v == "threads" else v for name, v in way.items()}
    names = pictures[:6]
    masks = write_masks(tmp_path, names, lambda number, shape: np.full(shape, number, np.uint8))
    options = {"image_size": None, **way}
    with MY_Generator(names, Masks(masks), 1, **options) as generator:
        assert "own sizes" in repr(generator)
        batches = list(generator)
        assert generator.read(names[2]).tobytes() == batches[2][0].tobytes()
    for number, (images, targets) in enumerate(batches):
        picture = read_image(names[number])
        np.testing.assert_allclose(images, picture[np.newaxis] / np.float32(255), rtol=1e-6)
        np.testing.assert_array_equal(targets, np.full((1, *picture.shape[:2], 1), number))
    assert len({images.shape for images, _ in batches}) == 6
    with MY_Generator([names[3]] * 3, range(3), 3, dtype="uint8", **options) as generator:
        np.testing.assert_array_equal(generator[0][0], np.stack([read_image(names[3])] * 3))
    two = rf"{re.escape(names[1])}.* and {re.escape(names[0])} in the same batch .*batch_size=1"
    with (
        MY_Generator(names, range(6), 2, **options) as generator,
        pytest.raises(ImageError, match=two),
    ):
        generator[0]


@pytest.mark.parametrize("way", [{}, PROCESSES], ids=["here", "processes"])
def test_a_function_of_ones_own_reads_the_files(tmp_path, way):
    """Twelve bands of 16 bits, or of floating point; the first one says who read them."""
    bands = np.random.default_rng(0).integers(0, 2**16, (3, 5, 6, 12))
    names = [str(tmp_path / f"{number}.npy") for number in range(3)]
    for name, array, dtype in zip(names, bands, ["uint16", "float64", "float32"], strict=True):
        np.save(name, array.astype(dtype))

    def read(filename):
        array = np.load(filename).astype(np.float64)
        array[..., 0] = os.getpid()
        return array

    options = {"color_mode": 12, "read": read, **way}
    with MY_Generator(names, None, 3, image_size=(5, 6), **options) as generator:
        images = generator[0]
        np.testing.assert_array_equal(images[..., 1:], bands[..., 1:])
        assert (set(images[..., 0].ravel().tolist()) == {os.getpid()}) == (not way)
        assert generator.read(names[0]).shape == (5, 6, 12)
    (tmp_path / "1.npy").write_bytes(b"no array")
    for on_error in ("raise", "skip"):
        with MY_Generator(names, None, 3, on_error=on_error, **options) as generator:
            if on_error == "raise":
                with pytest.raises(ImageError, match=r"1\.npy: read failed: "):
                    generator[0]
            else:
                assert len(generator[0]) == 2
                assert list(generator.skipped) == [names[1]]


def test_grey_pictures_and_labels_of_a_pack(pictures, tmp_path):
    files = ImageFiles(pictures[:7], np.arange(7), tuple("abcdefg"))
    pack(files, tmp_path / "some.pack")
    packed = load_pack(tmp_path / "some.pack")
    options = {"color_mode": "grayscale", "shuffle": True}
    from_pack = Generator(packed.filenames, packed.labels, 3, **options)
    from_files = Generator(files.filenames, files.labels, 3, **options)
    two = Generator((packed.filenames, pictures[:7]), packed.labels, 3, **options)
    for index in range(3):
        assert contents(from_pack[index]) == contents(from_files[index])
        (first, second), labels = two[index]
        assert first.shape[1:] == (*SIZE, 1)
        assert contents((first, labels)) == contents((second, labels)) == contents(from_pack[index])


# ---- Keras --------------------------------------------------------------------------------------


def test_within_a_distribution_strategy_no_batch_comes_twice(pictures):
    # Keras 3.15 takes a batch there to build the model with, stops, and starts again.
    with tf.distribute.OneDeviceStrategy("/cpu:0").scope():
        distributed = Recorder()
    with Generator(pictures, range(70), 7, workers=2, max_queue_size=4) as generator:
        for _ in range(2):
            distributed.fit(generator, shuffle=False, verbose=0, callbacks=[NewEpochs()])
            assert numbers_of(distributed.epochs[-1]) == list(range(70))
