"""A run survives what may happen: killed at any moment, a full disk, company at the same run, numbers that explode."""

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from helpers import tiny_dataset

from shathenet_utils import ROOT, files, models, records, runner
from shathenet_utils.experiment import custom_experiment
from shathenet_utils.recipes import Recipe

RUN = """
import os, signal, sys
sys.path.insert(0, "tests")
from helpers import tiny_dataset
from shathenet_utils import files, models, records, runner, training
from shathenet_utils.experiment import Experiment, Variant
from shathenet_utils.recipes import Augmentation, Optimizer, Recipe, Schedule

def my_network():
    return models.airbench((16, 16, 16))

def die():
    os.kill(os.getpid(), signal.SIGKILL)

moment, epoch = sys.argv[1], int(sys.argv[2])
written = [0]
if moment == "writing":  # half of the file is there
    whole = training.np.savez
    def savez(stream, **arrays):
        written[0] += 1
        if written[0] == epoch:
            stream.write(b"half of a checkpoint" * 1000)
            stream.flush()
            die()
        whole(stream, **arrays)
    training.np.savez = savez
if moment == "replacing":  # all of it is there, under another name
    def replace(temporary, path, rename=os.replace):
        written[0] += 1
        if written[0] == epoch:
            die()
        rename(temporary, path)
    files.os.replace = replace
if moment == "recording":  # trained, and its record half written
    def save(record, path, whole=records.save):
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / f".{path.name}.abcdefgh").write_text("half")
        die()
    records.save = save

def say(history):
    print("epoch", len(history["loss"]), flush=True)

recipe = Recipe(
    epochs=12, batch_size=50, learning_rate=0.1, optimizer=Optimizer("sgd", momentum=0.85, nesterov=True),
    averaging="lookahead", augmentation=Augmentation(flip="alternating", translate=2),
    schedule=Schedule("linear", warmup=0.2),
)
mine = (Variant("mine", my_network, recipe),)
experiment = Experiment("custom", "?", mine, seeds=(0,), keep_weight_history=("mine",), custom=True)
runner.train(experiment, data=tiny_dataset(), on_epoch=say)
print("done", flush=True)
"""


