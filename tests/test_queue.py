"""The queue trains what is missing, in order, side by side; whatever is killed, stopped or fails, the rest goes on.

Its workers are processes of their own. A `sitecustomize` in a folder on their path declares a test's experiments in
each of them and, but for one test, trains by sleeping, so that TensorFlow isn't loaded.
"""

import collections
import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from helpers import a_record, declare

from shathenet_utils import ROOT, book, estimates, queue, records, runner
from shathenet_utils.book import evidence
from shathenet_utils.declared import Run
from shathenet_utils.experiment import Experiment, Variant
from shathenet_utils.recipes import Recipe

DECLARING = """
import os, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import helpers
from shathenet_utils import queue
from shathenet_utils.book.learning_rates import tuned
from shathenet_utils.experiment import Experiment, Variant
from shathenet_utils.recipes import Recipe

def run(name, epochs=2, model="v1_0", rate=1e-3, **arguments):
    recipe = Recipe(epochs, learning_rate=rate)
    return Variant(name, model, recipe, dataset="tiny", validation=50, **arguments)

def of(name, *variants, seeds=(0,), threads=1, **arguments):
    return Experiment(name, "?", variants, seeds=seeds, threads=threads, **arguments)

EXPERIMENTS = {experiments}
"""

SITE = """
helpers.declare(EXPERIMENTS, Path({folder!r}))
queue.cores = lambda: {cores}
queue.LOOK_AGAIN = 0.5
"""

PRETENDING = """
import math, signal, time, types
from shathenet_utils import estimates, files, runner

estimates._arithmetic = lambda name, arguments: (1000, 0, 0)
threads = int(os.environ.get("SHATHENET_THREADS", 0))
sys.modules["shathenet_utils.backend"] = types.SimpleNamespace(threads=lambda: {{"inter_op": 1, "intra_op": threads}})

def log(*words):
    with open({log!r}, "a") as stream:
        stream.write(" ".join(map(str, (time.monotonic(), os.getpid(), *words))) + "\\n")

def pretend(run, data, seconds, on_epoch, *_):
    path, name = run.checkpoint, run.name.replace(" ", "/")
    path.parent.mkdir(parents=True, exist_ok=True)
    first = int(path.read_text()) if path.exists() else 0
    log("begins", name, threads)
    log("parent", name, os.getppid())
    try:
        for epoch in range(first + 1, run.recipe.epochs + 1):
            time.sleep({epoch_seconds})
            if run.variant.name.startswith("bad"):
                raise ValueError("it can't be trained.")
            if run.variant.name.startswith("deadly"):
                os.kill(os.getpid(), signal.SIGKILL)
            files.write_text(path, str(epoch))  # whole, whenever it is stopped
            log("epoch", name, epoch)
            print("what libraries print on stderr" * 100, file=sys.stderr)
            if on_epoch:
                on_epoch({{"loss": [2.0] * epoch}})
    except KeyboardInterrupt:
        log("stops", name)
        return None
    log("ends", name)
    accuracy = 0.9 - abs(math.log10(run.recipe.learning_rate) + 3) / 10
    same = {{"experiment": run.experiment.name, "variant": run.variant.name, "dataset": "tiny", "precision": "float32"}}
    same |= {{"config": run.variant.config(), "config_hash": run.variant.config_hash()}}
    same |= {{"split": data.split, "threads": {{"inter_op": 1, "intra_op": threads}}}}
    record = helpers.a_record(run.seed, epochs=run.recipe.epochs, **same)
    record["history"]["validation_accuracy"][-1] = record["validation_accuracy"] = accuracy
    record["history"]["learning_rate"] = [run.recipe.learning_rate] * run.recipe.epochs
    if run.experiment.sweep:
        record |= {{"test_accuracy": None, "test_predictions": None}}
    return record

runner._train = pretend
"""


