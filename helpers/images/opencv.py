"""OpenCV, set up once: everybody here imports it from this module."""

import os

from helpers.images import MAX_PIXELS

# OpenCV reads this once, when it is loaded; it then refuses what our own look at the header
# cannot tell, such as formats that are rare.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))

import cv2

__all__ = ["cv2"]

# Every failure is raised as an ImageError that names the file; OpenCV's own log lines
# would only repeat it on the terminal, without the name.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
