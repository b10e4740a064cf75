"""What the project says of itself: README, requirements and notebooks."""

import re
import tomllib
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
EVERY_NOTEBOOK = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])


def requirement_lines(folder="."):
    lines = (ROOT / folder / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_every_requirement_has_an_exact_version_and_a_reason():
    *pinned, last = requirement_lines()
    assert last == "-e ."
    for line in [*pinned, *requirement_lines("notebooks"), *requirement_lines("tests/benchmarks")]:
        assert re.fullmatch(r"[\w\[\],-]+==[\w.]+ +# \S.*", line), line


def test_the_workflow_for_windows_runs_the_readmes_test_command():
    (command,) = re.findall(r"^pip install .* && pytest.*$", README, re.MULTILINE)
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert f"- run: {command}\n" in workflow


def test_what_the_package_needs_is_pinned():
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = {re.match(r"[\w-]+", name)[0] for name in metadata["project"]["dependencies"]}
    pinned = {line.split("==")[0] for line in requirement_lines()}
    assert needed <= pinned


def test_every_test_that_the_readme_names_exists():
    named = re.findall(r"`([\w/]*test_\w+\.py)::(\w+)`", README)
    assert len(named) > 10
    for file, function in named:
        assert f"def {function}(" in (ROOT / "tests" / file).read_text(encoding="utf-8"), function


def test_every_file_that_the_readme_links_to_exists():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_module_is_in_the_readme():
    for path in (ROOT / "helpers").glob("[!_]*.py"):
        assert f"`{path.stem}`" in README, path.stem


@EVERY_NOTEBOOK
def test_a_notebook_is_listed_in_the_readme_and_on_the_first_page(path):
    assert f"notebooks/{path.name}" in README
    assert path.stem.replace("_", " ", 1) in NOTEBOOKS[0].read_text(encoding="utf-8")


@EVERY_NOTEBOOK
def test_a_notebook_was_run_from_top_to_bottom(path):
    code = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert max(len(cell.source.splitlines()) for cell in code) <= 25


@EVERY_NOTEBOOK
def test_a_notebook_shows_no_path_of_a_machine_and_no_warning(path):
    for cell in nbformat.read(path, 4).cells:
        for output in cell.get("outputs", []):
            assert output.get("name") != "stderr", cell.source
            text = str(output.get("text", "")) + str(output.get("data", {}).get("text/plain", ""))
            text += "".join(output.get("traceback", []))
            found = re.search(r"site-packages|/home/|/root/|/tmp/|[A-Z]:\\|Warning", text)
            assert not found, (cell.source, found)
            if output.output_type == "error":
                assert "raises-exception" in cell.metadata.get("tags", []), cell.source


@EVERY_NOTEBOOK
def test_a_notebook_runs_where_the_sample_was_not_drawn_yet(path):
    """There the cell that loads it writes a progress bar, which no comparison expects."""
    for cell in nbformat.read(path, 4).cells:
        assert not ("NBVAL_CHECK_OUTPUT" in cell.source and "load_sample(" in cell.source)