class Lab:
    """A folder with experiments of its own, and the processes that work there."""

    def __init__(self, folder, monkeypatch, experiments, *, cores=1, epoch_seconds=0.05, pretending=True):
        self.folder, self.log = folder, folder / "log"
        names = {}
        if not experiments.startswith("lambda chosen"):
            experiments = f"[{experiments}]"
        source = DECLARING.format(tests=str(Path(__file__).parent), experiments=experiments)
        exec(source, names)
        declare(names["EXPERIMENTS"], folder, monkeypatch.setattr)
        self.experiments = dict(book.EXPERIMENTS)
        monkeypatch.setenv("SHATHENET_OUTPUT", str(folder))
        source += SITE.format(folder=str(folder), cores=cores)
        if pretending:
            source += PRETENDING.format(log=str(self.log), epoch_seconds=epoch_seconds)
        (folder / "site").mkdir()
        (folder / "site" / "sitecustomize.py").write_text(source)
        paths = os.pathsep.join(map(str, (folder / "site", ROOT)))
        self.environment = os.environ | {"PYTHONPATH": paths, "SHATHENET_OUTPUT": str(folder)}
        self.environment.pop("SHATHENET_LIVE_SECONDS", None)
        self.started = []

    def start(self, *arguments, **options):
        process = subprocess.Popen(
            [sys.executable, "-m", "shathenet_utils", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, cwd=ROOT, env=self.environment, start_new_session=True, **options,
        )  # fmt: skip
        self.started.append(process)
        return process

    def run(self, *arguments):
        """(exit code, lines on stdout, stderr) of a command."""
        return self.ended(self.start(*arguments))

    def ended(self, process):
        out, error = process.communicate(timeout=200)
        return process.returncode, out.splitlines(), error

    def events(self, kind):
        """[(when, process, run, number or None)], in the order in which they happened."""
        lines = [line.split() for line in self.log.read_text().splitlines()] if self.log.exists() else []
        return [
            (float(when), int(pid), run, int(rest[0]) if rest else None)
            for when, pid, what, run, *rest in lines
            if what == kind
        ]

    def runs(self, kind):
        return [run for _, _, run, _ in self.events(kind)]

    def wait_for(self, condition, seconds=60):
        until = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < until, "it never happened"
            time.sleep(0.02)
        return found

    def recorded(self):
        return sorted("/".join(path.parts[-3:-1]) for path in records.RECORDS.glob("*/*/*.json"))

    def stop(self):
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.communicate()
        for pid in {pid for _, pid, _, _ in self.events("begins")}:
            with contextlib.suppress(psutil.Error):  # it has ended
                if str(self.folder) in psutil.Process(pid).environ().get("PYTHONPATH", ""):
                    os.kill(pid, signal.SIGKILL)


@pytest.fixture
def lab(tmp_path, monkeypatch):
    made = []

    def make(experiments, **options):
        made.append(Lab(tmp_path, monkeypatch, experiments, **options))
        return made[0]

    yield make
    for one in made:
        one.stop()


def alive(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


# What is trained, and in which order


def test_runs_are_trained_in_the_order_of_names_and_of_each_the_shortest_first(lab):
    here = lab('of("one", run("long", 4), run("short", 1)), of("two", run("a", 3), run("b", 2)), of("rest", run("a"))')
    code, lines, error = here.run("queue", "two", "one")
    assert (code, error) == (0, "")
    assert here.runs("begins") == ["two/b/seed/0", "two/a/seed/0", "one/short/seed/0", "one/long/seed/0"]
    assert lines[0] == "two b seed 0: 90.0%, 8 s"
    assert lines[-1] == "4 of 4 runs done."
    assert here.recorded() == ["one/long", "one/short", "two/a", "two/b"]
    code, lines, _ = here.run("queue")  # without names, the pages' order
    assert (code, lines[-1]) == (0, "1 of 1 run done.")
    assert here.runs("begins")[4:] == ["rest/a/seed/0"]
    assert here.run("queue") == (0, [queue.NOTHING], "")
    assert len(here.runs("begins")) == 5
    assert evidence.check() == []


def test_as_many_runs_are_side_by_side_as_their_threads_fit_the_cores(lab):
    here = lab(
        'of("narrow", run("a"), run("b", 3), seeds=(0, 1)), of("wide", run("a"), threads=2)', cores=2, epoch_seconds=0.2
    )
    assert here.run("queue")[0] == 0
    begun = {run: (when, threads) for when, _, run, threads in here.events("begins")}
    ended = {run: when for when, _, run, _ in here.events("ends")}
    assert {run: threads for run, (_, threads) in begun.items()} == {
        "narrow/a/seed/0": 1, "narrow/a/seed/1": 1, "narrow/b/seed/0": 1, "narrow/b/seed/1": 1, "wide/a/seed/0": 2,
    }  # fmt: skip
    at_once = [
        sum(threads for run, (other, threads) in begun.items() if other <= when <= ended[run])
        for when, _ in begun.values()
    ]
    assert max(at_once) == 2
    assert sum(busy == 2 for busy in at_once) >= 3, "two narrow runs were never side by side"
    path = here.experiments["wide"].path(here.experiments["wide"].variants[0], 0)
    assert records.load(path)["threads"] == {"inter_op": 1, "intra_op": 2}


def test_a_run_that_fails_is_named_and_the_others_go_on(lab):
    here = lab('of("one", run("bad", 1), run("good"), run("deadly", 3)), of("two", run("good"))')
    code, lines, error = here.run("queue")
    assert code == 1
    assert error.splitlines() == [
        "error: Some runs failed:",
        "one bad seed 0: it can't be trained.",
        "one deadly seed 0: its process ended with code -9",
    ]
    assert "one bad seed 0 failed: it can't be trained." in lines
    assert lines[-1] == "2 of 4 runs done, 2 failed."
    assert here.recorded() == ["one/good", "two/good"]
    assert collections.Counter(here.runs("begins"))["one/deadly/seed/0"] == queue.ATTEMPTS


def test_an_unknown_name_or_a_damaged_record_is_one_sentence_and_nothing_is_trained(lab):
    here = lab('of("one", run("a"), run("b", 3))')
    code, lines, error = here.run("queue", "v9")
    assert (code, lines) == (1, [])
    assert error == "error: There is no experiment 'v9'; there are one.\n"
    path = here.experiments["one"].path(here.experiments["one"].variants[0], 0)
    path.parent.mkdir(parents=True)
    path.write_text("{")
    code, lines, error = here.run("queue")
    assert code == 1 and error.startswith(f"error: The record {path} can't be read") and error.count("\n") == 1
    assert path.read_text() == "{"
    assert here.runs("begins") == []


# What is killed or stopped goes on


def test_a_killed_worker_is_started_again_and_goes_on_from_its_last_epoch(lab):
    here = lab('of("one", run("a", 6), run("b", 7))', epoch_seconds=0.2)
    process = here.start("queue")
    pid = here.wait_for(lambda: [pid for _, pid, _, epoch in here.events("epoch") if epoch == 2])[0]
    os.kill(pid, signal.SIGKILL)
    code, lines, error = here.ended(process)
    assert (code, error) == (0, "")
    assert "one a seed 0: its process was killed; it goes on in a new one." in lines
    assert here.runs("begins") == ["one/a/seed/0", "one/a/seed/0", "one/b/seed/0"]
    epochs = [(pid, epoch) for _, pid, run, epoch in here.events("epoch") if run == "one/a/seed/0"]
    assert [epoch for _, epoch in epochs] == [1, 2, 3, 4, 5, 6], "no epoch was trained twice or left out"
    assert len({pid for pid, _ in epochs}) == 2
    assert lines[-1] == "2 of 2 runs done."


@pytest.mark.parametrize("background", [False, True], ids=["in a terminal", "where a script ignores Ctrl-C"])
def test_when_the_queue_is_killed_its_workers_stop_by_themselves_and_the_same_call_goes_on(lab, background):
    here = lab('of("one", run("a", 40), run("b", 41))', cores=2, epoch_seconds=0.1)
    ignore = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)} if background else {}
    process = here.start("queue", **ignore)
    here.wait_for(lambda: len({run for _, _, run, epoch in here.events("epoch") if epoch >= 2}) == 2)
    workers = {pid for _, pid, _, _ in here.events("begins")}
    assert len(workers) == 2
    process.kill()
    process.communicate()
    here.wait_for(lambda: not any(map(alive, workers)), seconds=30)
    assert sorted(here.runs("stops")) == ["one/a/seed/0", "one/b/seed/0"]
    assert here.recorded() == []
    assert not list(here.folder.rglob("*.lock"))
    assert here.run("queue")[0] == 0
    assert here.recorded() == ["one/a", "one/b"]
    for name, last in (("one/a/seed/0", 40), ("one/b/seed/0", 41)):
        assert [epoch for _, _, run, epoch in here.events("epoch") if run == name] == list(range(1, last + 1))


