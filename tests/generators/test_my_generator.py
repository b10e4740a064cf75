import copy
import gc
import os
import pickle
import random
import re
import signal
import socket
import subprocess
import sys
import warnings
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import keras
import numpy as np
import pandas as pd
import psutil
import pytest
import skimage.data
import tensorflow as tf
from conftest import is_alive, wait_until
from hypothesis import given, settings
from hypothesis import strategies as st
from noting import (
    SIZE,
    Generator,
    NewEpochs,
    Recorder,
    fit,
    labels_of,
    note,
    numbers_of,
    recorder,
    samples_of,
)
from skimage.io import imread
from skimage.transform import resize

from helpers import ImageError, MY_Generator, read_image, resize_image
from helpers.generators.order import epoch_order
from helpers.images.batches import LoadedBatch
from helpers.loading import read_ahead

PROCESSES = {"workers": 2, "use_multiprocessing": True}


@pytest.fixture(scope="module")
def checksums(pictures):
    """For each picture what `note` has of it, made without batches, workers or Keras."""
    every = Generator(pictures, range(len(pictures)), len(pictures))
    return note(*every.batch(0, 0))


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


# ---- copies --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make_copy", [copy.copy, copy.deepcopy, lambda generator: pickle.loads(pickle.dumps(generator))]
)
def test_closing_a_copy_ends_nothing_of_the_original(pictures, make_copy):
    with Generator(pictures, range(70), 7, workers=2, use_multiprocessing=True) as generator:
        expected = [note(*generator[index]) for index in range(10)]
        workers = set(psutil.Process().children(recursive=True))
        duplicate = make_copy(generator)
        assert [note(*duplicate[index]) for index in range(10)] == expected
        assert len(psutil.Process().children(recursive=True)) == 2 * len(workers)
        duplicate.close()
        assert workers <= set(psutil.Process().children(recursive=True))
        duplicate.epoch = 5
        duplicate.skipped["a"] = "b"
        assert (generator.epoch, generator.skipped) == (0, {})
        assert [note(*generator[index]) for index in range(10)] == expected


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

WAYS = [
    pytest.param({"workers": 1}, id="alone"),
    pytest.param({"workers": 2}, id="threads"),
    pytest.param(
        {"workers": 2, "use_multiprocessing": True}, id="processes", marks=pytest.mark.slow
    ),
]


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


