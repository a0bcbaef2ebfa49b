"""The same runs on a Ray cluster: the same numbers, whatever is lost on the way.

The slow tests start a cluster of two nodes on this machine, behind a token that nobody else knows.
"""

import contextlib
import dataclasses
import hashlib
import importlib.util
import json
import os
import pickle
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from helpers import a_record, tiny_dataset
from helpers import declare as declare_only

from shathenet_utils import ROOT, __main__, cluster, cluster_table, datasets, declared, files, records, runner, weights
from shathenet_utils.experiment import Experiment, Variant
from shathenet_utils.recipes import Recipe

LONG = 100


def declare(patch, folder):
    """Declared runs of seconds: plain and long ones, and one that can't be built, all below a folder of its own."""
    variants = (
        Variant("plain", "v1_0", Recipe(epochs=3)),
        Variant("long", "v1_0", Recipe(epochs=LONG)),
        Variant("broken", "v1_0", Recipe(epochs=3), {"interpolation": "cubic"}),
    )
    experiment = Experiment(
        "made_up", "Does it work?", variants, (0, 1), keep_weights=("plain",), keep_weight_history=("plain",), threads=1
    )
    patch.setenv("SHATHENET_OUTPUT", str(folder))
    declare_only([experiment], folder, patch.setattr)
    patch.setattr(runner, "load_data", lambda variant: tiny_dataset(name="cifar10"))
    return experiment


@pytest.fixture
def experiment(monkeypatch, tmp_path):
    return declare(monkeypatch, tmp_path)


def command_line(folder, *arguments, **environment):
    """A process that declares the same and then does what the command line does."""
    source = (
        "import pathlib, pytest, sys\n"
        "from test_cluster import __main__, declare\n"
        "declare(pytest.MonkeyPatch(), pathlib.Path(sys.argv[1]))\n"
        "__main__.main(sys.argv[2:])\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", source, str(folder), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT / "tests"), **environment},
    )  # fmt: skip


def numbers(record):
    """A record without what it takes from the clock."""
    record = {key: value for key, value in record.items() if key not in ("seconds", "date")}
    return record | {"history": {name: line for name, line in record["history"].items() if name != "seconds"}}


def a_run(experiment, variant="plain", seed=0, record=True):
    return declared.Run(experiment, experiment.variant(variant), seed, "full", "cifar10", record)


def an_entry(experiment, variant="plain", seed=0, **progress):
    return cluster_table.Entry(a_run(experiment, variant, seed), **progress)


# Without Ray


def test_without_ray_one_sentence_says_what_to_install(experiment, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SystemExit) as left:
        __main__.main(["train", "made_up", "--cluster", "auto"])
    assert str(left.value) == (
        "error: Training on a cluster needs Ray, which is not installed: pip install -r requirements-cluster.txt."
    )


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        (["--cluster", "auto"], ("auto", 1, "full", False)),
        (["--cluster", "lab:6379", "--cores", "4", "--seeds", "0"], ("lab:6379", 4, "full", False)),
        (["--cluster", "lab:6379", "--record", "--seeds", "0"], ("lab:6379", 1, "full", True)),
        (["--cluster", "ray://lab:1", "--budget", "quick"], ("ray://lab:1", 1, "quick", False)),
    ],
    ids=["auto", "cores", "recorded", "Ray's client"],
)
def test_the_command_line_passes_on_what_it_is_given(experiment, monkeypatch, arguments, given):
    calls = []
    monkeypatch.setattr(cluster, "train", lambda *passed: calls.append(passed) or [])
    __main__.main(["train", "made_up", "--variant", "plain", *arguments])
    address, cores, budget, record = given
    seeds = (0,) if "--seeds" in arguments else (0, 1)
    runs = [declared.Run(experiment, experiment.variants[0], s, budget, "cifar10", record) for s in seeds]
    assert calls == [(runs, address, cores)]


def test_evidence_is_trained_with_the_declared_number_of_threads(experiment):
    with pytest.raises(SystemExit, match=r"made_up is recorded with 1 threads: add --cores 1\."):
        __main__.main(["train", "made_up", "--record", "--cluster", "nowhere:1", "--cores", "2"])


@pytest.mark.parametrize("cores", ["0", "-1", "two", "1.5", ""])
def test_cores_are_a_whole_number_from_1(experiment, cores, capsys):
    with pytest.raises(SystemExit):
        __main__.main(["train", "made_up", "--cluster", "auto", "--cores", cores])
    assert "cores are a whole number from 1" in capsys.readouterr().err


