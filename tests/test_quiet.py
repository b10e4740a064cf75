import subprocess
import sys


def stderr_of(program):
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=120,
        env=None,
        check=True,
    )
    return done.stderr


TRAIN = """
import keras, numpy as np
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
model.fit(np.zeros((4, 3)), np.zeros(4), verbose=0)
"""


def test_tensorflow_starts_and_trains_without_a_word():
    assert stderr_of("from helpers import quiet_tensorflow; quiet_tensorflow()" + TRAIN) == ""


def test_it_would_not_be_silent_by_itself():
    assert "oneDNN" in stderr_of(TRAIN) or "CUDA" in stderr_of(TRAIN) or sys.platform != "linux"


def test_what_comes_afterwards_is_still_written():
    program = """
import sys
from helpers import quiet_tensorflow
quiet_tensorflow()
print("a warning of your own", file=sys.stderr)
"""
    assert stderr_of(program) == "a warning of your own\n"
