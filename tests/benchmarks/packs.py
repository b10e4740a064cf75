"""How fast batches come from a pack, and from the files that it was made of.

    python tests/benchmarks/packs.py [drawings] [--folder FOLDER] [--images N] [--repeats N]
    python tests/benchmarks/packs.py photographs [--folder FOLDER] [--images N] [--repeats N]

drawings     Small pictures and a pack of their pixels: at 200×200 in batches of 128, and at the
             files' own size in batches of 1,024, each as float32 and as uint8.
photographs  JPEG files of 500×375 and of 4000×3000 to 224×224, float32; packs of their pixels, of
             the files as they are, and of JPEG no larger than 448×448. In each round they come
             from the system's cache; from the disk, as the system is told to forget the files
             (but not what folders they are in); and from the cache as if through a slow network:
             16 threads wait 5 ms for each open, 1 ms for each read, and share 100 MB/s.

All ways take turns; each is measured through ``fit`` with a model that does nothing (see
`helpers.time_epoch`). Each figure is the median of the repeats, and each goal's the median of the
ratios within each round. Let nothing else run beside it.
"""

import argparse
import contextlib
import ctypes
import mmap
import os
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
from speed import CORES, measure, print_goals, summarize, through_fit

import helpers
from helpers.datasets.packing import pack
from helpers.images import packs, reading

PROCESSES = {"workers": CORES, "use_multiprocessing": True}
OPTIONS = {"one process": {}, f"{CORES} processes": PROCESSES}

PHOTOGRAPHS = ((375, 500), 1000, 32), ((3000, 4000), 30, 5)  # size, images, batch size
SIZE = (224, 224)
CONTENTS = {  # what `pack` is called with
    "pack of pixels": {"image_size": SIZE},
    "pack of files": {"contents": "files"},
    "pack of JPEG": {"contents": "jpeg", "max_size": (448, 448)},
}
PLACES = ("cache", "disk", "network")
OPEN_SECONDS, READ_SECONDS, BYTES_A_SECOND = 5e-3, 1e-3, 100e6  # of the network
MANY_THREADS = {"workers": 16, "max_queue_size": 32}
TRIES, SETTLING_SECONDS = 20, 0.5  # to have the system forget files


def bytes_of(paths):
    return sum(Path(path).stat().st_size for path in paths)


# ---- drawings ------------------------------------------------------------------------------------


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


