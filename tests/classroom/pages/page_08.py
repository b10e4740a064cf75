"""Mistakes that are often made in notebook 08."""

GENERATOR = """
generator = MY_Generator(train.filenames[:960], train.labels[:960], 32, image_size=(100, 100))
"""

MISTAKES = {
    "08.1": [
        "batches_mb = 64 * 224 * 224 * 3 * 4 / 1e6",
        "batches_mb = 10 * 64 * 224 * 224 * 3 * 4 / 1e6",
        "batches_mb = 14 * 64 * 224 * 224 * 3 / 1e6",
        "batches_mb = 14 * 64 * 224 * 224 * 3 * 4",
        "batches_mb = megabytes(64, 10)",
    ],
    "08.2": [
        f"""{GENERATOR}
with MemoryUse() as kept_memory:
    for index in range(len(generator)):
        kept = generator[index]
""",
        f"""{GENERATOR}
with MemoryUse() as kept_memory:
    pass
kept = [generator[index] for index in range(len(generator))]
""",
        f"""{GENERATOR}
kept_memory = MemoryUse()
kept = [generator[index] for index in range(len(generator))]
""",
        "kept_memory = 115",
    ],
    "08.3": [
        """
def longest_queue(limit, batch_size, side):
    return int(limit / (batch_size * side * side * 3 * 4 / 1e6))
""",
        """
def longest_queue(limit, batch_size, side):
    return max(0, round(limit / (batch_size * side * side * 3 * 4 / 1e6)) - 4)
""",
        """
def longest_queue(limit, batch_size, side):
    return int(limit / (batch_size * side * side * 3 * 4 / 1e6)) - 4
""",
        """
def longest_queue(limit, batch_size, side):
    return max(0, int(limit / (batch_size * side * side * 3 / 1e6)) - 4)
""",
        """
def longest_queue(limit, batch_size, side):
    print(max(0, int(limit / (batch_size * side * side * 3 * 4 / 1e6)) - 4))
""",
    ],
}
