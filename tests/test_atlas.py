"""The atlas and the lineage, from made-up records in a folder of their own: what stands there is what they hold."""

import dataclasses
import json
import math
import types

import numpy as np
import pytest
from helpers import a_record, diverged

from shathenet_utils import book, records, stats
from shathenet_utils.book import atlas, lineage
from shathenet_utils.experiment import Experiment, Variant
from shathenet_utils.recipes import Recipe
from shathenet_utils.runs import Runs

IMAGES = 400
LABELS = np.arange(IMAGES) % 10
MACHINE = {"processor": "a processor", "cores": 2, "memory_gib": 24, "system": "Linux"}


def variant(name, epochs=16, **arguments):
    model_arguments = {"classes": 10, "filters": [len(name), sum(map(ord, name)) % 97, epochs]}
    return Variant(name, "baseline", Recipe(epochs), model_arguments, name.replace("_", " "), **arguments)


def predictions(accuracy, seed):
    """Classes of the images, a share of them correct: the first ones, which is what images share, but for a few."""
    stream = np.random.default_rng(seed)
    wrong = np.arange(IMAGES) >= round(accuracy * IMAGES)
    swapped = stream.choice(IMAGES, 20, replace=False)
    wrong[swapped] = wrong[stream.permutation(swapped)]
    return (LABELS + wrong) % 10


def run(accuracy, seed=0, seconds=10.0, parameters=1000, **changes):
    found = predictions(accuracy, seed)
    share = float(np.mean(found == LABELS))
    made = a_record(seed, dataset="made_up_images", parameters=parameters, machine=MACHINE, **changes)
    both = {"test_accuracy": share, "validation_accuracy": share}
    both |= {f"{part}_predictions": records.encode_classes(found) for part in ("test", "validation")}
    made["seconds"] = {"total": 30.0, "median_epoch": seconds}
    return made | both | {"threads": {"inter_op": 1, "intra_op": 1}}


def facts(folder):
    labels = records.encode_classes(LABELS)
    held = {"data_fingerprint": a_record()["data_fingerprint"], "test_labels": labels, "validation_labels": labels}
    (folder / "facts").mkdir(parents=True)
    (folder / "facts" / "made_up_images.json").write_text(json.dumps(held))


BASELINE = Experiment("baseline", "?", (variant("plain"), variant("normalised")), seeds=(0, 1, 2))
PAGE_8 = (
    Experiment(
        "initialisation", "?",
        (variant("he"), variant("he_normalised"), variant("bad"), variant("trial", pilot=True), variant("unfinished")),
        seeds=(0, 1, 2),
    ),
    Experiment("initialisation_sweep", "?", (variant("he_1e-2", 8),), sweep=True),
)  # fmt: skip
PAGE_14 = (
    Experiment("augmentation_long", "?", (variant("none", 48), variant("flip", 48)), seeds=(0, 1)),
    Experiment("depth", "?", (variant("plain_20"), variant("residual_20")), seeds=(0, 1)),
)


@pytest.fixture
def recorded(monkeypatch, tmp_path):
    """Three pages with their records; a function that records further ones."""
    pages = [
        types.SimpleNamespace(__name__=f"shathenet_utils.book.{name}", EXPERIMENTS=found)
        for name, found in (("p05_a", (BASELINE,)), ("p08_b", PAGE_8), ("p14_c", PAGE_14))
    ]
    monkeypatch.setattr(book, "PAGES", pages)
    monkeypatch.setattr(book, "EXPERIMENTS", {e.name: e for page in pages for e in page.EXPERIMENTS})
    monkeypatch.setattr(records, "RECORDS", tmp_path)
    facts(tmp_path)

    def keep(experiment, name, accuracy, seeds=None, **arguments):
        declared = book.load_experiment(experiment).variant(name)
        for seed in book.load_experiment(experiment).seeds_of(declared) if seeds is None else seeds:
            made = run(accuracy or 0.1, seed, config=declared.config(), config_hash=declared.config_hash(), **arguments)
            made = diverged(made) if accuracy is None else made
            records.save(made, book.load_experiment(experiment).path(declared, seed))

    keep("baseline", "plain", 0.6)
    keep("baseline", "normalised", 0.7, seconds=12.0, parameters=1100)
    keep("initialisation", "he", 0.65)
    keep("initialisation", "he_normalised", 0.7)
    keep("initialisation", "trial", 0.8)
    keep("initialisation", "unfinished", 0.9, seeds=(0, 1))
    keep("augmentation_long", "none", 0.6)
    keep("augmentation_long", "flip", 0.8)
    keep("depth", "plain_20", 0.5)
    keep("depth", "residual_20", 0.75)
    return keep


