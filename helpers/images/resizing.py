"""From a picture of any size to one of the size that the model takes."""

import numpy as np

from helpers import arguments
from helpers.images.opencv import cv2
from helpers.images.recipe import INTERPOLATIONS, Recipe
from helpers.images.shrinking import MOST_CHANNELS, WORKSPACE, Draft, shrink
from helpers.images.weights import WEIGHTS, nearest

SCALE, ONE = np.float32(1 / 255), np.float32(1)
MUCH = 2.5  # shrinking by more is faster with `shrink` than with OpenCV's filter
UINT8, FLOAT32 = np.dtype(np.uint8), np.dtype(np.float32)  # types are quicker to compare with these
NEGLIGIBLE = 1e-6  # a weight that is zero but for rounding


def resize_image(
    image: np.ndarray,
    image_size: tuple[int, int],
    out: np.ndarray | None = None,
    interpolation: str = "bilinear",
) -> np.ndarray:
    """Resize a picture as scikit-image does, in a fraction of the time; or another way.

    With "bilinear" the result equals ``skimage.transform.resize(image, image_size,
    mode="edge", anti_aliasing=<when shrinking>)`` to within 1e-5: bilinear interpolation,
    after a Gaussian blur along each axis that shrinks, of sigma ``(factor - 1) / 2`` and cut
    off at 4 sigma (the defaults of `skimage.transform.resize`).

    Parameters
    ----------
    image : numpy.ndarray
        uint8 array of shape (height, width, channels), or one of floats.
    image_size : tuple of int
        Height and width of the result, in pixels.
    out : numpy.ndarray, optional
        C-contiguous float32 array of shape ``(*image_size, channels)`` to write to.
    interpolation : {"bilinear", "nearest", "area", "bicubic"}
        "nearest" takes the pixel that the middle of the new one lies in, without a blur.
        "area" averages what a new pixel covers, as ``tf.image.resize(method="area")`` does
        it, also where it enlarges: there a new pixel that lies within an old one is equal
        to it. "bicubic" is Pillow's ``BICUBIC``, whose kernel is wider where it shrinks;
        of a uint8 image it is cut off at 0 and 1, which cubics overshoot.

    Returns
    -------
    numpy.ndarray
        float32 array of shape ``(*image_size, channels)``, with values from 0 to 1 if the image
        is uint8, and otherwise in the image's own units. There, a pixel that is blended of some
        is NaN if one of them is NaN or infinite.
    """
    if out is None:
        out = np.empty((*image_size, image.shape[2]), np.float32)
    how = Recipe(interpolation=arguments.choice("interpolation", interpolation, INTERPOLATIONS))
    write_resized(out, image, how)
    return out


def write_resized(
    row: np.ndarray, image: np.ndarray, recipe: Recipe, draft: Draft | None = None
) -> None:
    """Write a picture, or the draft of one, to a row of a batch.

    Parameters
    ----------
    row : numpy.ndarray
        C-contiguous array of shape (new height, new width, channels), of type `recipe.dtype`.
    image : numpy.ndarray
        uint8 or float32 array of shape (height, width, channels); of a mask, whole numbers. From
        uint8 to float32 values are divided by 255, otherwise they keep their units.
    recipe : Recipe
        Whether to crop or to pad, and the interpolation.
    draft : Draft, optional
        What `image` is a draft of; for "bilinear", and not with `recipe.pad_to_aspect_ratio`.
    """
    if recipe.crop_to_aspect_ratio:
        image, draft = _cropped(image, row, draft)
    elif recipe.pad_to_aspect_ratio:
        image = _padded(image, row, recipe)
    if recipe.interpolation == "nearest":
        image = _nearest(image, row)
    if image.shape == row.shape:  # the same bytes as below, in a quarter of the time
        row[...] = image
        if row.dtype == FLOAT32 and image.dtype == UINT8:
            row *= SCALE
    elif row.dtype == FLOAT32:
        _resize(image, row, recipe.interpolation, draft)
    else:
        resized = WORKSPACE.empty("resized", row.shape)
        _resize(image, resized, recipe.interpolation, draft)
        cv2.convertScaleAbs(resized, dst=row, alpha=255)  # rounds halves to even, as np.rint


