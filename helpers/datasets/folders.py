"""Your own pictures: image files in a folder for each class.

A data set is a list of file names and their labels. No picture is read here.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from helpers.arguments import ArrayIndexed

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif")
IGNORED_NAMES = ("thumbs.db", "desktop.ini")  # written by Windows into folders of pictures


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
        if isinstance(self.filenames, ArrayIndexed):
            filenames = self.filenames[indices]
        else:
            filenames = [self.filenames[i] for i in indices]
        return self._replace(filenames=filenames, labels=self.labels[indices])

    def shuffled(self, seed=0):
        """Return the files in a random order, the same for the same `seed`.

        Folders list one class after another: a batch cut from such a list shows one class.
        """
        return self.select(np.random.default_rng(seed).permutation(len(self.filenames)))


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
        raise no_folder(path, f"the folder that holds your class folders: {expected}") from None
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


def no_folder(path, wanted):
    """Return the error that says that there is no such folder, and which one is wanted."""
    return FileNotFoundError(
        f"There is no folder {os.fspath(path)!r} (looked from {str(Path.cwd())!r}). Give {wanted}."
    )


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
