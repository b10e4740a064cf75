"""What may go wrong while worker processes feed ``fit``, done for real.

Whatever would endanger the tests' own process runs in a program of its own.
"""

import contextlib
import functools
import json
import os
import random
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
import traceback
import uuid
import warnings
import zlib
from collections import Counter
from pathlib import Path

import conftest
import cv2
import keras
import numpy as np
import psutil
import pytest
from jupyter_client.manager import KernelManager

from helpers import MY_Generator
from helpers.loading import pool
from helpers.loading.loaders import TRIES
from helpers.loading.read_ahead import IDLE_SECONDS
from helpers.profiling.timing import Arrivals

# A signal could not end a fit that hangs, since it waits within TensorFlow.
pytestmark = [
    pytest.mark.timeout(150, method="thread"),
    pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc and signals"),
]

MARK = "FAULTS_TEST"  # what is started inherits it, and is found by it whoever its parent is now
COUNT = 121  # pictures: 31 batches of 4, of which the last is short
SIXTEEN = {"workers": 16, "use_multiprocessing": True, "max_queue_size": 32}
Generator = functools.partial(MY_Generator, batch_size=4, image_size=(12, 10), **SIXTEEN)
# What may come in by the machine being slow; each is far from the seconds of a hang.
SLACK = 15
wait_until = functools.partial(conftest.wait_until, seconds=SLACK)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Small pictures, all different."""
    folder = tmp_path_factory.mktemp("files")
    for number in range(COUNT):
        conftest.write_picture(
            folder / f"{number:03}.png", 8 + number % 9, 8 + number % 7, seed=number
        )
    return folder


@pytest.fixture(scope="module")
def files(folder):
    return sorted(str(path) for path in folder.iterdir())


@pytest.fixture(autouse=True)
def mark(monkeypatch):
    """What all processes of this test have in their environment; none may be left of them."""
    mark = uuid.uuid4().hex
    monkeypatch.setenv(MARK, mark)
    try:
        yield mark
        left = f"{SLACK} s after the test there is still"
        assert wait_until(lambda: not processes(mark)), f"{left} {processes(mark)}"
    finally:
        for process in processes(mark):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def processes(mark):
    """Everything that runs with the mark of a test in its environment."""
    found = []
    for process in psutil.process_iter():
        # Of one that ended just now, or is a zombie, the environment cannot be read.
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark:
                found.append(process)
    return found


def is_server(process):
    with contextlib.suppress(psutil.Error):
        return "server" in process.cmdline() and os.getpgid(process.pid) == process.pid
    return False


def engine(mark):
    """The processes of generators: (servers, workers from the oldest to the newest)."""
    found = []
    for process in processes(mark):
        with contextlib.suppress(psutil.Error):
            if "helpers.loading.worker_process" in process.cmdline():
                found.append((process.create_time(), process.pid, process))
    found = [process for _, _, process in sorted(found)]
    servers = [process for process in found if is_server(process)]
    return servers, [process for process in found if process not in servers]


@contextlib.contextmanager
def meanwhile(action, every=0.06):
    """Do something again and again in another thread."""
    stop = threading.Event()

    def repeat():
        while not stop.wait(every):
            action()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(SLACK)


class Collector(Arrivals):
    """Trains nothing; notes of each sample its label, which is its number, and its picture."""

    def __init__(self):
        super().__init__()
        self.trained, self.validated = [], []

    def train_step(self, data):
        self.trained += note(data)
        return super().train_step(data)

    def test_step(self, data):
        self.validated += note(data)
        return {"loss": 0.0}

    def predict_step(self, data):
        return keras.ops.mean(data[0], axis=(1, 2, 3))


def note(data):
    images, labels = (np.asarray(array) for array in data)
    return [(int(label), zlib.crc32(x.tobytes())) for x, label in zip(images, labels, strict=True)]


def fit(generator, **options):
    """What arrives in ``fit``: [(number of the sample, checksum of its picture), …]."""
    model = Collector()
    model.fit(generator, verbose=0, **options)
    return model.trained


def error_of_fit(generator, **options):
    """What the user reads when an error ends ``fit``."""
    with pytest.raises(Exception) as caught:  # TensorFlow's, of several kinds
        fit(generator, **options)
    return "".join(traceback.format_exception(caught.value))


def made_by_one(files):
    """The samples of an epoch, as one process makes them."""
    one = MY_Generator(files, range(len(files)), 4, image_size=(12, 10))
    samples = [sample for index in range(-(-len(files) // 4)) for sample in note(one[index])]
    assert [number for number, _ in samples] == list(range(len(files)))
    return samples


def assert_each_once(samples, files, epochs=1):
    assert Counter(samples) == dict.fromkeys(made_by_one(files), epochs)


@contextlib.contextmanager
def one_warning(pattern):
    """Exactly one warning of the workers, however often warnings are shown."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    said = [str(warning.message) for warning in caught]
    said = [text for text in said if re.search(r"[Ww]orker|shared memory", text)]
    assert len(said) == 1, said
    assert re.search(pattern, said[0])


