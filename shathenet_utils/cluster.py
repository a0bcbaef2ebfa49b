"""The same runs on a Ray cluster: one task per run, and one store of the last checkpoint of each.

A run gets a fresh process somewhere in the cluster, with this package and the data shipped to it; the features of a
frozen network are computed before, here. After every epoch the process sends its checkpoint to the store, on the
machine that called; where the process or its machine is lost, Ray starts the run elsewhere, and it goes on from there
to the same numbers. Records and weights are written here, where local training writes them. Ray is imported where it is
used: `requirements-cluster.txt` installs it.
"""

import contextlib
import dataclasses
import itertools
import os
import re
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

from shathenet_utils import ROOT, checkpoints, datasets, declared, files, output_folder, recipes, records, runner
from shathenet_utils.benchmarks import bench
from shathenet_utils.cluster_table import UNDER_WAY, Entry, display
from shathenet_utils.experiment import Experiment, Variant, check_budget

LOSSES = 10
"""How often a run may lose its process or machine before it has failed."""
MACHINES_MUST_AGREE = ("tensorflow", "keras", "numpy")


class ClusterError(RuntimeError):
    """The cluster can't be used; one sentence says why, and what to do."""


class CheckpointStore:
    """Where runs, known by a number, leave their progress and last checkpoint: a Ray actor on the caller's machine.

    checkpoints: run → its checkpoint's bytes. weight_histories: run → file name → bytes of the weights of an epoch,
    each of which is sent once.
    """

    def __init__(self, checkpoints: dict[int, bytes], weight_histories: dict[int, dict[str, bytes]]):
        self.checkpoints, self.weight_histories = checkpoints, weight_histories
        self.progress, self.new, self.new_weights = {}, set(), {}

    def begin(self, run: int, node: str) -> tuple[int, bytes | None, dict[str, bytes]]:
        """A process takes a run up: the how-manieth it is, from 1, and what it goes on from: checkpoint and weights."""
        progress = self.progress.setdefault(run, {"begins": [], "epoch": 0, "accuracy": None})
        progress["begins"].append(None)
        progress["node"] = node
        return len(progress["begins"]), self.checkpoints.get(run), self.weight_histories.get(run, {})

    def report(
        self, run: int, start: int, epoch: int, accuracy: float, checkpoint: bytes, weights: dict[str, bytes]
    ) -> None:
        """After an epoch; what comes from a process that was thought lost, and replaced, is ignored.

        start: the process's number, from `begin`. weights: the files of weights that are new since its last report.
        """
        progress = self.progress[run]
        if start == len(progress["begins"]):
            if progress["begins"][-1] is None:
                progress["begins"][-1] = epoch - 1
            progress |= {"epoch": epoch, "accuracy": accuracy}
            self.checkpoints[run] = checkpoint
            self.new.add(run)
            self.weight_histories.setdefault(run, {}).update(weights)
            self.new_weights.setdefault(run, {}).update(weights)

    def updates(self) -> tuple[dict[int, dict], dict[int, bytes], dict[int, dict[str, bytes]]]:
        """Every run's progress, and the checkpoints and weights that came since the last call."""
        (new, self.new), (weights, self.new_weights) = (self.new, set()), (self.new_weights, {})
        return self.progress, {run: self.checkpoints[run] for run in new}, weights

    def forget(self, run: int) -> None:
        """A run's record is written: its checkpoint is no longer needed."""
        self.checkpoints.pop(run, None)
        self.weight_histories.pop(run, None)
        self.new_weights.pop(run, None)
        self.new.discard(run)


