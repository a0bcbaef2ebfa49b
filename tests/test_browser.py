"""The book as a reader has it: JupyterLab in a real browser."""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import nbformat
import pytest

from shathenet_utils import ROOT, datasets, lens, models, rerun

pytestmark = pytest.mark.browser
LENS = (
    "from shathenet_utils import datasets, lens",
    "one = lens.recorded('v1_0', 'adam_1e-3', datasets.toy_shapes(20, 10, 10))\none",
    "lens.compare(one, one)",
)
GUESS = "from shathenet_utils import lesson\nlesson.predict_number('test.accuracy', 'How accurate is it?', 0, 100)"
KERNEL = "window.jupyterapp?.shell.currentWidget?.context?.sessionContext?.session?.kernel"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab on 127.0.0.1 with settings of its own, on a copy of the notebooks: (address, token)."""
    home = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "notebooks", home / "notebooks")
    cells = [nbformat.v4.new_code_cell(source) for source in LENS]
    python = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=python), home / "lens.ipynb")
    guess = nbformat.v4.new_code_cell(GUESS)
    nbformat.write(nbformat.v4.new_notebook(cells=[guess], metadata=python), home / "guess.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        name: str(home / name.lower())
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "SHATHENET_OUTPUT")
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}", "--allow-root"]
    command += [
        "--ServerApp.port_retries=0",
        "--LabApp.expose_app_in_browser=True",
        "--IdentityProvider.token=secret",
        f"--ServerApp.root_dir={home}",
    ]
    log = (home / "log").open("w")
    server = subprocess.Popen(command, env=os.environ | settings, stdout=log, stderr=log, cwd=home)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"{address}/api?token=secret", timeout=2)
                break
            except OSError:
                assert server.poll() is None, (home / "log").read_text()
                time.sleep(0.5)
        yield address, home
    finally:
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(timeout=30)
        server.kill()


@pytest.fixture
def page(browser, lab):
    """A page that fails the test when it asks any host but this one for anything."""
    strangers = []
    context = browser.new_context(viewport={"width": 1300, "height": 1000})
    page = context.new_page()
    page.on("request", lambda request: strangers.append(request.url) if _is_stranger(request.url) else None)
    yield page
    context.close()
    for session in _ask(lab, "sessions"):  # the next test starts a kernel of its own, which counts from one
        _ask(lab, f"sessions/{session['id']}", "DELETE")
    assert not strangers


def _ask(lab, what, method="GET"):
    request = urllib.request.Request(f"{lab[0]}/api/{what}?token=secret", method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read() or "null")


def _is_stranger(url: str) -> bool:
    return url.startswith(("http:", "https:", "ws:", "wss:")) and "//127.0.0.1:" not in url


def open_notebook(page, lab, name, folder="notebooks/"):
    page.goto(f"{lab[0]}/lab/tree/{folder}{name}?token=secret&reset", wait_until="domcontentloaded")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=90_000)
    # Before the kernel is ready "run all" would ask which kernel to use.
    page.wait_for_function(f"{KERNEL}?.status === 'idle'", timeout=90_000)


def run_all(page):
    page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")  # its answer is endless
    page.wait_for_function(
        f"""() => {{
            const cells = window.jupyterapp.shell.currentWidget.content.model.sharedModel.cells;
            const code = cells.filter(cell => cell.cell_type === 'code' && cell.source.trim());
            return {KERNEL}?.status === 'idle' && code.length && code[code.length - 1].execution_count === code.length;
        }}""",
        timeout=240_000,
    )


def cells_of(page):
    return json.loads(
        page.evaluate("JSON.stringify(window.jupyterapp.shell.currentWidget.content.model.toJSON().cells)")
    )


def pages():
    """Every page; nbval runs them all, so here only the lens's is not slow."""
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        yield pytest.param(path.name, marks=[] if path.name.startswith("17_") else [pytest.mark.slow])


@pytest.mark.parametrize("name", list(pages()))
def test_a_notebook_runs_from_top_to_bottom(page, lab, name):
    open_notebook(page, lab, name)
    run_all(page)
    outputs = [output for cell in cells_of(page) for output in cell.get("outputs", [])]
    assert outputs
    assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]
    assert "jupyter news" not in page.inner_text("body").lower()


def test_a_guess_is_made_by_keyboard_and_kept(page, lab):
    open_notebook(page, lab, "guess.ipynb", folder="")
    run_all(page)
    field = page.get_by_label(re.compile("Your guess")).first
    field.scroll_into_view_if_needed()
    field.focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("42")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Kept: 42 %", timeout=10_000)


def test_every_image_has_a_text_and_every_stored_page_reads_without_running(page, lab):
    open_notebook(page, lab, "00_start_here.ipynb")
    page.wait_for_selector(".jp-OutputArea-output img", timeout=30_000)
    alts = page.eval_on_selector_all(".jp-OutputArea-output img", "images => images.map(image => image.alt)")
    assert alts and all(len(alt) > 20 for alt in alts)
    text = page.inner_text(".jp-Notebook")
    assert "model not found" not in text.lower()
    assert "HBox(children" not in text and "VBox(children" not in text


PIXELS = "canvas[role=application]:not(.pen)"


