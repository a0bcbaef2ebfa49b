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

from shathenet_utils import ROOT, datasets, experiments, output_folder, recipes, records

LOSSES = 10
"""How often a run may lose its process or machine before it has failed."""
MACHINES_MUST_AGREE = ("tensorflow", "keras", "numpy")


class ClusterError(RuntimeError):
    """The cluster can't be used; one sentence says why, and what to do."""


@dataclasses.dataclass
class Run:
    """One run on its way through the cluster.

    folder: below which its record will lie. node: Ray's id of the node it was last on. begins: for each process that
    has taken it up, from which epoch it went on; None until its first epoch is done. told: why it failed.
    """

    experiment: experiments.Experiment
    variant: experiments.Variant
    seed: int
    budget: str
    folder: Path
    state: str = "waiting"
    node: str = ""
    epoch: int = 0
    accuracy: float | None = None
    begins: list[int | None] = dataclasses.field(default_factory=list)
    told: str = ""

    @property
    def name(self) -> str:
        """As local training names it."""
        return f"{self.experiment.name} {self.variant.name} seed {self.seed}"

    @property
    def epochs(self) -> int:
        """How many this budget trains."""
        return self.experiment.epochs_by_budget.get(self.budget, self.variant.recipe.epochs)

    @property
    def path(self) -> Path:
        """Where its record will lie."""
        return self.experiment.path(self.variant, self.seed, self.folder)

    @property
    def checkpoint(self) -> Path:
        """Where a local run would keep its state, and go on from it."""
        return records.checkpoint_path(self.path.relative_to(self.folder), self.variant.dataset, self.budget)


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


def _work(desk, number: int, run: Run, data: datasets.Dataset) -> tuple[dict, dict[str, bytes]] | str:
    """Train one run in this process: its record and its weights files, or a sentence that says why there is none."""
    import ray

    with tempfile.TemporaryDirectory(prefix="shathenet-") as folder, ThreadPoolExecutor(1, "desk") as beside:
        os.environ["SHATHENET_OUTPUT"] = folder

        def ask(reference):
            # In a thread of its own: a task whose main thread waits gives its cores to another task meanwhile.
            return beside.submit(ray.get, reference).result()

        start, left = ask(desk.begin.remote(number, ray.get_runtime_context().get_node_id()))
        run.folder = records.runs_folder(data.name, run.budget)
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


def to_do(experiment, chosen: Sequence, budget: str, record: bool, held: contextlib.ExitStack) -> list[Run]:
    """Of (variant, seed) pairs, the runs that have no record yet and that no other process is at; the others are named.

    held: keeps the locks of those that are returned. Raises as `experiments.train` does where it would not begin.
    """
    experiments.check_budget(budget)
    runs = []
    for variant, seed in chosen:
        if record:
            experiments.check_evidence(experiment, variant, seed, budget)
        folder = records.RECORDS if record else records.runs_folder(variant.dataset, budget)
        run = Run(experiment, variant, seed, budget, folder)
        if run.path.exists() and records.load(run.path)["config_hash"] == variant.config_hash():
            print(f"{run.name}: there already, {run.path}")
            continue
        records.check_writable(run.path.parent)
        try:
            held.enter_context(records.locked(run.checkpoint.with_suffix(".lock"), wait=False))
        except records.Busy:
            print(f"{run.name}: another process is at it")
            continue
        for place in (run.path, run.checkpoint):
            records.remove_leftovers(place)
        runs.append(run)
    return runs


def store(run: Run, data: datasets.Dataset, record: dict, weights: dict[str, bytes]) -> None:
    """Write what came back, each file whole, where local training would.

    Raises RecordError, and writes nothing, where it is not the run that was asked for or weights changed on their way.
    """
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
        path = experiments.weights_path(run.path, run.folder, suffix)
        _write(path, weights[name])
        file["path"] = path.relative_to(ROOT if path.is_relative_to(ROOT) else output_folder()).as_posix()
    records.save(record, run.path)
    run.checkpoint.unlink(missing_ok=True)