@pytest.mark.parametrize("how", WAYS)
def test_broken_files_are_left_out_and_warned_about_once_an_epoch(
    pictures, checksums, broken_file, tmp_path, how
):
    missing = str(tmp_path / "missing.png")
    names = pictures[:20]
    names[2], names[13] = broken_file, missing
    expected = [sample for sample in checksums[:20] if sample[0] not in (2, 13)]
    with (
        Generator(names, range(20), 4, on_error="skip", shuffle=True, **how) as generator,
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        epochs = fit(generator, epochs=3)
    assert [samples_of(epoch) for epoch in epochs] == [expected] * 3
    assert set(generator.skipped) == {broken_file, missing}
    assert "no picture" in generator.skipped[broken_file]
    assert "cannot be opened" in generator.skipped[missing]
    messages = [str(one.message) for one in caught if "left out" in str(one.message)]
    assert len(messages) == 3
    for message in messages:
        assert message.startswith("2 of 20 files")
        assert broken_file in message
        assert missing in message


def test_a_warning_of_many_files_names_three(pictures, tmp_path):
    missing = [str(tmp_path / f"missing {number}.png") for number in range(5)]
    generator = Generator(pictures[:5] + missing, range(10), 10, on_error="skip")
    with pytest.warns(UserWarning, match=r"5 of 10 files.*missing 2\.png, … ") as caught:
        fit(generator)
    assert "missing 3" not in str(caught[0].message)
    assert len(generator.skipped) == 5


@pytest.mark.parametrize("how", WAYS)
def test_a_file_that_was_mended_is_not_listed_any_more(pictures, broken_file, how):
    names = [*pictures[:3], broken_file]
    with Generator(names, range(4), 4, on_error="skip", **how) as generator:
        assert len(generator[0][0]) == 3
        assert set(generator.skipped) == {broken_file}
        Path(broken_file).write_bytes(Path(pictures[0]).read_bytes())
        assert len(generator[0][0]) == 4
        assert generator.skipped == {}


@pytest.mark.parametrize("how", WAYS)
def test_predictions_belong_to_the_files_that_were_not_skipped(
    pictures, broken_file, tmp_path, how
):
    names = [pictures[0], broken_file, *pictures[1:9], str(tmp_path / "missing.png"), pictures[9]]
    with Generator(names, range(12), 4, on_error="skip", **how) as generator:
        model = keras.Sequential([keras.Input((*SIZE, 3)), keras.layers.GlobalAveragePooling2D()])
        predictions = model.predict(generator, verbose=0)
        read = [name for name in generator.filenames if name not in generator.skipped]
    assert read == pictures[:10]
    means = [Generator([name], [0], 1)[0][0].mean(axis=(1, 2)) for name in read]
    np.testing.assert_allclose(predictions, np.concatenate(means), rtol=0, atol=1e-6)


def test_a_broken_file_whose_name_is_no_utf_8_is_named_by_fit(pictures, tmp_path):
    name = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")
    Path(name).write_bytes(b"no picture")
    with pytest.raises(Exception, match=r"ImageError: .*caf\\+udce9\.png: is no picture"):
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


@pytest.mark.parametrize("how", WAYS)
def test_values_of_12_bits_are_warned_about_once_a_run_with_the_largest(pictures, save, how):
    deep = [
        save(cv2.imencode(".png", np.full((5, 7), largest, np.uint16))[1].tobytes(), f"{largest}")
        for largest in (4095, 4094)
    ]
    names = [pictures[0], deep[0], pictures[1], deep[1]]
    with (
        Generator(names, range(4), 2, **how) as generator,
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        fit(generator, epochs=3)
    [warning] = [str(one.message) for one in caught if "may be wrong" in str(one.message)]
    assert re.search("409[45] was read, and may be wrong: .*no value above 4,09[45]", warning)
    assert sorted(name for name, _ in generator.suspect) == sorted(deep)
    assert all("nearly black" in line for _, line in generator.suspect)


def test_a_suspect_file_that_was_mended_is_not_listed_any_more(pictures, save):
    deep = save(cv2.imencode(".png", np.full((5, 7), 4095, np.uint16))[1].tobytes())
    generator = Generator([pictures[0], deep], range(2), 2)
    with pytest.warns(UserWarning, match="may be wrong"):
        generator[0]
    assert [name for name, _ in generator.suspect] == [deep]
    Path(deep).write_bytes(Path(pictures[0]).read_bytes())
    generator[0]
    assert generator.suspect == []


def test_a_batch_of_broken_files_only_is_an_error_that_names_them(pictures, broken_file):
    generator = Generator([*pictures[:2], broken_file], range(3), 2, on_error="skip")
    assert len(generator[0][0]) == 2
    with pytest.raises(ImageError, match=re.escape(broken_file)):
        generator[1]
    with pytest.raises(Exception, match=r"broken\.png"):
        fit(generator)


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


# ---- workers ------------------------------------------------------------------------------------


class Listening(Executor):
    """Notes the size of what is submitted, and answers with black pictures."""

    def __init__(self):
        self.sizes = []

    def submit(self, function, request, *others):
        self.sizes.append(len(pickle.dumps((function, request, others))))
        future = Future()
        count = len(request.filenames)
        black = np.zeros(request.shape, request.dtype)
        future.set_result(pickle.dumps(LoadedBatch(black, range(count), [], None)))
        return future


def test_a_million_names_are_not_looked_at_and_not_sent(monkeypatch):
    def touched(*args, **kwargs):
        raise AssertionError(f"a file was touched: {args}")

    names = [f"/nowhere/at/all/picture {number:06}.png" for number in range(1_000_000)]
    listening = Listening()
    with monkeypatch.context() as patch:
        for function in ("stat", "lstat", "open", "scandir", "listdir"):
            patch.setattr(os, function, touched)
        patch.setattr("builtins.open", touched)
        for count in (100, 1_000_000):
            generator = Generator(
                names[:count], np.arange(count), 32, shuffle=True, executor=listening
            )
            generator[1]
    small, large = listening.sizes
    assert large == pytest.approx(small, rel=0.05)
    assert large < 20_000


def pids(generator):
    """Processes that make the batches, as `pid_of_worker` leaves them in the pictures."""
    with ThreadPoolExecutor(4) as threads:
        batches = threads.map(generator.__getitem__, range(len(generator)))
        return {int(images[0, 0, 0, 0]) for images, _ in batches}


def generator_of_pids(pictures, **how):
    def pid_of_worker(image, rng):
        return np.full_like(image, os.getpid())

    return Generator(pictures[:20], range(20), 2, augment=pid_of_worker, **how)


def all_end(processes):
    """Whether all processes end in time."""
    return wait_until(lambda: not any(map(is_alive, processes)))


@pytest.mark.slow
def test_processes_live_as_long_as_the_generator(pictures):
    generator = generator_of_pids(pictures, **PROCESSES)
    processes = pids(generator)
    assert 1 <= len(processes) <= 2
    assert os.getpid() not in processes
    fit(generator, epochs=2)
    assert len(pids(generator) | processes) <= 2  # the same ones, after three epochs
    generator.close()
    assert all_end(processes)
    assert pids(generator) == {os.getpid()}  # it goes on without
    generator.close()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_process_costs_nothing(pictures):
    with generator_of_pids(pictures, **PROCESSES) as generator:
        killed = min(pids(generator))
        os.kill(killed, signal.SIGKILL)
        with pytest.warns(UserWarning, match=f"process {killed} died") as caught:
            [epoch] = fit(generator)
    assert numbers_of(epoch) == list(range(20))
    assert len([one for one in caught if "died" in str(one.message)]) == 1


@pytest.mark.slow
def test_processes_end_with_the_with_statement(pictures):
    with generator_of_pids(pictures, **PROCESSES) as generator:
        fit(generator)
        processes = pids(generator)
    assert os.getpid() not in processes
    assert all_end(processes)


def processes_of_a_lost_generator(pictures, use):
    generator = generator_of_pids(pictures, **PROCESSES)
    use(generator)
    processes = pids(generator)
    assert os.getpid() not in processes
    del generator
    gc.collect()
    return processes


@pytest.mark.slow
def test_processes_end_when_the_generator_is_garbage(pictures):
    assert all_end(processes_of_a_lost_generator(pictures, use=len))


@pytest.mark.slow
def test_processes_end_by_themselves_after_fit(pictures, monkeypatch):
    # TensorFlow 2.21 keeps all that fit ever read from, so the generator never becomes garbage:
    # https://github.com/tensorflow/tensorflow/pull/123530
    monkeypatch.setattr(read_ahead, "IDLE_SECONDS", 0.5)
    assert all_end(processes_of_a_lost_generator(pictures, use=fit))


@pytest.mark.slow
def test_fit_goes_on_after_its_processes_ended_by_themselves(pictures, monkeypatch):
    monkeypatch.setattr(read_ahead, "IDLE_SECONDS", 0.5)
    with generator_of_pids(pictures, **PROCESSES) as generator:
        first = pids(generator)
        assert all_end(first)
        [epoch] = fit(generator)
        assert numbers_of(epoch) == list(range(20))
        assert not pids(generator) & (first | {os.getpid()})


@pytest.mark.slow
def test_set_workers_changes_who_makes_the_batches(pictures):
    generator = generator_of_pids(pictures)
    assert pids(generator) == {os.getpid()}
    generator.set_workers(2, use_multiprocessing=True, max_queue_size=3)
    assert (generator._read_ahead.threads, generator.max_queue_size) == (2, 3)
    first = pids(generator)
    assert os.getpid() not in first
    generator.set_workers(1, use_multiprocessing=True)
    [second] = pids(generator)
    assert second not in first
    assert all_end(first)
    generator.set_workers(4)
    assert pids(generator) == {os.getpid()}
    assert all_end([second])


def test_no_process_is_started_without_workers(pictures):
    assert pids(generator_of_pids(pictures, workers=0, use_multiprocessing=True)) == {os.getpid()}


def test_the_users_executor_is_used_and_left_alone(pictures, checksums):
    class Counting(ThreadPoolExecutor):
        submitted = 0

        def submit(self, *args, **kwargs):
            self.submitted += 1
            return super().submit(*args, **kwargs)

    with Counting(2) as executor:
        with Generator(
            pictures[:20], range(20), 4, executor=executor, workers=4, use_multiprocessing=True
        ) as generator:
            assert samples_of(fit(generator)[0]) == checksums[:20]
            generator.set_workers(2, use_multiprocessing=True)
            generator.close()
            generator[0]
            assert executor.submitted >= 6
        del generator
        gc.collect()
        assert executor.submit(sum, [1, 2]).result() == 3


def test_a_batch_that_never_comes_is_an_error(pictures):
    class Silent(Listening):
        def submit(self, function, *arguments):
            return Future()

    generator = Generator(pictures[:4], range(4), 2, executor=Silent(), timeout=0.05)
    with pytest.raises(TimeoutError, match=rf"within 0\.05 s.*{re.escape(pictures[2])}"):
        generator[1]


INTERRUPTED = """
import os, time
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras
from helpers import MY_Generator
from helpers.profiling.timing import Arrivals

def slow(image, rng):
    time.sleep(0.05)
    return image

def stop(batch, logs):
    raise KeyboardInterrupt

generator = MY_Generator({pictures}, range(70), 1, image_size=(6, 7), augment=slow)
callback = keras.callbacks.LambdaCallback(on_train_batch_end=stop)
Arrivals().fit(generator, verbose=0, callbacks=[callback])
"""


@pytest.mark.slow
def test_a_script_that_is_interrupted_in_fit_ends(pictures):
    # Without workers TensorFlow 2.21 is still asking for a batch when Python ends.
    script = INTERRUPTED.format(pictures=pictures)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60)
    assert b"KeyboardInterrupt" in done.stderr
    assert done.returncode != 0


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


# ---- Keras --------------------------------------------------------------------------------------


def test_within_a_distribution_strategy_no_batch_comes_twice(pictures):
    # Keras 3.15 takes a batch there to build the model with, stops, and starts again.
    with tf.distribute.OneDeviceStrategy("/cpu:0").scope():
        distributed = Recorder()
    with Generator(pictures, range(70), 7, workers=2, max_queue_size=4) as generator:
        for _ in range(2):
            distributed.fit(generator, shuffle=False, verbose=0, callbacks=[NewEpochs()])
            assert numbers_of(distributed.epochs[-1]) == list(range(70))


def test_where_descriptors_cannot_be_handed_over_threads_make_the_batches(pictures, monkeypatch):
    before = psutil.Process().children(recursive=True)
    monkeypatch.delattr(socket, "send_fds")  # as on Windows
    with pytest.warns(UserWarning, match="threads make the batches"):
        generator = MY_Generator(pictures, range(70), 8, workers=2, use_multiprocessing=True)
    expected = MY_Generator(pictures, range(70), 8)
    assert generator[3][0].tobytes() == expected[3][0].tobytes()
    assert set(psutil.Process().children(recursive=True)) <= set(before)