def found(**arguments):
    return {effect.variant: effect for effect in atlas.effects(**arguments)}


def test_each_effect_is_the_difference_to_its_own_baseline(recorded):
    effects = found()
    expected = {
        "normalised": ("plain", 0.1), "he": ("plain", 0.05), "he_normalised": ("normalised", 0),
        "trial": ("plain", 0.2), "flip": ("none", 0.2), "residual_20": ("plain 20", 0.25), "plain_20": None,
    }  # fmt: skip
    assert effects.keys() == {name for name, there in expected.items() if there}
    for name, effect in effects.items():
        baseline, gain = expected[name]
        assert effect.baseline == baseline
        assert effect.difference.mean == pytest.approx(gain, abs=1e-9)


def test_the_difference_is_the_one_that_runs_compute(recorded):
    of_runs = BASELINE.load().difference("normalised", "plain")
    assert found()["normalised"].difference == of_runs


def test_effects_are_sorted_and_can_be_those_of_one_page(recorded):
    gains = [effect.difference.mean for effect in atlas.effects()]
    assert gains == sorted(gains, reverse=True)
    assert set(found(pages=[8])) == {"he", "he_normalised", "trial"}
    assert {effect.page for effect in atlas.effects([5, 14])} == {5, 14}
    assert found(pages=[1, 24]) == {}


def test_costs_stand_beside_an_effect(recorded):
    normalised = found()["normalised"]
    assert (normalised.parameters, normalised.baseline_parameters) == (1100, 1000)
    assert normalised.seconds == pytest.approx(1.2)


def test_a_pilot_has_no_interval_and_other_lengths_are_no_main_effect(recorded):
    effects = found()
    assert math.isnan(effects["trial"].difference.low)
    assert {name for name, effect in effects.items() if effect.main} == {"normalised", "he", "he_normalised"}


def test_a_variant_joins_when_all_of_its_seeds_are_there(recorded):
    assert "unfinished" not in found()
    recorded("initialisation", "unfinished", 0.9)
    assert found()["unfinished"].difference.mean == pytest.approx(0.3)


def test_a_record_of_an_older_declaration_leaves_its_variant_out(recorded):
    recorded("initialisation", "he", 0.65)
    path = PAGE_8[0].path(PAGE_8[0].variant("he"), 1)
    path.write_text(path.read_text().replace(PAGE_8[0].variant("he").config_hash(), "0" * 16))
    assert "he" not in found()


def test_a_variant_that_diverged_stands_last_and_is_named(recorded):
    recorded("initialisation", "bad", None)
    last = atlas.effects()[-1]
    assert (last.variant, last.difference, last.main) == ("bad", None, False)
    table = atlas.table(atlas.effects())
    assert table.iloc[-1].tolist()[:4] == ["08", "bad", "plain", "diverged"]


def test_without_records_there_is_no_effect(monkeypatch, tmp_path):
    monkeypatch.setattr(records, "RECORDS", tmp_path)
    assert atlas.effects() == []
    assert len(atlas.table([])) == 0


