"""Keep the messages of TensorFlow's libraries out of notebooks and terminals."""

import contextlib
import os
import sys


def quiet_tensorflow() -> None:
    """Import TensorFlow without the lines that its C++ libraries write at start-up.

    They speak of CUDA and of processor instructions, are no errors, and no setting of
    TensorFlow 2.21 stops the first of them. Call this before the first ``import keras``.
    Errors of Python, and TensorFlow's own of level "fatal", are still shown.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _silent_stderr():
        import keras
        import tensorflow as tf

        # The first use looks for accelerators, and reports what it does not find.
        tf.config.list_physical_devices()
        keras.utils.clear_session()


@contextlib.contextmanager
def _silent_stderr():
    """Send what is written to the process's standard error, by C++ too, nowhere."""
    sys.stderr.flush()
    saved = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)
