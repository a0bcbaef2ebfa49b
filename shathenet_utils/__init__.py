"""The shared package of the ShatheNet lab book.

Two wings. The evidence wing (`files, datasets, augment, recipes, stats`, then `records, runs, plots`) opens without
TensorFlow; the network wing (`backend, blocks, models`, then `training`) does not. They meet in `experiment → book →
runner`. A file imports only from its left: README.md has the map, `tests/test_architecture.py` draws the arrows.
"""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The repository: records, weights, runs and figures are found from here, whatever the working folder."""


def output_folder() -> Path:
    """Where a reader's runs, guesses and figures go: the repository, or `$SHATHENET_OUTPUT` under test."""
    return Path(os.environ.get("SHATHENET_OUTPUT") or ROOT)
