"""How far runs on a cluster are: a table in a terminal, lines elsewhere."""

import collections
import dataclasses
import datetime
import shutil
import sys
import time

from shathenet_utils.runner import Run


@dataclasses.dataclass
class Entry:
    """A run on its way through the cluster.

    node: Ray's id of the node it was last on. begins: for each process that has taken it up, from which epoch it went
    on; None until its first epoch is done. error: why it failed.
    """

    run: Run
    state: str = "waiting"
    node: str = ""
    epoch: int = 0
    accuracy: float | None = None
    begins: list[int | None] = dataclasses.field(default_factory=list)
    error: str = ""


UNDER_WAY = ("waiting", "training", "taken up again")


def time_left(entries: list[Entry], seconds: float) -> str:
    """An estimate from the epochs done in so many seconds, such as "about 1:05:00 left"; "" before the first epoch."""
    first = [[begin for begin in entry.begins if begin is not None][:1] for entry in entries]
    done = sum(entry.epoch - begin for entry, begins in zip(entries, first, strict=True) for begin in begins)
    to_go = sum(entry.run.recipe.epochs - entry.epoch for entry in entries if entry.state in UNDER_WAY)
    return f"about {datetime.timedelta(seconds=round(seconds / done * to_go))} left in all" if done and to_go else ""


def table(
    entries: list[Entry], nodes: dict[str, str], seconds: float, width: int = 120, height: int = 1000
) -> list[str]:
    """The lines of the table: one per run (where there is no room, those under way first), and below them a summary.

    nodes: Ray's ids and the names of their machines.
    """
    rank = {"waiting": 1, "finished": 2, "diverged": 2}
    shown = sorted(range(len(entries)), key=lambda i: rank.get(entries[i].state, 0))[: max(height - 3, 1)]
    rows = [("variant", "seed", "node", "epoch", "accuracy", "state")]
    for entry in (entries[i] for i in sorted(shown)):
        accuracy = "" if entry.accuracy is None else f"{entry.accuracy:.1%}"
        state = f"{entry.state}: {entry.error}" if entry.error else entry.state
        node = nodes.get(entry.node, "")
        run, done = entry.run, f"{entry.epoch}/{entry.run.recipe.epochs}"
        rows.append((run.variant.name, str(run.seed), node, done, accuracy, state))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(wide) for cell, wide in zip(row, widths, strict=True)).rstrip() for row in rows]
    counts = collections.Counter(entry.state for entry in entries)
    summary = [f"{count} {state}" for state, count in counts.items()]
    return [line[:width] for line in [*lines, ", ".join([*summary, *filter(None, [time_left(entries, seconds)])])]]


def display(entries: list[Entry], ray):
    """A function that shows how far the runs are: in a terminal the table, redrawn, else a line per change of state."""
    begun, nodes, drawn, states = time.monotonic(), {}, 0, ["waiting"] * len(entries)

    def show():
        nonlocal drawn
        if any(entry.node and entry.node not in nodes for entry in entries):
            nodes.update({node["NodeID"]: node["NodeManagerHostname"] for node in ray.nodes()})
        seconds = time.monotonic() - begun
        if sys.stdout.isatty():
            lines = table(entries, nodes, seconds, *shutil.get_terminal_size())
            print(f"\x1b[{drawn}A\r\x1b[J" * (drawn > 0) + "\n".join(lines), flush=True)
            drawn = len(lines)
            return
        for i, entry in enumerate(entries):
            if entry.state != states[i]:
                parts = [entry.state + f" on {nodes[entry.node]}" * (entry.node in nodes and entry.state in UNDER_WAY)]
                parts += [entry.error, f"epoch {entry.epoch} of {entry.run.recipe.epochs}", time_left(entries, seconds)]
                print(f"{entry.run.name}: {', '.join(filter(None, parts))}", flush=True)
                states[i] = entry.state

    return show