def test_cores_without_a_cluster_are_refused(experiment):
    with pytest.raises(SystemExit, match="error: --cores is for --cluster"):
        __main__.main(["train", "made_up", "--cores", "2"])


@pytest.mark.parametrize(("states", "code"), [(["finished", "failed"], 1), (["finished", "stopped", "failed"], 130)])
def test_the_exit_code_shows_how_it_ended(experiment, monkeypatch, states, code):
    entries = [an_entry(experiment, state=state) for state in states]
    monkeypatch.setattr(cluster, "train", lambda *_, **__: entries)
    with pytest.raises(SystemExit) as left:
        __main__.main(["train", "made_up", "--cluster", "auto"])
    assert left.value.code == code


def test_what_is_no_evidence_is_refused_before_a_cluster_is_sought(experiment):
    for arguments, message in (
        (["--seeds", "7"], "Only a declared run can be recorded"),
        (["--budget", "quick"], "Only a run of the full budget"),
    ):
        with pytest.raises(SystemExit, match=f"error: {message}"):
            __main__.main(["train", "made_up", "--record", "--cluster", "nowhere:1", *arguments])


def test_a_run_is_to_do_where_there_is_no_record_and_no_other_process(experiment, capsys):
    plain = experiment.variants[0]
    there, busy = a_run(experiment, seed=0), a_run(experiment, seed=1)
    records.save(a_record(config_hash=plain.config_hash()), there.path)
    with contextlib.ExitStack() as held, files.locked(busy.checkpoint.with_suffix(".lock")):
        [entry] = cluster.to_do([there, busy, a_run(experiment, "long")], held)
        run = entry.run
        with pytest.raises(files.Busy), run.exclusive(wait=False):
            pass
    assert run.name == "made_up long seed 0"
    assert not run.checkpoint.with_suffix(".lock").exists()
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"made_up plain seed 0: there already, {there.path}"
    assert second == "made_up plain seed 1: another process is at it"


def test_a_record_of_another_declaration_is_trained_anew_and_a_damaged_one_is_not(experiment):
    run = a_run(experiment)
    records.save(a_record(), run.path)
    with contextlib.ExitStack() as held:
        assert len(cluster.to_do([run], held)) == 1
    run.path.write_text("{")
    with contextlib.ExitStack() as held, pytest.raises(records.RecordError, match="can't be read"):
        cluster.to_do([run], held)


def test_a_dataset_travels_as_its_arrays_and_arrives_read_only_without_a_copy():
    data, buffers = tiny_dataset(), []
    pickled = pickle.dumps(data, protocol=5, buffer_callback=buffers.append)
    assert len(pickled) < 2000
    again = pickle.loads(pickled, buffers=[buffer.raw().toreadonly() for buffer in buffers])
    assert (again.name, again.fingerprint, again.split) == (data.name, data.fingerprint, data.split)
    for name in ("train_images", "train_labels", "test_images"):
        assert np.shares_memory(getattr(again, name), getattr(data, name))
        assert not getattr(again, name).flags.writeable


def test_the_store_keeps_the_last_checkpoint_and_all_weights_and_sends_each_on_once():
    store = cluster.CheckpointStore({1: b"from before"}, {1: {"seed1.epoch0.npz": b"weights"}})
    assert store.begin(0, "a") == (1, None, {})
    assert store.begin(1, "b") == (1, b"from before", {"seed1.epoch0.npz": b"weights"})
    store.report(0, 1, 1, 0.1, b"one", {"0": b"start", "1": b"w1"})
    store.report(0, 1, 2, 0.2, b"two", {"2": b"w2"})
    store.report(1, 1, 6, 0.3, b"six", {})
    progress, checkpoints, weights = store.updates()
    assert checkpoints == {0: b"two", 1: b"six"}
    assert weights == {0: {"0": b"start", "1": b"w1", "2": b"w2"}, 1: {}}
    assert progress[0] == {"begins": [0], "epoch": 2, "accuracy": 0.2, "node": "a"}
    assert progress[1]["begins"] == [5]
    assert store.updates()[1:] == ({}, {})
    store.report(0, 1, 3, 0.3, b"three", {"3": b"w3"})
    assert store.updates()[1:] == ({0: b"three"}, {0: {"3": b"w3"}})
    assert store.begin(0, "c") == (2, b"three", {"0": b"start", "1": b"w1", "2": b"w2", "3": b"w3"})