# An augment is a function within a function: so it travels to the workers by its value, and they
# need not import this file.


def wait_a_little(seconds):
    def augment(image, rng):
        time.sleep(seconds)
        return image

    return augment


def once(marker, fault):
    """An augment that does something bad to its process, once, somewhere in the epoch."""

    def augment(image, rng):
        if rng.random() < 0.05:
            with contextlib.suppress(FileExistsError):
                os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
                fault()
        return image

    return augment


# ---- programs of their own -----------------------------------------------------------------------

PRELUDE = """
import os, sys, threading, time, warnings, zlib
from pathlib import Path

import keras
import numpy as np
import psutil

from helpers import CIFAR10Sequence, MY_Generator
from helpers.profiling.timing import Arrivals

FILES = sorted(str(path) for path in Path(sys.argv[1]).iterdir())
NUMBERS = list(range(len(FILES)))
SIXTEEN = dict(image_size=(12, 10), workers=16, use_multiprocessing=True, max_queue_size=32)

def say(*words):
    print(*words, flush=True)

class Collector(Arrivals):
    def __init__(self):
        super().__init__()
        self.trained, self.validated = [], []

    def train_step(self, data):
        if not self.trained:
            say("training")
        self.trained += data[1].numpy().tolist()
        return super().train_step(data)

    def test_step(self, data):
        if not self.validated:
            say("validating")
        self.validated += data[1].numpy().tolist()
        return {"loss": 0.0}

def fit_and_check(generator, epochs=1):
    model = Collector()
    model.fit(generator, epochs=epochs, verbose=0)
    assert sorted(model.trained) == sorted(NUMBERS * epochs), Counter(model.trained)
    say("each sample once")

def slow(image, rng):
    time.sleep(0.05)
    return image
"""


class Program:
    """A script that runs beside the test."""

    def __init__(self, script, arguments, folder, before=()):
        self.folder = folder
        folder.mkdir()
        path = folder / "script.py"
        path.write_text(PRELUDE + textwrap.dedent(script), encoding="utf-8")
        command = [*before, sys.executable, str(path), *map(str, arguments)]
        with (folder / "said").open("wb") as out, (folder / "errors").open("wb") as errors:
            self.process = subprocess.Popen(
                command, cwd=folder, stdout=out, stderr=errors, start_new_session=True
            )

    @property
    def said(self):
        return (self.folder / "said").read_text(encoding="utf-8")

    @property
    def errors(self):
        return (self.folder / "errors").read_text(encoding="utf-8", errors="replace")

    def wait_for(self, text, times=1, seconds=60):
        """Wait until it said something."""

        def ready():
            return self.said.count(text) >= times or self.process.poll() is not None

        assert wait_until(ready, seconds=seconds), f"never said {text!r}: {self.said}{self.errors}"
        assert self.said.count(text) >= times, f"ended, and said {self.said}{self.errors}"

    def end(self, seconds=90):
        """Wait until it ends by itself and without an error."""
        assert self.process.wait(seconds) == 0, self.said + self.errors
        return self.said


