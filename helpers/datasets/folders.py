"""Image files on disk: your own, the real CIFAR-10, or a drawn sample that needs no network.

A data set is a list of file names and their labels. No picture is read here.
"""

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from filelock import FileLock, Timeout

from helpers.datasets import cifar10
from helpers.datasets.drawings import CLASS_NAMES, draw_picture
from helpers.images.packs import PackedNames

DATA_DIR = Path(__file__).resolve().parents[2] / "data"
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif")
IGNORED_NAMES = ("thumbs.db", "desktop.ini")  # written by Windows into folders of pictures
SAMPLE_SIZES = {"train": 200, "test": 50}  # pictures of each class


class ImageFiles(NamedTuple):
    """Image files and their classes: `filenames[i]` shows a `class_names[labels[i]]`.

    Attributes
    ----------
    filenames : sequence of str
    labels : numpy.ndarray
        int64, as long as `filenames`, from 0 to ``len(class_names) - 1``.
    class_names : tuple of str
    """

    filenames: Sequence[str]
    labels: np.ndarray
    class_names: tuple[str, ...]

    def select(self, indices):
        """Return the files at `indices` (a sequence of int), in that order."""
        indices = np.asarray(indices, dtype=np.int64)
        if isinstance(self.filenames, (PackedNames, np.ndarray)):
            filenames = self.filenames[indices]
        else:
            filenames = [self.filenames[i] for i in indices]
        return self._replace(filenames=filenames, labels=self.labels[indices])

    def shuffled(self, seed=0):
        """Return the files in a random order, the same for the same `seed`.

        Folders list one class after another: a batch cut from such a list shows one class.
        """
        return self.select(np.random.default_rng(seed).permutation(len(self.filenames)))


# ---- your own pictures ---------------------------------------------------------------------------


def load_folder(path):
    """List the image files in ``path/<class name>/<image>``.

    Parameters
    ----------
    path : str or Path
        A folder that holds a folder for each class, which holds that class's pictures:
        .jpg .jpeg .png .bmp .webp .tif .tiff .gif, in upper or lower case. Hidden files (their
        names start with a dot), Thumbs.db and desktop.ini are ignored.

    Returns
    -------
    ImageFiles
        Classes in alphabetical order; files in alphabetical order within their class.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        If `path` is missing, or is a file.
    ValueError
        If there are fewer than two classes, or a class folder is empty, or holds anything but
        pictures, or pictures lie beside the class folders.
    """
    path = os.fspath(path)
    class_folders = _list_class_folders(path)
    files_by_class = [_list_images(folder.path) for folder in class_folders]
    filenames = [name for files in files_by_class for name in files]
    numbers = np.arange(len(class_folders), dtype=np.int64)
    labels = np.repeat(numbers, [len(files) for files in files_by_class])
    return ImageFiles(filenames, labels, tuple(folder.name for folder in class_folders))


def _list_class_folders(path):
    expected = f"expected {os.path.join(path, '<class name>', '<image>')}"  # noqa: PTH118
    try:
        entries = _visible_entries(path)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"There is no folder {path!r} (looked from {str(Path.cwd())!r}). Give the folder that"
            f" holds your class folders: {expected}."
        ) from None
    except NotADirectoryError:
        raise NotADirectoryError(
            f"{path!r} is a file. Give the folder that holds your class folders: {expected}."
        ) from None
    images = [entry.name for entry in entries if _is_image(entry)]
    if images:
        raise ValueError(
            f"{path!r} holds {len(images):,} images outside any class folder ({_some(images)});"
            f" {expected}. Move them into a folder that is named as their class."
        )
    folders = [entry for entry in entries if entry.is_dir()]
    if not folders:
        raise ValueError(f"{path!r} holds no class folders; {expected}.")
    if len(folders) == 1:
        raise ValueError(
            f"{path!r} holds only one class, {folders[0].name!r}, but telling classes apart needs"
            f" two or more; {expected}. If the class folders are inside it, call"
            f" load_folder({folders[0].path!r})."
        )
    return folders


def _list_images(class_folder):
    entries = _visible_entries(class_folder)
    folders = [entry.name for entry in entries if entry.is_dir()]
    if folders:
        raise ValueError(
            f"The class folder {class_folder!r} holds folders ({_some(folders)}), not just images."
            f" If these are the classes, call load_folder({class_folder!r}); if not, move them out."
        )
    if not entries:
        raise ValueError(
            f"The class folder {class_folder!r} is empty. Put images into it, or remove it."
        )
    others = [entry.name for entry in entries if not _is_image(entry)]
    if others:
        raise ValueError(
            f"The class folder {class_folder!r} holds {len(others):,} files that are no images by"
            f" their ending ({_some(others)}). Move them out; {' '.join(IMAGE_ENDINGS)} are read."
        )
    return [entry.path for entry in entries]


