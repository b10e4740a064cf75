"""Files to pack, in each of the ways; packs that are half done; what is to come back."""

import cv2
import numpy as np
import pytest

from helpers import ImageFiles, read_image
from helpers.datasets import packing
from helpers.datasets.packing import pack
from helpers.images.batches import load_batch
from helpers.images.recipe import Recipe
from helpers.images.request import BatchRequest

CONTENTS = {
    "pixels": {},
    "files": {"contents": "files"},
    "jpeg": {"contents": "jpeg", "max_size": (20, 20)},
}
"""Arguments of `pack`. Of the fixture `pictures`, some are larger than that, and some are JPEG."""


def three_classes(pictures):
    return ImageFiles(pictures, np.arange(len(pictures)) % 3, ("a", "b", "c"))


def expected_picture(filename, contents="pixels", max_size=None):
    """The picture that a pack is to give for a file."""
    image = read_image(filename)
    if contents != "jpeg":
        return image
    height, width, _ = image.shape
    scale = min(1, max_size[0] / height, max_size[1] / width)
    if scale == 1 and str(filename).endswith("jpg"):
        return image
    size = round(scale * height), round(scale * width)
    before = load_batch(BatchRequest([filename], Recipe(size, "uint8"))).images[0]
    return encoded_and_decoded(before, 90)


def encoded_and_decoded(image, quality):
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x221111]
    encoded = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), flags)[1]
    return cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1]


def assert_same_pictures(packed, filenames, **options):
    assert len(packed.filenames) == len(filenames)
    for name, filename in zip(packed.filenames, filenames, strict=True):
        np.testing.assert_array_equal(read_image(name), expected_picture(filename, **options))


def files_in(path):
    """The content of each file in a pack."""
    return {file.name: file.read_bytes() for file in path.iterdir()}


def leave_unfinished(files, path, monkeypatch, **options):
    """Pack all pictures, but stop before they are verified."""
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(packing, "_finish", interrupt)
        pack(files, path, **options)


def interrupt(*arguments):
    raise KeyboardInterrupt
