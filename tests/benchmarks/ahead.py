"""What reading ahead brings, on each backend, in ``fit`` and in a loop of one's own.

    python tests/benchmarks/ahead.py [--rounds N] [--before FOLDER] [--only a,b,...] [--length X]

a  Through ``fit`` on TensorFlow, with a model that does nothing: 2 and 16 processes, against the
   limit (see speed.py).
b  Short epochs against long ones.
c  A step of 20 ms while a batch takes 20 ms to load, on TensorFlow, JAX and PyTorch; and a model
   that does nothing, on each.
d  A loop by hand against ``fit``.
e  One batch ahead, in a thread, against none.

With --before all of it is measured with the `helpers` of another checkout, too, such as ``git
worktree add FOLDER REVISION`` makes. Drawings at 200×200, float32. In each round every backend,
and every version, has a Python of its own; all take turns, the versions one right after the other.
Tables have the medians of the rounds, the lowest and the highest; a ratio is that within a round.
Let nothing else run beside it. Five rounds with --before take about 25 minutes on two cores;
``--rounds 1 --length 0.1`` shows in a minute or two whether it works.
"""

import argparse
import contextlib
import functools
import importlib.util
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import speed
from decoding import measure_limit
from speed import CORES, FIT, LIMIT, PROCESSES, SIXTEEN
from tqdm import tqdm

import helpers

# Keras is imported in functions only: each child has its own backend.

BACKENDS = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}
SIZE = 32  # of a batch
EPOCH = 8192  # images
STEP = LOADING = 0.020  # seconds
MEMORIES = 6
IN_TURN = f"the same, memory of {MEMORIES} batches in turn"
ALL_CORES = {"workers": CORES, "use_multiprocessing": True}
MANY_PROCESSES = {"workers": 16, "use_multiprocessing": True, "max_queue_size": 32}
CHILD = "--child"


# ---- what a child measures -----------------------------------------------------------------------


def serve(folder):
    """Say when it can begin; then answer questions, a line of JSON each, until no more come."""
    answers, sys.stdout = sys.stdout, sys.stderr
    warnings.filterwarnings("ignore", "batches are made one at a time")  # before, on two backends
    if os.environ["KERAS_BACKEND"] == "tensorflow":
        helpers.quiet_tensorflow()
    importlib.import_module("keras")
    files = helpers.load_folder(folder).shuffled()
    thread_takes = functools.cache(lambda: seconds_of_batch(files))
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        function = MEASURES[question.pop("what")]
        if question.pop("as_long_as_loading", False):
            question["step"] = thread_takes()
        size, batches = question.pop("size"), question.pop("batches")
        some = files.select(np.arange(size * batches) % len(files.filenames))
        print(json.dumps(function(some, size, **question)), file=answers, flush=True)


def fit(files, size, epochs=2, step=0.0, loading=0.0, **options):
    """Images/s of ``fit``; a step, and to load a batch in a thread, take so many seconds."""
    if loading:
        options["augment"] = augment_that_takes(files, loading)
    with generator_of(files, size, **options) as generator:
        return rate_of_fit(generator, len(files.filenames), epochs, step)