def test_what_a_replaced_process_reports_is_ignored():
    store = cluster.CheckpointStore({}, {})
    store.begin(0, "a")
    store.report(0, 1, 1, 0.1, b"one", {"1": b"w1"})
    assert store.begin(0, "b") == (2, b"one", {"1": b"w1"})
    store.report(0, 1, 2, 0.9, b"too late", {"2": b"too late"})
    assert store.updates()[1:] == ({0: b"one"}, {0: {"1": b"w1"}})
    store.report(0, 2, 2, 0.2, b"two", {"2": b"w2"})
    assert store.updates()[0][0] == {"begins": [0, 1], "epoch": 2, "accuracy": 0.2, "node": "b"}
    store.forget(0)
    assert store.begin(0, "c") == (3, None, {})


def came_back(experiment, data, **changes):
    """A record and weights as a worker sends them."""
    content = b"weights"
    kept = {
        "final": {"path": "data/runs/x/full/made_up/plain/seed0.npz", "sha256": hashlib.sha256(content).hexdigest()}
    }
    own = {
        "config_hash": experiment.variants[0].config_hash(),
        "data_fingerprint": data.fingerprint,
        "split": data.split | {"digest": data.digest},
        "threads": {"inter_op": 1, "intra_op": 1},
    }
    return a_record(**own | {"weights": kept} | changes), {"final": content}


def test_what_comes_back_is_stored_where_local_training_would(experiment, tmp_path):
    data, run = tiny_dataset(), a_run(experiment)
    run.checkpoint.parent.mkdir(parents=True)
    for name in ("seed0.npz", "seed0.epoch0.npz", "seed0.epoch1.npz"):
        run.checkpoint.with_name(name).write_bytes(b"the last epoch")
    cluster.write_results(run, data, *came_back(experiment, data))
    record = records.load(experiment.path(experiment.variants[0], 0))
    assert record["weights"]["final"]["path"] == "data/weights/made_up/plain/seed0.npz"
    assert (tmp_path / "data/weights/made_up/plain/seed0.npz").read_bytes() == b"weights"
    assert not list(run.checkpoint.parent.iterdir())


def test_a_run_on_some_images_per_class_comes_back(experiment):
    few = dataclasses.replace(experiment.variants[0], name="few", images_per_class=4, label="four per class")
    grown = dataclasses.replace(experiment, variants=(*experiment.variants, few))
    data = tiny_dataset(name="cifar10")
    record, weights = came_back(grown, data, variant="few", config_hash=few.config_hash())
    run = a_run(grown, "few")
    with pytest.raises(records.RecordError, match="its split differ"):
        cluster.write_results(run, data, record, weights)
    part = datasets.subset_per_class(data, 4, 0)
    cluster.write_results(run, data, record | {"split": part.split | {"digest": part.digest}}, weights)
    assert run.path.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1}, "not the run that was to be trained: its seed differ"),
        ({"config_hash": "0"}, "its config_hash differ"),
        ({"data_fingerprint": "0"}, "its data_fingerprint differ"),
        ({"threads": {"inter_op": 2, "intra_op": 1}}, "its threads differ"),
        ({"threads": {"inter_op": 1, "intra_op": 2}}, "its threads differ"),
        ({"weights": {"final": {"path": "seed0.npz", "sha256": "0"}}}, "final weights .* not those of their record"),
    ],
    ids=str,
)
def test_another_run_than_was_to_be_trained_is_not_written(experiment, tmp_path, changes, message):
    data = tiny_dataset()
    with pytest.raises(records.RecordError, match=message):
        cluster.write_results(a_run(experiment), data, *came_back(experiment, data, **changes))
    assert not list(tmp_path.rglob("*.*"))


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("A sentence of ours.\nAnd more."), "A sentence of ours."),
        (KeyError("name"), "KeyError: 'name'"),
        (MemoryError(), "MemoryError: no more is known"),
        (ValueError("in user code:\n\n  File ...\n\n\x1b[1mNo such thing.\x1b[0m\n\nArguments ..."), "No such thing."),
    ],
    ids=["ours", "any", "silent", "Keras's"],
)  # fmt: skip
def test_what_went_wrong_is_a_line(error, line):
    assert cluster._sentence(error) == line


