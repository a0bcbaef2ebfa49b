"""The command line: what goes wrong is one line on stderr and exit code 1, never a traceback."""

import argparse
import json
import os
import re
import subprocess
import sys

import pytest
from helpers import declared_experiment, tries
from hypothesis import given
from hypothesis import strategies as some

from shathenet_utils import ROOT, __main__, book, declared, records, runner, worker
from shathenet_utils.book import load_experiment


def run(*arguments, **environment):
    command = [sys.executable, "-m", "shathenet_utils", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, errors="replace", cwd=ROOT, timeout=120, env=os.environ | environment
    )


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
        (["train", "v1_0", "--record", "--budget", "quick"], "Only a run of the full budget"),
        (["train", "v1_0", "--cores", "2"], "--cores is for --cluster"),
        (["train", "v1_0", "--cluster", "auto", "--again"], "--again is for this machine"),
        (["queue", "v9"], "There is no experiment 'v9'; there are v1_0"),
        (["bench", "v9"], "There is no measurement 'v9'; there are "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_and_exit_code_1(capsys, monkeypatch, tmp_path, arguments, said):
    monkeypatch.setattr(records, "RECORDS", tmp_path)
    monkeypatch.setenv("SHATHENET_THREADS", "2")
    monkeypatch.setattr(runner, "_train", lambda *_: pytest.fail("it trained"))
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
    commands = ("train", "queue", "list", "table", "check", "bench", "facts", "rerun")
    assert all(f"    {command} " in said or f"    {command}\n" in said for command in commands)


def test_train_says_what_it_takes(capsys):
    with pytest.raises(SystemExit) as left:
        __main__.main(["train", "--help"])
    assert left.value.code == 0
    said = capsys.readouterr().out
    assert all(option in said for option in ("--variant", "--seeds", "--budget", "--record", "--again"))
    assert "--watched" not in said  # that is between the queue and its workers


def test_the_books_own_records_are_listed_checked_and_tabulated(capsys):
    __main__.main(["list"])
    __main__.main(["check"])
    __main__.main(["table", "v1_0"])
    lines = capsys.readouterr().out.splitlines()
    count = len(book.EXPERIMENTS)
    listed, checked, table = lines[:count], lines[count], lines[count + 1 :]
    assert listed[0] == "v1_0: How far do 17,882 parameters go? 15 of 15 runs recorded"
    assert all(
        line.endswith(", planned") == experiment.planned
        for line, experiment in zip(listed, book.EXPERIMENTS.values(), strict=True)
    )
    assert checked == "Every declared run has its record, and every record its declaration."
    labels = [variant.label for variant in load_experiment("v1_0").variants]
    assert [line.strip()[: len(label)] for line, label in zip(table[2:], labels, strict=True)] == labels
    assert all("17,882" in line for line in table[2:])


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8"])
def test_a_terminal_that_lacks_a_letter_gets_the_text_all_the_same(encoding):
    found = run("table", "airbench", PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert (found.returncode, found.stderr) == (0, "")
    assert "12 epochs" in found.stdout and "570,296" in found.stdout
    assert re.search(r"91\.9.% \(91\.8 to 92\.0\)", found.stdout)
    assert "?" not in found.stdout


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
    __main__.main(["train", "made_up", "--variant", "bilinear", "--seeds", "0", "--budget", "quick"])
    assert not records.RECORDS.exists()
    assert len(list((tmp_path / "data" / "runs").rglob("seed0.json"))) == 1


def test_a_damaged_record_is_not_trained_over(experiment, monkeypatch):
    path = experiment.path(experiment.variants[0], 0)
    path.parent.mkdir(parents=True)
    path.write_text("{")
    monkeypatch.setattr(runner, "train_run", lambda *_, **__: pytest.fail("it trained"))
    with pytest.raises(SystemExit, match="error: The record .* can't be read"):
        __main__.main(["train", "made_up", "--record"])
    assert path.read_text() == "{"


@pytest.mark.parametrize("how", ["while it trains", "elsewhere"])
def test_ctrl_c_ends_with_the_shells_code(experiment, monkeypatch, how):
    def interrupted(*_, **__):
        if how == "elsewhere":
            raise KeyboardInterrupt

    monkeypatch.setattr(runner, "train_run", interrupted)
    with pytest.raises(SystemExit) as left:
        __main__.main(["train", "made_up"])
    assert left.value.code == 130


def test_again_trains_what_is_there(experiment, capsys, monkeypatch):
    __main__.main(["train", "made_up", "--record", "--variant", "plain", "--seeds", "1"])
    path = experiment.path(experiment.variants[0], 1)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"date": "of old"}))
    __main__.main(["train", "made_up", "--record", "--variant", "plain", "--seeds", "1", "--again"])
    assert [line.split(": ")[1][:8] for line in capsys.readouterr().out.splitlines()] == ["finished", "finished"]
    assert records.load(path)["date"] != "of old"


@pytest.fixture
def watched(experiment, monkeypatch):
    """Trains in the words of a worker, and does not watch this process's standard input."""
    monkeypatch.setattr(worker, "stop_with_parent", lambda: None)
    return lambda *more: __main__.main(["train", "made_up", "--variant", "plain", "--seeds", "1", "--watched", *more])


def test_a_watched_run_prints_a_line_of_json_per_epoch(watched, capsys):
    watched("--record")
    first, last = capsys.readouterr().out.splitlines()
    message = json.loads(first)
    assert (message["epoch"], message["epochs"], len(message["history"]["loss"])) == (1, 1, 1)
    assert last.startswith("made_up plain seed 1: finished")


def test_a_watched_run_that_another_process_is_at_ends_with_a_code_of_its_own(watched, experiment, capsys):
    run = declared.Run(experiment, experiment.variants[0], 1, "full", "tiny", record=True)
    with run.exclusive(), pytest.raises(SystemExit) as left:
        watched("--record")
    assert left.value.code == worker.BUSY
    assert capsys.readouterr().out == "made_up plain seed 1: another process is at it\n"


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
