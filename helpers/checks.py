"""Is this machine ready, and is this sequence correct."""

import hashlib
import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from typing import NamedTuple

import keras
import numpy as np
from tqdm import tqdm  # unlike tqdm.auto, it shows nothing before the delay

from helpers.datasets.writing import DATA_DIR

PYTHON_VERSIONS = ((3, 11), (3, 14))  # from, and before
LIBRARIES = ("keras", "tensorflow", "numpy", "opencv-python-headless", "scikit-image", "matplotlib")
SAMPLE_BYTES = 20_000_000

Finding = tuple[bool, str, str]  # is it right, what was looked at, what was seen


def check_machine() -> bool:
    """Say whether this machine can run the class, with [OK] or [FAIL] before each line.

    Returns
    -------
    bool
        Whether everything is as it should be.
    """
    return _report(_machine_findings())


def check_sequence(sequence: keras.utils.PyDataset) -> bool:
    """Say whether a sequence keeps the contract that ``fit`` relies on.

    Every batch is made twice, so this takes as long as two epochs.

    Parameters
    ----------
    sequence : keras.utils.PyDataset
        Batches of (images, labels).

    Returns
    -------
    bool
        Whether everything is as it should be.
    """
    return _report(_sequence_findings(sequence))


def _report(findings: Iterator[Finding]) -> bool:
    everything = True
    for right, what, seen in findings:
        print(f"{'[OK]  ' if right else '[FAIL]'} {what}: {seen}")
        everything &= right
    return everything


def _machine_findings() -> Iterator[Finding]:
    first, beyond = PYTHON_VERSIONS
    right = first <= sys.version_info[:2] < beyond
    wanted = "" if right else f" (wanted: {first[0]}.{first[1]} to {beyond[0]}.{beyond[1] - 1})"
    yield right, "Python", platform.python_version() + wanted
    for name in LIBRARIES:
        try:
            yield True, name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield False, name, "not installed: run pip install -r requirements.txt"
    backend = keras.backend.backend()
    yield backend == "tensorflow", "Keras's backend", backend
    yield True, "processor cores", str(os.cpu_count())
    yield _data_folder_finding()


def _data_folder_finding() -> Finding:
    try:
        with tempfile.TemporaryFile(dir=DATA_DIR):
            free = shutil.disk_usage(DATA_DIR).free
    except OSError as error:
        return False, "folder for the data", f"cannot be written ({error.strerror})"
    right = free > SAMPLE_BYTES
    return right, "folder for the data", f"can be written, {free / 1e9:.0f} GB free"


class BatchFacts(NamedTuple):
    """What is remembered of a batch: never its images, which may not fit in memory."""

    images: int
    labels: int
    shape: tuple[int, ...]
    dtype: str
    finite: bool
    digest: str


def _sequence_findings(sequence: keras.utils.PyDataset) -> Iterator[Finding]:
    try:
        length = len(sequence)
    except TypeError as error:
        yield False, "length", f"{error} (wrap np.ceil(...) in int(...))"
        return
    yield length > 0, "length", f"{length} batches"
    if length == 0:
        return
    try:
        facts = [
            _facts(sequence[index])
            for index in tqdm(range(length), "reading", leave=False, delay=10)
        ]
    except (TypeError, ValueError) as error:
        yield False, "each batch", f"should be (images, labels), two arrays: {error}"
        return
    yield True, "each batch", "(images, labels)"
    yield _lengths_finding(facts)
    yield _one_shape_finding({fact.shape for fact in facts})
    yield _dtype_finding({fact.dtype for fact in facts})
    finite = all(fact.finite for fact in facts)
    yield finite, "values", "all finite" if finite else "some are infinite or not a number"
    backwards = tqdm(reversed(range(length)), "reading again", length, leave=False, delay=10)
    same = all(_facts(sequence[index]) == facts[index] for index in backwards)
    seen = "gives the same batches" if same else "gives other batches: they depend on the order"
    yield same, "asked again, backwards", seen


def _facts(batch: tuple) -> BatchFacts:
    images, labels = batch
    images, labels = np.ascontiguousarray(images), np.ascontiguousarray(labels)
    digest = hashlib.blake2b(images.data)
    digest.update(labels.data)
    kind = images.shape[1:], str(images.dtype), bool(np.isfinite(images).all())
    return BatchFacts(len(images), len(labels), *kind, digest.hexdigest())


def _lengths_finding(facts: list[BatchFacts]) -> Finding:
    first, last = facts[0].images, facts[-1].images
    for index, fact in enumerate(facts):
        if fact.images != fact.labels or fact.images == 0:
            seen = f"batch {index} has {fact.images} images and {fact.labels} labels"
            return False, "samples", seen
        if fact.images != first and index < len(facts) - 1:
            seen = f"batch {index} has {fact.images} images, others have {first}"
            return False, "samples", seen
    total = sum(fact.images for fact in facts)
    seen = f"{total:,} images, {first} in a batch, {last} in the last"
    return last <= first, "samples", seen


def _one_shape_finding(shapes: set[tuple[int, ...]]) -> Finding:
    return len(shapes) == 1, "shape of an image", " and ".join(map(str, sorted(shapes)))


def _dtype_finding(dtypes: set[str]) -> Finding:
    seen = " and ".join(sorted(dtypes))
    if "float64" in dtypes:
        seen += ": twice the memory of the float32 that Keras computes in"
    return dtypes <= {"float32", "uint8"} and len(dtypes) == 1, "type of the values", seen
