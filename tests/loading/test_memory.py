import concurrent.futures
import gc
import itertools
import math
import mmap
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import deque

import numpy as np
import pytest
from conftest import REPOSITORY
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.images import arrays as images_arrays
from helpers.images.arrays import cut
from helpers.loading import memory
from helpers.loading.memory import BatchMemory, SharedMemory

SHAPE = (6, 5, 4, 3)


def address(array):
    return array.ctypes.data


def first_of(block, count, dtype, shape=SHAPE):
    """The array of a batch of pictures that lies on a block of memory."""
    return cut(block, [(shape[1:], dtype)], count)[0]


def lend_own(dtype="float32"):
    """A function of (number of images) that lends batches of a BatchMemory."""
    own = memory_for(dtype)
    return lambda count: first_of(own.empty(), count, dtype)


def memory_for(dtype="float32", shape=SHAPE):
    return BatchMemory(math.prod(shape) * np.dtype(dtype).itemsize)


def lend_shared(dtype="float32", slots=8):
    """The same, of a SharedMemory."""
    size = int(np.prod(SHAPE)) * np.dtype(dtype).itemsize
    shared = SharedMemory(slots, size, users=1)
    return lambda count: first_of(shared.lend(shared.take(0), 0, size), count, dtype)


of_both = pytest.mark.parametrize("lender", [lend_own, lend_shared], ids=["own", "shared"])


@pytest.fixture
def allocated(monkeypatch):
    """All memory that is taken from now on.

    Holding it here keeps the system from giving the same place twice, so a batch at the
    place of an earlier one can only be there because its memory was used again.
    """
    arrays = []

    def empty_block(size):
        arrays.append(images_arrays.empty_block(size))
        return arrays[-1]

    monkeypatch.setattr(memory, "empty_block", empty_block)
    return arrays


# ---- both kinds ----------------------------------------------------------------------------------


@of_both
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("count", [6, 4, 1])
def test_a_batch_has_the_shape_type_and_place_asked_for(lender, dtype, count):
    lend = lender(dtype)
    for batch in (lend(count), lend(count)):
        assert batch.shape == (count, *SHAPE[1:])
        assert batch.dtype == dtype
        assert address(batch) % 64 == 0
        assert batch.flags.c_contiguous and batch.flags.writeable


VIEWS = {
    "batch": lambda batch: batch,
    "slice": lambda batch: batch[1:4],
    "slice of a slice": lambda batch: batch[1:5][1:3, ::2],
    "every other": lambda batch: batch[::-2],
    "reshaped": lambda batch: batch.reshape(len(batch), -1),
    "flat": lambda batch: batch.ravel(),
    "transposed": lambda batch: batch.T,
    "picture": lambda batch: batch[2],
    "row of pixels": lambda batch: batch[3, 2],
    "one number": lambda batch: batch[5, 4, 3, 2:],
    "other type": lambda batch: batch.view("uint8"),
    "asarray": lambda batch: np.asarray(batch[1]),
    "buffer": lambda batch: np.frombuffer(batch, batch.dtype),
    "memoryview": lambda batch: memoryview(batch[1]),
    "iterator": lambda batch: list(batch)[4],
}


@of_both
@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_what_is_kept_of_a_batch_never_changes(lender, view):
    lend = lender()
    batch = lend(6)
    batch[...] = np.arange(batch.size).reshape(batch.shape)
    kept = view(batch)
    assert np.shares_memory(kept, batch)
    before = np.array(kept)
    del batch
    others = deque(maxlen=3)
    for number in range(300):
        others.append(lend(1 + number % 6))
        others[-1][...] = -number
        assert not np.shares_memory(kept, others[-1])
    np.testing.assert_array_equal(kept, before)


@of_both
@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_memory_is_used_again_when_the_last_view_is_gone(allocated, lender, view):
    lend = lender()
    batch = lend(6)
    first = address(batch)
    kept = view(batch)
    del batch
    second = lend(6)
    assert address(second) != first
    del kept
    assert address(lend(6)) == first


@of_both
@pytest.mark.parametrize("held", [0, 1, 5])
def test_no_more_memory_is_taken_than_is_held(allocated, lender, held):
    lend = lender("uint8")
    batches, places = deque(maxlen=held), set()
    for number in range(200):
        batches.append(lend(1 + number % 6))
        places.update(map(address, batches))
    assert len(places) <= held + 1
    assert len(allocated) in (0, held + 1)


