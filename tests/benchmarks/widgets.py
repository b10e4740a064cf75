"""How soon the simulated timeline follows a slider: one command, one table.

    python tests/benchmarks/widgets.py [--repeats N]

For several numbers of workers and of batches: milliseconds from a slider's new value until
the new picture is on its way to the browser, and what parts of it take: simulate, diagnose,
draw and compress. Medians; the goal is 200 ms. Nothing of what the browser does is in it.
"""

import argparse
import io
import os
import time
from statistics import median

import pandas as pd

from helpers import play_pipeline, simulate

GOAL_MS = 200


def milliseconds(function):
    """Time one call."""
    start = time.perf_counter()
    function()
    return 1000 * (time.perf_counter() - start)


def measure(workers, batches, repeats):
    """A row of the table."""
    box = play_pipeline(workers=workers, batches=batches)
    step = box.controls["step"]
    redraws = [
        milliseconds(lambda value=value: setattr(step, "value", 50 + value))
        for value in range(repeats)
    ]
    times = {"read": 0.010, "decode": 0.060, "hand_over": 0.005, "step": 0.050}
    spans = simulate(**times, workers=workers, cores=4, batches=batches)
    parts = {
        "simulate": lambda: simulate(**times, workers=workers, cores=4, batches=batches),
        "diagnose": spans.diagnose,
        "draw": lambda: spans.plot("title").savefig(io.BytesIO(), format="png"),
    }
    return {
        "workers": workers,
        "batches": batches,
        "redraw (ms)": median(redraws),
        "slowest": max(redraws),
        **{
            name: median(milliseconds(part) for _ in range(repeats)) for name, part in parts.items()
        },
        "in time": "yes" if median(redraws) < GOAL_MS else "no",
    }


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9, help="redraws of each (at least 5)")
    repeats = max(parser.parse_args().repeats, 5)
    measure(1, 24, 5)  # the first pictures also load fonts
    rows = [measure(workers, batches, repeats) for workers in (1, 4, 16) for batches in (24, 40)]
    print(f"{os.cpu_count()} cores, median of {repeats} redraws; the goal is {GOAL_MS} ms")
    print(pd.DataFrame(rows).round().to_string(index=False))


if __name__ == "__main__":
    main()
