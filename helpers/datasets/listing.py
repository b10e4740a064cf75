"""What a folder holds: images, folders, other files, links that lead nowhere."""

import os
from typing import NamedTuple

JPEG_ENDINGS = (".jpg", ".jpeg", ".jpe", ".jfif")
OTHER_ENDINGS = (".png", ".bmp", ".dib", ".webp", ".tif", ".tiff", ".gif")
PHONE_ENDINGS = (".avif", ".heic", ".heif")
IMAGE_ENDINGS = JPEG_ENDINGS + OTHER_ENDINGS + PHONE_ENDINGS
# Written by Windows and by Synology into folders of pictures, and by macOS into zip files.
IGNORED_NAMES = ("thumbs.db", "desktop.ini", "@eadir", "__macosx")


class Folder(NamedTuple):
    """Paths of what a folder holds, by kind."""

    images: list[str]
    folders: list[str]
    others: list[str]
    dead_links: list[str]
    unlistable: list[str]


def list_if_allowed(path):
    """List a folder; one that cannot be listed is an entry in its own `unlistable`."""
    try:
        return list_folder(path)
    except OSError:
        return Folder([], [], [], [], [path])


def list_folder(path):
    """List a folder in alphabetical order, without what systems put there."""
    found = Folder([], [], [], [], [])
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


def add_inner_folders(found, above):
    """Put what the folders in a folder hold into its own lists; `above` are the paths so far."""
    folders = found.folders.copy()
    found.folders.clear()
    for folder in folders:
        real = os.path.realpath(folder)
        if real in above:  # a link leads back, and would for ever
            found.dead_links.append(folder)
            continue
        inner = list_if_allowed(folder)
        add_inner_folders(inner, above | {real})
        for own, more in zip(found, inner, strict=True):
            own.extend(more)