@pytest.mark.parametrize("lend", [lend_own(), lend_shared(slots=200)], ids=["own", "shared"])
def test_every_batch_of_an_epoch_may_be_held(lend):
    batches = []
    for number in range(200):
        batches.append(lend(6))
        batches[-1][...] = number
    assert len({address(batch) for batch in batches}) == 200
    assert all((batch == number).all() for number, batch in enumerate(batches))


@of_both
def test_a_batch_outlives_its_memory_object(lender):
    lend = lender()
    batch = lend(6)
    batch[...] = 3
    del lend
    gc.collect()
    others = [np.full(SHAPE, 9, np.float32) for _ in range(100)]
    assert (batch == 3).all()
    del others


@of_both
def test_a_batch_in_a_circle_of_garbage_comes_back(allocated, lender):
    lend = lender()
    circle = [lend(6)]
    first = address(circle[0])
    circle.append(circle)
    assert address(lend(6)) != first
    del circle
    gc.collect()
    assert first in {address(batch) for batch in [lend(6), lend(6)]}


@of_both
@given(steps=st.lists(st.tuples(st.sampled_from(["lend", "view", "drop"]), st.integers(0, 99))))
@settings(max_examples=100, deadline=None)
def test_any_order_of_lending_keeping_and_dropping(lender, steps):
    lend = lender() if lender is lend_own else lender(slots=len(steps) + 1)
    kept = []  # (view, what it held when it was written)
    views = list(VIEWS.values())[:10]
    for number, (step, choice) in enumerate(steps):
        if step == "lend":
            batch = lend(6)
            assert not any(np.shares_memory(batch, view) for view, _ in kept)
            batch[...] = number + np.arange(batch.size).reshape(batch.shape) / batch.size
            kept.append((batch, batch.copy()))
            del batch
        elif kept and step == "view":
            whole = [pair for pair in kept if pair[0].shape == SHAPE]
            if whole:
                batch, values = whole[choice % len(whole)]
                view = views[choice % len(views)]
                kept.append((view(batch), view(values)))
                del batch
            del whole
        elif kept:
            del kept[choice % len(kept)]
        for view, values in kept:
            np.testing.assert_array_equal(view, values)


def in_8_threads(lend, turns=200):
    """Lend batches in threads, keep a picture of each for a while, see that it stays as it was."""
    start = threading.Barrier(8)

    def lend_and_check(thread):
        kept = deque(maxlen=3)
        start.wait()
        for turn in range(turns):
            batch = lend(thread)
            value = 1000 * thread + turn
            batch[...] = value
            kept.append((batch[turn % 4], value))
            del batch
            time.sleep(0)  # let another thread run
            assert all((picture == value).all() for picture, value in kept)

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        list(threads.map(lend_and_check, range(8)))


def test_threads_never_share_a_batch(allocated):
    shape = (4, 16, 16, 3)
    own = memory_for("int64", shape)
    in_8_threads(lambda thread: first_of(own.empty(), 4, "int64", shape))
    assert len(allocated) <= 8 * 4


def test_threads_never_share_a_slot():
    shape = (4, 16, 16, 3)
    # Just as many slots as are held at most, so that threads take each other's all the time.
    shared = SharedMemory(8 * 4, int(np.prod(shape)) * 8, users=8)
    size = math.prod(shape) * 8
    in_8_threads(
        lambda thread: first_of(shared.lend(shared.take(thread), thread, size), 4, "int64", shape)
    )
    assert len({shared.take(0) for _ in range(8 * 4)} - {None}) == 8 * 4
    assert shared.take(0) is None


# ---- memory of this process ----------------------------------------------------------------------


@pytest.mark.parametrize("most_kept", [0, 2])
def test_no_more_free_memory_is_kept_than_most_kept(allocated, most_kept):
    own = memory_for()
    own.most_kept = most_kept
    for _ in range(2):
        [own.empty() for _ in range(5)]  # held together, then gone together
    assert len(allocated) == 5 + 5 - most_kept


def test_clear_gives_back_what_is_free_and_leaves_what_is_held(allocated):
    own = memory_for()
    free, held = own.empty(), own.empty()
    first = address(held)
    del free
    own.clear()
    del held
    assert address(own.empty()) == first
    batches = [own.empty(), own.empty()]
    assert len(allocated) == 2 + 1
    del batches


