import re
import shutil
import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from helpers.classroom import copies
from helpers.classroom.__main__ import main

SOLUTION = """<details><summary>Hint</summary>

How many are left?

</details>
<details><summary>Solution</summary>

```python
last_batch = 20
```

</details>
"""
EXERCISE = 'last_batch = ...\n\ncheck_exercise("02.1", last_batch)'


def code(source, *tags, **metadata):
    return new_code_cell(source, metadata={"tags": list(tags), **metadata})


@pytest.fixture
def notebooks(tmp_path, monkeypatch):
    """A class of one notebook and a translation of it."""
    output = new_output("stream", text="63 batches")
    cells = [
        code("def batches(images): return 63", "solution", stub="def batches(images): ..."),
        new_code_cell("print(batches(2000))", outputs=[output], execution_count=2),
        code(EXERCISE, "exercise"),
        new_markdown_cell(SOLUTION),
    ]
    folder = tmp_path / "notebooks"
    for name in ("02_a.ipynb", "zh/02_a.ipynb", ".ipynb_checkpoints/02_a-checkpoint.ipynb"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(new_notebook(cells=cells), folder / name)
    monkeypatch.setattr(copies, "NOTEBOOKS", folder)
    return folder


def sources(path):
    return [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]


def test_a_copy_has_stubs_and_no_outputs(notebooks, tmp_path):
    copied, kept = copies.copy(tmp_path / "mine")
    assert [str(path.relative_to(tmp_path / "mine")) for path in copied] == [
        "02_a.ipynb",
        str(notebooks.__class__("zh") / "02_a.ipynb"),
    ]
    assert kept == []
    assert sources(copied[0]) == ["def batches(images): ...", "print(batches(2000))", EXERCISE]
    for cell in nbformat.read(copied[0], 4).cells:
        assert cell.get("outputs", []) == [] and cell.get("execution_count") is None


def test_a_teachers_copy_has_everything_written(notebooks, tmp_path):
    (path, _), _ = copies.copy(tmp_path / "mine", with_solutions=True)
    assert sources(path) == [
        "def batches(images): return 63",
        "print(batches(2000))",
        'last_batch = 20\n\ncheck_exercise("02.1", last_batch)',
    ]


def test_what_a_student_wrote_is_never_overwritten(notebooks, tmp_path):
    mine = tmp_path / "mine"
    copies.copy(mine)
    (mine / "02_a.ipynb").write_text("what a student wrote")
    (mine / "zh" / "02_a.ipynb").unlink()
    copied, kept = copies.copy(mine)
    assert (mine / "02_a.ipynb").read_text() == "what a student wrote"
    assert copied == [mine / "zh" / "02_a.ipynb"] and kept == [mine / "02_a.ipynb"]


def test_links_of_a_copy_lead_to_the_files_that_the_notebooks_link_to(tmp_path):
    copied, _ = copies.copy(tmp_path / "somewhere" / "else")
    links = 0
    for path in copied:
        for cell in nbformat.read(path, 4).cells:
            for target in re.findall(
                r"\]\(([^)#\s]+)", cell.source * (cell.cell_type == "markdown")
            ):
                if ":" not in target:
                    assert (path.parent / target).exists(), (path.name, target)
                    links += 1
    assert links > 50


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of file sizes there")
def test_a_copy_that_breaks_off_leaves_no_half_notebook(notebooks, tmp_path):
    """It would be kept, by the next copy, as what a student wrote."""
    import resource  # Windows has none

    limit = 100  # bytes that may be written to a file
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            copies.copy(tmp_path / "mine")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list((tmp_path / "mine").rglob("*.ipynb")) == []


def test_a_checked_copy_says_what_is_right_what_is_not_and_what_failed(tmp_path):
    cells = [
        code("from helpers.classroom import check_exercise"),
        code('print("Exercise 02.1: right.")'),
        code('print("some words"); print("Exercise 02.2: not yet. It is 30.")'),
        code("raise KeyError('meant')", "raises-exception"),
        code("1 / 0"),
        code('print("Exercise 02.3: still to do.")'),
    ]
    nbformat.write(new_notebook(cells=cells), tmp_path / "02_a.ipynb")
    before = (tmp_path / "02_a.ipynb").read_bytes()
    table = copies.check(tmp_path)
    assert table["state"].tolist() == ["right", "not yet", "failed", "still to do"]
    assert table["exercise"].tolist() == ["02.1", "02.2", "", "02.3"]
    assert table["what"][1] == "It is 30."
    assert table["what"][2] == "ZeroDivisionError: division by zero in '1 / 0'"
    assert set(table["notebook"]) == {"02_a"}
    assert (tmp_path / "02_a.ipynb").read_bytes() == before


def test_a_folder_without_notebooks_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no notebooks in .*helpers\.classroom copy"):
        copies.check(tmp_path)


@pytest.mark.slow
def test_a_copy_that_nobody_wrote_in_runs_to_its_end_and_says_what_is_to_do(tmp_path):
    copies.copy(tmp_path / "all")
    (tmp_path / "one").mkdir()
    shutil.copy(tmp_path / "all" / "02_cifar10_sequence.ipynb", tmp_path / "one")
    table = copies.check(tmp_path / "one")
    assert "02.A" in table["exercise"].tolist()
    assert set(table["state"]) == {"still to do"}, table.to_string()


def test_the_command_copies_and_says_what_it_kept(notebooks, tmp_path, capsys):
    mine = tmp_path / "mine"
    assert main(["copy", str(mine)]) == 0
    assert f"2 notebooks are new in {mine}." in capsys.readouterr().out
    assert main(["copy", str(mine), "--with-solutions"]) == 0
    assert "2 were there already, and left alone" in capsys.readouterr().out


def test_the_command_prints_a_table_and_fails_if_something_is_not_right(tmp_path, capsys):
    why = "It leaves out the last. " * 8 + "See?"
    cells = [
        code('print("Exercise 02.1: right.")'),
        code(f'print("Exercise 02.2: not yet. {why}")'),
    ]
    nbformat.write(new_notebook(cells=cells), tmp_path / "02_a.ipynb")
    assert main(["--check", str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "1 of 2 right." in printed and why in printed  # nothing is cut off
    nbformat.write(new_notebook(cells=cells[:1]), tmp_path / "02_a.ipynb")
    assert main(["--check", str(tmp_path)]) == 0


def test_the_command_says_in_one_line_what_is_wrong(tmp_path, capsys):
    assert main(["--check", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    (tmp_path / "file").write_text("")
    assert main(["copy", str(tmp_path / "file" / "mine")]) == 1
    assert "Not a directory" in capsys.readouterr().err


def test_the_command_without_words_says_what_it_can_do():
    command = [sys.executable, "-m", "helpers.classroom"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "--with-solutions" in done.stdout
