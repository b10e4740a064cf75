"""The class in one command: ``python -m helpers``.

Gets the data, trains a small network from image files, times one process against many, and
leaves a table and a picture.
"""

import argparse
import sys
import warnings
from functools import partial
from typing import NamedTuple

import numpy as np

import helpers
from helpers.arguments import counted
from helpers.datasets.writing import data_folder

TRAINING_SIZE = (32, 32)  # CIFAR-10's own
TIMING_SIZE = (200, 200)  # the article's
REPEATS = 3
PICTURE = "report.png"
DATA_HELP = (
    "drawings made on the spot (the default), the real CIFAR-10 (downloads 170 MB once), "
    "or your own images in FOLDER/<class name>/<image>"
)


class Timed(NamedTuple):
    """Images to time both classes on.

    There are more batches than workers, or some would have nothing to do. The textbook class is
    slow: its batches are smaller than those of `MY_Generator` by `textbook_share`.
    """

    images: str
    files: helpers.ImageFiles
    textbook_share: int = 4
    textbook_batches: int = 24
    generator_batches: int = 120


def main(arguments: list[str] | None = None) -> None:
    """Do the main job; ends with a message and a non-zero exit status if it cannot."""
    options = _parse(arguments)
    warnings.formatwarning = lambda message, *place: f"warning: {message}\n"
    try:
        _run(options)
        problem = None
    except (helpers.ImageError, OSError, ValueError) as error:
        problem = f"error: {error}"
    except KeyboardInterrupt:
        problem = "stopped"
    # Not inside "except": the traceback would keep TensorFlow's iterators, and us, from ending.
    sys.exit(problem)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m helpers", description=__doc__)
    count = partial(parser.add_argument, type=_count, metavar="N")
    parser.add_argument("--data", default="sample", metavar="sample|cifar10|FOLDER", help=DATA_HELP)
    count("--epochs", default=15, help="default: 15")
    count("--batch-size", default=32, help="default: 32")
    count("--workers", default=16, help="processes to time against one; default: 16")
    return parser.parse_args(arguments)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1; received {text!r}")
    return int(text)


def _run(options: argparse.Namespace) -> None:
    train, test = _load(options.data)
    helpers.quiet_tensorflow()
    images = counted(len(train.filenames), "image")
    print(f"{images} to train on, {len(test.filenames):,} to test")
    batch = _train(train, test, options)
    table = _time(train, options)
    print(f"\n{table.to_string(index=False, float_format='{:,.1f}'.format)}\n")
    print("images/s: how fast batches come, through fit with a model that does nothing;")
    print("waited: share of the time in which a small network waited for its data.")
    picture = data_folder() / PICTURE
    helpers.plot_report(batch, train.class_names, table).savefig(picture, dpi=120)
    print(f"\nA figure of a batch and of the timings: {picture}")
    print("The class itself: jupyter lab notebooks")


def _load(data: str) -> tuple[helpers.ImageFiles, helpers.ImageFiles]:
    if data == "sample":
        print("The sample: drawings in CIFAR-10's ten classes. They are not CIFAR-10.")
        return helpers.load_sample()
    if data == "cifar10":
        return helpers.load_cifar10()
    train, test = helpers.load_folder(data).split(0.2)
    return train.shuffled(), test


def _small_network(image_size: tuple[int, int], classes: int):
    import keras
    from keras import layers

    model = keras.Sequential([keras.Input((*image_size, 3))])
    model.add(layers.AveragePooling2D(max(1, image_size[0] // 40)))  # keeps large images cheap
    for filters in (16, 32, 64):
        model.add(layers.Conv2D(filters, 3, padding="same", activation="relu"))
        model.add(layers.MaxPooling2D())
    model.add(layers.Flatten())
    model.add(layers.Dense(64, activation="relu"))
    model.add(layers.Dense(classes, activation="softmax"))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def _train(train: helpers.ImageFiles, test: helpers.ImageFiles, options: argparse.Namespace):
    import keras

    keras.utils.set_random_seed(0)
    same = {"image_size": TRAINING_SIZE, "on_error": "skip", "workers": 2}
    make = partial(helpers.MY_Generator, batch_size=options.batch_size, **same)
    training = make(train.filenames, train.labels, shuffle=True)
    validation = make(test.filenames, test.labels)
    print(f"Training from files: {training}")
    model = _small_network(TRAINING_SIZE, len(train.class_names))
    history = model.fit(training, validation_data=validation, epochs=options.epochs)
    accuracy = history.history["val_accuracy"][-1]
    guessing = 1 / len(train.class_names)
    print(f"Accuracy on the test images: {accuracy:.0%}; guessing: {guessing:.0%}")
    return training[0]


def _time(files: helpers.ImageFiles, options: argparse.Namespace):
    """Time both classes with one process and with many."""
    import pandas as pd

    print(f"\nTiming one process against {options.workers}, at 200×200")
    timed = [Timed({"sample": "drawings, 32×32"}.get(options.data, options.data), files)]
    if options.data in ("sample", "cifar10"):  # which are tiny; what most people have is not
        photographs = helpers.load_photographs()
        fewer = {"textbook_share": 16, "generator_batches": 24}
        timed.insert(0, Timed("photographs, 500×375", photographs, **fewer))
    return pd.concat([_time_on(each, options) for each in timed], ignore_index=True)


def _time_on(timed: Timed, options: argparse.Namespace):
    import pandas as pd

    model = _small_network(TIMING_SIZE, len(timed.files.class_names))
    tables = []
    small, size = max(1, options.batch_size // timed.textbook_share), options.batch_size
    for make_class, batches, batch_size, extra in (
        (helpers.CIFAR10Sequence, timed.textbook_batches, small, {}),
        (helpers.MY_Generator, timed.generator_batches, size, {"on_error": "skip"}),
    ):
        wanted = np.arange(batches * batch_size)
        files = timed.files.shuffled().select(wanted % len(timed.files.filenames))
        settings = {"max_queue_size": 32, **extra}
        make = partial(make_class, files.filenames, files.labels, batch_size, **settings)
        try:
            for _ in make():  # fills the disk cache, and shows whether the files can be read
                pass
        except Exception as error:
            print(f"{make_class.__name__} cannot read these files: {type(error).__name__}: {error}")
            continue
        table = _time_class(
            lambda workers, make=make, **kwargs: make(workers=workers, **kwargs), options, model
        )
        table.insert(0, "images", timed.images)
        table.insert(1, "what", f"{make_class.__name__}, batches of {batch_size}")
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _time_class(make, options: argparse.Namespace, model):
    compare = partial(helpers.compare_workers, make, workers=[1], processes=[options.workers])
    table = compare(repeats=REPEATS)
    table["waited (%)"] = compare(repeats=1, model=model)["waited (%)"]
    table.insert(0, "how", ["one process", counted(options.workers, "process", "processes")])
    return table[["how", "images/s", "first batch (s)", "waited (%)"]]


if __name__ == "__main__":
    main()
