import io
import struct
import zlib

import numpy as np
import pytest
from drawn import COLOUR, FORMATS, HEIGHT, WIDTH, encode
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from helpers.images.orientation import TURNS, UPRIGHT, of_metadata, upright
from helpers.images.reading import read_image

FORMS = {1: "B3x", 3: "H2x", 4: "I", 8: "h2x", 9: "i"}  # of a number, by its type in Exif
JPEG, PNG, LOSSLESS = FORMATS["JPEG"], FORMATS["PNG"], FORMATS["WebP lossless"]


def exif(orientation, order="<", kind=3, count=1, start=8, tag=0x0112):
    """A block of Exif with two tags before the one that counts."""
    block = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", start)
    block += bytes(start - 8) + struct.pack(order + "H", 3)
    block += struct.pack(order + "HHIH2x", 0x010F, 3, 1, 5) * 2
    return block + struct.pack(order + "HHI" + FORMS[kind], tag, kind, count, orientation)


def xmp(orientation):
    return b'<rdf:Description tiff:Orientation="%d"/>' % orientation


def jpeg(*metadata):
    """A JPEG with segments for applications in front of all others."""
    segments = (b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content for content in metadata)
    return JPEG[:2] + b"".join(segments) + JPEG[2:]


def png(name, content, at_the_end=False):
    chunk = name + content
    chunk = struct.pack(">I", len(content)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    position = PNG.index(b"IEND") - 4 if at_the_end else 33
    return PNG[:position] + chunk + PNG[position:]


def webp(name, content):
    size = (WIDTH - 1).to_bytes(3, "little") + (HEIGHT - 1).to_bytes(3, "little")
    flag = {b"EXIF": 8, b"XMP ": 4}[name]
    header = b"VP8X" + struct.pack("<IB3x", 10, flag) + size
    chunk = name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
    body = b"WEBP" + header + LOSSLESS[12:] + chunk
    return b"RIFF" + struct.pack("<I", len(body)) + body


def raw(block):
    return b"\nexif\n%8d\n%b\n" % (len(block), block.hex().encode())


E6, XAP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
XML = b"XML:com.adobe.xmp\0"
RAW = b"Raw profile type exif\0"
NOTES = {
    "JPEG": lambda n: jpeg(E6 + exif(n)),
    "JPEG big-endian": lambda n: jpeg(E6 + exif(n, ">")),
    "JPEG long": lambda n: jpeg(E6 + exif(n, ">", kind=4)),
    "JPEG signed": lambda n: jpeg(E6 + exif(n, ">", kind=8)),
    "JPEG as a byte": lambda n: jpeg(E6 + exif(n, kind=1)),
    "JPEG far away": lambda n: jpeg(E6 + exif(n, start=40)),
    "JPEG XMP": lambda n: jpeg(XAP + xmp(n)),
    "JPEG XMP first": lambda n: jpeg(XAP + xmp(1), E6 + exif(n)),
    "JPEG Exif first": lambda n: jpeg(E6 + exif(n), XAP + xmp(1)),
    "JPEG XMP beside other Exif": lambda n: jpeg(E6 + exif(5, tag=0x0113), XAP + xmp(n)),
    "JPEG without its mark": lambda n: jpeg(exif(n)),
    "PNG": lambda n: png(b"eXIf", exif(n)),
    "PNG with the mark of JPEG": lambda n: png(b"eXIf", E6 + exif(n, ">")),
    "PNG at the end": lambda n: png(b"eXIf", exif(n), at_the_end=True),
    "PNG XMP": lambda n: png(b"iTXt", XML + b"\0\0\0\0" + xmp(n)),
    "PNG XMP, compressed": lambda n: png(b"iTXt", XML + b"\1\0\0\0" + zlib.compress(xmp(n))),
    "PNG text": lambda n: png(b"tEXt", RAW + raw(E6 + exif(n))),
    "PNG compressed text": lambda n: png(b"zTXt", RAW + b"\0" + zlib.compress(raw(E6 + exif(n)))),
    "WebP": lambda n: webp(b"EXIF", exif(n)),
    "WebP with the mark of JPEG": lambda n: webp(b"EXIF", E6 + exif(n, ">")),
    "WebP XMP": lambda n: webp(b"XMP ", xmp(n)),
}


@pytest.mark.parametrize("orientation", [3, 6, 7])
@pytest.mark.parametrize("name", NOTES)
def test_pictures_are_turned_as_pillow_turns_them(save, name, orientation):
    data = NOTES[name](orientation)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    image = read_image(save(data))
    np.testing.assert_allclose(image, np.asarray(expected), rtol=0, atol=2)


@pytest.mark.parametrize("format", ["AVIF", "JPEG", "PNG", "TIFF", "WebP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_in_every_format(save, format, orientation):
    note = Image.Exif()
    note[0x0112] = orientation
    data = encode(COLOUR, format, exif=note)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    assert expected.height == (HEIGHT if orientation <= 4 else WIDTH)
    np.testing.assert_allclose(read_image(save(data)), np.asarray(expected), rtol=0, atol=2)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_undoes_what_a_camera_did(orientation):
    picture = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    note = Image.Exif()
    note[0x0112] = orientation
    stored = Image.fromarray(picture)
    stored.getexif()[0x0112] = orientation
    turned = upright(picture, orientation)
    np.testing.assert_array_equal(turned, ImageOps.exif_transpose(stored))
    assert turned.flags.c_contiguous


@pytest.mark.parametrize("orientation", [0, 9, 300])
def test_numbers_that_mean_nothing_turn_nothing(orientation):
    assert of_metadata(exif(orientation)) == UPRIGHT


def test_several_numbers_turn_nothing():
    assert of_metadata(exif(6, count=2)) == UPRIGHT


@given(st.binary(max_size=80), st.sampled_from([b"", b"II*\0", b"MM\0*"]))
def test_any_metadata_have_an_orientation(block, start):
    assert of_metadata(start + block, block) in {UPRIGHT, *TURNS}


def test_a_block_that_is_cut_anywhere_turns_nothing():
    whole = exif(6)
    assert of_metadata(whole) == 6
    assert {of_metadata(whole[:length]) for length in range(len(whole) - 3)} == {UPRIGHT}