@pytest.mark.parametrize("whom", ["everyone, as a terminal does", "the queue alone"])
def test_ctrl_c_stops_everything_safely_and_the_same_call_goes_on(lab, whom):
    here = lab('of("one", run("a", 30), run("b", 31), run("c", 1, rate=0.1))', cores=2, epoch_seconds=0.1)
    process = here.start("queue")
    here.wait_for(lambda: len({run for _, _, run, epoch in here.events("epoch") if epoch >= 2}) == 2)
    if whom == "the queue alone":
        process.send_signal(signal.SIGINT)
    else:
        os.killpg(process.pid, signal.SIGINT)
    code, lines, error = here.ended(process)
    assert (code, error) == (130, "")
    assert lines[-1] == "Stopped; the same call goes on from the last whole epochs."
    assert not any(alive(pid) for _, pid, _, _ in here.events("begins"))
    assert here.recorded() == ["one/c"]
    code, lines, _ = here.run("queue")
    assert (code, lines[-1]) == (0, "2 of 2 runs done."), lines
    for name, last in (("one/a/seed/0", 30), ("one/b/seed/0", 31)):
        assert [epoch for _, _, run, epoch in here.events("epoch") if run == name] == list(range(1, last + 1))


def test_two_queues_share_the_work(lab):
    here = lab('of("one", run("a"), run("b", 3), run("c", 4), seeds=(0, 1))', epoch_seconds=0.5)
    processes = [here.start("queue"), here.start("queue")]
    for process in processes:
        code, lines, error = here.ended(process)
        assert (code, error) == (0, "")
        assert lines[-1].endswith("runs done.")
    begun = here.runs("begins")
    assert len(begun) == len(set(begun)) == 6, "each run was trained once"
    assert {len(here.events("ends")), len(list(records.RECORDS.rglob("seed*.json")))} == {6}
    assert {parent for _, _, _, parent in here.events("parent")} == {process.pid for process in processes}


