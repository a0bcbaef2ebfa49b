"""Measurements: contenders take turns, what fails is one sentence, and the PyTorch twin is the same network."""

import functools
import importlib.metadata
import importlib.util
import inspect
import itertools
import json
import os
import platform
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from helpers import python, tiny_dataset

from shathenet_utils import __main__, augment, book, records, runner
from shathenet_utils.benchmarks import bench, contenders, tables
from shathenet_utils.experiment import Experiment, Variant
from shathenet_utils.recipes import Augmentation, Optimizer, Recipe

ANY = bench.Network("v1_0", {}, Recipe(1))
FLIP = Augmentation(flip="random", translate=2)
NESTEROV = Optimizer("sgd", momentum=0.9, nesterov=True)


# Contenders of the test's own; they run in processes of their own, which find them here


def logs_when(network, data, rounds):
    for _ in range(rounds):
        begun = time.monotonic()
        time.sleep(0.05)
        with open(network.arguments["log"], "a") as log:
            log.write(f"{network.model} {begun} {time.monotonic()}\n")
        yield time.monotonic() - begun, len(data.train_labels), {}


def logs_who_runs(network, data, rounds):
    """Whether the process of each contender that began before is there at the end of a round of this one."""
    log = Path(network.arguments["log"])
    with log.open("a") as file:
        file.write(f"{os.getpid()}\n")
    for _ in range(rounds):
        time.sleep(0.3)  # time enough for a process that has nothing more to do to end
        states = [psutil.Process(int(process)).status() for process in log.read_text().split()]
        yield 1.0, 1, {"ended": states.count(psutil.STATUS_ZOMBIE)}


def counts(network, data, rounds):
    for number in range(rounds):
        yield float(number), len(data.train_labels) // 2, {"accuracy": 0.5} if number == rounds - 1 else {}


def fails(network, data, rounds):
    yield 1.0, 1, {}
    raise ValueError("the image is upside down")


def dies(network, data, rounds):
    yield 1.0, 1, {}
    os._exit(9)


@pytest.fixture(scope="module")
def data():
    return tiny_dataset(train=40, validation=0, test=10)


def test_contenders_take_turns_and_never_overlap(data, tmp_path):
    log = tmp_path / "log"
    chosen = {
        name: (logs_when, bench.Network(name, {"log": str(log)}, Recipe(1))) for name in ("first", "second", "third")
    }
    found = bench.alternate(chosen, data, rounds=2, warm=1)
    rows = [line.split() for line in log.read_text().splitlines()]
    assert [row[0] for row in rows] == ["first", "second", "third"] * 3
    assert all(float(before[2]) <= float(after[1]) for before, after in itertools.pairwise(rows))
    assert [len(one["seconds"]) for one in found.values()] == [2, 2, 2]


def test_no_process_ends_before_the_last_round_is_over(data, tmp_path):
    network = bench.Network("any", {"log": str(tmp_path / "log")}, Recipe(1))
    found = bench.alternate(dict.fromkeys(("first", "second", "third"), (logs_who_runs, network)), data, rounds=2)
    assert [one["ended"] for one in found.values()] == [0, 0, 0]
    assert not [pid for pid in (tmp_path / "log").read_text().split() if psutil.pid_exists(int(pid))]


def test_in_every_round_the_images_of_a_next_epoch_are_prepared(data, monkeypatch):
    prepared, of_epoch = [], augment.of_epoch

    def noted(images, labels, augmentation, seed, epoch):
        prepared.append((seed, epoch))
        return of_epoch(images, labels, augmentation, seed, epoch)

    monkeypatch.setattr(augment, "of_epoch", noted)
    for _ in contenders.our_fit(bench.Network("v1_0", {}, Recipe(9, 20, augmentation=FLIP)), data, 3):
        pass
    assert sorted(prepared) == [(0, 0), (0, 1), (0, 2), (0, 3)]  # the first, and three rounds with one each
    prepared.clear()
    for _ in contenders.our_fit(bench.Network("v1_0", {}, Recipe(9, 20)), data, 3):
        pass
    assert prepared == [(0, 0)]  # without augmentation an epoch prepares none


def test_the_warm_round_is_left_out_and_a_part_counts_for_the_whole(data):
    found = bench.alternate({"counting": (counts, ANY)}, data, rounds=3, warm=1)["counting"]
    assert found["seconds"] == [2.0, 4.0, 6.0]
    assert (found["images"], found["accuracy"]) == (20, 0.5)
    assert 0 < found["memory_gib"] < 3


