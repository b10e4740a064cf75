"""Which format to keep decoded pictures in: formats that are there, compared by single samples.

    pip install -r tests/benchmarks/requirements.txt
    python tests/benchmarks/formats.py [--repeats N] [--folder FOLDER]

The same pictures (the drawings, repeated and resized) are written in each format, and single ones
are read in random order, one and then many in a call, from files that the system has in its
cache. Formats take turns, and each figure is the median of the repeats; but each is written only
once. What is read is compared with what was written. The last row is this project's pack, with
its index and its checksums.
"""

import argparse
import os
import struct
import tempfile
import time
from pathlib import Path

import cv2
import h5py
import numpy as np
import pandas as pd
import tensorflow as tf
import zarr
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter
from tqdm import tqdm

import helpers
from helpers.datasets import contents
from helpers.images import packs

SAMPLES = {32: 50_000, 256: 1_000}  # of each height and width; about 150 and 200 MB
READS = 512
BATCH = 128  # samples that are asked for in one call


class Npy:
    """One array, mapped into memory."""

    def write(self, images, path):
        np.save(path, images)

    def open(self, path):
        mapped = np.load(path.with_name(path.name + ".npy"), mmap_mode="r")
        return lambda numbers: mapped[numbers]


class Hdf5:
    """One array in an HDF5 file, contiguous."""

    def write(self, images, path):
        with h5py.File(path, "w") as file:
            file["images"] = images

    def open(self, path):
        images = h5py.File(path, "r")["images"]
        # h5py takes a list, too, if it is in order; but for each number it needs longer then.
        return lambda numbers: [images[number] for number in numbers]


class Zarr:
    """A chunk for each sample, a hundred chunks in a file (without shards: a file for each)."""

    in_a_file = 100

    def __init__(self, compressors):
        self.compressors = compressors

    def write(self, images, path):
        shape = images.shape[1:]
        array = zarr.create_array(
            path,
            shape=images.shape,
            dtype="uint8",
            chunks=(1, *shape),
            shards=(self.in_a_file, *shape),
            compressors=self.compressors,
        )
        for first in range(0, len(images), self.in_a_file):
            array[first : first + self.in_a_file] = images[first : first + self.in_a_file]

    def open(self, path):
        array = zarr.open_array(path, mode="r")
        return lambda numbers: [array[number] for number in numbers]  # oindex takes longer


class ArrayRecord:
    """Grain's format: records that are found by their number."""

    def __init__(self, options):
        self.options = f"group_size:1,{options}"

    def write(self, images, path):
        writer = ArrayRecordWriter(os.fspath(path), self.options)
        for image in images:
            writer.write(image.tobytes())
        writer.close()

    def open(self, path):
        # As its guide says for random access: nothing is read ahead.
        reader = ArrayRecordReader(os.fspath(path), options="readahead_buffer_size:0")
        return reader.read


class TfRecord:
    """TensorFlow's format has no random access; with the offsets of its records, kept beside it.

    https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details: 12 bytes
    (length and its checksum) come before the data, 4 bytes (checksum) after it.
    """

    def write(self, images, path):
        with tf.io.TFRecordWriter(os.fspath(path)) as writer:
            for image in images:
                writer.write(image.tobytes())
        offsets, at = [], 0
        with path.open("rb") as file:
            while length := file.read(8):
                offsets.append((at + 12, *struct.unpack("<Q", length)))
                at = file.seek(at + 16 + offsets[-1][1])
        np.save(path.with_name(path.name + "_offsets"), offsets)

    def open(self, path):
        offsets = np.load(path.with_name(path.name + "_offsets.npy")).tolist()
        file = path.open("rb", buffering=0)

        def read(number):
            start, size = offsets[number]
            return os.pread(file.fileno(), size, start)

        return lambda numbers: [read(number) for number in numbers]


class Pack:
    """This project's: a .npy file, an index and a checksum for each sample."""

    def write(self, images, path):
        right = contents.read_and_doubt  # what takes time here is to write, not to decode
        contents.read_and_doubt = lambda name, max_pixels: (images[int(name)], None)
        try:
            names = [str(number) for number in range(len(images))]
            files = helpers.ImageFiles(names, np.zeros(len(images), np.int64), ())
            helpers.pack(files, path.with_suffix(".pack"))
        finally:
            contents.read_and_doubt = right

    def open(self, path):
        names = helpers.load_pack(path.with_suffix(".pack")).filenames
        pack = packs.OpenPacks().pack(names.path)
        return lambda numbers: [pack.read(*row) for row in names.rows[numbers].tolist()]


FORMATS = {
    "ArrayRecord": ArrayRecord("uncompressed"),
    "ArrayRecord, zstd": ArrayRecord("zstd"),
    "TFRecord and offsets": TfRecord(),
    "Zarr": Zarr(None),
    "Zarr, zstd": Zarr("auto"),
    "HDF5": Hdf5(),
    ".npy, mapped": Npy(),
    "pack: .npy, index, checksums": Pack(),
}


def drawings(size, count):
    """Return the sample's pictures, resized: uint8 array of shape (count, size, size, 3)."""
    files = helpers.load_sample()[0]
    pictures = [
        cv2.resize(helpers.read_image(name), (size, size), interpolation=cv2.INTER_CUBIC)
        for name in tqdm(files.filenames[: min(count, 1000)], "drawings", leave=False)
    ]
    return np.stack(pictures)[np.arange(count) % len(pictures)]


def bytes_in(folder):
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def write(format, images, folder):
    """Write in a folder; return the figures."""
    folder.mkdir()
    start = time.perf_counter()
    format.write(images, folder / "data")
    seconds = time.perf_counter() - start
    return {"write, s": seconds, "bytes of pixels": bytes_in(folder) / images.nbytes}


def read(format, images, folder):
    """Open and read, in random order; return the figures."""
    numbers = np.random.default_rng(0).integers(len(images), size=READS).tolist()
    start = time.perf_counter()
    read = format.open(folder / "data")
    read([0])
    figures = {"open, ms": 1e3 * (time.perf_counter() - start)}
    for column, batch in (("µs a sample", 1), (f"{BATCH} in a call", BATCH)):
        start = time.perf_counter()
        for first in range(0, READS, batch):
            samples = read(numbers[first : first + batch])
        figures[column] = 1e6 * (time.perf_counter() - start) / READS
        for number, sample in zip(numbers[first:], samples, strict=True):
            assert bytes(sample) == images[number].tobytes()
    return figures


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", help="where to write; the system's folder if left out")
    options = parser.parse_args()
    for size, count in SAMPLES.items():
        images = drawings(size, count)
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            folders = {name: Path(folder) / str(k) for k, name in enumerate(FORMATS)}
            written = {n: write(format, images, folders[n]) for n, format in FORMATS.items()}
            rows = [
                {"format": name} | read(format, images, folders[name])
                for _ in range(options.repeats)
                for name, format in FORMATS.items()
            ]
        table = pd.DataFrame(rows).groupby("format", sort=False).median()
        table = table.join(pd.DataFrame(written).T)
        print(f"\n{count:,} samples of {size}×{size}×3, medians of {options.repeats}")
        print(table.map("{:,.2f}".format).to_string())


if __name__ == "__main__":
    main()
