"""The one progress bar: with time left, in a terminal and in a notebook."""

import os
import sys

import tqdm


def bar(total: int | None, description: str, **arguments) -> tqdm.tqdm:
    """A bar with time left: a widget in a notebook, so that it stays in its place, a line on stderr in a terminal.

    total: how many units there are to do, None where nobody knows or an iterable knows. arguments: tqdm's own,
    such as unit or iterable.
    """
    settings = {"total": total, "desc": description, "leave": False, "mininterval": 0.5, "dynamic_ncols": True}
    if "ipykernel" in sys.modules:
        # A line of text would be left behind, half-way, once a figure is shown below it.
        from tqdm.notebook import tqdm as widget

        hidden = bool(os.environ.get("TQDM_DISABLE"))  # tqdm asks this itself in a terminal, and not here
        return widget(**settings | {"disable": hidden} | arguments)
    return tqdm.tqdm(**settings | arguments)
