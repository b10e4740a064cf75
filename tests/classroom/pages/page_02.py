"""Mistakes that are often made in notebook 02."""

START = """
class CIFAR10Sequence(keras.utils.PyDataset):
    def __init__(self, x_set, y_set, batch_size, **kwargs):
        super().__init__(**kwargs)
        self.x, self.y = x_set, y_set
        self.batch_size = batch_size
"""
LENGTH = """
    def __len__(self):
        return -(-len(self.x) // self.batch_size)
"""
BATCH = """
    def __getitem__(self, idx):
        start = idx * self.batch_size
        names = self.x[start:start + self.batch_size]
        images = [resize(imread(name), (200, 200)) for name in names]
        return np.array(images), np.array(self.y[start:start + self.batch_size])
"""
RETURNS_NOTHING = """
    def __getitem__(self, idx):
        start = idx * self.batch_size
        names = self.x[start:start + self.batch_size]
        images = [resize(imread(name), (200, 200)) for name in names]
"""
FLOAT32 = """
class Float32Sequence(CIFAR10Sequence):
    def __getitem__(self, idx):
        window = slice(idx * self.batch_size, (idx + 1) * self.batch_size)
        images = [resize(imread(name), (200, 200)) for name in self.x[window]]
        return np.array(images), np.array(self.y[window])
"""


def _with_length(expression):
    return START + LENGTH.replace("-(-len(self.x) // self.batch_size)", expression) + BATCH


def _with_batch(old, new):
    assert old in BATCH
    return START + LENGTH + BATCH.replace(old, new)


MISTAKES = {
    "02.A": [
        _with_length("np.ceil(len(self.x) / self.batch_size)"),
        _with_length("len(self.x) // self.batch_size"),
        _with_length("len(self.x) // self.batch_size + 1"),
        _with_length("round(len(self.x) / self.batch_size)"),
        _with_length("int(np.ceil(len(train.filenames) / self.batch_size))"),
        _with_length("int(np.ceil(len(self.x) / 32))"),
        START + LENGTH.replace("return ", "") + BATCH,
        _with_batch("start = idx * self.batch_size", "start = idx"),
        _with_batch("= self.x[", "= train.filenames["),
        _with_batch("start = idx * self.batch_size", "start = (idx - 1) * self.batch_size"),
        _with_batch("resize(imread(name), (200, 200))", "imread(name)"),
        _with_batch("resize(imread(name), (200, 200))", "resize(imread(name), (32, 32, 3))"),
        _with_batch("resize(imread(name), (200, 200))", "255 * resize(imread(name), (200, 200))"),
        _with_batch("np.array(self.y[start:start + self.batch_size])", "np.array(self.y)"),
        _with_batch("np.array(images)", "images"),
        _with_batch("return np.array(images), ", "return np.array(images) #"),
        START + LENGTH + RETURNS_NOTHING,
        (START + LENGTH + BATCH).replace(
            "        start = idx * self.batch_size\n",
            "        self.next = getattr(self, 'next', -1) + 1\n"
            "        start = self.next * self.batch_size\n",
        ),
    ],
    "02.1": [
        "last_of_30, steps, last_of_2000 = 30, 1, 2000",
        "last_of_30, steps, last_of_2000 = -10, 1, 2000",
        "last_of_30, steps, last_of_2000 = 20, 2, 2000",
        "last_of_30, steps, last_of_2000 = 20, 1, 0",
    ],
    "02.2": [
        """
class RoundedDown(CIFAR10Sequence):
    def __len__(self):
        return int(np.ceil(len(self.x) / self.batch_size))

lost = 52
""",
        """
class RoundedDown(CIFAR10Sequence):
    def __len__(self):
        return np.floor(len(self.x) / self.batch_size)

lost = 52
""",
        *(
            f"""
class RoundedDown(CIFAR10Sequence):
    def __len__(self):
        return len(self.x) // self.batch_size

lost = {lost}
"""
            for lost in (1, 12, 448)
        ),
    ],
    "02.3": [
        FLOAT32,
        FLOAT32.replace("np.array(images)", "np.array(images).astype('float32')"),
        FLOAT32.replace("np.array(images)", "np.array(images, dtype='float32')"),
        FLOAT32.replace("imread(name)", "imread(name).astype('float32')"),
        FLOAT32.replace("        return np.array(images), np.array(self.y[window])\n", ""),
    ],
}
