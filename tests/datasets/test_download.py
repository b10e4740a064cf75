"""A small archive in the official layout, served on this machine by servers that misbehave."""

import hashlib
import time

import pytest
from archives import ARCHIVE, GOOD, SHA256, Behaviour, files_in, part_of, serve

from helpers.datasets import download as downloading
from helpers.datasets.cifar10 import ARCHIVE_NAME
from helpers.datasets.download import download

QUICK = {"tries": 3, "wait": 0.01, "timeout": (5, 0.3)}


# ---- download ------------------------------------------------------------------------------------


@pytest.fixture
def archive(tmp_path):
    return tmp_path / ARCHIVE_NAME


def test_download(archive):
    with serve(GOOD) as server:
        download(server.url, archive, SHA256)
        download(server.url, archive, SHA256)  # is there already
    assert archive.read_bytes() == ARCHIVE
    assert files_in(archive.parent) == [archive.name]
    assert server.ranges == [None]


def test_download_goes_on_where_the_connection_was_cut(archive):
    # More cuts than tries: each brought something new, so that none of them counts.
    cuts = [GOOD._replace(cut=150_000)] * 4
    with serve(*cuts, GOOD) as server:
        download(server.url, archive, SHA256, **QUICK)
    assert archive.read_bytes() == ARCHIVE
    starts = [int(r.removeprefix("bytes=").removesuffix("-")) for r in server.ranges[1:]]
    assert len(starts) == 4
    assert starts == sorted(starts)
    assert starts[0] > 100_000


def test_download_goes_on_in_the_next_call(archive):
    part_of(archive).write_bytes(ARCHIVE[:300_000])
    with serve(GOOD) as server:
        download(server.url, archive, SHA256)
    assert archive.read_bytes() == ARCHIVE
    assert server.ranges == ["bytes=300000-"]


def test_download_from_a_server_that_ignores_range(archive):
    part_of(archive).write_bytes(b"?" * 300_000)
    with serve(Behaviour()) as server:
        download(server.url, archive, SHA256)
    assert archive.read_bytes() == ARCHIVE
    assert server.ranges == ["bytes=300000-"]


def test_download_gives_up_on_a_server_that_always_starts_anew_and_breaks_off(archive):
    with serve(Behaviour(cut=200_000)) as server, pytest.raises(ConnectionError):
        download(server.url, archive, SHA256, **QUICK)
    assert 3 <= len(server.ranges) <= 4


def test_download_starts_over_if_the_server_sends_the_wrong_part(archive):
    part_of(archive).write_bytes(ARCHIVE[:300_000])
    with serve(GOOD._replace(shift=1)) as server:
        download(server.url, archive, SHA256, **QUICK)
    assert archive.read_bytes() == ARCHIVE
    assert server.ranges == ["bytes=300000-", None]  # what was there was dropped


def test_download_was_complete_but_not_renamed(archive):
    part_of(archive).write_bytes(ARCHIVE)
    with serve(GOOD) as server:
        download(server.url, archive, SHA256)
    assert archive.read_bytes() == ARCHIVE
    assert server.ranges == [f"bytes={len(ARCHIVE)}-"]


def test_download_with_too_long_a_part_starts_over(archive):
    part_of(archive).write_bytes(ARCHIVE + b"?")
    with serve(GOOD) as server:
        download(server.url, archive, SHA256, **QUICK)
    assert archive.read_bytes() == ARCHIVE
    assert server.ranges[1] is None


def test_download_notices_a_stall(archive):
    with serve(GOOD._replace(stall=200_000), GOOD) as server:
        start = time.monotonic()
        download(server.url, archive, SHA256, **QUICK)
        assert time.monotonic() - start < 10
    assert archive.read_bytes() == ARCHIVE
    assert server.ranges[1].startswith("bytes=1")


def test_download_tries_again_after_500_but_not_after_404(archive):
    with serve(Behaviour(status=500), Behaviour(status=503), GOOD) as server:
        download(server.url, archive, SHA256, **QUICK)
    assert archive.read_bytes() == ARCHIVE
    archive.unlink()
    with serve(Behaviour(status=404)) as server, pytest.raises(ConnectionError, match="404"):
        download(server.url, archive, SHA256, **QUICK)
    assert len(server.ranges) == 1
    with serve(Behaviour(status=500)) as server, pytest.raises(ConnectionError, match="500"):
        download(server.url, archive, SHA256, **QUICK)
    assert len(server.ranges) == 3
    assert not archive.exists()


def test_waits_grow(archive, monkeypatch):
    waits = []
    monkeypatch.setattr(downloading.time, "sleep", waits.append)
    with serve(Behaviour(status=500)) as server, pytest.raises(ConnectionError):
        download(server.url, archive, SHA256, tries=4, wait=1.0)
    assert waits == [1.0, 2.0, 4.0]


def test_download_without_a_network_says_what_to_do(archive):
    with serve(GOOD) as server:
        url = server.url
    part_of(archive).write_bytes(b"12345")
    with pytest.raises(ConnectionError) as error:  # nobody listens there now
        download(url, archive, SHA256, **QUICK)
    for hint in (url, "load_sample()", "url=", str(archive), "from the 5 bytes"):
        assert hint in str(error.value)
    assert part_of(archive).read_bytes() == b"12345"


def test_download_with_a_wrong_hash_is_removed(archive):
    with serve(GOOD._replace(body=b"<html>Please log in</html>")) as server:
        with pytest.raises(ValueError, match=SHA256) as error:
            download(server.url, archive, SHA256)
        assert len(server.ranges) == 1
        assert hashlib.sha256(b"<html>Please log in</html>").hexdigest() in str(error.value)
        assert "url=" in str(error.value)
        assert files_in(archive.parent) == []
        server.behaviours = [GOOD]
        download(server.url, archive, SHA256)  # and the next call is not spoilt by it
    assert archive.read_bytes() == ARCHIVE


def test_a_file_put_there_by_hand_is_verified_and_left_alone(archive):
    archive.write_bytes(b"the python version, say")
    with pytest.raises(ValueError, match="Delete it"):
        download("http://127.0.0.1:9/", archive, SHA256)
    assert archive.read_bytes() == b"the python version, say"
    archive.write_bytes(ARCHIVE)
    download("http://127.0.0.1:9/", archive, SHA256)
