"""The lineage and the ledger: the book's networks, in a table and a figure, from the records."""

from shathenet_utils import records, stats
from shathenet_utils.book import lineage, load_experiment

# The book's lineage: version → the experiment that decides it. The version is the variant best on validation.
VERSIONS = {"v1.0": "v1_0"}


# What stands in the ledger: label → experiment, variant (None: the one that was kept), the original's entry beside it.
LEDGER = {
    **{version: (name, None, f"original_{name}") for version, name in VERSIONS.items()},
    "v1.1": ("v1_1", "original_3e-4", "original_v1_1"),
    "v1.1 with flip and shift": ("v1_1", "flip_translate", None),
    "v1.2": ("v1_2", "original", "original_v1_2"),
    **{version: (*place.split("/"), None) for version, place in lineage.VERSIONS.items()},
    "frozen EfficientNet-Lite0, image augmentation": ("lite0", "all", "original_inception_v3"),
    "airbench 64/128/128, our implementation": ("airbench", "epochs_12", None),
}


def ledger() -> dict[str, dict]:
    """The book's networks, one row per network: parameters, macs, epochs, accuracy (an `Interval` over the seeds that
    did not diverge), how many did, multi_crop (an interval, or None), and the original's published entry, or None.
    Raises RecordError where a record is missing."""
    published, rows = records.published(), {}
    for label, (name, variant, original) in LEDGER.items():
        runs = load_experiment(name).load([variant] if variant else None)
        variant = variant or runs.best()
        first = runs.recorded[variant][0]
        rows[label] = {
            **{key: first[key] for key in ("parameters", "macs", "epochs")},
            "accuracy": runs.mean_ci(variant),
            "diverged": len(runs.diverged(variant)),
            "multi_crop": runs.mean_ci(variant, "test_accuracy_tta") if first["test_accuracy_tta"] else None,
            "original": original and published[original],
        }
    return rows


def ledger_label(name: str, variant: str) -> str:
    """The ledger's name for a variant of an experiment; both their names where it has none. Raises RecordError where
    the records are missing that show which variant was kept."""
    for label, (experiment, kept, _) in LEDGER.items():
        if experiment == name and variant == (kept or load_experiment(name).load().best()):
            return label
    return f"{name} {variant}"


def ledger_figure(name: str = "ledger"):
    """The ledger drawn among published networks, a `plots.Drawing`; the yardstick is the original's Inception-v3."""
    from shathenet_utils import plots

    networks = {label.partition(",")[0]: (row["parameters"], *row["accuracy"][:3]) for label, row in ledger().items()}
    accuracies = {
        key: {**entry, "original": key.startswith("original_")}
        for key, entry in records.published().items()
        if entry["what"] == "CIFAR-10 test accuracy" and entry["value"]
    }
    yardstick = accuracies["original_inception_v3"]["value"]
    return plots.ledger(networks, accuracies.values(), yardstick=yardstick, name=name)


TABLE_MARKS = ("<!-- table: written by python -m shathenet_utils table -->", "<!-- end of table -->")


def readme_table() -> str:
    """The versions in a Markdown table: the book's from the records, the original's beside them."""
    lines = [
        "| version | parameters | MACs | epochs | CIFAR-10 test accuracy (95 % interval, seeds) | the original's |",
        "|---|---|---|---|---|---|",
    ]
    for label, row in ledger().items():
        accuracy, original = row["accuracy"], row["original"]
        lost = f", {row['diverged']} more diverged" * (row["diverged"] > 0)
        published = "no number" if original and not original["value"] else "–"
        if original and original["value"]:
            published = f"{100 * original['value']:.0f} % at {original['parameters']}"
        lines.append(
            f"| {label} | {row['parameters']:,} | {row['macs'] / 1e6:.1f}M | {row['epochs']} "
            f"| {stats.format_mean_ci(accuracy)}, {accuracy.n} seeds{lost} | {published} |"
        )
    return "\n".join(lines)


def with_table(text: str, table: str, marks: tuple[str, str] = TABLE_MARKS) -> str:
    """The README's text with a table between its marks. Raises ValueError where the marks are missing."""
    begin, end = marks
    if begin not in text or end not in text:
        raise ValueError(f"README.md lacks the marks {begin} and {end} that hold a table.")
    before, _, rest = text.partition(begin)
    return f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}"