def _work(
    store, number: int, run: declared.Run, data: datasets.Dataset, features: datasets.Dataset | None
) -> tuple[dict, dict[str, bytes]] | str:
    """Train one run in this process: its record and its weights files, or, in a sentence, why there is none."""
    import ray

    with tempfile.TemporaryDirectory(prefix="shathenet-") as folder, ThreadPoolExecutor(1, "store") as beside:
        os.environ["SHATHENET_OUTPUT"] = folder

        def call(reference):
            # In a thread of its own: a task whose main thread waits gives its cores to another task meanwhile.
            return beside.submit(ray.get, reference).result()

        start, checkpoint, weights = call(store.begin.remote(number, ray.get_runtime_context().get_node_id()))
        run = dataclasses.replace(run, record=False)  # here it is a run like any other; the caller keeps the record
        if checkpoint:
            for name, content in {**weights, run.checkpoint.name: checkpoint}.items():
                files.write_bytes(run.checkpoint.with_name(name), content)
        sent = set(weights) if checkpoint else set()

        def report(history):
            accuracy = (history["validation_accuracy"] or history["accuracy"])[-1]
            paths = [path for path in checkpoints.epoch_paths(run.checkpoint) if path.name not in sent]
            new = {path.name: path.read_bytes() for path in paths}
            call(store.report.remote(
                number, start, len(history["loss"]), accuracy, run.checkpoint.read_bytes(), new
            ))  # fmt: skip
            sent.update(new)

        try:
            record = runner.train_run(
                run.experiment, run.variant, run.seed, data=data, features=features, budget=run.budget, on_epoch=report
            )
        except Exception as error:  # whatever a run may raise: a sentence travels, and nothing is tried again
            return _sentence(error)
        if record is None:
            return "It was stopped on its machine."
        kept = (record["weights"] or {}).items()
        return record, {name: (Path(folder) / file["path"]).read_bytes() for name, file in kept}


