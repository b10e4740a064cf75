"""What is right in notebook 08b, packs."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from helpers.arguments import kind_of
from helpers.classroom.exercises import exercise
from helpers.datasets.image_files import ImageFiles
from helpers.datasets.packing import pack
from helpers.datasets.sample import load_sample
from helpers.images.packs import PackedNames
from helpers.images.reading import read_image

SIDE, FEW = 16, 8
CASES = (  # kB and ms of the file, kB and ms from the pack, MB/s of the disk; what is faster
    ((53, 2.5, 562, 1.4, 2_000), "pack"),
    ((53, 2.5, 562, 1.4, 100), "files"),
    ((53, 2.5, 150, 0.3, 100), "pack"),
    ((53, 2.5, 150, 0.3, 20), "files"),
    ((2.4, 0.06, 3.1, 0.01, 1_000), "pack"),
    ((1_000, 5, 500, 8, 100), "pack"),  # of bitmaps a pack may be the smaller one
)


@exercise("08b.1")
def packed_for_a_small_network(small: ImageFiles) -> str | None:
    """Ask for the drawings of `test` in a pack, at 16×16."""
    names, asked_for = getattr(small, "filenames", None), load_sample()[1]
    if names is None:
        return f"What `pack` returns is asked for, not {kind_of(small)}."
    if not isinstance(names, PackedNames):
        return "These files are not in a pack."
    if not np.array_equal(small.labels, asked_for.labels):
        return f"There are {len(names):,} images in it, but not those of `test`, in their order."
    height, width = read_image(names[0]).shape[:2]
    if (height, width) != (SIDE, SIDE):
        return f"The images in it have {height}×{width} pixels."
    return None


@exercise("08b.2")
def files_or_pack(faster: Callable) -> str | None:
    """Ask which is read and worked on in less time: a file or what a pack holds of it."""
    for case, right in CASES:
        answer = faster(*case)
        if answer not in ("files", "pack"):
            return f'faster{case} returns {answer!r}, not "files" or "pack".'
        if answer != right:
            return (
                f"faster{case} returns {answer!r}. How many ms does it take from the file, how "
                f"many from the pack: to read, and to work?"
            )
    return None


@exercise("08b.3")
def find_all_that_is_damaged(find_damaged: Callable) -> str | None:
    """Ask for the names of all images of a pack that cannot be read."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder, "checked.pack")
        names = pack(load_sample()[1].select(range(FEW)), path, image_size=(8, 8)).filenames
        damaged: list[str] = []
        for more in ([], [5], [0, 3, 7]):
            for number in more:
                _damage(path / "pixels.npy", number)
                damaged.append(names[number])
            found = find_damaged(names)
            if not _is_list_of(found, damaged):
                return (
                    f"In a pack of {FEW} images, {len(damaged) or 'none'} of which are damaged, "
                    f"it finds {_shown(found)}."
                )
    return None


def _damage(file: Path, number: int) -> None:
    """Change a bit of an image of the FEW, which lie one after the other behind a header."""
    with file.open("r+b") as opened:
        opened.seek((number - FEW) * 8 * 8 * 3, os.SEEK_END)
        byte = opened.read(1)[0]
        opened.seek(-1, os.SEEK_CUR)
        opened.write(bytes([byte ^ 1]))


def _is_list_of(found: Any, right: list[str]) -> bool:
    return isinstance(found, list | tuple) and sorted(map(str, found)) == sorted(right)


def _shown(found: Any) -> str:
    if not isinstance(found, list | tuple):
        return "nothing: is there a `return`?" if found is None else f"{found!r}, which is no list"
    return f"{len(found)}: {', '.join(Path(str(name)).name for name in found)}" if found else "none"