def _visible_entries(path):
    with os.scandir(path) as entries:  # unlike Path.iterdir, it knows what a folder is for free
        visible = [
            entry
            for entry in entries
            if not entry.name.startswith(".") and entry.name.lower() not in IGNORED_NAMES
        ]
    return sorted(visible, key=lambda entry: entry.name)


def _is_image(entry):
    return entry.name.lower().endswith(IMAGE_ENDINGS) and not entry.is_dir()


def _some(names):
    return ", ".join(repr(name) for name in names[:3]) + (", …" if len(names) > 3 else "")


# ---- data sets that come with the class ----------------------------------------------------------


def load_sample(cache_dir=None):
    """Load the sample of 2,500 drawings in CIFAR-10's ten classes; on first use, draw it.

    These are drawings, made by this project's own code. They are NOT CIFAR-10: an accuracy
    reached on them says nothing about photographs. They need no network and seconds to make.

    Parameters
    ----------
    cache_dir : str or Path, optional
        Where to keep them, in a folder ``sample``. Default: this project's ``data``.

    Returns
    -------
    train, test : ImageFiles
        2,000 and 500 PNG files of 32×32; 200 and 50 of each class. Files that are missing are
        drawn again.

    Raises
    ------
    OSError
        If the disk is full or `cache_dir` cannot be written.
    """
    folder = Path(cache_dir or DATA_DIR) / "sample"
    _make_once(folder, _draw_sample, _sample_is_whole, space="about 10 MB")
    return load_folder(folder / "train"), load_folder(folder / "test")


def _draw_sample(folder):
    with cifar10.whole_or_absent(folder) as working_folder:
        missing = [plan for plan in _sample_plan() if not (working_folder / plan[0]).exists()]
        drawings = (
            (name, draw_picture(class_name, np.random.default_rng(seed)))
            for name, class_name, seed in missing
        )
        cifar10.write_pictures(working_folder, drawings, len(missing), "Drawing the sample")


def _sample_plan():
    """Yield (file name, class name, seed) of each picture of the sample."""
    for split_number, (split, count) in enumerate(SAMPLE_SIZES.items()):
        for class_number, class_name in enumerate(CLASS_NAMES):
            for number in range(count):
                name = f"{split}/{class_name}/{number:04d}.png"
                yield name, class_name, [split_number, class_number, number]


def _sample_is_whole(folder):
    return all((folder / name).exists() for name, _, _ in _sample_plan())


def load_cifar10(cache_dir=None, url=cifar10.CIFAR10_URL, sha256=cifar10.CIFAR10_SHA256):
    """Load the real CIFAR-10; on first use, download 170 MB and unpack it to image files.

    Whatever interrupts it, the next call goes on where it stopped. The archive is kept beside
    the pictures, so that they can be made again without the network; delete it if the disk is
    small.

    Parameters
    ----------
    cache_dir : str or Path, optional
        Where to keep it, in a folder ``cifar10``. Default: this project's ``data``.
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
    folder = Path(cache_dir or DATA_DIR) / "cifar10"
    _make_once(
        folder,
        lambda folder: cifar10.make(folder, url, sha256),
        lambda folder: cifar10.is_whole(folder, sha256),
        space="about 170 MB for the archive and 250 MB for the pictures",
    )
    return load_folder(folder / "train"), load_folder(folder / "test")


def _make_once(folder, make, is_whole, space):
    """Call ``make(folder)`` unless ``is_whole(folder)``, in one process at a time."""
    try:
        if is_whole(folder):
            return
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder):
            if not is_whole(folder):  # another process may have made it while we waited
                make(folder)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            message = f"The disk of {folder.parent} is full: this takes {space}. Free some space,"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            message = f"{folder.parent} cannot be written ({error}). Allow it ({space}),"
        else:
            raise
        message += " or pass cache_dir= with a folder on another disk. Then call again to go on."
        raise OSError(error.errno, message) from error


def locked(folder):
    """Let one process at a time fill a folder; for a ``with`` block. The others wait for it."""
    lock = FileLock(f"{folder}.lock")
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        print(f"Another program is making {folder}: waiting for it.")
        return lock.acquire()
