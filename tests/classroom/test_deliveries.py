"""A delivery is whole but for three files, which no decoder reads."""

from pathlib import Path

import pytest

from helpers.classroom.deliveries import deliver
from helpers.images.reading import ImageError, read_image


def is_readable(name):
    try:
        read_image(name)
    except ImageError:
        return False
    return True


@pytest.mark.parametrize("count", [12, 40])
def test_three_files_of_a_delivery_cannot_be_read_and_the_others_are_as_they_were(
    pictures, tmp_path, count
):
    names = deliver(pictures[:count], tmp_path / "new" / "folder")
    assert len(set(names)) == count
    broken = [name for name in names if not is_readable(name)]
    assert len(broken) == 3
    sizes = sorted(Path(name).stat().st_size for name in broken)
    assert sizes[0] == 0
    for source, name in zip(pictures, names, strict=False):
        if name not in broken:
            assert Path(name).read_bytes() == Path(source).read_bytes()


def test_files_of_the_same_name_in_different_folders_are_all_delivered(pictures, tmp_path):
    names = deliver([pictures[0]] * 12, tmp_path)
    assert len(set(names)) == 12


def test_no_file_of_the_source_is_changed(pictures, tmp_path):
    before = [Path(name).read_bytes() for name in pictures[:12]]
    deliver(pictures[:12], tmp_path)
    assert [Path(name).read_bytes() for name in pictures[:12]] == before