def start(folder, moment="never", epoch=0):
    environment = {name: value for name, value in os.environ.items() if name != "SHATHENET_LIVE_SECONDS"}
    return subprocess.Popen(
        [sys.executable, "-c", RUN, moment, str(epoch)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        cwd=ROOT, env=environment | {"SHATHENET_OUTPUT": str(folder)},
    )  # fmt: skip


def result(folder):
    """What a run's record and the weights of its epochs hold, but for the times; and that nothing else is left."""
    path, kept = sorted(path for path in folder.rglob("*") if path.is_file())
    assert (path.name, kept.name) == ("seed0.json", "seed0_epochs.npz")
    record = records.load(path)
    assert record["epochs"] == 12
    assert record["weights"]["history"]["sha256"] == files.sha256_of(kept.read_bytes())
    del record["history"]["seconds"]
    return {key: record[key] for key in ("history", "test_predictions", "test_accuracy", "config_hash", "weights")}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    with start(folder) as run:
        run.communicate(timeout=200)
    return result(folder)


def kill_and_go_on(folder, kills, stream):
    """Kill a run so many times, at moments drawn from `stream`, and let it end; returns the moments."""
    moments = []
    while len(moments) < kills:
        moment = stream.choice(["any", "writing", "replacing"])
        with start(folder, moment, stream.randint(1, 3)) as run:
            begun = run.stdout.readline()  # an epoch is done, or it has killed itself before one was
            if moment == "any" and begun:
                time.sleep(stream.uniform(0, 0.3))
                run.kill()
            ended = run.communicate(timeout=200)[0]
        if "done" in begun + ended:  # the twelve epochs did not last
            return moments
        assert run.returncode == -signal.SIGKILL
        moments.append(moment)
    with start(folder, "recording") as run:
        run.communicate(timeout=200)
        assert run.returncode == -signal.SIGKILL
    with start(folder) as run:
        assert "done" in run.communicate(timeout=200)[0]
    return [*moments, "recording"]


def test_a_run_killed_again_and_again_ends_with_the_same_numbers(tmp_path, undisturbed):
    assert len(kill_and_go_on(tmp_path, 1, random.Random(4))) == 2
    assert result(tmp_path) == undisturbed


@pytest.mark.slow
def test_a_run_killed_twenty_times_ends_with_the_same_numbers(tmp_path, undisturbed):
    killed = 0
    while killed < 20:
        folder = tmp_path / str(killed)
        killed += len(kill_and_go_on(folder, 5, random.Random(killed)))
        assert result(folder) == undisturbed


def several(folder, count):
    """So many processes at one run; returns how many epochs each trained."""
    runs = [start(folder) for _ in range(count)]
    outputs = [run.communicate(timeout=500)[0].splitlines() for run in runs]
    assert all(output[-1] == "done" for output in outputs)
    return sorted(sum(line.startswith("epoch") for line in output) for output in outputs)


def test_of_two_processes_at_one_run_one_trains_it(tmp_path, undisturbed):
    assert several(tmp_path, 2) == [0, 12]
    assert result(tmp_path) == undisturbed


@pytest.mark.slow
def test_of_eight_processes_at_one_run_one_trains_it(tmp_path, undisturbed):
    assert several(tmp_path, 8) == [0] * 7 + [12]
    assert result(tmp_path) == undisturbed


def my_network():
    return models.airbench((16, 16, 16))


def exploding():
    return models.v1_0()


@pytest.fixture
def alone(monkeypatch, tmp_path):
    """In this process, with a folder of its own."""
    monkeypatch.setenv("SHATHENET_OUTPUT", str(tmp_path))
    monkeypatch.delenv("SHATHENET_LIVE_SECONDS", raising=False)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    return tmp_path


def test_a_full_disk_is_one_sentence_and_the_last_checkpoint_stays(alone, monkeypatch):
    experiment = custom_experiment(my_network, Recipe(epochs=4, batch_size=50), seeds=[0])
    data, sync, seen = tiny_dataset(), os.fsync, []

    def full(handle):
        if len(seen) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(files.FileError, match=r"can't be written \(No space left on device\): free some space"):
        runner.train(experiment, data=data, on_epoch=lambda history: seen.append(len(history["loss"])))
    assert [path.suffix for path in alone.rglob("*") if path.is_file()] == [".npz"]
    monkeypatch.setattr(os, "fsync", sync)
    seen.clear()
    runner.train(experiment, data=data, on_epoch=lambda history: seen.append(len(history["loss"])))
    assert seen == [3, 4]


def test_a_run_that_diverges_is_kept_as_one_named_and_not_tried_again(alone):
    recipe = Recipe(epochs=50, optimizer="sgd", learning_rate=1e30)
    experiment, seen = custom_experiment(exploding, recipe, seeds=[0, 1]), []
    runs = runner.train(experiment, data=tiny_dataset(), on_epoch=seen.append)
    assert [record["status"] for record in runs.recorded["exploding"]] == ["diverged"] * 2
    assert runs.diverged("exploding") == [0, 1]
    assert runs.table().loc["exploding", "seeds"] == "2, diverged: 0, 1"
    assert runs.table().loc["exploding", "test accuracy"] == "–"
    times = {path: path.stat().st_mtime_ns for path in alone.rglob("*.json")}
    seen.clear()
    runner.train(experiment, data=tiny_dataset(), on_epoch=seen.append)
    assert seen == []
    assert {path: path.stat().st_mtime_ns for path in alone.rglob("*.json")} == times
    assert all(np.isfinite(json.loads(path.read_text())["history"]["loss"]).all() for path in times)


def test_what_a_killed_process_left_half_written_is_cleared_away(alone):
    experiment = custom_experiment(my_network, Recipe(epochs=1, batch_size=100), seeds=[0])
    path = experiment.path(experiment.variants[0], 0, records.runs_folder("tiny", "full"))
    path.parent.mkdir(parents=True)
    (path.parent / ".seed0.json.12345678").write_text("half")
    runner.train(experiment, data=tiny_dataset())
    assert [found.name for found in alone.rglob("*") if found.is_file()] == ["seed0.json"]
