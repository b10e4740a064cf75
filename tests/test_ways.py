"""The ways through the class that notebooks/README.md names: their cells run without the others."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
GUIDE = (NOTEBOOKS / "README.md").read_text(encoding="utf-8")


def ways():
    """(name of the way, notebook, its sections) of each row of the guide's tables."""
    for name, table in re.findall(
        r"^### (90 minutes|Half a day)\n(.*?)(?=^##)", GUIDE, re.M | re.S
    ):
        for file, sections in re.findall(r"^\| \[.*?\]\((.*?)\) \| (.*?) \|", table, re.MULTILINE):
            yield name, NOTEBOOKS / file, sections.split("; ")


ROWS = list(ways())
OF_90_MINUTES = {path: sections for name, path, sections in ROWS if name == "90 minutes"}


def by_section(notebook):
    """Pairs of (heading, cell); what stands above the first heading has none."""
    heading = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and (
            found := re.search(r"^## (.*)$", cell.source, re.MULTILINE)
        ):
            heading = found[1]
        yield heading, cell


def test_there_are_two_ways_beside_the_whole_and_their_sections_exist():
    assert {name for name, *_ in ROWS} == {"90 minutes", "Half a day"}
    for _, path, sections in ROWS:
        headings = {heading for heading, _ in by_section(nbformat.read(path, 4))}
        assert set(sections) <= headings, (path.name, set(sections) - headings)


def test_a_section_begins_with_its_heading_where_the_one_before_is_left_out():
    """Or the last words about cells that nobody has seen come before it, on its slide, too."""
    for _, path, sections in ROWS:
        before = ""
        for heading, cell in by_section(nbformat.read(path, 4)):
            if heading in sections and before not in (heading, *sections):
                assert cell.source.startswith(f"## {heading}"), (path.name, cell.source)
            before = heading


# Two ways may have the same row, which is run once.
DIFFERENT = {(path, tuple(sections)): name for name, path, sections in ROWS}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "sections"),
    DIFFERENT,
    ids=[f"{name}-{path.stem}".replace(" ", "-") for (path, _), name in DIFFERENT.items()],
)
def test_the_cells_of_a_way_run_without_the_others(path, sections):
    notebook = nbformat.read(path, 4)
    notebook.cells = [
        cell
        for heading, cell in by_section(notebook)
        if heading in ("", *sections) or "setup" in cell.metadata.get("tags", [])
    ]
    where = {"metadata": {"path": str(NOTEBOOKS)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=where).execute()


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_the_slides_are_those_of_the_90_minutes(path):
    """``jupyter nbconvert --to slides`` leaves the other cells out."""
    sections = OF_90_MINUTES.get(path, [])
    for position, (heading, cell) in enumerate(by_section(nbformat.read(path, 4))):
        kind = cell.metadata.get("slideshow", {}).get("slide_type", "")
        shown = heading in sections or (position == 0 and sections)
        assert (kind in ("slide", "subslide", "fragment", "-")) == bool(shown), cell.source
