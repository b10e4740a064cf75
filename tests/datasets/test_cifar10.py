"""A small archive in the official layout, served on this machine by servers that misbehave."""

import os
import shutil
import signal
import tarfile
import tempfile
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from archives import (
    ARCHIVE,
    CLASS_NAMES,
    GOOD,
    META,
    SHA256,
    files_in,
    make_archive,
    make_records,
    official_files,
    part_of,
    serve,
)
from conftest import child
from skimage.io import imread

from helpers.datasets import cifar10


@pytest.fixture
def archive(tmp_path):
    return tmp_path / cifar10.ARCHIVE_NAME


def expected_pictures():
    """Map each file's name to its picture, worked out here by hand from the records."""
    records = make_records()
    train = np.concatenate([records[f"data_batch_{i}"] for i in range(1, 6)])
    pictures = {}
    for split, rows in (("train", train), ("test", records["test_batch"])):
        for number, row in enumerate(rows):
            picture = np.stack([row[1:1025], row[1025:2049], row[2049:]], axis=-1)
            name = f"{split}/{CLASS_NAMES[row[0]]}/{number:05d}.png"
            pictures[name] = picture.reshape(32, 32, 3)
    return pictures


EXPECTED = expected_pictures()


def assert_whole(folder):
    found = {path.relative_to(folder).as_posix() for path in folder.glob("*/*/*")}
    assert found == set(EXPECTED)
    for name, picture in EXPECTED.items():
        np.testing.assert_array_equal(imread(folder / name), picture)


# ---- unpack --------------------------------------------------------------------------------------


def test_unpack(archive, tmp_path):
    archive.write_bytes(ARCHIVE)
    cifar10.unpack(archive, tmp_path / "cifar10", SHA256)
    assert_whole(tmp_path / "cifar10")
    assert not (tmp_path / "cifar10.partial").exists()


def bad_member(name, kind=tarfile.REGTYPE):
    member = tarfile.TarInfo(name)
    member.type = kind
    member.linkname = "/etc/passwd"
    return member


@pytest.mark.parametrize(
    "member",
    [
        bad_member("../outside.bin"),
        bad_member("cifar-10-batches-bin/../../outside.bin"),
        bad_member("/outside.bin"),
        bad_member("cifar-10-batches-bin/a", tarfile.SYMTYPE),
        bad_member("cifar-10-batches-bin/a", tarfile.LNKTYPE),
        bad_member("cifar-10-batches-bin/a", tarfile.CHRTYPE),
        bad_member("cifar-10-batches-bin/a", tarfile.FIFOTYPE),
        bad_member("cifar-10-batches-bin/test_batch.bin", tarfile.SYMTYPE),
    ],
    ids=lambda member: f"{member.name} {member.type.decode()}",
)
def test_unpack_refuses_an_archive_that_reaches_out(archive, tmp_path, member):
    archive.write_bytes(make_archive(official_files(), [member]))
    with pytest.raises(ValueError, match="leads out of its folder") as error:
        cifar10.unpack(archive, tmp_path / "cifar10", SHA256)
    assert member.name in str(error.value)
    assert files_in(tmp_path) == [archive.name]


def with_label(name, label):
    data = bytearray(official_files()[name])
    data[3073] = label
    return bytes(data)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"data_batch_2.bin": b"0" * 3072}, "data_batch_2.bin has 3,072 bytes"),
        ({"test_batch.bin": b"\0" * 3074}, "test_batch.bin has 3,074 bytes"),
        ({"data_batch_5.bin": with_label("data_batch_5.bin", 10)}, "data_batch_5.bin has label 10"),
        ({"data_batch_3.bin": None}, "lacks the file cifar-10-batches-bin/data_batch_3.bin"),
        ({"batches.meta.txt": None}, "lacks the file cifar-10-batches-bin/batches.meta.txt"),
        ({"batches.meta.txt": b"cat\ndog\n"}, "ten sorted names"),
        ({"batches.meta.txt": META.replace("bird", "bi/../rd").encode()}, "ten sorted names"),
        ({"batches.meta.txt": META.replace("truck", "aaa").encode()}, "ten sorted names"),
    ],
)
def test_unpack_refuses_what_is_not_cifar10(archive, tmp_path, changed, message):
    files = {name: data for name, data in (official_files() | changed).items() if data is not None}
    archive.write_bytes(make_archive(files))
    with pytest.raises(ValueError, match=message):
        cifar10.unpack(archive, tmp_path / "cifar10", SHA256)
    assert not (tmp_path / "cifar10").exists()


