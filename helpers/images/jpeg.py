"""What a JPEG file says of itself, and whether its scans are whole.

libjpeg, in OpenCV as elsewhere, paints the rest of a picture grey when a marker stands where none
may be, and says so on the terminal only. So we look ourselves. Source: ITU-T T.81, annex B: a
file is a row of segments (FF, kind, length, content). After a segment "start of scan" come the
compressed pixels, in which FF stands before 00, to mean FF, and before restart markers only.
"""

import contextlib
import re
import struct

import numpy as np

from helpers.images.orientation import EXIF_START, UPRIGHT, of_metadata

START, END_OF_IMAGE = b"\xff\xd8", b"\xff\xd9"
SIZE = struct.Struct(">HH")
LONGEST_SIDE = 65_500  # that libjpeg writes, in pixels
XMP_START = b"http://ns.adobe.com/xap/1.0/\0"
MARKER = re.compile(rb"\xff[\x01-\xfe]")
MARKER_HERE = re.compile(rb"\xff+[\x01-\xfe]")  # FF may be repeated
SCAN = re.compile(rb"\xff\xda")  # quicker than bytes.find
PIXELS_AND_END = re.compile(rb"[^\xff]*+(?:\xff\x00[^\xff]*+)*+\xff\xd9\Z")
SCAN_START, END, RESTART_INTERVAL, APPLICATION_1 = 0xDA, 0xD9, 0xDD, 0xE1
RESTARTS = range(0xD0, 0xD8)
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
WITHOUT_LENGTH = {0x00, 0x01, 0xFF, 0xD8, *RESTARTS}
BETWEEN_SCANS = {0xC4, 0xCC, SCAN_START, 0xDB, 0xDC, RESTART_INTERVAL, *range(0xE0, 0xF0), 0xFE}
LONG = 1 << 14  # bytes from which on numpy is quicker than a regular expression
SCAN_VALUES = 32  # a scan has nearly all 256 values of a byte; what fills up a file has a few


def read_header(data: bytes) -> tuple[int, int, int]:
    """Look up width, height (in pixels) and orientation.

    Raises
    ------
    ValueError, IndexError, struct.error
        If there are none.
    """
    position = 2
    exif = xmp = b""
    while True:
        position = data.index(b"\xff", position) + 1  # what stands between segments is skipped
        kind = data[position]
        if kind in FRAMES:
            height, width = SIZE.unpack_from(data, position + 4)
            return width, height, of_metadata(exif, xmp) if exif or xmp else UPRIGHT
        if kind == SCAN_START:
            raise ValueError("it has pixels and no size")
        if kind not in WITHOUT_LENGTH:
            end = position + 1 + (data[position + 1] << 8 | data[position + 2])
            if kind == APPLICATION_1:
                content = data[position + 3 : end]
                if content.startswith(EXIF_START):
                    exif = exif or content
                elif content.startswith(XMP_START):
                    xmp = xmp or content
            position = end


def is_one_scan(data: bytes) -> bool:
    """Whether all is pixels from the first scan to the end, as in most files: a quick look."""
    scan_start = SCAN.search(data)
    if not scan_start:
        return False
    if len(data) < LONG:
        return PIXELS_AND_END.match(data, scan_start.end()) is not None
    if not data.endswith(END_OF_IMAGE):
        return False
    scan = np.frombuffer(data, np.uint8)[scan_start.end() : -2]
    return not np.any((scan[:-1] == 0xFF) & (scan[1:] != 0))


def check_scans(data: bytes) -> None:
    """Look for markers that do not belong where they stand.

    Parameters
    ----------
    data : bytes
        The whole file.

    Raises
    ------
    ValueError
        If pixels are surely wrong; the message says why. A file that ends too early is the
        decoder's to refuse.
    """
    with contextlib.suppress(IndexError):  # the file ends too early
        _check_each_segment(data)


def _check_each_segment(data: bytes) -> None:
    """As `check_scans`, segment by segment; IndexError where the file ends too early."""
    restarts, scans, position = False, 0, 2
    while True:
        if not (marker := MARKER_HERE.match(data, position)):
            if scans and position + 1 < len(data):
                raise ValueError("its pixels are interrupted by a segment of another kind")
            marker = _next_marker(data, position)  # what stands before the pixels is skipped
        kind, position = marker[0][-1], marker.end()
        if kind == END:
            return _check_what_follows(data[position:])
        if scans and kind not in BETWEEN_SCANS:
            raise ValueError(f"its pixels are interrupted by a marker FF {kind:02X}")
        if kind in WITHOUT_LENGTH:
            continue
        if kind == RESTART_INTERVAL:
            restarts = any(data[position + 2 : position + 4])
        end = _end_of_segment(data, position)
        if scans and end > len(data) and data.endswith(END_OF_IMAGE):
            raise ValueError(f"its pixels are interrupted by a marker FF {kind:02X}")
        if kind == SCAN_START:
            if end - position != 6 + 2 * data[position + 2]:  # 2 bytes for each component
                raise ValueError("its pixels are interrupted by a marker FF DA, start of scan")
            scans += 1
            end = _end_of_scan(data, end, restarts)
        position = end


def _end_of_scan(data: bytes, position: int, restarts: bool) -> int:
    """Where the marker stands that ends a scan; restart markers in it count from 0 to 7."""
    number = 0
    while True:
        marker = _next_marker(data, position)
        kind, position = marker[0][-1], marker.end()
        if kind not in RESTARTS:
            return marker.start()
        if not restarts or kind != RESTARTS[number % 8]:
            raise ValueError(f"restart marker {kind - RESTARTS[0]} of its pixels is out of order")
        number += 1


def _next_marker(data: bytes, position: int) -> re.Match[bytes]:
    if not (marker := MARKER.search(data, position)):
        raise IndexError("no marker follows")
    return marker


def _end_of_segment(data: bytes, position: int) -> int:
    """Where a segment ends whose length stands at a position."""
    length = data[position] << 8 | data[position + 1]
    return position + length


def _check_what_follows(rest: bytes) -> None:
    """Tell pixels after an "end of image" in their midst from what programs append."""
    is_no_picture_of_its_own = START + b"\xff" not in rest
    if rest.endswith(END_OF_IMAGE) and is_no_picture_of_its_own and len(set(rest)) > SCAN_VALUES:
        raise ValueError("its pixels are interrupted by a marker FF D9, end of image")
