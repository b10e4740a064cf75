import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import write_picture
from hypothesis import example, given
from hypothesis import strategies as st
from packed_files import encoded_and_decoded

from helpers import ImageFiles, pack
from helpers.datasets.recoding import fitting
from helpers.images.batches import load_batch
from helpers.images.recipe import Recipe
from helpers.images.request import BatchRequest

sizes = st.tuples(st.integers(1, 70_000), st.integers(1, 70_000))


@given(size=sizes, max_size=sizes)
@example(size=(3000, 4000), max_size=(448, 448))
@example(size=(1, 70_000), max_size=(5, 5))
def test_a_size_that_fits_keeps_its_shape_and_is_not_enlarged(size, max_size):
    new_size = fitting(size, max_size)
    scale = min(1, max_size[0] / size[0], max_size[1] / size[1])
    for new_side, side, most in zip(new_size, size, max_size, strict=True):
        assert 1 <= new_side <= min(side, most)
        assert abs(new_side - scale * side) <= 0.5 + 1e-6 or new_side == 1
    if scale == 1:
        assert new_size == size
    else:
        assert any(side == most for side, most in zip(new_size, max_size, strict=True))


def lost_by(before, quality):
    """The difference that encoding makes, by numpy."""
    return np.abs(encoded_and_decoded(before, quality).astype(int) - before).mean()


@pytest.fixture
def files(tmp_path):
    """Drawn, so that they lose much, in class folders; the last one is a JPEG, and small."""
    names = [
        tmp_path / "files" / "ab"[n % 2] / f"{n}.{'jpg' if n == 5 else 'png'}" for n in range(6)
    ]
    for number, name in enumerate(names):
        name.parent.mkdir(parents=True, exist_ok=True)
        write_picture(name, 40 - 6 * number, 30 - 3 * number, seed=number)
    return ImageFiles([str(name) for name in names], np.arange(6) % 2, ("a", "b"))


@pytest.mark.parametrize("quality", [90, 30])
def test_what_was_lost_is_measured_printed_and_kept(files, tmp_path, capsys, quality):
    pack(files, tmp_path / "x.pack", contents="jpeg", max_size=(20, 20), quality=quality)
    heights, widths = 40 - 6 * np.arange(5), 30 - 3 * np.arange(5)
    scales = np.minimum(1, np.minimum(20 / heights, 20 / widths))
    expected = []
    for name, height, width in zip(
        files.filenames[:5], np.rint(scales * heights), np.rint(scales * widths), strict=True
    ):
        request = BatchRequest([name], Recipe((int(height), int(width)), "uint8"))
        expected.append(lost_by(load_batch(request).images[0], quality))
    index = np.load(tmp_path / "x.pack" / "index.npy")
    np.testing.assert_allclose(index["lost"], [*expected, 0], rtol=1e-6)
    assert min(expected) > 1
    bytes_before = [Path(name).stat().st_size for name in files.filenames]
    np.testing.assert_array_equal(index["file_size"], bytes_before)
    losses = json.loads((tmp_path / "x.pack" / "pack.json").read_text())["losses"]
    worst = Path(files.filenames[np.argmax(expected)])
    assert losses == {
        "file_bytes": sum(bytes_before),
        "bytes": (tmp_path / "x.pack" / "files.npy").stat().st_size - 128,
        "pictures": 5,
        "average": pytest.approx(np.mean(expected)),
        "largest": pytest.approx(max(expected)),
        "worst_picture": f"{worst.parent.name}/{worst.name}",
    }
    [line] = capsys.readouterr().out.splitlines()
    assert line == (
        f"x.pack: 6 images as JPEG no larger than 20×20, quality {quality}: 0.0 MB of 0.0 MB; 1 "
        f"of them lost nothing; pixels differ by {np.mean(expected):.1f} of 255 on average, "
        f"{max(expected):.1f} in the worst image ({losses['worst_picture']}), from those before "
        f"encoding"
    )


def test_what_loses_nothing_says_so(files, tmp_path, capsys):
    some = files.select([5, 5])
    pack(some, tmp_path / "x.pack", contents="jpeg", max_size=(500, 500))
    assert capsys.readouterr().out.endswith(
        "quality 90: 0.0 MB of 0.0 MB; 2 of them lost nothing\n"
    )


def test_flat_pictures_of_one_size(tmp_path, capsys):
    for name in ("a.png", "b.png"):
        assert cv2.imwrite(str(tmp_path / name), np.full((8, 8, 3), 128, np.uint8))
    files = ImageFiles([str(tmp_path / "a.png"), str(tmp_path / "b.png")], [0, 0], ("a",))
    pack(files, tmp_path / "x.pack", contents="jpeg", image_size=(16, 16))
    line = capsys.readouterr().out
    assert line.startswith("x.pack: 2 images as JPEG of 16×16, quality 90: ")
    assert line.endswith("2 of them lost nothing\n")
