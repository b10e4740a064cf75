import subprocess
import sys

import pytest

CODE = """
import sys
{statement}
import cv2, numpy
assert "helpers.images.opencv" in sys.modules
assert cv2.imdecode(numpy.frombuffer(b"BM" + bytes(60), numpy.uint8), cv2.IMREAD_COLOR) is None
"""


@pytest.mark.parametrize(
    "statement",
    [
        "from helpers import read_image; read_image",
        "from helpers import resize_image; resize_image",
        "from helpers import load_sample; load_sample",
        "from helpers import pack; pack",
        "import helpers.loading.worker_process",
    ],
)
def test_opencv_is_silent_whatever_of_ours_loads_it_first(statement):
    code = CODE.format(statement=statement)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_by_itself_it_is_not():
    code = CODE.format(statement="sys.modules['helpers.images.opencv'] = None")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "ERROR" in done.stderr
