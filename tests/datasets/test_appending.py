import os
import shutil

import numpy as np
import pytest
from conftest import write_picture
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packed_files import CONTENTS, assert_same_pictures, files_in, leave_unfinished, three_classes

from helpers.datasets import appending
from helpers.datasets.image_files import ImageFiles
from helpers.datasets.packing import pack
from helpers.images.pack_layout import FILE_WITH


@pytest.fixture(scope="module", params=CONTENTS)
def contents(request):
    return request.param


@pytest.fixture(scope="module")
def whole_pack(pictures, contents, tmp_path_factory):
    """A pack of all `pictures`, which no test may change."""
    path = tmp_path_factory.mktemp("packs") / "x.pack"
    pack(three_classes(pictures), path, **CONTENTS[contents])
    return path


def ends(index):
    """Where each picture of an index ends."""
    size = index["size"] if "size" in index.dtype.names else 3 * index["height"] * index["width"]
    return index["start"] + size


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cuts=st.tuples(st.integers(0, 2**20), st.integers(0, 2**20)), zeros=st.booleans())
def test_it_goes_on_after_the_last_whole_row(
    pictures, contents, whole_pack, tmp_path, monkeypatch, cuts, zeros
):
    files, options, path = three_classes(pictures), CONTENTS[contents], tmp_path / "x.pack"
    shutil.rmtree(path, ignore_errors=True)
    leave_unfinished(files, path, monkeypatch, **options)
    index = np.load(whole_pack / "index.npy")
    row_ends = (path / "index.npy").stat().st_size - np.arange(69, -1, -1) * index.itemsize
    sizes = []
    for file, cut in zip((path / FILE_WITH[contents], path / "index.npy"), cuts, strict=True):
        size = file.stat().st_size
        sizes.append(cut % (size + 1))
        os.truncate(file, sizes[-1])
        if zeros:  # as after a power failure
            os.truncate(file, size)
    there = np.count_nonzero((ends(index) <= sizes[0]) & (row_ends <= sizes[1]))
    made, keep = [], appending.keep
    with monkeypatch.context() as patch:
        patch.setattr(appending, "keep", lambda *args: made.append(args[0]) or keep(*args))
        packed = pack(files, path, **options)
    assert sorted(made) == files.filenames[there:]
    assert_same_pictures(packed, files.filenames, **options)
    assert files_in(path) == files_in(whole_pack)


def test_nothing_is_left_of_a_row_that_was_cut(tmp_path, monkeypatch, contents):
    names = [str(tmp_path / f"{number}.png") for number in range(3)]
    for number, name in enumerate(names):
        write_picture(name, 9, 9, seed=number)
    files = ImageFiles(names, np.arange(3), ("a", "b", "c"))
    path = tmp_path / "x.pack"
    leave_unfinished(files, path, monkeypatch, **CONTENTS[contents])
    os.truncate(path / "index.npy", (path / "index.npy").stat().st_size - 1)
    write_picture(names[2], 4, 5, seed=9)
    packed = pack(files, path, **CONTENTS[contents])
    assert_same_pictures(packed, names, **CONTENTS[contents])
    end = ends(np.load(path / "index.npy"))[-1]
    assert (path / FILE_WITH[contents]).stat().st_size == end


def test_few_pictures_are_in_memory(monkeypatch):
    given_out = []
    monkeypatch.setattr(appending, "keep", lambda name, how: given_out.append(name) or name)
    with appending.ThreadPoolExecutor(1) as threads:
        pictures = appending._in_order(threads, range(1000), None)
        assert [next(pictures) for _ in range(100)] == list(range(100))
        threads.submit(int).result()  # all before it are done
        assert len(given_out) <= 100 + appending.AT_ONCE * (appending.THREADS + 2)
        assert list(pictures) == list(range(100, 1000))
