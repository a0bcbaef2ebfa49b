"""`make lab`: a page opens as its kernel would write it, and its file stays as it was."""

import asyncio
import re

import nbformat
from ipykernel.ipkernel import IPythonKernel
from nbformat.v4 import new_notebook

from shathenet_utils import ROOT, lab
from shathenet_utils.rerun import KERNEL


def test_a_page_opens_with_the_language_of_the_kernel_that_is_here(tmp_path):
    stored = {"kernelspec": KERNEL, "language_info": {"name": "python", "version": "2.7"}}
    nbformat.write(new_notebook(metadata=stored), tmp_path / "page.ipynb")
    (tmp_path / "words.txt").write_text("words")
    before = (tmp_path / "page.ipynb").read_bytes()
    manager = lab.PageManager(root_dir=str(tmp_path))

    def get(path, **arguments):
        return asyncio.run(manager.get(path, **arguments))

    metadata = get("page.ipynb")["content"]["metadata"]
    assert metadata == {"kernelspec": KERNEL, "language_info": IPythonKernel.language_info}
    assert get("page.ipynb", content=False)["content"] is None
    assert get("words.txt")["content"] == "words"
    assert [file["name"] for file in get("")["content"]]
    assert (tmp_path / "page.ipynb").read_bytes() == before


def test_make_lab_uses_it():
    settings = re.findall(r"--ServerApp\.contents_manager_class=(\S+)", (ROOT / "Makefile").read_text())
    assert settings == [f"{lab.__name__}.{lab.PageManager.__name__}"]