def _cropped(
    image: np.ndarray, row: np.ndarray, draft: Draft | None
) -> tuple[np.ndarray, Draft | None]:
    """Return the part in the middle that has the row's aspect ratio, as a view.

    As ``keras.ops.image.resize(crop_to_aspect_ratio=True)``. (With TensorFlow that computes in
    float32; here numbers are exact, as with JAX and PyTorch.)
    """
    factor, height, width = draft[:3] if draft else (1, *image.shape[:2])
    new_height, new_width, _ = row.shape
    new_side = max(min(height, width * new_height // new_width), 1)
    new_across = max(min(width, height * new_width // new_height), 1)
    top, left = (height - new_side) // 2, (width - new_across) // 2
    # Of a draft, all pixels that show some of the part.
    bottom, right = -(-(top + new_side) // factor), -(-(left + new_across) // factor)
    part = image[top // factor : bottom, left // factor : right]
    if draft:
        draft = Draft(factor, new_side, new_across, top % factor, left % factor)
    return part, draft


def _padded(image: np.ndarray, row: np.ndarray, recipe: Recipe) -> np.ndarray:
    """Return the picture with equal borders on two edges, and the row's aspect ratio.

    As ``keras.ops.image.resize(pad_to_aspect_ratio=True)``: an odd pixel that is lacking stays
    lacking.
    """
    (height, width, channels), (new_height, new_width, _) = image.shape, row.shape
    above = max(width * new_height // new_width - height, 0) // 2
    beside = max(height * new_width // new_height - width, 0) // 2
    if above == beside == 0:
        return image
    dtype = row.dtype if recipe.is_mask else image.dtype
    fill = recipe.fill_value
    if dtype.kind in "iu":
        fill = np.clip(np.rint(fill), np.iinfo(dtype).min, np.iinfo(dtype).max)
    padded = np.full((height + 2 * above, width + 2 * beside, channels), fill, dtype)
    padded[above : above + height, beside : beside + width] = image
    return padded


def _nearest(image: np.ndarray, row: np.ndarray) -> np.ndarray:
    (height, width, _), (new_height, new_width, _) = image.shape, row.shape
    lines = image if height == new_height else image[nearest(height, new_height)]
    return lines if width == new_width else lines.take(nearest(width, new_width), axis=1)


def _resize(
    image: np.ndarray, out: np.ndarray, interpolation: str, draft: Draft | None = None
) -> None:
    if image.dtype == UINT8:
        _interpolate(image, out, SCALE, interpolation, draft)
        if interpolation == "bicubic":
            np.clip(out, 0, 1, out=out)
        return
    image = image.astype(np.float32, copy=False)
    gaps = ~np.isfinite(image)
    if not gaps.any():
        _interpolate(image, out, ONE, interpolation)
    else:  # NaN × 0 is NaN: matrices, and OpenCV, would spread it further
        _interpolate(np.where(gaps, ONE, image), out, ONE, interpolation)
        out[_where_needed(gaps, out, interpolation)] = np.nan


def _where_needed(gaps: np.ndarray, out: np.ndarray, interpolation: str) -> np.ndarray:
    """Tell which new values are made of one that is missing."""
    for new_length in out.shape[:2]:
        found = np.zeros((new_length, *gaps.shape[1:]), bool)
        positions, weights = WEIGHTS[interpolation](len(gaps), new_length)
        for position, weight in zip(positions.T, weights.T, strict=True):
            found |= gaps[position] & (np.abs(weight) > NEGLIGIBLE)[:, np.newaxis, np.newaxis]
        gaps = found.swapaxes(0, 1)
    return gaps


def _interpolate(
    image: np.ndarray,
    out: np.ndarray,
    scale: np.float32,
    interpolation: str,
    draft: Draft | None = None,
) -> None:
    (height, width, channels), (new_height, new_width, _) = image.shape, out.shape
    factors = height / new_height, width / new_width
    # Of a single row or column OpenCV knows places to 24 bits only, which is not enough.
    for_shrink = draft or max(factors) > MUCH or height == 1 or width == 1
    if for_shrink or interpolation != "bilinear" or channels > MOST_CHANNELS:
        shrink(image, out, interpolation, draft)
        np.multiply(out, scale, out=out)
        return
    if max(factors) > 1:
        vertical, horizontal = (_blur_kernel(factor) for factor in factors)
        scaled = cv2.sepFilter2D(
            image,
            cv2.CV_32F,
            horizontal,
            vertical * scale,
            dst=WORKSPACE.empty("blurred", image.shape),
            borderType=cv2.BORDER_REPLICATE,
        )
    else:
        scaled = np.multiply(image, scale, dtype=np.float32)
    cv2.resize(scaled, (new_width, new_height), dst=out, interpolation=cv2.INTER_LINEAR)


def _blur_kernel(factor: float) -> np.ndarray:
    """Gaussian that removes what `factor` times fewer pixels cannot show."""
    if factor <= 1:
        return np.ones((1, 1), np.float32)
    sigma = (factor - 1) / 2
    return cv2.getGaussianKernel(2 * int(4 * sigma + 0.5) + 1, sigma, cv2.CV_32F)
