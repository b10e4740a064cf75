import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.images.arrays import batch_bytes, cut, empty_arrays, empty_block, stacked

shapes = st.lists(st.integers(1, 7), max_size=4).map(tuple)
dtypes = st.sampled_from(["uint8", "bool", "int16", "float32", "float64", "complex128"])


@given(
    layout=st.lists(st.tuples(shapes, dtypes), min_size=1, max_size=4), samples=st.integers(1, 9)
)
@settings(max_examples=100, deadline=None)
def test_arrays_of_a_batch_lie_apart_and_on_boundaries(layout, samples):
    arrays = empty_arrays(layout, samples)
    for number, (array, (shape, dtype)) in enumerate(zip(arrays, layout, strict=True)):
        assert (array.shape, array.dtype) == ((samples, *shape), np.dtype(dtype))
        assert array.ctypes.data % 64 == 0
        assert array.flags.c_contiguous and array.flags.writeable
        array[...] = number
    for number, array in enumerate(arrays):
        assert (array == np.asarray(number).astype(array.dtype)).all()


def test_arrays_end_where_their_memory_does():
    layout = [((3, 5), "uint8"), ((7,), "float32")]
    block = empty_block(batch_bytes(layout, 2))
    last = cut(block, layout, 2)[-1]
    end = last.ctypes.data + last.nbytes - block.ctypes.data
    assert 64 + 56 == end <= len(block) == 128


@given(count=st.integers(1, 5), shape=shapes, dtype=dtypes)
@settings(max_examples=30, deadline=None)
def test_stacked_is_numpys_stack_on_a_boundary(count, shape, dtype):
    rows = [np.full(shape, number).astype(dtype) for number in range(count)]
    array = stacked(rows)
    assert array.dtype == dtype and array.ctypes.data % 64 == 0
    assert array.tobytes() == np.stack(rows).tobytes()