def _write(path: Path, content: bytes) -> None:
    with records.writing_to(path), records.written_whole(path) as temporary:
        temporary.write_bytes(content)


def train(experiment, chosen: Sequence, address: str, *, cores: int = 1, budget="full", record=False) -> list[Run]:
    """Train (variant, seed) pairs on the cluster at `address`, `cores` cores a run; returns the runs that were to do.

    Their states: "finished", "diverged", "failed" (then `told` says why), or "stopped" by Ctrl-C, which leaves their
    checkpoints where a local run goes on from them. Raises ClusterError, and what `experiments.train` would raise.
    """
    with contextlib.ExitStack() as held:
        runs = to_do(experiment, chosen, budget, record, held)
        if not runs:
            return []
        data = {(v.dataset, v.validation): experiments.load_data(v) for v in (run.variant for run in runs)}
        ray = held.enter_context(connected(address, cores))
        shipped = {key: ray.put(dataset) for key, dataset in data.items()}  # a node fetches it once, and maps it
        left = {number: run.checkpoint.read_bytes() for number, run in enumerate(runs) if run.checkpoint.exists()}
        here = _on(ray.get_runtime_context().get_node_id())
        desk = ray.remote(num_cpus=0)(Desk).options(scheduling_strategy=here).remote(left)
        task = ray.remote(num_cpus=cores, max_calls=1, max_retries=LOSSES)(_work)
        show, pending = _display(runs, ray), {}
        try:
            for number, run in enumerate(runs):
                key = run.variant.dataset, run.variant.validation
                pending[task.remote(desk, number, run, shipped[key])] = number, data[key]
            while pending:
                ready, _ = ray.wait(list(pending), timeout=1)
                for reference in ready:
                    number, dataset = pending.pop(reference)
                    _finish(ray, runs[number], dataset, reference)
                    desk.forget.remote(number)
                _hear(runs, *ray.get(desk.news.remote()))
                show()
        except KeyboardInterrupt:
            for reference in pending:
                ray.cancel(reference)
            ray.wait(list(pending), num_returns=len(pending), timeout=10)
            _hear(runs, *ray.get(desk.news.remote()))
            for number, _ in pending.values():
                runs[number].state = "stopped"
            show()
            print(
                f"Stopped, {len(pending)} of {len(runs)} runs to go: the same call, or a local one, goes on from there."
            )
        for run in runs:
            if run.state == "failed":
                print(f"error: {run.name}: {run.told}", file=sys.stderr)
    return runs


def _finish(ray, run: Run, data: datasets.Dataset, reference) -> None:
    """Store what a run came to; where it failed, say why."""
    try:
        came = ray.get(reference)
        if not isinstance(came, str):
            store(run, data, *came)
    except (ray.exceptions.RayError, records.RecordError) as error:
        came = _sentence(error)
    if isinstance(came, str):
        run.state, run.told = "failed", came
        return
    record = came[0]
    run.state, run.epoch = record["status"], record["epochs"]
    run.accuracy = (record["history"]["validation_accuracy"] or record["history"]["accuracy"] or [None])[-1]


def _hear(runs: list[Run], progress: dict[int, dict], checkpoints: dict[int, bytes]) -> None:
    """Take up the desk's news: where each run is, and its checkpoint, which a local run could go on from."""
    for number, told in progress.items():
        run = runs[number]
        for name, value in told.items():
            setattr(run, name, value)
        if run.state in UNDER_WAY:
            run.state = "taken up again" if len(run.begins) > 1 or run.begins[0] else "training"
    for number, checkpoint in checkpoints.items():
        _write(runs[number].checkpoint, checkpoint)


UNDER_WAY = ("waiting", "training", "taken up again")


def time_left(runs: list[Run], seconds: float) -> str:
    """An estimate from the epochs done in so many seconds, such as "about 1:05:00 left"; "" before the first epoch."""
    first = [[begin for begin in run.begins if begin is not None][:1] for run in runs]
    done = sum(run.epoch - begin for run, begins in zip(runs, first, strict=True) for begin in begins)
    to_go = sum(run.epochs - run.epoch for run in runs if run.state in UNDER_WAY)
    return f"about {datetime.timedelta(seconds=round(seconds / done * to_go))} left in all" if done and to_go else ""


