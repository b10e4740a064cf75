"""What it costs to look whether a picture is whole, upright and of a kind that is read right.

    python tests/benchmarks/reading.py [FOLDER] [--repeats N]

Compares `decode` with OpenCV's decoder alone, which looks for none of that, on the JPEG files of a
folder, or on the sample's drawings as JPEG, small and enlarged; and on the same pictures in other
formats. Both take turns; each figure is the median of the repeats. Let nothing else run beside it.
"""

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

import helpers
from helpers.images.reading import decode

FORMATS = ".jpg", ".png", ".bmp", ".webp", ".tif", ".gif"
PICTURES = 200
PHOTOGRAPH = 500, 375


def opencv_alone(data):
    """Decode as OpenCV does it by itself."""
    cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)


def checked(data):
    """Decode as `MY_Generator` does it."""
    decode(data, "a picture")


def microseconds(function, files):
    """Measure once: µs a file."""
    start = time.perf_counter()
    for data in files:
        function(data)
    return (time.perf_counter() - start) / len(files) * 1e6


def photographs(pictures):
    """Enlarge pictures, with the noise of a camera."""
    noise = np.random.default_rng(0).normal(0, 6, (*PHOTOGRAPH[::-1], 3))
    large = (cv2.resize(picture, PHOTOGRAPH, interpolation=cv2.INTER_CUBIC) for picture in pictures)
    return [np.clip(picture + noise, 0, 255).astype(np.uint8) for picture in large]


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", help="JPEG files of yours, in any depth")
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    if options.folder:
        paths = sorted(Path(options.folder).rglob("*.jpg"))[:PICTURES]
        files = {"yours, .jpg": [path.read_bytes() for path in paths]}
    else:
        names = helpers.load_sample()[0].shuffled().filenames[:PICTURES]
        drawings = [cv2.imread(name) for name in names]
        sizes = {"32×32": drawings, "500×375": photographs(drawings)}
        files = {
            f"{size}, {ending}": [cv2.imencode(ending, one)[1].tobytes() for one in pictures]
            for size, pictures in sizes.items()
            for ending in FORMATS
        }
    rows = {}
    for kind, data in files.items():
        turns = [
            (microseconds(opencv_alone, data), microseconds(checked, data))
            for _ in range(options.repeats)
        ]
        rows[kind] = np.median(turns, axis=0)
    table = pd.DataFrame(rows, index=["OpenCV alone", "as it is read here"]).T
    print(f"µs a picture, median of {options.repeats}, one core")
    print(table.round(1).to_string())


if __name__ == "__main__":
    main()
