"""Measurements: contenders take turns, what fails is one sentence, and the PyTorch twin is the same network."""

import functools
import importlib.metadata
import importlib.util
import itertools
import json
import os
import platform
import time

import numpy as np
import pytest
from helpers import tiny_dataset

from shathenet_utils import __main__, augment, bench, contenders, experiments, records
from shathenet_utils.recipes import Recipe

ANY = bench.Network("v1_0", {}, Recipe(1))


# Contenders of the test's own; they run in processes of their own, which find them here


def says_when(network, data, rounds):
    for _ in range(rounds):
        begun = time.monotonic()
        time.sleep(0.05)
        with open(network.arguments["log"], "a") as log:
            log.write(f"{network.model} {begun} {time.monotonic()}\n")
        yield time.monotonic() - begun, len(data.train_labels), {}


def counts(network, data, rounds):
    for number in range(rounds):
        yield float(number), len(data.train_labels) // 2, {"accuracy": 0.5} if number == rounds - 1 else {}


def fails(network, data, rounds):
    yield 1.0, 1, {}
    raise ValueError("the picture is upside down")


def dies(network, data, rounds):
    yield 1.0, 1, {}
    os._exit(9)


@pytest.fixture(scope="module")
def data():
    return tiny_dataset(train=40, validation=0, test=10)


def test_contenders_take_turns_and_never_overlap(data, tmp_path):
    log = tmp_path / "log"
    chosen = {
        name: (says_when, bench.Network(name, {"log": str(log)}, Recipe(1))) for name in ("first", "second", "third")
    }
    found = bench.alternate(chosen, data, rounds=2, warm=1)
    rows = [line.split() for line in log.read_text().splitlines()]
    assert [row[0] for row in rows] == ["first", "second", "third"] * 3
    assert all(float(before[2]) <= float(after[1]) for before, after in itertools.pairwise(rows))
    assert [len(one["seconds"]) for one in found.values()] == [2, 2, 2]


def test_the_warm_round_is_left_out_and_a_part_is_told_for_the_whole(data):
    found = bench.alternate({"counting": (counts, ANY)}, data, rounds=3, warm=1)["counting"]
    assert found["seconds"] == [2.0, 4.0, 6.0]
    assert (found["pictures"], found["accuracy"]) == (20, 0.5)
    assert 0 < found["memory_gib"] < 3


@pytest.mark.parametrize(
    ("contender", "said"),
    [(fails, "bad could not be measured: ValueError: the picture is upside down"), (dies, "ended before its time")],
)
def test_a_contender_that_fails_is_one_sentence(data, contender, said):
    with pytest.raises(bench.BenchError, match=said):
        bench.alternate({"good": (counts, ANY), "bad": (contender, ANY)}, data, rounds=2)


def test_every_contender_but_pytorch_trains_the_same_pictures(data):
    recipe = Recipe(2, 20, "sgd", 0.01, momentum=0.9, flip="random", translate=2)
    network = bench.Network("thin_resnet", {}, recipe)
    names = ("ours", "our steps alone", "Keras's way", "directory flow")
    found = bench.alternate({name: (contenders.CONTENDERS[name], network) for name in names}, data, rounds=1)
    assert all(one["seconds"][0] > 0 for one in found.values())
    assert found["directory flow"]["pictures"] == 4
    assert 0 <= found["ours"]["accuracy"] <= 1


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


def test_a_profile_says_which_part_of_an_epoch_is_convolution(data):
    recipe = Recipe(2, 20, "sgd", 0.01, momentum=0.9)
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
    monkeypatch.setattr(contenders, "ours", counts)
    monkeypatch.setattr(experiments, "load_data", lambda variant: data)


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
    assert set(bench.own("experiment_v1_0")["contenders"]) == {"adam_1e-4", "adam_1e-3", "adam_1e-3_bilinear"}
    arms = (experiments.Variant("a", "v1_0", Recipe(1)), experiments.Variant("b", "v1_0", Recipe(1), validation=0))
    mixed = experiments.Experiment("mixed", "?", arms)
    with pytest.raises(bench.BenchError, match="train on different pictures"):
        bench.variants(mixed)


