"""The same runs on a Ray cluster: one task a run, and one desk that keeps each run's last checkpoint.

A run gets a fresh process somewhere in the cluster, with this package and the data shipped to it. After every epoch it
leaves its checkpoint at the desk, on the machine that called; where its process or its machine is lost, Ray starts it
elsewhere, and it goes on from there to the same numbers. Records and weights are written here, where local training
writes them. Ray is imported where it is used: `requirements-cluster.txt` installs it.
"""

import collections
import contextlib
import dataclasses
import datetime
import hashlib
import itertools
import os
import re
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

from shathenet_utils import ROOT, bench, datasets, experiments, output_folder, recipes, records

LOSSES = 10
"""How often a run may lose its process or machine before it has failed."""
MACHINES_MUST_AGREE = ("tensorflow", "keras", "numpy")


class ClusterError(RuntimeError):
    """The cluster can't be used; one sentence says why, and what to do."""


@dataclasses.dataclass
class Entry:
    """A run on its way through the cluster.

    node: Ray's id of the node it was last on. begins: for each process that has taken it up, from which epoch it went
    on; None until its first epoch is done. told: why it failed.
    """

    run: experiments.Run
    state: str = "waiting"
    node: str = ""
    epoch: int = 0
    accuracy: float | None = None
    begins: list[int | None] = dataclasses.field(default_factory=list)
    told: str = ""


class Desk:
    """Where runs, named by a number, leave their progress and last checkpoint: a Ray actor on the caller's machine."""

    def __init__(self, checkpoints: dict[int, bytes]):
        self.checkpoints, self.progress, self.new = checkpoints, {}, set()

    def begin(self, run: int, node: str) -> tuple[int, bytes | None]:
        """A process takes a run up: which one it is, from 1, and the checkpoint to go on from, if there is one."""
        told = self.progress.setdefault(run, {"begins": [], "epoch": 0, "accuracy": None})
        told["begins"].append(None)
        told["node"] = node
        return len(told["begins"]), self.checkpoints.get(run)

    def epoch(self, run: int, start: int, epoch: int, accuracy: float, checkpoint: bytes) -> None:
        """After an epoch; a process that was thought lost, and replaced, is not listened to."""
        told = self.progress[run]
        if start == len(told["begins"]):
            if told["begins"][-1] is None:
                told["begins"][-1] = epoch - 1
            told |= {"epoch": epoch, "accuracy": accuracy}
            self.checkpoints[run] = checkpoint
            self.new.add(run)

    def news(self) -> tuple[dict[int, dict], dict[int, bytes]]:
        """Every run's progress, and the checkpoints that came since the last call."""
        new, self.new = self.new, set()
        return self.progress, {run: self.checkpoints[run] for run in new}

    def forget(self, run: int) -> None:
        """A run's record is written: its checkpoint is no longer needed."""
        self.checkpoints.pop(run, None)
        self.new.discard(run)


def _work(desk, number: int, run: experiments.Run, data: datasets.Dataset) -> tuple[dict, dict[str, bytes]] | str:
    """Train one run in this process: its record and its weights files, or a sentence that says why there is none."""
    import ray

    with tempfile.TemporaryDirectory(prefix="shathenet-") as folder, ThreadPoolExecutor(1, "desk") as beside:
        os.environ["SHATHENET_OUTPUT"] = folder

        def ask(reference):
            # In a thread of its own: a task whose main thread waits gives its cores to another task meanwhile.
            return beside.submit(ray.get, reference).result()

        start, left = ask(desk.begin.remote(number, ray.get_runtime_context().get_node_id()))
        run = dataclasses.replace(run, record=False)  # here it is a run like any other; who called keeps the record
        if left:
            run.checkpoint.parent.mkdir(parents=True)
            run.checkpoint.write_bytes(left)

        def tell(history):
            accuracy = (history["validation_accuracy"] or history["accuracy"])[-1]
            ask(desk.epoch.remote(number, start, len(history["loss"]), accuracy, run.checkpoint.read_bytes()))

        try:
            record = experiments.train(
                run.experiment, run.variant, run.seed, data=data, budget=run.budget, on_epoch=tell
            )
        except Exception as error:  # whatever a run may raise: a sentence travels, and nothing is tried again
            return _sentence(error)
        if record is None:
            return "It was stopped on its machine."
        kept = (record["weights"] or {}).items()
        return record, {name: (Path(folder) / file["path"]).read_bytes() for name, file in kept}


