"""The one progress bar: with time left, in a terminal and in a notebook."""

import sys

from tqdm import tqdm


def bar(total: int | None, description: str, **arguments) -> tqdm:
    """A bar with time left: on stdout in a notebook (stderr is drawn as an error there), on stderr in a terminal.

    total: how many units there are to do, None where nobody knows or an iterable knows. arguments: tqdm's own,
    such as unit or iterable.
    """
    stream = sys.stdout if "ipykernel" in sys.modules else sys.stderr
    settings = {"leave": False, "mininterval": 0.5, "dynamic_ncols": True} | arguments
    return tqdm(total=total, desc=description, file=stream, **settings)
