import io
import struct
import zlib

import numpy as np
import pytest
import skimage.io  # noqa: F401 - an error names it, and is evaluated
import tifffile
from drawn import encode
from PIL import Image

from helpers.images import sixteen_bits
from helpers.images.reading import ImageError, decode

NOISE = np.random.default_rng(0).integers(100, 140, (90, 110, 3), np.uint8)
SOFT = Image.fromarray(NOISE)
COMPRESSIONS = ("tiff_lzw", "tiff_deflate", "packbits", "tiff_adobe_deflate")


def tags_of(data):
    """Where in a TIFF file the value of each tag stands."""
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    entries = range(start + 2, start + 2 + 12 * count, 12)
    return {struct.unpack_from("<H", data, entry)[0]: entry + 8 for entry in entries}


def with_tag(data, tag, value):
    changed = bytearray(data)
    struct.pack_into("<H", changed, tags_of(data)[tag], value)
    return bytes(changed)


def written(pixels, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **options)
    return file.getvalue()


def refused(data):
    with pytest.raises(ImageError) as caught:
        decode(data, "a.tif")
    assert str(caught.value).startswith("a.tif: ")
    return caught.value.reason


@pytest.mark.parametrize("compression", [None, *COMPRESSIONS, "jpeg", "zstd", "tiff_lzma"])
def test_whole_files_are_read(compression):
    data = encode(SOFT, "TIFF", compression=compression)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    image, doubt, _ = decode(data, "a.tif")
    np.testing.assert_array_equal(image, expected)
    assert doubt is None


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("share", [0.2, 1 / 3, 0.5, 0.7])
def test_zeros_in_compressed_data_are_found(compression, share):
    data = encode(SOFT, "TIFF", compression=compression)
    position = int(len(data) * share)
    assert "damaged" in refused(data[:position] + bytes(64) + data[position:])
    if compression != "packbits":  # among its pixels zeros are as legal as others
        assert "damaged" in refused(data[:position] + bytes(64) + data[position + 64 :])


@pytest.mark.parametrize("tile", [None, (32, 32)])
@pytest.mark.parametrize("predictor", [None, True])
def test_any_bit_of_deflated_data_that_changes_is_found(tile, predictor):
    data = written(NOISE, compression="zlib", tile=tile, predictor=predictor, photometric="rgb")
    np.testing.assert_array_equal(decode(data, "a.tif")[0], NOISE)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        starts, lengths = file.pages[0].dataoffsets, file.pages[0].databytecounts
    rng = np.random.default_rng(0)
    for start, length in zip(starts, lengths, strict=True):
        for position in rng.integers(start, start + length, 8):
            changed = bytearray(data)
            changed[position] ^= 1 << int(rng.integers(8))
            refused(bytes(changed))


def test_markers_in_the_jpeg_within_are_found():
    data = encode(SOFT, "TIFF", compression="jpeg")
    position = len(data) * 6 // 10
    assert "marker FF C9" in refused(data[:position] + b"\xff\xc9" + data[position + 2 :])


def test_an_unknown_compression_is_named():
    data = encode(SOFT, "TIFF", compression="tiff_deflate")
    assert "compression 50013, a kind that is not read here" in refused(with_tag(data, 259, 50013))


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "float16", "float32", "float64"])
@pytest.mark.parametrize("channels", [1, 3])
def test_values_without_a_rule_are_refused_and_named(dtype, channels):
    kind = "signed integers" if dtype.startswith("int") else "floating-point numbers"
    pixels = np.zeros((5, 6, channels), dtype).squeeze()
    reason = refused(written(pixels, photometric="rgb" if channels == 3 else "minisblack"))
    assert f"holds {kind} of {np.dtype(dtype).itemsize * 8} bits" in reason
    assert "damaged" not in reason
    assert "pass read=, such as read=skimage.io.imread, with dtype='float32'" in reason


def test_32_bits_are_refused_and_left_to_read():
    assert "Pillow's mode 'I', which is not read here: pass read=" in refused(
        written(np.zeros((5, 6), np.uint32))
    )


@pytest.mark.parametrize("dtype", ["int16", "uint32", "float32", "float64"])
def test_what_an_error_says_to_pass_reads_these_values(save, dtype):
    values = (np.random.default_rng(0).random((5, 6)) * 1000).astype(dtype)
    data = written(values)
    read = eval(refused(data).split("such as read=")[1].split(", with dtype='float32'")[0])
    np.testing.assert_array_equal(read(save(data, "a.tif")), values)


