"""What worker processes cost before they have done anything: one command, one table.

    pip install -r tests/benchmarks/requirements.txt
    python tests/benchmarks/start.py [--repeats N]

For this project's pool, and for two others with the same decoder: seconds from nothing until
every process has answered once, and what all processes, idle, take of memory together, shared
pages counted once (PSS). The ways take turns; the table has medians.
"""

import argparse
import concurrent.futures
import multiprocessing
import os
import time

import cloudpickle
import pandas as pd
import psutil
from tqdm import tqdm

from helpers import load_sample
from helpers.images.batches import load_batch
from helpers.images.recipe import Recipe
from helpers.images.request import BatchRequest
from helpers.loading.pool import Pool


def ours(workers, request):
    """Return a function that has a batch made, and one that ends the processes."""
    pool = Pool(workers, workers, slot_bytes=1000, augment=cloudpickle.dumps(request.augment))
    return lambda: pool.load(request, timeout=60), pool.end


def loky(workers, request):
    """Return the same for loky."""
    from loky import ProcessPoolExecutor

    pool = ProcessPoolExecutor(workers)
    return (
        lambda: pool.submit(load_batch, request).result(60),
        lambda: pool.shutdown(wait=True, kill_workers=True),
    )


def forkserver(workers, request):
    """Return the same for the standard library, with the decoder loaded in advance."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["helpers.images.batches"])
    pool = concurrent.futures.ProcessPoolExecutor(workers, context)
    return lambda: pool.submit(load_batch, request).result(60), pool.shutdown


NAP = 4.0  # longer than any of the ways takes to start, so that no process answers twice


def nap(image, rng):
    """Keep a process busy, without using a core."""
    time.sleep(NAP)
    return image


def measure(way, workers, filename):
    """Seconds until all processes were at work, and their memory in MB."""
    request = BatchRequest([filename], Recipe((8, 8)), augment=nap, seeds=[(0,)])
    before = set(psutil.Process().children(recursive=True))  # a fork server stays for good
    start = time.perf_counter()
    answer, end = way(workers, request)
    with concurrent.futures.ThreadPoolExecutor(workers) as threads:
        for asked in [threads.submit(answer) for _ in range(workers)]:
            asked.result()
    seconds = time.perf_counter() - start - NAP
    processes = set(psutil.Process().children(recursive=True)) - before
    memory = sum(process.memory_full_info().pss for process in processes) / 1e6
    end()
    return seconds, memory


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    filename = load_sample()[0].filenames[0]
    ways = {
        "this project": ours,
        "loky": loky,
        "concurrent.futures, forkserver": forkserver,
    }
    rounds = [(name, workers) for workers in (2, 16) for name in ways] * options.repeats
    rows = [
        (workers, name, *measure(ways[name], workers, filename)) for name, workers in tqdm(rounds)
    ]
    table = pd.DataFrame(rows, columns=["workers", "pool", "seconds to start", "PSS (MB)"])
    print(f"{os.cpu_count()} cores, medians of {options.repeats}")
    print(table.groupby(["workers", "pool"], sort=False).median().round(2).to_string())


if __name__ == "__main__":
    main()
