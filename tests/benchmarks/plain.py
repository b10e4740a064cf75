"""The plain case against another version: RGB pictures, one label each, nothing else.

    python tests/benchmarks/plain.py FOLDER [--rounds N]

FOLDER is a checkout of this project, such as ``git worktree add FOLDER REVISION`` makes. JPEG
photographs of 500×375 to 224×224 and drawings of 32×32 to 200×200, float32, batches of 32, in a
loop: made by the thread that asks, and by 2 processes. In each round each version has a new Python
of its own (where its memory lies makes a difference of some percent), and they take turns, in the
second round in the other order. Medians of the ratios within a round. Let nothing else run beside
it; 9 rounds take about six minutes on two cores.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
from tqdm import tqdm

HERE = Path(__file__).parents[2]
DATA = {"photographs": (224, 224), "drawings": (200, 200)}
WAYS = {"one thread": {"workers": 0}, "2 processes": {"workers": 2, "use_multiprocessing": True}}
BATCHES = {"photographs": 40, "drawings": 200}


def serve():
    """Measure what standard input asks for, and print images/s."""
    import helpers

    files = {
        "photographs": helpers.load_photographs((375, 500), 300),
        "drawings": helpers.load_sample()[0].shuffled(),
    }
    generators = {}
    for line in sys.stdin:
        data, way = line.rstrip("\n").split("\t")
        if (data, way) not in generators:
            names, labels, _ = files[data]
            options = {"image_size": DATA[data], "shuffle": True, **WAYS[way]}
            generators[data, way] = helpers.MY_Generator(names, labels, 32, **options)
            next(iter(generators[data, way]))
        print(images_per_second(generators[data, way], BATCHES[data]), flush=True)


def images_per_second(generator, batches):
    count = images = 0
    start = time.perf_counter()
    while count < batches:
        for batch, _ in generator:
            images += len(batch)
            count += 1
            if count == batches:
                break
    return images / (time.perf_counter() - start)


class Version:
    """A checkout, and the Python that measures it."""

    def __init__(self, folder):
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve"],
            env={**os.environ, "PYTHONPATH": str(folder), "TF_CPP_MIN_LOG_LEVEL": "3"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def measure(self, data, way):
        self.process.stdin.write(f"{data}\t{way}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path, metavar="FOLDER", help="a checkout to compare with")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    folders = {"before": options.before.resolve(), "now": HERE}
    rows = []
    for number in tqdm(range(options.rounds), "rounds"):
        versions = {name: Version(folder) for name, folder in folders.items()}
        for data in DATA:
            for way in WAYS:
                names = sorted(versions, reverse=bool(number % 2))
                speeds = {name: versions[name].measure(data, way) for name in names}
                rows.append({"data": data, "way": way, **speeds})
        for version in versions.values():
            version.close()
    table = pd.DataFrame(rows)
    table["now / before"] = table["now"] / table["before"]
    grouped = table.groupby(["data", "way"], sort=False)
    print(f"images/s, {os.cpu_count()} cores, medians of {options.rounds} rounds")
    print(grouped[["before", "now"]].median().round().astype(int).to_string())
    print("ratio within a round: median, lowest, highest")
    print(grouped["now / before"].agg(["median", "min", "max"]).round(3).to_string())


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["--serve"] else main()
