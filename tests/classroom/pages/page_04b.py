"""Mistakes that are often made in notebook 04b."""

MISTAKES = {
    "04b.1": [
        "depth = 300 * 25",
        "depth = 10  # the usual one",
        "depth = 32",
    ],
    "04b.2": [
        'sooner = {"blur"}',
        'sooner = {"loop", "sort", "blur", "fetch"}',
        'sooner = {"blur", "fetch", "sort"}  # C is not always outside the lock',
        'sooner = "blur"',
        'sooner = {"blurr", "fetch"}',
    ],
    "04b.3": [
        "def fewest_workers(waiting, computing, step, cores):\n    return cores",
        """import math

def fewest_workers(waiting, computing, step, cores):
    return math.ceil((waiting + computing) / step)  # however few the cores
""",
        """def fewest_workers(waiting, computing, step, cores):
    if computing > cores * step:
        return None
    return (waiting + computing) // step  # rounded down
""",
        """import math

def fewest_workers(waiting, computing, step, cores):
    if waiting + computing > cores * step:  # as if waiting kept a core busy
        return None
    return math.ceil((waiting + computing) / step)
""",
    ],
}