@pytest.fixture
def start(folder, tmp_path):
    """Start a script: ``start(script, *arguments, before=command that runs it)``."""
    programs = []

    def start(script, *arguments, before=()):
        place = tmp_path / f"program {len(programs)}"
        programs.append(Program(script, [folder, *arguments], place, before))
        return programs[-1]

    yield start
    for program in programs:
        if program.process.poll() is None:
            program.process.kill()
            program.process.wait(SLACK)


# ---- workers that die ----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "exec"])
@pytest.mark.parametrize("server_too", [False, True], ids=["workers", "workers and server"])
def test_killed_workers_cost_nothing(files, mark, monkeypatch, method, server_too):
    monkeypatch.setattr(pool, "START_METHOD", method)
    choose = random.Random(0).choice
    killed = []

    def kill_one():
        servers, workers = engine(mark)
        # Lost batches are made again by the newest. These are spared, since three deaths over
        # one batch are another fault, with a test of its own.
        if len(workers) > 8 and len(killed) < 10:
            victim = choose(workers[:-8])
            if server_too and len(killed) == 3:
                victim = servers[0]
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()
            killed.append(victim.pid)

    augment = wait_a_little(0.03)
    with Generator(files, range(COUNT), augment=augment) as generator:
        with one_warning("died.*made again"), meanwhile(kill_one):
            samples = fit(generator, epochs=4)
        assert_each_once(samples, files, epochs=4)
        assert len(killed) == 10
        assert_each_once(fit(generator), files)


FAULTS = {
    "exit code 0": lambda: os._exit(0),
    "exit code 1": lambda: os._exit(1),
    "sys.exit": lambda: sys.exit(0),
    "segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "SIGKILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "SIGTERM": lambda: os.kill(os.getpid(), signal.SIGTERM),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_worker_that_ends_costs_nothing(files, tmp_path, fault):
    marker = tmp_path / "marker"
    with Generator(files, range(COUNT), augment=once(str(marker), fault)) as generator:
        with one_warning("died.*made again"):
            samples = fit(generator)
        assert marker.exists()
        assert_each_once(samples, files)


def test_a_batch_that_kills_every_worker_is_an_error_after_three_tries(files, tmp_path):
    white, deaths = str(tmp_path / "white.png"), str(tmp_path / "deaths")
    cv2.imwrite(white, np.full((9, 9, 3), 255, np.uint8))
    with_white = [*files[:42], white, *files[43:]]

    def augment(image, rng):
        if image.min() == 1:
            with open(deaths, "a") as file:  # noqa: PTH123 - it runs in a worker, without pathlib
                file.write("x")
            os.kill(os.getpid(), signal.SIGKILL)
        return image

    with Generator(with_white, range(COUNT), augment=augment) as generator:
        with one_warning("died"):
            text = error_of_fit(generator, shuffle=False)
        assert_names_batch_10(text, with_white)
        assert f"{TRIES} worker processes died" in text
        assert "out of memory" in text
        assert Path(deaths).read_text() == "x" * TRIES

        others = [generator[index] for index in range(len(generator)) if index != 10]
        samples = [sample for batch in others for sample in note(batch)]
        assert samples == made_by_one(files)[:40] + made_by_one(files)[44:]
        cv2.imwrite(white, np.full((9, 9, 3), 7, np.uint8))
        assert_each_once(fit(generator), with_white)


def assert_names_batch_10(text, files):
    assert "batch 10 of epoch" in text
    assert f"of 4 files, from {files[40]} to {files[43]}" in text


# ---- workers that do not answer ------------------------------------------------------------------


def test_a_stopped_worker_is_an_error_in_time_and_the_next_fit_works(files, mark):
    stopped = []

    def stop_one():
        _, workers = engine(mark)
        if not stopped and len(workers) > 4:
            workers[1].suspend()
            stopped.append((time.monotonic(), workers[1]))

    augment = wait_a_little(0.03)
    with Generator(files, range(COUNT), augment=augment, timeout=2) as generator:
        with meanwhile(stop_one):
            text = error_of_fit(generator, epochs=1000)
        since, worker = stopped[0]
        assert time.monotonic() - since < 2 + SLACK
        assert "TimeoutError" in text
        assert re.search(r"2 s of batch \d+ of epoch \d+ of \d files, from \S+png to \S+png", text)
        # At once, not when all of them end because they are idle.
        assert wait_until(lambda: not worker.is_running(), seconds=IDLE_SECONDS / 2)
        assert_each_once(fit(generator), files)


def test_a_disk_that_hangs_is_an_error_in_time_and_nothing_is_left(files, tmp_path, mark):
    fifo = tmp_path / "hangs.png"
    os.mkfifo(fifo)  # who opens it waits until somebody writes to it
    with_fifo = [*files[:42], str(fifo), *files[43:]]
    fit(MY_Generator(files[:8], range(8), 4))  # TensorFlow has started its threads
    threads = threading.active_count()
    with Generator(with_fifo, range(COUNT), timeout=2) as generator:
        began = time.monotonic()
        text = error_of_fit(generator, shuffle=False)
        assert 2 <= time.monotonic() - began < 2 + SLACK
        assert "TimeoutError" in text
        assert_names_batch_10(text, with_fifo)
        fifo.unlink()
        fifo.write_bytes(Path(files[42]).read_bytes())
        assert_each_once(fit(generator), with_fifo)
    assert wait_until(lambda: not processes(mark))
    assert wait_until(lambda: threading.active_count() <= threads), threading.enumerate()


def test_close_ends_a_worker_that_hangs(files, tmp_path, mark):
    fifo = tmp_path / "hangs.png"
    os.mkfifo(fifo)
    with_fifo = [*files[:42], str(fifo), *files[43:]]
    generator = Generator(with_fifo, range(COUNT), timeout=None)
    closed = []

    def close():
        closed.append(time.monotonic())
        generator.close()

    # Not before batch 10 is asked for: who asks after `close` reads the file himself, and hangs.
    closing = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: batch == 9 and threading.Timer(2, close).start()
    )
    text = error_of_fit(generator, shuffle=False, epochs=2, callbacks=[closing])
    assert time.monotonic() - closed[0] < SLACK
    assert "closed" in text
    assert wait_until(lambda: not processes(mark))


