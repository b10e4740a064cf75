"""Your own pictures: image files in a folder for each class.

A data set is a list of file names and their labels. No picture is read here.
"""

import os
import reprlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from helpers.samples import ArrayIndexed

JPEG_ENDINGS = (".jpg", ".jpeg", ".jpe", ".jfif")
IMAGE_ENDINGS = (*JPEG_ENDINGS, ".png", ".bmp", ".dib", ".webp", ".tif", ".tiff", ".gif")
# Written by Windows into folders of pictures, and by macOS into zip files.
IGNORED_NAMES = ("thumbs.db", "desktop.ini", "__macosx")
FOR_TESTING = "if it is a test folder that lacks a class, pass class_names=train.class_names"
MOST_TRIED = 10  # folders that are listed before an error suggests some of them


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


def load_folder(path, class_names=None):
    """List the image files in ``path/<class name>/<image>``.

    Parameters
    ----------
    path : str or Path
        A folder that holds a folder for each class, which holds that class's pictures:
        .jpg .jpeg .jpe .jfif .png .bmp .dib .webp .tif .tiff .gif, in upper or lower case. Hidden
        files (their names start with a dot), Thumbs.db, desktop.ini and __MACOSX (a folder in zip
        files made by macOS) are ignored; so are files beside the class folders, unless they are
        pictures.
    class_names : list or tuple of str, optional
        All classes, in the order of their labels; a class folder may then be empty or missing.
        ``load_folder("test", class_names=train.class_names)`` gives each class the label that it
        has in `train`. Default: the names of the class folders, in alphabetical order.

    Returns
    -------
    ImageFiles
        Classes in the order of `class_names`; files in alphabetical order within their class.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        If `path` is missing, or is a file.
    TypeError
        If `class_names` is no list or tuple of strings.
    ValueError
        If `class_names` has fewer than two entries, or one of them twice. If the folder holds
        images outside class folders; in class folders anything but pictures, or links that lead
        nowhere; folders that cannot be listed; without `class_names` an empty class folder, or
        fewer than two; with `class_names` other folders, or no image. The message lists it all.
    """
    path = os.fspath(path)
    if class_names is not None:
        _check_class_names(class_names)
    tree = _list_tree(path)
    problems = _problems(tree, class_names)
    if problems:
        raise ValueError(_report(tree, class_names, problems))
    images = {Path(folder).name: found.images for folder, found in tree.classes.items()}
    class_names = tuple(images if class_names is None else class_names)
    files_by_class = [images.get(name, []) for name in class_names]
    filenames = [file for files in files_by_class for file in files]
    numbers = np.arange(len(class_names), dtype=np.int64)
    labels = np.repeat(numbers, [len(files) for files in files_by_class])
    return ImageFiles(filenames, labels, class_names)


def _check_class_names(names):
    received = f"received {reprlib.repr(names)}"  # cut short if it is long
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"class_names must be a list or tuple of strings; {received}")
    if len(names) < 2:
        raise ValueError(f"class_names must name two classes or more; {received}")
    repeated = [name for name, times in Counter(names).items() if times > 1]
    if repeated:
        raise ValueError(f"class_names must name {repeated[0]!r} only once; {received}")


# ---- what a folder holds -------------------------------------------------------------------------


class _Folder(NamedTuple):
    images: list[str]  # paths, as are all of these
    folders: list[str]
    others: list[str]
    dead_links: list[str]


class _Tree(NamedTuple):
    path: str
    top: _Folder
    classes: dict[str, _Folder]
    unlistable: list[str]  # those of top.folders that are not in classes


def _list_tree(path):
    tree = _Tree(path, _list_top(path), {}, [])
    for folder in tree.top.folders:
        try:
            tree.classes[folder] = _list_folder(folder)
        except OSError:
            tree.unlistable.append(folder)
    return tree


def _list_top(path):
    wanted = f"the folder that holds your class folders: expected {_layout(path)}"
    try:
        return _list_folder(path)
    except FileNotFoundError:
        raise no_folder(path, wanted) from None
    except NotADirectoryError:
        raise NotADirectoryError(f"{path!r} is a file. Give {wanted}.") from None


