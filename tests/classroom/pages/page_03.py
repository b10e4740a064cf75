"""Mistakes that are often made in notebook 03."""

_CLASS = """
class MY_Generator(keras.utils.PyDataset):
    def __init__(self, image_filenames, labels, batch_size, **kwargs):
        {constructor}
        self.image_filenames, self.labels = image_filenames, labels
        self.batch_size = batch_size

    def __len__(self):
        return {length}

    def __getitem__(self, idx):
        window = slice(idx * self.batch_size, (idx + 1) * self.batch_size)
        images = [resize(imread(name), (200, 200)) for name in self.image_filenames[window]]
        return np.array(images), np.array(self.labels[window])
"""
_PASSED_ON = "super().__init__(**kwargs)"
_ROUNDED_UP = "int(np.ceil(len(self.image_filenames) / self.batch_size))"

_BATCH = """
class MY_Generator(MY_Generator):
    def __getitem__(self, idx):
        window = slice(idx * self.batch_size, (idx + 1) * self.batch_size)
        names = self.image_filenames[window]
        images = np.empty(({room}, 200, 200, 3), np.{dtype})
        for {place}, name in zip(images, names):
            {place}[...] = {image}
        return {returned}
"""
_RIGHT = {
    "room": "len(names)",
    "dtype": "float32",
    "place": "place",
    "image": 'resize(read_image(name), (200, 200), mode="edge")',
    "returned": "images, np.array(self.labels[window])",
}

MISTAKES = {
    "03.A": [
        _CLASS.format(constructor="pass", length=_ROUNDED_UP),
        _CLASS.format(constructor="super().__init__()", length=_ROUNDED_UP),
        _CLASS.format(constructor="super().__init__(kwargs)", length=_ROUNDED_UP),
        _CLASS.format(constructor=_PASSED_ON, length="len(self.labels) // self.batch_size"),
        _CLASS.format(constructor=_PASSED_ON, length="len(self.labels) // self.batch_size + 1"),
        _CLASS.format(constructor=_PASSED_ON, length=_ROUNDED_UP[4:-1]),
        _CLASS.format(constructor="super().__init__()", length=_ROUNDED_UP).replace(
            ", **kwargs", ""
        ),
        _CLASS.format(constructor=_PASSED_ON, length=_ROUNDED_UP).replace(
            "class MY_Generator(keras.utils.PyDataset)", "class MY_Generator"
        ),
        _CLASS.format(constructor=_PASSED_ON, length=_ROUNDED_UP).replace(
            "image_filenames, labels\n", "labels, image_filenames\n"
        ),
    ],
    "03.B": [
        """
def notice_dropped(generator, steps_per_epoch):
    assert steps_per_epoch > 0, "no steps"
""",
        """
def notice_dropped(generator, steps_per_epoch):
    assert steps_per_epoch == len(generator.image_filenames) // 32, "batches left out"
""",
        """
def notice_dropped(generator, steps_per_epoch):
    assert len(generator) == 11, "batches left out"
""",
        """
def notice_dropped(generator, steps_per_epoch):
    assert steps_per_epoch == len(generator)
""",
        """
def notice_dropped(generator, steps_per_epoch):
    return steps_per_epoch == len(generator)
""",
    ],
    "03.C": [
        """
def notice_threads(makers, training):
    assert len(makers) == 16, f"only {len(makers)} processes"
""",
        """
def notice_threads(makers, training):
    assert len(set(makers)) > 1, "all batches made by one process"
""",
        """
def notice_threads(makers, training):
    assert makers[0] != training, "made by a thread"
""",
        """
def notice_threads(makers, training):
    assert training in makers, "made by a thread"
""",
        """
def notice_threads(makers, training):
    print(training in makers)
""",
    ],
    "03.D": [
        """
def notice_float64(batch):
    assert batch.dtype == np.float32, "float64"
""",
        """
def notice_float64(batch):
    images, labels = batch
    assert labels.dtype == np.float32, "float64"
""",
        """
def notice_float64(batch):
    images, labels = batch
    assert images.dtype == np.float64, f"{images.nbytes / 1e6:.1f} MB"
""",
        """
def notice_float64(batch):
    for array in batch:
        assert array.dtype != np.float64, "float64"
""",
        """
def notice_float64(batch):
    images, labels = batch
    assert images.dtype == np.float32
""",
    ],
    "03.E": [
        _BATCH.format(**_RIGHT | {"dtype": "float64"}),
        _BATCH.format(**_RIGHT | {"room": "self.batch_size"}),
        _BATCH.format(**_RIGHT | {"image": "resize(read_image(name), (200, 200))"}),
        _BATCH.format(**_RIGHT | {"image": 'resize(imread(name), (200, 200), mode="edge")'}),
        _BATCH.format(
            **_RIGHT | {"image": 'resize(read_image(name), (200, 200), mode="edge") * 255'}
        ),
        _BATCH.format(**_RIGHT | {"returned": "images, np.array(self.labels)"}),
        _BATCH.format(**_RIGHT | {"returned": "images"}),
        _BATCH.format(**_RIGHT | {"returned": "images[::-1], np.array(self.labels[window])"}),
        _BATCH.format(**_RIGHT | {"returned": "images, np.array(self.labels[window])[::-1]"}),
    ],
    "03.F": [
        """
def notice_waiting(timing):
    assert timing.waited < 5, "training waited"
""",
        """
def notice_waiting(timing):
    assert timing.waited > 0.05, "training waited"
""",
        """
def notice_waiting(timing):
    assert timing.first_batch < 0.05, "training waited"
""",
        """
def notice_waiting(timing):
    assert timing.waited == 0, "training waited"
""",
        """
def notice_waiting(timing):
    return timing.waited < 0.05
""",
    ],
    "03.1": [
        "images, skipped = 10, {}",
        "images, skipped = 3, {str(half): 'cut off'}",
        "images, skipped = 9, 1",
        "images, skipped = 9, {}",
        "images, skipped = 9, {str(grey): 'cut off'}",
        "images, skipped = '9', {str(half): 'cut off'}",
    ],
    "03.2": [
        "with_fit, with_generator = 10, 10",
        "with_fit, with_generator = 10, 2",
        "with_fit, with_generator = 1, 10",
        "with_fit, with_generator = 2, 9",
        "with_fit, with_generator = 2, 32",
    ],
}