# ---- pictures and functions that are at fault ----------------------------------------------------


def without_permission(path):
    path.write_bytes(b"")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read every file")


BAD = {
    "broken": lambda path: path.write_bytes(b"no picture"),
    "empty": lambda path: path.write_bytes(b""),
    "missing": lambda path: None,
    "a circle of links": lambda path: path.symlink_to(path),
    "without permission": without_permission,
    "a folder": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("make_bad", BAD.values(), ids=BAD)
def test_a_bad_picture_is_named_by_fit_and_mending_it_is_enough(files, tmp_path, make_bad):
    bad = tmp_path / "bad.png"
    make_bad(bad)
    with_bad = [*files[:42], str(bad), *files[43:]]
    with Generator(with_bad, range(COUNT)) as generator:
        text = error_of_fit(generator)
        assert "ImageError" in text
        assert str(bad) in text
        if bad.is_dir():
            bad.rmdir()
        bad.unlink(missing_ok=True)
        bad.write_bytes(Path(files[42]).read_bytes())
        assert_each_once(fit(generator), with_bad)


@pytest.mark.parametrize("position", [0, 42])  # Keras looks at two batches before it fits
def test_an_augment_that_raises_shows_its_own_traceback(files, tmp_path, position):
    white = str(tmp_path / "white.png")
    cv2.imwrite(white, np.full((9, 9, 3), 255, np.uint8))
    with_white = [*files[:position], white, *files[position + 1 :]]
    strengths = {}

    def brighten(image, rng):
        if image.min() == 1:
            image *= strengths["no such strength"]
        return image

    with Generator(with_white, range(COUNT), augment=brighten) as generator:
        text = error_of_fit(generator)
    assert "KeyError" in text
    assert "in brighten" in text
    assert 'image *= strengths["no such strength"]' in text
    assert re.search(r"In worker process \d+", text)
    assert f"augment failed on {white}" in text


def test_an_augment_that_cannot_be_pickled_is_named_by_the_constructor(files):
    lock = threading.Lock()

    def one_at_a_time(image, rng):
        with lock:
            return image

    with pytest.raises(TypeError, match=r"one_at_a_time cannot be sent .*lock"):
        Generator(files, range(COUNT), augment=one_at_a_time)


# ---- Ctrl-C, and a program that is killed --------------------------------------------------------

INTERRUPTED = """
import signal

# A program that was started in the background of a shell ignores Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
generator = MY_Generator(FILES, NUMBERS, 4, augment=slow, **SIXTEEN)
try:
    Collector().fit(generator, epochs=1000, verbose=0)
except KeyboardInterrupt:
    say("interrupted")
fit_and_check(generator)
generator.close()
while not Path("closed looked at").exists():
    time.sleep(0.05)
second = MY_Generator(FILES, NUMBERS, 4, augment=slow, **SIXTEEN)
fit_and_check(second)
while not Path("idle looked at").exists():
    time.sleep(0.05)
Collector().fit(second, epochs=1000, verbose=0)
"""


@pytest.mark.slow
def test_ctrl_c_in_a_script(start, mark):
    program = start(INTERRUPTED)

    def none_of_engine():
        return engine(mark) == ([], [])

    program.wait_for("training")
    time.sleep(0.3)
    pressed = time.monotonic()
    os.killpg(program.process.pid, signal.SIGINT)
    program.wait_for("interrupted")
    assert time.monotonic() - pressed < 2
    program.wait_for("each sample once")
    assert wait_until(none_of_engine)
    (program.folder / "closed looked at").touch()

    program.wait_for("each sample once", times=2)
    assert wait_until(none_of_engine, seconds=IDLE_SECONDS + SLACK)
    (program.folder / "idle looked at").touch()

    program.wait_for("training", times=4)
    time.sleep(0.3)
    os.killpg(program.process.pid, signal.SIGINT)
    assert program.process.wait(SLACK) != 0
    assert "KeyboardInterrupt" in program.errors
    assert wait_until(lambda: not processes(mark))


KILLED = """
if "hangs" in sys.argv:
    os.mkfifo("hangs.png")
    FILES[60] = "hangs.png"
validation = None
if "textbook" in sys.argv:
    keras_pool = dict(workers=2, use_multiprocessing=True)
    validation = CIFAR10Sequence(FILES[:100], NUMBERS[:100], 2, **keras_pool)
generator = MY_Generator(FILES, NUMBERS, 4, augment=slow, timeout=None, **SIXTEEN)
# Keras would shuffle the batches, and the one that hangs would sometimes be the first.
Collector().fit(generator, validation_data=validation, epochs=1000, shuffle=False, verbose=0)
"""


@pytest.mark.slow
@pytest.mark.parametrize("beside", ["nothing", "stopped", "hangs", "textbook"])
def test_nothing_is_left_of_a_program_that_is_killed(start, mark, beside):
    before = shm_names()
    program = start(KILLED, beside)
    program.wait_for("validating" if beside == "textbook" else "training")
    if beside in ("stopped", "hangs"):
        assert wait_until(lambda: len(engine(mark)[1]) > 8)
        if beside == "stopped":
            engine(mark)[1][3].suspend()
        time.sleep(0.5)
    memory = shared_by([program.process.pid])
    assert memory
    program.process.kill()
    assert wait_until(lambda: not processes(mark), seconds=10), processes(mark)
    program.process.wait(SLACK)
    assert not memory & shared_by(psutil.pids())
    assert wait_until(lambda: shm_names() <= before)


def shared_by(pids):
    """Inodes of the memory for batches that processes have mapped."""
    inodes = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
                if "memfd:batches" in line:
                    inodes.add(line.split()[4])
    return inodes


# ---- little memory, few descriptors --------------------------------------------------------------

LITTLE_MEMORY = """
import resource, tempfile

if "temporary file" in sys.argv:  # as where there is no memfd_create
    del os.memfd_create
    tempfile.tempdir = sys.argv[3]
if "none" in sys.argv:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
larger = {**SIXTEEN, "image_size": (100, 100)}
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    with MY_Generator(FILES, NUMBERS, 4, **larger) as generator:
        fit_and_check(generator, epochs=2)
        expected = MY_Generator(FILES, NUMBERS, 4, image_size=(100, 100))
        for index in range(len(generator)):
            assert generator[index][0].tobytes() == expected[index][0].tobytes()
say("warnings:", sum("shared memory" in str(warning.message) for warning in caught))
"""

TINY = "mount -t tmpfs -o size=64k tmpfs {0}"
FULL = TINY + " && dd if=/dev/zero of={0}/full bs=4k count=16 2>/dev/null"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mount", "kind", "most_warnings"),
    [(TINY, "memory", 0), (FULL, "memory", 1), (TINY, "temporary file", 1), (None, "none", 1)],
    ids=["64 kB", "full", "64 kB where there is no memfd", "no memory at all"],
)
def test_little_shared_memory_is_enough(start, tmp_path, mount, kind, most_warnings):
    place = "/dev/shm" if kind == "memory" else str(tmp_path / "small")
    before = ()
    if mount:
        Path(place).mkdir(exist_ok=True)
        mount = mount.format(place)
        private = ["unshare", "--mount", "sh", "-c"]
        if subprocess.run([*private, mount], capture_output=True, timeout=SLACK).returncode:
            pytest.skip("this user may not mount a small file system")
        before = [*private, f'{mount}; exec "$@"', "sh"]
    said = start(LITTLE_MEMORY, kind, place, before=before).end()
    assert int(re.search(r"warnings: (\d+)", said)[1]) <= most_warnings


