import io

import numpy as np
import pytest
from conftest import write_picture
from packed_files import encoded_and_decoded
from PIL import Image

from helpers import ImageFiles, pack, read_image
from helpers.images.batches import load_batch
from helpers.images.pack_layout import FILES
from helpers.images.reading import ImageError
from helpers.images.recipe import Recipe
from helpers.images.request import BatchRequest

ORIENTATION = 0x0112  # in Exif


def pack_one(data, name, folder, **options):
    """Pack a file of these bytes; return its name, the name in the pack, and what is there."""
    file, path = folder / name, folder / "x.pack"
    file.write_bytes(data)
    packed = pack(ImageFiles([str(file)], [0], ("a",)), path, **options)
    row = np.load(path / "index.npy")[0]
    content = (path / FILES).read_bytes()[row["start"] :]
    assert len(content) == row["size"]
    assert row["file_size"] == len(data)
    return str(file), packed.filenames[0], content


def photograph(height, width, kind="JPEG", **options):
    """A soft picture as a file, for which half the resolution of colours is enough."""
    y, x = np.mgrid[:height, :width]
    picture = 127 + 90 * np.sin(np.dstack([x / 7, y / 11, (x + 2 * y) / 13]))
    file = io.BytesIO()
    Image.fromarray(picture.astype(np.uint8)).save(file, kind, **options)
    return file.getvalue()


def turned(orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return {"exif": exif.tobytes()}


def before_encoding(file, size, **options):
    """The pixels that are encoded."""
    return load_batch(BatchRequest([file], Recipe(size, "uint8", **options))).images[0]


# ---- arguments -----------------------------------------------------------------------------------


TWO, FOUR = (2, 2), (4, 4)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"contents": "png"}, "contents must be 'pixels' or 'files' or 'jpeg'; received 'png'"),
        ({"contents": "files", "image_size": TWO}, r"does not go with image_size=\(2, 2\)"),
        ({"contents": "files", "max_size": TWO}, r"does not go with max_size=\(2, 2\)"),
        ({"contents": "files", "quality": 80, "draft": True}, "with quality=80, draft=True. Leave"),
        ({"quality": 80}, "contents='pixels' does not go with quality=80"),
        ({"max_size": TWO}, "contents='pixels' does not go with max_size"),
        ({"draft": True}, "draft=True needs image_size"),
        ({"interpolation": "area"}, "interpolation='area' needs image_size"),
        ({"contents": "jpeg", "max_size": (9, 9), "pad_to_aspect_ratio": True}, "needs image_size"),
        ({"contents": "jpeg"}, "one of the two; received image_size=None and max_size=None"),
        (
            {"contents": "jpeg", "image_size": TWO, "max_size": FOUR},
            r"one of the two; received image_size=\(2, 2\) and max_size=\(4, 4\)",
        ),
        ({"contents": "jpeg", "max_size": 5}, r"max_size must be \(height, width\).* received 5"),
        ({"contents": "jpeg", "max_size": (5, 0)}, "max_size's width must be at least 1"),
        ({"contents": "jpeg", "max_size": TWO, "quality": 0}, "quality must be at least 1"),
        ({"contents": "jpeg", "max_size": TWO, "quality": 101}, "quality must be at most 100"),
        ({"contents": "jpeg", "image_size": (5, 70_000)}, "a JPEG must be at most 65500"),
    ],
)
def test_arguments_that_do_not_go_together(pictures, tmp_path, options, words):
    with pytest.raises(ValueError, match=words):
        pack(ImageFiles(pictures[:1], [0], ("a",)), tmp_path / "x.pack", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("options", [{"draft": 1}, {"contents": "jpeg", "max_size": ("a", 1)}])
def test_arguments_of_a_wrong_type(pictures, tmp_path, options):
    with pytest.raises(TypeError, match="must be"):
        pack(ImageFiles(pictures[:1], [0], ("a",)), tmp_path / "x.pack", **options)


# ---- pixels --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"draft": True},
        {"crop_to_aspect_ratio": True, "interpolation": "area"},
        {"pad_to_aspect_ratio": True},
    ],
    ids=str,
)
def test_pixels_are_resized_as_by_the_generator(tmp_path, options):
    (tmp_path / "a.jpg").write_bytes(photograph(160, 120))
    file = str(tmp_path / "a.jpg")
    packed = pack(ImageFiles([file], [0], ("a",)), tmp_path / "x.pack", (20, 20), **options)
    image = read_image(packed.filenames[0])
    assert image.tobytes() == before_encoding(file, (20, 20), **options).tobytes()
    assert image.tobytes() != before_encoding(file, (20, 20)).tobytes()


# ---- files ---------------------------------------------------------------------------------------


