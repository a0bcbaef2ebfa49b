"""Weights of epochs beside a checkpoint: written once, gone on from bit for bit, and gone when the run is done."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from helpers import declared_experiment, tiny_dataset

from shathenet_utils import ROOT, checkpoints, declared, models, training
from shathenet_utils.recipes import Recipe

EPOCHS = 4


@pytest.fixture(scope="module")
def data():
    return tiny_dataset(train=64, validation=20, test=20)  # two whole batches


def fit(data, path, on_epoch=None, identity="a run", weight_history=True):
    training.set_seed(3)
    model = models.build("v1_0")
    recipe = Recipe(EPOCHS, averaging="ema")
    options = {"checkpoint": path, "identity": identity, "weight_history": weight_history, "on_epoch": on_epoch}
    return training.fit(model, data, recipe, **options)


def stop_after(epochs):
    def stop(history):
        if len(history["loss"]) == epochs:
            raise KeyboardInterrupt

    return stop


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """A run that nothing disturbed."""
    return fit(data, tmp_path_factory.mktemp("whole") / "seed0.npz")


def assert_same(one, other):
    assert {**one.history, "seconds": None} == {**other.history, "seconds": None}
    assert len(one.weight_history) == len(other.weight_history)
    for weights_of_one, weights_of_other in zip(one.weight_history, other.weight_history, strict=True):
        # Keras counts names on within a process: the order of weights is what two models share.
        for array, expected in zip(weights_of_one.values(), weights_of_other.values(), strict=True):
            np.testing.assert_array_equal(array, expected)


def test_the_weights_of_an_epoch_are_written_once_and_the_checkpoint_does_not_grow(data, tmp_path):
    path, versions, sizes = tmp_path / "seed0.npz", [], []

    def note(history):
        versions.append([(file.name, file.stat().st_mtime_ns) for file in checkpoints.epoch_paths(path)])
        sizes.append(path.stat().st_size)

    fitted = fit(data, path, note)
    assert [name for name, _ in versions[-1]] == [f"seed0.epoch{epoch}.npz" for epoch in range(EPOCHS + 1)]
    for number, found in enumerate(versions, 1):
        assert found == versions[-1][: number + 1]
    assert max(sizes) - min(sizes) < 1000  # the history's few numbers
    stored = sum(array.nbytes for array in fitted.weight_history[0].values())
    assert stored < checkpoints.epoch_path(path, 0).stat().st_size < stored + 5000


def test_without_a_weight_history_no_file_lies_beside_the_checkpoint(data, tmp_path):
    fit(data, tmp_path / "seed0.npz", weight_history=False)
    assert [file.name for file in tmp_path.iterdir()] == ["seed0.npz"]


@pytest.mark.parametrize("stops", [(1,), (2, 3)], ids=str)
def test_a_stopped_run_goes_on_with_the_weights_of_all_its_epochs(data, tmp_path, whole, stops):
    path = tmp_path / "seed0.npz"
    for epochs in stops:
        assert fit(data, path, stop_after(epochs)).status == "interrupted"
    assert len(checkpoints.epoch_paths(path)) == stops[-1] + 1
    seen = []
    resumed = fit(data, path, lambda history: seen.append(len(history["loss"])))
    assert seen == list(range(stops[-1] + 1, EPOCHS + 1))
    assert_same(resumed, whole)


@pytest.mark.parametrize("fault", ["missing", "cut in half", "another run's", "of another shape"])
def test_with_an_epochs_weights_at_fault_a_run_begins_anew(data, tmp_path, whole, fault):
    path = tmp_path / "seed0.npz"
    fit(data, path, stop_after(2))
    file = checkpoints.epoch_path(path, 1)
    if fault == "missing":
        file.unlink()
    elif fault == "cut in half":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    else:
        with np.load(file) as archive:
            arrays = dict(archive)
        changed = {"identity": np.array("another")} if fault == "another run's" else {"0": np.zeros(3, np.float32)}
        np.savez(file, **arrays | changed)
    seen = []
    again = fit(data, path, lambda history: seen.append(len(history["loss"])))
    assert seen == [1, 2, 3, 4]
    assert_same(again, whole)


def test_epochs_are_in_order_and_removed_with_their_checkpoint_alone(tmp_path):
    path = tmp_path / "seed1.npz"
    names = [f"seed1.epoch{epoch}.npz" for epoch in (0, 1, 2, 10, 11)]
    others = ["seed10.epoch0.npz", "seed10.npz", "seed1_epochs.npz"]
    for name in (*names[::-1], "seed1.npz", *others):
        (tmp_path / name).touch()
    assert [file.name for file in checkpoints.epoch_paths(path)] == names
    checkpoints.clean(path)
    assert len(checkpoints.epoch_paths(path)) == 5  # there is a checkpoint that needs them
    checkpoints.remove(path)
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(others)


def test_who_gets_a_runs_lock_clears_away_what_is_of_no_use(tmp_path, monkeypatch):
    experiment = declared_experiment(monkeypatch, tmp_path)
    run = declared.Run(experiment, experiment.variants[0], 0, "full", "tiny")
    place = run.checkpoint.parent
    place.mkdir(parents=True)
    for name in ("seed0.epoch0.npz", ".seed0.epoch1.npz.abcdefgh", ".seed0.npz.abcdefgh"):
        (place / name).write_bytes(b"half")
    with run.exclusive():
        assert [file.name for file in place.iterdir()] == ["seed0.lock"]


KILLED = """
import json, os, pathlib, signal, sys
sys.path.insert(0, "tests")
from helpers import declare
from shathenet_utils import backend, checkpoints, runner
from shathenet_utils.experiment import Experiment, Variant
from shathenet_utils.recipes import Recipe

