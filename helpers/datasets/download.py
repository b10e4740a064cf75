"""The real CIFAR-10: download its archive, verify it, unpack it to image files.

This is the *binary version* of https://www.cs.toronto.edu/~kriz/cifar.html: an archive of plain
records, so that nothing has to be unpickled. What lies in the cache folder says how far we are,
and every step goes on where the last one was interrupted, whatever interrupted it::

    cifar-10-binary.tar.gz.part    what has been downloaded so far
    cifar-10-binary.tar.gz         the whole archive, its hash verified
    cifar10.partial/               the image files unpacked so far
    cifar10/                       all of them
"""

import errno
import gzip
import hashlib
import json
import os
import shutil
import tarfile
import time
import zlib
from contextlib import contextmanager
from pathlib import PurePosixPath

import cv2
import numpy as np
import requests
from tqdm import tqdm

CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
CIFAR10_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
ARCHIVE_NAME = "cifar-10-binary.tar.gz"
ARCHIVE_BYTES = 170_052_171
PICTURES = 60_000
PICTURE_BYTES_ON_DISK = 4096  # a PNG of 32×32 has about 2,300 bytes, and a disk gives whole blocks

FOLDER_IN_ARCHIVE = "cifar-10-batches-bin"
BATCHES = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}
RECORD_BYTES = 1 + 3 * 32 * 32  # the label; then the red, the green and the blue plane
MADE_FROM = "made_from.json"  # lies in cifar10/: which archive, and how many pictures it holds


def make(folder, url, sha256):
    """Download the archive from `url` to beside `folder`, and unpack it to `folder`.

    See `download` and `unpack` for what is raised; also OSError (ENOSPC), before anything is
    begun, if it will not fit on the disk.
    """
    archive = folder.parent / ARCHIVE_NAME
    _check_space(folder, archive)
    download(url, archive, sha256)
    unpack(archive, folder, sha256)


def _check_space(folder, archive):
    downloaded = ARCHIVE_BYTES if archive.exists() else _size(_unfinished(archive, ".part"))
    unpacked = _count_pictures(folder) + _count_pictures(_unfinished(folder, ".partial"))
    needed = (ARCHIVE_BYTES - downloaded) + (PICTURES - unpacked) * PICTURE_BYTES_ON_DISK
    if shutil.disk_usage(folder.parent).free < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _unfinished(path, ending):
    return path.with_name(path.name + ending)


# ---- download ------------------------------------------------------------------------------------


def download(url, archive, sha256, *, tries=4, wait=1.0, timeout=(10.0, 60.0)):
    """Download `url` to the file `archive`, unless it is there, and verify its hash.

    Until it is whole and verified its name ends in ``.part``; the next try or the next call asks
    the server for the rest only.

    Parameters
    ----------
    url : str
    archive : Path
    sha256 : str
        What the file's SHA-256 must be, in hexadecimal digits.
    tries : int
        Give up after so many tries in a row that brought nothing new.
    wait : float
        Seconds before the second try; doubled before each further one.
    timeout : tuple of float
        Seconds to wait for a connection, and for the next bytes to arrive.

    Raises
    ------
    ConnectionError
        If the download failed `tries` times, or the server refuses it.
    ValueError
        If the hash is wrong. What was downloaded is removed then; a file that lay there before
        is left alone.
    """
    if archive.exists():
        received = _sha256(archive)
        if received != sha256:
            raise ValueError(
                f"{archive} is not the expected file: its SHA-256 is {received}, expected {sha256}."
                " Delete it to download it anew, or put the right file there."
            )
        return
    part = _unfinished(archive, ".part")
    try:
        _fetch(url, part, tries, wait, timeout)
    except requests.RequestException as error:
        raise ConnectionError(
            f"Could not download {url}: {error}\nCall again to go on from the {_size(part):,} bytes"
            " that have arrived; or pass url= of a mirror; or get the file in another way and put"
            f" it at {archive}. Without a network, use load_sample()."
        ) from error
    received = _sha256(part)
    if received != sha256:
        part.unlink()
        raise ValueError(
            f"{url} is not the expected file: its SHA-256 is {received}, expected {sha256}. It was"
            " removed. Call again in case it was damaged on its way; if that does not help, pass"
            " url= of another mirror."
        )
    part.replace(archive)