def test_the_variants_are_timed_on_the_pictures_that_they_train_on(data, monkeypatch, tmp_path):
    fake(data, monkeypatch, tmp_path)
    seen = []
    monkeypatch.setattr(bench, "alternate", lambda chosen, data, rounds, warm=1: seen.append(len(data.train_labels)))
    few = experiments.Experiment("few", "?", (experiments.Variant("two", "v1_0", Recipe(1), images_a_class=2),))
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
    experiment = experiments.get("airbench")
    with pytest.raises(bench.BenchError, match="PyTorch is not here"):
        bench.whole_run(experiment, experiment.variant("epochs_12"))
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: found("json" if name == "torch" else name, *rest)
    )
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.0")
    result = bench.whole_run(experiment, experiment.variant("epochs_12"), record=True)
    assert len(result["contenders"]["PyTorch"]["seconds"]) == 12
    last = bench.readme_table().splitlines()[-1]
    assert last.startswith("A whole run of airbench epochs_12 on ")
    assert "132 s to 50.0 % of the test set; the same recipe in PyTorch 132 s to 50.0 %. One seed;" in last


def test_an_unknown_name_and_a_missing_measurement_are_one_sentence(monkeypatch, tmp_path):
    with pytest.raises(SystemExit, match=r"^error: There is no measurement 'v9'; there are v1\.0, thin ResNet"):
        __main__.main(["bench", "v9"])
    monkeypatch.setattr(records, "RECORDS", tmp_path)
    with pytest.raises(records.RecordError, match=r"v1_0\.json can't be read \(FileNotFoundError\)"):
        bench.load("v1_0")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="PyTorch is not here: install it with"):
        __main__.main(["bench", "airbench", "--run", "epochs_12"])


def test_places_say_which_was_measured_where_only_if_that_differs():
    here, there = ({"machine": {"cores": 2, "processor": name}} for name in ("A", "B"))
    assert bench.places({"x": here, "y": here}) == "2 cores of an A"
    assert bench.places({"x": here, "y": there, "z": here}) == "2 cores of an A (x, z); 2 cores of an B (y)"


def test_waits_end_at_the_next_look_of_a_thread_whose_pauses_double(monkeypatch):
    found = {
        "x, ours": {"seconds": [2.0, 1.0, 3.0]},
        "x, Keras's way": {"seconds": [5.2, 2.95, 10.5], "until_last_step": [3.0, 2.9, 6.0]},
        "y, ours": {"seconds": [30.0]},
        "y, Keras's way": {"seconds": [142.0], "until_last_step": [90.0]},
    }
    monkeypatch.setattr(bench, "load", lambda name: {"contenders": found})
    x, y = bench.waits().values()
    assert (x["ours"], x["last step"], x["epochs"], x["waited"]) == (1.0, 2.9, 3, 2)
    assert x["off"] == pytest.approx(10.5 - 10.23)  # 0.01 + 0.02 + … + 5.12
    assert y["off"] == pytest.approx(142 - 81.91 - 60)


def test_the_table_compares_means():
    ours, theirs = {"seconds": [1.0, 3.0], "memory_gib": 1.5}, {"seconds": [5.0, 5.0], "memory_gib": 2.0}
    result = {"name": "x", "contenders": {"ours": ours, "theirs": theirs}}
    table = bench.table([result])
    assert table.loc[("x", "theirs"), "times the first"] == "2.50"
    assert table.loc[("x", "ours"), ["seconds an epoch, mean", "best"]].tolist() == ["2.0", "1.0"]


@pytest.mark.parametrize("path", sorted((records.RECORDS / "bench").glob("*.json")), ids=lambda path: path.stem)
def test_a_recorded_measurement_is_whole(path):
    result = bench.load(path.stem)
    assert result["name"] == path.stem
    assert result["threads"]["inter_op"] == 1
    assert result["rounds"] >= (1 if path.stem == "scaling" else 5)
    for name, found in result["contenders"].items():
        assert len(found["seconds"]) == result["rounds"]
        if not name.endswith(("Keras's way", "directory flow", "PyTorch")) and path.stem != "scaling":
            assert 0 < found["memory_gib"] < 3, "no run of ours may take 3 GB"


