"""What the first bytes of an image file claim, before anybody believes it.

A decoder takes memory for what a header says. A damaged or malicious file of a few bytes can
claim gigabytes, so the claim is read first. Sources: the formats' own specifications; TIFF
and extended WebP are left to ``imagesize``, which takes 9 to 14 µs where these take 1 to 3.
"""

import io
import struct

PNG_START = b"\x89PNG\r\n\x1a\n"
JPEG_START = b"\xff\xd8"
TIFF_STARTS = b"II*\0", b"MM\0*", b"II+\0"


def claimed_size(data: bytes) -> tuple[int, int] | None:
    """Look up the size of a picture in its header.

    Parameters
    ----------
    data : bytes
        The whole file.

    Returns
    -------
    tuple of int, or None
        Width and height in pixels; None if the header makes no sense or is of another kind
        than JPEG, PNG, GIF, BMP, WebP or TIFF.
    """
    try:
        return _size(data)
    except (struct.error, IndexError, ValueError, OSError):
        return None


def _size(data: bytes) -> tuple[int, int] | None:
    if data.startswith(PNG_START):
        return struct.unpack_from(">II", data, 16)
    if data.startswith(JPEG_START):
        return _size_of_jpeg(data)
    if data.startswith(b"GIF8"):
        return struct.unpack_from("<HH", data, 6)
    if data.startswith(b"BM"):
        from_os2 = data[14] == 12
        width, height = struct.unpack_from("<HH" if from_os2 else "<ii", data, 18)
        return abs(width), abs(height)  # a negative height stands for rows from top to bottom
    if data[8:16] == b"WEBPVP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF  # the upper 2 bits are a scale to show it at
    if data[8:14] == b"WEBPVP" or data.startswith(TIFF_STARTS):
        import imagesize  # a fifth of a worker's start, if it were imported above

        return imagesize.get(io.BytesIO(data), exif_rotation=False)
    return None


def _size_of_jpeg(data: bytes) -> tuple[int, int] | None:
    """Width and height of a JPEG file: a row of segments, each FF, kind, length, content."""
    position = 2
    while True:
        position = data.index(b"\xff", position) + 1  # what stands between segments is skipped
        kind = data[position]
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):  # "start of frame"
            height, width = struct.unpack_from(">HH", data, position + 4)
            return width, height
        if kind == 0xDA:  # the picture itself, and no frame before it
            return None
        if kind not in (0x00, 0x01, 0xFF) and not 0xD0 <= kind <= 0xD8:  # these have no length
            position += 1 + int.from_bytes(data[position + 1 : position + 3])


def is_cut_png(data: bytes) -> bool:
    """Say whether the file is a PNG with a chunk that is longer than the rest of the file.

    OpenCV takes as much memory as a chunk's length says (up to 4 GB), and fills it with
    zeros, before it looks for the content.

    Parameters
    ----------
    data : bytes
        The whole file.

    Returns
    -------
    bool
        True for a PNG that was cut off, or whose lengths are damaged.
    """
    if not data.startswith(PNG_START):
        return False
    position = len(PNG_START)
    while position + 8 <= len(data):  # A PNG file is a row of chunks: length, name, content, sum.
        if data[position + 4 : position + 8] == b"IEND":
            return False
        position += 12 + int.from_bytes(data[position : position + 4])
    return True
