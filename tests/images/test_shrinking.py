import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import skimage.data
from drawn import paint, reference, sizes
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers.images.resizing import resize_image
from helpers.images.shrinking import CACHED, MOST_KEPT, Draft, Workspace, _blocks, shrink


def shrunk(image, image_size, draft=None):
    out = np.empty((*image_size, 3), np.float32)
    shrink(image, out, "bilinear", draft)
    return out / 255


@given(shape=sizes, image_size=sizes, seed=st.integers(0, 99))
@example(shape=(1, 1), image_size=(1, 1), seed=0)
@example(shape=(7, 300), image_size=(1, 1), seed=0)
@example(shape=(300, 7), image_size=(5, 90), seed=0)
@settings(max_examples=60, deadline=None)
def test_the_matrix_alone_equals_scikit_image_at_every_size(shape, image_size, seed):
    """Where it shrinks much and where it enlarges, though OpenCV does that in practice."""
    image = paint("noise", *shape, seed)
    expected = reference(image, image_size)
    np.testing.assert_allclose(shrunk(image, image_size), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(65_500, 1), (1, 65_500)], ids=str)
@pytest.mark.parametrize("image_size", [(16, 40), (64, 64)], ids=str)
def test_long_pictures(shape, image_size):
    image = paint("noise", *shape, seed=1)
    expected = reference(image, image_size)
    np.testing.assert_allclose(resize_image(image, image_size), expected, rtol=0, atol=1e-5)


def test_a_huge_picture():
    """Of 13,000 × 13,000, made of equal columns: each row of the result is that of one row."""
    row = paint("noise", 1, 13_000, seed=2)
    image = np.broadcast_to(row, (13_000, 13_000, 3))
    resized = resize_image(image, (31, 57))
    expected = np.broadcast_to(reference(row, (1, 57)), resized.shape)
    np.testing.assert_allclose(resized, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("image_size", [(1, 1), (1, 300), (224, 224)], ids=str)
def test_no_thread_helps(image_size):
    """BLAS would start threads of its own, which take the cores from other workers."""
    image = paint("noise", 1500, 2000, seed=3)
    shrunk(image, image_size)
    process, thread = time.process_time(), time.thread_time()
    for _ in range(5):
        shrunk(image, image_size)
    process, thread = time.process_time() - process, time.thread_time() - thread
    assert process - thread < 0.1 * process


def test_matrices_that_are_kept_are_few():
    image = paint("noise", 400, 400, seed=4)
    for height in range(CACHED + 20):
        shrunk(image[: 300 + height], (32, 32))
    assert _blocks.cache_info().currsize == CACHED


def test_a_workspace_gives_the_same_memory_again():
    workspace = Workspace()
    large = workspace.empty("total", (40, 50))
    assert workspace.empty("total", (40, 50)) is large
    small = workspace.empty("total", (3, 70))
    assert small.shape == (3, 70)
    assert np.shares_memory(small, large)
    assert not np.shares_memory(workspace.empty("product", (3, 70)), large)
    assert workspace.empty("total", (400, 50)).shape == (400, 50)


def test_of_a_workspace_only_little_memory_is_kept_and_each_thread_has_its_own():
    workspace = Workspace()
    large = workspace.empty("total", (MOST_KEPT + 1,))
    assert not np.shares_memory(workspace.empty("total", (MOST_KEPT + 1,)), large)
    small = workspace.empty("total", (MOST_KEPT,))
    with ThreadPoolExecutor(1) as executor:
        others = executor.submit(workspace.empty, "total", (MOST_KEPT,)).result()
    assert not np.shares_memory(others, small)


@pytest.mark.parametrize("factor", [2, 4, 8])
@given(height=st.integers(100, 300), width=st.integers(100, 450))
@example(height=104, width=288)  # the worst of thousands, where factor is 8: 0.599
@settings(max_examples=15, deadline=None)
def test_a_draft_is_blurred_by_what_is_missing(factor, height, width):
    """Blocks of pixels are averaged, as a decoder does it; what `shrink` does then is the rest."""
    image = skimage.data.cat()[:height, :width]
    padded = np.pad(image, [(0, -height % factor), (0, -width % factor), (0, 0)], mode="edge")
    blocks = padded.reshape(len(padded) // factor, factor, -1, factor, 3)
    draft = np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)
    image_size = height // (2 * factor), width // (2 * factor)
    expected = reference(image, image_size)

    def error(resized):
        return 255 * np.abs(resized - expected).mean()

    right = error(shrunk(draft, image_size, Draft(factor, height, width)))
    assert right < 0.6  # of 255
    assert right < 0.8 * error(shrunk(draft, image_size))
