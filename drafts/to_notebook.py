"""Writes a draft as a notebook: `python drafts/to_notebook.py drafts/06_augmentation.md notebooks/06_….ipynb`.

A draft is Markdown. A line `<!-- cell {"id": …, "kind": "code", "metadata": {…}} -->` begins each cell; the first line
of the file holds the notebook's metadata in the same way.
"""

import json
import re
import sys
from pathlib import Path

import nbformat

MARK = re.compile(r"(?m)^<!-- (notebook|cell) (\{.*\}) -->\n")


def read(text: str) -> nbformat.NotebookNode:
    """The draft's cells, without outputs: what a rerun then executes from top to bottom."""
    _, _, metadata, _, *parts = MARK.split(text)
    cells = []
    for described, source in zip(parts[1::3], parts[2::3], strict=True):
        cell = json.loads(described)
        source = source.strip("\n")
        if cell["kind"] == "code":
            new, source = nbformat.v4.new_code_cell, source.removeprefix("```python\n").removesuffix("\n```")
        else:
            new = nbformat.v4.new_markdown_cell
        cells.append(new(source, id=cell["id"], metadata=cell.get("metadata", {})))
    return nbformat.v4.new_notebook(cells=cells, metadata=json.loads(metadata))


if __name__ == "__main__":
    nbformat.write(read(Path(sys.argv[1]).read_text(encoding="utf-8")), sys.argv[2])
