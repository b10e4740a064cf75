"""Inputs, targets and weights of any structure."""

import cv2
import keras
import numpy as np
import pandas as pd
import pytest
from noting import SIZE, Generator, contents, write_masks

from helpers import Masks

COUNT = 7
CLASSES = np.arange(COUNT) % 3
BOXES = np.arange(4.0 * COUNT).reshape(COUNT, 4)
ROWS = [slice(0, 3), slice(3, 6), slice(6, 7)]
"""Of the batches of three."""


@pytest.fixture(scope="module")
def names(pictures):
    return pictures[:COUNT]


@pytest.fixture(scope="module")
def images(names):
    """Each picture, by itself."""
    return np.concatenate([Generator([name], None, 1)[0] for name in names])


@pytest.fixture(scope="module")
def masks(names, tmp_path_factory):
    """For each picture a mask that has the number of the picture everywhere."""
    folder = tmp_path_factory.mktemp("masks")
    return write_masks(folder, names, lambda number, shape: np.full(shape, number, np.uint8))


def mask_arrays(dtype="uint8"):
    return np.arange(COUNT, dtype=dtype).reshape(-1, 1, 1, 1) * np.ones((1, *SIZE, 1), dtype)


def assert_batches(generator, *expected):
    """Compare the batches with slices of whole arrays, in the structure of these."""
    assert len(generator) == len(ROWS)
    for index, rows in enumerate(ROWS):
        batch = generator[index]
        parts = keras.tree.map_structure(lambda array, rows=rows: array[rows], expected)
        is_alone = len(parts) == 1 and isinstance(parts[0], np.ndarray)
        assert contents(batch) == contents(parts[0] if is_alone else parts)


# ---- structures ----------------------------------------------------------------------------------

LABELS = {
    "array": (CLASSES, CLASSES),
    "tuple": ((CLASSES, BOXES), (CLASSES, BOXES)),
    "list": ([CLASSES, BOXES.tolist()], (CLASSES, BOXES)),
    "dict": ({"class": CLASSES.tolist(), "box": BOXES}, {"class": CLASSES, "box": BOXES}),
    "one in a dict": ({"class": CLASSES}, {"class": CLASSES}),
    "nested": (
        {"a": (CLASSES, {"b": BOXES}), "c": [CLASSES, BOXES]},
        {"a": (CLASSES, {"b": BOXES}), "c": (CLASSES, BOXES)},
    ),
    "series": ({"a": pd.Series(CLASSES, index=range(9, 2, -1))}, {"a": CLASSES}),
    "list of vectors": (BOXES.tolist(), BOXES),
    "list of arrays, one for each file": (list(BOXES), BOXES),
    "as many of each file": ([list(range(COUNT))] * COUNT, np.tile(np.arange(COUNT), (COUNT, 1))),
    "tuple of vectors": (tuple(BOXES.tolist()), BOXES),
    "tuple of numbers": (tuple(CLASSES.tolist()), CLASSES),
    "iterator": ((number for number in CLASSES.tolist()), CLASSES),
}


@pytest.mark.parametrize(("labels", "expected"), LABELS.values(), ids=LABELS)
def test_labels_keep_their_structure(names, images, labels, expected):
    generator = Generator(names, labels, 3)
    assert_batches(generator, images, expected)
    assert contents(generator.labels) == contents(expected)


def test_no_labels_are_pictures_alone(names, images):
    generator = Generator(names, None, 3, shuffle=True)
    assert generator.labels is None
    order = np.concatenate([generator.samples(0, index) for index in range(3)])
    assert_batches(generator, images[order])
    assert [label for *_, label in generator.preview(0, 1)] == [None] * 3


def test_masks_are_targets_alone_and_among_others(names, images, masks):
    assert_batches(Generator(names, Masks(masks), 3), images, mask_arrays())
    as_int32 = Masks(iter(masks), "int32")
    labels = {"class": CLASSES, "maps": [Masks(masks), as_int32]}
    generator = Generator(names, labels, 3, sample_weight={"class": np.ones(COUNT)})
    targets = {"class": CLASSES, "maps": (mask_arrays(), mask_arrays("int32"))}
    assert_batches(generator, images, targets, {"class": np.ones(COUNT)})
    assert generator.labels["maps"][1] is as_int32
    [(name, image, label), *_] = generator.preview(0, 2)
    assert name == names[6]
    assert contents((image, label)) == contents(
        keras.tree.map_structure(lambda array: array[6], (images, targets))
    )


