import json
import queue
import sys
import threading
import time
from collections import namedtuple

import numpy as np
import pandas as pd
import psutil
import pytest
from conftest import child, wait_until
from matplotlib.figure import Figure

from helpers.profiling import footprint
from helpers.profiling.footprint import MemoryUse

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell this much")


def run(code, *arguments):
    """What a fresh Python prints last, as JSON; its exit code must be 0."""
    with child(code, *arguments) as process:
        output, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    return json.loads(output.splitlines()[-1])


def grown(table):
    """MB of data that a process gained."""
    return table["data (MB)"].max() - table["data (MB)"].iloc[0]


TAKING = """
import sys, time
from pathlib import Path

print(flush=True)
while not Path(sys.argv[1]).exists():
    time.sleep(0.01)
taken = b"x" * (int(sys.argv[2]) * 10**6)
print(flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("megabytes", [50, 300])
def test_what_a_child_takes_is_seen(megabytes, tmp_path):
    with child(TAKING, tmp_path / "go", megabytes) as process:
        process.stdout.readline()
        with MemoryUse() as memory:
            (tmp_path / "go").touch()
            process.stdout.readline()
    table = memory.table().query(f"process == {process.pid}")
    assert set(table["what"]) == {"worker"}
    assert grown(table) == pytest.approx(megabytes, rel=0.1)


def test_what_this_process_takes_is_seen_and_stays_seen_when_it_is_freed():
    with MemoryUse() as memory:
        taken = np.ones(200_000_000, np.uint8)
        samples = len(memory._rows)
        assert wait_until(lambda: len(memory._rows) > samples + 2)
        del taken
    table = memory.table().query("what == 'training'")
    assert grown(table) == pytest.approx(200, rel=0.1)
    assert memory.summary()["data grew by (MB)"] == pytest.approx(200, rel=0.1)
    assert table["data (MB)"].iloc[-1] < table["data (MB)"].max() - 100


SHARING = """
import json, mmap, os, psutil, time
from helpers.profiling.footprint import MemoryUse
from helpers.loading.memory import SharedMemory

size, processes, pids = 100_000_000, 3, []
shared = SharedMemory(1, size, users=1)
shared.take(0)
with MemoryUse() as memory:
    for number in range(processes):
        ready, done = os.pipe()
        pids.append(os.fork())
        if not pids[-1]:
            pages = mmap.mmap(shared.file.fileno(), 0)
            pages[:] = bytes([number]) * len(pages)
            os.write(done, b"x")
            time.sleep(60)
        os.read(ready, 1)
    alone = [psutil.Process(pid).memory_info().shared / 1e6 for pid in pids]
for pid in pids:
    os.kill(pid, 9)
