"""What holds for every notebook, besides that its outputs are what its cells print (which nbval checks)."""

import ast
import contextlib
import io
import json
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from shathenet_utils import ROOT, records

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SANITIZE = Path(__file__).with_name("nbval_sanitize.cfg")

# Cells whose output differs by machine or by run; all others are compared. Keep it short.
IGNORED = {
    "00_start_here": ["environment", "live"],
    "01_first_network": ["data", "taste", "own-run"],
    "02_bigger": ["data", "taste"],
    "03_mixing_convolutions": ["data", "taste"],
    "04_yardstick": ["data", "cost-here", "inception"],
    "17_kernel_lens": ["data"],
    "24_how_fast": ["data", "own"],
}

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, as_version=4)


def code_cells(path):
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def texts(cell):
    """Every text that a cell's outputs hold, pictures left out."""
    for output in cell.outputs:
        for part in (output.get("text"), *output.get("data", {}).values()):
            if isinstance(part, str):
                yield re.sub(r"base64,[A-Za-z0-9+/=]+", "", part)


@each_notebook
def test_is_stored_in_the_committed_form(path):
    notebook = read(path)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    assert "widgets" not in notebook.metadata
    cells = code_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        assert "execution" not in cell.metadata
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr"
            assert "application/vnd.jupyter.widget-view+json" not in output.get("data", {})


@each_notebook
def test_names_no_path_of_a_machine(path):
    private = {str(ROOT), str(Path.home()), os.environ.get("SHATHENET_DATA", "")} - {"", "/"}
    for cell in code_cells(path):
        for text in texts(cell):
            assert not any(place in text for place in private), cell.id


@each_notebook
def test_only_the_listed_cells_are_not_compared_and_they_are_few(path):
    cells = code_cells(path)
    ignored = [cell.id for cell in cells if "nbval-ignore-output" in cell.metadata.get("tags", [])]
    assert ignored == IGNORED[path.stem]
    assert len(ignored) <= len(cells) / 10
    skipped = [
        cell.id for cell in cells if {"nbval-skip", "nbval-raises-exception"} & set(cell.metadata.get("tags", []))
    ]
    assert not skipped


@each_notebook
def test_cells_are_short_and_introduced(path):
    notebook = read(path)
    assert statistics.median(len(cell.source.splitlines()) for cell in code_cells(path)) <= 7
    assert max(len(line) for cell in code_cells(path) for line in cell.source.splitlines()) <= 104
    assert notebook.cells[0].cell_type == "markdown"


@each_notebook
def test_no_measured_number_is_typed(path):
    """Percentages and decimals in prose or in a cell's strings must be published ones, or computed."""
    published = {f"{100 * entry['value']:g}" for entry in records.published().values() if entry["value"]}
    allowed = published | {"95"}  # of a 95 % interval
    for cell in read(path).cells:
        prose = cell.source
        if cell.cell_type == "code":
            nodes = list(ast.walk(ast.parse(cell.source)))
            formats = [node.format_spec for node in nodes if isinstance(node, ast.FormattedValue) and node.format_spec]
            skipped = {id(part) for spec in formats for part in ast.walk(spec)}  # the .1% of an f-string
            strings = [node.value for node in nodes if isinstance(node, ast.Constant) and id(node) not in skipped]
            prose = "\n".join(value for value in strings if isinstance(value, str))
        prose = re.sub(r"\{[^{}]*\}", "", prose)  # {share:.1%} is a place for a number, not one
        found = re.findall(r"(\d+(?:\.\d+)?)\s?(?:%|per cent|points)", prose)
        assert set(found) <= allowed, f"{cell.id}: {set(found) - allowed}"


@each_notebook
def test_no_helper_is_defined_twice(path):
    names = [
        node.name
        for other in NOTEBOOKS
        for cell in code_cells(other)
        if "exercise" not in cell.metadata.get("tags", [])
        for node in ast.parse(cell.source).body
        if isinstance(node, ast.FunctionDef)
    ]
    assert len(names) == len(set(names))


