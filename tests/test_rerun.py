"""`make rerun`: outputs are stored in the committed form, or the notebook stays as it was."""

import json
import os
import re

import nbformat
import pytest
from ipykernel.ipkernel import IPythonKernel
from jupyter_server.services.contents.filemanager import FileContentsManager
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from shathenet_utils import __main__, markers, rerun

WIDGET = "application/vnd.jupyter.widget-view+json"


def a_page(folder, *sources, text="# A page", data=()):
    cells = [new_markdown_cell(text, id="title")]
    cells += [new_code_cell(source, id=f"cell{number}") for number, source in enumerate(sources)]
    path = folder / "99_a_page.ipynb"
    nbformat.write(new_notebook(cells=cells, metadata={"shathenet": {"data": list(data)}}), path)
    return path


def outputs(path):
    return [cell.outputs for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def stored(*given):
    """The outputs that are kept of one cell's."""
    cell = new_code_cell("", outputs=[nbformat.from_dict(output) for output in given])
    return rerun.committed_form(new_notebook(cells=[cell])).cells[0].outputs


def test_a_page_is_executed_and_stored_with_its_figures(tmp_path):
    path = a_page(
        tmp_path,
        "from shathenet_utils import plots\nprint('hello')",
        "plots.bars({'one': 0.5}, label='share', name='a_figure')",
    )
    assert rerun.rerun(path, tmp_path / "figures")
    printed, drawn = outputs(path)
    assert printed == [{"output_type": "stream", "name": "stdout", "text": "hello\n"}]
    assert drawn[0]["data"]["text/plain"] == "Share: one 50.0%."
    assert (tmp_path / "figures" / "a_figure.png").read_bytes().startswith(b"\x89PNG")
    notebook = nbformat.read(path, as_version=4)
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.metadata.language_info == IPythonKernel.language_info  # else JupyterLab marks the page unsaved
    assert [cell.id for cell in notebook.cells] == ["title", "cell0", "cell1"]
    assert [cell.get("execution_count") for cell in notebook.cells] == [None, 1, 2]
    assert not any("execution" in cell.metadata for cell in notebook.cells)
    assert not rerun.rerun(path, tmp_path / "figures")  # the same again


def test_a_rerun_sees_nothing_of_what_the_reader_guessed_or_trained(tmp_path, monkeypatch):
    monkeypatch.setenv("SHATHENET_LIVE_SECONDS", "3")
    before = dict(os.environ)
    source = (
        "import os\nfrom shathenet_utils import output_folder\n"
        "print(list(output_folder().iterdir()), os.environ.get('SHATHENET_LIVE_SECONDS'))"
    )
    path = a_page(tmp_path, source)
    rerun.rerun(path, tmp_path)
    assert outputs(path)[0][0]["text"] == "[] None\n"
    assert dict(os.environ) == before


def test_a_page_prints_this_checkouts_records_whichever_package_is_installed(tmp_path, monkeypatch):
    other = tmp_path / "other" / "shathenet_utils"
    other.mkdir(parents=True)
    (other / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(other.parent))
    path = a_page(tmp_path, "import shathenet_utils\nprint(shathenet_utils.__file__)")
    rerun.rerun(path, tmp_path / "figures")
    assert str(rerun.ROOT / "shathenet_utils") in outputs(path)[0][0].text


def test_a_page_whose_cell_fails_stays_as_it_was(tmp_path):
    path = a_page(tmp_path, "print(1)", "1 / 0")
    before = path.read_bytes()
    with pytest.raises(rerun.RerunError, match="99_a_page.ipynb was not stored: a cell failed with ZeroDivisionError"):
        rerun.rerun(path, tmp_path)
    assert path.read_bytes() == before
    assert sorted(found.name for found in tmp_path.iterdir()) == ["99_a_page.ipynb"]


def test_the_numbers_of_a_page_are_filled_in_and_the_file_is_what_jupyterlab_would_write(tmp_path):
    source = "from shathenet_utils import lesson, stats\nlesson.numbers(gain=stats.Difference(0.03, 0.02, 0.04, 5))"
    path = a_page(tmp_path, source, text="# A page\n\nA gain of <!--=gain--><!--/-->.")
    assert rerun.rerun(path, tmp_path / "figures")
    text = nbformat.read(path, as_version=4).cells[0].source
    assert text == "# A page\n\nA gain of <!--=gain-->+3.0 points (+2.0 to +4.0)<!--/-->."
    assert outputs(path)[0][0]["data"][markers.MIME] == {"gain": "+3.0 points (+2.0 to +4.0)"}

    stored = path.read_bytes()
    manager = FileContentsManager(root_dir=str(tmp_path))
    model = manager.get(path.name)
    model["content"]["metadata"]["language_info"] = IPythonKernel.language_info  # as JupyterLab does on opening
    manager.save({key: model[key] for key in ("type", "format", "content")}, path.name)
    assert path.read_bytes() == stored


@pytest.mark.parametrize(
    ("text", "numbers", "wrong"),
    [
        ("A gain of <!--=gian--><!--/-->.", [], "in cell title there is no number gian; did you mean gain?"),
        ("A gain.", [{"gain": "+1.0 points"}], "the number gain is defined twice, as "),
    ],
)
def test_a_page_whose_numbers_are_not_in_order_stays_as_it_was(tmp_path, monkeypatch, text, numbers, wrong):
    path = a_page(tmp_path, "lesson.numbers(…)", text=text)
    data = [{markers.MIME: texts} for texts in ({"gain": "+3.0 points"}, *numbers)]
    displays = [new_output("display_data", data=each) for each in data]
    monkeypatch.setattr(rerun, "execute", lambda notebook, folder: notebook.cells[1].update(outputs=displays))
    before = path.read_bytes()
    with pytest.raises(rerun.RerunError, match=f"99_a_page.ipynb was not stored: {re.escape(wrong)}"):
        rerun.rerun(path, tmp_path)
    assert path.read_bytes() == before


def test_a_page_with_a_faulty_marker_is_not_even_run(tmp_path, monkeypatch):
    path = a_page(tmp_path, "1 / 0", text="A gain of $<!--=gain--><!--/-->$.")
    with pytest.raises(
        rerun.RerunError, match="99_a_page.ipynb was not run again: in cell title the number gain stands"
    ):
        rerun.rerun(path, tmp_path)


def test_a_page_whose_data_is_absent_is_not_run(tmp_path, monkeypatch):
    monkeypatch.setenv("SHATHENET_DATA", str(tmp_path / "nothing"))
    path = a_page(tmp_path, "print(1)", data=["cifar10"])
    before = path.read_bytes()
    with pytest.raises(rerun.RerunError, match="not run again, for want of its data. CIFAR-10 is not in .*nothing"):
        rerun.rerun(path, tmp_path)
    assert path.read_bytes() == before


def test_every_page_of_the_book_declares_its_data():
    for path in rerun.NOTEBOOKS.glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
        shows_data = "lesson.data(" in code or "lesson.live_images(" in code
        assert notebook.metadata.get("shathenet", {}).get("data", []) == (["cifar10"] if shows_data else [])


def test_an_unknown_page_is_one_sentence(capsys):
    with pytest.raises(SystemExit, match="error: There is no notebook 77 in"):
        __main__.main(["rerun", "77"])


def stream(text, name="stdout"):
    return new_output("stream", name=name, text=text)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ([stream("a line\n")], "a line\n"),
        ([stream("a "), stream("line"), stream("\n")], "a line\n"),
        ([stream("\r 10%|#  | 1/9\r 99%|## | 9/9\r        \rdone\n")], "done\n"),
        ([stream("before\n\r 10%\r    \r"), stream("after\n")], "before\nafter\n"),
    ],
    ids=["one piece", "in pieces", "after a bar", "around a bar"],
)
def test_what_is_printed_is_stored_as_a_terminal_shows_it(given, text):
    assert [output.text for output in stored(*given)] == [text]


@pytest.mark.parametrize("given", [stream("\r 10%\r      \r"), stream("\n")])
def test_bars_leave_nothing(given):
    assert stored(given) == []


def test_a_page_that_warns_stays_as_it_was(tmp_path):
    path = a_page(tmp_path, "import warnings\nwarnings.warn('look here')")
    before = path.read_bytes()
    with pytest.raises(rerun.RerunError, match="99_a_page.ipynb was not stored: a cell warns.*look here"):
        rerun.rerun(path, tmp_path)
    assert path.read_bytes() == before


def test_of_a_widget_its_words_are_stored():
    data = {WIDGET: {"model_id": "1"}, "text/html": "<p>A question</p>", "text/plain": "A question"}
    kept = stored(new_output("display_data", data=data, metadata={WIDGET: {}}))
    assert json.dumps(kept).count("widget") == 0
    assert kept[0].data == {"text/html": "<p>A question</p>", "text/plain": "A question"}
    bar = {WIDGET: {"model_id": "1"}, "text/plain": "10%|#   | 1/9"}
    assert stored(new_output("display_data", data=bar)) == []