data = memory.over_time()[["training", "workers"]].sum(axis="columns")
print(json.dumps([alone, data.iloc[-1] - data.iloc[0]]))
"""


@LINUX
def test_memory_that_processes_share_is_counted_once():
    alone, together = run(SHARING)
    assert len(alone) == 3
    assert min(alone) > 100  # each of the three has all of it
    # A fork also has some MB of its own: those pages of Python that it wrote to.
    assert together == pytest.approx(100, abs=20)


@LINUX
def test_data_and_files_add_up_to_what_psutil_tells():
    measure, data, files = footprint._memory(psutil.Process())
    assert measure == "PSS"
    assert data + files == pytest.approx(psutil.Process().memory_full_info().pss / 1e6, rel=0.05)
    assert files > 5  # Python and numpy, at least


def test_a_grandchild_counts():
    code = (
        "import subprocess, sys;"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).wait()"
    )
    with child(code) as process:
        parent = psutil.Process(process.pid)
        assert wait_until(parent.children)
        grandchild = parent.children()[0]
        with MemoryUse() as memory:
            pass
        grandchild.kill()
    assert {process.pid, grandchild.pid} <= set(memory.table()["process"])


def test_a_process_that_ends_while_it_is_looked_at_is_left_out(monkeypatch):
    with child("") as process:
        ended = psutil.Process(process.pid)
    monkeypatch.setattr(psutil.Process, "children", lambda self, recursive: [ended])
    with MemoryUse(0.01) as memory:
        assert wait_until(lambda: len(memory._rows) > 3)
    assert set(memory.table()["what"]) == {"training"}


def test_processes_that_come_and_go_do_not_stop_the_sampling(monkeypatch):
    monkeypatch.setattr(footprint, "MOST_TIME", 1.0)
    with MemoryUse(0.001) as memory:
        for _ in range(5):
            with child("pass") as process:
                process.wait(timeout=60)  # one that ended and was not asked for is there, too
        samples = len(memory._rows)
        assert wait_until(lambda: len(memory._rows) > samples)
    assert (memory.table()["data (MB)"] >= 0).all()


def test_an_error_in_the_block_is_not_hidden_and_the_thread_ends():
    before = set(threading.enumerate())
    memory = MemoryUse()
    with pytest.raises(ZeroDivisionError), memory:
        assert len(set(threading.enumerate()) - before) == 1
        1 / 0  # noqa: B018
    assert set(threading.enumerate()) <= before
    assert memory.peak() > 0


def test_the_end_waits_for_a_sample_that_is_being_taken(monkeypatch):
    sampling = queue.SimpleQueue()

    def slow_memory(process):
        if threading.current_thread() is not threading.main_thread():
            sampling.put(threading.current_thread())
            time.sleep(0.3)
        return "PSS", 1.0, 0.0

    monkeypatch.setattr(footprint, "_memory", slow_memory)
    with MemoryUse(0.01):
        thread = sampling.get(timeout=30)
    assert not thread.is_alive()


def test_it_can_be_used_again_and_forgets_what_was():
    memory = MemoryUse(0.05)
    with memory:
        time.sleep(0.5)
    first = memory.table()["seconds"].max()
    with memory:
        pass
    assert first > 0.4
    assert memory.summary()["samples"] == memory.table()["seconds"].nunique() == 2


def test_it_takes_no_more_than_its_part_of_a_core(monkeypatch):
    samples = []

    def slow_sample(self):
        samples.append(time.perf_counter())
        end = time.thread_time() + 0.02
        while time.thread_time() < end:
            pass

    monkeypatch.setattr(MemoryUse, "_sample", slow_sample)
    with MemoryUse(0.001):
        time.sleep(1.5)
    assert len(samples) <= 2 + 1.5 / 0.4 + 1


@pytest.mark.parametrize("interval", [0, -1, float("nan"), "often", None, True])
def test_an_interval_that_is_none_is_refused(interval):
    with pytest.raises((TypeError, ValueError), match="interval must be"):
        MemoryUse(interval)


def made_up():
    """Two samples: a worker comes, and grows at the cost of the training."""
    memory = MemoryUse()
    memory._rows = [
        (0.0, 1, "training", "PSS", 300.0, 100.0),
        (1.0, 1, "training", "PSS", 250.0, 90.0),
        (1.0, 2, "worker", "PSS", 400.0, 10.0),
        (1.0, 3, "worker", "PSS", 50.0, 0.0),
        (2.0, 1, "training", "PSS", 200.0, 110.0),
    ]
    return memory


def test_table_sums_and_summary():
    memory = made_up()
    columns = ["seconds", "process", "what", "measure", "data (MB)", "files (MB)"]
    assert list(memory.table().columns) == columns
    expected = pd.DataFrame(
        {
            "files": [100.0, 100.0, 110.0],
            "training": [300.0, 250.0, 200.0],
            "workers": [0.0, 450.0, 0.0],
        },
        index=pd.Index([0.0, 1.0, 2.0], name="seconds"),
    )
    pd.testing.assert_frame_equal(memory.over_time(), expected)
    assert memory.peak() == 800
    assert memory.summary().to_dict() == {
        "peak (MB)": 800,
        "files (MB)": 100,
        "training (MB)": 250,
        "workers (MB)": 450,
        "data grew by (MB)": 400,
        "samples": 3,
    }


def test_the_plot_has_an_area_for_each_part_and_marks_the_peak():
    figure = made_up().plot()
    assert isinstance(figure, Figure)
    axis = figure.axes[0]
    labels = [text.get_text() for text in axis.get_legend().get_texts()]
    assert labels == ["workers", "training", "files"]  # as they lie on each other
    highest = max(area.get_paths()[0].vertices[:, 1].max() for area in axis.collections)
    assert highest == 800
    assert [list(line.get_xydata()[0]) for line in axis.lines] == [[1, 800]]
    assert "peak: 800 MB" in [text.get_text() for text in axis.texts]
    assert "counted once" in axis.get_ylabel() and axis.get_xlabel() == "seconds"


def test_the_plot_says_what_it_shows_and_needs_no_colours():
    figure = made_up().plot()
    assert figure.alt_text == (
        "Memory over 2.0 seconds, as stacked areas. The peak, after 1.0 seconds, is 800 MB: "
        "files 100, training 250, workers 450."
    )
    hatches = [area.get_hatch() for area in figure.axes[0].collections]
    assert len(set(hatches)) == len(hatches) == 3


def test_without_workers_the_plot_has_no_area_for_them():
    memory = made_up()
    memory._rows = memory._rows[:2]
    figure = memory.plot("A title")
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["training", "files"]
    assert figure.axes[0].get_title() == "A title"


def test_where_the_system_tells_less_the_table_says_which_it_is(monkeypatch):
    full = namedtuple("pfullmem", ["rss", "uss"])(3_000_000, 2_000_000)
    monkeypatch.setattr(psutil.Process, "memory_full_info", lambda self: full)
    monkeypatch.setattr(footprint.Path, "read_text", lambda self: open("/no such file"))  # noqa: PTH123, SIM115
    with MemoryUse() as memory:
        pass
    table = memory.table()
    assert set(table["measure"]) == {"USS"}
    assert set(table["data (MB)"]) == {2.0} and set(table["files (MB)"]) == {0.0}
    assert "left out" in memory.plot().axes[0].get_ylabel()


# What it shows of training: each run is a program of its own, whose memory nobody else uses.

TRAINING = """
import json, sys, time
from helpers import MY_Generator, load_sample, quiet_tensorflow
from helpers.profiling.footprint import MemoryUse
quiet_tensorflow()
import keras, numpy as np