def _versions() -> dict[str, str]:
    """What must be the same on all machines, as this process has it."""
    return {found.name: found.version for found in metadata.distributions() if found.name in MACHINES_MUST_AGREE}


def _on(node: str):
    """Ray's way to say that something must run on this node."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node, soft=False)


def _check_machines(ray, cores: int) -> None:
    """Raises ClusterError where no machine has that many cores, or one has other libraries than this one."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    most = int(max(node["Resources"].get("CPU", 0) for node in nodes))
    if most < cores:
        raise ClusterError(f"No machine of the cluster offers {cores} cores to a run; the largest offers {most}.")
    ask = ray.remote(num_cpus=0, max_calls=1)(_versions)
    asked = [ask.options(scheduling_strategy=_on(node["NodeID"])).remote() for node in nodes]
    for node, found in zip(nodes, ray.get(asked, timeout=120), strict=True):
        if found != _versions():
            raise ClusterError(
                f"{node['NodeManagerHostname']} has {found}, this machine {_versions()}: "
                "install the same requirements.txt on both."
            )


@contextlib.contextmanager
def connected(address: str, cores: int = 1):
    """The module `ray`, connected to the cluster at `address`, the package shipped there.

    address: "auto", "host:port" or "ray://host:port", as Ray understands them. cores: of TensorFlow in each run.
    Raises ClusterError where Ray or the cluster is absent, lost, or unfit for the runs.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
    except ImportError:
        raise ClusterError(
            "Training on a cluster needs Ray, which is not installed: pip install -r requirements-cluster.txt."
        ) from None
    settings = {"SHATHENET_THREADS": str(cores), "TQDM_DISABLE": "1"}
    shipped = {"py_modules": [str(Path(__file__).parent)], "env_vars": settings}
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    try:
        if colon:  # Ray itself would try for two minutes
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address, runtime_env=shipped, log_to_driver=False, logging_level="ERROR")
    except (OSError, RuntimeError, ValueError, OverflowError, ray.exceptions.RayError) as error:
        raise ClusterError(f"No cluster answers at {address} ({_sentence(error)}).") from None
    try:
        _check_machines(ray, cores)
        yield ray
    except ray.exceptions.RayError as error:
        raise ClusterError(f"The cluster at {address} was lost ({_sentence(error)}).") from None
    finally:
        ray.shutdown()


def _sentence(error: BaseException) -> str:
    """What went wrong, in a line."""
    cause = getattr(error, "cause", None) or error
    bold = re.search(r"\x1b\[1m(.+?)\x1b\[0m", str(cause))  # Keras's own sentence, amid a traceback
    line = bold[1] if bold else (str(cause).strip() or "no more is known").splitlines()[0]
    return line if isinstance(cause, ValueError | records.RecordError) else f"{type(cause).__name__}: {line}"


def to_do(runs: Sequence[experiments.Run], held: contextlib.ExitStack) -> list[Entry]:
    """Of these runs, those that have no record yet and that no other process is at; the others are named.

    held: keeps the locks of those that are returned. Raises as `experiments.train` does where it would not begin.
    """
    entries = []
    for run in runs:
        experiments.check_budget(run.budget)
        if run.record:
            experiments.check_evidence(run.experiment, run.variant, run.seed, run.budget)
        if run.is_there():
            print(f"{run.name}: there already, {run.path}")
            continue
        records.check_writable(run.path.parent)
        try:
            held.enter_context(run.alone(wait=False))
        except records.Busy:
            print(f"{run.name}: another process is at it")
            continue
        if run.is_there():  # another process has just finished it
            print(f"{run.name}: there already, {run.path}")
            continue
        entries.append(Entry(run))
    return entries


def store(run: experiments.Run, data: datasets.Dataset, record: dict, weights: dict[str, bytes]) -> None:
    """Write what came back, each file whole, where local training would.

    Raises RecordError, and writes nothing, where it is not the run that was asked for or weights changed on their way.
    """
    data = datasets.few(data, run.variant.images_a_class, run.seed)
    wanted = {
        "experiment": run.experiment.name, "variant": run.variant.name, "seed": run.seed, "budget": run.budget,
        "config_hash": run.variant.config_hash(), "data_fingerprint": data.fingerprint, "split": data.split,
    }  # fmt: skip
    other = [key for key, value in wanted.items() if record[key] != value]
    other += ["threads"] * (record["threads"]["inter_op"] != 1)
    if other:
        raise records.RecordError(f"What came back is not the run that was asked for: its {', '.join(other)} differ.")
    kept = record["weights"] or {}
    for name, file in kept.items():
        if hashlib.sha256(weights[name]).hexdigest() != file["sha256"]:
            raise records.RecordError(f"The {name} weights that came back are not those of their record.")
    for name, file in kept.items():
        suffix = Path(file["path"]).name.removeprefix(run.path.stem)
        path = run.weights_path(suffix)
        _write(path, weights[name])
        file["path"] = path.relative_to(ROOT if path.is_relative_to(ROOT) else output_folder()).as_posix()
    records.save(record, run.path)
    run.checkpoint.unlink(missing_ok=True)


def _write(path: Path, content: bytes) -> None:
    with records.writing_to(path), records.written_whole(path) as temporary:
        temporary.write_bytes(content)


def train(runs: Sequence[experiments.Run], address: str, cores: int = 1) -> list[Entry]:
    """Train runs on the cluster at `address`, `cores` cores each; returns those that were to do.

    Their states: "finished", "diverged", "failed" (then `told` says why), or "stopped" by Ctrl-C, which leaves their
    checkpoints where a local run goes on from them. Raises ClusterError, and what `experiments.train` would raise.
    """
    with contextlib.ExitStack() as held:
        entries = to_do(runs, held)
        if not entries:
            return []
        variants = {(v.dataset, v.validation): v for v in (entry.run.variant for entry in entries)}
        data = {key: experiments.load_data(variant) for key, variant in variants.items()}
        ray = held.enter_context(connected(address, cores))
        shipped = {key: ray.put(dataset) for key, dataset in data.items()}  # a node fetches it once, and maps it
        places = [entry.run.checkpoint for entry in entries]
        left = {number: place.read_bytes() for number, place in enumerate(places) if place.exists()}
        here = _on(ray.get_runtime_context().get_node_id())
        desk = ray.remote(num_cpus=0)(Desk).options(scheduling_strategy=here).remote(left)
        task = ray.remote(num_cpus=cores, max_calls=1, max_retries=LOSSES)(_work)
        show, pending = _display(entries, ray), {}
        try:
            for number, entry in enumerate(entries):
                key = entry.run.variant.dataset, entry.run.variant.validation
                pending[task.remote(desk, number, entry.run, shipped[key])] = number, data[key]
            while pending:
                ready, _ = ray.wait(list(pending), timeout=1)
                for reference in ready:
                    number, dataset = pending.pop(reference)
                    _finish(ray, entries[number], dataset, reference)
                    desk.forget.remote(number)
                _hear(entries, *ray.get(desk.news.remote()))
                show()
        except KeyboardInterrupt:
            for reference in pending:
                ray.cancel(reference)
            ray.wait(list(pending), num_returns=len(pending), timeout=10)
            _hear(entries, *ray.get(desk.news.remote()))
            for number, _ in pending.values():
                entries[number].state = "stopped"
            show()
            to_go = f"{len(pending)} of {len(entries)} runs to go"
            print(f"Stopped, {to_go}: the same call, or a local one, goes on from there.")
        for entry in entries:
            if entry.state == "failed":
                print(f"error: {entry.run.name}: {entry.told}", file=sys.stderr)
    return entries


def _finish(ray, entry: Entry, data: datasets.Dataset, reference) -> None:
    """Store what a run came to; where it failed, say why."""
    try:
        came = ray.get(reference)
        if not isinstance(came, str):
            store(entry.run, data, *came)
    except (ray.exceptions.RayError, records.RecordError) as error:
        came = _sentence(error)
    if isinstance(came, str):
        entry.state, entry.told = "failed", came
        return
    record = came[0]
    entry.state, entry.epoch = record["status"], record["epochs"]
    entry.accuracy = (record["history"]["validation_accuracy"] or record["history"]["accuracy"] or [None])[-1]


def _hear(entries: list[Entry], progress: dict[int, dict], checkpoints: dict[int, bytes]) -> None:
    """Take up the desk's news: where each run is, and its checkpoint, which a local run could go on from."""
    for number, told in progress.items():
        entry = entries[number]
        for name, value in told.items():
            setattr(entry, name, value)
        if entry.state in UNDER_WAY:
            entry.state = "taken up again" if len(entry.begins) > 1 or entry.begins[0] else "training"
    for number, checkpoint in checkpoints.items():
        _write(entries[number].run.checkpoint, checkpoint)


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
    """The lines of the table: a run each (where there is no room, those under way first), and below them a summary.

    nodes: Ray's ids and the names of their machines.
    """
    rank = {"waiting": 1, "finished": 2, "diverged": 2}
    shown = sorted(range(len(entries)), key=lambda i: rank.get(entries[i].state, 0))[: max(height - 3, 1)]
    rows = [("variant", "seed", "node", "epoch", "accuracy", "state")]
    for entry in (entries[i] for i in sorted(shown)):
        accuracy = "" if entry.accuracy is None else f"{entry.accuracy:.1%}"
        state = f"{entry.state}: {entry.told}" if entry.told else entry.state
        node = nodes.get(entry.node, "")
        run, done = entry.run, f"{entry.epoch}/{entry.run.recipe.epochs}"
        rows.append((run.variant.name, str(run.seed), node, done, accuracy, state))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(wide) for cell, wide in zip(row, widths, strict=True)).rstrip() for row in rows]
    counts = collections.Counter(entry.state for entry in entries)
    summary = [f"{count} {state}" for state, count in counts.items()]
    return [line[:width] for line in [*lines, ", ".join([*summary, *filter(None, [time_left(entries, seconds)])])]]


