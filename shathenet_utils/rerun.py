"""Execute the book's notebooks in place and store their outputs in the committed form, their figures in `figures/`.

The committed form: outputs of one run from top to bottom, the numbers of `lesson.numbers` between their markers in the
Markdown, no timings, no widget state, no progress bars, cell ids as they were; and the rest as JupyterLab writes it, so
that opening a page does not mark it unsaved. What the reader guessed or trained does not enter: a rerun sees an empty
output folder.
"""

import contextlib
import os
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from traitlets.config import Config

from shathenet_utils import ROOT, datasets, files, markers, progress

NOTEBOOKS = ROOT / "notebooks"
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
_WIDGET = "application/vnd.jupyter.widget-view+json"
_LOAD = {"cifar10": lambda: datasets.cifar10(download=False)}


class RerunError(RuntimeError):
    """A notebook could not be executed, or its data is not here; one sentence says which and why."""


def check_data(notebook) -> None:
    """Load what a notebook declares (`metadata.shathenet.data`). Raises DatasetError where it is missing or damaged."""
    for name in notebook.metadata.get("shathenet", {}).get("data", []):
        _LOAD[name]()


def socket_files(folder: str) -> dict[str, str]:
    """Settings of a kernel manager: it talks to its kernel through files in a folder that is its own, no ports.

    Jupyter looks for free ports, and its kernel opens them a moment later: where several kernels start side by side,
    another program may have one of them by then, and the kernel ends at its start.
    """
    return {"transport": "ipc", "ip": str(Path(folder) / "kernel")}


def execute(notebook, folder: Path):
    """Run a notebook's cells in a fresh kernel that works in `folder`; outputs are stored in the notebook itself.

    Raises nbclient's CellExecutionError where a cell fails.
    """
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    with progress.bar(len(code), "cells", unit="cell") as bar, tempfile.TemporaryDirectory() as sockets:
        client = NotebookClient(
            notebook,
            timeout=3600,
            kernel_name="python3",
            record_timing=False,
            config=Config(KernelManager=socket_files(sockets)),
            extra_arguments=["--IPKernelApp.log_level=40"],  # else it warns that it listens on 127.0.0.1
            resources={"metadata": {"path": str(folder)}},
            on_cell_executed=lambda **_: bar.update(),
        )
        client.execute()
    return notebook


def committed_form(notebook):
    """The notebook without what differs by run or machine: see the top of this file. Raises RerunError for warnings.

    JupyterLab writes what the kernel reports of its language into the metadata, and marks a page unsaved whose metadata
    hold anything else; so they keep it whole, as the execution left it, the version of Python too.
    """
    kept = {key: value for key, value in notebook.metadata.items() if key in ("language_info", "shathenet")}
    notebook.metadata = {"kernelspec": KERNEL, **kept}
    for count, cell in enumerate((cell for cell in notebook.cells if cell.cell_type == "code"), 1):
        cell.metadata.pop("execution", None)
        cell.execution_count = count
        cell.outputs = [kept for output in _merged(cell.outputs) if (kept := _committed_output(output, count))]
    return notebook


def _merged(outputs):
    """The outputs, with pieces of one stream put together again: a kernel may send a print in two."""
    merged = []
    for output in outputs:
        if merged and output.output_type == "stream" and merged[-1].get("name") == output.name:
            merged[-1].text += output.text
        else:
            merged.append(output)
    return merged


def _committed_output(output, count: int):
    if output.get("name") == "stderr":
        raise RerunError(f"a cell warns, which a page must not: {output.text.strip()}")
    if output.output_type == "stream":
        lines = output.text.split("\n")  # what a terminal would show: a bar draws over itself and leaves nothing
        output.text = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines)
        return output if output.text.strip() else None
    if output.output_type == "execute_result":
        output.execution_count = count
    if "data" in output:
        widget = output.data.pop(_WIDGET, None)
        output.metadata.pop(_WIDGET, None)
        return output if widget is None or "text/html" in output.data else None  # a bar has nothing else to show
    return output


def rerun(path: Path, figures: Path = ROOT / "figures", *, anew: bool = False) -> bool:
    """Execute one notebook in place; whether that changed the file.

    anew: compute also what takes minutes and is recorded (`lesson.load_or_compute`).

    Raises RerunError where a cell fails, a number is unknown or the declared data is absent; the file then stays as it
    was.
    """
    notebook = nbformat.read(path, as_version=4)
    try:
        check_data(notebook)
    except datasets.DatasetError as error:
        raise RerunError(f"{path.name} was not run again, for want of its data. {error}") from None
    before = path.read_text(encoding="utf-8")
    try:
        markers.check_notebook(notebook)  # before minutes are spent
    except markers.MarkerError as error:
        raise RerunError(f"{path.name} was not run again: {error}") from None
    with tempfile.TemporaryDirectory(prefix="shathenet-rerun-") as output:
        drawn = Path(output, "figures")
        clean = {"SHATHENET_OUTPUT": output, "SHATHENET_FIGURES": str(drawn), "SHATHENET_LIVE_SECONDS": None}
        clean["SHATHENET_ANEW"] = "yes" if anew else None
        try:
            with _environment(**clean, PYTHONPATH=str(ROOT)):  # this checkout's records, whichever is installed
                execute(notebook, path.parent)
            text = nbformat.writes(committed_form(markers.fill_notebook(notebook))) + "\n"
        except CellExecutionError as error:
            raise RerunError(f"{path.name} was not stored: a cell failed with {error.ename}: {error.evalue}") from None
        except (RerunError, markers.MarkerError) as error:
            raise RerunError(f"{path.name} was not stored: {error}") from None
        if text != before:
            files.write_text(path, text)
        for figure in [*drawn.glob("*.png"), *drawn.glob("*.html")]:
            with files.writing_to(figures), files.written_whole(figures / figure.name) as temporary:
                temporary.write_bytes(figure.read_bytes())
    return text != before


@contextlib.contextmanager
def _environment(**changes):
    """Environment variables as they are to be (None: not set) for a while."""
    kept = {name: os.environ.pop(name, None) for name in changes}
    os.environ.update({name: value for name, value in changes.items() if value is not None})
    try:
        yield
    finally:
        for name, value in kept.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def rerun_all(names=(), *, anew: bool = False) -> None:
    """Execute the named notebooks ("01" is enough), or all, and say for each whether its file changed."""
    chosen = [path for path in sorted(NOTEBOOKS.glob("*.ipynb")) if not names or path.name.startswith(tuple(names))]
    if not chosen:
        raise RerunError(f"There is no notebook {', '.join(names)} in {NOTEBOOKS}.")
    for path in chosen:
        begun = time.perf_counter()
        changed = "changed" if rerun(path, anew=anew) else "the same"
        print(f"{path.name}: {changed}, {time.perf_counter() - begun:.0f} s")
