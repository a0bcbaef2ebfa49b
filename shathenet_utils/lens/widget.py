"""The lens in a notebook, and as one page that needs nothing else."""

import json
from pathlib import Path

from shathenet_utils import records
from shathenet_utils.lens.payload import payload

SCRIPT = Path(__file__).with_name("lens.js")
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>body {{ margin: 0; color-scheme: light dark; background: light-dark(#fff, #1b1b1b); }}</style>
</head>
<body>
<main id="page"></main>
<script type="application/json" id="data">{data}</script>
<script type="module">
{script}
window.lens = render(document.getElementById("page"), JSON.parse(document.getElementById("data").textContent));
</script>
</body>
</html>
"""


def to_html(path, model, pictures, labels=None, classes=None, **arguments) -> Path:
    """Write the lens as one page that opens without a network; arguments as `payload`'s. Returns its path.

    Raises LensError where the network or the pictures don't fit, RecordError where the page can't be written.
    """
    data = payload(model, pictures, labels, classes, **arguments)
    path = Path(path)
    with records.writing_to(path), records.written_whole(path) as temporary:
        temporary.write_text(page(data), encoding="utf-8")
    return path


def page(data: dict) -> str:
    """The page's HTML: script and data inlined; no name in the data is ever read as markup."""
    told = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    title = data["title"].replace("&", "&amp;").replace("<", "&lt;")
    return PAGE.format(policy=POLICY, title=title, data=told, script=SCRIPT.read_text(encoding="utf-8"))
