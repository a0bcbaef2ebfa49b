"""The kernel lens: see, touch and edit what a network has learned, in a notebook or in one offline page.

`lens.open(model, dataset)` shows it; its `to_html(path)` writes it.
"""

from shathenet_utils.lens.payload import LensError
from shathenet_utils.lens.widget import Lens, open

__all__ = ["Lens", "LensError", "open"]
