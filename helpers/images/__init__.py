"""From image files to one batch array: all that a worker process imports.

In comes a `BatchRequest`, which names the files and says how a file becomes an array; out
comes a `LoadedBatch`. This wing needs numpy and OpenCV, and Pillow when a file comes that
OpenCV does not read right. So a worker starts in a fraction of a second and takes about 50 MB,
where one that imports TensorFlow takes 700 MB.
"""

MAX_PIXELS = 178_956_970
"""A picture that claims more pixels is refused: where Pillow, too, sees a decompression bomb."""
