import io

import numpy as np
import pytest
from drawn import encode
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from helpers.images import jpeg, reading
from helpers.images.reading import ImageError, decode
from helpers.images.recipe import Recipe
from helpers.images.shrinking import Draft

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8))
KINDS = {
    "small": encode(NOISE.resize((64, 48)), "JPEG"),
    "long": encode(NOISE, "JPEG", quality=90),
    "progressive": encode(NOISE, "JPEG", progressive=True),
    "restarts": encode(NOISE, "JPEG", restart_marker_blocks=7),
    "grey": encode(NOISE.convert("L"), "JPEG"),
    "CMYK": encode(NOISE.convert("CMYK"), "JPEG"),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def with_bytes(data, inserted, share=0.6):
    position = int(len(data) * share)
    return data[:position] + inserted + data[position:]


def test_the_kinds_take_both_quick_looks():
    assert len(KINDS["small"]) < jpeg.LONG < len(KINDS["long"])
    assert jpeg.is_one_scan(KINDS["small"]) and jpeg.is_one_scan(KINDS["long"])
    assert not jpeg.is_one_scan(KINDS["progressive"]) and not jpeg.is_one_scan(KINDS["restarts"])


@every_kind
def test_whole_files_are_left_alone(kind):
    jpeg.check_scans(KINDS[kind])


@every_kind
@pytest.mark.parametrize(
    "appended",
    [bytes(999), b"\xff\xd9", bytes(999) + b"\xff\xd9", KINDS["small"], bytes(range(200)) * 9],
    ids=["zeros", "a second end", "zeros and an end", "a picture", "anything"],
)
def test_what_programs_append_is_no_damage(kind, appended):
    jpeg.check_scans(KINDS[kind] + appended)


@every_kind
def test_fill_bytes_and_comments_are_no_damage(kind):
    data = KINDS[kind]
    jpeg.check_scans(data[:2] + b"\xff\xfe\0\4no" + b"\xff\xff" + data[2:-2] + b"\xff" + data[-2:])


@every_kind
@pytest.mark.parametrize("share", [0.6, 0.8])
def test_a_marker_among_pixels_is_found_whatever_it_is(kind, share):
    for marker in range(1, 255):
        damaged = with_bytes(KINDS[kind], bytes([0xFF, marker]), share)
        assert not jpeg.is_one_scan(damaged)
        with pytest.raises(ValueError, match=r"interrupted|out of order"):
            jpeg.check_scans(damaged)


def test_a_restart_marker_that_is_missing_is_found():
    data = KINDS["restarts"]
    position = data.index(b"\xff\xd3")
    end = data.index(b"\xff\xd4")
    with pytest.raises(ValueError, match="restart marker 4 of its pixels is out of order"):
        jpeg.check_scans(data[:position] + data[end:])


@every_kind
def test_a_file_that_ends_too_early_is_left_to_the_decoder(kind):
    data = KINDS[kind]
    for length in range(2, len(data) - 2, 97):
        jpeg.check_scans(data[:length])


def test_what_pillow_refuses_is_refused():
    data = with_bytes(KINDS["long"], b"\xff\xc9")
    with pytest.raises(OSError):
        Image.open(io.BytesIO(data)).load()
    with pytest.raises(ImageError, match=r"a\.jpg: is damaged: .* interrupted by a marker FF C9"):
        decode(data, "a.jpg")


def test_what_pillow_accepts_is_read_and_doubted():
    data = with_bytes(KINDS["long"], b"\xff\xd9")
    Image.open(io.BytesIO(data)).load()
    image, doubt, _ = decode(data, "a.jpg")
    assert (image[-1, -1] == 128).all()  # grey: what libjpeg paints where pixels are missing
    assert "read all the same" in doubt and "FF D9" in doubt
    assert decode(KINDS["long"], "a.jpg")[1] is None


# ---- drafts --------------------------------------------------------------------------------------

PLAIN = Recipe((15, 20), draft=True)  # of NOISE, 120 × 160, a quarter is twice as large
AS_LARGE = Draft(4, 120, 160)


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        (PLAIN, AS_LARGE),
        (PLAIN._replace(draft=False), None),
        (PLAIN._replace(image_size=None), None),
        (PLAIN._replace(pad_to_aspect_ratio=True), None),
        (PLAIN._replace(interpolation="area"), None),
        (PLAIN._replace(interpolation="nearest"), None),
        (PLAIN._replace(crop_to_aspect_ratio=True), AS_LARGE),
        (PLAIN._replace(crop_to_aspect_ratio=True, image_size=(60, 10)), None),
        (PLAIN._replace(color_mode="grayscale"), AS_LARGE),
        (PLAIN._replace(color_mode="rgba"), AS_LARGE),
    ],
)
def test_a_draft_is_made_where_it_is_not_seen(recipe, expected):
    image, _, draft = decode(KINDS["long"], "a.jpg", recipe)
    assert draft == expected
    factor = draft.factor if draft else 1
    assert image.shape == (120 // factor, 160 // factor, recipe.channels)


@given(
    size=st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
    image_size=st.tuples(st.integers(1, 400), st.integers(1, 400)),
)
def test_what_is_cropped_is_large_enough_for_its_draft(size, image_size):
    (height, width), (new_height, new_width) = size, image_size
    window = (
        min(height, width * new_height // new_width),
        min(width, height * new_width // new_height),
    )
    for factor in (2, 4, 8):
        enough = all(a >= 2 * factor * b for a, b in zip(window, image_size, strict=True))
        draft = reading._choose_draft(size, image_size)
        assert enough == (draft is not None and draft.factor >= factor)


@pytest.mark.parametrize("kind", ["long", "progressive", "grey", "CMYK"])
def test_a_draft_in_other_channels_is_that_in_rgb(kind):
    image, *_ = decode(KINDS[kind], "a.jpg", PLAIN)
    grey, *_ = decode(KINDS[kind], "a.jpg", PLAIN._replace(color_mode="grayscale"))
    expected = np.asarray(Image.fromarray(image).convert("L"), int)[..., np.newaxis]
    np.testing.assert_allclose(grey, expected, rtol=0, atol=1)
    rgba, *_ = decode(KINDS[kind], "a.jpg", PLAIN._replace(color_mode="rgba"))
    np.testing.assert_array_equal(rgba, Image.fromarray(image).convert("RGBA"))