def some_runs(experiment):
    return [
        an_entry(experiment, seed=0, state="finished", node="a", epoch=3, accuracy=0.5, begins=[0]),
        an_entry(experiment, "long", state="taken up again", node="b", epoch=50, accuracy=0.25, begins=[0, 9]),
        an_entry(experiment, "broken", state="failed", error="No such interpolation.", node="a", begins=[None]),
        an_entry(experiment, "long", 1),
    ]  # fmt: skip


def test_the_table_has_a_line_per_run(experiment):
    lines = cluster_table.table(some_runs(experiment), {"a": "lab-1", "b": "lab-2"}, 53)
    assert lines == [
        "variant  seed  node   epoch   accuracy  state",
        "plain    0     lab-1  3/3     50.0%     finished",
        "long     0     lab-2  50/100  25.0%     taken up again",
        "broken   0     lab-1  0/3               failed: No such interpolation.",
        "long     1            0/100             waiting",
        "1 finished, 1 taken up again, 1 failed, 1 waiting, about 0:02:30 left in all",
    ]


def test_a_small_terminal_shows_the_runs_under_way(experiment):
    lines = cluster_table.table(some_runs(experiment), {"b": "lab-2"}, 53, width=40, height=5)
    assert [line.split()[:2] for line in lines[1:3]] == [["long", "0"], ["broken", "0"]]
    assert len(lines) == 4
    assert max(map(len, lines)) == 40


def test_time_left_counts_what_was_done_here(experiment):
    under_way = an_entry(experiment, "long", 0, state="training", epoch=60, begins=[50])
    assert cluster_table.time_left([under_way, an_entry(experiment, "long", 1)], 10) == "about 0:02:20 left in all"
    assert cluster_table.time_left([an_entry(experiment)], 10) == ""


class Nodes:
    """What of Ray the display calls."""

    @staticmethod
    def nodes():
        return [{"NodeID": "a", "NodeManagerHostname": "lab-1"}]


def test_without_a_terminal_a_change_of_state_is_a_line(experiment, capsys):
    entry = an_entry(experiment)
    show = cluster_table.display([entry], Nodes)
    show()
    for state, epoch in (("training", 0), ("training", 2), ("taken up again", 2), ("finished", 3)):
        entry.state, entry.epoch, entry.node = state, epoch, "a"
        show()
    assert capsys.readouterr().out.splitlines() == [
        "made_up plain seed 0: training on lab-1, epoch 0 of 3",
        "made_up plain seed 0: taken up again on lab-1, epoch 2 of 3",
        "made_up plain seed 0: finished, epoch 3 of 3",
    ]


def test_in_a_terminal_the_table_is_drawn_over(experiment, monkeypatch, capsys):
    show = cluster_table.display([an_entry(experiment)], Nodes)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    show()
    show()
    first, again = re.split(r"\x1b\[3A\r\x1b\[J", capsys.readouterr().out)
    assert first == again
    assert first.startswith("variant  seed")


def test_a_process_that_is_lost_before_its_first_epoch_leaves_no_epoch_behind():
    store = cluster.CheckpointStore({}, {})
    store.begin(0, "a")
    store.begin(0, "b")
    for epoch in (1, 2):
        store.report(0, 2, epoch, 0.1, b"", {})
    assert store.updates()[0][0]["begins"] == [None, 0]


def test_updates_reach_the_runs_and_their_checkpoints_the_disk(experiment):
    runs = [an_entry(experiment), an_entry(experiment, seed=1, state="finished", epoch=3)]
    progress = {"node": "a", "begins": [None], "epoch": 0, "accuracy": None}
    cluster.apply_updates(runs, {0: progress}, {}, {})
    assert (runs[0].state, runs[0].node) == ("training", "a")
    later = {0: progress | {"begins": [1], "epoch": 2}, 1: progress | {"epoch": 3}}
    cluster.apply_updates(runs, later, {0: b"two"}, {0: {"seed0.epoch2.npz": b"weights"}})
    assert (runs[0].state, runs[0].epoch, runs[1].state) == ("taken up again", 2, "finished")
    checkpoint = runs[0].run.checkpoint
    assert checkpoint.read_bytes() == b"two"
    assert checkpoint.with_name("seed0.epoch2.npz").read_bytes() == b"weights"


