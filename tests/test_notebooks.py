"""The notebooks: alike in form, run from top to bottom, and true to their own outputs."""

import ast
import re
from pathlib import Path

import nbformat
import pytest
from nbconvert import HTMLExporter

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDE = (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8")
ENGLISH = sorted((ROOT / "notebooks").glob("*.ipynb"))
NOTEBOOKS = [*ENGLISH, *sorted((ROOT / "notebooks").glob("??/*.ipynb"))]
EVERY_NOTEBOOK = pytest.mark.parametrize(
    "path", NOTEBOOKS, ids=[str(path.relative_to(ROOT / "notebooks")) for path in NOTEBOOKS]
)
EVERY_ENGLISH_NOTEBOOK = pytest.mark.parametrize(
    "path", ENGLISH, ids=[path.stem for path in ENGLISH]
)
ENDING = ["Exercises", "What was learnt", "Three questions", "Where to read on"]
FOLDED = re.compile(r"<details>.*?</details>", re.DOTALL)


def cells_of(path, kind=None):
    cells = nbformat.read(path, 4).cells
    return [cell for cell in cells if kind in (None, cell.cell_type)]


def text_of(path):
    return "\n\n".join(cell.source for cell in cells_of(path, "markdown"))


def tags_of(cell):
    return set(cell.metadata.get("tags", []))


def outputs_of(path):
    return [output for cell in cells_of(path, "code") for output in cell.outputs]


def printed(output):
    return str(output.get("text", "")) + str(output.get("data", {}).get("text/plain", ""))


@EVERY_NOTEBOOK
def test_a_notebook_is_listed_in_the_guide_and_on_the_first_page(path):
    assert path.stem.replace("_", " ", 1) in ENGLISH[0].read_text(encoding="utf-8")
    assert f"]({path.relative_to(ROOT / 'notebooks').as_posix()})" in GUIDE
    if re.match(r"\d\d_", path.stem):  # side lessons have a letter
        assert f"]({path.relative_to(ROOT).as_posix()})" in README


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


@EVERY_NOTEBOOK
def test_a_notebook_has_one_question_and_at_most_45_cells(path):
    assert len(cells_of(path)) <= 45


@EVERY_NOTEBOOK
def test_jupyterlab_finds_its_own_notes_in_a_notebook(path):
    """Without them it adds them, and calls a notebook changed that was only opened."""
    metadata = nbformat.read(path, 4).metadata
    assert metadata.kernelspec.name == "python3"
    assert metadata.language_info.pygments_lexer == "ipython3"
    assert "widgets" not in metadata  # widgets without their kernel: "model not found"


@EVERY_ENGLISH_NOTEBOOK
def test_a_notebook_begins_with_what_it_is_for(path):
    first = cells_of(path)[0].source
    assert re.match(r"# \d\d[a-z]? · \S", first)
    (aims,) = re.findall(r"\*\*Afterwards you can\*\*\n\n((?:- .*\n(?:  .*\n)*)+)", first)
    assert len(re.findall(r"^- ", aims, re.MULTILINE)) == 3
    assert "**You need**" in first
    rows = re.findall(r"^\| (.*?) \| (\d+) \|$", first, re.MULTILINE)
    headings = re.findall(r"^## (.*)$", text_of(path), re.MULTILINE)
    assert [name for name, _ in rows] == [*headings[: -len(ENDING)], "Exercises"]
    minutes = sum(int(number) for _, number in rows)
    assert re.search(rf"{path.name}\).*\| {minutes} min \|$", GUIDE, re.MULTILINE), minutes
    (seconds,) = re.findall(r"It runs\sin\sabout\s(\d+) s\.", first)
    if re.match(r"\d\d_", path.stem):
        row = rf"{path.name}\).*\| {seconds} s \| {minutes} min \|$"
        assert re.search(row, README, re.MULTILINE), (seconds, minutes)


@EVERY_ENGLISH_NOTEBOOK
def test_a_notebook_ends_with_what_was_learnt_three_questions_and_where_to_read_on(path):
    text = text_of(path)
    assert re.findall(r"^## (.*)$", text, re.MULTILINE)[-len(ENDING) :] == ENDING
    questions = text.split("## Three questions")[1].split("## Where to read on")[0]
    answers = FOLDED.findall(questions)
    assert len(answers) == 3
    for answer in answers:
        for letter in "abc":
            assert re.search(rf"\*\*{letter}\*\*", answer), (letter, answer)
    assert "](http" in text.split("## Where to read on")[1]


@EVERY_ENGLISH_NOTEBOOK
def test_an_exercise_has_a_task_a_cell_a_hint_and_a_solution(path):
    cells = cells_of(path)
    positions = [i for i, cell in enumerate(cells) if "exercise" in tags_of(cell)]
    number = path.stem.split("_")[0]
    assert 2 <= len(positions) <= 4
    for count, i in enumerate(positions, start=1):
        above, cell, below = cells[i - 1 : i + 2]
        assert re.search(rf"^### Exercise {number}\.{count} · \S", above.source, re.MULTILINE)
        assert re.search(rf'check_exercise\(\s*"{number}\.{count}", ', cell.source)
        assert re.findall("<summary>(.*?)</summary>", below.source) == ["Hint", "Solution"]
        assert f"Exercise {number}.{count}: still to do." in "".join(map(printed, cell.outputs))


@EVERY_ENGLISH_NOTEBOOK
def test_a_guess_has_a_cell_and_is_compared_with_what_was_measured(path):
    code = cells_of(path, "code")
    guesses = [i for i, cell in enumerate(code) if "guess" in tags_of(cell)]
    for start, end in zip(guesses, [*guesses[1:], len(code)], strict=True):
        assert re.search(r"^guess = \.\.\.( +#.*)?$", code[start].source, re.MULTILINE)
        below = "\n".join(cell.source for cell in code[start + 1 : end])
        assert re.search(r"compare_guess\(\s*guess,", below), code[start].source
    asked = len(re.findall(r"[Bb]efore you run", FOLDED.sub("", text_of(path))))
    assert asked <= len(guesses)


@EVERY_NOTEBOOK
def test_a_cell_to_write_has_a_stub_that_runs_and_a_check(path):
    cells = cells_of(path)
    for i, cell in enumerate(cells):
        if "solution" in tags_of(cell):
            ast.parse(cell.metadata["stub"])
            assert "..." in cell.metadata["stub"]
            after = next(later for later in cells[i + 1 :] if later.cell_type == "code")
            assert "checked(" in after.source
            assert ": right." in "".join(map(printed, after.outputs))


@EVERY_NOTEBOOK
def test_every_figure_has_a_text_that_says_what_it_shows(path):
    for cell in cells_of(path, "code"):
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                text = output.metadata.get("image/png", {}).get("alt", "")
                assert len(text.split()) >= 5, (cell.source, text)


@EVERY_NOTEBOOK
def test_a_page_of_nbconverts_has_the_texts_of_all_figures(path):
    page, _ = HTMLExporter(template_name="classic").from_filename(str(path))
    assert "No description has been provided" not in page


@EVERY_ENGLISH_NOTEBOOK
def test_one_word_for_one_thing(path):
    """What is read from files is an image, what is drawn of numbers a figure; see the glossary."""
    prose = re.sub(r"`[^`]*`|\]\([^)]*\)|```.*?```", "", text_of(path), flags=re.DOTALL)
    assert not re.findall(r"\b[Pp]ictures?\b|\b[Tt]his page\b", prose)


@EVERY_ENGLISH_NOTEBOOK
@pytest.mark.parametrize(
    "word", ["GIL", "pickle", "shared memory", "hand-over", "lanes?", "PSS", "queue"]
)
def test_a_word_of_the_trade_leads_to_the_glossary_where_it_comes_first(path, word):
    prose = re.sub(r"^#.*$|```.*?```|`[^`]*`", "", text_of(path), flags=re.DOTALL | re.MULTILINE)
    prose = re.sub(r"\]\((?!README\.md#glossary)[^)]*\)", "]", prose)  # no names of files
    if first := re.search(rf"\b{word}\b", prose):
        linked = re.match(r"[\w ,-]*\]\(README\.md#glossary\)", prose[first.start() :])
        assert linked, prose[first.start() - 40 : first.end() + 40]


@EVERY_ENGLISH_NOTEBOOK
def test_measurements_in_the_text_are_those_of_the_outputs(path):
    """A sentence with a time or a rate is printed by a cell, or comes from one as it stands."""
    shown = "\n".join(map(printed, outputs_of(path)))
    prose = FOLDED.sub("", "\n".join(cell.source for cell in cells_of(path, "markdown")[1:]))
    for number in re.findall(r"(\d[\d.,]*) (?:images/s|ms|µs)\b", prose):
        assert number in shown, number


@EVERY_NOTEBOOK
def test_every_file_and_heading_that_a_notebook_links_to_exists(path):
    for target, heading in re.findall(r"\]\(([^)#\s]+)#?([^)\s]*)\)", text_of(path)):
        if target.startswith("http"):
            continue
        assert (path.parent / target).exists(), target
        if heading:
            page = (path.parent / target).read_text(encoding="utf-8")
            headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
            assert heading in [text.lower().replace(" ", "-") for text in headings], heading