folder, fatal, half = pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "half"
plain = Variant("plain", "v1_0", Recipe(4, optimizer="rmsprop"), dataset="tiny")
experiment = Experiment(
    "made_up", "Does it work?", (plain,), (0,), keep_weights=("plain",), keep_weight_history=("plain",),
    threads=backend.threads()["intra_op"],
)
declare([experiment], folder)
begun, savez = 0, checkpoints.np.savez

def savez_or_die(stream, **arrays):
    global begun
    begun += 1
    if begun == fatal:
        if half:
            stream.write(b"half of a file" * 1000)
            stream.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    savez(stream, **arrays)

checkpoints.np.savez = savez_or_die
seen = []
record = runner.train_run(
    experiment, plain, 0, record=True, on_epoch=lambda history: seen.append(len(history["loss"]))
)
print(json.dumps([seen, record["weights"], record["history"]["loss"]]))
"""


def start(folder, fatal=0, how="whole"):
    environment = {name: value for name, value in os.environ.items() if name != "SHATHENET_LIVE_SECONDS"}
    run = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), str(fatal), how], capture_output=True,
        text=True, cwd=ROOT, timeout=500, env=environment | {"SHATHENET_OUTPUT": str(folder)},
    )  # fmt: skip
    assert run.returncode in (0, -signal.SIGKILL), run.stderr
    return run.returncode, run.stdout and json.loads(run.stdout)


def files_of(folder):
    return sorted(file.name for file in folder.rglob("*") if file.is_file() and file.suffix != ".lock")


def test_killed_between_its_files_a_run_ends_with_the_same_weights_of_all_epochs(tmp_path):
    # An epoch writes its weights, then the checkpoint; the first one the initial weights before.
    code, [_, kept, losses] = start(tmp_path / "whole")
    assert code == 0
    killed = tmp_path / "killed"
    assert start(killed, 2)[0] == -signal.SIGKILL  # the initial weights are there
    assert start(killed, 5)[0] == -signal.SIGKILL  # the second epoch's weights are there, its checkpoint is not
    assert start(killed, 3, "half")[0] == -signal.SIGKILL  # goes on with the second epoch; half of the third's weights
    assert "seed0.epoch2.npz" in files_of(killed)
    code, [seen, kept_again, losses_again] = start(killed)
    assert code == 0
    assert seen == [3, 4]
    assert (kept_again, losses_again) == (kept, losses)
    assert files_of(killed) == files_of(tmp_path / "whole") == ["seed0.json", "seed0.npz", "seed0_epochs.npz"]
    with np.load(next((killed / "data" / "weights").rglob("seed0_epochs.npz"))) as archive:
        assert archive["conv1|kernel"].shape[0] == EPOCHS + 1
