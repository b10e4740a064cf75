"""Files to pack, and a comparison of what comes back."""

import numpy as np

from helpers import ImageFiles, read_image


def three_classes(pictures):
    return ImageFiles(pictures, np.arange(len(pictures)) % 3, ("a", "b", "c"))


def assert_same_pictures(packed, filenames):
    assert len(packed.filenames) == len(filenames)
    for name, filename in zip(packed.filenames, filenames, strict=True):
        np.testing.assert_array_equal(read_image(name), read_image(filename))
