import subprocess
import sys

import pytest

CODE = """
import os, sys, helpers
os.environ.pop("OPENCV_IO_MAX_IMAGE_PIXELS", None)
{statement}
assert "cv2" in sys.modules
print(os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"], helpers.images.MAX_PIXELS)
"""


@pytest.mark.parametrize(
    "statement",
    [
        "from helpers import read_image",
        "from helpers import resize_image",
        "from helpers import load_sample",
        "from helpers import pack",
        "import helpers.loading.worker_process",
    ],
)
def test_opencv_is_told_the_limit_whatever_of_ours_loads_it_first(statement):
    """OpenCV looks at the variable once, when it is loaded."""
    code = CODE.format(statement=statement)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    told, limit = done.stdout.split()
    assert told == limit == "178956970"