@pytest.mark.parametrize(
    ("contender", "message"),
    [(fails, "bad could not be measured: ValueError: the image is upside down"), (dies, "ended before its time")],
)
def test_a_contender_that_fails_is_one_sentence(data, contender, message):
    with pytest.raises(bench.BenchError, match=message):
        bench.alternate({"good": (counts, ANY), "bad": (contender, ANY)}, data, rounds=2)


def test_every_contender_but_pytorch_trains_the_same_images(data):
    network = bench.Network("baseline", {"normalisation": "batch"}, Recipe(2, 20, 0.01, NESTEROV, augmentation=FLIP))
    names = [name for name in contenders.CONTENDERS if name != "PyTorch"]
    found = bench.alternate({name: (contenders.CONTENDERS[name], network) for name in names}, data, rounds=1)
    assert all(one["seconds"][0] > 0 for one in found.values())
    assert found["directory flow"]["images"] == 4
    assert {found[name]["images"] for name in names} == {40, 4}


@pytest.mark.slow
def test_keras_trains_on_arrays_and_on_files(data):
    network = bench.Network("baseline", {}, Recipe(2, 20))
    found = bench.alternate({name: (source, network) for name, source in contenders.SOURCES.items()}, data, rounds=1)
    for measured in found.values():
        assert measured["images"] == 40
        assert 0 < measured["until_last_step"][0] <= measured["seconds"][0]


def test_the_accuracy_of_a_measured_run_is_that_of_the_same_run_elsewhere(data):
    from shathenet_utils import training

    recipe = Recipe(4, 10, 0.01, NESTEROV, augmentation=FLIP)
    data = tiny_dataset(train=200, validation=0, test=100)
    found = bench.alternate({"ours": (contenders.our_fit, bench.Network("v1_0", {}, recipe))}, data, rounds=4, warm=0)
    model = runner.build_initialised("v1_0", {}, recipe, 0)
    training.fit(model, data, recipe)
    expected = training.accuracy(training.predict(model, data.test_images), data.test_labels)
    assert 0 < expected == found["ours"]["accuracy"]


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_keras_trains_in_the_precision_that_its_contender_is_called_by(precision):
    source = (
        "from shathenet_utils.benchmarks import bench, contenders\n"
        "from shathenet_utils.recipes import Recipe\n"
        "network = bench.Network('baseline', {}, Recipe(1, precision='mixed_bfloat16', schedule='cosine'))\n"
        f"keras, model, optimizer = contenders._tutorial_network(network, {precision!r})\n"
        "kinds = {layer.compute_dtype for layer in model.layers if isinstance(layer, keras.layers.Conv2D)}\n"
        "print(*kinds, model.output.dtype, round(float(optimizer.learning_rate), 6))\n"
    )
    assert python(source).stdout.split() == [precision.removeprefix("mixed_"), "float32", "0.001"]
    chosen = {"Keras's way": "float32", "Keras's fit, mixed_bfloat16": "mixed_bfloat16"}
    signatures = {name: inspect.signature(contenders.CONTENDERS[name]).parameters["precision"] for name in chosen}
    assert {name: parameter.default for name, parameter in signatures.items()} == chosen


LINES = """onednn_verbose,v1,info,cpu,runtime:threadpool,nthr:2
onednn_verbose,v1,primitive,exec,cpu,convolution,brg:avx512,forward_training,src:f32,,alg:direct,mb8_ic3oc4,250
onednn_verbose,v1,primitive,exec,cpu,convolution,brg:avx512,backward_weights,src:f32,,alg:direct,mb8_ic3oc4,500
onednn_verbose,v1,primitive,exec,cpu,convolution,brg:avx512,forward_training,src:f32,,alg:direct,mb8_ic3oc4,125.5
onednn_verbose,v1,primitive,exec,cpu,pooling,jit:avx512,backward_data,src:f32,,alg:max,mb8ic4,2
""".splitlines()


def test_a_profile_sums_what_onednn_prints():
    assert contenders.operation_seconds(LINES) == {
        "convolution, forward": 0.3755,
        "convolution, gradient of kernels": 0.5,
        "other layers in oneDNN": 0.002,
    }