def _fetch(url, part, tries, wait, timeout):
    failures, most = 0, _size(part)
    with tqdm(desc="Downloading CIFAR-10", unit="B", unit_scale=True) as bar:
        while True:
            try:
                return _fetch_rest(url, part, timeout, bar)
            except requests.RequestException as error:
                # A line that breaks often but gets further each time will arrive in the end.
                failures = 1 if _size(part) > most else failures + 1
                most = max(most, _size(part))
                if failures >= tries or not _may_pass(error):
                    raise
            pause = wait * 2 ** (failures - 1)
            bar.set_postfix_str(f"broken off, next try in {pause:.0f} s")
            time.sleep(pause)
            bar.set_postfix_str("")


def _may_pass(error):
    """Whether the same request may succeed a little later."""
    if isinstance(error, requests.HTTPError):
        return error.response.status_code in (408, 429) or error.response.status_code >= 500
    passing = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    return isinstance(error, passing)


def _fetch_rest(url, part, timeout, bar):
    """Ask for what `part` lacks and append it (HTTP range requests: RFC 9110, section 14)."""
    start = _size(part)
    headers = {"Accept-Encoding": "identity"}  # the file's own bytes, not compressed once more
    if start:
        headers["Range"] = f"bytes={start}-"
    with requests.get(url, headers=headers, stream=True, timeout=timeout) as response:
        content_range = response.headers.get("Content-Range", "")
        if response.status_code == 416 and content_range == f"bytes */{start}":
            return  # there is nothing after `start`: we have it all
        starts_elsewhere = not content_range.startswith(f"bytes {start}-")
        if response.status_code == 416 or (response.status_code == 206 and starts_elsewhere):
            part.unlink(missing_ok=True)
            raise requests.ConnectionError("the server sent another part than was asked for")
        response.raise_for_status()
        if response.status_code == 206:
            total = content_range.rpartition("/")[2]
        else:  # the server ignores Range and sends all of it again
            start, total = 0, response.headers.get("Content-Length", "")
        total = int(total) if total.isdigit() else None
        bar.reset(total)
        bar.initial = bar.n = start
        with part.open("ab" if start else "wb") as file:
            for chunk in response.iter_content(chunk_size=65_536):
                file.write(chunk)
                bar.update(len(chunk))
    if total is not None and _size(part) < total:
        raise requests.ConnectionError(f"the server sent {_size(part):,} of {total:,} bytes")


def _size(path):
    return path.stat().st_size if path.exists() else 0


