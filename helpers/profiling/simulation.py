"""The data pipeline as arithmetic: what a run would do, without running it."""

from typing import Any

from helpers import arguments
from helpers.profiling.pipeline import Pipeline
from helpers.profiling.spans import Spans


def simulate(
    *,
    read: float = 0.0,
    decode: float,
    hand_over: float = 0.0,
    step: float,
    workers: int = 1,
    cores: int = 2,
    queue: int = 10,
    batches: int = 40,
    batch_size: int = 32,
    step_cores: float = 0.0,
) -> Spans:
    """Compute the timeline of one epoch of ``fit``, without running anything.

    The same arguments give the same spans, on every machine: there is no clock in it and no
    chance. All times are seconds for one batch, as one worker needs them that has a core to
    itself.

    Parameters
    ----------
    read : float
        Seconds in which a worker waits for the files, and uses no core.
    decode : float
        Seconds in which a worker then computes on one core: decode, resize and augment.
    hand_over : float
        Seconds of one core from the finished batch to the model: a copy, mostly.
    step : float
        Seconds of a training step.
    workers : int
        Threads or processes that make batches. 0 and 1 both mean one, as a thread of its own.
    cores : int
        Processor cores.
    queue : int
        ``max_queue_size``: batches that are made ahead. One worker makes one ahead, whatever it is.
    batches : int
        Batches in the epoch.
    batch_size : int
        Images in each batch.
    step_cores : float
        Cores that a training step keeps busy: 0 with a GPU, up to `cores` without.

    Returns
    -------
    Spans
        One epoch, from when the first batch is asked for. The workers are there already.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong; the message says what was received.

    Notes
    -----
    *Workers.* Batches are given out in order, each to the free worker with the lowest number. At
    most `queue` of them are ready or in work, with one worker it is one, besides the batch that is
    asked for.

    *Handing over.* A thread of TensorFlow asks for one batch after the other, waits until it is
    made, and hands it over, while the training goes on. It holds two more at most than the
    training has asked for.

    *Training.* It asks for a batch, waits until that is made ("wait") and handed over
    ("hand-over"), makes a step, and asks for the next one. (That is how `MY_Generator` works with
    Keras 3 on TensorFlow.)

    *Cores.* A worker reads and decodes in turns, image by image, so it wants decode/(read +
    decode) of a core; the hand-over wants one core, a step `step_cores`. If more are wanted than
    there are, all that want some go on at the same part of their speed, cores/wanted. The
    table lays a batch's reading and decoding end to end, as a measured timeline does; what it
    takes longer because cores are short counts as decoding.

    *Left out.* Batches that take longer than others, the start of the workers, what they
    spend on talking to each other, and Python's lock, for which threads wait.

    Examples
    --------
    >>> spans = simulate(read=0.030, decode=0.010, step=0.010, workers=4, cores=8)
    >>> spans.summary()["images/s"]
    >>> spans.plot()
    """
    times = {"read": read, "decode": decode, "hand_over": hand_over, "step": step}
    for name, value in times.items():
        # Without steps there would be no training whose speed could be told.
        times[name] = arguments.number(name, value, zero=name != "step")
    run: dict[str, Any] = {
        "workers": max(arguments.whole_number("workers", workers, at_least=0), 1),
        "cores": arguments.whole_number("cores", cores, at_least=1),
        "queue": arguments.whole_number("queue", queue, at_least=1),
        "step_cores": arguments.number("step_cores", step_cores),
    }
    batches = arguments.whole_number("batches", batches, at_least=1)
    batch_size = arguments.whole_number("batch_size", batch_size, at_least=1)
    table = Pipeline(**times, **run, batches=batches).run(batch_size)
    return Spans(table, **run, batch_cpu=times["decode"])