def table(runs: list[Run], nodes: dict[str, str], seconds: float, width: int = 120, height: int = 1000) -> list[str]:
    """The lines of the table: a run each (where there is no room, those under way first), and below them a summary.

    nodes: Ray's ids and the names of their machines.
    """
    rank = {"waiting": 1, "finished": 2, "diverged": 2}
    shown = sorted(range(len(runs)), key=lambda i: rank.get(runs[i].state, 0))[: max(height - 3, 1)]
    rows = [("variant", "seed", "node", "epoch", "accuracy", "state")]
    for run in (runs[i] for i in sorted(shown)):
        accuracy = "" if run.accuracy is None else f"{run.accuracy:.1%}"
        state = f"{run.state}: {run.told}" if run.told else run.state
        node = nodes.get(run.node, "")
        rows.append((run.variant.name, str(run.seed), node, f"{run.epoch}/{run.epochs}", accuracy, state))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(wide) for cell, wide in zip(row, widths, strict=True)).rstrip() for row in rows]
    counts = collections.Counter(run.state for run in runs)
    summary = [f"{count} {state}" for state, count in counts.items()]
    return [line[:width] for line in [*lines, ", ".join([*summary, *filter(None, [time_left(runs, seconds)])])]]


def _display(runs: list[Run], ray):
    """A function that shows how far the runs are: in a terminal the table, redrawn, else a line a change of state."""
    begun, nodes, drawn, states = time.monotonic(), {}, 0, ["waiting"] * len(runs)

    def show():
        nonlocal drawn
        if any(run.node and run.node not in nodes for run in runs):
            nodes.update({node["NodeID"]: node["NodeManagerHostname"] for node in ray.nodes()})
        seconds = time.monotonic() - begun
        if sys.stdout.isatty():
            lines = table(runs, nodes, seconds, *shutil.get_terminal_size())
            print(f"\x1b[{drawn}A\r\x1b[J" * (drawn > 0) + "\n".join(lines), flush=True)
            drawn = len(lines)
            return
        for i, run in enumerate(runs):
            if run.state != states[i]:
                parts = [run.state + f" on {nodes[run.node]}" * (run.node in nodes and run.state in UNDER_WAY)]
                parts += [run.told, f"epoch {run.epoch} of {run.epochs}", time_left(runs, seconds)]
                print(f"{run.name}: {', '.join(filter(None, parts))}", flush=True)
                states[i] = run.state

    return show


def scaling(address: str = "auto", runs: int = 8, epochs: int = 10) -> dict:
    """Seconds that `runs` one-core runs take one at a time, and two at a time, on an otherwise idle cluster.

    It has v1.0 learn the drawn stand-in, after a run on each of two cores that nobody times; nothing is stored.
    """
    variant = experiments.Variant("scaling", "v1_0", recipes.Recipe(epochs=epochs), dataset="toy_shapes")
    experiment = experiments.Experiment("scaling", "Do two workers take half the time?", (variant,))
    seconds = {}
    with connected(address) as ray:
        data = ray.put(datasets.toy_shapes())
        desk = ray.remote(num_cpus=0)(Desk).remote({})
        task = ray.remote(num_cpus=1, max_calls=1, scheduling_strategy="SPREAD")(_work)
        numbers = itertools.count()
        for at_once, count in ((2, 2), (1, runs), (2, runs)):
            begun, under_way = time.perf_counter(), []
            for seed in range(count):
                if len(under_way) == at_once:
                    ready, under_way = ray.wait(under_way)
                    ray.get(ready)
                run = Run(experiment, variant, seed, "full", Path())
                under_way.append(task.remote(desk, next(numbers), run, data))
            ray.get(under_way)
            seconds[f"{at_once}_at_once"] = round(time.perf_counter() - begun, 1)
    return {"runs": runs, "epochs": epochs, **seconds, "ratio": seconds["2_at_once"] / seconds["1_at_once"]}
