"""Learning rates follow from the records of sweeps: which is the best, where a sweep is extended, what a final gets."""

import dataclasses
import itertools
import json

import pytest
from helpers import a_record, declare

from shathenet_utils import __main__, book, records
from shathenet_utils.book import evidence, learning_rates
from shathenet_utils.book.learning_rates import OUTER_RATES, Chosen, around, judge, name_of, tuned
from shathenet_utils.experiment import Experiment, Variant
from shathenet_utils.recipes import Recipe

NOTHING = Chosen({})
BASE = {"tanh": around(1e-2)}
SHARED = {"dataset": "tiny", "validation": 50}


def experiments(chosen):
    """As a page with a sweep declares them: one variant with a rate of its own, one with the same."""
    variants = (
        Variant("tanh", "v1_0", Recipe(16), label="tanh", **SHARED),
        Variant("long", "v1_0", Recipe(48), {"classes": 10}, tuned_by="made_up_sweep/tanh", **SHARED),
    )
    return tuned("made_up", "Which rate?", variants, BASE, chosen, seeds=(0, 1), threads=1, planned=True)


@pytest.fixture
def declared(monkeypatch, tmp_path):
    declare(experiments, tmp_path, monkeypatch.setattr)
    return tmp_path


def record(accuracies, name="made_up_sweep"):
    """Records of a sweep's runs: rate → validation accuracy, None where it diverged."""
    sweep = book.load_experiment(name)
    for variant in sweep.variants:
        if variant.recipe.learning_rate not in accuracies:
            continue
        accuracy = accuracies[variant.recipe.learning_rate]
        own = {"experiment": name, "variant": variant.name, "config": variant.config(), "epochs": variant.recipe.epochs}
        own |= {"config_hash": variant.config_hash(), "dataset": "tiny", "precision": "float32"}
        own |= {"split": {"train": 200, "validation": 50, "test": 60, "seed": 0, "digest": "0" * 16}}
        made = a_record(100, **own) | {"test_accuracy": None, "test_predictions": None}
        made["history"] = {key: [0.1] * variant.recipe.epochs for key in made["history"]}
        made["history"]["learning_rate"] = [variant.recipe.learning_rate] * variant.recipe.epochs
        made["history"]["validation_accuracy"][-1] = accuracy or 0.1
        made |= {"validation_accuracy": accuracy, "seconds": {"total": 0.8, "median_epoch": 0.1}}
        made |= {"status": "finished" if accuracy is not None else "diverged"}
        records.save(made, sweep.path(variant, 100))


def settle():
    said = learning_rates.settle(book.EXPERIMENTS.values())
    book.declare_again()
    return said


def rates_of_sweep():
    return [variant.recipe.learning_rate for variant in book.load_experiment("made_up_sweep").variants]


def final(name="tanh"):
    return book.load_experiment("made_up").variant(name)


# Rates


@pytest.mark.parametrize(
    ("rate", "name"), [(0.03, "3e-2"), (1.0, "1e0"), (3.0, "3e0"), (10.0, "1e1"), (3e-5, "3e-5"), (0.1, "1e-1")]
)
def test_a_rates_name_says_the_rate(rate, name):
    assert name_of(rate) == name
    assert float(name) == rate
    assert rate in OUTER_RATES


def test_the_outer_rates_rise_by_about_three_and_have_names_of_their_own():
    assert len({name_of(rate) for rate in OUTER_RATES}) == len(OUTER_RATES) == 16
    ratios = [after / before for before, after in itertools.pairwise(OUTER_RATES)]
    assert all(2.9 < ratio < 3.4 for ratio in ratios)
    assert around(3e-2) == (3e-3, 1e-2, 3e-2, 1e-1)
    assert around(1.0, below=1, above=0) == (0.3, 1.0)


@pytest.mark.parametrize(
    ("accuracies", "best", "edge"),
    [
        ([0.4, 0.6, 0.5, 0.3], 3e-3, 0), ([0.6, 0.5, 0.4, 0.3], 1e-3, -1), ([0.3, 0.4, 0.5, 0.6], 3e-2, 1),
        ([0.1, 0.1, 0.1, 0.1], 3e-3, 0), ([0.1, 0.1, 0.1, -1.0], 3e-3, 0), ([-1.0, -1.0, -1.0, -1.0], 3e-3, 0),
        ([0.5, 0.4, 0.5, 0.4], 1e-2, 0), ([0.5, 0.4, 0.4, 0.5], 1e-3, -1),
    ],
)  # fmt: skip
def test_the_best_rate_is_that_of_the_best_accuracy_and_of_equals_the_middle_one(accuracies, best, edge):
    assert judge(dict(zip((1e-3, 3e-3, 1e-2, 3e-2), accuracies, strict=True))) == (best, edge)


