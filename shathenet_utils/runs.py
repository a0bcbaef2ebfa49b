"""Runs: the records of one experiment together; their intervals, differences and table. Opens without TensorFlow."""

import dataclasses
from collections import Counter

import numpy as np

from shathenet_utils import records, stats

PARTS = {"validation_accuracy": "validation", "test_accuracy": "test"}
"""The accuracies whose single predictions are recorded, and the part of the dataset that they are on."""
COLUMNS = {
    "validation_accuracy": "validation accuracy",
    "test_accuracy": "test accuracy",
    "test_accuracy_flip": "test accuracy with flip",
    "test_accuracy_tta": "test accuracy, multi-crop",
}
INTERVAL = " (95\u202f% interval over seeds)"
"""Ends a column's name in `Runs.table`, where a row has more than one seed."""
OVER = ("seeds", "seeds and images")


@dataclasses.dataclass(frozen=True, repr=False)
class Runs:
    """The records of one experiment, by variant, in the order of its declaration and of its seeds.

    recorded: the book's evidence; of a custom experiment, the user's runs. user_runs: the user's runs beside it, which
    no number and no choice rests on. pilots: the variants that decide nothing. labels: the words a reader sees for a
    variant; its name where none is given. A run that diverged has no accuracy: numbers leave it out, and name it.

    Accuracies are fractions. A method that is given a variant without records raises ValueError, naming those there
    are. Raises ValueError where one variant's records are of different data, of different numbers of training images,
    or twice of one seed.
    """

    experiment: str
    recorded: dict[str, list[dict]]
    user_runs: dict[str, list[dict]] = dataclasses.field(default_factory=dict)
    pilots: tuple[str, ...] = ()
    labels: dict[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        names = [*self.recorded, *self.user_runs]
        object.__setattr__(self, "labels", {name: self.labels.get(name, name) for name in names})
        for name in self.recorded:
            if len({_data(record) for record in self.recorded[name]}) > 1:
                raise ValueError(f"{self.experiment}/{name}: its runs are on different data, so are no one variant's.")
            if len({_train_images(record) for record in self.recorded[name]}) > 1:
                raise ValueError(f"{self.experiment}/{name}: its runs trained on different numbers of images.")
            seeds = [record["seed"] for record in self.recorded[name]]
            if len(set(seeds)) < len(seeds):
                raise ValueError(f"{self.experiment}/{name} has two runs of one seed: {', '.join(map(str, seeds))}.")

    def __repr__(self):
        parts = [f"{name}: {len(found)} of {self.experiment}" for name, found in self.recorded.items()]
        parts += [f"{name}: {len(found)} of the user's" for name, found in self.user_runs.items() if found]
        return f"Runs({'; '.join(parts) or f'none of {self.experiment}'})"

    def finished(self, variant: str) -> list[dict]:
        """The records of a variant's runs that did not diverge."""
        return [record for record in self._records(variant) if record["status"] != "diverged"]

    def diverged(self, variant: str) -> list[int]:
        """The seeds of a variant's runs that did."""
        return [record["seed"] for record in self._records(variant) if record["status"] == "diverged"]

    def values(self, variant: str, key: str = "test_accuracy") -> np.ndarray:
        """One number per seed that did not diverge, float64 (seeds,): a record's key, or "training_accuracy", that of
        the last epoch. Empty where the runs have no such number."""
        return np.array(list(self._by_seed(variant, key).values()), np.float64)

    def correctness(self, variant: str, key: str = "test_accuracy") -> np.ndarray:
        """Whether each run classified each image correctly: bool (seeds, images), of the seeds that did not diverge.

        key: "test_accuracy" or "validation_accuracy"; the images are in the dataset's order. Raises ValueError for
        another key or where every seed diverged, RecordError where predictions or labels are not recorded.
        """
        if key not in PARTS:
            raise ValueError(f'Only {" and ".join(PARTS)} are known image by image, not {key}: take over="seeds".')
        found = [record for record in self.finished(variant) if record[key] is not None]
        if not found:
            raise ValueError(self._no_number(variant, key))
        labels = _labels(found[0], PARTS[key])
        return np.stack([_correct(record, labels, key) for record in found])

    def mean_ci(self, variant: str, key: str = "test_accuracy", over: str = "seeds") -> stats.Interval:
        """A variant's mean and 95 % interval; NaN bounds from one seed.

        over: "seeds" (how much a rerun would vary, on these images), or "seeds and images" (on other images too, for
        the accuracies of `correctness`). Raises ValueError where no run has the number, and as `correctness`
        does.
        """
        if _checked(over) == "seeds and images":
            return stats.of_fractions(stats.two_way_mean_ci(self.correctness(variant, key)))
        interval = stats.mean_ci(self._some_values(variant, key))
        return stats.of_fractions(interval) if "accuracy" in key else interval

    def difference(
        self, variant: str, baseline: str, key: str = "test_accuracy", over: str = "seeds and images"
    ) -> stats.Difference:
        """The mean of a variant − that of its baseline with its 95 % interval, their seeds independent.

        over: "seeds and images" (how much would be found with other seeds on other images), or "seeds" (Welch's
        interval, on these images). Raises ValueError where one of the two saw other data, or another number of training
        images, and as `mean_ci` does.
        """
        _checked(over)
        self._check_comparable(variant, baseline)
        if over == "seeds and images":
            return stats.two_way_difference(self.correctness(variant, key), self.correctness(baseline, key))
        return stats.welch_difference(self._some_values(variant, key), self._some_values(baseline, key))

    def paired_difference(self, variant: str, baseline: str, key: str = "test_accuracy") -> stats.Difference:
        """The mean of variant − baseline over the seeds that both have, paired by seed number, on these images.

        For variants whose runs of one seed share something, such as their initial weights: else pairing buys nothing.
        Raises ValueError as `difference` does, and where no seed finished in both.
        """
        self._check_comparable(variant, baseline)
        values, others = self._by_seed(variant, key), self._by_seed(baseline, key)
        both = [seed for seed in values if seed in others]
        if not both:
            raise ValueError(f"{self.experiment}: {variant} and {baseline} have no seed in common with {_words(key)}.")
        return stats.paired_difference([values[seed] for seed in both], [others[seed] for seed in both])

    def relative_seconds(self, variant: str, baseline: str) -> float | None:
        """Seconds per epoch of a variant's runs, in times the baseline's: medians of runs on one kind of processor with
        as many threads; None where the two have no such runs. Runs share their machine, so this is rough: `bench`
        measures."""
        taken = [_seconds_by_machine(self.finished(name)) for name in (variant, baseline)]
        ratios = [float(np.median(seconds) / np.median(taken[1][kind])) for kind, seconds in taken[0].items()
                  if kind in taken[1]]  # fmt: skip
        return float(np.median(ratios)) if ratios else None

    def best(self, by: str = "validation_accuracy") -> str:
        """The variant with the highest mean, no pilot; a choice rests on validation, never on the test set.

        A variant of whose seeds some diverged is taken only where all are like that. Raises ValueError where no variant
        has the number, where there are only pilots, or where the variants are on different data.
        """
        names = [name for name in self.recorded if name not in self.pilots]
        if self.recorded and not names:
            raise ValueError(f"{self.experiment} has only pilots, which decide nothing: no best variant.")
        means = {name: self.values(name, by).mean() for name in names if len(self.values(name, by))}
        if not means:
            raise ValueError(f"No variant of {self.experiment} has {_words(by)}: no best variant.")
        if len({_data(self.recorded[name][0]) for name in means}) > 1:
            raise ValueError(f"The variants of {self.experiment} are on different data: no best variant.")
        return max(means, key=lambda name: (not self.diverged(name), means[name]))

    def joined(self, other: "Runs", prefixes: tuple[str, str] = ("", "")) -> "Runs":
        """The variants of both as one, so that they can be subtracted, tabulated and drawn together.

        prefixes: stand before the names and labels of the first's and of the other's variants: with ("v1_1", "") the
        variant "plain" becomes "v1_1/plain". Raises ValueError where a name is in both, or where the two have no
        dataset or no split in common.
        """
        mine, theirs = self._prefixed(prefixes[0]), other._prefixed(prefixes[1])
        both = f"{self.experiment} and {other.experiment}"
        if doubled := sorted(mine.labels.keys() & theirs.labels.keys()):
            raise ValueError(
                f"{both} both have a variant {', '.join(doubled)}: give prefixes that tell them apart, such as "
                f'prefixes=("{self.experiment}", "").'
            )
        for what, of in (("dataset", _data), ("split", _split)):
            here, there = (
                {of(record) for found in runs.recorded.values() for record in found} for runs in (self, other)
            )
            if here and there and not here & there:
                raise ValueError(f"{both} have no {what} in common, so they can't be compared: not joined.")
        return Runs(
            both,
            mine.recorded | theirs.recorded,
            mine.user_runs | theirs.user_runs,
            mine.pilots + theirs.pilots,
            mine.labels | theirs.labels,
        )

    def table(self, user_only: bool = False):
        """A pandas table, a row per variant: parameters, MACs, epochs, seeds, mean accuracies with their intervals.

        The columns name the interval: over seeds, on these images. The data and the number of training images have
        columns where they are not the same for all rows. User's runs stand below the records, or alone (user_only), in
        rows of their own per dataset and budget.
        """
        import pandas

        rows = [] if user_only else [(self._row_label(name), found) for name, found in self.recorded.items() if found]
        evidence = {_data(record) for found in self.recorded.values() for record in found}
        for name, found in self.user_runs.items():
            for part in _by_kind(found):
                dataset, budget = part[0]["dataset"], part[0]["budget"]
                notes = ["yours"]
                if evidence and _data(part[0]) not in evidence:
                    notes.append(f"other {dataset} images" if dataset in {name for name, _ in evidence} else dataset)
                if budget != "full":
                    notes.append(f"{budget} run")
                rows.append((f"{self._row_label(name)} ({', '.join(notes)})", part))
        table = pandas.DataFrame(
            [_summary(found, [found for _, found in rows]) for _, found in rows], index=[label for label, _ in rows]
        )
        return table.rename_axis("variant")

    def _records(self, variant: str) -> list[dict]:
        if variant in self.recorded:
            return self.recorded[variant]
        has = f"it has {', '.join(self.recorded)}" if self.recorded else "it has none"
        raise ValueError(f"{self.experiment} has no recorded variant {variant!r}; {has}.")

    def _by_seed(self, variant: str, key: str) -> dict[int, float]:
        numbers = {record["seed"]: _value(record, key) for record in self.finished(variant)}
        return {seed: numbers[seed] for seed in sorted(numbers) if numbers[seed] is not None}

    def _some_values(self, variant: str, key: str) -> np.ndarray:
        values = self.values(variant, key)
        if len(values) == 0:
            raise ValueError(self._no_number(variant, key))
        return values

    def _no_number(self, variant: str, key: str) -> str:
        why = "every seed diverged" if not self.finished(variant) else "its records have none"
        return f"{self.experiment}/{variant} has no {_words(key)}: {why}."

    def _check_comparable(self, variant: str, baseline: str) -> None:
        """One dataset and as many training images on both sides. Raises ValueError."""
        ours, theirs = self._records(variant), self._records(baseline)
        for of, what in ((_data, "on different data"), (_train_images, "on different numbers of images")):
            if len({of(record) for record in (*ours, *theirs)}) > 1:
                raise ValueError(f"{self.experiment}: {variant} and {baseline} were trained {what}: no difference.")

    def _prefixed(self, prefix: str) -> "Runs":
        if not prefix:
            return self
        return Runs(
            self.experiment,
            {f"{prefix}/{name}": found for name, found in self.recorded.items()},
            {f"{prefix}/{name}": found for name, found in self.user_runs.items()},
            tuple(f"{prefix}/{name}" for name in self.pilots),
            {f"{prefix}/{name}": f"{prefix}: {label}" for name, label in self.labels.items()},
        )

    def _row_label(self, variant: str) -> str:
        label = self.labels[variant]
        if Counter(self.labels.values())[label] > 1:  # of joined experiments: no two rows alike
            label = f"{label} ({variant})"
        return label + " (pilot)" * (variant in self.pilots)


def _checked(over: str) -> str:
    if over not in OVER:
        raise ValueError(f'An interval is over="{OVER[0]}" or over="{OVER[1]}", not {over!r}.')
    return over


def _words(key: str) -> str:
    return key.replace("_", " ")


def _seconds_by_machine(found: list[dict]) -> dict[tuple, list[float]]:
    """Processor and threads → the median seconds of an epoch, one per run."""
    by_machine = {}
    for record in found:
        if record["machine"] and record["seconds"]["median_epoch"]:
            kind = record["machine"]["processor"], record["threads"]["intra_op"]
            by_machine.setdefault(kind, []).append(record["seconds"]["median_epoch"])
    return by_machine


def _data(record: dict) -> tuple[str, str]:
    """Which images: the fingerprint is the same however they are split, and whatever part of them is trained on."""
    return record["dataset"], record["data_fingerprint"]


def _train_images(record: dict) -> int:
    return record["split"]["train"]


def _split(record: dict) -> tuple:
    """A record's split, but not which seed drew a subset of the training images: that differs from run to run."""
    return tuple(record["split"].get(name) for name in ("train", "validation", "test", "seed"))


def _value(record: dict, key: str) -> float | None:
    if key == "training_accuracy":
        return record["history"]["accuracy"][-1]
    if key not in record:
        raise ValueError(f"Records have no number {key!r}.")
    return record[key]


def _millions(count: int) -> str:
    """A count in millions: "2.9M"; below 0.1M with two significant digits, "0.018M"."""
    millions = count / 1e6
    return f"{millions:.1f}M" if millions >= 0.1 else f"{millions:.2g}M"


def _labels(record: dict, part: str) -> np.ndarray:
    """The true classes of a part of the record's dataset, from its facts: int64 (images,). Raises RecordError."""
    dataset = record["dataset"]
    try:
        facts = records.facts(dataset)
    except records.RecordError as error:
        raise records.RecordError(f'No labels of {dataset} are recorded, take over="seeds" ({error})') from None
    if f"{part}_labels" not in facts:
        raise records.RecordError(
            f'The facts of {dataset} have no {part} labels: take over="seeds", or count them anew with '
            "`python -m shathenet_utils facts`."
        )
    if facts["data_fingerprint"] != record["data_fingerprint"]:
        raise records.RecordError(f"{_name(record)} is on other data than the facts of {dataset}.")
    return records.decode_classes(facts[f"{part}_labels"])


def _correct(record: dict, labels: np.ndarray, key: str) -> np.ndarray:
    """Whether each image was classified correctly: bool (images,). Raises RecordError where it can't be known."""
    stored = record.get(f"{PARTS[key]}_predictions")
    if stored is None:
        raise records.RecordError(f'{_name(record)} keeps no {PARTS[key]} predictions: take over="seeds".')
    predictions = records.decode_classes(stored)
    if len(predictions) != len(labels) or abs(np.mean(predictions == labels) - record[key]) > 1e-6:
        raise records.RecordError(
            f"{_name(record)}: its {PARTS[key]} predictions don't give its {_words(key)}; it was altered, or is of "
            "another split than the facts."
        )
    return predictions == labels


def _name(record: dict) -> str:
    return f"{record['experiment']}/{record['variant']}/seed{record['seed']}"


def _by_kind(found: list[dict]) -> list[list[dict]]:
    """Runs apart by data, number of training images and budget, so that no mean mixes them."""
    kinds = {}
    for record in found:
        kinds.setdefault((_data(record), _train_images(record), record["budget"]), []).append(record)
    return list(kinds.values())


def _summary(found: list[dict], rows: list[list[dict]]) -> dict:
    """One row of the table; rows: the runs of all rows, which decide on the columns."""
    first, firsts = found[0], [row[0] for row in rows]
    diverged = [str(record["seed"]) for record in found if record["status"] == "diverged"]
    epochs = sorted({record["epochs"] for record in found})
    data = {_data(record) for record in firsts}
    of_one_name = len({name for name, _ in data}) < len(data)
    summary = {}
    if len(data) > 1:
        summary["data"] = first["dataset"] + of_one_name * f" {first['data_fingerprint'][:6]}"
    if len({_train_images(record) for record in firsts}) > 1:
        summary["training images"] = f"{_train_images(first):,}"
    summary |= {
        "parameters": f"{first['parameters']:,}",
        "MACs": "not counted" if first["macs"] is None else _millions(first["macs"]),
        "epochs": epochs[0] if len(epochs) == 1 else f"{epochs[0]} to {epochs[-1]}",
        "seeds": f"{len(found)}, diverged: {', '.join(diverged)}" if diverged else len(found),
    }
    counts = {key: [sum(record[key] is not None for record in row) for row in rows] for key in COLUMNS}
    for key in [key for key in COLUMNS if any(counts[key])] or PARTS:
        header = COLUMNS[key] + INTERVAL * (max(counts[key]) > 1)
        values = [record[key] for record in found if record[key] is not None]
        summary[header] = stats.format_mean_ci(stats.of_fractions(stats.mean_ci(values))) if values else "–"
    return summary
