"""Is this machine ready, and is this sequence correct."""

import hashlib
import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
from tqdm import tqdm  # unlike tqdm.auto, it shows nothing before the delay

from helpers.arguments import counted
from helpers.datasets.writing import data_folder, other_folder

PROJECT = Path(__file__).resolve().parents[1]
PYTHON_VERSIONS = ((3, 11), (3, 14))  # from, and before
LIBRARIES = ("keras", "tensorflow", "numpy", "opencv-python-headless", "scikit-image", "matplotlib")
SAMPLE_BYTES = 20_000_000

PARTS = ("x", "y", "sample_weight")
WORDS = {"x": "images", "y": "labels"}  # what they are called where each is one array
RANGES = (
    (0, 1, ""),
    (-1, 1, ""),
    (-10, 10, ", as standardized images have"),
    (0, 255, ""),
    (-128, 152, ", as 0 to 255 without its mean has (preprocess_input of ResNet and VGG)"),
)
EXPECTED = (
    "models expect 0 to 1, -1 to 1 or 0 to 255. Where you read, divide by the largest value that "
    "a file may hold (255, 4095, 65535), or use keras.layers.Rescaling or Normalization"
)

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
        Batches as Keras takes them: images alone, (x, y), or (x, y, sample_weight), each an
        array or a dict, tuple or list of arrays. Images are the first array of x with four
        dimensions, masks those arrays of y that have the images' height and width.

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
            yield False, name, f'not installed: run %pip install -e "{PROJECT}", restart the kernel'
    backend = keras.backend.backend()
    yield backend == "tensorflow", "Keras's backend", backend
    yield True, "processor cores", str(os.cpu_count())
    yield _data_folder_finding()


def _data_folder_finding() -> Finding:
    what, folder = "folder for the data", data_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free
    except OSError as error:
        seen = f"{folder} cannot be written ({error.strerror})"
        return False, what, f"{seen}. Allow it, or {other_folder(folder)}"
    if free < SAMPLE_BYTES:
        seen = f"{free / 1e6:.0f} MB free in {folder}, {SAMPLE_BYTES / 1e6:,.0f} MB needed"
        return False, what, f"{seen}. Free some space, or {other_folder(folder)}"
    return True, what, f"can be written, {free / 1e9:.0f} GB free"


@dataclass
class Seen:
    """What is remembered of an array: never its values, which may not fit in memory."""

    counts: list[int] = field(default_factory=list)
    shapes: set[tuple[int, ...]] = field(default_factory=set)  # of one entry
    dtypes: set[str] = field(default_factory=set)
    low: float = np.inf
    high: float = -np.inf
    finite: bool = True
    whole: list[float] = field(default_factory=list)  # share of values that are whole numbers

    def add(self, array: np.ndarray) -> None:
        """Take in the array of one more batch."""
        self.counts.append(len(array))
        self.shapes.add(array.shape[1:])
        text = array.dtype.kind in "US"  # each batch's dtype is as long as its longest word
        self.dtypes.add("text" if text else str(array.dtype))
        numbers = np.zeros(1) if text or array.size == 0 else array
        low, high = float(numbers.min()), float(numbers.max())
        self.finite &= bool(np.isfinite([low, high]).all())
        self.low, self.high = min(self.low, low), max(self.high, high)
        self.whole.append(float(np.mean(numbers == np.rint(numbers))))

    @property
    def range(self) -> str:
        """The least and the largest value, to print."""
        low, high = (f"{x:.3g}" if abs(x) < 1000 else f"{x:.0f}" for x in (self.low, self.high))
        return f"{low} to {high}"


def _sequence_findings(sequence: keras.utils.PyDataset) -> Iterator[Finding]:
    try:
        length = len(sequence)
    except TypeError as error:
        yield False, "length", f"{error} (wrap np.ceil(...) in int(...))"
        return
    yield length > 0, "length", counted(length, "batch", "batches")
    if length == 0:
        return
    seen: dict[str, Seen] = {}
    digests: list[str] = []
    try:
        for index in tqdm(range(length), "reading", leave=False, delay=10):
            arrays = _arrays(sequence[index])
            seen = seen or {name: Seen() for name in arrays}
            if arrays.keys() != seen.keys():
                raise ValueError(f"batch {index} has {_names(arrays)}, batch 0 has {_names(seen)}")
            for name, array in arrays.items():
                seen[name].add(array)
            digests.append(_digest(arrays))
        images = _name_of_images(seen)
    except (TypeError, ValueError) as error:
        yield False, "each batch", str(error)
        return
    yield True, "each batch", _names(seen)
    yield from _array_findings(seen, images)
    backwards = tqdm(reversed(range(length)), "reading again", length, leave=False, delay=10)
    same = all(_digest(_arrays(sequence[index])) == digests[index] for index in backwards)
    again = "gives the same batches" if same else "gives other batches: they depend on the order"
    yield same, "asked again, backwards", again


