"""Mistakes that are often made in notebook 01."""

MISTAKES = {
    "01.1": [
        "megabytes, steps, last_batch = 122.88, 15, 80",
        "megabytes, steps, last_batch = 122.88, 2000 / 128, 80",
        "megabytes, steps, last_batch = 122.88, 16, 128",
        "megabytes, steps, last_batch = 122_880_000, 16, 80",
        "megabytes, steps, last_batch = 30.7, 16, 80",
        "megabytes, steps, last_batch = 123, 17, 80",
        "megabytes, steps, last_batch = 123, 16, 16",
    ],
    "01.2": [
        """
def read_bytes(filename):
    return read_resized(filename).astype("uint8")

fit = 2133
""",
        """
def read_bytes(filename):
    return (read_resized(filename) * 255).astype("uint8")

fit = 2133
""",
        """
def read_bytes(filename):
    return read_image(filename)

fit = 2133
""",
        """
def read_bytes(filename):
    return np.round(255 * read_resized(filename))

fit = 2133
""",
        """
def read_bytes(filename):
    return 255 - np.round(255 * read_resized(filename)).astype("uint8")

fit = 2133
""",
        """
def read_bytes(filename):
    return np.round(255 * read_resized(filename)).astype("uint8")

fit = 266
""",
    ],
    "01.3": [
        """
def read_in_place(filenames):
    return np.array([read_resized(filename) for filename in filenames])
""",
        """
def read_in_place(filenames):
    images = np.empty((BATCH_SIZE, 200, 200, 3))
    for position, filename in enumerate(filenames):
        images[position] = read_resized(filename)
    return images
""",
        """
def read_in_place(filenames):
    images = np.empty((len(filenames), 200, 200, 3))
    for filename in filenames:
        images[0] = read_resized(filename)
    return images
""",
        """
def read_in_place(filenames):
    images = np.empty((len(filenames), 200, 200, 3), "float32")
    for position, filename in enumerate(filenames):
        images[position] = read_resized(filename)
    return images
""",
        """
def read_in_place(filenames):
    images = np.empty((len(filenames), 200, 200, 3))
    for position, filename in enumerate(filenames):
        images[position] = read_resized(filename)
""",
    ],
}
