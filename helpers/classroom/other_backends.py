"""Which batches come, and how fast, where Keras computes with JAX or PyTorch.

A backend is chosen before Keras is loaded. So `batches_on` starts a program of its own for each,
and that program is this file.
"""

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

BATCHES = 20
SECONDS = 0.02  # of a step; and to make a batch, where that costs something


class Came(NamedTuple):
    """What came of four trainings on a backend, each of one epoch with ``shuffle=False``.

    Attributes
    ----------
    keras : list of int
        Numbers of the batches that came through two workers of Keras's; they should be 0 to 19.
    ours : list of int
        The same with two workers of `helpers.MY_Generator`.
    milliseconds : dict of int to float
        For 0 and 2 workers of `helpers.MY_Generator`: time from step to step, where a batch takes
        20 ms to make and a step 20 ms.
    """

    keras: list[int]
    ours: list[int]
    milliseconds: dict[int, float]


def batches_on(backend: str) -> Came | None:
    """Train on a backend of Keras's, in a program of its own, and return what came.

    Parameters
    ----------
    backend : {"jax", "torch", "tensorflow"}

    Returns
    -------
    Came or None
        None, with a line that says so, if the backend is not installed.

    Raises
    ------
    RuntimeError
        If the program on that backend fails.
    """
    if importlib.util.find_spec(backend) is None:
        print(f"{backend} is left out: it is not installed.")
        return None
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "helpers.classroom.other_backends"],
        env={**os.environ, "KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu"},
        cwd=root,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"the program on {backend} ended with: {done.stderr[-500:]}")
    keras, ours, milliseconds = json.loads(done.stdout.splitlines()[-1])
    return Came(keras, ours, {int(workers): value for workers, value in milliseconds.items()})


def main() -> None:
    """Train on the backend that the environment names, and print what came, as JSON."""
    import keras
    import numpy as np

    from helpers.datasets.sample import load_sample
    from helpers.generators.my_generator import MY_Generator

    names = load_sample()[0].filenames
    came: list[int] = []
    ended: list[float] = []

    class Slow(keras.Model):
        def call(self, images):
            return images

        def train_step(self, *state_and_batch):  # JAX gives a state, and wants it back
            *state, (_, numbers) = state_and_batch
            time.sleep(SECONDS)
            came.append(int(numbers[0]))
            ended.append(time.perf_counter())
            return ({"loss": 0.0}, *state) if state else {"loss": 0.0}

    class Numbered(keras.utils.PyDataset):
        def __len__(self):
            return BATCHES

        def __getitem__(self, index):
            return np.zeros((1, 8, 8, 3)), np.array([index])

    def slowly(image, rng):
        time.sleep(SECONDS)
        return image

    def fit(sequence) -> list[int]:
        came.clear()
        ended.clear()
        model = Slow()
        model.compile("sgd", "mse", run_eagerly=True)
        model.fit(sequence, shuffle=False, verbose=0)
        return list(came)

    def ours(workers, **options):
        options |= {"workers": workers, "image_size": (8, 8)}
        return MY_Generator(names[:BATCHES], range(BATCHES), 1, **options)

    milliseconds = {}
    for workers in (0, 2):
        fit(ours(workers, augment=slowly))
        milliseconds[workers] = 1000 * (ended[-1] - ended[4]) / (len(ended) - 5)
    print(json.dumps([fit(Numbered(workers=2)), fit(ours(2)), milliseconds]))


if __name__ == "__main__":
    main()