class FakeRay:
    """As much of Ray as a worker needs, in this process: what is remote happens here and now."""

    def __init__(self, store):
        self.store, self.reports = store, []
        self.begin = self.Method(store.begin)
        self.report = self.Method(self._report)

    class Method:
        def __init__(self, function):
            self.remote = function

    def _report(self, run, start, epoch, accuracy, checkpoint, weights):
        self.reports.append((epoch, len(checkpoint), sorted(weights)))
        return self.store.report(run, start, epoch, accuracy, checkpoint, weights)

    @staticmethod
    def get(value):
        return value

    def get_runtime_context(self):
        return self

    @staticmethod
    def get_node_id():
        return "here"


def work(monkeypatch, store, run, data, features=None):
    """What a worker's process returns, and what it sent to the store."""
    ray = FakeRay(store)
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.delenv("SHATHENET_LIVE_SECONDS", raising=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHATHENET_OUTPUT", "set by the worker")
        result = cluster._work(ray, 0, run, data, features)
    assert not isinstance(result, str), result
    return result, ray.reports


def test_a_worker_sends_the_weights_of_each_epoch_once_and_goes_on_from_them(experiment, monkeypatch):
    run, data = a_run(experiment), tiny_dataset(name="cifar10")
    store = cluster.CheckpointStore({}, {})
    (whole, kept), reports = work(monkeypatch, store, run, data)
    names = [f"seed0.epoch{epoch}.npz" for epoch in range(4)]
    assert [weights for _, _, weights in reports] == [names[:2], names[2:3], names[3:]]
    assert max(size for _, size, _ in reports) - min(size for _, size, _ in reports) < 1000

    lost = cluster.CheckpointStore({}, {})  # what it had when the first process was lost after an epoch

    def report(run, start, epoch, *sent):
        if epoch == 2:
            raise ConnectionError("lost")
        cluster.CheckpointStore.report(lost, run, start, epoch, *sent)

    monkeypatch.setattr(lost, "report", report)
    ray = FakeRay(lost)
    monkeypatch.setitem(sys.modules, "ray", ray)
    assert cluster._work(ray, 0, run, data, None) == "ConnectionError: lost"
    again = cluster.CheckpointStore(lost.checkpoints, lost.weight_histories)
    (record, kept_again), reports = work(monkeypatch, again, run, data)
    assert [(epoch, weights) for epoch, _, weights in reports] == [(2, names[2:3]), (3, names[3:])]
    assert numbers(record) == numbers(whole)
    assert kept_again == kept


def test_features_are_computed_here_and_once_not_by_each_run(monkeypatch, tmp_path):
    from shathenet_utils import pretrained

    frozen = pretrained.frozen
    variants = tuple(
        Variant(
            f"head_{count}", "linear_head", Recipe(1), feature_extractor="efficientnet_lite0@64", images_per_class=count
        )
        for count in (0, 4)
    )
    experiment = Experiment("made_up", "Does it work?", variants, (0, 1), threads=1)
    monkeypatch.setenv("SHATHENET_OUTPUT", str(tmp_path))
    declare_only([experiment], tmp_path, monkeypatch.setattr)
    data = tiny_dataset(name="cifar10")
    monkeypatch.setattr(runner, "load_data", lambda variant: data)
    computed = []

    def extractor(model, batch=50):
        def compute(images, *_):
            computed.append(len(images))
            grey = images.mean(axis=(1, 2, 3)).astype(np.uint8)
            return np.tile(grey[:, None, None, None], (1, 1, 2, 1280))

        return compute

    monkeypatch.setattr(pretrained, "extractor", extractor)
    monkeypatch.setattr(pretrained, "frozen", lambda name, imagenet=True: frozen(name, imagenet=False))
    runs = [a_run(experiment, variant.name, seed, record=False) for variant in variants for seed in (0, 1)]
    inputs = cluster._inputs([cluster_table.Entry(run) for run in runs])
    assert sum(computed) == 310  # each image of the dataset once
    assert all(images is data for images, _ in inputs)
    features = [found for _, found in inputs]
    assert features[0] is features[1]
    assert features[2] is not features[3]  # their forty images are drawn by the seed
    assert [len(found.train_labels) for found in features] == [200, 200, 40, 40]

    def refuse(*_):
        raise AssertionError("a run computes features")

    monkeypatch.setattr(pretrained, "features", refuse)
    (record, _), _ = work(monkeypatch, cluster.CheckpointStore({}, {}), runs[3], data, features[3])
    part = datasets.subset_per_class(data, 4, 1)
    assert record["status"] == "finished"
    assert (record["data_fingerprint"], record["split"]) == (data.fingerprint, part.split | {"digest": part.digest})


# With a real cluster


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Cluster:
    """Two nodes of one core on this machine, in processes of their own."""

    def __init__(self, folder):
        self.folder, self.port, self.started = folder, free_port(), []
        self.address = f"127.0.0.1:{self.port}"

    def start_head(self):
        alone = ["--include-dashboard=false", "--disable-usage-stats", f"--ray-client-server-port={free_port()}"]
        self.start("--head", f"--port={self.port}", f"--temp-dir={self.folder}/ray", *alone)

    def start(self, *options):
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--node-ip-address=127.0.0.1"]
        command += ["--num-cpus=1", "--object-store-memory=100000000", *options]
        log = self.folder / f"node{len(self.started)}.log"
        with log.open("w") as output:
            here = {**os.environ, "TMPDIR": str(self.folder)}  # what a killed run leaves goes with it
            self.started.append(
                subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, env=here)
            )
        for _ in range(3000):
            if "Ray runtime started" in log.read_text():
                return
            assert self.started[-1].poll() is None, log.read_text()
            time.sleep(0.1)
        raise AssertionError(log.read_text())

    def with_two_nodes(self):
        """The address, once there are two: a test may have killed the second."""
        if len(self.started) == 1 or self.started[-1].poll() is not None:
            self.start(f"--address={self.address}")
        return self.address

    def kill(self, node):
        """Every process of a node at once, without a word to any."""
        if node.poll() is None:
            for process in [*psutil.Process(node.pid).children(recursive=True), psutil.Process(node.pid)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            node.wait()


@pytest.fixture(scope="module")
def two_nodes(request):
    if importlib.util.find_spec("ray") is None:  # it must be imported only below: it then reads its environment
        missing = "needs Ray: .venv/bin/pip install -r requirements-cluster.txt"
        everything = "not slow" not in request.config.option.markexpr  # `make test-all`, where nothing is left out
        (pytest.fail if everything or os.environ.get("CI") else pytest.skip)(missing)
    folder = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))  # short: a socket's path has a limit
    nodes = Cluster(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(16))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")  # else a busy machine leaves the workers next to nothing
        try:
            nodes.start_head()
            yield nodes
        finally:
            for node in nodes.started:
                nodes.kill(node)
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def address(two_nodes):
    return two_nodes.with_two_nodes()


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """Undisturbed local runs on one thread: (variant, seed) → record."""
    folder = tmp_path_factory.mktemp("local")
    with command_line(
        folder, "train", "made_up", "--variant", "plain", "--variant", "long", SHATHENET_THREADS="1"
    ) as run:
        _, complained = run.communicate(timeout=300)
    assert run.returncode == 0, complained
    found = [records.load(path) for path in folder.rglob("seed*.json")]
    return {(record["variant"], record["seed"]): numbers(record) for record in found}


