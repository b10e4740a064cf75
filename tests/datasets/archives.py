"""A small archive as CIFAR-10's, and a server for it that may misbehave."""

import hashlib
import io
import tarfile
import threading
import time
from collections import namedtuple
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from helpers.datasets import cifar10

META = "airplane automobile bird cat deer dog frog horse ship truck".replace(" ", "\n") + "\n\n"
CLASS_NAMES = META.split()
RECORDS = {"data_batch_1": 30, "data_batch_2": 40, "data_batch_3": 50, "data_batch_4": 1}
RECORDS |= {"data_batch_5": 79, "test_batch": 60}


# ---- the archive ---------------------------------------------------------------------------------


def make_records():
    rng = np.random.default_rng(0)
    records = {}
    for name, count in RECORDS.items():
        records[name] = rng.integers(0, 256, (count, 3073), np.uint8)
        records[name][:, 0] = np.arange(count) % 10
    return records


def official_files():
    """In the odd order that the official archive has them."""
    records = make_records()
    files = {
        "data_batch_1.bin": records["data_batch_1"].tobytes(),
        "batches.meta.txt": META.encode(),
    }
    for name in ("data_batch_3", "data_batch_4", "test_batch", "data_batch_5", "data_batch_2"):
        files[f"{name}.bin"] = records[name].tobytes()
    return files | {"readme.html": b"<html>"}


def make_archive(files, extra=()):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        folder = tarfile.TarInfo("cifar-10-batches-bin")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, data in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        for member in extra:
            tar.addfile(member)
    return buffer.getvalue()


ARCHIVE = make_archive(official_files())
SHA256 = hashlib.sha256(ARCHIVE).hexdigest()


# ---- the servers ---------------------------------------------------------------------------------

Behaviour = namedtuple("Behaviour", "status ranges cut stall pause shift body", defaults=[0] * 7)
Behaviour.__doc__ = """How a server answers one request.

status: answer with this error. ranges: understand Range. cut: close the connection after so many
bytes. stall: send so many bytes and then nothing. pause: seconds before each 16 KiB.
shift: send a range that begins so many bytes later. body: send this instead of the archive.
"""
GOOD = Behaviour(ranges=True)


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        server = self.server
        range_asked = self.headers.get("Range")
        server.ranges.append(range_asked)
        how = server.behaviours[0]
        if len(server.behaviours) > 1:
            server.behaviours.pop(0)
        if how.status:
            self.send_error(how.status)
            return
        body = how.body or ARCHIVE
        start = 0
        if range_asked and how.ranges:
            start = int(range_asked.removeprefix("bytes=").removesuffix("-")) + how.shift
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.send_body(body[start:], how)

    def send_body(self, body, how):
        body = body[: how.cut or how.stall or len(body)]
        try:
            for i in range(0, len(body), 16_384):
                time.sleep(how.pause)
                self.wfile.write(body[i : i + 16_384])
        except OSError:  # the other side was killed
            return
        if how.stall:
            self.server.over.wait(20)


@contextmanager
def serve(*behaviours):
    """Serve the archive on this machine; the last behaviour goes on for ever."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.behaviours, server.ranges, server.over = list(behaviours), [], threading.Event()
    server.url = f"http://127.0.0.1:{server.server_port}/cifar.tar.gz"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def files_in(folder):
    return [path.name for path in folder.iterdir()]


def part_of(archive):
    return archive.with_name(archive.name + ".part")


@pytest.fixture
def archive(tmp_path):
    return tmp_path / cifar10.ARCHIVE_NAME