def measure_drawings(files, images, repeats):
    """Measure small pictures, at their own size and enlarged, and print."""
    files = files.shuffled().select(np.arange(images) % len(files.filenames))
    own_size = helpers.read_image(files.filenames[0]).shape[:2]
    with tempfile.TemporaryDirectory() as folder:
        packed = pack(files, Path(folder) / "benchmark.pack")
        sizes = (
            bytes_of(files.filenames) / 1e6,
            bytes_of(Path(packed.filenames.path).iterdir()) / 1e6,
        )
        print(f"{images:,} files have {sizes[0]:.0f} MB, the pack {sizes[1]:.0f} MB")
        for dtype, batch_size, image_size, some, goal in (
            ("float32", 128, (200, 200), images // 5, 2),
            ("float32", 1024, own_size, images, 8),
            ("uint8", 128, (200, 200), images // 5, 2),
            ("uint8", 1024, own_size, images, 8),
        ):
            few = range(some)
            sources = {"files": files.select(few), "packed": packed.select(few)}
            ways = make_ways(sources, batch_size=batch_size, image_size=image_size, dtype=dtype)
            rates = measure(ways, repeats)
            print(f"\n{image_size[0]}×{image_size[1]}, {dtype}, batches of {batch_size}")
            print(summarize(rates, batch_size).to_string())
            ratios = {how: rates[f"packed, {how}"] / rates[f"files, {how}"] for how in OPTIONS}
            print_goals((f"{how}, packed of files", r.median(), goal) for how, r in ratios.items())


# ---- photographs, from the cache, the disk and a network -----------------------------------------


def paths_of(names):
    """List the files that are read for pictures: a pack's, or their own."""
    if isinstance(names, packs.PackedNames):
        return list(Path(names.path).iterdir())
    return [Path(name) for name in set(names)]


class Forgotten(helpers.MY_Generator):
    """A generator whose files are not in the system's cache when an epoch begins."""

    def on_epoch_end(self):
        super().on_epoch_end()
        paths = paths_of(self.filenames)
        for _ in range(TRIES):  # batches that Keras throws away are still being made
            forget(paths)
            time.sleep(SETTLING_SECONDS)
            left = np.concatenate([cached_pages(path) for path in paths]).mean()
            if left < 0.01:
                return
        raise SystemExit(f"{left:.0%} of the files stay in the system's cache: try another disk")


def forget(paths):
    """Have the system drop files from its cache."""
    for path in paths:
        with path.open("rb") as file:
            os.fsync(file.fileno())  # what is not on the disk yet would stay
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def cached_pages(path):
    """Return 1 for each page of a file that the system has in its cache, and 0 for the others."""
    size = path.stat().st_size
    found = np.zeros(-(-size // mmap.PAGESIZE), np.uint8)
    with path.open("rb") as file, mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY) as mapped:
        pages = np.frombuffer(mapped, np.uint8)
        start, answer = (ctypes.c_void_p(array.ctypes.data) for array in (pages, found))
        failed = ctypes.CDLL(None).mincore(start, ctypes.c_size_t(size), answer)
        del pages  # or the file could not be unmapped
    assert not failed
    return found & 1


@contextlib.contextmanager
def slow_network():
    """Let each open and each read in this process wait as if the files lay far away."""
    line = threading.Lock()

    def far(function, seconds):
        def slow(*arguments):
            time.sleep(seconds)
            result = function(*arguments)
            if isinstance(result, bytes):
                with line:
                    time.sleep(len(result) / BYTES_A_SECOND)
            return result

        return slow

    with (
        patch.object(reading, "_read", far(reading._read, OPEN_SECONDS + READ_SECONDS)),
        patch.object(packs, "_open", far(packs._open, OPEN_SECONDS)),
        patch.object(packs, "_read_at", far(packs._read_at, READ_SECONDS)),
    ):
        yield


def measure_once(files, batch_size, place):
    """Images/s with files in one of `PLACES`."""
    make = Forgotten if place == "disk" else helpers.MY_Generator
    options = MANY_THREADS if place == "network" else PROCESSES
    with slow_network() if place == "network" else contextlib.nullcontext():
        return through_fit(
            make(files.filenames, files.labels, batch_size, image_size=SIZE, **options)
        )


def measure_photographs(files, batch_size, repeats):
    """Pack photographs in each way, measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        sources = {"files": files} | {
            name: pack(files, Path(folder) / f"{name}.pack", **options)
            for name, options in CONTENTS.items()
        }
        ways = {
            f"{source}, {place}": partial(measure_once, some, batch_size, place)
            for source, some in sources.items()
            for place in PLACES
        }
        rates = measure(ways, repeats).median()
        table = pd.DataFrame(
            {place: [rates[f"{source}, {place}"] for source in sources] for place in PLACES},
            index=list(sources),
        )
        megabytes = [bytes_of(paths_of(some.filenames)) / 1e6 for some in sources.values()]
    print(f"\n{len(files.filenames):,} photographs, batches of {batch_size}, images/s")
    print(table.assign(MB=megabytes).map("{:,.1f}".format).to_string())


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="?", choices=["drawings", "photographs"], default="drawings")
    parser.add_argument("--folder", help="class folders of your pictures")
    parser.add_argument(
        "--images", type=int, default=40_960, help="drawings are repeated as needed"
    )
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    helpers.quiet_tensorflow()
    own = helpers.load_folder(options.folder) if options.folder else None
    if options.part == "drawings":
        measure_drawings(own or helpers.load_sample()[0], options.images, options.repeats)
    elif own:
        few = range(min(options.images, len(own.filenames)))
        measure_photographs(own.shuffled().select(few), 32, options.repeats)
    else:
        for image_size, images, batch_size in PHOTOGRAPHS:
            files = helpers.load_photographs(image_size, min(options.images, images))
            measure_photographs(files, batch_size, options.repeats)


if __name__ == "__main__":
    main()