KINDS = {
    "PNG": {},
    "JPEG": {},
    "TIFF": {},
    "BMP": {},
    "WebP": {},
    "GIF": {},
    "TIFF turned": turned(6),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_any_kind_is_kept_as_it_is(tmp_path, kind):
    data = photograph(24, 33, kind.split()[0], **KINDS[kind])
    file, packed, content = pack_one(data, "a.jpg", tmp_path, contents="files")
    assert content == data
    np.testing.assert_array_equal(read_image(packed), read_image(file))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_file_is_turned_as_it_was(tmp_path, orientation):
    data = photograph(24, 33, **turned(orientation))
    file, packed, _ = pack_one(data, "a.jpg", tmp_path, contents="files")
    np.testing.assert_array_equal(read_image(packed), read_image(file))
    assert (read_image(packed).shape == (33, 24, 3)) == (orientation >= 5)


# ---- jpeg ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("draft", [False, True])
@pytest.mark.parametrize(
    ("stored", "options", "upright", "lying"),
    [
        ((120, 160), {"max_size": (30, 20)}, (15, 20), (27, 20)),
        ((120, 160), {"image_size": (10, 12)}, (10, 12), (10, 12)),
        ((81, 300), {"max_size": (20, 20)}, (5, 20), (20, 5)),  # of its draft, (6, 20) would be
    ],
)
def test_a_jpeg_shows_the_picture_as_it_was_taken(
    tmp_path, orientation, draft, stored, options, upright, lying
):
    data = photograph(*stored, **turned(orientation))
    size = upright if orientation < 5 else lying
    options = options | {"contents": "jpeg", "draft": draft, "quality": 95}
    file, packed, _ = pack_one(data, "a.jpg", tmp_path, **options)
    before = before_encoding(file, size, draft=draft)
    np.testing.assert_array_equal(read_image(packed), encoded_and_decoded(before, 95))


@pytest.mark.parametrize("kind", [*KINDS, "pack of pixels"])
def test_every_kind_becomes_a_jpeg_no_larger_than_asked_for(tmp_path, kind):
    name, options = "a.tif", {"contents": "jpeg", "max_size": (20, 20)}
    if kind == "pack of pixels":
        write_picture(tmp_path / "a.png", 40, 25, seed=0)
        files = ImageFiles([str(tmp_path / "a.png")], [0], ("a",))
        pixels = pack(files, tmp_path / "pixels.pack")
        [packed] = pack(pixels, tmp_path / "x.pack", **options).filenames
        file, size = files.filenames[0], (20, 12)
    else:
        data = photograph(20, 30, kind.split()[0], **KINDS[kind])
        size = (20, 13) if "turned" in kind else (13, 20)
        file, packed, content = pack_one(data, name, tmp_path, **options)
        assert content.startswith(b"\xff\xd8")
    before = before_encoding(file, size)
    np.testing.assert_array_equal(read_image(packed), encoded_and_decoded(before, 90))


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"max_size": (24, 33)}, True),
        ({"max_size": (23, 40)}, False),
        ({"max_size": (40, 32)}, False),
        ({"max_size": (1000, 1000)}, True),
        ({"image_size": (24, 33)}, True),
        ({"image_size": (33, 24)}, False),
        ({"image_size": (48, 66)}, False),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_jpeg_file_that_is_small_enough_is_kept_as_it_is(
    tmp_path, options, kept, kind, orientation
):
    sides = (24, 33) if orientation == 1 else (33, 24)
    data = photograph(*sides, kind, **turned(orientation))
    _, packed, content = pack_one(data, "a.jpg", tmp_path, contents="jpeg", **options)
    assert (content == data) == (kept and kind == "JPEG")
    if "max_size" in options:
        assert np.less_equal(read_image(packed).shape, (24, 33, 3)).all()  # nothing is enlarged
    if kept:
        assert read_image(packed).shape == (24, 33, 3)


def test_quality_decides_the_size(tmp_path):
    sizes = []
    for quality in (10, 90, 100):
        folder = tmp_path / str(quality)
        folder.mkdir()
        options = {"contents": "jpeg", "image_size": (60, 80), "quality": quality}
        *_, content = pack_one(photograph(120, 160), "a.jpg", folder, **options)
        sizes.append(len(content))
    assert sizes[0] < sizes[1] < sizes[2]


JPEG = {"contents": "jpeg", "max_size": TWO}


@pytest.mark.parametrize("options", [{"contents": "files"}, JPEG, JPEG | {"draft": True}])
@pytest.mark.parametrize("cut", [slice(200), slice(-300), slice(2)])
def test_a_damaged_file_is_found_when_it_is_packed(tmp_path, options, cut):
    with pytest.raises(ImageError, match=r"a.jpg: is damaged"):
        pack_one(photograph(64, 48)[cut], "a.jpg", tmp_path, **options)
