"""Append pictures to a pack that is not complete, after the last one that is whole there."""

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor

from tqdm import tqdm  # unlike tqdm.auto, it shows nothing before the delay

from helpers.datasets import packed
from helpers.datasets.contents import keep
from helpers.datasets.writing import size_of
from helpers.images import packs
from helpers.images.pack_layout import INDEX, checksum

THREADS = 4  # that decode; the one that writes would not keep up with many more
AT_ONCE = 8  # pictures that a thread decodes: to hand over each takes longer than a small picture


def append_rest(path, row, filenames, names, labels, how):
    """Pack what is not there yet.

    Parameters
    ----------
    path : Path
        The pack's folder.
    row : Row
        What a row of its index looks like.
    filenames : sequence of str
        All pictures, those that are there included.
    names : object
        Their names in the pack: ``names.since(number)`` yields them, as bytes.
    labels : numpy.ndarray
        Their labels.
    how : How
        What becomes of each.

    Returns
    -------
    list of tuple of str
        Name and remark, of pictures that were read and may be wrong.
    """
    suspects = []
    for file in (row.file, INDEX):
        (path / file).touch()
    with (path / row.file).open("r+b") as data, (path / INDEX).open("r+b") as index:
        done, start = _cut_to_whole_rows(path, data, index, row, len(filenames))
        with ThreadPoolExecutor(THREADS) as threads:
            pictures = _in_order(threads, filenames[done:], how)
            bar = tqdm(pictures, "Packing", len(filenames), initial=done, **packed.BAR)
            for kept, name, label in zip(bar, names.since(done), labels[done:], strict=True):
                crc32 = checksum(kept.data, kept.numbers[0])
                # Which of the two reaches the disk first does not matter: a row is whole only
                # if its picture is.
                data.write(kept.data)
                index.write(row.pack(start, *kept.numbers, label, name, crc32))
                start += bytes_of(kept.data)
                suspects += kept.suspects
        for file in (data, index):
            file.flush()
            os.fsync(file.fileno())
    return suspects


def bytes_of(picture):
    """Bytes of a file's content, or of pixels."""
    return memoryview(picture).nbytes


def _cut_to_whole_rows(path, data, index, row, pictures):
    """Return the number of pictures that are there, and where the last one ends."""
    for file, header in (
        (data, packed.npy_header("|u1", (0,))),
        (index, packed.npy_header(row.dtype, (pictures,))),
    ):
        file.write(header)
        file.flush()
    rows_start, start = index.tell(), data.tell()
    done = (size_of(path / INDEX) - rows_start) // row.size
    with packs.OpenPacks() as opened:
        while done and (last := _read_whole(opened, f"{path}#{done - 1}")) is None:
            done -= 1
    if done:
        index.seek(rows_start + (done - 1) * row.size)
        start, *_ = row.unpack(index.read(row.size))
        start += bytes_of(last)
    index.seek(rows_start + done * row.size)
    data.seek(start)
    for file in (data, index):
        file.truncate()
    return done, start


def _read_whole(opened, packed_name):
    """Return a picture; None if it is not there, or not whole."""
    try:
        return opened.read(packed_name)
    except packs.PackError:
        return None


def _in_order(threads, filenames, how):
    """Yield what `threads.map` would, but with few pictures at a time in memory."""
    waiting = deque()
    for first in range(0, len(filenames), AT_ONCE):
        waiting.append(threads.submit(_keep_each, filenames[first : first + AT_ONCE], how))
        if len(waiting) > THREADS:
            yield from waiting.popleft().result()
    while waiting:
        yield from waiting.popleft().result()


def _keep_each(filenames, how):
    return [keep(filename, how) for filename in filenames]
