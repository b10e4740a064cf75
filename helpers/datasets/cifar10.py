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
import json
import os
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath

import numpy as np

from helpers.datasets import writing
from helpers.datasets.download import download
from helpers.datasets.folders import load_folder

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


def load_cifar10(cache_dir=None, url=CIFAR10_URL, sha256=CIFAR10_SHA256):
    """Load the real CIFAR-10; on first use, download 170 MB and unpack it to image files.

    Whatever interrupts it, the next call goes on where it stopped. The archive is kept beside
    the pictures, so that they can be made again without the network; delete it if the disk is
    small.

    Parameters
    ----------
    cache_dir : str or Path, optional
        Where to keep it, in a folder ``cifar10``. Default: this project's ``data``,
        or what the environment variable ``BIGGER_THAN_MEMORY_DATA`` names.
    url : str
        A mirror to download ``cifar-10-binary.tar.gz`` from.
    sha256 : str
        The archive's hash. The default is that of the official archive.

    Returns
    -------
    train, test : ImageFiles
        50,000 and 10,000 PNG files of 32×32, with the labels and class names of
        https://www.cs.toronto.edu/~kriz/cifar.html.

    Raises
    ------
    ConnectionError
        If it cannot be downloaded.
    ValueError
        If what was downloaded is not the expected file.
    OSError
        If the disk is full or `cache_dir` cannot be written.
    """
    folder = Path(cache_dir or writing.data_folder()) / "cifar10"
    writing.make_once(
        folder,
        lambda folder: make(folder, url, sha256),
        lambda folder: is_whole(folder, sha256),
        space="about 170 MB for the archive and 250 MB for the images",
    )
    return load_folder(folder / "train"), load_folder(folder / "test")


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
    part = writing.unfinished(archive, ".part")
    downloaded = ARCHIVE_BYTES if archive.exists() else writing.size_of(part)
    unpacked = _count_pictures(folder) + _count_pictures(writing.unfinished(folder, ".partial"))
    needed = (ARCHIVE_BYTES - downloaded) + (PICTURES - unpacked) * PICTURE_BYTES_ON_DISK
    if shutil.disk_usage(folder.parent).free < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


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
            partial = writing.unfinished(folder, ".partial")
            if partial.exists() and _made_from(partial).get("sha256") != sha256:
                shutil.rmtree(partial)  # of another archive: the two must not mix
            with writing.whole_or_absent(folder) as working_folder:
                note = json.dumps({"sha256": sha256, "pictures": total})
                writing.write_whole(working_folder / MADE_FROM, note.encode())
                for split in BATCHES:
                    for class_name in class_names:
                        (working_folder / split / class_name).mkdir(parents=True, exist_ok=True)
                pictures = _pictures(tar, class_names)
                writing.write_pictures(working_folder, pictures, total, "Unpacking CIFAR-10")
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
