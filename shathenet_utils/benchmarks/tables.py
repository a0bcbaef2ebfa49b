"""What was measured, in tables: the README's, a terminal's, and how Keras's `fit` ends its epochs."""

import numpy as np

from shathenet_utils import records
from shathenet_utils.benchmarks import bench

README_MARKS = ("<!-- seconds: written by python -m shathenet_utils table -->", "<!-- end of seconds -->")
COLUMNS = {
    "Keras's way": "Keras's `fit`",
    "Keras's fit, mixed_bfloat16": "Keras's `fit`, bfloat16",
    "directory flow": "Keras, images from a folder",
    "PyTorch": "PyTorch",
}
"""The README's columns: a contender's name in the records → its heading."""


def _place(result: dict) -> str:
    return f"{result['machine']['cores']} cores of an {result['machine']['processor']}"


def places(results: dict[str, dict]) -> str:
    """Where results were measured, in words; where that was on several machines, which on which."""
    at: dict[str, list[str]] = {}
    for name, result in results.items():
        at.setdefault(_place(result), []).append(name)
    return "; ".join(at) if len(at) == 1 else "; ".join(f"{place} ({', '.join(names)})" for place, names in at.items())


def _epochs_table(results: dict[str, dict]) -> list[str]:
    measured = {contender for result in results.values() for contender in result["contenders"]}
    columns = {contender: heading for contender, heading in COLUMNS.items() if contender in measured}
    lines = [
        f"| network | the book's loop, 45,000 images | {' | '.join(columns.values())} | first and PyTorch in |",
        "|---" * (len(columns) + 3) + "|",
    ]
    for name, result in results.items():
        mean = {contender: np.mean(one["seconds"]) for contender, one in result["contenders"].items()}
        others = [f"{mean[other] / mean['ours']:.2f}×" if other in mean else "–" for other in columns]
        precision = result["precision"].removeprefix("mixed_")
        lines.append(f"| {name} | {mean['ours']:.1f} s | {' | '.join(others)} | {precision} |")
    rounds = min((result["rounds"] for result in results.values()), default=0)
    return [*lines, "", f"Mean of {rounds} epochs in turn, on {places(results)}."]


def readme_table() -> str:
    """The networks' epochs in a Markdown table: the book's loop in seconds, the others in times as long; and on what
    machine."""
    lines = _epochs_table(bench.recorded())
    if elsewhere := bench.recorded(bench.ELSEWHERE):
        lines += ["", *_epochs_table(elsewhere)]
    for path in sorted((records.RECORDS / "bench").glob("run_*.json")):
        result = bench.load(path.stem)
        seconds = {name: np.sum(one["seconds"]) for name, one in result["contenders"].items()}
        accuracy = {name: 100 * one["accuracy"] for name, one in result["contenders"].items()}
        lines.append(
            f"\nA whole run of {result['experiment']} {result['variant']} on {_place(result)}: {seconds['ours']:.0f} s "
            f"to {accuracy['ours']:.1f} % test accuracy; the same recipe in PyTorch {seconds['PyTorch']:.0f} s "
            f"to {accuracy['PyTorch']:.1f} %. One seed; another machine takes other seconds."
        )
    if bench.path_of("waits").exists():
        times = ", ".join(f"{row['last step'] / row['ours']:.2f}× ({name})" for name, row in waits().items())
        lines.append(
            "\nKeras's `fit` can end an epoch waiting for tf.data's tuning thread, whose pauses double up to a minute. "
            f"Up to its last step, the fastest of {bench.load('waits')['rounds']} epochs of 10,000 images takes "
            f"{times}."
        )
    if bench.path_of("widened").exists():
        result = bench.load("widened")
        float32, theirs, ours = (np.mean(each["seconds"]) for each in result["contenders"].values())
        lines.append(
            f"\nOn a processor without instructions for bfloat16 ({_place(result)}) training *plain* in bfloat16 takes "
            f"{theirs / float32:.1f}× as long as in float32. The book's loop multiplies in float32 there, rounds where "
            f"bfloat16 rounds, and takes {ours / float32:.2f}×."
        )
    if bench.path_of("scaling").exists():
        result = bench.load("scaling")
        one, two = (np.mean(each["seconds"]) for each in result["contenders"].values())
        lines.append(
            f"\nOn a cluster: two one-core workers take {two / one:.2f} of one's time for {result['runs']} runs, "
            f"without the start of their processes, on {_place(result)}."
        )
    return "\n".join(lines)


def waits() -> dict[str, dict[str, float]]:
    """How Keras's `fit` ends its epochs, a row per network.

    The key of the book's loop holds the seconds of its fastest epoch; "last step": those of Keras's `fit`, until its
    last step.
    "epochs": of Keras's `fit`, how many were measured. "waited": how many of them ended more than a fifth of a second
    after their last step. "off": by how many seconds at most such an end missed the next waking of a thread that pauses
    for 10 ms, then twice as long each time, a minute at most.
    """
    wakings = np.minimum(0.01 * 2.0 ** np.arange(16), 60).cumsum()
    contenders, rows = bench.load("waits")["contenders"], {}
    for network in dict.fromkeys(name.rpartition(", ")[0] for name in contenders):
        keras = contenders[f"{network}, Keras's way"]
        ends, last_steps = np.array(keras["seconds"]), np.array(keras["until_last_step"])
        off = np.abs(ends - wakings[np.searchsorted(wakings, last_steps)])[ends - last_steps > 0.2]
        rows[network] = {
            "ours": min(contenders[f"{network}, ours"]["seconds"]), "last step": last_steps.min(), "epochs": len(ends),
            "waited": len(off), "off": off.max(initial=0),
        }  # fmt: skip
    return rows


def table(results: list[dict]):
    """A pandas table, a row per contender and measurement: seconds per epoch, as a multiple of the first's, memory."""
    import pandas

    rows = []
    for result in results:
        first = next(iter(result["contenders"].values()))["seconds"]
        for name, contender in result["contenders"].items():
            seconds = contender["seconds"]
            rows.append({
                "measured": result.get("network", result["name"]),
                "contender": name,
                "seconds per epoch, mean": f"{np.mean(seconds):.1f}",
                "best": f"{min(seconds):.1f}",
                "times the first": f"{np.mean(seconds) / np.mean(first):.2f}",
                "memory, GiB": contender.get("memory_gib", "–"),
            })  # fmt: skip
    return pandas.DataFrame(rows).set_index(["measured", "contender"])
