"""Mistakes that are often made in notebook 04."""

MISTAKES = {
    "04.1": [
        "megabytes = 32 * 200 * 200 * 3 * 8 / 1e6  # one batch",
        "megabytes = 32 * 32 * 200 * 200 * 3 * 4 / 1e6  # float32",
        "megabytes = 32 * 32 * 200 * 200 * 3 * 8  # bytes",
        "megabytes = 16 * 32  # workers and queue",
    ],
    "04.2": [
        "def images_to_catch_up(start, alone, together):\n    return start * alone",
        "def images_to_catch_up(start, alone, together):\n    return start * (together - alone)",
        """def images_to_catch_up(start, alone, together):
    return start / (1 / alone - 1 / together)  # divides by 0, or is negative, if they never do
""",
        """def images_to_catch_up(start, alone, together):
    return float("inf") if together < alone + 1 else None
""",
    ],
    "04.3": [
        """def one_ahead(sequence):
    for index in range(len(sequence)):
        yield sequence[index]
""",
        """from concurrent.futures import ThreadPoolExecutor

def one_ahead(sequence):
    with ThreadPoolExecutor(1) as thread:
        yield from thread.map(sequence.__getitem__, range(len(sequence)))
""",
        """from concurrent.futures import ThreadPoolExecutor

def one_ahead(sequence):
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(sequence.__getitem__, 0)
        for index in range(1, len(sequence)):
            batch = coming.result()
            coming = thread.submit(sequence.__getitem__, index)
            yield batch  # and the last one never
""",
        """from concurrent.futures import ThreadPoolExecutor

def one_ahead(sequence):
    with ThreadPoolExecutor(1) as thread:
        for index in range(len(sequence)):
            yield thread.submit(sequence.__getitem__, index).result()
""",
    ],
}