def test_a_profile_shows_which_part_of_an_epoch_is_convolution(data):
    recipe = Recipe(2, 20, 0.01, Optimizer("sgd", momentum=0.9))
    network = bench.Network("airbench", {"widths": (16, 16, 16)}, recipe)
    profiled = contenders.PROFILED["ours"]
    (found,) = bench.alternate({"ours": (profiled, network)}, data, rounds=2, warm=0).values()
    if found["operations"] or platform.machine() == "x86_64":  # oneDNN's; another processor's TensorFlow may do without
        assert set(contenders.OPERATIONS.values()) <= set(found["operations"])
        assert 0 < sum(found["operations"].values()) < found["seconds"][-1]
    assert "accuracy" not in found


def fake(data, monkeypatch, tmp_path):
    """The command's own path, with contenders that only count."""
    monkeypatch.setenv("SHATHENET_OUTPUT", str(tmp_path))
    monkeypatch.setattr(records, "RECORDS", tmp_path / "data" / "records")
    monkeypatch.setattr(contenders, "CONTENDERS", {"ours": counts, "Keras's way": counts})
    monkeypatch.setattr(contenders, "our_fit", counts)
    monkeypatch.setattr(runner, "load_data", lambda variant: data)


def test_what_is_measured_is_kept_and_not_measured_again(data, monkeypatch, tmp_path, capsys):
    fake(data, monkeypatch, tmp_path)
    __main__.main(["bench", "v1.0", "--rounds", "2"])
    assert "Keras's way" in capsys.readouterr().out
    path = tmp_path / "data" / "runs" / "bench" / "v1_0.json"
    kept = json.loads(path.read_text())
    assert kept["contenders"]["ours"]["seconds"] == [2.0, 4.0]
    assert (kept["precision"], kept["batch_size"], kept["rounds"]) == ("float32", 32, 2)
    __main__.main(["bench", "v1.0"])
    assert json.loads(path.read_text())["rounds"] == 2
    __main__.main(["bench", "v1.0", "--rounds", "1", "--again"])
    assert json.loads(path.read_text())["rounds"] == 1
    __main__.main(["bench", "v1.0", "--rounds", "1", "--record"])
    assert bench.load("v1_0") == json.loads((tmp_path / "data" / "records" / "bench" / "v1_0.json").read_text())


def test_the_variants_of_an_experiment_are_timed(data, monkeypatch, tmp_path, capsys):
    fake(data, monkeypatch, tmp_path)
    __main__.main(["bench", "v1_0", "--rounds", "1"])
    timed = bench.user_benchmark("experiment_v1_0")["contenders"]
    assert list(timed) == [variant.name for variant in book.load_experiment("v1_0").variants]
    assert bench.user_benchmark("experiment_v1_1") is None
    two = (Variant("a", "v1_0", Recipe(1)), Variant("b", "v1_0", Recipe(1), validation=0))
    with pytest.raises(bench.BenchError, match="train on different images"):
        bench.variants(Experiment("mixed", "?", two))


def test_the_variants_are_timed_on_the_images_that_they_train_on(data, monkeypatch, tmp_path):
    fake(data, monkeypatch, tmp_path)
    seen = []
    monkeypatch.setattr(bench, "alternate", lambda chosen, data, rounds, warm=1: seen.append(len(data.train_labels)))
    few = Experiment("few", "?", (Variant("two", "v1_0", Recipe(1), images_per_class=2),))
    for again in (False, False, True):
        bench.variants(few, again=again)
    assert seen == [20, 20]


def test_a_whole_run_stands_in_the_readme_beside_pytorchs(data, monkeypatch, tmp_path):
    fake(data, monkeypatch, tmp_path)
    monkeypatch.setattr(contenders, "pytorch", counts)
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "torch" else found(name, *rest)
    )
    experiment = book.load_experiment("airbench")
    with pytest.raises(bench.BenchError, match="PyTorch is not here"):
        bench.whole_run(experiment, experiment.variant("epochs_12"))
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: found("json" if name == "torch" else name, *rest)
    )
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.0")
    result = bench.whole_run(experiment, experiment.variant("epochs_12"), record=True)
    assert len(result["contenders"]["PyTorch"]["seconds"]) == 12
    last = tables.readme_table().splitlines()[-1]
    assert last.startswith("A whole run of airbench epochs_12 on ")
    assert "132 s to 50.0 % test accuracy; the same recipe in PyTorch 132 s to 50.0 %. One seed;" in last