def no_folder(path, wanted):
    """Return the error that says that there is no such folder, and which one is wanted."""
    return FileNotFoundError(
        f"There is no folder {os.fspath(path)!r} (looked from {str(Path.cwd())!r}). Give {wanted}."
    )


def _layout(path):
    return os.path.join(path, "<class name>", "<image>")  # noqa: PTH118


def _list_folder(path):
    found = _Folder([], [], [], [])
    with os.scandir(path) as entries:  # unlike Path.iterdir, it knows what a folder is for free
        in_order = sorted(entries, key=lambda entry: entry.name)
    for entry in in_order:
        name = entry.name.lower()
        if name.startswith(".") or name in IGNORED_NAMES:
            continue
        if entry.is_symlink() and _leads_nowhere(entry):
            found.dead_links.append(entry.path)
        elif entry.is_dir():
            found.folders.append(entry.path)
        elif name.endswith(IMAGE_ENDINGS):
            found.images.append(entry.path)
        else:
            found.others.append(entry.path)
    return found


def _leads_nowhere(link):
    try:
        link.stat()  # looks at what it points to; is_dir need not look again
    except OSError:  # nothing there, a circle of links, or out of reach
        return True
    return False


# ---- what is in the way --------------------------------------------------------------------------


def _problems(tree, class_names):
    """Return a line for each kind of problem; none if the tree can be loaded."""
    folders, inside = tree.top.folders, tree.classes.values()
    nested = [path for folder in inside for path in folder.folders]
    others = [path for folder in inside for path in folder.others]
    dead_links = [path for folder in (tree.top, *inside) for path in folder.dead_links]
    endings = " ".join(IMAGE_ENDINGS)
    found = {
        "images outside any class folder (move each into one)": tree.top.images,
        "folders inside class folders (move them out, or their images up)": nested,
        f"files that are no images by their ending (move them out; {endings} are read)": others,
        "links that lead nowhere (remove them, or bring back what they point to)": dead_links,
        "folders that cannot be listed (do you have permission?)": tree.unlistable,
    }
    if class_names is None:
        found[f"empty class folders (put images into them; {FOR_TESTING})"] = _empty(tree)
    else:
        unknown = [path for path in folders if Path(path).name not in class_names]
        received = reprlib.repr(class_names)
        found[f"folders that class_names lacks (move them out; received {received})"] = unknown
    found = {what: paths for what, paths in found.items() if paths}
    if class_names is None and len(folders) < 2:
        found[f"class folders, but telling classes apart takes two ({FOR_TESTING})"] = folders
    if class_names is not None and not any(folder.images for folder in inside):
        found["images in class folders (put in at least one)"] = []
    return [f"{len(paths):,} {what}{_some(paths, tree.path)}" for what, paths in found.items()]


def _empty(tree):
    return [path for path, found in tree.classes.items() if not (found.images or found.folders)]


def _report(tree, class_names, problems):
    intended = f"{tree.path!r} is not laid out as {_layout(tree.path)}. It holds:"
    report = "\n- ".join([intended, *problems])
    more = "" if class_names is None else ", class_names=…"
    calls = [f"load_folder({path!r}{more})" for path in _loadable_folders(tree, class_names)]
    if calls:
        report += f"\nIf the class folders are one level further in, call {' or '.join(calls)}."
    return report


def _loadable_folders(tree, class_names):
    """Return up to three folders in `tree` that could be loaded themselves."""
    wraps = [path for path, found in tree.classes.items() if found.folders and not found.images]
    tried = wraps[:MOST_TRIED]
    return [path for path in tried if not _problems(_list_tree(path), class_names)][:3]


def _some(paths, folder):
    if not paths:
        return ""
    names = [repr(os.path.relpath(path, folder)) for path in paths[:3]]
    return ": " + ", ".join(names) + (", …" if len(paths) > 3 else "")