@pytest.mark.parametrize("data", [ARCHIVE[: len(ARCHIVE) // 2], b"<html>", b""])
def test_unpack_a_damaged_archive(archive, tmp_path, data):
    archive.write_bytes(data)
    with pytest.raises(ValueError, match=r"cannot be read as a \.tar\.gz"):
        cifar10.unpack(archive, tmp_path / "cifar10", SHA256)
    assert not (tmp_path / "cifar10").exists()


def test_unpack_does_not_mix_two_archives(archive, tmp_path):
    left_over = tmp_path / "cifar10.partial/train/cat/00003.png"
    left_over.parent.mkdir(parents=True)
    left_over.write_bytes(b"a picture of another archive")
    (tmp_path / "cifar10.partial/made_from.json").write_text('{"sha256": "other", "pictures": 9}')
    archive.write_bytes(ARCHIVE)
    cifar10.unpack(archive, tmp_path / "cifar10", SHA256)
    assert_whole(tmp_path / "cifar10")


# ---- all of it: load_cifar10 ---------------------------------------------------------------------


def test_load_cifar10(tmp_path):
    with serve(GOOD) as server:
        train, test = cifar10.load_cifar10(tmp_path, server.url, SHA256)
        again = cifar10.load_cifar10(str(tmp_path), server.url, SHA256)
    assert len(server.ranges) == 1
    assert again[0].filenames == train.filenames
    assert_whole(tmp_path / "cifar10")
    assert (len(train.filenames), len(test.filenames)) == (200, 60)
    records = make_records()
    official_labels = np.concatenate([records[f"data_batch_{i}"][:, 0] for i in range(1, 6)])
    for files, official in ((train, official_labels), (test, records["test_batch"][:, 0])):
        assert files.class_names == tuple(CLASS_NAMES)
        numbers = [int(Path(name).stem) for name in files.filenames]
        np.testing.assert_array_equal(files.labels, official[numbers])


def test_pictures_that_were_deleted_come_back(tmp_path):
    with serve(GOOD) as server:
        train, _ = cifar10.load_cifar10(tmp_path, server.url, SHA256)
        written = time_of_writing(tmp_path / "cifar10")
        shutil.rmtree(tmp_path / "cifar10/train/bird")  # all numbers after it would shift
        Path(train.filenames[-1]).unlink()
        cifar10.load_cifar10(tmp_path, server.url, SHA256)
    assert len(server.ranges) == 1  # the archive was kept
    assert_whole(tmp_path / "cifar10")
    now = time_of_writing(tmp_path / "cifar10")
    rewritten = {name for name in written if written[name] != now[name]}
    assert all("bird" in name or name == train.filenames[-1] for name in rewritten)


def test_a_folder_of_the_users_own_is_not_touched(tmp_path):
    own = tmp_path / "cifar10/train/cat/tom.png"
    own.parent.mkdir(parents=True)
    own.touch()
    with pytest.raises(FileExistsError, match="Move it away"):
        cifar10.load_cifar10(tmp_path, "http://127.0.0.1:9/", SHA256)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [own]


def time_of_writing(folder):
    return {str(path): path.stat().st_mtime_ns for path in folder.glob("*/*/*.png")}


# A child that takes its time before it gives a finished file its final name.
CHILD = """
import pathlib, sys, time
from helpers.datasets import cifar10
replace = pathlib.Path.replace
def replace_later(self, target):
    time.sleep(float(sys.argv[4]))
    return replace(self, target)
pathlib.Path.replace = replace_later
train, test = cifar10.load_cifar10(*sys.argv[1:4])
print(len(train.filenames), len(test.filenames))
"""


def loading_child(cache, url, pause=0.0):
    return child(CHILD, cache, url, SHA256, pause)


def kill_when(process, condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.kill()
    process.wait(timeout=10)
    if os.name == "posix":
        assert process.returncode == -signal.SIGKILL


def test_killed_while_downloading(tmp_path):
    part = part_of(tmp_path / cifar10.ARCHIVE_NAME)
    with serve(GOOD._replace(pause=0.1), GOOD) as server:
        with loading_child(tmp_path, server.url) as process:
            kill_when(process, lambda: part.exists() and part.stat().st_size > 100_000)
        size = part.stat().st_size
        assert not (tmp_path / "cifar10").exists()
        cifar10.load_cifar10(tmp_path, server.url, SHA256)
    assert server.ranges == [None, f"bytes={size}-"]
    assert_whole(tmp_path / "cifar10")


def test_killed_while_unpacking(tmp_path):
    partial = tmp_path / "cifar10.partial"
    with serve(GOOD) as server:
        for least in (20, 80):  # more than once
            with loading_child(tmp_path, server.url, pause=0.01) as process:
                kill_when(process, lambda least=least: len(time_of_writing(partial)) > least)
            assert not (tmp_path / "cifar10").exists()
        written = time_of_writing(partial)
        assert 80 < len(written) < len(EXPECTED)
        assert list(partial.glob("*/*/*.tmp"))  # killed before the last file got its name
        cifar10.load_cifar10(tmp_path, server.url, SHA256)
    assert len(server.ranges) == 1
    assert_whole(tmp_path / "cifar10")
    now = time_of_writing(tmp_path / "cifar10")
    assert [now[name.replace("cifar10.partial", "cifar10")] for name in written] == [
        *written.values()
    ]


def test_two_processes_at_once(tmp_path):
    with (
        serve(GOOD._replace(pause=0.01)) as server,
        loading_child(tmp_path, server.url, pause=0.005) as one,
        loading_child(tmp_path, server.url, pause=0.005) as two,
    ):
        outputs = [process.communicate(timeout=60) for process in (one, two)]
    assert sorted(out.splitlines()[-1] for out, _ in outputs) == ["200 60", "200 60"], outputs
    assert sum("waiting for it" in out for out, _ in outputs) == 1
    assert sum("Unpacking" in err for _, err in outputs) == 1  # the other found it done
    assert len(server.ranges) == 1
    assert_whole(tmp_path / "cifar10")


# ---- full and read-only disks --------------------------------------------------------------------


def test_too_small_a_disk_is_noticed_before_anything_is_begun(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(cifar10.shutil, "disk_usage", lambda path: usage(1e9, 0, 400_000_000))
    with (
        serve(GOOD) as server,
        pytest.raises(OSError, match="170 MB for the archive and 250 MB") as error,
    ):
        cifar10.load_cifar10(tmp_path, server.url, SHA256)
    assert "cache_dir=" in str(error.value)
    assert server.ranges == []
    # With the archive there, only the pictures need room.
    (tmp_path / cifar10.ARCHIVE_NAME).write_bytes(ARCHIVE)
    cifar10.load_cifar10(tmp_path, server.url, SHA256)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("file", [".part", "cifar10.partial/test/cat/00003.png.tmp"])
def test_disk_full_on_the_way(tmp_path, file):
    # Whatever is written to /dev/full fails with ENOSPC, as on a disk without room.
    full = part_of(tmp_path / cifar10.ARCHIVE_NAME) if file == ".part" else tmp_path / file
    full.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "cifar10.partial").mkdir(exist_ok=True)
    (tmp_path / "cifar10.partial/made_from.json").write_text(f'{{"sha256": "{SHA256}"}}')
    full.symlink_to("/dev/full")
    with serve(GOOD) as server:
        with pytest.raises(OSError, match="is full: this takes about 170 MB") as error:
            cifar10.load_cifar10(tmp_path, server.url, SHA256)
        assert "cache_dir=" in str(error.value)
        assert not (tmp_path / "cifar10").exists()
        full.unlink()  # room again
        cifar10.load_cifar10(tmp_path, server.url, SHA256)
    assert_whole(tmp_path / "cifar10")


@pytest.mark.skipif(os.name != "posix", reason="sets permissions")
def test_read_only_folder():
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65_534)  # root may write anywhere, nobody may not
    try:
        with pytest.raises(PermissionError, match="cannot be written") as error:
            cifar10.load_cifar10(folder, "http://127.0.0.1:9/", SHA256)
        assert "cache_dir=" in str(error.value)
    finally:
        os.seteuid(user)
        folder.rmdir()
