"""What the project says of itself: its pages, requirements and notebooks."""

import ast
import re
import textwrap
import tomllib
from pathlib import Path

import grimp
import keras
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
HELPERS_README = (ROOT / "helpers" / "README.md").read_text(encoding="utf-8")
TESTS_README = (ROOT / "tests" / "README.md").read_text(encoding="utf-8")
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob(".github/*.md"))]
PAGES += [ROOT / folder / "README.md" for folder in ("data", "helpers", "notebooks", "tests")]
WINGS = [path.parent for path in sorted((ROOT / "helpers").glob("*/__init__.py"))]
EVERY_WING = pytest.mark.parametrize("wing", WINGS, ids=[wing.name for wing in WINGS])


def requirement_lines(folder="."):
    lines = (ROOT / folder / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_every_requirement_has_an_exact_version_and_a_reason():
    *pinned, last = requirement_lines()
    assert last == "-e ."
    for line in [*pinned, *requirement_lines("notebooks"), *requirement_lines("tests/benchmarks")]:
        assert re.fullmatch(r"[\w\[\],-]+==[\w.]+ +# \S.*", line), line


def test_the_workflow_for_windows_runs_the_readmes_test_command():
    *_, command = re.findall(r"```sh\n(pip install .*?)\n```", README, re.DOTALL)
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert "pytest" in command
    assert textwrap.indent(command, " " * 10) in workflow


def test_what_the_package_needs_is_pinned():
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = {re.match(r"[\w-]+", name)[0] for name in metadata["project"]["dependencies"]}
    pinned = {line.split("==")[0] for line in requirement_lines()}
    assert needed <= pinned


def test_every_test_that_is_named_exists():
    named = re.findall(r"\[`(test_\w+)`\]\(([\w/]+\.py)\)", TESTS_README)
    assert len(named) > 50
    for function, file in named:
        assert f"def {function}(" in (ROOT / "tests" / file).read_text(encoding="utf-8"), function


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_file_that_a_page_links_to_exists(page):
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_every_heading_that_a_page_links_to_exists():
    for page in PAGES:
        for target, heading in re.findall(r"\]\(([^)#]*)#([^)]+)\)", page.read_text("utf-8")):
            linked = (page.parent / target if target else page).read_text(encoding="utf-8")
            headings = [
                line.strip("# ").lower() for line in linked.splitlines() if "# " in line[:5]
            ]
            assert heading in [text.replace(" ", "-") for text in headings], (page, heading)


def test_readme_stays_short():
    lines = README.splitlines()
    assert len(lines) <= 150
    assert max(map(len, lines)) <= 120


def test_the_ranges_of_values_of_models_are_those_of_keras():
    rows = re.findall(r"^\| ([a-z\d_, ]+) \| .*? \| (.*) \|$", README, re.MULTILINE)
    first = {name: layer.strip("`") for names, layer in rows for name in names.split(", ")}
    modules = {
        name: module
        for name, module in vars(keras.applications).items()
        if hasattr(module, "preprocess_input") and name not in ("imagenet_utils", "resnet50")
    }
    assert first.keys() == modules.keys()
    values = np.linspace(0, 255, 8, dtype=np.float32).reshape(1, 2, 4, 1).repeat(3, axis=3)
    for name, module in modules.items():
        expected = module.preprocess_input(values.copy())
        if first[name] == "nothing":
            np.testing.assert_array_equal(values, expected)
        elif "Rescaling" in first[name]:
            np.testing.assert_allclose(eval(first[name])(values), expected, atol=1e-6)
        else:  # of grey it makes three values, by the mean of each colour
            assert len(set(expected[0, 0, 0].round(3))) == 3


def test_models_that_want_0_to_255_scale_by_themselves():
    """From 0 to 1 they would see nearly nothing, and say nothing."""
    for make in ("EfficientNetB0", "EfficientNetV2B0", "ConvNeXtTiny", "MobileNetV3Small"):
        model = getattr(keras.applications, make)(weights=None, input_shape=(64, 64, 3))
        assert {"Rescaling", "Normalization"} & {type(layer).__name__ for layer in model.layers}


@EVERY_WING
def test_a_wing_says_what_it_is_for_and_its_files_are_in_the_guide(wing):
    docstring = ast.get_docstring(ast.parse((wing / "__init__.py").read_text(encoding="utf-8")))
    assert 3 <= len([line for line in docstring.splitlines() if line]) <= 6
    (row,) = re.findall(rf"^\| \[{wing.name}\].*$", HELPERS_README, re.MULTILINE)
    for path in wing.glob("[!_]*.py"):
        assert f"`{path.stem}`" in row, path.stem


@EVERY_WING
def test_every_file_has_its_test_file(wing):
    for path in wing.glob("[!_]*.py"):
        assert (ROOT / "tests" / wing.name / f"test_{path.name}").exists(), path


def test_the_guide_draws_the_arrows_that_there_are():
    """Those that pass a folder by are left out: there is another way along the drawn ones."""
    drawn = set()
    for start, ends in re.findall(r"^ +(\w+)\[.*?\] --> (.*)$", HELPERS_README, re.MULTILINE):
        drawn |= {(start, re.match(r"\w+", end)[0]) for end in ends.split(" & ")}
    graph = grimp.build_graph("helpers")
    pairs = ((a, b) for a in graph.modules for b in graph.find_modules_directly_imported_by(a))
    used = {tuple(f"{name}.".split(".")[1] for name in pair) for pair in pairs}
    used = {(a, b) for a, b in used if a and b and a not in (b, "__main__")}
    assert {(start, end) for start, end in drawn if start != "main"} <= used
    reached = set(drawn)
    while more := {(a, d) for a, b in reached for c, d in drawn if b == c} - reached:
        reached |= more
    assert used <= reached


def test_every_benchmark_stands_on_its_page():
    for path in (ROOT / "tests" / "benchmarks").glob("*.py"):
        if path.stem not in ("decoding", "ways"):  # parts of speed.py
            assert f"python tests/benchmarks/{path.name}" in TESTS_README, path.name