FEW_DESCRIPTORS = """
import resource

resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
training = MY_Generator(FILES, NUMBERS, 4, augment=slow, **SIXTEEN)
validation = MY_Generator(FILES, NUMBERS, 4, augment=slow, **SIXTEEN)
model = Collector()
model.fit(training, validation_data=validation, epochs=2, verbose=0)
assert sorted(model.trained) == sorted(model.validated) == sorted(2 * NUMBERS)
children = psutil.Process().children(recursive=True)
say("processes:", len(children))
"""


@pytest.mark.slow
def test_256_file_descriptors_are_enough(start):
    assert start(FEW_DESCRIPTORS).end().endswith("processes: 34\n")


# ---- what is kept, and what runs side by side ----------------------------------------------------

KEPT = {"batches": slice(None), "slices": slice(1, None)}


@pytest.mark.parametrize("part", KEPT.values(), ids=KEPT)
def test_what_is_kept_while_training_goes_on_never_changes_or_blocks(files, part):
    kept = []

    class Keeping(MY_Generator):
        def batch(self, epoch, index):
            images, labels = super().batch(epoch, index)
            kept.append((epoch, index, images[part]))
            return images, labels

    def augment(image, rng):  # each epoch's pictures differ
        return image * rng.random()

    settings = {"image_size": (12, 10), "augment": augment, "shuffle": True, "seed": 3}
    with Keeping(files, range(COUNT), 2, **settings, **SIXTEEN) as generator:
        samples = fit(generator, epochs=3)
    assert Counter(number for number, _ in samples) == dict.fromkeys(range(COUNT), 3)
    one = MY_Generator(files, range(COUNT), 2, **settings)
    assert len(kept) >= 3 * len(one)
    for epoch, index, images in kept:
        np.testing.assert_array_equal(images, one.batch(epoch, index)[0][part])


