"""One declared run, a variant with one seed, and where its files lie.

It is locked while it trains; its record lies below `data/records/` (the book's evidence) or `data/runs/` (everything
else), what it keeps until it is finished beside the latter.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from shathenet_utils import checkpoints, files, records, weights
from shathenet_utils.experiment import Experiment, Variant
from shathenet_utils.recipes import Recipe


@dataclasses.dataclass(frozen=True)
class Run:
    """One run: a variant of an experiment with one seed, in a budget, on a dataset; and where its files lie.

    record: whether it is to be the book's evidence.
    """

    experiment: Experiment
    variant: Variant
    seed: int
    budget: str
    dataset: str
    record: bool = False

    @property
    def name(self) -> str:
        """Such as "v1_0 adam_1e-3 seed 0"."""
        return f"{self.experiment.name} {self.variant.name} seed {self.seed}"

    @property
    def recipe(self) -> Recipe:
        """The variant's, with the epochs of the budget."""
        quick = self.budget == "quick" and self.experiment.quick_epochs
        return dataclasses.replace(self.variant.recipe, epochs=quick or self.variant.recipe.epochs)

    @property
    def folder(self) -> Path:
        """Below which its record will lie."""
        return records.RECORDS if self.record else records.runs_folder(self.dataset, self.budget)

    @property
    def path(self) -> Path:
        """Its record's."""
        return self.experiment.path(self.variant, self.seed, self.folder)

    @property
    def checkpoint(self) -> Path:
        """Where it keeps its state until it is finished."""
        return records.checkpoint_path(self.path.relative_to(self.folder), self.dataset, self.budget)

    def weights_path(self, suffix: str) -> Path:
        """Weights of the book's evidence lie under data/weights/, others beside their record."""
        root = weights.FOLDER if self.record else self.folder
        return root / self.path.relative_to(self.folder).with_name(self.path.stem + suffix)

    def is_complete(self) -> bool:
        """Whether there is a record of it, of the declaration as it is now. Raises RecordError for a damaged one."""
        if not self.path.exists():
            return False
        record = records.load(self.path)
        history = record["history"]
        trained = record["epochs"] == len(history["loss"]) and self.recipe.is_whole(history)
        whole = trained or record["status"] == "diverged"
        return whole and record["config_hash"] == self.variant.config_hash()

    def file_version(self) -> tuple[int, int] | None:
        """Changes when another record takes this one's place; None while there is none."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    def keeps(self, variants: Sequence[str]) -> bool:
        """Whether this is the run of those variants that keeps weights: of the first seed, in the full budget."""
        first = self.experiment.seeds_of(self.variant)[0]
        return self.budget == "full" and self.seed == first and self.variant.name in variants

    @contextlib.contextmanager
    def exclusive(self, wait: bool = True, on_wait: Callable | None = None):
        """Be the only process at this run, and clear away what a killed one left; as `files.locked`."""
        with files.locked(self.checkpoint.with_suffix(".lock"), wait, on_wait) as waited:
            kept = (self.weights_path(suffix) for suffix in (".npz", "_epochs.npz"))
            for place in (self.path, *kept):
                files.remove_leftovers(place)
            checkpoints.clean(self.checkpoint)
            yield waited