# Finals wait for their sweep


SWEEP = (
    'of("final", run("tuned", 9, rate={rate}, tuned_by="rates")), '
    'of("rates", *(run(f"at_{{rate}}", 1, rate=rate) for rate in (1e-4, 1e-3, 1e-2)), sweep=True, seeds=(100,))'
)


def test_a_final_is_trained_after_its_sweep_in_the_same_call(lab):
    here = lab(SWEEP.format(rate=1e-3))
    code, lines, error = here.run("queue")
    assert (code, error) == (0, "")
    assert lines[0] == "final waits for rates, 3 runs to go."
    assert lines[-1] == "4 of 4 runs done."
    assert [run.split("/")[0] for run in here.runs("begins")] == ["rates", "rates", "rates", "final"]
    assert evidence.check() == []


TUNED = """lambda chosen: [
    *tuned("made_up", "?",
           [run("low", 9), run("high", 9, images_per_class=11), run("long", 12, tuned_by="made_up_sweep/low")],
           {"low": (1e-4, 3e-4, 1e-3, 3e-3), "high": (1e-4, 3e-4)}, chosen, epochs=1,
           seeds=(0,), threads=1, planned=True),
    of("rest", run("a", 40)),
]"""


def test_the_queue_goes_from_sweep_to_final_and_extends_a_sweep_by_itself(lab):
    here = lab(TUNED)
    code, lines, error = here.run("queue")
    assert (code, error) == (0, "")
    begun = [run.removesuffix("/seed/0").removesuffix("/seed/100") for run in here.runs("begins")]
    swept = [f"{name}_{rate}" for name in ("high", "low") for rate in ("1e-4", "3e-4", "1e-3", "3e-3")]
    assert begun[:8] == [f"made_up_sweep/{name}" for name in swept]
    assert sorted(begun[8:11]) == ["made_up/high", "made_up/long", "made_up/low"]
    assert begun[11:] == ["rest/a"]
    assert lines[0] == "made_up waits for made_up_sweep, 4 runs to go."
    assert "made_up_sweep low: 0.001 is the best of 0.0001, 0.0003, 0.001, 0.003." in lines
    assert "made_up_sweep high: to be tried at 0.0001, 0.0003, 0.001." in lines
    assert "made_up_sweep high: to be tried at 0.0001, 0.0003, 0.001, 0.003." in lines
    assert lines[-1] == "12 of 12 runs done."
    book.declare_again()
    rates = [variant.recipe.learning_rate for variant in book.load_experiment("made_up").variants]
    assert rates == [1e-3, 1e-3, 1e-3]
    assert evidence.check() == []
    assert here.run("queue") == (0, [queue.NOTHING], "")


