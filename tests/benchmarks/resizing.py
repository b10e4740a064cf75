"""What resizing costs, of one picture in one thread, against OpenCV's INTER_AREA.

    python tests/benchmarks/resizing.py [--repeats N]

INTER_AREA gives each pixel the mean of those that it covers, as uint8: less work than a blur and
float32; least of all where both sides are whole multiples of the new ones, as 2304×3072 of 64×64.
Both take turns; each figure is the median of the repeats. Something is prepared for each pair of
sizes; so what the first picture of a size takes has a column of its own. Let nothing else run
beside it.
"""

import argparse
import time
from functools import partial

import cv2
import numpy as np
import pandas as pd
from speed import print_goals
from tqdm import tqdm

import helpers

PICTURES = (375, 500), (1223, 1634), (2304, 3072), (2448, 3264), (3000, 4000), (3456, 4608)
MULTIPLES = (2304, 3072)  # of which all sizes are whole multiples of 64
RESIZED = (64, 64), (224, 224)
LARGE = 1.9  # megapixels: from here on a picture is a camera's


def measure_resizing(repeats):
    """Measure, of single pictures, and print."""
    cv2.setNumThreads(1)
    noise = np.random.default_rng(0).integers(0, 256, (3500, 4700, 3), np.uint8)
    turns = [
        (height, width, image_size, repeat)
        for repeat in range(1, repeats + 1)
        for height, width in PICTURES
        for image_size in RESIZED
    ]
    rows = []
    for height, width, image_size, repeat in tqdm(turns, "resizing"):
        # More pixels each time: a size that was never there before, with nothing prepared.
        more = repeat * (64 if (height, width) == MULTIPLES else 1)
        image = np.ascontiguousarray(noise[: height + more, : width + more])
        rows.append(
            {
                "megapixels": height * width / 1e6,
                "to": f"{image_size[0]}×{image_size[1]}",
                **time_resizing(image, image_size),
            }
        )
    table = pd.DataFrame(rows).groupby(["megapixels", "to"], sort=False).median()
    print(f"\nOne picture, one thread: ms, medians of {repeats}")
    print(table.to_string(float_format="{:,.2f}".format))
    large = table[table.index.get_level_values("megapixels") >= LARGE]
    goals = (
        ("× INTER_AREA, the worst from 2 megapixels up", large["× INTER_AREA"].max(), 1.4),
        ("first ÷ next, the worst", table["first ÷ next"].max(), 3),
    )
    print_goals(goals, at_most=True)


def time_resizing(image, image_size):
    """Resize a picture whose size is new, and go on; return the columns of the table."""
    area = partial(cv2.resize, dsize=image_size[::-1], interpolation=cv2.INTER_AREA)
    ours = partial(helpers.resize_image, image_size=image_size)
    first = milliseconds(ours, image)
    turns = [(milliseconds(ours, image), milliseconds(area, image)) for _ in range(3)]
    ours_next, area_next = np.median(turns, axis=0)
    return {
        "INTER_AREA": area_next,
        "resize_image": ours_next,
        "the first of its size": first,
        "× INTER_AREA": ours_next / area_next,
        "first ÷ next": first / ours_next,
    }


def milliseconds(function, image):
    """Take the time of one call."""
    start = time.perf_counter()
    function(image)
    return 1000 * (time.perf_counter() - start)


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    measure_resizing(parser.parse_args().repeats)


if __name__ == "__main__":
    main()
