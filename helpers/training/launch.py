"""Several trainers on this machine, compared with one: ``python -m helpers.training.launch``.

Two trainers (`helpers.training.hosts`) train, each on its share of every step, and then one alone
on whole steps; their weights are compared. If a trainer dies, all begin again from the last
backup.
"""

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

TRAINER = [sys.executable, "-m", "helpers.training.hosts"]
TRIES = 3  # of a training
SILENCE = 120.0  # seconds without the end of an epoch after which all trainers have hung


def main(arguments: list[str] | None = None) -> None:
    """Start several trainers, compare them with one, and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m helpers.training.launch",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--count", type=int, default=2, metavar="N", help="trainers; default: 2")
    add("--batch-size", type=int, default=32, metavar="N", help="of each trainer; default: 32")
    add("--epochs", type=int, default=3, metavar="N", help="default: 3")
    options = parser.parse_args(arguments)
    if min(vars(options).values()) < 1:
        parser.error("--count, --batch-size and --epochs must be at least 1")
    try:
        with tempfile.TemporaryDirectory() as folder:
            table = compare(Path(folder), **vars(options))
    except RuntimeError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped")
    print(f"\n{table.to_string(float_format='{:,.3g}'.format)}")


def compare(folder: Path, count: int = 2, batch_size: int = 32, epochs: int = 3) -> pd.DataFrame:
    """Train with several trainers on this machine, then with one, and compare.

    Parameters
    ----------
    folder : pathlib.Path
        For backups, logs and results.
    count, batch_size, epochs : int
        Trainers, images in a batch of each, and epochs.

    Returns
    -------
    pandas.DataFrame
        A row for each trainer and one for the single one: images in a batch, steps and images
        in an epoch, how many of these another trainer has too, seconds of an epoch (the median
        without the first), and the largest difference of a weight to the single one's.

    Raises
    ------
    RuntimeError
        If trainers died in each of `TRIES` tries.
    """
    several = launch(folder / "several", count, batch_size, epochs)
    (single,) = launch(folder / "single", 1, count * batch_size, epochs)
    rows = {f"trainer {index} of {count}": _row(several, index) for index in range(count)}
    rows["one alone"] = _row([single], 0)
    for row, result in zip(rows.values(), [*several, single], strict=True):
        row["difference"] = np.abs(result["weights"] - single["weights"]).max()
    return pd.DataFrame.from_dict(rows, orient="index")


def _row(results: list[dict], index: int) -> dict:
    """Sum up what one of the trainers of a run did."""
    result = results[index]
    seconds = result["seconds"]
    others = [trainer["samples"] for trainer in results if trainer is not result]
    return {
        "batch": result["batch"],
        "steps": result["steps"],
        "images": len(result["samples"]),
        "shared": int(np.isin(result["samples"], others).sum()),
        "s/epoch": np.median(seconds[1:] if len(seconds) > 1 else seconds),
    }


def launch(folder: Path, count: int, batch_size: int, epochs: int) -> list[dict]:
    """Train with `count` processes on this machine; if one dies, go on from the last backup.

    Parameters
    ----------
    folder, count, batch_size, epochs
        As in `compare`; and so is what is raised.

    Returns
    -------
    list of dict
        What `helpers.training.hosts.train` saved, for each trainer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    print(f"{count} trainer{'s' * (count > 1)}, batches of {batch_size}", flush=True)
    for attempt in range(1, TRIES + 1):
        problem = _try(folder, count, batch_size, epochs)
        if problem is None:
            return [dict(np.load(folder / f"trainer-{index}.npz")) for index in range(count)]
        print(f"try {attempt} of {TRIES}: {problem}", flush=True)
    raise RuntimeError(f"training failed {TRIES} times, last because {problem}")


def _try(folder: Path, count: int, batch_size: int, epochs: int) -> str | None:
    """Start all trainers and wait for them; what went wrong, if anything did."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()  # free; trainer 0 will take it
    options = {"address": f"{host}:{port}", "count": count, "batch-size": batch_size}
    options |= {"epochs": epochs, "folder": folder}
    command = [*TRAINER, "--listen", *(f"--{name}={value}" for name, value in options.items())]
    # Trainers on one machine could not share a GPU: JAX takes all of its memory.
    settings = {**os.environ, "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
    logs = [folder / f"trainer-{index}.log" for index in range(count)]
    with contextlib.ExitStack() as stack:
        trainers = []
        for index, path in enumerate(logs):
            log = stack.enter_context(path.open("w"))
            trainer = subprocess.Popen(
                [*command, f"--index={index}"],
                stdin=subprocess.PIPE,  # ends with this process, however that ends
                stdout=log,
                stderr=log,
                env=settings,
            )
            stack.callback(_end, trainer)
            trainers.append(trainer)
        return _watch(trainers, logs)


def _watch(trainers: list[subprocess.Popen], logs: list[Path]) -> str | None:
    """Pass on what the first trainer reports until all have ended well, or one has not."""
    heard, told = time.monotonic(), 0
    while time.monotonic() - heard < SILENCE:
        codes = [trainer.poll() for trainer in trainers]
        epochs = [line for line in logs[0].read_text().splitlines() if line.startswith("epoch")]
        for line in epochs[told:]:
            heard = time.monotonic()
            print(f"  {line}", flush=True)
        told = len(epochs)
        for index, code in enumerate(codes):
            if code:
                how = signal.Signals(-code).name if code < 0 else _last_line(logs[index])
                return f"trainer {index} ended with {how}"
        if None not in codes:
            return None
        time.sleep(0.05)
    return f"no epoch ended for {SILENCE:.0f} s"


def _last_line(log: Path) -> str:
    return (log.read_text().splitlines() or ["no word"])[-1]


def _end(trainer: subprocess.Popen) -> None:
    """End a trainer that may wait for a dead one, and would not listen to less."""
    trainer.kill()
    trainer.communicate()


if __name__ == "__main__":
    main()