def grey_tiff(bits, values, white_is_zero=False):
    """A TIFF of any number of bits a pixel."""
    height, width = values.shape
    rows = ("".join(f"{value:0{bits}b}" for value in row) for row in values.tolist())
    rows = (row + "0" * (-len(row) % 8) for row in rows)
    pixels = b"".join(int(row, 2).to_bytes(len(row) // 8) for row in rows)
    if bits == 16:
        pixels = values.astype("<u2").tobytes()
    entries = [(256, width), (257, height), (258, bits), (259, 1), (262, int(not white_is_zero))]
    entries += [(273, 8), (277, 1), (278, height), (279, len(pixels))]
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    start = struct.pack("<I", 8 + len(pixels))
    return b"II*\0" + start + pixels + struct.pack("<H", len(entries)) + directory + bytes(4)


@pytest.mark.parametrize("white_is_zero", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_grey_of_few_and_many_bits(bits, white_is_zero):
    largest = 2**bits - 1
    values = np.random.default_rng(0).integers(0, largest + 1, (9, 13))
    image, *_ = decode(grey_tiff(bits, values, white_is_zero), "a.tif")
    expected = values >> 8 if bits == 16 else values * 255 // largest
    expected = 255 - expected if white_is_zero else expected
    np.testing.assert_array_equal(image, np.repeat(expected[..., np.newaxis], 3, axis=2))


def test_of_12_bits_the_upper_8_are_kept():
    values = np.random.default_rng(0).integers(0, 1 << 12, (9, 14))
    image, doubt, _ = decode(grey_tiff(12, values), "a.tif")
    np.testing.assert_array_equal(image[..., 0], values >> 4)
    assert doubt.startswith("has 12 bits a value, of which the upper 8 are kept; to keep all, pass")
    assert decode(grey_tiff(12, values & ~15), "a.tif")[1] is None


@pytest.mark.parametrize("bits", [3, 6, 10, 14])
def test_kinds_that_are_not_read_are_not_called_damaged(bits):
    reason = refused(grey_tiff(bits, np.zeros((9, 13), int)))
    assert f"1 × {bits} bits a pixel and compression 1, a kind that is not read here" in reason
    assert "damaged" not in reason


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_colours_side_by_side_and_in_planes(dtype, planes, compression):
    pixels = NOISE if dtype == "uint8" else NOISE.astype(dtype) * 257
    if planes == "separate":
        pixels = np.moveaxis(pixels, -1, 0)
    data = written(pixels, photometric="rgb", planarconfig=planes, compression=compression)
    image, doubt, _ = decode(data, "a.tif")
    np.testing.assert_array_equal(image, NOISE)
    # Nothing was lost, which of planes nobody here knows.
    assert (doubt is not None) == (dtype == "uint16" and planes == "separate")


def test_of_planes_of_16_bits_opencv_is_not_asked_for_all_bits(monkeypatch):
    monkeypatch.setattr(sixteen_bits, "doubt_of_file", None)  # where it returns what memory holds
    pixels = np.moveaxis(NOISE.astype(np.uint16) * 257, -1, 0)
    data = written(pixels, photometric="rgb", planarconfig="separate", compression="zlib")
    assert decode(data, "a.tif")[1] == sixteen_bits.DOUBT


def test_planes_of_16_bits_with_alpha_are_refused():
    pixels = np.full((4, 8, 9), 257, np.uint16)
    data = written(pixels, photometric="rgb", planarconfig="separate", extrasamples=["unassalpha"])
    assert "4 × 16 bits a pixel and compression 1, in planes, a kind" in refused(data)


@pytest.mark.parametrize("options", [{"byteorder": ">"}, {"bigtiff": True}], ids=str)
def test_another_order_of_bytes_and_places_of_64_bits(options):
    data = written(NOISE, photometric="rgb", **options)
    np.testing.assert_array_equal(decode(data, "a.tif")[0], NOISE)
    floats = written(np.float16(NOISE / 255), photometric="rgb", **options)
    assert "floating-point numbers of 16 bits" in refused(floats)


def test_a_part_that_unpacks_without_end_is_refused_early():
    data = written(NOISE[:4, :4], compression="zlib", photometric="rgb")
    bomb = zlib.compress(bytes(1 << 28))
    changed = bytearray(data + bomb)
    for tag, value in ((273, len(data)), (279, len(bomb))):
        struct.pack_into("<I", changed, tags_of(data)[tag], value)
    assert "another length than it should" in refused(bytes(changed))
