"""Your own pictures: image files in a folder for each class, or in one folder.

A data set is a list of file names and their labels. No picture is read here.
"""

import os
import reprlib
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

from helpers import arguments
from helpers.datasets.image_files import ImageFiles, check_class_names
from helpers.datasets.listing import (
    IMAGE_ENDINGS,
    Folder,
    add_inner_folders,
    list_folder,
    list_if_allowed,
)

FOR_TESTING = "if it is a test folder that lacks a class, pass class_names=train.class_names"
MOST_TRIED = 10  # folders that are listed before an error suggests some of them


def load_folder(path, class_names=None, *, recursive=False, labels="inferred"):
    """List the image files in ``path/<class name>/<image>``, or in one folder without classes.

    Parameters
    ----------
    path : str or Path
        A folder that holds a folder for each class, which holds that class's pictures:
        .jpg .jpeg .jpe .jfif .png .bmp .dib .webp .tif .tiff .gif .avif .heic .heif, in upper or
        lower case. Hidden files (their names start with a dot), Thumbs.db, desktop.ini, and the
        folders @eaDir and __MACOSX are ignored; so are files beside the class folders, unless they
        are pictures.
    class_names : list or tuple of str, optional
        All classes, in the order of their labels; a class folder may then be empty or missing.
        ``load_folder("test", class_names=train.class_names)`` gives each class the label that it
        has in `train`. Default: the names of the class folders, in alphabetical order.
    recursive : bool, default=False
        Whether to take the pictures in folders inside class folders, too, to the last.
    labels : "inferred" or None
        None: `path` itself holds the pictures, which have no classes.

    Returns
    -------
    ImageFiles
        Classes in the order of `class_names`; files in alphabetical order within their class.
        With ``labels=None`` its `labels` are None, and `class_names` is empty.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        If `path` is missing, or is a file.
    TypeError
        If `class_names` is no list or tuple of strings, or `recursive` is not True or False.
    ValueError
        If `class_names` has fewer than two entries, one of them twice, or no use; if `labels` is
        something else. If there are links that lead nowhere; folders that cannot be listed; class
        folders that hold folders only; without `class_names` an empty class folder, or fewer than
        two; with `class_names` other folders; or no image. The message lists it all.

    Warns
    -----
    UserWarning
        Once, if something is left out: what is no picture by its ending, and folders, in class
        folders; pictures beside them.
    """
    path = os.fspath(path)
    recursive = arguments.yes_or_no("recursive", recursive)
    _check_labels(labels, class_names)
    tree = _list_tree(path, recursive, flat=labels is None)
    problems = _problems(tree, class_names)
    left_out = _left_out(tree)
    if problems:
        raise ValueError(_report(tree, class_names, problems + left_out))
    if left_out:
        warnings.warn("\n- ".join([f"{path!r}: left out are", *left_out]), stacklevel=2)
    if tree.flat:
        return ImageFiles(sorted(tree.classes[path].images), None, ())
    images = {Path(folder).name: sorted(found.images) for folder, found in tree.classes.items()}
    class_names = tuple(images if class_names is None else class_names)
    files_by_class = [images.get(name, []) for name in class_names]
    filenames = [file for files in files_by_class for file in files]
    numbers = np.arange(len(class_names), dtype=np.int64)
    return ImageFiles(filenames, np.repeat(numbers, list(map(len, files_by_class))), class_names)


def _check_labels(labels, class_names):
    if labels is not None and not (isinstance(labels, str) and labels == "inferred"):
        raise ValueError(
            f"labels must be 'inferred' or None; received {reprlib.repr(labels)}. For a label of "
            f"each file, use load_table, or ImageFiles(filenames, labels, class_names)"
        )
    if class_names is not None:
        check_class_names(class_names)
        if labels is None:
            raise ValueError("class_names has no use with labels=None. Pass one of them")


# ---- what a folder holds -------------------------------------------------------------------------


class _Tree(NamedTuple):
    path: str
    flat: bool  # then `path` is listed as if it were a class
    top: Folder
    classes: dict[str, Folder]


def _list_tree(path, recursive=False, flat=False):
    top = _list_top(path, flat)
    if flat:
        classes, top = {path: top}, Folder([], [], [], [], [])
    else:
        classes = {folder: list_if_allowed(folder) for folder in top.folders}
    if recursive:
        for folder, found in classes.items():
            add_inner_folders(found, {os.path.realpath(path), os.path.realpath(folder)})
    return _Tree(path, flat, top, classes)