# Declarations


def test_a_sweep_has_its_rates_at_half_the_epochs_and_seed_100(declared):
    sweep, experiment = book.load_experiment("made_up_sweep"), book.load_experiment("made_up")
    assert rates_of_sweep() == list(around(1e-2))
    assert [variant.name for variant in sweep.variants] == ["tanh_1e-3", "tanh_3e-3", "tanh_1e-2", "tanh_3e-2"]
    assert {variant.recipe.epochs for variant in sweep.variants} == {8}
    assert sweep.seeds == (100,) and sweep.sweep and sweep.planned and sweep.threads == 1
    assert [variant.tuned_by for variant in experiment.variants] == ["made_up_sweep", "made_up_sweep/tanh"]
    assert experiment.seeds == (0, 1)


def test_what_is_declared_follows_from_what_is_chosen():
    chosen = Chosen({"made_up_sweep": {"tanh": {"rates": [1e-3, 3e-3, 1e-2, 3e-2, 1e-1], "best": 3e-2}}})
    sweep, experiment = experiments(chosen)
    assert [variant.recipe.learning_rate for variant in sweep.variants] == [1e-3, 3e-3, 1e-2, 3e-2, 1e-1]
    assert {variant.recipe.learning_rate for variant in experiment.variants} == {3e-2}
    assert experiment.variants[0].recipe.epochs == 16


def test_the_lines_of_a_sweeps_figure_are_its_series():
    sweep = book.load_experiment("baseline_sweep")
    lines = learning_rates.series_by_label(sweep)
    assert list(lines) == ["plain", "normalised"]
    assert lines["plain"][:3] == ["plain_1e-4", "plain_3e-4", "plain_1e-3"]
    assert sorted(itertools.chain(*lines.values())) == sorted(variant.name for variant in sweep.variants)


def test_outer_rates_are_of_a_sweep_alone():
    with pytest.raises(ValueError, match="^Experiment x is no sweep, and has outer_rates"):
        Experiment("x", "?", (Variant("a", "v1_0", Recipe(1)),), outer_rates=(1e-3,))


# From records to rates


def test_a_best_rate_between_others_is_chosen(declared):
    record({1e-3: 0.4, 3e-3: 0.6, 1e-2: 0.5, 3e-2: None})
    assert settle() == ["made_up_sweep tanh: 0.003 is the best of 0.001, 0.003, 0.01, 0.03."]
    assert final().recipe.learning_rate == final("long").recipe.learning_rate == 3e-3
    stored = json.loads((declared / "data" / "learning_rates.json").read_text())
    assert stored == {"made_up_sweep": {"tanh": {"rates": [1e-3, 3e-3, 1e-2, 3e-2], "best": 3e-3}}}
    assert settle() == []
    assert evidence.check() == []


def test_a_sweep_that_is_not_whole_chooses_nothing(declared):
    record({1e-3: 0.4, 3e-3: 0.6, 1e-2: 0.5})
    assert settle() == []
    assert not learning_rates.path().exists()


@pytest.mark.parametrize(
    ("accuracies", "further"),
    [({1e-3: 0.6, 3e-3: 0.5, 1e-2: 0.4, 3e-2: 0.3}, [3e-4]), ({1e-3: 0.3, 3e-3: 0.4, 1e-2: 0.5, 3e-2: 0.6}, [1e-1])],
    ids=["below", "above"],
)
def test_a_sweep_is_extended_where_its_best_lies_at_the_edge(declared, accuracies, further):
    record(accuracies)
    [sentence] = settle()
    assert "made_up_sweep tanh: to be tried at" in sentence
    assert sorted(set(rates_of_sweep()) - set(around(1e-2))) == further
    assert learning_rates.load().best("made_up_sweep", "tanh") is None
    assert evidence.check() == []  # a planned experiment whose new run has no record yet
    record({further[0]: 0.2})
    settle()
    assert final().recipe.learning_rate == max(accuracies, key=accuracies.get)
    assert evidence.check() == []


def test_a_sweep_is_extended_again_and_again_until_the_outer_rates_end(declared):
    for _ in range(20):
        record({rate: 1 - rate / 100 for rate in rates_of_sweep()})
        said = settle()
        if "lies at its edge" in said[-1]:
            break
    assert rates_of_sweep()[0] == OUTER_RATES[0]
    assert said == ["made_up_sweep: 1e-06 is the best of tanh and lies at its edge: extend it."]
    assert learning_rates.load().best("made_up_sweep", "tanh") is None