def test_an_unknown_name_and_a_missing_measurement_are_one_sentence(monkeypatch, tmp_path):
    with pytest.raises(SystemExit, match=r"^error: There is no measurement 'v9'; there are v1\.0, thin ResNet"):
        __main__.main(["bench", "v9"])
    monkeypatch.setattr(records, "RECORDS", tmp_path)
    with pytest.raises(records.RecordError, match=r"v1_0\.json can't be read \(FileNotFoundError\)"):
        bench.load("v1_0")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="PyTorch is not here: install it with"):
        __main__.main(["bench", "airbench", "--run", "epochs_12"])


def test_a_processor_with_instructions_for_bfloat16_is_not_measured_without(monkeypatch, tmp_path):
    monkeypatch.setattr(records, "RECORDS", tmp_path)
    for multiplies in (False, True):
        monkeypatch.setattr(bench.machine, "multiplies_bfloat16", lambda answer=multiplies: answer)
        assert ("widened" in bench.measurable()) != multiplies
    with pytest.raises(bench.BenchError, match="has instructions for bfloat16"):
        bench.measured("widened", record=True)


def test_places_name_which_was_measured_where_only_if_that_differs():
    here, there = ({"machine": {"cores": 2, "processor": name}} for name in ("A", "B"))
    assert tables.places({"x": here, "y": here}) == "2 cores of an A"
    assert tables.places({"x": here, "y": there, "z": here}) == "2 cores of an A (x, z); 2 cores of an B (y)"


def test_waits_end_at_the_next_waking_of_a_thread_whose_pauses_double(monkeypatch):
    found = {
        "x, ours": {"seconds": [2.0, 1.0, 3.0]},
        "x, Keras's way": {"seconds": [5.2, 2.95, 10.5], "until_last_step": [3.0, 2.9, 6.0]},
        "y, ours": {"seconds": [30.0]},
        "y, Keras's way": {"seconds": [142.0], "until_last_step": [90.0]},
    }
    monkeypatch.setattr(bench, "load", lambda name: {"contenders": found})
    x, y = tables.waits().values()
    assert (x["ours"], x["last step"], x["epochs"], x["waited"]) == (1.0, 2.9, 3, 2)
    assert x["off"] == pytest.approx(10.5 - 10.23)  # 0.01 + 0.02 + … + 5.12
    assert y["off"] == pytest.approx(142 - 81.91 - 60)


def test_the_readme_shows_a_contender_once_it_is_measured():
    contenders_of = {name: {"seconds": [seconds]} for name, seconds in (("ours", 2.0), ("Keras's way", 5.0))}
    machine = {"cores": 2, "processor": "A"}
    before = {"contenders": contenders_of, "precision": "float32", "rounds": 1, "machine": machine}
    half = before | {"contenders": contenders_of | {"Keras's fit, mixed_bfloat16": {"seconds": [3.0]}}}
    assert tables._epochs_table({"x": before})[2] == "| x | 2.0 s | 2.50× | float32 |"
    heading, rule, *rows = tables._epochs_table({"x": before, "y": half})[:4]
    assert "| Keras's `fit` | Keras's `fit`, bfloat16 |" in heading
    assert heading.count("|") == rule.count("|")
    assert rows == ["| x | 2.0 s | 2.50× | – | float32 |", "| y | 2.0 s | 2.50× | 1.50× | float32 |"]


def test_the_table_compares_means():
    ours, theirs = {"seconds": [1.0, 3.0], "memory_gib": 1.5}, {"seconds": [5.0, 5.0], "memory_gib": 2.0}
    result = {"name": "x", "contenders": {"ours": ours, "theirs": theirs}}
    table = tables.table([result])
    assert table.loc[("x", "theirs"), "times the first"] == "2.50"
    assert table.loc[("x", "ours"), ["seconds per epoch, mean", "best"]].tolist() == ["2.0", "1.0"]


@pytest.mark.parametrize("path", sorted((records.RECORDS / "bench").glob("*.json")), ids=lambda path: path.stem)
def test_a_recorded_measurement_is_whole(path):
    result = bench.load(path.stem)
    assert result["name"] == path.stem
    assert result["schema"] == records.SCHEMA
    assert result["threads"]["inter_op"] == 1
    assert result["rounds"] >= (1 if path.stem == "scaling" else 5)
    for name, found in result["contenders"].items():
        assert len(found["seconds"]) == result["rounds"]
        assert found["images"] > 0
        if not name.endswith(("Keras's way", "directory flow", "PyTorch")) and path.stem != "scaling":
            assert 0 < found["memory_gib"] < 3, "no run of the book's loop may take 3 GB"


