"""Ways into the class: Binder, a dev container, forms, bots, and notebooks in other languages."""

import ast
import json
import re
from pathlib import Path

import nbformat
import pytest
import yaml

from helpers.checks import PYTHON_VERSIONS
from helpers.classroom.copies import to_work_in

ROOT = Path(__file__).parents[1]
GITHUB = ROOT / ".github"
NOTEBOOKS = ROOT / "notebooks"
ENGLISH = sorted(NOTEBOOKS.glob("*.ipynb"))
TRANSLATIONS = sorted(NOTEBOOKS.glob("??/*.ipynb"))
EVERY_TRANSLATION = pytest.mark.parametrize(
    "path", TRANSLATIONS, ids=[str(path.relative_to(NOTEBOOKS)) for path in TRANSLATIONS]
)
REQUIREMENTS = [
    ROOT / "requirements.txt",
    *NOTEBOOKS.glob("requirements.txt"),
    *(ROOT / "tests").glob("*/requirements.txt"),
]


def read(path):
    return path.read_text(encoding="utf-8")


def form(path):
    return yaml.safe_load(read(path))


def is_tested(version):
    first, beyond = PYTHON_VERSIONS
    return first <= tuple(map(int, version.split("."))) < beyond


def code(path):
    return [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]


# ---- where the class runs without an installation of one's own -----------------------------------


def test_a_dev_container_installs_what_the_readme_installs():
    container = json.loads(read(ROOT / ".devcontainer" / "devcontainer.json"))
    assert is_tested(re.search(r"python:1-(3\.\d+)-", container["image"])[1])
    assert container["postCreateCommand"] in read(ROOT / "README.md")
    for name in re.findall(r"\S+\.txt", container["postCreateCommand"]):
        assert (ROOT / name).exists()
    opened = container["customizations"]["codespaces"]["openFiles"]
    assert opened and all((ROOT / name).exists() for name in opened)


def test_binder_installs_the_project_in_a_python_that_is_tested():
    folder = ROOT / ".binder"
    assert is_tested(re.fullmatch(r"python-(3\.\d+)\n", read(folder / "runtime.txt"))[1])
    lines = [line for line in read(folder / "requirements.txt").splitlines() if line[0] != "#"]
    included = [re.fullmatch(r"-r (\S+)", line)[1] for line in lines]
    assert ROOT / "requirements.txt" in [(folder / name).resolve() for name in included]
    assert not (ROOT / "binder").exists()  # with both, Binder takes neither


@pytest.mark.parametrize("path", ENGLISH, ids=[path.stem for path in ENGLISH])
def test_a_notebook_installs_what_it_needs_where_it_is_not_there(path):
    """With `-r ../requirements.txt`, pip would look for its `-e .` in the notebook's folder."""
    first = code(path)[0]
    assert first.metadata.get("tags") == ["install"]
    more = re.escape(" -r ../notebooks/requirements.txt")
    assert re.search(rf"%pip install --quiet -e \.\.({more})?\n", first.source)
    assert 'sys.path.append("..")' in first.source  # or only the next kernel finds it


# ---- what GitHub reads ---------------------------------------------------------------------------


def test_the_form_asks_for_the_notebook_the_cell_and_what_was_expected():
    (path,) = (GITHUB / "ISSUE_TEMPLATE").glob("*.yml")
    asked = form(path)
    assert asked["name"] == "Something is not clear" and asked["description"]
    fields = {field["id"]: field for field in asked["body"]}
    assert len(fields) == len(asked["body"])
    for field in fields.values():
        assert field["type"] in ("input", "textarea") and field["attributes"]["label"]
    required = {
        name for name, field in fields.items() if field.get("validations", {}).get("required")
    }
    assert required == {"notebook", "cell", "expected"}
    assert (NOTEBOOKS / f"{fields['notebook']['attributes']['placeholder']}.ipynb").exists()


