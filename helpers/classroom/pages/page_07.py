"""What is right in the exercises of notebook 07."""

import os
import tempfile
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from pathlib import Path

import cv2
import numpy as np

from helpers.arguments import kind_of
from helpers.classroom.exercises import exercise
from helpers.images.reading import ImageError, read_image

PATIENCE = 3.0  # seconds for what should take a fifth of one


@exercise("07.1")
def broken_files(broken: Iterable[str | os.PathLike], delivered: list[str]) -> str | None:
    """Ask for the names of the files that cannot be read."""
    if isinstance(broken, int | str | os.PathLike):
        return "Give a list of names, even if you find only one."
    named = {Path(name) for name in broken}
    right = {Path(name) for name in delivered if not _is_readable(name)}
    if strange := named - {Path(name) for name in delivered}:
        return f"{min(strange).name!r} is no name in `delivered`; the names have their folder."
    if fine := named - right:
        return f"{min(fine).name} can be read. Is it among what the generator left out?"
    if len(named) < len(right):
        return f"Those are {len(named)}, and there are more. Did all batches come?"
    return None


def _is_readable(name: str) -> bool:
    try:
        read_image(name)
    except ImageError:
        return False
    return True


@exercise("07.2")
def twelve_bits(read_12_bits: Callable) -> str | None:
    """Ask for a reader of files with 12 of 16 bits."""
    meant = np.zeros((6, 8, 3), np.uint8)
    meant[..., 0], meant[:3, :, 1], meant[0, 0] = np.arange(8) * 30, 90, 255
    with tempfile.TemporaryDirectory() as folder:
        name = str(Path(folder) / "camera.png")
        deep = meant.astype(np.uint16) * 16 + np.where(meant > 0, 15, 0).astype(np.uint16)
        cv2.imwrite(name, deep[..., ::-1])  # OpenCV writes blue first
        came = read_12_bits(name)
    return _what_is_wrong_with(came, meant)


def _what_is_wrong_with(came: object, meant: np.ndarray) -> str | None:
    if not isinstance(came, np.ndarray):
        return f"It returned {kind_of(came)}, not an array."
    if came.shape != meant.shape:
        return f"An image of shape {meant.shape} came out with shape {came.shape}."
    if came.dtype != np.uint8:
        return f"The values have the type {came.dtype}."
    wrong = np.abs(came.astype(int) - meant)
    if wrong.max() <= 1:
        return None
    if np.abs(came[..., ::-1].astype(int) - meant).max() <= 1:
        return "Red and blue have changed places."
    if came.max() < 100:
        return f"Still dark: the brightest white of the camera came out as {came.max()}."
    place = tuple(int(i) for i in np.unravel_index(wrong.argmax(), wrong.shape))
    return (
        f"Of 12 bits, a value of {int(meant[place]) * 16:,} came out as {came[place]}. Do all "
        "values keep their order, and does none begin again at 0?"
    )


@exercise("07.3")
def limit_of_time(take: Callable) -> str | None:
    """Ask for a function that waits for a future, and not for ever."""
    ready: Future = Future()
    ready.set_result("batch 3")
    failed: Future = Future()
    failed.set_exception(OSError("half.png is cut off"))
    late: Future = Future()
    threading.Timer(0.2, late.set_result, ("batch 5",)).start()
    ended, came = _call(take, ready, 1, "batch 3")
    if came != "batch 3":
        return f"For a batch that was ready it gave {came!r}."
    ended, came = _call(take, late, PATIENCE, "batch 5")
    if came != "batch 5":
        return f"For a batch that came in time, if not at once, it gave {came!r}."
    ended, came = _call(take, failed, 1, "batch 4")
    if not (isinstance(came, OSError) and "half.png" in str(came)):
        return f"Where a worker found a broken file, {came!r} arrived."
    never: Future = Future()
    ended, came = _call(take, never, 0.1, "batch 7")
    never.cancel()  # whoever waits still can go home
    if not ended:
        return f"It still waited after {PATIENCE:g} s for a batch that had 0.1 s to come."
    if not isinstance(came, TimeoutError):
        return f"For a batch that did not come it gave {came!r}."
    if "batch 7" not in str(came):
        return f"The error says {str(came)!r}: of which batch?"
    return None


def _call(function: Callable, *arguments: object) -> tuple[bool, object]:
    """Return whether a call ended in time, and what it returned or raised."""
    came: list = []

    def call():
        try:
            came.append(function(*arguments))
        except Exception as error:
            came.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return bool(came), came[0] if came else None