def test_training_and_validation_with_16_workers_each(files):
    model = Collector()
    with Generator(files, range(COUNT)) as training, Generator(files, range(COUNT)) as validation:
        model.fit(training, validation_data=validation, epochs=3, verbose=0)
    assert_each_once(model.trained, files, epochs=3)
    assert_each_once(model.validated, files, epochs=3)


ONE_OF_TWO = """
with MY_Generator(FILES, NUMBERS, 4, augment=slow, **SIXTEEN) as generator:
    fit_and_check(generator, epochs=10)
"""


@pytest.mark.slow
def test_two_programs_at_once(start):
    programs = [start(ONE_OF_TWO), start(ONE_OF_TWO)]
    for program in programs:
        assert "each sample once" in program.end()


# ---- nothing piles up ----------------------------------------------------------------------------

MANY = """
import json

from helpers.loading import read_ahead

read_ahead.IDLE_SECONDS = 1.0
LARGE = dict(image_size=(280, 200), workers=16, use_multiprocessing=True, max_queue_size=32)
me = psutil.Process()

class Touching(Arrivals):
    def train_step(self, data):
        data[0].numpy().max()  # so that the memory it shares counts as this process's
        return super().train_step(data)

model = Touching()

def run(generators, epochs):
    for _ in range(generators):
        generator = MY_Generator(FILES[:80], NUMBERS[:80], 8, **LARGE)  # 10 batches of 5 MB
        model.fit(generator, epochs=epochs, verbose=0)

def measure():
    model.batch = None  # the last one, which lives as long as it is held
    end = time.monotonic() + 30
    while me.children() and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(0.5)  # threads end, too
    figures = dict(
        processes=len(me.children(recursive=True)),
        descriptors=me.num_fds(),
        threads=me.num_threads(),
        mappings=sum("memfd" in mapped.path for mapped in me.memory_maps(grouped=False)),
        megabytes=me.memory_info().rss >> 20,
    )
    say(json.dumps(figures))

run(1, epochs=5)
measure()
run(1, epochs=30)
measure()
run(5, epochs=1)
measure()
run(25, epochs=1)
measure()
"""


