"""What the first bytes of an image file claim, before anybody believes it.

A decoder takes memory for what a header says. A damaged or malicious file of a few bytes can
claim gigabytes, so the claim is read first. Sources: the formats' own specifications.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from helpers import arguments
from helpers.images import jpeg
from helpers.images.orientation import UPRIGHT, of_metadata

PNG_START = b"\x89PNG\r\n\x1a\n"
PNG_BITS = 24  # where its header says how many
PNG_HEADER_END = 33  # the header comes first, and is always as long
PNG_NOTES, ANIMATION = frozenset([b"eXIf", b"iTXt", b"tEXt", b"zTXt"]), b"acTL"
XMP_KEY = b"XML:com.adobe.xmp\0"
RAW_EXIF = b"Raw profile type exif\0"  # how Exif was kept in PNG before it had a place there
WEBP_NOTES = frozenset([b"EXIF", b"XMP "])
MOST_TEXT = 1 << 20  # bytes; no picture's metadata are longer
NO_COMPRESSION, BITFIELDS, LONG_HEADER = 0, 3, 56  # of BMP; the long ones hold the masks


class Header(NamedTuple):
    """What is known of a picture before it is decoded.

    Attributes
    ----------
    width, height : int
        In pixels, as it is stored.
    orientation : int
        How it is to be turned, as Exif numbers it.
    is_plain : bool
        Whether OpenCV reads it right; if not, it is left to Pillow.
    has_16_bits : bool
        Whether it is a PNG with 16 bits a value.
    """

    width: int
    height: int
    orientation: int = UPRIGHT
    is_plain: bool = True
    has_16_bits: bool = False


def read_header(data: bytes) -> Header | None:
    """Read the header of a picture.

    Parameters
    ----------
    data : bytes
        The whole file.

    Returns
    -------
    Header or None
        None for all kinds but JPEG, PNG, WebP and BMP.

    Raises
    ------
    ValueError
        If the header makes no sense, or the file is cut off.
    """
    try:
        if data.startswith(jpeg.START):
            return Header(*jpeg.read_header(data))
        if data.startswith(PNG_START):
            return _header_of_png(data)
        if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            return _header_of_webp(data)
        if data.startswith(b"BM"):
            return _header_of_bmp(data)
    except (struct.error, IndexError, ValueError, zlib.error):
        raise ValueError(
            f"is damaged or cut off ({arguments.counted(len(data), 'byte')})"
        ) from None
    return None


def check_claim(width: int, height: int, max_pixels: int) -> None:
    """Refuse a picture that claims more pixels than are allowed; ValueError."""
    if width * height > max_pixels:
        raise ValueError(
            f"claims {width} × {height} pixels, more than the {max_pixels:,} allowed (max_pixels)"
        )


def _header_of_png(data: bytes) -> Header:
    """Walk the chunks of a PNG: length, name, content, checksum.

    OpenCV takes as much memory as a chunk's length says (up to 4 GB), and fills it with zeros,
    before it looks for the content; so a chunk that is longer than the file is an error.
    """
    width, height = struct.unpack_from(">II", data, 16)
    position = PNG_HEADER_END
    exif = xmp = b""
    is_plain = True
    while (name := data[position + 4 : position + 8]) != b"IEND":
        if not name:
            raise ValueError("it has no end")
        end = position + 8 + int.from_bytes(data[position : position + 4])
        if name in PNG_NOTES:
            exif, xmp = _metadata_of_chunk(name, data[position + 8 : end], exif, xmp)
        elif name == ANIMATION:  # of which the first picture may be no part
            is_plain = False
        position = end + 4
    orientation = of_metadata(exif, xmp) if exif or xmp else UPRIGHT
    return Header(width, height, orientation, is_plain, data[PNG_BITS] == 16)


def _metadata_of_chunk(name: bytes, content: bytes, exif: bytes, xmp: bytes) -> tuple[bytes, bytes]:
    if name == b"eXIf":
        exif = content
    elif content.startswith(XMP_KEY):
        is_compressed, text = content[len(XMP_KEY)], content[len(XMP_KEY) + 2 :].split(b"\0", 2)[2]
        xmp = _inflated(text) if is_compressed else text
    elif content.startswith(RAW_EXIF) and not exif:
        text = content[len(RAW_EXIF) :]
        if text.startswith(b"\0"):
            text = _inflated(text[1:])
        exif = bytes.fromhex("".join(text.decode("latin-1").split("\n")[3:]))
    return exif, xmp


def _inflated(data: bytes) -> bytes:
    return zlib.decompressobj().decompress(data, MOST_TEXT)


def _header_of_webp(data: bytes) -> Header:
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return Header(width & 0x3FFF, height & 0x3FFF)  # the upper 2 bits are a scale to show it at
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return Header(1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
    width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
    notes = {name: data[chunk] for name, chunk in _chunks_of_webp(data) if name in WEBP_NOTES}
    return Header(width, height, of_metadata(notes.get(b"EXIF", b""), notes.get(b"XMP ", b"")))


def is_lossless_webp(data: bytes) -> bool:
    """Whether a WebP keeps all values; of an animation this is not known."""
    return any(name == b"VP8L" for name, _ in _chunks_of_webp(data))


def _chunks_of_webp(data: bytes) -> Iterator[tuple[bytes, slice]]:
    position = 12
    while position + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, position)
        yield name, slice(position + 8, position + 8 + length)
        position += 8 + length + length % 2


def _header_of_bmp(data: bytes) -> Header:
    pixels, header = struct.unpack_from("<II", data, 10)
    if header == 12:  # of OS/2
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression, colours, entry = NO_COMPRESSION, 0, 3
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
        (colours,) = struct.unpack_from("<I", data, 46)
        entry = 4
    palette = entry * (colours or 1 << bits) if bits <= 8 else 0
    is_plain = (
        compression == NO_COMPRESSION and bits != 16 and pixels >= 14 + header + palette
    ) or (compression == BITFIELDS and bits == 32 and header >= LONG_HEADER)
    # A negative height stands for rows from top to bottom.
    return Header(abs(width), abs(height), is_plain=is_plain)
