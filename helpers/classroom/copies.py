"""Copies of the notebooks to work in, and a table of what is right in one."""

import os
import platform
import re
import subprocess
from pathlib import Path

import nbformat
import pandas as pd
from nbclient import NotebookClient
from tqdm.auto import tqdm

from helpers.datasets.writing import write_whole

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
SECONDS_A_CELL = 600
_STATE = re.compile(r"^Exercise (\w+\.\w+): (right|not yet|still to do)\. ?(.*)$", re.MULTILINE)


def copy(folder: str | Path, with_solutions: bool = False) -> tuple[list[Path], list[Path]]:
    """Copy the notebooks, without outputs, and with stubs where the student is to write.

    Parameters
    ----------
    folder : str or Path
        Where to; made if it is not there. A notebook that is there already stays as it is.
    with_solutions : bool, default False
        Keep what the stubs stand for, and write each exercise's solution into its cell.

    Returns
    -------
    copied, kept : list of Path
        The notebooks that are new in `folder`, and those that were there.

    Raises
    ------
    OSError
        If `folder` cannot be written.
    """
    copied, kept = [], []
    for source in sorted(NOTEBOOKS.rglob("*.ipynb")):
        if ".ipynb_checkpoints" in source.parts:
            continue
        target = Path(folder) / source.relative_to(NOTEBOOKS)
        if target.exists():  # never over what a student wrote
            kept.append(target)
            continue
        notebook = to_work_in(nbformat.read(source, 4), with_solutions)
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = linked_from(target.parent, cell.source, source.parent)
        target.parent.mkdir(parents=True, exist_ok=True)
        # Whole, or half a notebook is kept by the next copy as what a student wrote.
        write_whole(target, nbformat.writes(notebook).encode())
        copied.append(target)
    return copied, kept


def to_work_in(notebook: nbformat.NotebookNode, with_solutions: bool) -> nbformat.NotebookNode:
    """Take the outputs away, and put stubs, or solutions, where the student is to write.

    A cell with the tag ``solution`` becomes its metadata's ``stub``. One with the tag
    ``exercise`` is a stub as it stands; its solution is in a folded part of the text below.
    """
    for cell, below in zip(notebook.cells, [*notebook.cells[1:], None], strict=True):
        if cell.cell_type != "code":
            continue
        cell.outputs, cell.execution_count = [], None
        tags = cell.metadata.get("tags", [])
        if "solution" in tags and not with_solutions:
            cell.source = cell.metadata["stub"]
        if "exercise" in tags and with_solutions:
            cell.source = solved(cell.source, below.source)
    # As this Python's kernel will say it: JupyterLab calls a notebook changed if it differs.
    notebook.metadata.setdefault("language_info", {})["version"] = platform.python_version()
    return notebook


def linked_from(place: Path, text: str, origin: Path) -> str:
    """Have links to files, other than notebooks, lead there from another folder.

    Parameters
    ----------
    place : Path
        The folder of the copy.
    text : str
        Markdown.
    origin : Path
        The folder of the notebook that is copied.
    """

    def moved(link: re.Match) -> str:
        target, heading = link[1], link[2] or ""
        if target.endswith(".ipynb") or ":" in target:
            return link[0]
        path = os.path.relpath(origin / target, place)
        return f"]({Path(path).as_posix()}{heading})"

    return re.sub(r"\]\(([^)#\s]+)(#[^)\s]*)?\)", moved, text)


def solved(exercise: str, text_below: str) -> str:
    """Put the solution from the text below into the cell of an exercise, and keep its check.

    Parameters
    ----------
    exercise : str
        The cell's source, whose last lines, from ``check_exercise(`` on, are the check.
    text_below : str
        Markdown whose last folded part has a fence of Python.
    """
    solution = text_below.rpartition("<summary>")[2]
    (code,) = re.findall(r"^```python\n(.*?)^```", solution, re.DOTALL | re.MULTILINE)
    return code + "\n" + exercise[exercise.index("check_exercise(") :]


def check(folder: str | Path) -> pd.DataFrame:
    """Run a copy's notebooks, and tabulate what is right in them.

    Parameters
    ----------
    folder : str or Path
        A folder of `copy`. Nothing is written to it.

    Returns
    -------
    pandas.DataFrame
        A row for each exercise: ``notebook``, ``exercise``, ``state``, and ``what``, what is wrong.
        A cell that failed has a row of its own; what stands below it was not run.

    Raises
    ------
    FileNotFoundError
        If there are no notebooks in `folder`.
    """
    paths = sorted(Path(folder).glob("*.ipynb"))
    if not paths:
        raise FileNotFoundError(
            f"there are no notebooks in {folder}; make copies with "
            f"`python -m helpers.classroom copy {folder}`"
        )
    rows = [row for path in tqdm(paths, unit="notebook") for row in _run(path)]
    return pd.DataFrame(rows, columns=["notebook", "exercise", "state", "what"])


def _run(path: Path) -> list[tuple[str, str, str, str]]:
    notebook = nbformat.read(path, 4)
    where = {"metadata": {"path": str(path.parent)}}
    client = NotebookClient(
        notebook, timeout=SECONDS_A_CELL, allow_errors=True, kernel_name="python3", resources=where
    )
    client.execute(stderr=subprocess.DEVNULL)  # what a kernel says of itself is no news here
    return [
        (path.stem, *state)
        for cell in notebook.cells
        if cell.cell_type == "code"
        for state in _states(cell)
    ]


def _states(cell: nbformat.NotebookNode) -> list[tuple[str, str, str]]:
    printed = "".join(output.get("text", "") for output in cell.outputs)
    states = _STATE.findall(printed)
    meant = "raises-exception" in cell.metadata.get("tags", [])
    for output in cell.outputs:
        if output.output_type == "error" and not meant:
            states.append(
                ("", "failed", f"{output.ename}: {output.evalue} in {cell.source[:60]!r}")
            )
    return states