# ---- shared memory -------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(slots=st.integers(1, 5), slot_bytes=st.integers(1, 20_000))
def test_slots_are_apart_and_start_on_pages(slots, slot_bytes):
    shared = SharedMemory(slots, slot_bytes, users=1)
    offsets = sorted(shared.take(0) for _ in range(slots))
    assert all(offset % mmap.PAGESIZE == 0 for offset in offsets)
    assert all(after - before >= slot_bytes for before, after in itertools.pairwise(offsets))
    last = shared.lend(offsets[-1], 0, slot_bytes)
    last[...] = 7  # the last slot is whole, too
    assert address(last) % 64 == 0


def test_when_all_slots_are_held_there_is_none():
    shared = SharedMemory(2, 100, users=3)
    held = [shared.lend(shared.take(user), user, 100) for user in (0, 1)]
    assert [shared.take(user) for user in (0, 1, 2)] == [None] * 3
    first = address(held[1])
    del held[1]
    assert address(shared.lend(shared.take(2), 2, 100)) == first


def test_a_user_gets_its_own_slot_back_first():
    shared = SharedMemory(4, 100, users=3)
    slots = [shared.take(user) for user in range(3)]
    for user in (1, 0, 2):
        shared.give_back(slots[user], user)
    assert [shared.take(user) for user in range(3)] == slots


def test_a_slot_whose_batch_is_gone_belongs_to_the_user_who_wrote_it():
    shared = SharedMemory(3, 100, users=2)
    slots = [shared.take(user) for user in range(2)]
    batches = [shared.lend(slots[user], user, 100) for user in range(2)]
    batches.clear()
    assert [shared.take(user) for user in (1, 0)] == slots[::-1]


def test_a_user_takes_a_new_slot_before_that_of_another_and_that_before_none():
    shared = SharedMemory(2, 100, users=2)
    first = shared.take(0)
    shared.give_back(first, 0)
    new = shared.take(1)
    assert new not in (first, None)
    assert shared.take(1) == first
    assert shared.take(1) is None


class Slots:
    """What SharedMemory promises, in the simplest words: who holds what, and who wrote last."""

    def __init__(self, slots, users):
        self.memory = SharedMemory(slots, 300, users)
        self.count = slots
        self.taken = []  # (offset, user): to be written
        self.lent = []  # (offset, view, values)

    def held(self):
        return {offset for offset, *_ in self.taken} | {offset for offset, *_ in self.lent}

    def take(self, user, choice):
        offset = self.memory.take(user)
        assert (offset is None) == (len(self.held()) == self.count)
        if offset is not None:
            assert offset not in self.held()
            self.taken.append((offset, user))

    def give_back(self, user, choice):
        if self.taken:
            self.memory.give_back(*self.taken.pop(choice % len(self.taken)))

    def lend(self, user, choice):
        if self.taken:
            offset, writer = self.taken.pop(choice % len(self.taken))
            batch = self.memory.lend(offset, writer, 300).reshape(3, 100)
            batch[...] = choice
            self.lent.append((offset, batch[choice % 3 :], choice))

    def drop(self, user, choice):
        if self.lent:
            del self.lent[choice % len(self.lent)]


@settings(max_examples=100, deadline=None)
@given(
    slots=st.integers(1, 4),
    steps=st.lists(
        st.tuples(
            st.sampled_from([Slots.take, Slots.give_back, Slots.lend, Slots.drop]),
            st.integers(0, 2),
            st.integers(0, 250),
        )
    ),
)
def test_any_order_of_taking_giving_back_lending_and_dropping(slots, steps):
    model = Slots(slots, users=3)
    for step, user, choice in steps:
        step(model, user, choice)
        assert all((view == values).all() for _, view, values in model.lent)


def test_who_maps_the_file_writes_to_the_batch():
    shared = SharedMemory(2, 100, users=1)
    offsets = [shared.take(0), shared.take(0)]
    other = mmap.mmap(shared.file.fileno(), 0)
    other[offsets[1] : offsets[1] + 100] = bytes(range(100))
    assert shared.lend(offsets[1], 0, 100).tolist() == list(range(100))