def test_new_versions_are_looked_for_wherever_versions_are_pinned():
    bot = form(GITHUB / "dependabot.yml")
    assert bot["version"] == 2
    kinds = {update["package-ecosystem"]: update for update in bot["updates"]}
    assert kinds.keys() == {"pip", "github-actions"}
    folders = [ROOT / folder.lstrip("/") for folder in kinds["pip"]["directories"]]
    assert sorted(folders) == sorted(path.parent for path in REQUIREMENTS)
    assert kinds["github-actions"]["directory"] == "/"


@pytest.mark.parametrize("name", ["ci.yml", "links.yml"])
def test_a_workflow_names_a_version_of_each_action(name):
    workflow = form(GITHUB / "workflows" / name)
    for job in workflow["jobs"].values():
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step)
            assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step.get("uses", "a/b@v1"))


def test_links_to_the_web_are_looked_at_every_week_in_all_texts():
    workflow = form(GITHUB / "workflows" / "links.yml")
    assert {"pull_request", "schedule"} <= workflow[True].keys()  # YAML takes "on" for true
    *_, write, check = workflow["jobs"]["web"]["steps"]
    written = {path for name in re.findall(r"\S+\.ipynb", write["run"]) for path in ROOT.glob(name)}
    assert written == {
        path for path in NOTEBOOKS.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts
    }
    globs = re.findall(r"'([^']+)'", check["with"]["args"])
    looked_at = {path for name in globs for path in ROOT.glob(name)}
    pages = {*ROOT.glob("*.md"), *GITHUB.glob("*.md"), *ROOT.glob("[a-z]*/README.md")}
    assert pages - {*ROOT.glob("*-notebooks/*")} <= looked_at
    texts = {path.with_suffix(".md") for path in written}
    assert all(any(path.match(name) for name in globs) for path in texts)


# ---- notebooks in other languages ----------------------------------------------------------------


def code_and_words(source):
    """Code without its strings, and the strings: a translation changes sentences in them."""
    lines = [line.replace("../..", "..") for line in source.splitlines()]
    lines = [re.sub(r"^( *)%(.*)$", r"\1'%\2'", line) for line in lines]
    tree, words = ast.parse("\n".join(lines)), []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            node.values = [part for part in node.values if isinstance(part, ast.FormattedValue)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            words.append(node.value)
            node.value = ""
    return ast.dump(tree), words


def check_code(ours, theirs):
    (our_code, our_words), (their_code, their_words) = map(code_and_words, (ours, theirs))
    assert our_code == their_code
    for our, their in zip(our_words, their_words, strict=True):
        assert our == their or " " in their, (our, their)  # a single word is most often a name


def test_there_is_a_notebook_in_chinese():
    assert NOTEBOOKS / "zh" / "00_start_here.ipynb" in TRANSLATIONS


@EVERY_TRANSLATION
def test_a_translation_has_the_cells_of_the_english_one(path):
    english = nbformat.read(NOTEBOOKS / path.name, 4).cells
    translated = nbformat.read(path, 4).cells
    assert [cell.cell_type for cell in translated] == [cell.cell_type for cell in english]
    for ours, theirs in zip(translated, english, strict=True):
        assert ours.metadata.get("tags") == theirs.metadata.get("tags"), theirs.source
        if theirs.cell_type == "code":
            check_code(ours.source, theirs.source)
            first = [cell.source.startswith("# NBVAL_CHECK_OUTPUT\n") for cell in (ours, theirs)]
            assert first[0] == first[1]
        else:
            for mark in ("\n## ", "\n### ", "<details>", "](", "```", "\n| ", "\n- "):
                assert f"\n{ours.source}".count(mark) == f"\n{theirs.source}".count(mark), (
                    mark,
                    theirs.source,
                )


@EVERY_TRANSLATION
def test_a_copy_with_solutions_has_those_of_a_translation(path):
    for ours, theirs in zip(code_of_copy(path), code_of_copy(NOTEBOOKS / path.name), strict=True):
        check_code(ours, theirs)


def code_of_copy(path):
    notebook = to_work_in(nbformat.read(path, 4), with_solutions=True)
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]
