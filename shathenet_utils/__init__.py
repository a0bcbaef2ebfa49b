"""The shared package of the ShatheNet lab book.

Two wings, one hall. The evidence wing (`datasets, augment, recipes, stats`, then `records`, then
`plots`) needs no TensorFlow; the network wing (`blocks`, then `models`, then `training`) does. They
meet in `experiments`. A module imports only from its left; `tests/test_architecture.py` draws the arrows.
"""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The repository: records, weights, runs and figures are found from here, whatever the working folder."""


def output_folder() -> Path:
    """Where a reader's runs, guesses and figures go: the repository, or `$SHATHENET_OUTPUT` under test."""
    return Path(os.environ.get("SHATHENET_OUTPUT") or ROOT)