def lens_of(page, lab, cell):
    """What a cell of the notebook of lenses shows, run and in sight."""
    open_notebook(page, lab, "lens.ipynb", folder="")
    run_all(page)
    shown = page.locator(".jp-CodeCell").nth(cell)
    shown.locator(PIXELS).first.wait_for(timeout=30_000)
    shown.locator(PIXELS).first.scroll_into_view_if_needed()
    return shown


def test_the_lens_lives_in_a_notebook_and_leaves_a_figure(page, lab):
    shown = lens_of(page, lab, 1)
    pixels = shown.locator(PIXELS)
    box = pixels.bounding_box()
    page.mouse.move(box["x"] + 0.5 / 32 * box["width"], box["y"] + 4.5 / 32 * box["height"])
    shown.get_by_text("conv1, channel 0 at row 4, column 0").wait_for()
    pixels.focus()
    page.keyboard.press("ArrowRight")
    shown.get_by_text("conv1, channel 0 at row 4, column 1").wait_for()
    (output,) = cells_of(page)[1]["outputs"]
    assert '<img alt="The first 16 of 16 kernels' in "".join(output["data"]["text/html"])


def test_in_a_notebook_too_the_lens_slides_edits_takes_a_image_and_gives_numbers(page, lab, tmp_path):
    from PIL import Image

    shown = lens_of(page, lab, 1)
    slider = shown.get_by_label("Epoch")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    page.mouse.click(box["x"] + 3, box["y"] + box["height"] / 2)
    shown.get_by_text("before training", exact=True).wait_for()
    page.keyboard.press("End")
    shown.get_by_text("epoch 60").wait_for()
    bars, changes = shown.locator(".bar"), shown.get_by_text("By your edits")
    trained = bars.all_inner_texts()
    shown.get_by_role("button", name="negative").click()
    changes.wait_for()
    assert bars.all_inner_texts() != trained
    shown.get_by_role("button", name="reset").click()
    changes.wait_for(state="hidden")
    assert bars.all_inner_texts() == trained
    Image.new("RGB", (50, 70), (200, 30, 60)).save(tmp_path / "own.png")
    shown.get_by_text("Your own image", exact=True).click()
    shown.get_by_label("Or a file").set_input_files(tmp_path / "own.png")
    shown.get_by_text("it has not left this page").wait_for()
    with page.expect_download() as waited:
        shown.get_by_role("button", name="CSV").click()
    assert waited.value.suggested_filename == "v1.0_seed_0_conv1_0.csv"
    assert len(waited.value.path().read_text().splitlines()) == 32


def test_keys_pressed_in_the_lens_are_not_jupyterlabs(page, lab):
    """There "d", "d" would delete the cell, "0", "0" ask to restart the kernel, and an arrow key go to another cell."""
    shown = lens_of(page, lab, 1)
    many = len(cells_of(page))
    page.keyboard.press("Escape")
    for focused, keys in (
        (shown.get_by_label("Layer", exact=True), ("ArrowDown", "d", "d", "a", "x")),
        (shown.get_by_label("kernel, filter 0, row 0, column 0"), ("0", "0")),
        (shown.get_by_label("Epoch"), ("ArrowLeft", "ArrowUp", "d", "d")),
        (shown.get_by_role("radio", name="number 0:"), ("ArrowRight", "d", "d", "b")),
    ):
        focused.focus()
        for key in keys:
            page.keyboard.press(key)
            page.wait_for_timeout(50)
        assert page.locator("dialog, .jp-Dialog").count() == 0
        assert len(cells_of(page)) == many
        assert page.evaluate("window.jupyterapp.shell.currentWidget.content.activeCellIndex") == 1
    assert shown.get_by_label("Layer", exact=True).input_value() == "8", "the list hears “d”, for the layer dense"


def test_in_a_notebook_too_one_lens_follows_the_other(page, lab):
    both = lens_of(page, lab, 2)
    pixels = both.locator(PIXELS).first
    box = pixels.bounding_box()
    page.mouse.move(box["x"] + 0.5 / 32 * box["width"], box["y"] + 4.5 / 32 * box["height"])
    pixels.focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    for panel in (0, 1):
        both.locator(".sum").nth(panel).get_by_text("conv1, channel 0 at row 5, column 2").wait_for()
    assert both.locator(".sum").count() == 2


def test_an_untrusted_notebook_shows_the_lens_as_a_figure(page, lab):
    """What another reader's page holds is drawn, and nothing of it runs, until they trust it."""
    shown = lens.open(models.v1_0(), datasets.toy_shapes(20, 10, 10), images=2)
    output = nbformat.v4.new_output("execute_result", shown._repr_mimebundle_(), execution_count=1)
    output["data"]["text/html"] += "<script>window.ran = true</script>"
    cell = nbformat.v4.new_code_cell(LENS[1], outputs=[output])
    notebook = rerun.committed_form(nbformat.v4.new_notebook(cells=[cell]))
    nbformat.write(notebook, lab[1] / "untrusted.ipynb")
    open_notebook(page, lab, "untrusted.ipynb", folder="")
    image = page.get_by_alt_text("The first 16 of 16 kernels")
    image.wait_for(timeout=30_000)
    assert image.evaluate("image => image.complete && image.naturalWidth > 0")
    assert page.evaluate("window.ran") is None
    assert "model not found" not in page.inner_text(".jp-Notebook").lower()