def _versions() -> dict[str, str]:
    """What must be the same on all machines, as this process has it."""
    return {one.name: one.version for one in metadata.distributions() if one.name in MACHINES_MUST_AGREE}


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
    task = ray.remote(num_cpus=0, max_calls=1)(_versions)
    pending = [task.options(scheduling_strategy=_on(node["NodeID"])).remote() for node in nodes]
    for node, versions in zip(nodes, ray.get(pending, timeout=120), strict=True):
        if versions != _versions():
            raise ClusterError(
                f"{node['NodeManagerHostname']} has {versions}, this machine {_versions()}: "
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
    return line if isinstance(cause, ValueError | files.FileError) else f"{type(cause).__name__}: {line}"


def to_do(runs: Sequence[declared.Run], held: contextlib.ExitStack) -> list[Entry]:
    """Of these runs, those that have no record yet and that no other process is at; the others are named.

    held: keeps the locks of those that are returned. Raises as `runner.train_run` does where it would not begin.
    """
    entries = []
    for run in runs:
        check_budget(run.budget)
        if run.record:
            runner.check_evidence(run.experiment, run.variant, run.seed, run.budget)
        if run.is_complete():
            print(f"{run.name}: there already, {run.path}")
            continue
        files.check_writable(run.path.parent)
        try:
            held.enter_context(run.exclusive(wait=False))
        except files.Busy:
            print(f"{run.name}: another process is at it")
            continue
        if run.is_complete():  # another process has just finished it
            print(f"{run.name}: there already, {run.path}")
            continue
        entries.append(Entry(run))
    return entries


def write_results(run: declared.Run, data: datasets.Dataset, record: dict, weights: dict[str, bytes]) -> None:
    """Write what came back, each file whole, where local training would.

    Raises RecordError, and writes nothing, where it is another run than was to be trained or weights changed on their
    way.
    """
    part = datasets.subset_per_class(data, run.variant.images_per_class, run.seed)
    expected = {
        "experiment": run.experiment.name, "variant": run.variant.name, "seed": run.seed, "budget": run.budget,
        "config_hash": run.variant.config_hash(), "data_fingerprint": data.fingerprint,
        "split": part.split | {"digest": part.digest},
    }  # fmt: skip
    differing = [key for key, value in expected.items() if record[key] != value]
    threads = {"inter_op": 1, "intra_op": run.experiment.threads if run.record else record["threads"]["intra_op"]}
    differing += ["threads"] * (record["threads"] != threads)
    if differing:
        raise records.RecordError(
            f"What came back is not the run that was to be trained: its {', '.join(differing)} differ."
        )
    kept = record["weights"] or {}
    for name, file in kept.items():
        if files.sha256_of(weights[name]) != file["sha256"]:
            raise records.RecordError(f"The {name} weights that came back are not those of their record.")
    for name, file in kept.items():
        suffix = Path(file["path"]).name.removeprefix(run.path.stem)
        path = run.weights_path(suffix)
        files.write_bytes(path, weights[name])
        file["path"] = path.relative_to(ROOT if path.is_relative_to(ROOT) else output_folder()).as_posix()
    records.save(record, run.path)
    checkpoints.remove(run.checkpoint)


def _inputs(entries: list[Entry]) -> list[tuple[datasets.Dataset, datasets.Dataset | None]]:
    """What each run trains on: its dataset, and the features that its model takes in place of images, or None; equal
    ones are one object.

    Features are computed here, once per image: on the cluster, each run would compute them anew.
    """
    data, features, inputs = {}, {}, []
    for run in (entry.run for entry in entries):
        key = run.variant.dataset, run.variant.validation
        if key not in data:
            data[key] = runner.load_data(run.variant)
        computed = None
        if run.variant.feature_extractor:
            computed = runner.prepare_inputs(run.variant, run.seed, data[key])[1]
            computed = features.setdefault(computed.digest, computed)
        inputs.append((data[key], computed))
    return inputs


def train(runs: Sequence[declared.Run], address: str, cores: int = 1) -> list[Entry]:
    """Train runs on the cluster at `address`, `cores` cores each; returns those that were to do.

    Their states: "finished", "diverged", "failed" (with an `error`), or "stopped" by Ctrl-C, which leaves their
    checkpoints where a local run goes on from them. Raises ClusterError, what `runner.train_run` would raise, and
    ValueError for evidence with other threads than its experiment declares.
    """
    for run in runs:
        if run.record and run.experiment.threads != cores:
            threads = run.experiment.threads
            raise ValueError(f"{run.experiment.name} is recorded with {threads} threads: add --cores {threads}.")
    with contextlib.ExitStack() as held:
        entries = to_do(runs, held)
        if not entries:
            return []
        inputs = _inputs(entries)
        ray = held.enter_context(connected(address, cores))
        datasets_by_id = {id(dataset): dataset for pair in inputs for dataset in pair if dataset is not None}
        shipped = {key: ray.put(dataset) for key, dataset in datasets_by_id.items()}  # a node fetches each once
        begun = {number: entry.run.checkpoint for number, entry in enumerate(entries) if entry.run.checkpoint.exists()}
        weight_histories = {
            number: {file.name: file.read_bytes() for file in checkpoints.epoch_paths(path)}
            for number, path in begun.items()
        }
        here = _on(ray.get_runtime_context().get_node_id())
        store = ray.remote(num_cpus=0)(CheckpointStore).options(scheduling_strategy=here)
        store = store.remote({number: path.read_bytes() for number, path in begun.items()}, weight_histories)
        task = ray.remote(num_cpus=cores, max_calls=1, max_retries=LOSSES)(_work)
        show, pending = display(entries, ray), {}
        try:
            for number, entry in enumerate(entries):
                data, features = inputs[number]
                reference = task.remote(store, number, entry.run, shipped[id(data)], shipped.get(id(features)))
                pending[reference] = number, data
            while pending:
                ready, _ = ray.wait(list(pending), timeout=1)
                for reference in ready:
                    number, data = pending.pop(reference)
                    _finish(ray, entries[number], data, reference)
                    store.forget.remote(number)
                apply_updates(entries, *ray.get(store.updates.remote()))
                show()
        except KeyboardInterrupt:
            for reference in pending:
                ray.cancel(reference)
            ray.wait(list(pending), num_returns=len(pending), timeout=10)
            apply_updates(entries, *ray.get(store.updates.remote()))
            for number, _ in pending.values():
                entries[number].state = "stopped"
            show()
            to_go = f"{len(pending)} of {len(entries)} runs to go"
            print(f"Stopped, {to_go}: the same call, or a local one, goes on from there.")
        for entry in entries:
            if entry.state == "failed":
                print(f"error: {entry.run.name}: {entry.error}", file=sys.stderr)
    return entries


def _finish(ray, entry: Entry, data: datasets.Dataset, reference) -> None:
    """Write a run's results; where it failed, note why."""
    try:
        result = ray.get(reference)
        if not isinstance(result, str):
            write_results(entry.run, data, *result)
    except (ray.exceptions.RayError, files.FileError) as error:
        result = _sentence(error)
    if isinstance(result, str):
        entry.state, entry.error = "failed", result
        return
    record = result[0]
    entry.state, entry.epoch = record["status"], record["epochs"]
    entry.accuracy = (record["history"]["validation_accuracy"] or record["history"]["accuracy"] or [None])[-1]


def apply_updates(
    entries: list[Entry],
    progress: dict[int, dict],
    new_checkpoints: dict[int, bytes],
    new_weights: dict[int, dict[str, bytes]],
) -> None:
    """Take up the store's updates: where each run is, and its checkpoint, which a local run could go on from."""
    for number, values in progress.items():
        entry = entries[number]
        for name, value in values.items():
            setattr(entry, name, value)
        if entry.state in UNDER_WAY:
            entry.state = "taken up again" if len(entry.begins) > 1 or entry.begins[0] else "training"
    for number, checkpoint in new_checkpoints.items():
        path = entries[number].run.checkpoint
        for name, content in new_weights.get(number, {}).items():  # before the checkpoint that needs them
            files.write_bytes(path.with_name(name), content)
        files.write_bytes(path, checkpoint)


def scaling(
    address: str = "auto",
    runs: int = 8,
    epochs: tuple[int, int] = (5, 30),
    record: bool = False,
    again: bool = False,
) -> dict:
    """One and two one-core workers' seconds for `runs` runs, on an otherwise idle cluster: a result of `bench`.

    v1.0 learns the drawn stand-in. Each number of workers trains all runs twice, short and long: the difference is
    training alone, without the start of any process. Its seconds are given for an epoch of a run, of 45,000 images.
    """
    if bench.path_of("scaling", record).exists() and not again:
        return bench.load("scaling", record)
    seconds, images = {}, datasets.toy_shapes()
    with connected(address) as ray:
        data = ray.put(images)
        store = ray.remote(num_cpus=0)(CheckpointStore).remote({}, {})
        task = ray.remote(num_cpus=1, max_calls=1, scheduling_strategy="SPREAD")(_work)
        numbers = itertools.count()

        def check(results):
            for result in results:
                if isinstance(result, str):
                    raise ClusterError(f"A run failed, so there is nothing to compare: {result}")

        def train_all(workers: int, count: int, length: int) -> float:
            variant = Variant("scaling", "v1_0", recipes.Recipe(length), dataset="toy_shapes")
            experiment = Experiment("scaling", "Do two workers take half the time?", (variant,))
            begun, under_way = time.perf_counter(), []
            for seed in range(count):
                if len(under_way) == workers:
                    ready, under_way = ray.wait(under_way)
                    check(ray.get(ready))
                run = declared.Run(experiment, variant, seed, "full", variant.dataset)
                under_way.append(task.remote(store, next(numbers), run, data, None))
            check(ray.get(under_way))
            return round(time.perf_counter() - begun, 1)

        train_all(2, 2, 1)  # the package and the data reach both nodes
        for workers in (1, 2):
            short, long = (train_all(workers, runs, length) for length in epochs)
            seconds[workers] = (long - short) / (runs * (epochs[1] - epochs[0]))
    count = len(images.train_labels)
    contenders = {
        f"{workers} one-core worker{'s' * (workers > 1)}": {
            "seconds": [round(each * bench.EPOCH / count, 3)],
            "images": count,
        }
        for workers, each in seconds.items()
    }
    return bench.save("scaling", "What do two workers save?", contenders, 1, record, runs=runs, epochs=list(epochs))
