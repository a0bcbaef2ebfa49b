"""Draw figures/lens.png, the lens as the README shows it: `make lens-image`. Needs CIFAR-10 and Chromium."""

import sys
import tempfile
from pathlib import Path

import chromium
from playwright.sync_api import sync_playwright

from shathenet_utils import ROOT, datasets, files, lens

VIEW = {"image": 3, "channel": 6, "row": 21, "column": 11}


def main() -> None:
    program = chromium.find()
    if program is None:
        sys.exit(f"error: {chromium.NONE}")
    try:
        shown = lens.recorded("v1_0", "adam_1e-3", datasets.cifar10(), view=VIEW)
    except (datasets.DatasetError, files.FileError) as error:
        sys.exit(f"error: {error}")
    image = ROOT / "figures" / "lens.png"
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1180, "height": 800}, color_scheme="light")
        page.goto(shown.to_html(Path(folder, "lens.html")).as_uri())
        page.get_by_text("never respond to these").wait_for()
        files.write_bytes(image, page.screenshot(full_page=True))
        browser.close()
    print(f"{image} shows the lens.")


if __name__ == "__main__":
    main()
