"""Typical mistakes in the exercises of notebook 05b."""

MISTAKES = {
    "05b.1": [
        "unseen = 4 * 224**2 / (3000 * 4000)",
        "unseen = 1 - 224**2 / (3000 * 4000)",
        "unseen = 98.3",
        "unseen = 1 - 224 / 3000",
    ],
    "05b.2": [
        """
def load_named(filename, image_size):
    return readers.load_with_pillow(filename, image_size)
""",
        """
def load_named(filename, image_size):
    try:
        return readers.load_with_pillow(filename, image_size)
    except Exception:
        return None
""",
        """
def load_named(filename, image_size):
    try:
        return readers.load_with_pillow(filename, image_size)
    except Exception as error:
        raise ValueError(f"{filename}: {error}") from error
""",
        """
def load_named(filename, image_size):
    try:
        readers.load_with_pillow(filename, image_size)
    except Exception as error:
        raise OSError(f"{filename}: {error}") from error
""",
    ],
    "05b.3": [
        """
def go_on(batches, done):
    return list(batches)[done:]
""",
        """
def go_on(batches, done):
    for number, batch in enumerate(batches):
        if number > done:
            yield batch
""",
        """
def go_on(batches, done):
    return batches[done:]
""",
        """
def go_on(batches, done):
    for _ in range(done):
        next(batches)
""",
    ],
}