def assert_as_local(experiment, local, variant, folder, seeds=(0, 1)):
    for seed in seeds:
        record = numbers(records.load(experiment.path(experiment.variant(variant), seed, folder)))
        expected = local[variant, seed]
        assert {key for key in record if record[key] != expected[key]} <= {"weights"}
        for name, kept in (expected["weights"] or {}).items():
            assert record["weights"][name]["sha256"] == kept["sha256"]
            weights.load_arrays(record["weights"][name])


@pytest.mark.slow
def test_runs_on_two_nodes_are_the_local_ones_bit_for_bit(experiment, address, local, tmp_path, capsys):
    chosen = [a_run(experiment, seed=seed) for seed in (0, 1)]
    entries = cluster.train(chosen, address)
    assert [entry.state for entry in entries] == ["finished", "finished"]
    assert len({entry.node for entry in entries}) == 2
    assert_as_local(experiment, local, "plain", records.RECORDS)
    first = records.load(chosen[0].path)
    assert first["weights"]["final"]["path"] == "data/weights/made_up/plain/seed0.npz"
    assert first["threads"] == {"inter_op": 1, "intra_op": 1}
    left = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {".json", ".npz"} and not list(tmp_path.rglob("unfinished/**/*.*"))
    capsys.readouterr()
    assert cluster.train(chosen, address) == []
    assert capsys.readouterr().out.count("there already") == 2


