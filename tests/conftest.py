"""What more than one file of tests needs."""

import os

import chromium
import pytest
from lens_browser import images as images
from lens_browser import network as network
from lens_browser import opened as opened

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser():
    from playwright import sync_api

    path = chromium.find()
    if not path:
        if os.environ.get("CI"):
            pytest.fail(chromium.NONE)
        pytest.skip(chromium.NONE)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()
