"""What holds for every notebook, besides that its outputs are what its cells print (which nbval checks)."""

import ast
import contextlib
import io
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

import nbformat
import nbval.kernel
import page_form
import pytest
from ipykernel.ipkernel import IPythonKernel
from nbformat.v4 import new_code_cell, new_notebook

from shathenet_utils import ROOT, exercises, markers, rerun

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MODULES = sorted((ROOT / "shathenet_utils").rglob("*.py"))
SANITIZE = Path(__file__).with_name("nbval_sanitize.cfg")

# Cells whose output differs by machine or by run; all others are compared. Keep it short.
IGNORED = {
    "00_start_here": {"environment", "live", "check-data", "train-live"},
    "01_first_network": {"data", "live-figure"},
    "02_bigger": {"data", "live"},
    "03_mixing_convolutions": {"data", "live"},
    "04_yardstick": {"data", "inception", "frozen-accuracy", "tuned-accuracy"},
    "05_normalising_inputs": {"data", "live"},
    "17_kernel_lens": {"data"},
    "24_how_fast": {"data", "live-peaks", "live-precision"},
}

# What pages leave out that have no experiment, no mechanism or no network of the package for it.
LEFT_OUT = {
    "00_start_here": {"same-network"},
    "17_kernel_lens": {"same-network", "part-experiment"},
}

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, as_version=4)


def code_cells(path):
    return page_form.code_cells(read(path))


def left_out(path, *kinds):
    return {what for what in LEFT_OUT.get(path.stem, ()) if what.startswith(kinds)}


def texts(cell):
    """Every text that a cell's outputs hold, images left out."""
    for output in cell.outputs:
        for part in (output.get("text"), *output.get("data", {}).values()):
            if isinstance(part, str):
                yield re.sub(r"base64,[A-Za-z0-9+/=]+", "", part)


# The file


@each_notebook
def test_is_stored_in_the_committed_form(path):
    notebook = read(path)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
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
def test_is_stored_as_jupyterlab_writes_it(path):
    """Else opening it marks it unsaved: JupyterLab writes the kernel's own words into the metadata at once.

    The version of Python is the kernel's too, that of whoever ran the page last.
    """
    notebook = read(path)
    assert path.read_text(encoding="utf-8") == nbformat.writes(notebook) + "\n"
    assert notebook.metadata.kernelspec == rerun.KERNEL
    kernel, stored = (
        {**info, "version": ""} for info in (IPythonKernel.language_info, notebook.metadata.language_info)
    )
    assert stored == kernel


@each_notebook
def test_names_no_path_of_a_machine(path):
    private = {str(ROOT), str(Path.home()), os.environ.get("SHATHENET_DATA", "")} - {"", "/"}
    for cell in code_cells(path):
        for text in texts(cell):
            assert not any(place in text for place in private), cell.id


@each_notebook
def test_only_the_listed_cells_are_not_compared_and_they_are_few(path):
    cells = code_cells(path)
    ignored = {cell.id for cell in cells if "nbval-ignore-output" in page_form.tags(cell)}
    assert ignored == IGNORED[path.stem]
    assert len(ignored) <= len(cells) / 10
    skipped = [cell.id for cell in cells if {"nbval-skip", "nbval-raises-exception"} & set(page_form.tags(cell))]
    assert not skipped


# The form of a page: page_form.py says what, test_page_form.py tests it


@each_notebook
def test_has_the_parts_of_a_page(path):
    assert page_form.part_faults(read(path), left_out(path, "part-")) == []


@each_notebook
def test_holds_its_network_as_code(path):
    assert page_form.network_faults(read(path), left_out(path, "network", "same-network")) == []


@each_notebook
def test_has_a_formula(path):
    assert page_form.formula_faults(read(path)) == []


@each_notebook
def test_has_exercises_that_are_open_and_solved_below(path):
    assert page_form.exercise_faults(read(path), path.stem[:2]) == []


@each_notebook
def test_cells_are_short_and_introduced(path):
    assert statistics.median(len(cell.source.splitlines()) for cell in code_cells(path)) <= 7
    assert max(len(line) for cell in code_cells(path) for line in cell.source.splitlines()) <= 104
    assert read(path).cells[0].cell_type == "markdown"


@each_notebook
def test_few_lines_of_its_open_cells_format_text(path):
    assert page_form.formatting_share(read(path)) < 0.1


@each_notebook
def test_no_helper_is_defined_twice(path):
    names = [
        node.name
        for other in NOTEBOOKS
        for cell in code_cells(other)
        if "exercise" not in page_form.tags(cell)
        for node in ast.parse(cell.source).body
        if isinstance(node, ast.FunctionDef)
    ]
    assert len(names) == len(set(names)), {name for name in names if names.count(name) > 1}


# Numbers and words


@each_notebook
def test_its_markdown_holds_the_numbers_that_its_cells_computed(path):
    assert page_form.number_faults(read(path)) == []


@each_notebook
def test_no_measured_number_is_typed(path):
    assert page_form.typed_number_faults(read(path)) == []


@each_notebook
def test_has_no_banned_word(path):
    assert page_form.word_faults(read(path)) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT / "shathenet_utils")))
