"""How fast batches come from a pack, and from the files that it was made of.

    python tests/benchmarks/packs.py [--folder FOLDER] [--images N] [--repeats N]

At 200×200 in batches of 128, and at the files' own size in batches of 1,024, each as float32
and as uint8. All ways take turns; each is measured through ``fit`` with a model that does
nothing (see `helpers.time_epoch`). Each figure is the median of the repeats, and each goal's the
median of the ratios within each round. Let nothing else run beside it.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from speed import CORES, measure, print_goals, summarize, through_fit

import helpers
from helpers.datasets.packing import pack

OPTIONS = {
    "one process": {},
    f"{CORES} processes": {"workers": CORES, "use_multiprocessing": True},
}


def make_ways(sources, **batches):
    """Return all ways, as functions that measure once and return images/s."""

    def way(files, options):
        return lambda: through_fit(
            helpers.MY_Generator(files.filenames, files.labels, **batches, **options)
        )

    return {
        f"{source}, {how}": way(files, options)
        for source, files in sources.items()
        for how, options in OPTIONS.items()
    }


def bytes_of(paths):
    return sum(Path(path).stat().st_size for path in paths)


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", help="class folders of pictures; the sample if left out")
    parser.add_argument("--images", type=int, default=40_960, help="files are repeated as needed")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    helpers.quiet_tensorflow()
    files = helpers.load_folder(options.folder) if options.folder else helpers.load_sample()[0]
    files = files.shuffled().select(np.arange(options.images) % len(files.filenames))
    own_size = helpers.read_image(files.filenames[0]).shape[:2]
    with tempfile.TemporaryDirectory() as folder:
        packed = pack(files, Path(folder) / "benchmark.pack")
        sizes = (
            bytes_of(files.filenames) / 1e6,
            bytes_of(Path(packed.filenames.path).iterdir()) / 1e6,
        )
        print(f"{options.images:,} files have {sizes[0]:.0f} MB, the pack {sizes[1]:.0f} MB")
        for dtype, batch_size, image_size, images, goal in (
            ("float32", 128, (200, 200), options.images // 5, 2),
            ("float32", 1024, own_size, options.images, 8),
            ("uint8", 128, (200, 200), options.images // 5, 2),
            ("uint8", 1024, own_size, options.images, 8),
        ):
            few = range(images)
            sources = {"files": files.select(few), "packed": packed.select(few)}
            ways = make_ways(sources, batch_size=batch_size, image_size=image_size, dtype=dtype)
            rates = measure(ways, options.repeats)
            print(f"\n{image_size[0]}×{image_size[1]}, {dtype}, batches of {batch_size}")
            print(summarize(rates, batch_size).to_string())
            ratios = {how: rates[f"packed, {how}"] / rates[f"files, {how}"] for how in OPTIONS}
            print_goals((f"{how}, packed of files", r.median(), goal) for how, r in ratios.items())


if __name__ == "__main__":
    main()
