"""Write pictures and other files so that nothing half-written bears its final name."""

import errno
import os
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

from helpers.images.opencv import cv2

DATA_VARIABLE = "BIGGER_THAN_MEMORY_DATA"  # of the environment: another folder than data/
ENCODINGS = {
    # Level 1 of 9: as pictures this small hardly shrink further, it only saves time.
    ".png": [cv2.IMWRITE_PNG_COMPRESSION, 1],
    ".jpg": [
        *(cv2.IMWRITE_JPEG_QUALITY, 90),
        *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420),
    ],
}


def data_folder():
    """Folder for the data: this project's ``data``, or what an environment variable names.

    It is asked for anew each time, so that ``%env`` in a cell will do.
    """
    named = os.environ.get(DATA_VARIABLE)
    if named:
        return Path(named).expanduser().absolute()
    return Path(__file__).resolve().parents[2] / "data"


def make_once(folder, make, is_whole, space):
    """Call ``make(folder)`` unless ``is_whole(folder)``, in one process at a time."""
    try:
        if is_whole(folder):
            return
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder):
            if not is_whole(folder):  # another process may have made it while we waited
                make(folder)
    except OSError as error:
        refused = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            message = f"The disk of {folder.parent} is full: this takes {space}. Free some space,"
        elif refused or not folder.parent.is_dir():  # it is a file, or cannot be made
            message = f"{folder.parent} cannot be written ({error.strerror}). Allow it ({space}),"
        else:
            raise
        message += f" or {other_folder(folder.parent)}. Then call again to go on."
        raise OSError(error.errno, message) from None


def other_folder(folder):
    """Say, for a message, how to keep data elsewhere than in `folder`."""
    if folder == data_folder():
        return f"name another folder in the environment variable {DATA_VARIABLE}"
    return "pass cache_dir= with a folder on another disk"


def locked(folder):
    """Let one process at a time fill a folder; for a ``with`` block. The others wait for it."""
    lock = FileLock(f"{folder}.lock")
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        print(f"Another program is making {folder}: waiting for it.")
        return lock.acquire()


@contextmanager
def whole_or_absent(folder):
    """Give a folder to fill, which is named `folder` only when it is full.

    A `folder` that exists has lost some files: it is mended in place, for others may be reading it.
    """
    if folder.exists():
        yield folder
        return
    partial = unfinished(folder, ".partial")
    partial.mkdir(exist_ok=True)
    yield partial
    partial.rename(folder)


def write_pictures(folder, pictures, total, description):
    """Write (file name, RGB or grey array) pairs below `folder`, but those that are there."""
    for name, picture in tqdm(pictures, total=total, desc=description, unit="image"):
        path = folder / name
        if not size_of(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if picture.ndim == 3:
                picture = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)  # the order that OpenCV stores
            encoded = cv2.imencode(path.suffix, picture, ENCODINGS[path.suffix])[1]
            write_whole(path, encoded)


def write_whole(path, data):
    """Write a file, which has its name only when it is whole."""
    temporary = unfinished(path, ".tmp")
    temporary.write_bytes(data)
    temporary.replace(path)


def unfinished(path, ending):
    """Name of a file or folder while it is not whole."""
    return path.with_name(path.name + ending)


def size_of(path):
    """Bytes of a file; 0 if there is none."""
    return path.stat().st_size if path.exists() else 0