def test_a_record_of_an_older_declaration_decides_nothing(declared):
    record(dict(zip(around(1e-2), (0.4, 0.6, 0.5, 0.3), strict=True)))
    path = next(records.RECORDS.glob("made_up_sweep/tanh_3e-3/*.json"))
    path.write_text(path.read_text().replace(json.loads(path.read_text())["config_hash"], "0" * 16))
    assert settle() == []


# What `check` and the command say


def test_check_names_a_file_that_is_not_what_the_records_say(declared):
    record({1e-3: 0.4, 3e-3: 0.6, 1e-2: 0.5, 3e-2: 0.3})
    said = "is not what the sweeps' records say: write it with `python -m shathenet_utils rates`."
    assert evidence.check() == [f"{learning_rates.path()} {said}"]
    settle()
    assert evidence.check() == []
    typed = learning_rates.load().entries
    typed["made_up_sweep"]["tanh"]["best"] = 1e-2
    learning_rates.path().write_text(json.dumps(typed))
    book.declare_again()
    assert final().recipe.learning_rate == 1e-2
    assert f"{learning_rates.path()} {said}" in evidence.check()
    [wrong] = evidence.wrong_rate(book.load_experiment("made_up"), final("long"))
    assert wrong == "made_up long has learning rate 0.01; the best of made_up_sweep is 0.003."


def test_a_damaged_file_is_one_sentence(declared):
    learning_rates.path().parent.mkdir(parents=True)
    learning_rates.path().write_text("{")
    with pytest.raises(records.RecordError, match=r"learning_rates.json can't be read: .* once it is deleted\.$"):
        learning_rates.load()


def test_the_command_writes_the_file(declared, capsys):
    record({1e-3: 0.4, 3e-3: 0.6, 1e-2: 0.5, 3e-2: 0.3})
    __main__.main(["rates"])
    assert capsys.readouterr().out == "made_up_sweep tanh: 0.003 is the best of 0.001, 0.003, 0.01, 0.03.\n"
    __main__.main(["rates"])
    assert capsys.readouterr().out.endswith("is what the records of the sweeps say.\n")


def test_two_series_of_a_sweep_are_chosen_apart(monkeypatch, tmp_path):
    def pair(chosen):
        variants = [Variant(name, "v1_0", Recipe(16), {"classes": 10 + i}, **SHARED) for i, name in enumerate("ab")]
        return tuned("made_up", "?", variants, {"a": around(1e-2), "b": around(1e-2)}, chosen, threads=1, planned=True)

    declare(pair, tmp_path, monkeypatch.setattr)
    sweep = book.load_experiment("made_up_sweep")
    record({1e-3: 0.4, 3e-3: 0.6, 1e-2: 0.5, 3e-2: 0.3})
    for path in records.RECORDS.glob("made_up_sweep/b_*/*.json"):
        path.unlink()
    assert [said.partition(":")[0] for said in settle()] == ["made_up_sweep a"]
    assert len(sweep.variants) == 8
    [wrong] = evidence.wrong_rate(book.load_experiment("made_up"), book.load_experiment("made_up").variant("b"))
    assert "There is no record" in wrong


# The book's own


RECORDED_BEFORE = {"v1_2_kernels_he_sweep": {"side_by_side"}}
"""Series whose final was recorded in another experiment before the sweep, with the rate that it then chose."""


def test_every_series_of_the_book_tunes_a_final_of_its_configuration():
    for sweep in book.EXPERIMENTS.values():
        if not sweep.outer_rates:
            continue
        final = book.load_experiment(sweep.name.removesuffix("_sweep"))
        tuned_here = {variant.name for variant in final.variants if variant.tuned_by == sweep.name}
        tuned_here |= RECORDED_BEFORE.get(sweep.name, set())
        assert tuned_here == {learning_rates.series_of(variant) for variant in sweep.variants}
        for variant in final.variants:
            if variant.tuned_by:
                _, alike = evidence.tuning_runs(variant)
                assert len(alike) >= 4, variant.name
                assert variant.name not in tuned_here or {v.recipe.learning_rate for v in alike} <= set(OUTER_RATES)


def test_a_borrowed_rate_is_of_a_series_that_is_there():
    for experiment in book.EXPERIMENTS.values():
        for variant in experiment.variants:
            name, _, series = variant.tuned_by.partition("/")
            if series:
                found = {learning_rates.series_of(other) for other in book.load_experiment(name).variants}
                assert series in found, f"{experiment.name} {variant.name}"
                assert dataclasses.replace(variant, tuned_by="").config_hash() == variant.config_hash()
