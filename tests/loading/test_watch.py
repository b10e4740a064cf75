import contextlib
import os
import socket
import struct
import subprocess
import sys
import threading
import time
import warnings
import zlib

import cloudpickle
import cv2
import numpy as np
import pytest
from conftest import REPOSITORY

from helpers.images import batches
from helpers.images.batches import load_batch
from helpers.images.reading import ImageError
from helpers.images.recipe import Recipe
from helpers.images.request import BatchRequest
from helpers.loading import pool as pools
from helpers.loading import watch
from helpers.loading.pool import Pool, WorkerDiedError
from helpers.loading.watch import MOST_LINES, NOT_BEGUN, whereabouts

pytestmark = pytest.mark.timeout(120)
needs_processes = pytest.mark.skipif(
    not hasattr(socket, "send_fds"), reason="worker processes need Linux or macOS"
)

SIZE = (21, 17)


# ---- where a worker is ---------------------------------------------------------------------------


def at(name, position=1, **options):
    return whereabouts(
        BatchRequest(["first.png", name, "last.png"], Recipe(SIZE), **options), position
    )


def test_a_file_is_named_with_its_size(save, tmp_path):
    path = save(bytes(12_345), "big.jpg")
    assert at(path) == f"The worker was at {path} (12,345 bytes)."
    assert at("big.jpg", folder=str(tmp_path)) == "The worker was at big.jpg (12,345 bytes)."


@pytest.mark.parametrize("name", ["gone.png", "null\0.png", "some.pack#17"])
def test_what_has_no_size_is_named_all_the_same(name):
    assert at(name) == f"The worker was at {name}."


def test_a_name_that_is_no_text_is_escaped():
    assert at(os.fsdecode(b"caf\xe9.png")).encode() == rb"The worker was at caf\udce9.png."


def test_a_worker_that_had_not_begun_was_at_no_file():
    text = at("a.png", NOT_BEGUN)
    assert "first file" in text and ".png" not in text


def test_a_disk_that_does_not_answer_is_not_waited_for(monkeypatch):
    answer = threading.Event()
    monkeypatch.setattr(watch, "STAT_SECONDS", 0.1)
    monkeypatch.setattr(
        watch.Path, "stat", lambda path: answer.wait(60) and os.stat_result(range(10))
    )
    start = time.monotonic()
    try:
        assert at("a.png") == "The worker was at a.png."
        assert time.monotonic() - start < 10
    finally:
        answer.set()


# ---- what decoders say ---------------------------------------------------------------------------


def chunk(kind, data, checksum=None):
    if checksum is None:
        checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def encoded(ending):
    picture = np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)
    return cv2.imencode(ending, picture)[1].tobytes()


PNG, JPEG = encoded(".png"), encoded(".jpg")
AFTER_HEADER = 33  # in a PNG
AFTER_APP0 = 2 + 2 + struct.unpack(">H", JPEG[4:6])[0]
COMPLAINTS = {
    "checksum": (
        PNG[:AFTER_HEADER] + chunk(b"tEXt", b"a\0b", checksum=1) + PNG[AFTER_HEADER:],
        "libpng warning: tEXt: CRC error",
    ),
    "profile": (
        PNG[:AFTER_HEADER]
        + chunk(b"iCCP", b"sRGB\0\0" + zlib.compress(b"none"))
        + PNG[AFTER_HEADER:],
        "libpng warning: iCCP: too short",
    ),
    "bytes": (
        JPEG[:AFTER_APP0] + b"abc" + JPEG[AFTER_APP0:],
        "Corrupt JPEG data: 3 extraneous bytes before marker 0xdb",
    ),
}


@pytest.fixture
def complained_of(save):
    """Names of files that are read, and that libpng or libjpeg complain of; each with the line."""
    return [(save(data, f"{kind}.img"), line) for kind, (data, line) in COMPLAINTS.items()]


@contextlib.contextmanager
def pool_of(augment=None, slots=4):
    pool = Pool(
        1, slots, 70 * SIZE[0] * SIZE[1] * 3 * 4, augment and cloudpickle.dumps((augment, None))
    )
    try:
        yield pool
    finally:
        pool.end()


def request_for(names, **options):
    return BatchRequest(
        names, Recipe(SIZE), seeds=[(0, number) for number in range(len(names))], **options
    )


def unchanged(image, rng):
    return image


both_methods = pytest.mark.parametrize("start_method", ["fork", "exec"])


@needs_processes
@both_methods
@pytest.mark.parametrize("slots", [4, 0], ids=["in memory", "by value"])
@pytest.mark.parametrize("augment", [None, unchanged], ids=["plain", "augmented"])
def test_what_a_decoder_says_is_told_with_the_file(
    pictures, complained_of, capfd, monkeypatch, start_method, slots, augment
):
    monkeypatch.setattr(pools, "START_METHOD", start_method)
    one, two, three = complained_of
    names = [pictures[0], one[0], pictures[1], two[0], three[0], pictures[2]]
    with pool_of(augment, slots) as pool:
        for _ in range(2):
            assert pool.load(request_for(names), 60).suspects == (one, two, three)
            assert pool.load(request_for(pictures[:5]), 60).suspects == ()
    assert capfd.readouterr().err == ""


