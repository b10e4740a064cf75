"""The article's class with parts that can be exchanged; in a file, so that any process finds it.

Where processes are started anew (macOS, Windows), they import what they are given. A class of a
notebook cannot be imported.
"""

from collections.abc import Callable

import cv2
import keras
import numpy as np
from skimage.io import imread
from skimage.transform import resize

SIZE = (200, 200)


class Parts(keras.utils.PyDataset):
    """Batches of 32 images of 200×200, read, resized and kept as you say."""

    def __init__(self, files, read: Callable, resize: Callable, dtype: str, **workers):
        super().__init__(**workers)
        self.files, self.read, self.resize, self.dtype = files, read, resize, dtype

    def __len__(self):
        """Return the number of whole batches."""
        return len(self.files.filenames) // 32

    def __getitem__(self, index):
        """Return images and labels of a batch."""
        batch = slice(32 * index, 32 * (index + 1))
        images = np.empty((32, *SIZE, 3), self.dtype)
        for row, name in zip(images, self.files.filenames[batch], strict=True):
            row[...] = self.resize(self.read(name))
        return images, self.files.labels[batch]


def skimage_read(name: str) -> np.ndarray:
    """Read a file with scikit-image, as the article does."""
    return imread(name)


def skimage_resize(image: np.ndarray) -> np.ndarray:
    """Resize with scikit-image, as the article does: float64, from 0 to 1."""
    return resize(image, SIZE)


def opencv_read(name: str) -> np.ndarray:
    """Read a file with OpenCV, in the order red, green, blue."""
    image = cv2.imread(name, cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise OSError(f"{name} cannot be read")
    return image


def opencv_resize(image: np.ndarray) -> np.ndarray:
    """Resize with OpenCV: float32, from 0 to 1."""
    return cv2.resize(image * np.float32(1 / 255), SIZE)