def _arrays(batch) -> dict[str, np.ndarray]:
    """Arrays of a batch, by names such as x, y['boxes'] and sample_weight."""
    if isinstance(batch, tuple | list) and len(batch) > len(PARTS):
        raise ValueError(f"expected (x, y, sample_weight) at most, received {len(batch)} parts")
    arrays = {}
    parts = keras.utils.unpack_x_y_sample_weight(batch)
    for part, structure in zip(PARTS, parts, strict=True):
        for path, array in keras.tree.flatten_with_path(structure):
            name = part + "".join(f"[{key!r}]" for key in path)
            if array is None:
                continue
            arrays[name] = np.asarray(array)
            if arrays[name].ndim == 0 or arrays[name].dtype == object:
                seen = f"{name} is {array!r:.60}, no array of numbers"
                raise ValueError(f"{seen} (make lists arrays, with np.array(...))")
    return arrays


def _digest(arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.blake2b()
    for name, array in arrays.items():
        digest.update(f"{name} {array.shape} {array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _names(arrays: Iterable[str]) -> str:
    return "(" + ", ".join(WORDS.get(name, name) for name in arrays) + ")"


def _name_of_images(seen: dict[str, Seen]) -> str:
    inputs = {name: array.shapes for name, array in seen.items() if name.startswith("x")}
    for name, shapes in inputs.items():
        if all(len(shape) == 3 for shape in shapes):
            return name
    raise ValueError(
        "expected an array of (images, height, width, channels) in x, received entries of "
        + ", ".join(f"{shape} in {name}" for name, shapes in inputs.items() for shape in shapes)
    )


def _array_findings(seen: dict[str, Seen], images: str) -> Iterator[Finding]:
    yield _lengths_finding(seen, images)
    others = dict(seen)
    pictures = others.pop(images)
    yield _one_shape_finding(pictures.shapes)
    yield _dtype_finding(pictures.dtypes)
    for name, array in others.items():
        for what, kinds in (("shape", array.shapes), ("type", array.dtypes)):
            if len(kinds) > 1:
                differing = " and ".join(sorted(map(str, kinds)))
                yield False, f"{what} of {WORDS.get(name, name)}", differing
    wrong = [WORDS.get(name, name) for name, array in seen.items() if not array.finite]
    finite = "some are infinite or not a number: " + ", ".join(wrong) if wrong else "all finite"
    yield not wrong, "values", finite
    if wrong:  # there is no range then
        return
    yield _range_finding(pictures)
    mask_shapes = {shape[:2] for shape in pictures.shapes}
    mask_shapes |= {(*shape, 1) for shape in mask_shapes}
    for name, array in others.items():
        if name.startswith("y") and array.shapes <= mask_shapes:
            yield from _mask_findings(name, array)
        if name.startswith("sample_weight"):
            yield _weight_finding(name, array)


def _lengths_finding(seen: dict[str, Seen], images: str) -> Finding:
    counts = seen[images].counts
    for index, count in enumerate(counts):
        has = f"batch {index} has {counted(count, 'image')}"
        for name, array in seen.items():
            if array.counts[index] != count:
                other = array.counts[index]
                unlike = counted(other, "label") if name == "y" else f"{other} in {name}"
                return False, "samples", f"{has} and {unlike}"
        if count == 0:
            return False, "samples", has
        if count != counts[0] and index < len(counts) - 1:
            return False, "samples", f"{has}, others have {counts[0]}"
    total = f"{counted(sum(counts), 'image')}, {counts[0]} in a batch, {counts[-1]} in the last"
    return counts[-1] <= counts[0], "samples", total


def _one_shape_finding(shapes: set[tuple[int, ...]]) -> Finding:
    return len(shapes) == 1, "shape of an image", " and ".join(map(str, sorted(shapes)))


def _dtype_finding(dtypes: set[str]) -> Finding:
    seen = " and ".join(sorted(dtypes))
    if "float64" in dtypes:
        seen += ": twice the memory of the float32 that Keras computes in"
    return dtypes <= {"float32", "uint8"} and len(dtypes) == 1, "type of the values", seen


def _range_finding(images: Seen) -> Finding:
    what, low, high = "range of the images", images.low, images.high
    floats = any("float" in dtype for dtype in images.dtypes)
    if low == high:
        return False, what, f"{images.range}: there is nothing to see"
    if low >= 0 and high <= (1.01 / 255 if floats else 1):
        return False, what, f"{images.range}, nearly black: divided by 255 once too often?"
    for least, most, who in RANGES if floats else [(0, 255, "")]:
        rounding = 1e-6 * (most - least)  # of float32: resizing may end just above 1
        if least - rounding <= low and high <= most + rounding:
            return True, what, f"{images.range}, within {least} to {most}{who}"
    return False, what, f"{images.range}: {EXPECTED}"


def _mask_findings(name: str, masks: Seen) -> Iterator[Finding]:
    what = "masks" if name == "y" else f"masks {name}"
    whole = float(np.mean(masks.whole))
    if whole == 1:
        yield True, what, f"values {masks.range}, integers"
    elif whole > 0.5 and masks.high > 1:  # else it is depth, a probability, a picture to learn
        between = f"{100 * (1 - whole):.2g} % of the values lie between integers"
        yield False, what, f"{between}: a mask was blended: resize it with nearest neighbour"


def _weight_finding(name: str, weights: Seen) -> Finding:
    seen = weights.range
    if weights.low < 0:
        seen += ": none may be negative"
    elif weights.high == 0:
        seen += ": nothing would be learned"
    return weights.low >= 0 and weights.high > 0, name, seen
