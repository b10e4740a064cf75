"""Pictures of every kind and format, and what is hard to resize."""

import io

import numpy as np
from hypothesis import strategies as st
from PIL import Image
from skimage.transform import resize

# ---- pictures to read ----------------------------------------------------------------------------

HEIGHT, WIDTH = 23, 31  # neither equal nor even: a turned or padded picture shows


def draw():
    """Slopes in every channel, and a block with hard edges."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    picture = np.dstack([8 * x, 11 * y, 4 * (x + y)]).astype(np.uint8)
    picture[5:9, 6:12] = 250, 10, 20
    return picture


COLOUR = Image.fromarray(draw())
GREY = COLOUR.convert("L")
PALETTE = COLOUR.quantize(64)
ONE_BIT = GREY.convert("1")
ALPHA = Image.fromarray(np.tile(np.arange(1, WIDTH + 1, dtype=np.uint8) * 8, (HEIGHT, 1)))
COLOUR_ALPHA = Image.merge("RGBA", [*COLOUR.split(), ALPHA])
GREY_ALPHA = Image.merge("LA", [GREY, ALPHA])


def encode(image, format, **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


FORMATS = {
    "PNG": encode(COLOUR, "PNG"),
    "PNG palette": encode(PALETTE, "PNG"),
    "JPEG": encode(COLOUR, "JPEG", quality=90),
    "JPEG progressive": encode(COLOUR, "JPEG", progressive=True),
    "BMP": encode(COLOUR, "BMP"),
    "GIF": encode(PALETTE, "GIF"),
    "WebP lossy": encode(COLOUR, "WebP", quality=80),
    "WebP lossless": encode(COLOUR, "WebP", lossless=True),
    "WebP extended": encode(COLOUR_ALPHA, "WebP", quality=80),
    "TIFF": encode(COLOUR, "TIFF"),
    "TIFF LZW": encode(COLOUR, "TIFF", compression="tiff_lzw"),
}


# ---- resize_image --------------------------------------------------------------------------------


def reference(image, image_size):
    """What scikit-image makes of it."""
    shrinks = image.shape[0] > image_size[0] or image.shape[1] > image_size[1]
    return resize(image, image_size, mode="edge", anti_aliasing=shrinks)


def paint(kind, height, width, seed):
    """Content of a kind that is hard to resize."""
    rng = np.random.default_rng(seed)
    if kind == "noise":
        return rng.integers(0, 256, (height, width, 3), np.uint8)
    if kind == "stripes":  # of one pixel: the hardest there are
        y, x = np.mgrid[:height, :width]
        return np.dstack([y % 2, x % 2, (x + y) % 2]).astype(np.uint8) * 255
    picture = np.full((height, width, 3), rng.integers(0, 256, 3), np.uint8)
    for _ in range(3):
        top, left = rng.integers(0, [height, width])
        picture[top:, left:] = rng.choice([0, 255], 3)
    return picture


sides = st.integers(1, 40) | st.integers(1, 300)
sizes = st.tuples(sides, sides)
kinds = st.sampled_from(["noise", "stripes", "edges"])
