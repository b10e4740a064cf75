"""A Dask cluster makes the batches: a real one, whose processes are killed while ``fit`` runs."""

import contextlib
import functools
import os
import re
import subprocess
import sys
import threading
import time
import traceback
import urllib.request
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import cv2
import keras
import numpy as np
import psutil
import pytest
from conftest import REPOSITORY, wait_until, write_picture

from helpers import ImageError, Masks, MY_Generator, Timeline

distributed = pytest.importorskip("distributed", reason="see notebooks/requirements.txt")

# A signal could not end a fit that hangs, since it waits within TensorFlow.
pytestmark = pytest.mark.timeout(150, method="thread")
Generator = functools.partial(MY_Generator, batch_size=8, image_size=(21, 17))
LOCAL = {"threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}


class Noting(keras.Model):
    """Trains nothing; keeps all images and labels."""

    def __init__(self):
        super().__init__()
        self.built = True
        self.compile(run_eagerly=True)
        self.images, self.labels = [], []

    def train_step(self, data):
        self.images += list(data[0].numpy())
        self.labels += data[1].numpy().tolist()
        return {"loss": 0.0}


def fit(generator, after_batch=None, epochs=1):
    model = Noting()
    callback = keras.callbacks.LambdaCallback(on_train_batch_end=after_batch)
    model.fit(generator, epochs=epochs, verbose=0, callbacks=[callback])
    return model


@pytest.fixture(scope="module")
def cluster():
    """Two processes on this machine. Each has a nanny in this process, that replaces it."""
    with distributed.LocalCluster(n_workers=2, **LOCAL) as cluster:
        yield cluster


@pytest.fixture(params=[False, True], ids=["by the scheduler", "direct"])
def client(cluster, request):
    """Gets results by way of the scheduler, as is usual, or directly from the workers."""
    with distributed.Client(cluster, direct_to_workers=request.param) as client:
        client.wait_for_workers(2, timeout=30)
        yield client


@pytest.fixture(params=[False, True], ids=["by the scheduler", "direct"])
def doomed(request):
    """Client of a cluster of three of its own, whose workers may be killed.

    Only those that it began with: a worker that is killed while it starts is not replaced.
    """
    with (
        distributed.LocalCluster(n_workers=3, **LOCAL) as cluster,
        distributed.Client(cluster, direct_to_workers=request.param) as client,
    ):
        client.wait_for_workers(3, timeout=60)
        yield client


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """60 pictures smaller and larger than 21×17, of them 4 grey and 4 with transparency."""
    folder = tmp_path_factory.mktemp("files")
    paths = [str(folder / f"{number:02}.png") for number in range(60)]
    for number, path in enumerate(paths):
        write_picture(path, 9 + number % 22, 9 + number * 7 % 22, seed=number)
        if number % 8 == 0:
            conversions = cv2.COLOR_BGR2GRAY, cv2.COLOR_BGR2BGRA
            picture = cv2.cvtColor(cv2.imread(path), conversions[number // 8 % 2])
            assert cv2.imwrite(path, picture)
    return paths


# ---- the same batches ----------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "augmented"), [("float32", False), ("uint8", True)])
def test_the_same_bytes_as_here(client, files, broken_file, dtype, augmented):
    strength = 0.5

    def augment(image, rng):  # of this test, so that it has to travel with its code
        return (image[:, ::-1] * rng.uniform(strength, 1)).astype(image.dtype)

    files = [*files[:20], broken_file, *files[20:]]
    options = {"dtype": dtype, "on_error": "skip", "shuffle": True}
    options["augment"] = augment if augmented else None
    here = Generator(files, range(61), **options)
    there = Generator(files, range(61), **options, executor=client.get_executor(), workers=2)
    with pytest.warns(UserWarning, match="1 of 61 files could not be read"):
        model = fit(there)
    batches = [here.batch(0, index) for index in range(len(here))]
    expected = {label: image for batch in batches for image, label in zip(*batch, strict=True)}
    assert sorted(model.labels) == sorted(expected) == [n for n in range(61) if n != 20]
    for label, image in zip(model.labels, model.images, strict=True):
        assert image.dtype == dtype
        assert image.tobytes() == expected[label].tobytes()
    assert list(there.skipped) == [broken_file]


def sent_by_workers(client):
    """Bytes of results that the workers have sent, as they count them."""
    return sum(client.run(lambda dask_worker: dask_worker.transfer_outgoing_bytes_total).values())


@pytest.mark.parametrize("image_size", [(21, 17), None])
def test_pairs_masks_and_what_a_function_reads_have_the_same_bytes_as_here(
    client, files, broken_file, image_size
):
    def augment(pictures, masks, rng):
        share = rng.random(dtype=np.float32)
        return [share * picture for picture in pictures], (masks + int(9 * share)).astype(np.uint8)

    def read(filename):
        return cv2.imread(filename, cv2.IMREAD_GRAYSCALE).astype(np.uint16)

    def read_mask(filename):
        return cv2.imread(filename, cv2.IMREAD_GRAYSCALE) // 64

    files = [*files[:12], broken_file]
    pairs = {"photo": files, "second": files, "number": np.arange(13)}
    options = {"augment": augment, "read": read, "color_mode": "grayscale", "on_error": "skip"}
    options |= {"image_size": image_size, "batch_size": 8 if image_size else 1, "shuffle": True}
    labels = {"class": np.arange(13), "mask": Masks(files, read=read_mask)}
    here = Generator(pairs, labels, **options)
    there = Generator(pairs, labels, **options, executor=client.get_executor(), workers=2)
    for index in range(len(here)):
        if (
            broken_file in here._request(0, index, here.samples(0, index)).filenames
            and image_size is None
        ):
            continue  # alone in its batch
        expected, got = (keras.tree.flatten(one[index]) for one in (here, there))
        assert [array.tobytes() for array in got] == [array.tobytes() for array in expected]
        assert len(got) == 5
    assert list(there.skipped) == ([broken_file] if image_size else [])


@pytest.mark.parametrize(
    ("file_size", "image_size", "dtype", "bytes_per_image"),
    [
        (32, 200, "float32", 32 * 32 * 3),  # not 480,000
        (400, 100, "uint8", 100 * 100 * 3),  # not 480,000
        (250, 200, "float32", 250 * 250 * 3),  # not 480,000
    ],
)
def test_the_smaller_picture_travels(
    client, tmp_path, file_size, image_size, dtype, bytes_per_image
):
    paths = [str(tmp_path / f"{number}.png") for number in range(24)]
    for number, path in enumerate(paths):
        write_picture(path, file_size, file_size, seed=number)
    options = {"image_size": (image_size, image_size), "dtype": dtype}
    there = Generator(paths, range(24), executor=client.get_executor(), **options)
    here = Generator(paths, range(24), **options)
    before = sent_by_workers(client)
    for index in range(3):
        assert there[index][0].tobytes() == here[index][0].tobytes()
    sent = (sent_by_workers(client) - before) / 24
    assert bytes_per_image < sent < 1.01 * bytes_per_image + 200


def test_a_timeline_of_a_cluster(client, files):
    with Generator(files, range(60), executor=client.get_executor(), workers=2) as generator:
        model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(1)])
        model.compile(loss="mse")
        with Timeline(generator, model) as timeline:
            model.fit(generator, epochs=2, verbose=0)
    table = timeline.table()
    assert set(table["lane"]) == {"worker 1", "worker 2", "queue", "training"}
    assert {"read", "decode", "ask", "hand-over", "step"} <= set(table["kind"])


# ---- errors of pictures --------------------------------------------------------------------------


def test_a_broken_picture_is_named_and_mending_it_is_enough(client, files, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    generator = Generator(
        [*files[:7], str(broken)], range(8), executor=client.get_executor(), workers=2
    )
    with pytest.raises(Exception, match=r"broken\.png: is no image"):
        fit(generator)
    with pytest.raises(ImageError) as kept:  # Dask keeps an error as long as its user does
        generator[0]
    assert kept.value.filename == str(broken)
    write_picture(broken, 9, 9, seed=0)
    assert len(generator[0][0]) == 8


def test_an_augment_that_raises_is_told_as_here(client, files):
    def augment(image, rng):
        return image[100]

    messages = []
    for executor in (None, client.get_executor()):
        generator = Generator(files, range(60), augment=augment, executor=executor)
        with pytest.raises(RuntimeError) as caught:
            generator[3]
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert files[24] in messages[0] and "IndexError" in messages[0]
    told = "".join(traceback.format_exception(caught.value))
    assert "in augment" in told and "return image[100]" in told


# ---- processes that die --------------------------------------------------------------------------


def slowly():
    """Return an augment that takes time, so that there is something to be killed."""

    def augment(image, rng):  # within a function, so that it travels with its code
        time.sleep(0.005)
        return image

    return augment


def test_killed_workers_cost_nothing(doomed, files):
    pids = list(doomed.run(os.getpid).values())

    def kill(batch, logs):
        if batch in (3, 12):
            psutil.Process(pids.pop()).kill()

    options = {"shuffle": True, "augment": slowly(), "workers": 4, "timeout": 60}
    numbers = np.arange(180)
    generator = Generator(files * 3, numbers, executor=doomed.get_executor(), **options)
    model = fit(generator, kill)
    assert len(pids) == 1
    assert sorted(model.labels) == numbers.tolist()
    expected = Generator(files, numbers[:60])
    expected = [image for index in range(8) for image in expected[index][0]]
    for label, image in zip(model.labels, model.images, strict=True):
        assert image.tobytes() == expected[label % 60].tobytes()


class LosingExecutor(Executor):
    """Kills the worker that has a result, before anybody has fetched it."""

    def __init__(self, client):
        self.client = client
        self.pids = client.run(os.getpid)
        self.threads = ThreadPoolExecutor(1)

    def submit(self, function, *arguments):
        future = self.client.submit(function, *arguments)
        distributed.wait(future, timeout=60)
        if len(self.pids) > 1:
            [address] = self.client.who_has(future)[future.key]
            psutil.Process(self.pids.pop(address)).kill()
        return self.threads.submit(future.result, 60)

    def shutdown(self, wait=True):
        self.threads.shutdown(wait)


def test_a_result_that_is_lost_before_it_is_fetched_is_made_again(doomed, files):
    here = Generator(files, range(60))
    with LosingExecutor(doomed) as executor:
        there = Generator(files, range(60), executor=executor, timeout=60)
        assert there[0][0].tobytes() == here[0][0].tobytes()
        assert len(executor.pids) == 2


def test_a_batch_that_crashes_every_worker_is_an_error_that_names_it(doomed, files):
    def crash(image, rng):
        time.sleep(0.5)  # a nanny may not replace a worker that crashes while it starts
        os._exit(1)

    executor = doomed.get_executor()
    generator = Generator(files, range(60), augment=crash, executor=executor, timeout=60)
    with pytest.raises(RuntimeError, match="batch 2 of epoch 0 of 8 files") as caught:
        generator[2]
    for part in (files[16], files[23], "KilledWorker", "augment", "memory"):
        assert part in str(caught.value)
    assert len(Generator(files, range(60), executor=executor)[2][0]) == 8


# ---- workers that are stuck ----------------------------------------------------------------------


def tasks_on_scheduler(client):
    return client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))


