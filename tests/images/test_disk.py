import errno
import os
import sys
import threading
import time

import pytest
from drawn import FORMATS

from helpers.images import disk
from helpers.images.reading import ImageError, file_content

RAISES_EIO = "/proc/self/mem"  # whoever reads its first bytes gets a real "Input/output error"
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


@linux_only
def test_a_disk_error_that_passes_is_not_noticed(tmp_path, save):
    picture, name = save(FORMATS["PNG"]), tmp_path / "link.png"
    name.symlink_to(RAISES_EIO)

    def mend():
        time.sleep(0.3)
        (tmp_path / "new").symlink_to(picture)
        (tmp_path / "new").replace(name)

    thread = threading.Thread(target=mend)
    thread.start()
    assert file_content(os.fspath(name)) == FORMATS["PNG"]
    thread.join()


@linux_only
def test_a_disk_error_that_stays_is_an_error_that_names_the_file(monkeypatch):
    monkeypatch.setattr(disk, "PAUSES", (0.01, 0.01))
    with pytest.raises(ImageError, match=f"{RAISES_EIO}: cannot be opened .Input/output error"):
        file_content(RAISES_EIO)


def failing(name, times):
    """A function that fails so often, and then reads; and when it was called."""
    calls = []

    def read():
        calls.append(time.monotonic())
        if len(calls) <= times:
            raise OSError(getattr(errno, name), name)
        return "read"

    return read, calls


@pytest.mark.parametrize("name", ["EIO", "ESTALE", "ETIMEDOUT", "EINTR"])
def test_what_may_pass_is_tried_again_after_pauses_that_grow(monkeypatch, name):
    monkeypatch.setattr(disk, "PAUSES", (0.02, 0.1))
    error = OSError(getattr(errno, name), name)
    read, calls = failing(name, 1)
    start = time.monotonic()
    assert disk.try_again(error, read) == "read"
    assert calls[0] - start >= 0.02 and calls[1] - calls[0] >= 0.1
    read, calls = failing(name, 9)
    with pytest.raises(OSError, match=name):
        disk.try_again(error, read)
    assert len(calls) == 2


@pytest.mark.parametrize("name", ["ENOENT", "EACCES", "ENOTDIR", "EISDIR"])
def test_what_does_not_pass_is_not_tried_again(name):
    read, calls = failing(name, 0)
    with pytest.raises(OSError, match=name):
        disk.try_again(OSError(getattr(errno, name), name), read)
    assert calls == []
    read, calls = failing(name, 9)
    with pytest.raises(OSError, match=name):
        disk.try_again(OSError(errno.EIO, "EIO"), read)
    assert len(calls) == 1