def fit_alone(files, size):
    """Images/s of ``fit`` with the same batch again and again."""
    import ways

    with ways.constant(files, size, len(files.filenames) // size) as sequence:
        return rate_of_fit(sequence, len(files.filenames))


def limit(files, size, in_turn=1):
    """Images/s of decoding and resizing alone, into the memory of so many batches."""
    return measure_limit(files.filenames, CORES, size, in_turn)


def by_hand(files, size, **options):
    """Images/s of a ``for`` loop that does nothing."""
    from photos import drained

    return drained(generator_of(files, size, **options))


MEASURES = {function.__name__: function for function in (fit, fit_alone, limit, by_hand)}


def generator_of(files, size, **options):
    """Return this project's generator."""
    return helpers.MY_Generator(files.filenames, files.labels, size, **options)


def rate_of_fit(sequence, images, epochs=2, step=0.0):
    """Images/s from the beginning of the second epoch to the last step of the last one."""
    from keras.callbacks import LambdaCallback

    begun, ended = [], []
    note = LambdaCallback(
        on_epoch_begin=lambda epoch, logs: begun.append(time.perf_counter()),
        on_train_batch_end=lambda batch, logs: ended.append(time.perf_counter()),
    )
    make_model(step).fit(sequence, epochs=epochs, verbose=0, callbacks=[note])
    return images * (epochs - 1) / (ended[-1] - begun[1])


def make_model(seconds):
    """Compile a model that learns nothing and sleeps in each step, as while a GPU works."""
    import keras

    class Sleeping(keras.Model):
        def train_step(self, *state_and_data):  # on JAX both, and the state goes back
            *state, _ = state_and_data
            if seconds:
                time.sleep(seconds)
            return ({"loss": 0.0}, *state) if state else {"loss": 0.0}

    model = Sleeping()
    model.built = True  # there are no weights
    model.compile(run_eagerly=True)
    return model


def augment_that_takes(files, seconds):
    """Return an `augment` that sleeps so long that a thread takes `seconds` for a batch."""
    first = seconds / 2 / SIZE
    taken = seconds_of_batch(files, sleeping(first))
    return sleeping(max(first + (seconds - taken) / SIZE, 0))


def sleeping(seconds):
    """Return an `augment` that only sleeps."""

    def augment(image, rng):
        time.sleep(seconds)
        return image

    return augment


def seconds_of_batch(files, augment=None, batches=30):
    """Seconds that a thread takes for a batch."""
    generator = generator_of(files, SIZE, augment=augment, workers=0)
    times = [time.perf_counter()]
    for index in range(batches):
        generator[index % len(generator)]
        times.append(time.perf_counter())
    return float(np.median(np.diff(times)))


# ---- children ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Way:
    """Something to measure: on which backend, by which of `MEASURES`, and how.

    Attributes
    ----------
    backend : str
        Keras's name of it.
    what : str
        Name of a function above.
    size, batches : int
        Images in a batch, and batches in an epoch.
    options : tuple of (str, object)
        What else that function gets.
    """

    backend: str
    what: str
    size: int
    batches: int
    options: tuple = ()

    def question(self, length):
        """Return what a child is to be asked, for epochs that are `length` times as long."""
        batches = max(round(self.batches * length), 2)
        return {"what": self.what, "size": self.size, "batches": batches, **dict(self.options)}


def way(what, backend="tensorflow", size=SIZE, images=EPOCH, **options):
    """Make a `Way`; by itself in epochs of `images`."""
    return Way(backend, what, size, images // size, tuple(options.items()))


class Child:
    """A Python that measures, on one backend and with one version of `helpers`.

    Parameters
    ----------
    backend : str
        Keras's name of it.
    version : Path
        The folder in which `helpers` lies.
    pictures : Path
        Class folders.
    """

    def __init__(self, backend, version, pictures):
        environment = {"KERAS_BACKEND": backend, "PYTHONPATH": str(version)}
        # On a GPU, several of them share it.
        environment |= {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_FORCE_GPU_ALLOW_GROWTH": "1"}
        command = [sys.executable, __file__, CHILD, str(pictures)]
        self.name = f"{backend} with {version}"
        self.process = subprocess.Popen(
            command, stdin=-1, stdout=-1, text=True, env=os.environ | environment
        )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.communicate()  # no more questions

    def ask(self, question):
        """Have something measured."""
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return json.loads(self.answer())

    def answer(self):
        """Wait for a line."""
        if not (line := self.process.stdout.readline()):
            raise SystemExit(f"{self.name} ended, for the reason that stands above")
        return line


def measure(ways, versions, options):
    """Measure all ways in all versions; figures of the rounds, by (version, way)."""
    pictures = Path(helpers.load_sample()[0].filenames[0]).parents[1]
    figures = {(version, way): [] for version in versions for way in ways}
    backends = {way.backend for way in ways}
    with tqdm(total=options.rounds * len(figures)) as progress:
        for number in range(options.rounds):
            with contextlib.ExitStack() as stack:
                children = {
                    (version, backend): stack.enter_context(Child(backend, folder, pictures))
                    for version, folder in versions.items()
                    for backend in backends
                }
                for child in children.values():
                    child.answer()  # nothing is measured while another still imports
                for way in ways:
                    progress.set_description(f"{way.backend}, {way.what}")
                    for version in list(versions)[:: -1 if number % 2 else 1]:
                        answer = children[version, way.backend].ask(way.question(options.length))
                        figures[version, way].append(answer)
                        progress.update()
    return figures


# ---- what is measured, and what is to be reached -------------------------------------------------


@dataclass
class Part:
    """A table.

    Attributes
    ----------
    letter : str
        To choose it by.
    title : str
        What stands above it.
    ways : dict
        What is measured, by (group of rows, row).
    goals : callable
        Gets a table with a row for each round and these columns; yields what is compared, a
        series of the figures, and the goal.
    as_milliseconds : bool
        Show, and compare, milliseconds a step instead of images/s, and have a goal be the most.
    """

    letter: str
    title: str
    ways: dict
    goals: Callable
    as_milliseconds: bool = False

    def table(self, figures, version):
        """Return what was measured of one version: a row for each round."""
        rates = pd.DataFrame({row: figures[version, way] for row, way in self.ways.items()})
        return 1000 * SIZE / rates if self.as_milliseconds else rates


def of_the_limit():
    """2 and 16 processes through ``fit``, and what would be possible."""
    ways = {}
    for size in (32, 128):
        ways |= {
            (f"batches of {size}", FIT): way("fit_alone", size=size),
            (f"batches of {size}", LIMIT): way("limit", size=size),
            (f"batches of {size}", IN_TURN): way("limit", size=size, in_turn=MEMORIES),
            (f"batches of {size}", PROCESSES): way("fit", size=size, **ALL_CORES),
            (f"batches of {size}", SIXTEEN): way("fit", size=size, **MANY_PROCESSES),
        }

    def goals(rates):
        for size, whole, goal in ((32, "what the limit leaves", 0.8), (128, "the limit", 0.85)):
            group = rates[f"batches of {size}"]
            for limit, addition in ((LIMIT, ""), (IN_TURN, ", memory in turn")):
                rounds = group.assign(**{LIMIT: group[limit]})
                # Its first goal is this one; of each round for itself.
                parts = [next(speed.goals(rounds.loc[[n]], size))[1] for n in rounds.index]
                what = f"batches of {size}: {CORES} processes, of {whole}{addition}"
                yield what, pd.Series(parts), goal
            of_few = group[SIXTEEN] / group[PROCESSES]
            yield f"batches of {size}: 16 processes, of {CORES}", of_few, 0.95

    return Part("a", "images/s: TensorFlow, through fit, a model that does nothing", ways, goals)


def short_epochs():
    """Epochs that are over soon, against long ones."""
    group = f"{CORES} processes, batches of 128"
    short, long = (group, "epochs of 16 batches"), (group, "epochs of 128 batches")

    def epochs(batches):
        return way("fit", size=128, images=128 * batches, epochs=6, **ALL_CORES)

    def goals(rates):
        yield "epochs of 16 batches, of those of 128", rates[short] / rates[long], 0.85

    ways = {short: epochs(16), long: epochs(128)}
    return Part("b", "images/s: TensorFlow, fit(epochs=6), from the second epoch on", ways, goals)


def side_by_side(backends):
    """A step and loading, which take equally long, at the same time."""
    workers = {
        "workers=0": {"workers": 0},
        "workers=1": {"workers": 1},
        "2 threads": {"workers": 2},
        "2 processes": {"workers": 2, "use_multiprocessing": True},
    }
    times = {"images": 40 * SIZE, "step": STEP, "loading": LOADING}
    ways = {
        (name, row): way("fit", backend, **times, **options)
        for backend, name in backends.items()
        for row, options in workers.items()
    }

    def goals(milliseconds):
        for group, row in ways:
            if row != "workers=0":
                yield f"{group}, {row}", milliseconds[group, row], 22

    title = "ms a step: it sleeps for 20 ms, and loading its batch takes a thread 20 ms"
    return Part("c", title, ways, goals, as_milliseconds=True)


def other_backends(backends):
    """How many images come on each backend."""
    group = f"{CORES} processes, batches of {SIZE}"
    ways = {(group, name): way("fit", backend, **ALL_CORES) for backend, name in backends.items()}

    def goals(rates):
        for name in list(backends.values())[1:]:
            ratio = rates[group, name] / rates[group, BACKENDS["tensorflow"]]
            yield f"{name}, of TensorFlow", ratio, 0.9

    return Part("c", "images/s: through fit, a model that does nothing", ways, goals)


def loop_by_hand():
    """A loop of one's own against ``fit``."""
    ways = {}
    for size in (32, 128):
        ways |= {
            (f"batches of {size}", "fit"): way("fit", size=size, **ALL_CORES),
            (f"batches of {size}", "a loop"): way("by_hand", size=size, **ALL_CORES),
        }

    def goals(rates):
        for size in (32, 128):
            group = rates[f"batches of {size}"]
            yield f"batches of {size}: a loop, of fit", group["a loop"] / group["fit"], 1.05

    return Part("d", f"images/s: TensorFlow, {CORES} processes, nothing is trained", ways, goals)


def one_ahead(backends):
    """One thread that is one batch ahead, against none."""
    models = {"does nothing": {}, "takes as long as loading": {"as_long_as_loading": True}}
    ways = {
        (f"{name}, a model that {does}", f"workers={workers}"): way(
            "fit", backend, images=EPOCH // 4, workers=workers, **options
        )
        for backend, name in backends.items()
        for does, options in models.items()
        for workers in (0, 1)
    }

    def goals(rates):
        for group in rates.columns.unique(0):
            ratio = rates[group, "workers=1"] / rates[group, "workers=0"]
            yield f"{group}: workers=1, of workers=0", ratio, 1

    return Part("e", f"images/s: through fit, batches of {SIZE}", ways, goals)


def all_parts(backends):
    """List all tables."""
    return [
        of_the_limit(),
        short_epochs(),
        side_by_side(backends),
        other_backends(backends),
        loop_by_hand(),
        one_ahead(backends),
    ]


# ---- what is printed -----------------------------------------------------------------------------


def print_part(part, tables):
    """Print the table of a part, and its goals; `tables` has one for each version."""
    print(f"\n{part.letter}  {part.title}")
    columns = {}
    for version, table in tables.items():
        columns[version, "median"] = table.median()
        columns[version, "lowest"], columns[version, "highest"] = table.min(), table.max()
    shown = pd.DataFrame(columns).map("{:,.1f}".format)
    if "before" in tables:
        ratio = tables["now"] / tables["before"]
        shown["now / before", ""] = ratio.median().map("{:.2f}".format)
    print(shown.to_string())
    goals = pd.DataFrame(rows_of_goals(part, tables))
    print(goals.to_string(index=False, float_format="{:.2f}".format))


def rows_of_goals(part, tables):
    """Yield a row for each goal: what is to be reached, or not to be exceeded, and what was."""
    reached = {version: list(part.goals(table)) for version, table in tables.items()}
    for number, (what, now, goal) in enumerate(reached["now"]):
        median = now.median()
        good = median <= goal if part.as_milliseconds else median >= goal
        yield {
            "": "reached" if good else "missed",
            "what": what,
            "goal": f"{'at most' if part.as_milliseconds else 'at least'} {goal:g}",
            **{version: goals[number][1].median() for version, goals in reached.items()},
            "lowest": now.min(),
            "highest": now.max(),
        }


def installed_backends():
    """Return the backends that are here, and print which are not."""
    here = {name: shown for name, shown in BACKENDS.items() if importlib.util.find_spec(name)}
    for name in BACKENDS.keys() - here.keys():
        print(f"{BACKENDS[name]} is left out: it is not installed (pip install {name})")
    return here


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--before", type=Path, metavar="FOLDER", help="a checkout to compare with")
    parser.add_argument("--only", default="a,b,c,d,e", metavar="a,b,...", help="parts")
    parser.add_argument("--length", type=float, default=1.0, help="of epochs; 0.1 for a trial")
    options = parser.parse_args()
    options.only = options.only.split(",")
    if unknown := set(options.only) - set("abcde"):
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    if options.before and not Path(options.before, "helpers", "__init__.py").exists():
        parser.error(f"there are no helpers in {options.before}")
    return options


def main():
    """Measure and print."""
    options = parse()
    versions = {"before": options.before.resolve()} if options.before else {}
    versions["now"] = Path(helpers.__file__).parents[1]
    parts = [part for part in all_parts(installed_backends()) if part.letter in options.only]
    ways = dict.fromkeys(way for part in parts for way in part.ways.values())
    figures = measure(list(ways), versions, options)
    print(f"{CORES} cores, medians of {options.rounds}")
    for part in parts:
        print_part(part, {version: part.table(figures, version) for version in versions})


if __name__ == "__main__":
    if sys.argv[1:2] == [CHILD]:
        serve(sys.argv[2])
    else:
        main()
