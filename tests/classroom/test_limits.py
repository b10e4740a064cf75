"""The memory that is taken away from a process, and given back."""

import subprocess
import sys

import pytest

from helpers.classroom import limits

SCRIPT = """
import numpy as np
from helpers.classroom.limits import memory_limit

def granted(megabytes):
    try:
        return bool(np.empty(megabytes * 1_000_000, np.uint8).size)
    except MemoryError:
        return False

with memory_limit(300):
    print("under the limit", granted(100), granted(250), granted(350))
print("afterwards", granted(350))
try:
    with memory_limit(300):
        raise KeyError
except KeyError:
    print("after an error", granted(350))
"""


@pytest.mark.skipif(not limits.LINUX, reason="other systems do not limit memory")
def test_under_a_limit_the_system_refuses_what_is_more_and_afterwards_grants_it():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "under the limit True True False",
        "afterwards True",
        "after an error True",
    ], done.stderr


def test_another_system_than_linux_is_told_so(monkeypatch):
    monkeypatch.setattr(limits, "LINUX", False)
    with pytest.raises(OSError, match="only Linux"), limits.memory_limit(100):
        pass
