import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from helpers import read_image
from helpers.classroom.trials import made_up_images, peak_of


def test_images_are_made_up_no_two_alike_and_the_same_every_time():
    with made_up_images(3, height=4, width=6) as names:
        images = [read_image(name) for name in names]
    assert [image.shape for image in images] == [(4, 6, 3)] * 3
    assert len({image.tobytes() for image in images}) == 3
    with made_up_images(3, height=4, width=6) as names:
        np.testing.assert_array_equal(images, [read_image(name) for name in names])


def test_made_up_images_are_gone_after_their_block_even_if_it_fails():
    with pytest.raises(KeyError), made_up_images(1) as names:
        assert Path(names[0]).exists()
        raise KeyError
    assert not Path(names[0]).parent.exists()


def test_the_most_memory_is_counted_not_what_is_left():
    def thrice_for_a_while(size):
        return (np.ones(size), np.ones(size), np.ones(size))[0]

    result, peak = peak_of(thrice_for_a_while, 1_000_000)
    assert result.nbytes == 8_000_000
    assert peak == pytest.approx(24_000_000, rel=0.01)
    assert not tracemalloc.is_tracing()


def test_what_was_there_before_does_not_count_and_who_traces_goes_on_tracing():
    tracemalloc.start()
    try:
        before = np.ones(1_000_000)
        _, peak = peak_of(np.ones, 500_000)
        assert peak == pytest.approx(before.nbytes / 2, rel=0.01)
        assert tracemalloc.is_tracing()
    finally:
        tracemalloc.stop()


def test_memory_is_no_longer_traced_after_a_failure():
    with pytest.raises(ZeroDivisionError):
        peak_of(lambda: 1 / 0)
    assert not tracemalloc.is_tracing()