def test_a_series_without_an_end_holds_up_its_own_finals_alone(lab):
    here = lab(TUNED.replace("1e-4, 3e-4)", "3e1,)"))
    code, lines, error = here.run("queue")
    assert (code, error) == (0, "")
    assert here.recorded()[:2] == ["made_up/long", "made_up/low"]
    assert "rest/a" in here.recorded() and "made_up/high" not in here.recorded()


def test_a_final_without_its_sweep_is_not_trained(lab):
    here = lab(SWEEP.format(rate=1e-3))
    code, lines, _ = here.run("queue", "final")
    assert (code, lines) == (0, ["final waits for rates, 3 runs to go.", "0 of 0 runs done."])
    assert here.runs("begins") == []


def test_a_final_of_another_rate_than_its_sweeps_best_waits_for_its_declaration(lab):
    here = lab(SWEEP.format(rate=1e-4))
    code, lines, _ = here.run("queue")
    assert code == 0
    assert (
        "final waits for another declaration: final tuned has learning rate 0.0001; the best of rates is 0.001."
        in lines
    )
    assert lines[-1] == "3 of 3 runs done."
    assert not any(run.startswith("final") for run in here.runs("begins"))


# What is missing, and how long it may take


@pytest.fixture
def declared(monkeypatch, tmp_path):
    """Experiments of CIFAR-10, declared in this process; and a function that records a run of one of them."""
    variants = Variant("long", "v1_0", Recipe(60)), Variant("short", "v1_0", Recipe(30))
    rates = tuple(Variant(f"at_{rate}", "v1_0", Recipe(6, learning_rate=rate)) for rate in (1e-4, 1e-3))
    tuned = Variant("tuned", "v1_0", Recipe(30), {"classes": 10}, tuned_by="rates")
    experiments = (
        Experiment("one", "?", variants, seeds=(0, 1)), Experiment("rates", "?", rates, sweep=True),
        Experiment("final", "?", (tuned,), seeds=(0,)),
    )  # fmt: skip
    declare(experiments, tmp_path, monkeypatch.setattr)
    monkeypatch.setattr(queue, "cores", lambda: 2)
    monkeypatch.setattr(
        estimates, "_arithmetic", lambda name, arguments: (3_000_000 + 1_500_000 * (name == "v1_1"), 0, 0)
    )

    def keep(experiment, variant, seed):
        own = {"config": variant.config(), "config_hash": variant.config_hash(), "epochs": variant.recipe.epochs}
        took = {"seconds": {"total": 3600, "median_epoch": 60}, "threads": {"inter_op": 1, "intra_op": 2}}
        records.save(a_record(seed, **own | took), experiment.path(variant, seed))

    return experiments, keep


def test_what_is_missing_is_listed_with_its_hours(declared):
    (one, rates, _), keep = declared
    keep(one, one.variants[0], 1)
    assert queue.table().splitlines() == [
        "one: 3 runs of 3600 to 7200 core-seconds, about 2.0 hours on 2 cores",  # epochs of 60 s on two cores
        "rates: 2 runs of 720 core-seconds, about 0.2 hours on 2 cores",
        "final: 1 run of 3600 core-seconds, about 0.5 hours on 2 cores",
        "6 runs to do, about 2.7 hours on 2 cores.",
        "final waits for rates, 2 runs to go.",
    ]
    assert queue.table(["one"]).splitlines()[-1] == "3 runs to do, about 2.0 hours on 2 cores."
    for experiment in (one, rates):
        for variant in experiment.variants:
            for seed in experiment.seeds_of(variant):
                keep(experiment, variant, seed)
    assert queue.table(["one", "rates"]) == queue.NOTHING
    assert queue.missing(["one", "rates"]) == ([], {})


def test_missing_runs_are_in_order_and_those_that_wait_are_named(declared):
    runs, waiting = queue.missing()
    names = ["one short seed 0", "one short seed 1", "one long seed 0", "one long seed 1"]
    assert [run.name for run in runs] == [*names, "rates at_0.0001 seed 100", "rates at_0.001 seed 100"]
    assert waiting == {"final": "final waits for rates, 2 runs to go."}
    assert [run.name for run in queue.missing(["rates", "one"])[0]][2:] == names


