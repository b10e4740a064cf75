"""The class that students write, as the article has it."""

import keras
import numpy as np
from skimage.io import imread
from skimage.transform import resize


class CIFAR10Sequence(keras.utils.PyDataset):
    """The textbook generator: a batch is read from image files when it is asked for.

    This is the article's class, mended just enough to run on Keras 3. It is kept simple and
    slow: the baseline of every timing.

    Parameters
    ----------
    x_set : sequence of str
        Image files, all of the same number of channels.
    y_set : sequence
        A label for each file.
    batch_size : int
        Images in a batch.
    **kwargs
        ``workers``, ``use_multiprocessing`` and ``max_queue_size`` of
        `keras.utils.PyDataset`.
    """

    def __init__(self, x_set, y_set, batch_size, **kwargs):
        super().__init__(**kwargs)
        self.x, self.y = x_set, y_set
        self.batch_size = batch_size

    def __len__(self):
        """Batches in an epoch, the short last one included."""
        return int(np.ceil(len(self.x) / self.batch_size))

    def __getitem__(self, idx):
        """Batch `idx`: float64 images of shape (images, 200, 200, channels), and labels."""
        window = slice(idx * self.batch_size, (idx + 1) * self.batch_size)
        images = [resize(imread(file_name), (200, 200)) for file_name in self.x[window]]
        return np.array(images), np.array(self.y[window])