def test_weights_are_an_array_or_a_structure(names, images):
    weights = np.linspace(0, 2, COUNT, dtype=np.float32)
    assert_batches(
        Generator(names, CLASSES, 3, sample_weight=weights.tolist()),
        *(images, CLASSES, weights.astype(float)),
    )
    of_each = {"class": weights, "box": list(range(COUNT))}
    assert_batches(
        Generator(names, {"class": CLASSES, "box": BOXES}, 3, sample_weight=of_each),
        *(images, {"class": CLASSES, "box": BOXES}, {"class": weights, "box": np.arange(COUNT)}),
    )


def test_a_weight_weighs_all_pixels_of_a_mask(names, masks):
    weights = np.linspace(0, 2, COUNT)
    *_, of_masks = Generator(names, Masks(masks), 3, sample_weight=weights)[1]
    np.testing.assert_array_equal(of_masks, weights[3:6, None, None])
    both = {"class": CLASSES, "mask": Masks(masks)}
    for given in (weights, {"class": weights, "mask": weights}):
        *_, of_both = Generator(names, both, 3, sample_weight=given)[1]
        np.testing.assert_array_equal(of_both["class"], weights[3:6])
        np.testing.assert_array_equal(of_both["mask"], weights[3:6, None, None])


def test_inputs_of_several_kinds(names, images, masks):
    ages = np.linspace(1, 90, COUNT)
    generator = Generator({"age": ages, "photo": names}, CLASSES, 3)
    assert generator.filenames == names
    assert_batches(generator, {"age": ages, "photo": images}, CLASSES)
    ages[:] = 0
    assert generator[0][0]["age"].all()

    pairs = (names, np.array(names[::-1]))
    assert_batches(Generator(pairs, CLASSES, 3), (images, images[::-1]), CLASSES)
    assert_batches(Generator(list(pairs), None, 3), (images, images[::-1]))
    fixed = np.array(names, np.dtypes.StringDType())
    generator = Generator({"left": fixed, "right": names[::-1], "mask": Masks(masks)}, CLASSES, 3)
    assert generator.filenames is fixed
    expected = {"left": images, "right": images[::-1], "mask": mask_arrays()}
    assert_batches(generator, expected, CLASSES)
    for index, positions in enumerate(ROWS):
        inputs, numbers, _ = generator.in_file_order()[index]
        assert contents(inputs) == contents({key: expected[key][positions] for key in expected})
        assert numbers.tolist() == list(range(COUNT))[positions]
    assert_batches(Generator((Masks(masks), names), CLASSES, 3), (mask_arrays(), images), CLASSES)


@pytest.mark.parametrize(
    "as_given",
    [iter, lambda names: (name for name in names), tuple, np.array, lambda names: (tuple(names),)],
    ids=["iterator", "generator", "tuple", "array", "tuple of one"],
)
def test_names_of_any_kind(names, images, as_given):
    generator = Generator(as_given(names), CLASSES, 3)
    inputs = (images,) if isinstance(generator[0][0], tuple) else images
    assert_batches(generator, inputs, CLASSES)


# ---- what is refused in the constructor ----------------------------------------------------------

NAN = float("nan")
WRONG_LABELS = {
    "words": (["cat"] * COUNT, r"labels must be numbers; received 'cat' at position 0 \(and 6"),
    "a word in a dict": (
        {"a": [1] * 6 + ["x"]},
        r"labels\['a'\] must be numbers.*'x' at position 6",
    ),
    "NaN": ({"boxes": [1, NAN, *range(5)]}, r"labels\['boxes'\].* received nan at position 1"),
    "None": ((CLASSES, [*range(6), None]), r"labels\[1\] .* received None at position 6"),
    "nested": ({"a": (CLASSES, {"b": [NAN] * 7})}, r"labels\['a'\]\[1\]\['b'\] must be"),
    "too few": (
        CLASSES[:6],
        "labels must have one entry for each file; received 7 .* and 6 labels",
    ),
    "too few in a dict": ({"boxes": BOXES[:5]}, r"and 5 labels\['boxes'\]"),
    "too few in a list": ([CLASSES, BOXES[:5]], r"and 5 labels\[1\]"),
    "too few in a tuple": ((CLASSES.tolist(), CLASSES[1:].tolist()), r"and 6 labels\[1\]"),
    "too few vectors": (BOXES[:6].tolist(), "and 6 labels"),
    "by name": (
        {f"{number}.png": number for number in range(COUNT)},
        r"labels must be a list, .* received a dict, .*\[labels\[name\] for name in image_",
    ),
    "a set": (set(range(COUNT)), "labels must be a list"),
    "nothing": ({}, "labels must be a list"),
    "one": ({"a": 1}, "labels must be a list"),
    "too few masks": (Masks(["a.png"]), "labels must have one entry .* 1 of them and 7 image_f"),
    "too few masks in a dict": ({"m": Masks(["a.png"] * 9)}, r"labels\['m'\] must .* 9 of them"),
}