def _sha256(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---- unpack --------------------------------------------------------------------------------------


def is_whole(folder, sha256):
    """Whether `folder` holds all of the archive's pictures; FileExistsError if it holds others."""
    if not folder.exists():
        return False
    made_from = _made_from(folder)
    if made_from.get("sha256") != sha256:
        raise FileExistsError(
            f"{folder} exists, but was not made from the archive with SHA-256 {sha256}. Move it"
            f" away or pass another cache_dir=. To use it as it is: load_folder({str(folder)!r})."
        )
    return _count_pictures(folder) >= made_from["pictures"]


def _made_from(folder):
    file = folder / MADE_FROM
    return json.loads(file.read_text()) if file.exists() else {}


def _count_pictures(folder):
    return sum(1 for _ in folder.glob("*/*/*.png"))


def unpack(archive, folder, sha256):
    """Unpack CIFAR-10's binary archive to ``folder/{train,test}/<class>/<number>.png``.

    The number is the picture's place in CIFAR-10's own order. Pictures that are there already,
    from a call that was interrupted, are not written again.

    Parameters
    ----------
    archive : Path
        The .tar.gz file. Each batch in it may hold any whole number of records.
    folder : Path
        Where the pictures go; ``<folder>.partial`` until all are there.
    sha256 : str
        The archive's hash, noted in the folder.

    Raises
    ------
    ValueError
        If the archive cannot be read, lacks a file, has a record that is not as it should be, or
        holds what a data set has no use for: links, paths that lead elsewhere.
    """
    try:
        with tarfile.open(archive, "r:gz") as tar:
            _check_members(tar)
            class_names = _class_names(tar)
            total = sum(_count_records(tar, name) for split in BATCHES for name in BATCHES[split])
            partial = _unfinished(folder, ".partial")
            if partial.exists() and _made_from(partial).get("sha256") != sha256:
                shutil.rmtree(partial)  # of another archive: the two must not mix
            with whole_or_absent(folder) as working_folder:
                note = json.dumps({"sha256": sha256, "pictures": total})
                _write_whole(working_folder / MADE_FROM, note.encode())
                for split in BATCHES:
                    for class_name in class_names:
                        (working_folder / split / class_name).mkdir(parents=True, exist_ok=True)
                pictures = _pictures(tar, class_names)
                write_pictures(working_folder, pictures, total, "Unpacking CIFAR-10")
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise ValueError(f"{archive} cannot be read as a .tar.gz file: {error}") from error


def _not_cifar10(tar, reason):
    return ValueError(
        f"{tar.name} is not CIFAR-10's binary archive: {reason}. Delete it and get it from another"
        " place."
    )


def _check_members(tar):
    # No name in the archive is ever used as a path; but one that tries to be is not the data set.
    for member in tar:
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts or not (member.isfile() or member.isdir()):
            reason = f"{member.name!r} is a link, a device or a path that leads out of its folder"
            raise _not_cifar10(tar, reason)


def _member(tar, name):
    path = f"{FOLDER_IN_ARCHIVE}/{name}"
    if path not in tar.getnames():
        raise _not_cifar10(tar, f"it lacks the file {path}")
    return tar.getmember(path)


def _class_names(tar):
    names = tar.extractfile(_member(tar, "batches.meta.txt")).read().decode("latin-1").split()
    # load_folder() numbers the classes in alphabetical order: only then are these the labels.
    if len(names) != 10 or names != sorted(set(names)) or not all(n.isalpha() for n in names):
        raise _not_cifar10(tar, f"batches.meta.txt should hold ten sorted names, not {names[:12]}")
    return names


def _count_records(tar, name):
    size = _member(tar, name).size
    if size % RECORD_BYTES:
        reason = f"{name} has {size:,} bytes, no whole number of records of {RECORD_BYTES:,} bytes"
        raise _not_cifar10(tar, reason)
    return size // RECORD_BYTES


def _pictures(tar, class_names):
    """Yield (file name, picture as uint8 array of 32×32×RGB) in CIFAR-10's own order."""
    for split, batches in BATCHES.items():
        number = 0
        for batch in batches:
            data = tar.extractfile(_member(tar, batch)).read()
            records = np.frombuffer(data, np.uint8).reshape(-1, RECORD_BYTES)
            labels = records[:, 0]
            if labels.max(initial=0) > 9:
                raise _not_cifar10(tar, f"{batch} has label {labels.max()}, and 9 is the highest")
            pictures = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
            for label, picture in zip(labels, pictures, strict=True):
                yield f"{split}/{class_names[label]}/{number:05d}.png", picture
                number += 1


# ---- write, so that nothing half-written bears its final name ------------------------------------


@contextmanager
def whole_or_absent(folder):
    """Give a folder to fill, which is named `folder` only when it is full.

    A `folder` that exists has lost some files: it is mended in place, for others may be reading it.
    """
    if folder.exists():
        yield folder
        return
    partial = _unfinished(folder, ".partial")
    partial.mkdir(exist_ok=True)
    yield partial
    partial.rename(folder)


def write_pictures(folder, pictures, total, description):
    """Write (file name, RGB array) pairs below `folder` as PNG, but those that are there."""
    for name, picture in tqdm(pictures, total=total, desc=description, unit="picture"):
        path = folder / name
        if not _size(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)  # the order that OpenCV stores
            # Level 1 of 9: as pictures this small hardly shrink further, it only saves time.
            encoded = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
            _write_whole(path, encoded)


def _write_whole(path, data):
    temporary = _unfinished(path, ".tmp")
    temporary.write_bytes(data)
    temporary.replace(path)