def _list_top(path, flat):
    wanted = f"the folder that holds your class folders: expected {_layout(path)}"
    wanted = "the folder that holds your images" if flat else wanted
    try:
        return list_folder(path)
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


# ---- what is in the way, and what is left out ----------------------------------------------------


def _problems(tree, class_names):
    """Return a line for each kind of problem; none if the tree can be loaded."""
    inside = tree.classes.values()
    found = {
        (
            "link that leads nowhere, or back (remove the link, or bring back what it points to)",
            "links that lead nowhere, or back (remove the links, or bring back what they point to)",
        ): [path for folder in (tree.top, *inside) for path in folder.dead_links],
        (
            "folder that cannot be listed (do you have permission?)",
            "folders that cannot be listed (do you have permission?)",
        ): [path for folder in inside for path in folder.unlistable],
    }
    if not tree.flat:
        found |= _problems_of_classes(tree, class_names)
    return _lines(found, tree.path) + _too_few(tree, class_names)


def _problems_of_classes(tree, class_names):
    folders_only = (
        "class folder that holds folders only (recursive=True takes the images in these)",
        "class folders that hold folders only (recursive=True takes the images in these)",
    )
    found = {folders_only: _with_folders_only(tree)}
    if class_names is None:
        empty = (
            f"empty class folder (put images into it; {FOR_TESTING})",
            f"empty class folders (put images into them; {FOR_TESTING})",
        )
        found[empty] = [
            path
            for path, folder in tree.classes.items()
            if not (folder.images or folder.folders or folder.unlistable)
        ]
    else:
        unknown = [path for path in tree.classes if Path(path).name not in class_names]
        received = reprlib.repr(class_names)
        lacking = (
            f"folder that class_names lacks (move it out; received {received})",
            f"folders that class_names lacks (move them out; received {received})",
        )
        found[lacking] = unknown
    return found


def _with_folders_only(tree):
    return [path for path, found in tree.classes.items() if found.folders and not found.images]


def _too_few(tree, class_names):
    classes, some_images = list(tree.classes), any(found.images for found in tree.classes.values())
    if tree.flat:
        needed = "images (put in at least one; recursive=True takes those in its folders, too)"
        return [] if some_images else [f"0 {needed}"]
    if class_names is not None:
        return [] if some_images else ["0 images in class folders (put in at least one)"]
    needed = f"but telling classes apart takes two ({FOR_TESTING})"
    there = arguments.counted(len(classes), "class folder")
    few = f"{there}, {needed}{_some(classes, tree.path)}"
    return [few] if len(classes) < 2 else []


def _left_out(tree):
    """Return a line for each kind of what is not loaded, and no problem."""
    inside = tree.classes.values()
    others = [path for folder in inside for path in folder.others]
    folders = [path for folder in inside if folder.images for path in folder.folders]
    endings = " ".join(IMAGE_ENDINGS)
    found = {
        ("image beside the class folders", "images beside the class folders"): tree.top.images,
        (
            f"file that is no image by its ending ({endings} are)",
            f"files that are no images by their ending ({endings} are)",
        ): others,
        (
            "folder inside (recursive=True takes the images in it)",
            "folders inside (recursive=True takes the images in them)",
        ): folders,
    }
    return _lines(found, tree.path)


def _report(tree, class_names, lines):
    wanted = "a folder of images" if tree.flat else f"laid out as {_layout(tree.path)}"
    report = "\n- ".join([f"{tree.path!r} is not {wanted}. It holds:", *lines])
    more = "" if class_names is None else ", class_names=…"
    calls = [f"load_folder({path!r}{more})" for path in _loadable_folders(tree, class_names)]
    if calls:
        report += f"\nIf the class folders are one level further in, call {' or '.join(calls)}."
    return report


def _loadable_folders(tree, class_names):
    """Return up to three folders in `tree` that could be loaded themselves."""
    tried = [] if tree.flat else _with_folders_only(tree)[:MOST_TRIED]
    return [path for path in tried if not _problems(_list_tree(path), class_names)][:3]


def _lines(found, folder):
    return [
        f"{arguments.counted(len(paths), one, many)}{_some(paths, folder)}"
        for (one, many), paths in found.items()
        if paths
    ]


def _some(paths, folder):
    names = [repr(os.path.relpath(path, folder)) for path in paths[:3]]
    return (": " if names else "") + ", ".join(names) + (", …" if len(paths) > 3 else "")
