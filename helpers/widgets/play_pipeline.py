"""Turn the knobs of the pipeline."""

import ipywidgets
from matplotlib.figure import Figure

from helpers import arguments
from helpers.profiling.simulation import simulate
from helpers.widgets.playground import Playground, slider

COUNTS = ("workers", "cores", "queue")
TIMES = ("read", "decode", "hand_over", "step")
MOST_WORKERS = 16
"""The sliders of workers, cores and queue end here, or where they start if that is more."""
LONGEST_MS = 200.0
"""The sliders of times end here, or at twice the longest time that they start with."""


def play_pipeline(
    *,
    read: float = 0.010,
    decode: float = 0.060,
    hand_over: float = 0.005,
    step: float = 0.040,
    workers: int = 1,
    cores: int = 4,
    queue: int = 10,
    batches: int = 24,
    batch_size: int = 32,
    step_cores: float = 0.0,
) -> Playground:
    """Turn the knobs of the pipeline and see at once what becomes of the training.

    Nothing is run: each picture is the timeline that `helpers.simulate` computes.

    Parameters
    ----------
    read, decode, hand_over, step : float
        Seconds per batch that the sliders start with: reading files, decoding and resizing,
        handing over to the model, a training step. The sliders show milliseconds.
    workers, cores, queue : int
        What the other sliders start with, as in `helpers.simulate`.
    batches, batch_size : int
        Batches in the picture, and images in each.
    step_cores : float
        Cores that a training step keeps busy: 0 with a GPU.

    Returns
    -------
    Playground
        As the last line of a cell it is shown. Beneath the picture stand images/s, the share
        of time in which training waits, and what limits the run. Where no widgets run, its
        picture is shown.

    Raises
    ------
    TypeError, ValueError
        If a number is wrong; the message says what was received.

    Examples
    --------
    >>> play_pipeline(decode=0.310, step=0.040)  # the article's class: 10 ms an image
    """
    settings = dict(locals())
    simulate(**settings)  # refuses wrong numbers here; in a slider's callback nobody would see it

    def draw(**moved: float) -> tuple[Figure, str]:
        seconds = {name: moved[name] / 1000 for name in TIMES}
        spans = simulate(**settings | moved | seconds)
        rate = f"{spans.summary()['images/s']:,.0f} images/s"
        diagnosis = spans.diagnose()
        words = " ".join([f"{rate}.", *diagnosis.text.splitlines()[:2]])
        return spans.plot(f"{rate}; limit: {diagnosis.limit}"), words

    controls = {}
    for name in COUNTS:
        count = arguments.whole_number(name, settings[name], at_least=1)
        controls[name] = slider(name, count, 1, max(MOST_WORKERS, count))
    milliseconds = {name: 1000 * float(settings[name]) for name in TIMES}
    longest = max(LONGEST_MS, 2 * max(milliseconds.values()))
    for name, value in milliseconds.items():
        label = f"{name.replace('_', '-')} (ms)"
        lowest = min(1, value) if name == "step" else 0
        controls[name] = slider(label, value, lowest, longest)
    columns = [ipywidgets.VBox([controls[name] for name in names]) for names in (COUNTS, TIMES)]
    return Playground(controls, draw, [ipywidgets.HBox(columns, layout={"flex_flow": "row wrap"})])