@pytest.mark.slow
def test_30_epochs_and_30_generators_leave_nothing(start):
    before = shm_names()
    said = start(MANY).end()
    few_epochs, epochs, few, many = map(json.loads, re.findall("^{.*}$", said, re.M))
    for figures in (few_epochs, epochs, few, many):
        assert (figures["processes"], figures["mappings"]) == (0, 0), said
        assert figures["descriptors"] <= few_epochs["descriptors"], said
        assert figures["threads"] <= few_epochs["threads"] + 2, said
    # One of the 10 batches of each epoch, kept, would be more.
    assert epochs["megabytes"] - few_epochs["megabytes"] < 5 * 25, said
    assert many["megabytes"] - few["megabytes"] < 5 * 25, said
    assert wait_until(lambda: shm_names() <= before)


def shm_names():
    """What lies in /dev/shm, but for the semaphores that Python's own pools make and take away."""
    return {path.name for path in Path("/dev/shm").iterdir() if not path.name.startswith("sem.")}


# ---- all ways that Keras asks for batches --------------------------------------------------------


class Plain(keras.utils.PyDataset):
    """The same batches in the plainest way."""

    def __init__(self, files, **options):
        super().__init__(**options)
        self.one = MY_Generator(files, range(len(files)), 4, image_size=(12, 10))
        self.batches = -(-len(files) // 4)

    def __len__(self):
        return self.batches

    def __getitem__(self, index):
        return self.one[index]


def train(**options):
    def use(model, generator):
        options.setdefault("callbacks", [keras.callbacks.EarlyStopping("loss", patience=2)])
        history = model.fit(generator, shuffle=False, verbose=0, **options)
        return history.epoch, history.history, model.trained

    return use


USES = {
    "fewer steps": train(epochs=4, steps_per_epoch=10, callbacks=[]),
    "more steps": train(epochs=2, steps_per_epoch=40, callbacks=[]),
    "EarlyStopping": train(epochs=9),
    "predict": lambda model, generator: model.predict(generator, verbose=0).tolist(),
    "evaluate": lambda model, generator: (model.evaluate(generator, verbose=0), model.validated),
    "fewer steps of evaluate": lambda model, generator: (
        model.evaluate(generator, steps=10, verbose=0),
        model.validated,
    ),
}


@pytest.mark.filterwarnings("ignore:.*ran out of data")
@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_keras_does_the_same_as_with_a_plain_sequence(files, use):
    expected = use(Collector(), Plain(files, workers=16, max_queue_size=32))
    with Generator(files, range(COUNT)) as generator:
        assert use(Collector(), generator) == expected


# ---- start methods and notebooks -----------------------------------------------------------------

START_METHODS = """
import multiprocessing

from helpers.loading import pool

factor = 0.5

def dim(image, rng):
    return image * factor * rng.random()

def checksums(**how):
    settings = dict(augment=dim, shuffle=True, image_size=(12, 10))
    with MY_Generator(FILES, NUMBERS, 4, **settings, **how) as generator:
        model = Pictures()
        model.fit(generator, verbose=0, shuffle=False)
        return model.checksums

class Pictures(Arrivals):
    def __init__(self):
        super().__init__()
        self.checksums = []

    def train_step(self, data):
        self.checksums += [zlib.crc32(picture.tobytes()) for picture in data[0].numpy()]
        return super().train_step(data)

expected = checksums()
assert len(set(expected)) == len(FILES)
for method in ("fork", "forkserver", "spawn", "ours is exec"):
    if method == "ours is exec":
        pool.START_METHOD = "exec"
    else:
        multiprocessing.set_start_method(method, force=True)
    assert checksums(workers=3, use_multiprocessing=True) == expected
    say("same:", method)
"""


@pytest.mark.slow
def test_every_start_method_gives_the_same_batches(start):
    said = start(START_METHODS).end()
    assert len(re.findall("^same: .*$", said, re.M)) == 4


@pytest.fixture
def run_cell(mark, tmp_path):
    """A real notebook's kernel: ``run_cell(code)`` returns what was printed."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(tmp_path), env=dict(os.environ))
    client = manager.client()
    client.start_channels()

    def run_cell(code, interrupt_when=None):
        printed = []

        def hook(message):
            if message["msg_type"] == "stream":
                printed.append(message["content"]["text"])

        with contextlib.ExitStack() as stack:
            pressed = []
            if interrupt_when is not None:

                def press():
                    if not pressed and interrupt_when():
                        pressed.append(time.monotonic())
                        manager.interrupt_kernel()

                stack.enter_context(meanwhile(press))
            reply = client.execute_interactive(
                textwrap.dedent(code), timeout=90, output_hook=hook, allow_stdin=False
            )["content"]
            took = time.monotonic() - pressed[0] if pressed else None
        if interrupt_when is not None:
            assert (reply["status"], reply.get("ename")) == ("error", "KeyboardInterrupt"), reply
            assert took < 2
        else:
            assert reply["status"] == "ok", "\n".join(reply.get("traceback", []))
        return "".join(printed)

    try:
        client.wait_for_ready(timeout=60)
        yield run_cell
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=False)


NOTEBOOK = """
class Half(MY_Generator):
    def batch(self, epoch, index):
        images, labels = super().batch(epoch, index)
        return images * 0.5, labels

def dim(image, rng):
    Path("working").touch()
    time.sleep(0.02)
    return image * 0.5

generator = Half(FILES, NUMBERS, 4, augment=dim, **SIXTEEN)
"""


@pytest.mark.slow
def test_a_class_and_a_function_of_a_notebook_and_ctrl_c(run_cell, folder, tmp_path, mark):
    run_cell(f"import sys; sys.argv = ['', {str(folder)!r}]")
    run_cell(PRELUDE)
    run_cell(NOTEBOOK)
    assert "each sample once" in run_cell("fit_and_check(generator)")
    run_cell("""
        quarter = MY_Generator(FILES, NUMBERS, 4, image_size=(12, 10))[3][0] * 0.25
        np.testing.assert_array_equal(generator[3][0], quarter)
    """)

    # With what is only seen while a cell runs, the moment of the interrupt is a busy one.
    (tmp_path / "working").unlink()
    run_cell("Collector().fit(generator, epochs=1000, verbose=0)", (tmp_path / "working").exists)
    assert "each sample once" in run_cell("fit_and_check(generator)")
    run_cell("generator.close()")
    assert wait_until(lambda: engine(mark) == ([], []))

    run_cell("again = Half(FILES, NUMBERS, 4, augment=dim, **SIXTEEN)")
    run_cell("fit_and_check(again)")  # the kernel ends while its workers live
