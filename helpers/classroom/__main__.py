"""``python -m helpers.classroom``: copies of the notebooks to work in, and their check."""

import argparse
import sys
from pathlib import Path

from helpers.arguments import counted
from helpers.classroom import copies

FOLDER = copies.NOTEBOOKS.parent / "my-notebooks"


def main(arguments: list[str] | None = None) -> int:
    """Copy the notebooks or check a copy; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m helpers.classroom", description=__doc__)
    parser.add_argument("command", nargs="?", choices=["copy"], help="make copies")
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER, help="where to")
    parser.add_argument(
        "--with-solutions", action="store_true", help="for teachers: everything is written"
    )
    parser.add_argument("--check", type=Path, metavar="FOLDER", help="run a copy: what is right?")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.check:
            return _check(chosen.check)
        if chosen.command:
            return _copy(chosen.folder, chosen.with_solutions)
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    parser.print_help()
    return 2


def _copy(folder: Path, with_solutions: bool) -> int:
    if with_solutions and folder == FOLDER:
        folder = folder.with_name("solved-notebooks")
    copied, kept = copies.copy(folder, with_solutions)
    print(f"{counted(len(copied), 'notebook is', 'notebooks are')} new in {folder}.")
    if kept:
        there = counted(len(kept), "was there already", "were there already")
        print(f"{there}, and left alone. For a new copy of one,")
        print("give yours another name, and copy again.")
    print(f"Now open them: jupyter lab {folder}")
    return 0


def _check(folder: Path) -> int:
    table = copies.check(folder)
    print(table.to_string(index=False))
    right = int((table["state"] == "right").sum())
    asked = int((table["state"] != "failed").sum())
    print(f"\n{right} of {asked} right.")
    return 0 if right == len(table) else 1


if __name__ == "__main__":
    sys.exit(main())