@pytest.mark.parametrize(("labels", "message"), WRONG_LABELS.values(), ids=WRONG_LABELS)
def test_wrong_labels_are_refused_with_their_place(names, labels, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Generator(names, labels, 3)


WRONG_WEIGHTS = {
    "negative": ([1, 1, -2, *range(4)], "sample_weight must be 0 or more, .* -2 at position 2"),
    "infinite": ({"a": [1.0] * 6 + [np.inf]}, r"sample_weight\['a'\] must .* inf at position 6"),
    "NaN": ((CLASSES, [1.0, NAN, *range(5)]), r"sample_weight\[1\] must be .* nan at position 1"),
    "None": ([None] * COUNT, "sample_weight must be numbers, none missing; received None"),
    "words": (["1"] * COUNT, "sample_weight must be numbers; received '1' at position 0"),
    "too few": (np.ones(3), "received 7 image_filenames and 3 sample_weight"),
    "one": (1.0, "sample_weight must have one entry for each file"),
}


@pytest.mark.parametrize(("weights", "message"), WRONG_WEIGHTS.values(), ids=WRONG_WEIGHTS)
def test_wrong_weights_are_refused_with_their_place(names, weights, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Generator(names, CLASSES, 3, sample_weight=weights)


def test_weights_without_labels_weigh_nothing(names):
    with pytest.raises(ValueError, match="sample_weight weighs labels, and labels is None"):
        Generator(names, None, 3, sample_weight=[1] * COUNT)


WRONG_INPUTS = {
    "numbers only": (lambda names: {"age": CLASSES}, "holds numbers only: pass names of files"),
    "too few numbers": (lambda names: {"a": names, "b": BOXES[1:]}, r"6 image_filenames\['b'\]"),
    "too few names": (lambda names: (names, names[1:]), r"image_filenames\[1\] must .* 6 of them"),
    "no name": (
        lambda names: {"a": names, "b": [*names[:6], None]},
        r"image_filenames\['b'\] must be names of files; received None at position 6",
    ),
    "no number": (
        lambda names: {"a": names, "b": [0, NAN, *range(5)]},
        r"image_filenames\['b'\] must be numbers, none missing; received nan at position 1",
    ),
    "names by label": (lambda names: dict(enumerate(names)), "image_filenames must be a list"),
    "a set": (set, "image_filenames must be a list"),
    "nothing": (lambda names: [], "image_filenames is empty"),
}


@pytest.mark.parametrize(("make", "message"), WRONG_INPUTS.values(), ids=WRONG_INPUTS)
def test_wrong_inputs_are_refused_with_their_place(names, make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Generator(make(names), CLASSES, 3)


def test_masks_say_what_they_are_and_check_their_arguments(names, masks):
    assert repr(Masks(masks, np.uint16)) == "Masks(7 files, uint16)"
    assert len(Masks(iter(masks))) == COUNT
    for arguments, message in (
        (([],), "the filenames of Masks is empty|filenames of Masks are empty"),
        ((masks, "float32"), "dtype must be"),
        ((masks, "uint8", 256), "fill_value must be at most 255"),
        ((masks, "uint8", 0, "read"), "read must be a function"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            Masks(*arguments)


@pytest.mark.parametrize(
    ("how", "size", "expected"),
    [("crop", (4, 4), [[1, 1, 2, 2]] * 4), ("pad", (8, 8), [[9] * 8, [1] * 4 + [2] * 4])],
)
def test_masks_get_the_geometry_of_their_picture(save, how, size, expected):
    halves = np.repeat([[1, 2]], 4, axis=0).repeat(4, axis=1).astype(np.uint8)  # 4 × 8
    picture, mask = (
        save(cv2.imencode(".png", array)[1].tobytes(), name)
        for array, name in ((halves * 100, "picture.png"), (halves, "mask.png"))
    )
    options = {"image_size": size, "dtype": "uint8", f"{how}_to_aspect_ratio": True}
    labels = Masks([mask], fill_value=9)
    [image], [target] = Generator([picture], labels, 1, **options)[0]
    if how == "pad":
        expected = [expected[0]] * 2 + [expected[1]] * 4 + [expected[0]] * 2
    assert target[..., 0].tolist() == expected
    np.testing.assert_array_equal(image[..., 0], 100 * (target[..., 0] % 9))
