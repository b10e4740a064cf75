"""What Keras reads from.

In come names of files, and labels; out come batches, (images, labels), for ``model.fit``. The
article's `CIFAR10Sequence` as a textbook has it, `MY_Generator` for real work, and
`fit_generator`, which Keras 3 took away.
"""

import atexit
import gc
import sys


@atexit.register
def _free_unfinished_iterators() -> None:
    """Let a program end that an exception, or Ctrl-C, stopped in the middle of ``fit``.

    Without workers TensorFlow 2.21 asks for batches in a thread of its own. If a traceback
    keeps that thread's iterator alive until Python is gone, the process waits for it for
    ever; so the last traceback is let go of while Python still runs.
    """
    for name in ("last_exc", "last_value", "last_traceback"):
        if hasattr(sys, name):
            setattr(sys, name, None)
    gc.collect()
