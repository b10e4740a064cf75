"""Which TIFF files are not read, and whether the data of one are whole.

What libtiff finds wrong it often only logs. A TIFF file holds its picture in parts (strips or
tiles), each compressed for itself. Source: TIFF 6.0, and its supplements for deflate and floats.
"""

import zlib
from collections.abc import Iterator, Mapping

from helpers import arguments
from helpers.images.jpeg import check_scans
from helpers.images.sixteen_bits import CURE

STARTS = b"II*\0", b"MM\0*", b"II+\0"
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
STRIPS, SAMPLES, ROWS_A_STRIP, STRIP_BYTES, PLANES = 273, 277, 278, 279, 284
TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES, FORMAT = 322, 323, 324, 325, 339
JPEG, DEFLATE, OLD_DEFLATE, PACKBITS = 7, 8, 32946, 32773
OLD_JPEG, WEBP = 6, 50001
LOSSY = {OLD_JPEG, JPEG, WEBP}
WHITE_IS_ZERO, YCBCR = 0, 6
UNSIGNED, SIGNED = 1, 2
FORMATS = {2: "signed integers", 3: "floating-point numbers"}
PADDING = 3  # bytes that some programs leave at the end of a part
CHUNK = 1 << 20  # bytes that are unpacked at a time, only to look whether they can be


def check_values(tags: Mapping) -> None:
    """Refuse values for which there is no rule how they become 0 to 255.

    Parameters
    ----------
    tags : mapping of int to object
        The file's tags, as Pillow reads them.

    Raises
    ------
    ValueError
        If values are signed or floating-point.
    """
    for format in tags.get(FORMAT, ()):
        if format in FORMATS:
            raise ValueError(
                f"holds {FORMATS[format]} of {tags.get(BITS, (1,))[0]} bits; nothing says how they "
                f"become 0 to 255. To get them as they are, {CURE}"
            )


def is_misread_by_pillow(tags: Mapping) -> bool:
    """Whether Pillow 13 takes planes of 16 bits for planes of 8."""
    is_deep = tags.get(BITS, (1,))[0] == 16
    return is_in_planes(tags) and is_deep and tags.get(COMPRESSION, 1) == 1


def is_in_planes(tags: Mapping) -> bool:
    """Whether each channel is kept for itself."""
    return tags.get(PLANES) == 2 and tags.get(SAMPLES, 1) > 1


def describe(tags: Mapping) -> str:
    """Say of which kind a TIFF file is."""
    bits = arguments.counted(tags.get(BITS, (1,))[0], "bit")
    return (
        f"a TIFF file with {tags.get(SAMPLES, 1)} × {bits} a pixel and "
        f"compression {tags.get(COMPRESSION, 1)}"
    )


def check_parts(tags: Mapping, data: bytes) -> None:
    """Look for damage in the compressed parts that a decoder does not report.

    Deflate keeps a checksum, PackBits tells the length of each part, and a JPEG has markers. LZW
    is left to libtiff, which finds codes that cannot be and parts that are too short.

    Parameters
    ----------
    tags : mapping of int to object
        The file's tags, as Pillow reads them.
    data : bytes
        The whole file.

    Raises
    ------
    ValueError
        If a part is damaged.
    """
    compression = tags.get(COMPRESSION)
    for number, part in enumerate(_parts(tags, data)):
        if compression in (DEFLATE, OLD_DEFLATE):
            _check_deflate(part, _bytes_of_part(tags, number))
        elif compression == PACKBITS and tags.get(PHOTOMETRIC) != YCBCR:
            _check_packbits(part, _bytes_of_part(tags, number))
        elif compression == JPEG:
            check_scans(part)


def _parts(tags: Mapping, data: bytes) -> Iterator[bytes]:
    tiled = TILES in tags
    starts = tags.get(TILES if tiled else STRIPS, ())
    lengths = tags.get(TILE_BYTES if tiled else STRIP_BYTES, ())
    for start, length in zip(starts, lengths, strict=False):
        yield data[start : start + length]


def _check_deflate(part: bytes, expected: int) -> None:
    decoder = zlib.decompressobj()
    unpacked = 0
    while not decoder.eof:  # which comes with a checksum
        try:
            piece = decoder.decompress(part, CHUNK)
        except zlib.error as error:
            raise ValueError(f"a deflated part: {error}") from error
        part = decoder.unconsumed_tail
        unpacked += len(piece)
        if unpacked > expected or not (piece or part):
            raise ValueError("a deflated part has another length than it should")


def _bytes_of_part(tags: Mapping, number: int) -> int:
    """Length of a strip or tile, unpacked."""
    samples, height = tags.get(SAMPLES, 1), tags[HEIGHT]
    if tags.get(PLANES) == 2:  # each part holds one sample of a pixel
        samples = 1
    if TILES in tags:
        columns, rows = tags[TILE_WIDTH], tags[TILE_HEIGHT]
    else:
        rows = min(tags.get(ROWS_A_STRIP, height), height)
        first = number % -(-height // rows) * rows
        columns, rows = tags[WIDTH], min(rows, height - first)
    return rows * -(-columns * samples * tags.get(BITS, (1,))[0] // 8)


def _check_packbits(part: bytes, expected: int) -> None:
    position = unpacked = 0
    while unpacked < expected and position < len(part):
        code = part[position]
        if code < 128:  # so many bytes follow, and one more
            unpacked += code + 1
            position += code + 2
        else:  # one byte, to be repeated; 128 stands for nothing
            unpacked += 257 - code if code > 128 else 0
            position += 2 if code > 128 else 1
    if unpacked != expected or not 0 <= len(part) - position <= PADDING:
        raise ValueError("a packed part has another length than it should")
