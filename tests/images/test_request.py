import pickle

import numpy as np
import pytest

from helpers.images.packs import PackedNames
from helpers.images.recipe import Recipe
from helpers.images.request import BatchRequest, LoadedBatch

PICTURES = Recipe((4, 5), read=np.load, color_mode=7)
MASKS = PICTURES.for_masks("uint16", 0, None)
REQUEST = BatchRequest(
    ["a", "b", "c"],
    PICTURES,
    augment=np.flip,
    seeds=[(0,), (1,), (2,)],
    companions=[["m", "n", "o"]],
    companion_recipes=[MASKS],
)


def test_a_layout_has_an_array_for_each_file_of_a_sample():
    assert REQUEST.layout == [((4, 5, 7), "float32"), ((4, 5, 1), "uint16")]
    assert BatchRequest(["a"], Recipe(None)).layout == []


def test_functions_are_taken_out_and_put_back():
    assert REQUEST.functions == (np.flip, np.load, None)
    bare = REQUEST.with_functions([None, None, None])
    assert bare.functions == (None, None, None)
    assert pickle.loads(pickle.dumps(bare)).with_functions(REQUEST.functions) == REQUEST


@pytest.mark.parametrize("position", [0, 2])
def test_the_request_for_one_sample_has_its_files_and_its_seed(position):
    only = REQUEST.only(position)
    assert only.filenames == ["abc"[position]]
    assert only.companions == [["mno"[position]]]
    assert only.seeds == [(position,)]
    packed = BatchRequest(PackedNames("x.pack", np.zeros(3, [("number", int)])), PICTURES)
    assert isinstance(packed.only(position).filenames, PackedNames)


def test_the_pictures_are_the_first_array():
    arrays = [np.zeros((2, 4, 5, 7)), np.zeros((2, 4, 5, 1))]
    assert LoadedBatch(arrays, [0, 1], [], None).images is arrays[0]
