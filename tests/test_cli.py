"""The command line: what goes wrong is one line on stderr and exit code 1, never a traceback."""

import argparse
import subprocess
import sys

import pytest
from helpers import declared_experiment, tries
from hypothesis import given
from hypothesis import strategies as some

from shathenet_utils import ROOT, __main__, experiments, records


def run(*arguments):
    command = [sys.executable, "-m", "shathenet_utils", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)


@pytest.fixture
def experiment(monkeypatch, tmp_path):
    return declared_experiment(monkeypatch, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["table", "v9"], "There is no experiment 'v9'; there are v1_0"),
        (["train", "v9"], "There is no experiment 'v9'; there are v1_0"),
        (["train", "v1_0", "--variant", "sgd"], "Experiment v1_0 has no variant 'sgd'; it has adam_1e-4"),
        (["train", "v1_0", "--record", "--seeds", "99"], "Only a declared run can be recorded"),
        (["train", "v1_0", "--record", "--budget", "taste"], "Only a run of the full budget"),
    ],
    ids=["unknown experiment", "unknown experiment to train", "unknown variant", "undeclared seed", "shorter budget"],
)
def test_a_mistake_is_one_line_and_exit_code_1(capsys, monkeypatch, tmp_path, arguments, said):
    monkeypatch.setattr(records, "RECORDS", tmp_path)
    with pytest.raises(SystemExit) as left:
        __main__.main(arguments)
    assert str(left.value).startswith(f"error: {said}")
    assert "\n" not in str(left.value)
    assert capsys.readouterr().out == ""


def test_a_mistake_is_one_line_in_a_real_terminal():
    found = run("table", "v9")
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr.startswith("error: There is no experiment 'v9'")
    assert found.stderr.count("\n") == 1


def test_help_names_every_command():
    said = run("--help").stdout
    assert all(command in said for command in ("train", "list", "table", "check", "facts"))


def test_train_says_what_it_takes(capsys):
    with pytest.raises(SystemExit) as left:
        __main__.main(["train", "--help"])
    assert left.value.code == 0
    said = capsys.readouterr().out
    assert all(option in said for option in ("--variant", "--seeds", "--budget", "--record"))


def test_the_books_own_records_are_listed_checked_and_tabulated(capsys):
    __main__.main(["list"])
    __main__.main(["check"])
    __main__.main(["table", "v1_0"])
    lines = capsys.readouterr().out.splitlines()
    count = len(experiments.EXPERIMENTS)
    listed, checked, table = lines[:count], lines[count], lines[count + 1 :]
    assert listed[0] == "v1_0: How far do 17,882 parameters go? 15 of 15 runs recorded"
    assert checked == "Every declared run has its record, and every record its declaration."
    assert [line.split()[0] for line in table[2:]] == ["adam_1e-4", "adam_1e-3", "adam_1e-3_bilinear"]
    assert all("17,882" in line for line in table[2:])


def test_a_missing_record_makes_check_fail_with_a_line_each(experiment, capsys):
    with pytest.raises(SystemExit) as left:
        __main__.main(["check"])
    assert left.value.code == 1
    assert capsys.readouterr().out.count("There is no record") == 4


def test_train_records_what_is_missing_and_only_that(experiment, capsys):
    __main__.main(["train", "made_up", "--record", "--variant", "plain", "--seeds", "1"])
    assert "made_up plain seed 1: finished, validation" in capsys.readouterr().out
    before = experiment.path(experiment.variants[0], 1).read_bytes()
    __main__.main(["train", "made_up", "--record", "--variant", "plain"])
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("made_up plain seed 0: finished")
    assert second.startswith("made_up plain seed 1: there already")
    assert experiment.path(experiment.variants[0], 1).read_bytes() == before
    __main__.main(["list"])
    assert capsys.readouterr().out == "made_up: Does it work? 2 of 4 runs recorded\n"


def test_without_record_the_run_is_no_evidence(experiment, tmp_path):
    __main__.main(["train", "made_up", "--variant", "bilinear", "--seeds", "0", "--budget", "taste"])
    assert not records.RECORDS.exists()
    assert len(list((tmp_path / "data" / "runs").rglob("seed0.json"))) == 1


def test_a_damaged_record_is_not_trained_over(experiment, monkeypatch):
    path = experiment.path(experiment.variants[0], 0)
    path.parent.mkdir(parents=True)
    path.write_text("{")
    monkeypatch.setattr(experiments, "train", lambda *_, **__: pytest.fail("it trained"))
    with pytest.raises(SystemExit, match="error: The record .* can't be read"):
        __main__.main(["train", "made_up", "--record"])
    assert path.read_text() == "{"


@pytest.mark.parametrize("how", ["while it trains", "elsewhere"])
def test_ctrl_c_ends_with_the_shells_code(experiment, monkeypatch, how):
    def interrupted(*_, **__):
        if how == "elsewhere":
            raise KeyboardInterrupt

    monkeypatch.setattr(experiments, "train", interrupted)
    with pytest.raises(SystemExit) as left:
        __main__.main(["train", "made_up"])
    assert left.value.code == 130


@tries(100)
@given(some.integers(0, 50), some.integers(0, 50))
def test_a_span_of_seeds_is_every_seed_in_it(first, more):
    assert __main__._seeds(f"{first}-{first + more}") == list(range(first, first + more + 1))


@tries(100)
@given(some.lists(some.integers(0, 1000), min_size=1))
def test_a_list_of_seeds_is_those_seeds(seeds):
    assert __main__._seeds(",".join(map(str, seeds))) == seeds


@tries(200)
@given(some.text(alphabet="0123-, x", max_size=6))
def test_any_other_text_is_no_list_of_seeds(text):
    try:
        seeds = __main__._seeds(text)
    except argparse.ArgumentTypeError as error:
        assert "seeds are written 0-4 or 0,2,3" in str(error)
    else:
        assert seeds and min(seeds) >= 0


@pytest.mark.parametrize("text", ["", "4-0", "-1", "-3--1", "a", "1,,2", "0-4,7"])
def test_a_mistyped_list_of_seeds_trains_nothing(text):
    with pytest.raises(argparse.ArgumentTypeError):
        __main__._seeds(text)
