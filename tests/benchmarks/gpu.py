"""A real network on a GPU, fed with photographs: does it wait, and is the GPU its own?

    python tests/benchmarks/gpu.py [--before FOLDER] [--backends jax torch] [--batches N]

ResNet50 learns from pictures of 500×375, cut to 224×224, batches of 64, on the backends that are
installed. With --before FOLDER, another checkout (``git worktree add FOLDER REVISION``), its
`helpers` are measured, too. The table has, of all epochs but the first: images/s, the share of the
time that the training stood still for data (`helpers.Timeline`), the GPU's utilization as
``nvidia-smi`` tells it every half second, and its memory that processes of ours other than the
training have. Without a GPU it runs, and says so; ``--network small`` makes that bearable.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from statistics import mean

import pandas as pd
import psutil
from tqdm import tqdm

import helpers

BATCH = 64
WAYS = {
    "one process": {"workers": 1},
    "16 threads": {"workers": 16, "max_queue_size": 32},
    "16 processes": {"workers": 16, "use_multiprocessing": True, "max_queue_size": 32},
    "16 processes, augment imports a library": {
        "workers": 16,
        "use_multiprocessing": True,
        "max_queue_size": 32,
        "augment": True,
    },
}


def nvidia_smi(query):
    """Rows of numbers that nvidia-smi answers; none where there is no GPU."""
    command = ["nvidia-smi", f"--query-{query}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    return [[int(number) for number in line.split(",")] for line in answer.splitlines()]


class Watch(threading.Thread):
    """Asks nvidia-smi again and again, until it is stopped."""

    def __init__(self):
        super().__init__(daemon=True)
        self.used, self.others, self.stopped = [], 0, threading.Event()

    def run(self):
        """Note how busy the GPU is, and which workers have memory there."""
        while not self.stopped.wait(0.5):
            self.used += [used for [used] in nvidia_smi("gpu=utilization.gpu")]
            ours = {one.pid for one in psutil.Process().children(recursive=True)}
            apps = nvidia_smi("compute-apps=pid,used_memory")
            self.others = max(self.others, sum(size for pid, size in apps if pid in ours))


def imports_a_library(image, rng):
    """Augment nothing, but import what would take a GPU's memory."""
    import jax.numpy as jnp

    jnp.zeros(3).block_until_ready()
    return image


def train(options):
    """Train, and return a row of the table."""
    import keras

    way, small = dict(options["way"]), options["small"]
    if way.pop("augment", False):
        way["augment"] = imports_a_library
    files = helpers.load_photographs(count=BATCH * options["batches"])
    size = (32, 32) if small else (224, 224)
    generator = helpers.MY_Generator(
        files.filenames, files.labels, BATCH, image_size=size, shuffle=True, **way
    )
    layers = [keras.Input((*size, 3)), keras.layers.GlobalAveragePooling2D()]
    model = (
        keras.Sequential([*layers, keras.layers.Dense(len(files.class_names))])
        if small
        else keras.applications.ResNet50(weights=None, classes=len(files.class_names))
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    watch = Watch()
    begin = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: watch.start() if epoch == 1 else None
    )
    with generator, helpers.Timeline(generator, model) as timeline:
        model.fit(generator, epochs=4, verbose=0, callbacks=[begin])
        watch.stopped.set()
    summary = timeline.summary()
    return {
        "images/s": summary["images/s"],
        "waiting (%)": summary["waiting (%)"],
        "GPU used (%)": mean(watch.used) if watch.used else None,
        "workers' GPU memory (MB)": watch.others,
    }


def measured(backend, folder, way, options):
    """Row of a way, measured in a Python of its own."""
    question = {"way": way, "batches": options.batches, "small": options.network == "small"}
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(folder)}
    environment.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    command = [sys.executable, __file__, "--child", json.dumps(question)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--before", type=Path, metavar="FOLDER")
    parser.add_argument("--backends", nargs="+", default=["jax", "torch"])
    parser.add_argument("--batches", type=int, default=60)
    parser.add_argument("--network", choices=["resnet50", "small"], default="resnet50")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    options = parser.parse_args()
    here = Path(__file__).resolve().parents[2]
    versions = {"before": options.before.resolve()} if options.before else {}
    versions["now"] = here
    helpers.load_photographs(count=BATCH * options.batches)
    print(os.cpu_count(), "cores;", "with" if nvidia_smi("gpu=index") else "without", "a GPU")
    todo = [(b, w, v) for b in options.backends for w in options.ways for v in versions]
    rows = []
    for backend, way, version in tqdm(todo):
        row = measured(backend, versions[version], WAYS[way], options)
        rows.append({"backend": backend, "how": way, "version": version, **row})
        print(json.dumps(rows[-1]), flush=True)
    print(pd.DataFrame(rows).round(1).to_string(index=False))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(train(json.loads(sys.argv[2]))))
    else:
        main()