class Slow(keras.Model):
    def train_step(self, data):
        time.sleep(0.0015 * len(data[0]))
        return {"mean": keras.ops.mean(data[0])}

model = Slow()
model.built = True
model.compile(run_eagerly=True)
sample = load_sample()[0].filenames

def fit(files, batch_size, side, epochs, **options):
    names = [sample[number % len(sample)] for number in range(files)]
    with (
        MY_Generator(names, np.zeros(files), batch_size, image_size=(side, side), **options)
        as generator, MemoryUse() as memory
    ):
        model.fit(generator, epochs=epochs, verbose=0)
    return memory
"""


@pytest.mark.slow
@LINUX
@pytest.mark.parametrize(("processes", "batch_size", "queue"), [(False, 16, 20), (True, 48, 4)])
def test_memory_grows_with_batch_size_and_queue_as_the_formula_says(processes, batch_size, queue):
    code = """
two = dict(workers=2, use_multiprocessing=bool(int(sys.argv[1])), max_queue_size=int(sys.argv[3]))
idle = fit(60, 2, 8, 1, **two).over_time()["workers"].max()
batch_size = int(sys.argv[2])
memory = fit(40 * batch_size, batch_size, 200, 2, **two)
print(json.dumps(memory.summary()["data grew by (MB)"] - idle))
"""
    measured = run(TRAINING + code, int(processes), batch_size, queue)
    held = queue + (4 if processes else 2)
    assert measured == pytest.approx(held * batch_size * 200 * 200 * 3 * 4 / 1e6, rel=0.2)


@pytest.mark.slow
@LINUX
def test_the_peak_is_the_same_for_many_times_as_many_files():
    code = """
two = dict(workers=2, use_multiprocessing=True)
few = fit(400, 16, 100, 4, **two).summary()
many = fit(4_000, 16, 100, 1, **two).summary()
print(json.dumps([sum(memory[["training (MB)", "workers (MB)"]]) for memory in (few, many)]))
"""
    few, many = run(TRAINING + code)
    assert many == pytest.approx(few, rel=0.1)


LIMITED = """
import resource, sys
import keras, psutil
import numpy as np
from helpers import MY_Generator, load_sample, read_image, resize_image
from keras.layers import AveragePooling2D, Dense, Flatten

files = load_sample()[0]
layers = [keras.Input((200, 200, 3)), AveragePooling2D(20), Flatten(), Dense(10, "softmax")]
model = keras.Sequential(layers)
model.compile("adam", "sparse_categorical_crossentropy")

def train(count):
    names, labels = files.filenames[:count], files.labels[:count]
    with MY_Generator(names, labels, 32, workers=2, use_multiprocessing=True) as generator:
        model.fit(generator, verbose=0)

def load(count):
    images = np.empty((count, 200, 200, 3), "float32")
    for name, image in zip(files.filenames[:count], images):
        resize_image(read_image(name), (200, 200), out=image)

train(64)  # what TensorFlow takes once
limit = psutil.Process().memory_info().vms + 700_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
"""


@pytest.mark.slow
@LINUX
def test_under_a_limit_of_the_system_the_generator_trains_where_loading_all_fails():
    code = """
import json
load(500)  # 240 MB do fit
try:
    load(2_000)  # 960 MB
except MemoryError as error:
    failed = str(error)
train(2_000)
print(json.dumps([failed, model.optimizer.iterations.numpy().item()]))
"""
    failed, steps = run(LIMITED + code)
    assert "Unable to allocate 916. MiB" in failed
    assert steps == 2 + 63
