"""Each exercise of the notebooks, solved, left as it is, and with mistakes that are often made."""

import contextlib
import functools
import importlib.util
import io
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from helpers.classroom import check_exercise, checked
from helpers.classroom.copies import NOTEBOOKS, solved
from helpers.classroom.exercises import is_unwritten

PAGES = Path(__file__).with_name("pages")


def run(source, namespace, printed=None):
    with (
        contextlib.redirect_stdout(printed if printed is not None else io.StringIO()),
        contextlib.chdir(NOTEBOOKS),
    ):
        exec(compile(source, "a cell", "exec"), namespace)


@functools.lru_cache(maxsize=40)
def after(cells):
    """Return what there is when these cells were run; once, for all that is tried after them."""
    namespace = {"__name__": "__main__"}
    if cells:
        namespace.update(after(cells[:-1]))
        run(cells[-1], namespace)
    return namespace


class Place:
    """Where something is to be written: the cells before it, and how it is checked."""

    def __init__(self, path, cells, position):
        self.path, self.position, self.cell = path, position, cells[position]
        setup = [c.source for c in cells[:position] if "setup" in c.metadata.get("tags", [])]
        self.before = tuple(setup)
        if "exercise" in self.cell.metadata.tags:
            source, below = self.cell.source, cells[position + 1].source
            self.check = source[source.index("check_exercise(") :]
            self.stub = source[: source.index("check_exercise(")]
            self.solution = solved(source, below).replace(self.check, "")
        else:
            self.check = next(c.source for c in cells[position + 1 :] if c.cell_type == "code")
            self.stub, self.solution = self.cell.metadata["stub"], self.cell.source
        self.number = re.search(r'(?:check_exercise|checked)\(\s*"([\w.]+)"', self.check)[1]

    def states(self, written):
        """Run what stands before, what was written, and the check; return what is printed of it."""
        namespace, printed = dict(after(self.before)), io.StringIO()
        run(written, namespace)
        run(self.check, namespace, printed)
        return re.findall(
            r"^Exercise [\w.]+: (right|not yet|still to do)\.", printed.getvalue(), re.M
        )


def places():
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        cells = nbformat.read(path, 4).cells
        for position, cell in enumerate(cells):
            if {"exercise", "solution"} & set(cell.metadata.get("tags", [])):
                yield Place(path, cells, position)


def mistakes(number):
    path = PAGES / f"page_{number.split('.')[0]}.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.MISTAKES[number]


ALL = list(places())
EVERY_PLACE = pytest.mark.parametrize("place", ALL, ids=[place.number for place in ALL])


@EVERY_PLACE
def test_an_exercise_knows_what_is_right_and_what_is_not(place):
    assert place.states(place.stub) == ["still to do"]
    assert place.states(place.solution) == ["right"]
    typical = mistakes(place.number)
    assert len(typical) >= 2
    for mistake in typical:
        assert place.states(mistake) == ["not yet"], mistake


def test_the_finished_augment_of_the_exam_brings_no_tensorflow_to_workers():
    """They import the file that it is in."""
    code = "import sys, helpers.classroom.pages.page_10; print('keras' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_every_exercise_has_a_number_of_its_own():
    numbers = [place.number for place in ALL]
    assert len(set(numbers)) == len(numbers)
    for place in ALL:
        assert place.number.split(".")[0] == place.path.stem.split("_")[0]


def test_what_is_not_written_yet_is_told_from_what_is():
    def empty():
        """Only a docstring."""

    class Half:
        def __len__(self):
            return 1

        def __getitem__(self, idx): ...

    class Whole:
        size = 3

        def __len__(self):
            return self.size

    assert all(is_unwritten(answer) for answer in (..., empty, Half, (1, ...)))
    assert not any(is_unwritten(answer) for answer in (None, 0, len, Whole, lambda: 1, [1]))


def test_an_unknown_exercise_is_an_error():
    with pytest.raises(ValueError, match=r"no exercise '99.1'"):
        check_exercise("99.1", 3)


def test_what_an_answer_raises_is_what_is_wrong(capsys):
    def raises(*_):
        raise KeyError("lost")

    from helpers.classroom import exercises

    exercises.exercise("01.test", finished=lambda: "finished")(lambda answer: answer())
    try:
        assert checked("01.test", raises) == "finished"
        assert "not yet. It ended with KeyError: 'lost'" in capsys.readouterr().out
        assert checked("01.test", empty := lambda: None) == "finished", empty
        right = print
        assert checked("01.test", right) is right
    finally:
        del exercises._EXERCISES["01.test"]