def exercises():
    for path in NOTEBOOKS:
        cells = read(path).cells
        for number, cell in enumerate(cells):
            if "exercise" in cell.metadata.get("tags", []):
                yield pytest.param(path, cell, cells[number + 1], cells[:number], id=f"{path.stem}-{cell.id}")


def run_exercise(source, before):
    """What an exercise cell prints, after the imports of the cells before it."""
    imports = [
        ast.unparse(node)
        for cell in before
        if cell.cell_type == "code"
        for node in ast.parse(cell.source).body
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile("\n".join([*imports, source]), "exercise", "exec"), {"__name__": "__main__"})
    return printed.getvalue()


@pytest.mark.parametrize(("path", "cell", "solution", "before"), list(exercises()))
def test_an_unsolved_exercise_fails_politely_and_its_solution_passes(path, cell, solution, before):
    printed = run_exercise(cell.source, before)
    assert "is still open" in printed and "should give" in printed
    assert printed == "".join(output.text for output in cell.outputs)

    assert solution.source.startswith("<details>")
    answer = re.search(r"```python\n(.*?)```", solution.source, re.DOTALL)[1]
    given = {node.name: node for node in ast.parse(answer).body if isinstance(node, ast.FunctionDef)}
    solved = ast.parse(cell.source)
    stubs = [node for node in solved.body if isinstance(node, ast.FunctionDef) and node.name in given]
    assert stubs
    solved.body = [given.get(getattr(node, "name", None), node) for node in solved.body]
    assert "is right on" in run_exercise(ast.unparse(solved), before)


def nbval(path):
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--nbval",
        f"--nbval-sanitize-with={SANITIZE}",
        "-p",
        "no:cacheprovider",
    ]
    return subprocess.run(
        [*command, "-p", "no:xdist", "-o", "addopts=", path], capture_output=True, text=True, cwd=ROOT
    )


def shortened(path, keep, to):
    notebook = read(path)
    notebook.cells = [cell for cell in notebook.cells if cell.id in keep]
    for count, cell in enumerate(notebook.cells, 1):
        cell.execution_count = count
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = count
    nbformat.write(notebook, to)
    return notebook


def test_a_changed_output_fails(tmp_path):
    """nbval is as strict as it should be: a number changed in a stored output, or an alt text, is found."""
    keep = {"imports", "versions", "card-table", "balance", "ladder"}
    notebook = shortened(NOTEBOOKS[0], keep, tmp_path / "same.ipynb")
    same = nbval(tmp_path / "same.ipynb")
    assert same.returncode == 0, same.stdout
    for cell_id, old, new in (("balance", "1,000", "1,001"), ("ladder", "class mean", "class median")):
        changed = json.loads(json.dumps(notebook))
        for cell in changed["cells"]:
            if cell["id"] == cell_id:
                data = cell["outputs"][0]["data"]
                assert old in data["text/plain"]
                data["text/plain"] = data["text/plain"].replace(old, new)
        (tmp_path / "changed.ipynb").write_text(json.dumps(changed))
        assert nbval(tmp_path / "changed.ipynb").returncode == 1, cell_id


@pytest.mark.slow
@each_notebook
def test_prints_the_same_without_data_and_after_a_reader_has_guessed(path, tmp_path, monkeypatch):
    empty = tmp_path / "no data here"
    empty.mkdir()
    monkeypatch.setenv("SHATHENET_DATA", str(empty))
    guesses = ROOT / "data" / "guesses.json"
    kept = guesses.read_bytes() if guesses.exists() else None
    guesses.write_text('{"00.nearest": 50, "01.v1_0": 50}')
    try:
        result = nbval(path)
    finally:
        guesses.unlink() if kept is None else guesses.write_bytes(kept)
    assert result.returncode == 0, result.stdout
