"""The plain case against another version: RGB pictures, one label each, nothing else.

    python tests/benchmarks/plain.py FOLDER [--rounds N]

FOLDER is a checkout of this project, such as ``git worktree add FOLDER REVISION`` makes. JPEG
photographs of 500×375 to 224×224 and drawings of 32×32 to 200×200, float32, batches of 32, in a
loop: made by the thread that asks, and by 2 processes. In each round each version has a new Python
of its own (where its memory lies makes a difference of some percent), and they take turns, every
second time in the other order. Medians of the ratios within a round: of images/s, and of processor
time for an image (program and workers), which differs less from round to round. Let nothing else
run beside it; 9 rounds take about five minutes on two cores.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
from tqdm import tqdm

HERE = Path(__file__).parents[2]
DATA = {"photographs": (224, 224), "drawings": (200, 200)}
WAYS = {"one thread": {"workers": 0}, "2 processes": {"workers": 2, "use_multiprocessing": True}}
TURNS = 4  # of each version, in a round: an epoch each


def serve():
    """Measure what standard input asks for; print images, seconds, and seconds of processors."""
    import helpers

    files = {
        "photographs": helpers.load_photographs((375, 500), 300),
        "drawings": helpers.load_sample()[0].shuffled(),
    }
    generator = asked = None
    for line in sys.stdin:
        if line != asked:
            if generator:
                generator.close()
            asked = line
            data, way = line.rstrip("\n").split("\t")
            names, labels, _ = files[data]
            options = {"image_size": DATA[data], "shuffle": True, **WAYS[way]}
            generator = helpers.MY_Generator(names, labels, 32, **options)
            measure(generator)
        print(*measure(generator), flush=True)


def measure(generator):
    start, cpu_start = time.perf_counter(), cpu_seconds()
    images = sum(len(batch) for batch, _ in generator)
    return images, time.perf_counter() - start, cpu_seconds() - cpu_start


def cpu_seconds():
    """Seconds that processors have worked for this program and its workers."""
    program = psutil.Process()
    times = [process.cpu_times() for process in (program, *program.children(recursive=True))]
    return sum(each.user + each.system for each in times)


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
        return [float(number) for number in self.process.stdout.readline().split()]

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
        rows += [
            {"round": number, "data": data, "way": way, "version": name}
            | dict(zip(("images", "s", "CPU s"), versions[name].measure(data, way), strict=True))
            for data in DATA
            for way in WAYS
            for turn in range(TURNS)
            for name in sorted(versions, reverse=bool((number + turn) % 2))
        ]
        for version in versions.values():
            version.close()
    report(pd.DataFrame(rows), options.rounds)


def report(turns, rounds):
    table = turns.groupby(["data", "way", "round", "version"], sort=False).sum()
    measures = pd.DataFrame(
        {
            "images/s": table["images"] / table["s"],
            "CPU ms an image": 1000 * table["CPU s"] / table["images"],
        }
    ).unstack("version")
    print(f"{os.cpu_count()} cores, medians of {rounds} rounds")
    print(measures.groupby(["data", "way"], sort=False).median().round(3).to_string())
    for what in ("images/s", "CPU ms an image"):
        ratio = measures[what]["now"] / measures[what]["before"]
        print(f"{what}, now / before within a round: median, lowest, highest")
        grouped = ratio.groupby(["data", "way"], sort=False)
        print(grouped.agg(["median", "min", "max"]).round(3).to_string())


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["--serve"] else main()