def test_a_stuck_worker_is_an_error_in_time_and_another_goes_on(client, files, tmp_path):
    flag = tmp_path / "stick"
    flag.touch()

    def stick(image, rng):
        while flag.exists():
            time.sleep(0.05)
        return image

    executor = client.get_executor()
    generator = Generator(files, range(60), augment=stick, executor=executor, timeout=1)
    with pytest.raises(TimeoutError, match=r"within 1 s of batch 1 of epoch 0") as caught:
        generator[1]
    for part in (files[8], files[15], "scheduler", "timeout="):
        assert part in str(caught.value)
    generator.augment = None
    assert len(generator[1][0]) == 8  # the other worker
    flag.unlink()
    del caught
    assert wait_until(lambda: tasks_on_scheduler(client) == 0)  # given up, and forgotten


# ---- scheduler and workers started by their command line -----------------------------------------


class Machines:
    """A scheduler and workers, each with its nanny, started as on machines of their own."""

    def __init__(self, folder):
        self.folder = folder
        self.file = folder / "scheduler.json"
        self.scheduler = self.start(
            "scheduler", "--port", "0", "--dashboard-address", "127.0.0.1:0"
        )
        self.workers = []

    def start(self, kind, *options):
        command = [sys.executable, "-m", "dask", kind, "--scheduler-file", str(self.file)]
        with (self.folder / f"{kind}.log").open("ab") as log:
            return subprocess.Popen(
                [*command, "--host", "127.0.0.1", *options], cwd=self.folder, stdout=log, stderr=log
            )

    def start_worker(self):
        self.workers.append(self.start("worker", "--nthreads", "1", "--no-dashboard"))

    @staticmethod
    def kill(machine):
        """As if somebody had pulled its plug."""
        with contextlib.suppress(psutil.NoSuchProcess):
            processes = [psutil.Process(machine.pid)]
            processes += processes[0].children(recursive=True)
            for process in processes:
                process.kill()
        machine.wait(10)

    def close(self):
        for machine in [*self.workers, self.scheduler]:
            self.kill(machine)