def _display(entries: list[Entry], ray):
    """A function that shows how far the runs are: in a terminal the table, redrawn, else a line a change of state."""
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
                parts += [entry.told, f"epoch {entry.epoch} of {entry.run.recipe.epochs}", time_left(entries, seconds)]
                print(f"{entry.run.name}: {', '.join(filter(None, parts))}", flush=True)
                states[i] = entry.state

    return show


def scaling(
    address: str = "auto",
    runs: int = 8,
    epochs: tuple[int, int] = (5, 30),
    record: bool = False,
    again: bool = False,
) -> dict:
    """One and two one-core workers' seconds for `runs` runs, on an otherwise idle cluster: a result of `bench`.

    v1.0 learns the drawn stand-in. Each number of workers trains all runs twice, short and long: the difference is
    training alone, without the start of any process. Its seconds are told for an epoch of a run, of 45,000 pictures.
    """
    if bench.path_of("scaling", record).exists() and not again:
        return bench.load("scaling", record)
    seconds, pictures = {}, datasets.toy_shapes()
    with connected(address) as ray:
        data = ray.put(pictures)
        desk = ray.remote(num_cpus=0)(Desk).remote({})
        task = ray.remote(num_cpus=1, max_calls=1, scheduling_strategy="SPREAD")(_work)
        numbers = itertools.count()

        def check(results):
            for told in results:
                if isinstance(told, str):
                    raise ClusterError(f"A run failed, so there is nothing to compare: {told}")

        def take(workers: int, count: int, length: int) -> float:
            variant = experiments.Variant("scaling", "v1_0", recipes.Recipe(length), dataset="toy_shapes")
            experiment = experiments.Experiment("scaling", "Do two workers take half the time?", (variant,))
            begun, under_way = time.perf_counter(), []
            for seed in range(count):
                if len(under_way) == workers:
                    ready, under_way = ray.wait(under_way)
                    check(ray.get(ready))
                run = experiments.Run(experiment, variant, seed, "full", variant.dataset)
                under_way.append(task.remote(desk, next(numbers), run, data))
            check(ray.get(under_way))
            return round(time.perf_counter() - begun, 1)

        take(2, 2, 1)  # the package and the data reach both nodes
        for workers in (1, 2):
            short, long = (take(workers, runs, length) for length in epochs)
            seconds[workers] = (long - short) / (runs * (epochs[1] - epochs[0]))
    count = len(pictures.train_labels)
    found = {
        f"{workers} one-core worker{'s' * (workers > 1)}": {
            "seconds": [round(each * bench.EPOCH / count, 3)],
            "pictures": count,
        }
        for workers, each in seconds.items()
    }
    return bench.save("scaling", "What do two workers save?", found, 1, record, runs=runs, epochs=list(epochs))