def test_an_estimate_is_of_the_same_model_batch_and_precision_else_by_its_layers(declared):
    (one, _, final), keep = declared
    keep(one, one.variants[0], 0)

    def estimate(variant):
        run = Run(final, variant, 0, "full", "cifar10", record=True)
        return estimates.core_seconds([run])[run.name]

    alike, usual = one.variants[1], final.variants[0]
    assert estimate(alike) == pytest.approx(60 * 2 * 30)
    assert estimate(usual) == pytest.approx(60 * 2 * 30)  # another argument, as much arithmetic
    assert estimate(dataclasses.replace(alike, images_per_class=450)) == pytest.approx(60 * 2 * 30 / 10)
    half = dataclasses.replace(alike, recipe=Recipe(30, precision="mixed_bfloat16"))
    assert estimate(half) == pytest.approx(60 * 2 * 30 / 1.5)
    unknown = dataclasses.replace(alike, model="v1_1")  # no record of its function
    assert estimate(unknown) == pytest.approx(4_500_000 * estimates._PER_MAC * 1.5 * 45_000 * 30)


def test_an_estimate_follows_the_layers_of_networks_that_are_slow(monkeypatch, tmp_path):
    monkeypatch.setattr(records, "RECORDS", tmp_path)

    def seconds_per_epoch(arguments, batch_size=128):
        recipe = Recipe(1, batch_size, precision="mixed_bfloat16")
        run = Run(None, Variant("a", "baseline", recipe, arguments), 0, "full", "cifar10")
        monkeypatch.setattr(Run, "name", "a run")
        return estimates.core_seconds([run])["a run"]

    # Measured on an EPYC of family 26, two processes of one thread side by side: 9.6 s and 11.2 s.
    assert seconds_per_epoch({}) == pytest.approx(9.6, rel=0.15)
    assert seconds_per_epoch({"normalisation": "batch"}) == pytest.approx(11.2, rel=0.15)
    assert seconds_per_epoch({"normalisation": "group"}) > 2 * seconds_per_epoch({"normalisation": "batch"})
    assert seconds_per_epoch({}, batch_size=8) > 3 * seconds_per_epoch({})
    assert seconds_per_epoch({"downsampling": "stride"}) < 0.8 * seconds_per_epoch({})


def test_the_command_lists_what_is_missing(lab):
    here = lab('of("one", run("a"), run("b", 3))')
    code, lines, error = here.run("list", "--missing")
    assert (code, error) == (0, "")
    assert lines == [
        "one: 2 runs of 0 core-seconds, about 0.0 hours on 1 core",
        "2 runs to do, about 0.0 hours on 1 core.",
    ]


def test_a_terminal_shows_one_line_with_time_left(declared, monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    (one, *_), _ = declared
    state = queue._State()
    assert state.plan(queue.missing(["one"])[0])
    assert len(state.pending) == 4
    state.running[state.pending[0].name] = state.pending.popleft(), None
    state.epoch["one short seed 0"] = 3, 30
    state.show()
    shown = capsys.readouterr().out
    assert shown.startswith("\r\x1b[K0 of 4 runs done, about ") and "\n" not in shown
    assert shown.endswith("left: one short seed 0 3/30")


# With TensorFlow


def test_a_rerun_on_a_page_of_other_threads_gives_the_queues_numbers(lab, monkeypatch):
    """Recorded by the queue with one thread; then asked for here, where TensorFlow has another number of threads."""
    from shathenet_utils import backend

    here = lab('of("one", run("a", 2))', pretending=False)
    monkeypatch.setattr(backend, "threads", lambda: {"inter_op": 1, "intra_op": 9})
    monkeypatch.setenv("PYTHONPATH", here.environment["PYTHONPATH"])
    monkeypatch.delenv("SHATHENET_LIVE_SECONDS", raising=False)
    code, lines, error = here.run("queue")
    assert (code, error, lines[-1]) == (0, "", "1 of 1 run done.")
    experiment = book.load_experiment("one")
    seen = []
    runs = runner.train(experiment, retrain=True, on_epoch=lambda history: seen.append(len(history["loss"])))
    [recorded], [mine] = runs.recorded["a"], runs.user_runs["a"]
    assert seen == [1, 2]
    assert recorded["threads"] == mine["threads"] == {"inter_op": 1, "intra_op": 1}
    for record in (recorded, mine):
        del record["history"]["seconds"]
    same = ("history", "test_predictions", "validation_predictions", "test_accuracy", "model_digest", "config_hash")
    assert json.dumps([recorded[key] for key in same]) == json.dumps([mine[key] for key in same])
    assert evidence.check() == []
