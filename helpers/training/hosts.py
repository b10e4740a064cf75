"""One of several trainers, each on a host of its own: ``python -m helpers.training.hosts``.

Start one on each host. The address is a free port of the first host; the folder is one that
all hosts see:

    python -m helpers.training.hosts --address 10.0.0.1:4567 --count 2 --index 0 --folder /shared
    python -m helpers.training.hosts --address 10.0.0.1:4567 --count 2 --index 1 --folder /shared

Keras distributes the training with its JAX backend: every trainer has all the weights and
computes the gradient of its share, and all of them take the step of the mean gradient. If one
dies the others end too; start all again, and they go on from the last backup. On one machine
`helpers.training.launch` does that.
"""

import argparse
import importlib.util
import os
import sys
import threading
import time
import traceback
from pathlib import Path

import numpy as np

IMAGE_SIZE = (32, 32)
SAVE_FREQ = 10  # batches from backup to backup


def main(arguments: list[str] | None = None) -> None:
    """Train as one of several."""
    options = _parse(arguments)
    if options.listen:
        threading.Thread(target=_end_with_input, daemon=True).start()
    try:
        train(options)
    except Exception:
        traceback.print_exc()
        sys.stdout.flush()
        os._exit(1)  # JAX would wait for the other trainers, and they wait for this one


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m helpers.training.hosts",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--address", required=True, metavar="HOST:PORT", help="where trainer 0 will listen")
    add("--count", type=int, required=True, metavar="N", help="trainers")
    add("--index", type=int, required=True, metavar="I", help="which of them this is, from 0")
    add("--folder", type=Path, required=True, help="for backup and results")
    add("--batch-size", type=int, default=32, metavar="N", help="of each trainer; default: 32")
    add("--epochs", type=int, default=3, metavar="N", help="default: 3")
    add("--listen", action="store_true", help="end when standard input ends")
    options = parser.parse_args(arguments)
    if not 0 <= options.index < options.count:
        parser.error(f"--index must be from 0 to {options.count - 1}; received {options.index}")
    if importlib.util.find_spec("jax") is None:
        parser.error("jax is missing: pip install -r notebooks/requirements.txt")
    return options


def _end_with_input() -> None:
    """End this process, even if it waits for another trainer, when its launcher has ended."""
    os.read(0, 1)  # not by sys.stdin, whose lock would be in the way when Python ends
    os._exit(1)


def train(options: argparse.Namespace) -> None:
    """Train as one of several; leave weights and figures in the folder.

    Parameters
    ----------
    options : argparse.Namespace
        What the command line says: address, index, count, folder, batch_size, epochs.

    Raises
    ------
    ValueError
        If the devices of a trainer cannot share a batch.
    RuntimeError
        If the trainers do not read the same backup.
    """
    os.environ["KERAS_BACKEND"] = "jax"  # Keras reads it once, when it is imported
    os.environ["JAX_ENABLE_PREEMPTION_SERVICE"] = "0"  # or SIGTERM would not end this process
    import keras

    from helpers.datasets.sample import load_sample
    from helpers.generators.my_generator import MY_Generator
    from helpers.training.resume import BackupAndResume

    keras.distribution.initialize(options.address, options.count, options.index)
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    files = load_sample()[0]
    devices = len(keras.distribution.list_devices())  # of all trainers; each gets an equal share
    files = files.select(np.arange(len(files.filenames) // devices * devices))
    generator = MY_Generator(
        files.filenames,
        files.labels,
        options.batch_size,
        image_size=IMAGE_SIZE,
        shuffle=True,
        shard=(options.index, options.count),
    )
    model = small_network(len(files.class_names))
    begins = [time.perf_counter()]

    def report(epoch, logs):
        begins.append(time.perf_counter())
        print(f"epoch {epoch + 1} of {options.epochs}: loss {logs['loss']:.4f}", flush=True)

    model.fit(
        generator,
        epochs=options.epochs,
        shuffle=False,  # the generator draws one order for all trainers; Keras would not
        verbose=0,
        callbacks=[
            BackupAndResume(options.folder / "backup", generator, SAVE_FREQ),
            keras.callbacks.LambdaCallback(
                on_train_begin=lambda logs: _check_position(generator, options.folder),
                on_epoch_end=report,
            ),
        ],
    )
    np.savez(
        options.folder / f"trainer-{options.index}.npz",
        weights=np.concatenate([weight.ravel() for weight in model.get_weights()]),
        seconds=np.diff(begins),
        samples=np.concatenate([generator.samples(1, i) for i in range(len(generator))]),
        steps=generator.batches_per_epoch,
        batch=options.batch_size,
    )


def small_network(classes: int):
    """Make a small model whose first weights are the same in every process.

    Parameters
    ----------
    classes : int
        Outputs.

    Returns
    -------
    keras.Model
        Compiled, for images of `IMAGE_SIZE`. Without BatchNormalization, which would not be
        wrong (JAX takes the mean over all trainers) but lets float errors grow.
    """
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((*IMAGE_SIZE, 3)), layers.Flatten()])
    model.add(layers.Dense(32, "tanh"))
    model.add(layers.Dense(classes))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), loss)
    return model


def _check_position(generator, folder: Path) -> None:
    """Make sure that all trainers begin with the same batch: that they share the folder."""
    from jax.experimental import multihost_utils

    position = [generator.epoch, len(generator)]
    positions = multihost_utils.process_allgather(np.array(position), tiled=True)
    if (positions.reshape(-1, 2) != position).any():
        raise RuntimeError(
            f"trainers begin at different batches: is {folder} the same folder on all hosts?"
        )


if __name__ == "__main__":
    main()
