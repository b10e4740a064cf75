"""Whether Keras's processes can be timed here, or take too long to start."""

import multiprocessing
import os
import subprocess
import sys
import time


def keras_processes(count: int) -> list[int]:
    """Return the number of Keras's processes to time, in a list; an empty one if they start slowly.

    Where a process of Keras's is a copy of the program (fork, on Linux), it is made in
    milliseconds. Elsewhere (spawn) each imports TensorFlow, in every epoch. Then a line says how
    long that would take.

    Parameters
    ----------
    count : int
        How many are to start at the same time.

    Returns
    -------
    list of int
        ``[count]`` or ``[]``, for ``processes=`` of `helpers.compare_workers`.
    """
    methods = multiprocessing.get_all_start_methods()  # the first is the one that is used
    method = multiprocessing.get_start_method(allow_none=True) or methods[0]
    if method == "fork":
        return [count]
    seconds = seconds_to_import_keras() * max(count / (os.cpu_count() or 1), 1)
    print(
        f"Left out here: {count} processes of Keras's. This system starts each anew ({method}).\n"
        f"Each imports TensorFlow: every epoch would begin with about {seconds:.0f} s of that."
    )
    return []


def seconds_to_import_keras() -> float:
    """Measure how long a new process needs until Keras is there."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import keras"], check=True, capture_output=True)
    return time.perf_counter() - start