@pytest.fixture
def machines(tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    with contextlib.closing(Machines(folder)) as machines:
        yield machines


def wait_for_file(path):
    assert wait_until(path.exists), f"{path} does not come"
    return os.fspath(path)


@pytest.mark.slow
def test_machines_that_are_lost_one_after_the_other(machines, files, monkeypatch):
    monkeypatch.chdir(Path(files[0]).parent)  # the machines work elsewhere
    relative = [Path(name).name for name in files]
    for _ in range(3):
        machines.start_worker()
    killed = []

    def kill(batch, logs):
        if batch in (5, 12):
            killed.append(machines.workers[len(killed)])
            machines.kill(killed[-1])

    numbers = np.arange(180)
    options = {"augment": slowly(), "workers": 4, "timeout": 4}
    with distributed.Client(scheduler_file=wait_for_file(machines.file)) as client:
        client.wait_for_workers(3, timeout=60)
        link = client.dashboard_link
        with urllib.request.urlopen(link, timeout=20) as page:
            assert page.status == 200 and b"Dask" in page.read()

        generator = Generator(relative * 3, numbers, executor=client.get_executor(), **options)
        model = fit(generator, kill)
        assert len(killed) == 2
        assert sorted(model.labels) == numbers.tolist()
        here = Generator(files, range(60))
        expected = [image for index in range(len(here)) for image in here[index][0]]
        for label, image in zip(model.labels, model.images, strict=True):
            assert image.tobytes() == expected[label % 60].tobytes()

        machines.kill(machines.workers[2])  # the last
        with pytest.raises(Exception, match="nothing came within 4 s of batch") as lost:
            fit(generator)
        assert f"of 8 files, from {relative[0]} to {relative[7]}" in str(lost.value)
        assert "scheduler" in str(lost.value)

        machines.start_worker()
        client.wait_for_workers(1, timeout=60)
        assert sorted(fit(generator).labels) == numbers.tolist()

        threading.Timer(0.5, machines.kill, [machines.scheduler]).start()
        # Dask gives up what it had, and says nothing of what is asked for while it is cut off.
        known = "the executor did not make batch|nothing came within 4 s of batch"
        with pytest.raises(Exception, match=known) as lost:
            fit(generator, epochs=50)
        assert "scheduler" in str(lost.value)


# ---- the end -------------------------------------------------------------------------------------

SCRIPT = """
import gc, sys
import psutil
from dask.distributed import Client, LocalCluster

def negative(image, rng):
    return 1 - image

def train():
    local = {"threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(n_workers=2, **local) as cluster, Client(cluster) as client:
        # Not above, since each worker runs that again.
        from helpers import quiet_tensorflow
        quiet_tensorflow()
        from helpers import MY_Generator
        from helpers.profiling.timing import Arrivals

        files = sys.argv[1:]
        options = {"image_size": (9, 9), "augment": negative, "workers": 2}
        generator = MY_Generator(
            files, range(len(files)), 4, executor=client.get_executor(), **options
        )
        Arrivals().fit(generator, epochs=2, verbose=0)

if __name__ == "__main__":
    me = psutil.Process()
    for _ in range(2):
        train()
        gc.collect()
        workers = [child for child in me.children() if "spawn_main" in " ".join(child.cmdline())]
        print(len(workers), me.num_fds(), me.num_threads())
"""


# Dask says so where a cluster is closed while one of its workers asks the scheduler.
A_LAST_HEARTBEAT = (
    r"(?s)[^\n]* - distributed\.worker - ERROR - Failed to communicate with scheduler during "
    r"heartbeat\..*?CommClosedError: in <[^\n]*\n"
)


@pytest.mark.slow
def test_nothing_is_left_and_nothing_is_said_at_the_end(files, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, str(script), *files]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert (done.returncode, re.sub(A_LAST_HEARTBEAT, "", done.stderr)) == (0, "")
    first, second = (tuple(map(int, line.split())) for line in done.stdout.splitlines())
    assert first == second and first[0] == 0


def test_the_package_does_not_need_dask():
    code = "import sys, helpers.generators.my_generator; "
    code += "assert not {'dask', 'distributed'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True, timeout=100)