# The PyTorch twin: the slow set needs PyTorch


def small(name):
    from shathenet_utils import models, training

    training.set_seed(0)
    model = models.build(name)
    training.whiten(model, tiny_dataset().train_images)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("name", ["v1_0", "v1_1", "thin_resnet", "airbench"])
def test_the_twin_computes_and_learns_what_keras_does(name):
    from shathenet_utils import torch_twin, training

    data = tiny_dataset()
    recipe = Recipe(
        epochs=2, batch_size=50, optimizer="sgd", learning_rate=0.01, momentum=0.9, nesterov=True, label_smoothing=0.1,
        averaging="lookahead", flip="random", weight_decay=0.001, decay="coupled", bias_rate=4.0,
    )  # fmt: skip
    model = small(name)
    twin = torch_twin.Trainer(model, data, recipe, 0)
    expected = training.predict(model, data.test_images)
    np.testing.assert_allclose(twin.predict(data.test_images), expected, atol=1e-5 * max(1, np.abs(expected).max()))
    twin = torch_twin.Trainer(model, data, recipe, 0)
    losses = [
        twin.epoch(augment.of_epoch(data.train_images, data.train_labels, recipe, 0, epoch), epoch) for epoch in (0, 1)
    ]
    history = training.fit(model, data, recipe, seed=0).history
    np.testing.assert_allclose(losses, history["loss"], rtol=2e-3)
    ours, theirs = training.predict(model, data.test_images), twin.predict(data.test_images)
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.99


@pytest.mark.slow
def test_a_layer_that_the_twin_does_not_know_is_named():
    from shathenet_utils import torch_twin
    from shathenet_utils.blocks import keras, layers

    pictures = keras.Input((32, 32, 3))
    model = keras.Model(
        pictures, layers.Dense(10)(layers.Flatten()(layers.SeparableConv2D(2, 3, name="apart")(pictures)))
    )
    twin = torch_twin.Trainer(model, tiny_dataset(), Recipe(1), 0)
    with pytest.raises(NotImplementedError, match="does not know apart, a SeparableConv2D"):
        twin.predict(tiny_dataset().test_images)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"optimizer": "lion"}, "lion"),
        ({"optimizer": "sgd", "momentum": 0.9}, "plain momentum"),
        ({"weight_decay": 0.1}, "decoupled weight decay"),
        ({"loss": "mse"}, "the loss mse"),
        ({"averaging": "ema"}, "a moving average"),
        ({"mixup": 0.2}, "mixup"),
    ],
)
def test_a_recipe_that_the_twin_can_not_follow_is_refused(change, said):
    from shathenet_utils import torch_twin

    with pytest.raises(NotImplementedError, match=f"does not train with .*{said}"):
        torch_twin.Trainer(small("v1_0"), tiny_dataset(), Recipe(1, **change), 0)


def test_a_linear_head_is_timed(data):
    network = bench.Network("linear_head", {}, Recipe(2, 20, flip="random"))
    (found,) = bench.alternate({"head": (contenders.head, network)}, data, rounds=2, warm=0).values()
    assert (len(found["seconds"]), found["pictures"]) == (2, 40)


@pytest.mark.slow
def test_features_are_timed_and_told_for_all_pictures(data):
    contender = functools.partial(contenders.features, name="efficientnet_lite0@64", pictures=10)
    (found,) = bench.alternate({"features": (contender, ANY)}, data, rounds=2, warm=1).values()
    assert (len(found["seconds"]), found["pictures"]) == (2, 10)


@pytest.mark.slow
def test_pytorch_is_measured_beside_ours(data):
    recipe = Recipe(2, 20, "sgd", 0.01, "mixed_bfloat16", momentum=0.9, nesterov=True, flip="random", translate=2)
    network = bench.Network("airbench", {"widths": (8, 8, 8)}, recipe)
    found = bench.alternate({"PyTorch": (contenders.pytorch, network)}, data, rounds=2, warm=0)["PyTorch"]
    assert len(found["seconds"]) == 2
    assert 0 <= found["accuracy"] <= 1
