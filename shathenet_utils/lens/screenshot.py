"""A screenshot of the lens, for whoever can't run it: drawn by a headless Chromium, where there is one."""

import base64
import html
import io
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from shathenet_utils import ROOT, files

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDTH, HEIGHT = 1180, 1700  # CSS pixels
WITHOUT_WORKER = "worker=no"  # the browser's virtual time doesn't wait for one
COLOURS = 256  # of the PNG's palette: a screenshot of 70 to 150 KB


def browser() -> str | None:
    """The path of a Chromium or Chrome: `$SHATHENET_BROWSER`, or the first one on the PATH."""
    return os.environ.get("SHATHENET_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)


def take(page: Path, path: Path) -> bool:
    """Open the lens's page and write its screenshot, a PNG, to `path`.

    Returns whether there is one: without a browser, or with one that fails, nothing is written.
    """
    from PIL import Image, ImageChops

    program = browser()
    if program is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        drawn = Path(folder, "lens.png")
        command = [
            program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder}",
            f"--window-size={WIDTH},{HEIGHT}", "--virtual-time-budget=20000", f"--screenshot={drawn}",
            f"{Path(page).resolve().as_uri()}#{WITHOUT_WORKER}",
        ]  # fmt: skip
        try:
            subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False, timeout=180)
        except (OSError, subprocess.TimeoutExpired):
            return False
        if not drawn.exists():
            return False
        image = Image.open(drawn).convert("RGB")
        *_, bottom = ImageChops.difference(image, Image.new("RGB", image.size, "white")).getbbox() or image.getbbox()
        image = image.crop((0, 0, image.width, min(bottom + 12, image.height)))
        image = image.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE)
        buffer = io.BytesIO()
        image.save(buffer, "png", optimize=True)
        files.write_bytes(path, buffer.getvalue())
    return True


def find(image: str) -> Path | None:
    """The stored screenshot of that name: the one that `make rerun` just drew, else the book's; None without either."""
    folders = [Path(folder) for folder in [os.environ.get("SHATHENET_FIGURES")] if folder]
    paths = [folder / f"{image}.png" for folder in [*folders, ROOT / "figures"]]
    return next((path for path in paths if path.exists()), None)


def markup(path: Path, alt: str) -> str:
    """The screenshot as an `<img>` that holds its own data."""
    source = base64.b64encode(path.read_bytes()).decode()
    style = f"width:{WIDTH}px;max-width:100%"
    return f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{source}" style="{style}">'