# The PyTorch twin: the slow set needs PyTorch


def small(name):
    from shathenet_utils import models, training

    training.set_seed(0)
    model = models.build(name)
    training.set_from_images(model, tiny_dataset().train_images)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("name", ["v1_0", "v1_1", "thin_resnet", "airbench"])
def test_the_twin_computes_and_learns_what_keras_does(name):
    from shathenet_utils import training
    from shathenet_utils.benchmarks import torch_twin

    data = tiny_dataset()
    optimizer = Optimizer(
        "sgd", momentum=0.9, nesterov=True, weight_decay=0.001, decay="coupled", beta_lr_multiplier=4.0
    )
    recipe = Recipe(
        2, 50, 0.01, optimizer, augmentation=Augmentation(flip="random"), label_smoothing=0.1, averaging="lookahead"
    )
    model = small(name)
    twin = torch_twin.Trainer(model, data, recipe, 0)
    expected = training.predict(model, data.test_images)
    np.testing.assert_allclose(twin.predict(data.test_images), expected, atol=1e-5 * max(1, np.abs(expected).max()))
    twin = torch_twin.Trainer(model, data, recipe, 0)
    losses = [
        twin.epoch(augment.of_epoch(data.train_images, data.train_labels, recipe.augmentation, 0, epoch), epoch)
        for epoch in (0, 1)
    ]
    history = training.fit(model, data, recipe, seed=0).history
    np.testing.assert_allclose(losses, history["loss"], rtol=2e-3)
    ours, theirs = training.predict(model, data.test_images), twin.predict(data.test_images)
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.99


@pytest.mark.slow
def test_a_layer_that_the_twin_does_not_know_is_named():
    from shathenet_utils.backend import keras, layers
    from shathenet_utils.benchmarks import torch_twin

    images = keras.Input((32, 32, 3))
    model = keras.Model(images, layers.Dense(10)(layers.Flatten()(layers.SeparableConv2D(2, 3, name="apart")(images))))
    twin = torch_twin.Trainer(model, tiny_dataset(), Recipe(1), 0)
    with pytest.raises(NotImplementedError, match="does not know apart, a SeparableConv2D"):
        twin.predict(tiny_dataset().test_images)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "lacking"),
    [
        ({"optimizer": "lion"}, "lion"),
        ({"optimizer": Optimizer("sgd", momentum=0.9)}, "plain momentum"),
        ({"optimizer": Optimizer(weight_decay=0.1)}, "decoupled weight decay"),
        ({"loss": "mse"}, "the loss mse"),
        ({"averaging": "ema"}, "a moving average"),
        ({"augmentation": Augmentation(mixup=0.2)}, "mixup"),
    ],
)
def test_a_recipe_that_the_twin_can_not_follow_is_refused(change, lacking):
    from shathenet_utils.benchmarks import torch_twin

    with pytest.raises(NotImplementedError, match=f"does not train with .*{lacking}"):
        torch_twin.Trainer(small("v1_0"), tiny_dataset(), Recipe(1, **change), 0)


def test_a_linear_head_is_timed(data):
    network = bench.Network("linear_head", {}, Recipe(2, 20, augmentation=Augmentation(flip="random")))
    (found,) = bench.alternate({"head": (contenders.head, network)}, data, rounds=2, warm=0).values()
    assert (len(found["seconds"]), found["images"]) == (2, 40)


@pytest.mark.slow
def test_features_are_timed_and_count_for_all_images(data):
    contender = functools.partial(contenders.features, name="efficientnet_lite0@64", images=10)
    (found,) = bench.alternate({"features": (contender, ANY)}, data, rounds=2, warm=1).values()
    assert (len(found["seconds"]), found["images"]) == (2, 10)


@pytest.mark.slow
def test_pytorch_is_measured_on_images_that_it_learns():
    recipe = Recipe(12, 20, 0.01, NESTEROV, augmentation=FLIP, precision="mixed_bfloat16")
    network = bench.Network("thin_resnet", {}, recipe)
    data = tiny_dataset(train=200, validation=0, test=100)
    found = bench.alternate({"PyTorch": (contenders.pytorch, network)}, data, rounds=12, warm=0)["PyTorch"]
    assert len(found["seconds"]) == 12
    assert found["accuracy"] > 0.3  # chance is 0.1
