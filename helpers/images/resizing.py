"""From a picture of any size to one of the size that the model takes."""

import numpy as np

from helpers.images.opencv import cv2

SCALE = np.float32(1 / 255)


def resize_image(
    image: np.ndarray, image_size: tuple[int, int], out: np.ndarray | None = None
) -> np.ndarray:
    """Resize a picture as scikit-image does, with OpenCV.

    The result equals ``skimage.transform.resize(image, image_size, mode="edge",
    anti_aliasing=<when shrinking>)`` to within 1e-5: bilinear interpolation, after a
    Gaussian blur along each axis that shrinks, of sigma ``(factor - 1) / 2`` and cut off
    at 4 sigma (the defaults of `skimage.transform.resize`).

    Parameters
    ----------
    image : numpy.ndarray
        uint8 array of shape (height, width, 3).
    image_size : tuple of int
        Height and width of the result, in pixels.
    out : numpy.ndarray, optional
        C-contiguous float32 array of shape ``(*image_size, 3)`` to write to.

    Returns
    -------
    numpy.ndarray
        float32 array of shape ``(*image_size, 3)`` with values from 0 to 1.
    """
    scaled = np.multiply(image, SCALE, dtype=np.float32)
    height, width = image_size
    factors = image.shape[0] / height, image.shape[1] / width
    if max(factors) > 1:
        vertical, horizontal = (_blur_kernel(factor) for factor in factors)
        scaled = cv2.sepFilter2D(
            scaled, cv2.CV_32F, horizontal, vertical, borderType=cv2.BORDER_REPLICATE
        )
    return cv2.resize(scaled, (width, height), dst=out, interpolation=cv2.INTER_LINEAR)


def _blur_kernel(factor: float) -> np.ndarray:
    """Gaussian that removes what `factor` times fewer pixels cannot show."""
    if factor <= 1:
        return np.ones((1, 1), np.float32)
    sigma = (factor - 1) / 2
    return cv2.getGaussianKernel(2 * int(4 * sigma + 0.5) + 1, sigma, cv2.CV_32F)


def write_resized(row: np.ndarray, image: np.ndarray, spare: np.ndarray) -> None:
    """Write a picture to a row of a batch, by way of `spare`, a float32 image of its size."""
    if image.shape == row.shape:  # the same bytes as below, in a quarter of the time
        row[...] = image
        if row.dtype == np.float32:
            row *= SCALE
    elif row.dtype == np.float32:
        resize_image(image, row.shape[:2], out=row)
    else:
        resize_image(image, row.shape[:2], out=spare)
        cv2.convertScaleAbs(spare, dst=row, alpha=255)  # rounds halves to even, as np.rint
