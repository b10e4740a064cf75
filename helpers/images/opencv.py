"""OpenCV, set up once: everybody here imports it from this module."""

import cv2

__all__ = ["cv2"]

# Every failure is raised as an ImageError that names the file; OpenCV's own log lines
# would only repeat it on the terminal, without the name.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

# Cores are shared out by batches, each made in one thread. More threads for one picture would take
# the cores from the others, and in the program's process from TensorFlow.
cv2.setNumThreads(1)