def test_in_threads_nobody_listens(complained_of, capfd):
    (name, line), *_ = complained_of
    assert load_batch(request_for([name])).suspects == ()
    assert capfd.readouterr().err == f"{line}\n"


@needs_processes
def test_of_a_file_that_is_refused_its_error_is_told_and_no_line(pictures, save, capfd):
    damaged = bytearray(COMPLAINTS["checksum"][0])
    damaged[-100] ^= 255  # in the pixels, which are checked, too
    refused = save(damaged, "refused.png")
    with pool_of() as pool:
        names = [pictures[0], refused, pictures[1]]
        loaded = pool.load(request_for(names, skip_errors=True), 60)
        assert [error.filename for error in loaded.errors] == [refused]
        assert loaded.suspects == ()
        with pytest.raises(ImageError):
            pool.load(request_for([refused]), 60)
    assert capfd.readouterr().err == ""
    with pytest.raises(ImageError):
        load_batch(request_for([refused]))
    assert "libpng error" in capfd.readouterr().err


def replacing_decode(decode):
    """An augment that replaces what decodes the pictures that follow."""

    def augment(image, rng):
        batches.decode = decode
        return image

    return augment


@needs_processes
def test_of_a_flood_of_lines_the_first_ones_are_told_once(pictures, capfd):
    def flood(data, filename, recipe):
        os.write(2, f"{filename}: first\n\n{filename}: first\n".encode())
        os.write(2, b"".join(b"line %d\n" % number for number in range(100_000)))
        return np.zeros((9, 9, 3), np.uint8), None, None

    with pool_of(replacing_decode(flood)) as pool:
        suspects = pool.load(request_for(pictures[:3]), 60).suspects
    lines = [f"line {number}" for number in range(MOST_LINES - 1)]
    assert suspects == tuple(
        (name, line) for name in pictures[1:3] for line in (f"{name}: first", *lines)
    )
    assert capfd.readouterr().err == ""


@needs_processes
def test_what_is_not_said_by_a_decoder_comes_to_the_terminal(pictures, complained_of, capfd):
    def speak(image, rng):
        warnings.warn("a warning", stacklevel=1)
        os.write(2, b"by the process\n")
        subprocess.run([sys.executable, "-c", "import os; os.write(2, b'by a program\\n')"])
        return image

    with pool_of(speak) as pool:
        names = [complained_of[0][0], pictures[0]]
        assert pool.load(request_for(names), 60).suspects == (complained_of[0],)
    said = capfd.readouterr().err.splitlines()
    assert said.count("by the process") == said.count("by a program") == 2
    assert any("UserWarning: a warning" in line for line in said)
    assert complained_of[0][1] not in said


@needs_processes
@both_methods
def test_a_crash_in_a_decoder_says_where_it_was(pictures, capfd, monkeypatch, start_method):
    monkeypatch.setattr(pools, "START_METHOD", start_method)
    crashing = replacing_decode(lambda *arguments: os.abort())
    with pool_of(crashing) as pool, pytest.raises(WorkerDiedError):
        pool.load(request_for(pictures[:3]), 60)
    said = capfd.readouterr().err
    assert "Fatal Python error: Aborted" in said and "in load_batch" in said


# A program whose standard error is closed loads in processes, with shared memory or without.
SILENT = """
import sys
from helpers.images.recipe import Recipe
from helpers.images.request import BatchRequest
from helpers.loading import pool
from helpers.loading.loaders import ProcessLoader
from helpers.loading.memory import BatchMemory

def no_memory(*arguments, **options):
    raise OSError

if sys.argv[1] == "without memory":
    pool.SharedMemory = no_memory
loader = ProcessLoader(BatchMemory(3 * 21 * 17 * 3 + 64), 1, slots=4, timeout=60)
for _ in range(3):
    print(loader.load(BatchRequest(sys.argv[2:], Recipe((21, 17), "uint8"))).images.shape)
loader.close()
"""


@needs_processes
@pytest.mark.parametrize("memory", ["with memory", "without memory"])
def test_a_program_without_standard_error_has_workers_too(pictures, complained_of, memory):
    command = ["sh", "-c", 'exec "$0" "$@" 2>&-', sys.executable, "-c", SILENT, memory]
    names = [pictures[0], complained_of[0][0], pictures[1]]
    done = subprocess.run(
        [*command, *names], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, timeout=90
    )
    assert (done.returncode, done.stdout.splitlines()) == (0, ["(3, 21, 17, 3)"] * 3)
