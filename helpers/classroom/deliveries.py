"""A delivery of image files as they come by a bad line: some of them cannot be read."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

ERROR_PAGE = b"<html><body><h1>503 Service Unavailable</h1></body></html>\n"


def deliver(filenames: Iterable[str | os.PathLike], folder: str | os.PathLike) -> list[str]:
    """Copy files into a folder, and break some of them as downloads break.

    Parameters
    ----------
    filenames : iterable of str or os.PathLike
        A dozen or more.
    folder : str or os.PathLike
        Made if it is not there.

    Returns
    -------
    list of str
        The copies, numbered. Three of them cannot be read: one is cut off, one is empty, one
        is an error page with the name of an image.
    """
    sources = [Path(name) for name in filenames]
    targets = [
        Path(folder) / f"{number:02}{source.suffix}" for number, source in enumerate(sources)
    ]
    contents = [source.read_bytes() for source in sources]
    cut_off, empty, page = np.random.default_rng(26).permutation(len(sources))[:3]
    contents[cut_off] = contents[cut_off][: len(contents[cut_off]) // 2]
    contents[empty], contents[page] = b"", ERROR_PAGE
    Path(folder).mkdir(parents=True, exist_ok=True)
    for target, content in zip(targets, contents, strict=True):
        target.write_bytes(content)
    return [os.fspath(target) for target in targets]