def test_a_module_has_no_banned_word_in_docstrings_and_public_names(path):
    assert page_form.module_word_faults(path.read_text(encoding="utf-8")) == []


# Exercises


def every_exercise():
    for path in NOTEBOOKS:
        for exercise in page_form.exercise_cells(read(path)):
            yield pytest.param(exercise, id=f"{path.stem}-{exercise.cell.id}")


def run_exercise(source, before, monkeypatch):
    """What an exercise cell prints, run with what it needs of the cells before it."""
    monkeypatch.setattr("IPython.display.display", lambda *_, **__: None)  # the banner of a page without data
    names = {"__name__": "__main__"}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(page_form.needed(source, before), "before", "exec"), names)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(source, "exercise", "exec"), names)
    return printed.getvalue()


def solved(exercise):
    """An exercise's cell with the functions of its solution in the places of the stubs."""
    answer = re.search(r"```python\n(.*?)```", exercise.solution.source, re.DOTALL)[1]
    given = {node.name: node for node in ast.parse(answer).body if isinstance(node, ast.FunctionDef)}
    tree = ast.parse(exercise.cell.source)
    stubs = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert stubs and stubs <= given.keys(), f"the solution does not define {', '.join(stubs - given.keys())}"
    tree.body = [given.get(getattr(node, "name", None), node) for node in tree.body]
    return ast.unparse(tree)


@pytest.mark.parametrize("exercise", list(every_exercise()))
def test_an_unsolved_exercise_is_open(exercise, monkeypatch):
    printed = run_exercise(exercise.cell.source, exercise.before, monkeypatch)
    assert printed.startswith(f"Exercise {exercise.name} is still open: ")
    assert printed == "".join(output.text for output in exercise.cell.outputs)


@pytest.mark.parametrize("exercise", list(every_exercise()))
def test_its_solution_is_right_on_all_cases(exercise, monkeypatch):
    printed = run_exercise(solved(exercise), exercise.before, monkeypatch)
    cases = len(exercises.find(exercise.name).cases)
    assert f"Exercise {exercise.name} is right on {cases} input" in printed, printed


# nbval is as strict as it should be


def run_nbval(*paths):
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
        [*command, "-p", "no:xdist", "-o", "addopts=", *paths], capture_output=True, text=True, cwd=ROOT, timeout=600
    )


COMPARED = (
    "from shathenet_utils import lesson, plots",
    "lesson.numbers(images=1_000)",
    "lesson.facts_table({'images': '1,000'})",
    "plots.bars({'class mean': 0.277}, label='accuracy', name='ladder')",
    "print('1,000')",
)


def test_a_changed_output_fails(tmp_path, monkeypatch):
    """A number changed in a table, in the data for the Markdown, in an alt text or in what is printed is found."""
    notebook = new_notebook(cells=[new_code_cell(source, id=f"cell{i}") for i, source in enumerate(COMPARED)])
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    rerun.committed_form(rerun.execute(notebook, tmp_path))
    nbformat.write(notebook, tmp_path / "same.ipynb")
    _, numbers, table, figure, printed = (cell.outputs[0] if cell.outputs else None for cell in notebook.cells)
    assert numbers.data[markers.MIME] == {"images": "1,000"}
    numbers.data[markers.MIME]["images"] = "1,001"
    table.data["text/html"] = table.data["text/html"].replace("1,000", "1,001")
    figure.data["text/html"] = figure.data["text/html"].replace("class mean", "class median")
    printed.text = "1,001\n"
    nbformat.write(notebook, tmp_path / "changed.ipynb")
    found = run_nbval(tmp_path / "same.ipynb", tmp_path / "changed.ipynb").stdout
    assert "4 failed, 6 passed" in found, found
    assert "same.ipynb::" not in found.partition("short test summary")[2], found


def test_kernels_side_by_side_share_no_ports(tmp_path):
    """A port that was free when a kernel's manager looked may be another's when the kernel opens it."""
    transport = "from ipykernel.kernelapp import IPKernelApp\nprint(IPKernelApp.instance().transport)"
    notebook = new_notebook(cells=[new_code_cell(transport)])
    assert rerun.execute(notebook, tmp_path).cells[0].outputs[0].text == "ipc\n"
    kernel = nbval.kernel.RunningKernel(nbval.kernel.CURRENT_ENV_KERNEL_NAME, cwd=str(tmp_path))
    try:
        assert kernel.km.transport == "ipc"
    finally:
        kernel.stop()


def test_a_kernel_that_ends_at_its_start_is_not_waited_for(tmp_path, monkeypatch):
    startup = tmp_path / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00_end.py").write_text("import os\nos._exit(1)\n")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))

    async def asked(*_, **__):
        pytest.fail("it was asked to end, and its answer would be waited for")

    monkeypatch.setattr(nbval.kernel.KernelManager, "_async_request_shutdown", asked)
    with pytest.raises(RuntimeError, match="Kernel died"):
        nbval.kernel.RunningKernel(nbval.kernel.CURRENT_ENV_KERNEL_NAME, cwd=str(tmp_path))


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
        result = run_nbval(path)
    finally:
        guesses.unlink() if kept is None else guesses.write_bytes(kept)
    assert result.returncode == 0, result.stdout