@settings(max_examples=30, deadline=None)
@given(slots=st.integers(1, 3), slot_bytes=st.integers(1, 9000), users=st.integers(1, 1000))
def test_each_user_has_a_number_outside_the_slots(slots, slot_bytes, users):
    shared = SharedMemory(slots, slot_bytes, users)
    other = mmap.mmap(shared.file.fileno(), 0)
    for user in range(users):
        shared.positions[user] = user + 1
    batches = [shared.lend(shared.take(0), 0, slot_bytes) for _ in range(slots)]
    for batch in batches:
        batch[...] = 255
    for user in (0, users // 2, users - 1):
        place = shared.place(user)
        assert memoryview(other)[place : place + memory.NUMBER_BYTES].cast("q")[0] == user + 1
    assert shared.positions.tolist() == list(range(1, users + 1))


def test_a_batch_outlives_close_and_the_file_does_not():
    shared = SharedMemory(2, 100, users=1)
    batch = shared.lend(shared.take(0), 0, 100)
    batch[...] = 5
    descriptor = shared.file.fileno()
    shared.close()
    shared.close()
    with pytest.raises(OSError):
        os.fstat(descriptor)
    del shared
    gc.collect()
    assert (batch == 5).all()


HOW_FILES_ARE_MADE = pytest.mark.parametrize("missing", [[], ["memfd_create"]], ids=str)


@HOW_FILES_ARE_MADE
def test_the_file_has_no_name(monkeypatch, tmp_path, missing):
    for name in missing:
        monkeypatch.delattr(os, name, raising=False)
    monkeypatch.setattr(memory.tempfile, "tempdir", str(tmp_path))
    shared = SharedMemory(2, 100, users=1)
    batch = shared.lend(shared.take(0), 0, 100)
    batch[...] = 1
    assert os.fstat(shared.file.fileno()).st_nlink == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "missing", [["memfd_create"], ["posix_fallocate"], ["memfd_create", "posix_fallocate"]], ids=str
)
def test_a_system_without_linux_calls_has_the_same_slots(monkeypatch, missing):
    for name in missing:
        monkeypatch.delattr(os, name, raising=False)
    shared = SharedMemory(3, 5000, users=1)
    batches = [shared.lend(shared.take(0), 0, 5000) for _ in range(3)]
    assert shared.take(0) is None
    for number, batch in enumerate(batches):
        batch[...] = number
    assert all((batch == number).all() for number, batch in enumerate(batches))


# Takes slots where there is room for three and a half, and fills all that it got.
NO_ROOM = """
import os, sys
import numpy as np
from helpers.loading.memory import SharedMemory

for name in sys.argv[1:]:
    if hasattr(os, name):
        delattr(os, name)
shared = SharedMemory(8, 300_000, users=1)
offsets = []
try:
    for _ in range(8):
        offsets.append(shared.take(0))
except OSError as error:
    print(type(error).__name__, error.errno)
batches = [shared.lend(offset, 0, 300_000) for offset in offsets]
for batch in batches:
    batch[...] = 1
print(len(batches), "slots")
"""


def can_mount():
    return (
        shutil.which("unshare")
        and not subprocess.run(
            ["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True
        ).returncode
    )


@pytest.mark.skipif(not can_mount(), reason="needs leave to mount a small disk")
@pytest.mark.parametrize(
    "missing", [["memfd_create"], ["memfd_create", "posix_fallocate"]], ids=str
)
def test_a_full_disk_is_an_error_and_not_the_end_of_the_process(tmp_path, missing):
    mount = 'mount -t tmpfs -o size=1056k none "$TMPDIR" && exec "$@"'
    command = ["unshare", "-m", "sh", "-c", mount, "sh", sys.executable, "-c", NO_ROOM, *missing]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done
    assert done.stdout.splitlines() == ["OSError 28", "3 slots"]


SMALL_FILES = """
import resource
from helpers.loading.memory import SharedMemory

resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
try:
    SharedMemory(8, 300_000, users=1)
except OSError as error:
    print("OSError")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limits")
def test_memory_that_the_system_refuses_is_an_error():
    done = subprocess.run(
        [sys.executable, "-c", SMALL_FILES], cwd=REPOSITORY, capture_output=True, timeout=60
    )
    assert done.stdout.split() == [b"OSError"], done