def test_the_tables_rows_and_the_figure_hold_the_same_numbers(recorded):
    effects = atlas.effects()
    table, drawing = atlas.table(effects), atlas.figure(effects)
    shown = [effect for effect in effects if not math.isnan(effect.difference.low)]
    assert len(table) == len(effects)
    ax, costs = drawing.axes
    assert [label.get_text() for label in ax.get_yticklabels()] == [f"{e.label} ({e.page:02})" for e in shown]
    drawn = [float(line.get_xdata()[0]) for line in ax.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(drawn, [100 * effect.difference.mean for effect in shown])
    beside = [label.get_text().split() for label in costs.get_yticklabels()]
    assert beside[0] == ["parameters", "time"]
    assert beside[1:] == [[f"{effect.parameters / 1000:.0f}K", f"{effect.seconds:.2f}×"] for effect in shown]
    for effect in shown:
        words = stats.format_difference(effect.difference)
        assert words in drawing.alt
        assert words in table.to_string()
    assert drawing.png()
    assert "1.20×" in drawing.alt and "1.20×" in table.to_string()


def test_effects_that_do_not_train_at_all_leave_the_others_room(recorded):
    recorded("baseline", "normalised", 0.1)
    [ax, _] = atlas.figure(atlas.effects()).axes
    assert ax.get_xscale() == "symlog" and "logarithmic beyond" in ax.get_xlabel()
    low, high = ax.get_xlim()
    assert all(low < x < high for line in ax.lines for x in line.get_xdata())


def test_the_readmes_table_holds_the_main_effects(recorded):
    lines = atlas.readme_table().splitlines()
    assert lines[0].startswith("| page | variant | compared with |")
    assert [line.split(" | ")[1] for line in lines[2:]] == ["normalised", "he", "he normalised"]


def test_every_variant_of_the_book_has_a_baseline_that_is_declared():
    baselines = set()
    for page in book.PAGES:
        if int(page.__name__.rpartition(".p")[2][:2]) not in atlas.PAGES:
            continue
        for experiment in book.of_page(page):
            for one in () if experiment.sweep else experiment.variants:
                compared = atlas.baseline_of(experiment, one)
                if compared is None:
                    baselines.add(f"{experiment.name}/{one.name}")
                    continue
                assert compared[1].images_per_class == one.images_per_class
                if experiment.name != "initialisation_deep":
                    assert ("normalisation" in compared[1].model_arguments) == one.name.endswith("_normalised") or (
                        experiment.name in ("depth", "batch_norm", "layer_group_norm", "baseline")
                    ), f"{experiment.name} {one.name}"
    few = {"augmentation_tenth/none", "regularisation_few/none"}
    assert baselines == few | {
        "baseline/plain", "augmentation_long/none", "initialisation_deep/glorot_uniform", "schedules_short/cosine",
        "depth/plain_8", "depth/plain_20", "depth/plain_32", "depth/plain_44",
    }  # fmt: skip


# The lineage


def runs(last, change, seconds=10.0, seeds=5):
    def records_of(accuracy, name, taken):
        return [run(accuracy, seed, seconds=taken, variant=name) for seed in range(seeds)]

    return Runs("lineage", {"last": records_of(last, "last", 10.0), "change": records_of(change, "change", seconds)})


@pytest.fixture
def labels(monkeypatch, tmp_path):
    monkeypatch.setattr(records, "RECORDS", tmp_path)
    facts(tmp_path)


@pytest.mark.parametrize(
    ("change", "seconds", "kept", "said"),
    [
        (0.75, 30.0, True, "lies above zero"), (0.6, 10.0, False, "neither"), (0.45, 1.0, False, "neither"),
        (0.75, 5.0, True, "lies above zero"),
    ],
)  # fmt: skip
def test_a_clear_gain_is_kept_at_any_cost_and_a_loss_never(labels, change, seconds, kept, said):
    verdict = lineage.verdict(runs(0.6, change, seconds), "change", "last")
    assert (verdict.kept, said in verdict.why) == (kept, True)
    assert verdict.difference.mean == pytest.approx(change - 0.6)
    assert verdict.seconds == pytest.approx(seconds / 10)


@pytest.mark.parametrize(
    ("low", "seconds", "kept"),
    [
        (-0.002, 0.8, True), (-0.002, 0.79, True), (-0.002, 0.81, False), (-0.002, None, False), (-0.003, 0.5, False),
        (-0.0031, 0.5, False), (0.0001, None, True), (0.0, 1.0, False), (0.0, 0.5, True),
    ],
)  # fmt: skip
def test_an_equal_one_is_kept_where_it_saves_a_fifth_of_the_seconds(labels, monkeypatch, low, seconds, kept):
    difference = stats.Difference(low + 0.002, low, low + 0.004, 5)
    monkeypatch.setattr(Runs, "difference", lambda self, change, last, key: difference)
    monkeypatch.setattr(Runs, "relative_seconds", lambda self, change, last: seconds)
    assert lineage.verdict(runs(0.6, 0.6), "change", "last").kept == kept


def test_the_rule_looks_at_validation_and_not_at_the_test_set(labels):
    found, other = runs(0.6, 0.6), runs(0.6, 0.8)
    better = [
        record | {key: one[key] for key in ("validation_accuracy", "validation_predictions")}
        for record, one in zip(found.recorded["change"], other.recorded["change"], strict=True)
    ]
    judged = dataclasses.replace(found, recorded=found.recorded | {"change": better})
    assert lineage.verdict(judged, "change", "last").kept
    assert judged.difference("change", "last").low <= 0


@pytest.mark.parametrize(("growth", "kept"), [(1, True), (2, True), (2.01, False), (0.5, True)])
def test_a_change_may_double_the_parameters_and_no_more(labels, growth, kept):
    found = runs(0.6, 0.75)
    for record in found.recorded["change"]:
        record["parameters"] = growth * found.recorded["last"][0]["parameters"]
    verdict = lineage.verdict(found, "change", "last")
    assert (verdict.kept, "too many" in verdict.why) == (kept, not kept)


def test_one_seed_or_a_diverged_one_decides_nothing(labels):
    with pytest.raises(ValueError, match="^change needs two seeds or more, and none that diverged"):
        lineage.verdict(runs(0.6, 0.7, seeds=1), "change", "last")
    found = runs(0.6, 0.7)
    found.recorded["last"][2] = diverged(found.recorded["last"][2])
    with pytest.raises(ValueError, match="^last needs two seeds"):
        lineage.verdict(found, "change", "last")


def test_seconds_are_compared_on_one_kind_of_machine_alone(labels):
    found = runs(0.6, 0.6, seconds=20.0)
    assert found.relative_seconds("change", "last") == pytest.approx(2)
    for record in found.recorded["change"]:
        record["machine"] = MACHINE | {"processor": "another"}
    assert found.relative_seconds("change", "last") is None
    found.recorded["change"][0]["machine"] = MACHINE
    assert found.relative_seconds("change", "last") == pytest.approx(2)


@pytest.mark.parametrize(
    ("accuracies", "kept"),
    [({"a": 0.7, "b": 0.75}, "b"), ({"a": 0.75, "b": 0.5}, "a"), ({"a": 0.6, "b": 0.5}, None), ({}, None)],
)
def test_of_several_changes_the_best_on_validation_is_kept(labels, accuracies, kept):
    recorded = {
        name: [run(accuracy, seed, seconds=10.0, variant=name) for seed in range(5)]
        for name, accuracy in {"last": 0.6, **accuracies}.items()
    }
    assert lineage.kept(Runs("lineage", recorded), accuracies, "last") == kept


@pytest.mark.parametrize("version", lineage.VERSIONS)
def test_every_version_is_declared_with_five_seeds(version):
    name, _, variant = lineage.VERSIONS[version].partition("/")
    assert len(book.load_experiment(name).seeds_of(book.load_experiment(name).variant(variant))) == 5


def test_a_version_is_what_the_rule_keeps_of_its_pages_changes():
    """v1.4, of page 05."""
    experiment = book.load_experiment("normalisation")
    changes = [variant.name for variant in experiment.variants if not variant.name.endswith("_normalised")]
    found = book.load_experiment("baseline").load().joined(experiment.load())
    assert f"normalisation/{lineage.kept(found, changes, 'plain')}" == lineage.VERSIONS["v1.4"]
