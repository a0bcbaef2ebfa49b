"""The kernel lens: see, touch and edit what a network has learned, in a notebook or in one offline page.

`lens.open(model, dataset)` shows it, `lens.recorded(experiment, variant, dataset)` that of a recorded run,
`lens.compare(one, other)` two side by side; `to_html(path)` of each writes a page.
"""

from shathenet_utils.lens.steps import LensError
from shathenet_utils.lens.widget import Lens, compare, open, recorded

__all__ = ["Lens", "LensError", "compare", "open", "recorded"]
