"""What a cluster costs where one machine would do, and what travels: one command, one table.

    pip install -r notebooks/requirements.txt
    python tests/benchmarks/cluster.py [--images N] [--batch-sizes N ...] [--repeats N]

The same generator through ``fit`` with a model that does nothing, 32×32 files to 200×200: its
batches made in one process, by two processes that share memory with it, and by a Dask cluster of
two processes on this machine, whose results go by way of the scheduler (as is usual) or directly
to the trainer. With an `augment`, the cluster's workers resize, so more travels. All ways take
turns; the table has medians, and the bytes of an image's share of what the workers sent.
"""

import argparse
from functools import partial

import numpy as np
import pandas as pd
from dask.distributed import Client, LocalCluster
from tqdm import tqdm

import helpers

WORKERS = 2
ASKING = 4  # threads that each wait for a batch: the next is made while one travels


def mirror(image, rng):
    """Augment at next to no cost."""
    return image[:, ::-1]


def here(files, size, **options):
    """Images/s of batches that are made by this machine's own means."""
    with helpers.MY_Generator(files.filenames, files.labels, size, **options) as generator:
        return helpers.time_epoch(generator).images_per_second, 0


def there(cluster, direct, files, size, **options):
    """Images/s of batches that a cluster makes, and the bytes an image that its workers send."""
    with Client(cluster, direct_to_workers=direct) as client:
        options |= {"executor": client.get_executor(), "workers": ASKING}
        generator = helpers.MY_Generator(files.filenames, files.labels, size, **options)
        before = sent(client)
        images, _ = generator[0]
        travelled = (sent(client) - before) / len(images)
        return helpers.time_epoch(generator).images_per_second, travelled


def sent(client):
    """Bytes of results that the workers have sent so far."""
    return sum(client.run(lambda dask_worker: dask_worker.transfer_outgoing_bytes_total).values())


def make_ways(cluster):
    """Return all ways, as functions of (files, batch size) that measure once."""
    return {
        "one process": here,
        f"{WORKERS} processes": partial(here, workers=WORKERS, use_multiprocessing=True),
        f"cluster of {WORKERS}": partial(there, cluster, False),
        f"cluster of {WORKERS}, direct": partial(there, cluster, True),
        f"cluster of {WORKERS}, direct, augment": partial(there, cluster, True, augment=mirror),
        f"cluster of {WORKERS}, direct, augment, uint8": partial(
            there, cluster, True, augment=mirror, dtype="uint8"
        ),
    }


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=4000, help="files are repeated as needed")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[32, 128], metavar="N")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    helpers.quiet_tensorflow()
    files = helpers.load_sample()[0].shuffled()
    files = files.select(np.arange(options.images) % len(files.filenames))
    local = {"threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": None}
    with LocalCluster(n_workers=WORKERS, **local) as cluster:
        ways = make_ways(cluster)
        sizes = options.batch_sizes
        rounds = [(size, name) for _ in range(options.repeats) for size in sizes for name in ways]
        rows = [(size, name, *ways[name](files, size)) for size, name in tqdm(rounds)]
    table = pd.DataFrame(rows, columns=["batch", "way", "images/s", "bytes an image"])
    print(f"{len(files.filenames):,} files, medians of {options.repeats}")
    table = table.groupby(["batch", "way"], sort=False).median()
    print(table.round().astype(int).to_string())


if __name__ == "__main__":
    main()