@pytest.mark.slow
def test_a_lost_nodes_run_goes_on_elsewhere_to_the_same_numbers(experiment, two_nodes, address, local, monkeypatch):
    import ray

    apply_updates, lost = cluster.apply_updates, []

    def apply_and_kill(entries, *updates):
        apply_updates(entries, *updates)
        head = next(node["NodeID"] for node in ray.nodes() if "node:__internal_head__" in node["Resources"])
        for entry in entries:
            if not lost and entry.node not in ("", head) and entry.epoch >= 5:
                lost.append((entry.run.name, entry.epoch))
                two_nodes.kill(two_nodes.started[-1])

    monkeypatch.setattr(cluster, "apply_updates", apply_and_kill)
    entries = cluster.train([a_run(experiment, "long", seed, record=False) for seed in (0, 1)], address)
    assert [entry.state for entry in entries] == ["finished", "finished"]
    [(name, epoch)] = lost
    again = next(entry for entry in entries if entry.run.name == name)
    assert again.begins[0] == 0 and len(again.begins) == 2  # two processes
    assert epoch <= again.begins[1] < LONG
    assert_as_local(experiment, local, "long", again.run.folder)


@pytest.mark.slow
def test_a_run_that_raises_is_reported_in_a_sentence_and_the_others_finish(
    experiment, address, local, tmp_path, capsys
):
    chosen = ["--variant", "broken", "--variant", "plain", "--seeds", "0-1"]
    with pytest.raises(SystemExit) as left:
        __main__.main(["train", "made_up", *chosen, "--cluster", address])
    assert left.value.code == 1
    printed, complained = capsys.readouterr()
    errors = [line for line in complained.splitlines() if line.startswith("error:")]
    assert [line[:30] for line in errors] == [f"error: made_up broken seed {seed}: " for seed in (0, 1)]
    assert "interpolation" in errors[0] and "Traceback" not in printed + complained
    assert_as_local(experiment, local, "plain", records.runs_folder("cifar10", "full"))
    assert not list(tmp_path.rglob("broken/*.json"))


@pytest.mark.slow
def test_after_ctrl_c_a_local_run_goes_on_from_where_each_was(address, local, tmp_path):
    command = ["train", "made_up", "--variant", "long", "--seeds", "0"]
    with command_line(tmp_path, *command, "--cluster", address) as run:
        assert "training on" in run.stdout.readline()
        while not list(tmp_path.rglob("unfinished/**/seed0.npz")):
            assert run.poll() is None
            time.sleep(0.1)
        run.send_signal(signal.SIGINT)
        printed, complained = run.communicate(timeout=60)
    assert run.returncode == 130, complained
    assert "Stopped, 1 of 1 runs to go: the same call, or a local one, goes on from there" in printed
    assert "Traceback" not in complained
    [checkpoint] = [path for path in tmp_path.rglob("*") if path.is_file()]
    with np.load(checkpoint) as archive:
        done = len(json.loads(archive["history"].item())["loss"])
    assert 0 < done < LONG
    with command_line(tmp_path, *command, SHATHENET_THREADS="1") as run:
        _, complained = run.communicate(timeout=120)
    assert run.returncode == 0
    [path] = tmp_path.rglob("*.json")
    record = records.load(path)
    assert numbers(record) == local["long", 0]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [path]


@pytest.mark.slow
def test_what_the_cluster_lacks_is_one_sentence(experiment, address, monkeypatch):
    chosen = [a_run(experiment, record=False)]
    with pytest.raises(
        cluster.ClusterError, match=r"^No machine of .* offers 9 cores to a run; the largest offers 1\.$"
    ):
        cluster.train(chosen, address, cores=9)
    check = cluster._check_machines

    def check_as_if_older(ray, cores):
        monkeypatch.setattr(cluster, "MACHINES_MUST_AGREE", ("numpy",))
        check(ray, cores)

    monkeypatch.setattr(cluster, "_check_machines", check_as_if_older)
    with pytest.raises(cluster.ClusterError, match=r"has {.*}, this machine {'numpy': '2\..*'}: install the same req"):
        cluster.train(chosen, address)


@pytest.mark.slow
def test_an_address_where_nothing_answers_is_one_sentence(experiment, two_nodes):
    for address in ("127.0.0.1:9", "ray://127.0.0.1:9", "nonsense"):
        with pytest.raises(cluster.ClusterError, match=rf"^No cluster answers at {address} \(.*\)\.$"):
            cluster.train([a_run(experiment, record=False)], address)
