"""The queue: trains every declared run that has no record yet, as many side by side as there are cores.

A run has its experiment's number of threads, and so takes as many cores. Two queues share the work: a run that another
process is at is passed over, and looked at again in the end. What stops, stops safely, and the same call goes on.
"""

import collections
import datetime
import os
import queue as queues
import shutil
import signal
import sys
import threading
import time

import numpy as np

from shathenet_utils import book, records, worker
from shathenet_utils.book import evidence
from shathenet_utils.runner import Run


def missing(names=()) -> tuple[list[Run], dict[str, str]]:
    """The declared runs without a record, and the experiments that wait for a sweep: name → why.

    names: of experiments, in the order in which they are to be trained; without names, the pages' order. Within a name
    the shortest run comes first. Raises ValueError for an unknown name, RecordError for a damaged record.
    """
    runs, waiting = [], {}
    for name in names or book.EXPERIMENTS:
        experiment = book.load_experiment(name)
        found = [
            run
            for variant in experiment.variants
            for seed in experiment.seeds_of(variant)
            if not (run := Run(experiment, variant, seed, "full", variant.dataset, record=True)).is_complete()
        ]
        undecided = [why for run in found for why in evidence.wrong_rate(experiment, run.variant)]
        if undecided:
            waiting[name] = undecided[0]
            continue
        known = estimates(found)
        runs += sorted(found, key=lambda run: known[run.name])
    return runs, waiting


def estimates(runs: list[Run]) -> dict[str, float]:
    """Core-seconds that each run may take, by its name, from the records: of its variant, else of its model, else by its arithmetic.

    Machines differ by a factor of two; this is a guess for planning.
    """
    per_model, per_mac = collections.defaultdict(list), []
    for path in sorted(records.RECORDS.glob("*/*/seed*.json")):
        record = records.load(path)
        if record["status"] != "finished" or not record["seconds"]["median_epoch"]:
            continue
        seconds = record["seconds"]["median_epoch"] * record["threads"]["intra_op"] / record["split"]["train"]
        per_model[str(record["config"]["model"])].append(seconds)
        per_mac.append(seconds / record["macs"])
    usual, found = float(np.median(per_mac)) if per_mac else 1e-9, {}
    for run in runs:
        variant = run.variant
        alike = per_model.get(str(variant.config()["model"]))
        seconds = float(np.median(alike)) if alike else usual * _macs(variant)
        images = variant.images_per_class * 10 or 50_000 - variant.validation
        found[run.name] = seconds * images * run.recipe.epochs
    return found


def _macs(variant) -> int:
    from shathenet_utils import architecture, models

    return architecture.macs(models.build(variant.model, variant.model_arguments))


def table(names=()) -> str:
    """What is still to be trained: a line per experiment, and the total, in hours of this machine's cores."""
    runs, waiting = missing(names)
    if not runs and not waiting:
        return "Nothing: every declared run has its record."
    seconds, lines = estimates(runs), []
    for name in dict.fromkeys(run.experiment.name for run in runs):
        own = [run for run in runs if run.experiment.name == name]
        lines.append(f"{name}: {len(own)} runs, about {_hours(sum(seconds[run.name] for run in own))}")
    lines += [f"{name}: waits for its sweep. {why}" for name, why in waiting.items()]
    return "\n".join([*lines, f"{len(runs)} runs to do, about {_hours(sum(seconds.values()))}."])


def _hours(core_seconds: float) -> str:
    return f"{core_seconds / cores() / 3600:.1f} hours on {cores()} cores"


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def train_all(names=()) -> list[str]:
    """Train and record what is missing; returns why runs failed, a sentence each, after the others were trained.

    Raises KeyboardInterrupt after Ctrl-C, when every process has stopped safely. Otherwise as `missing`.
    """
    runs, waiting = missing(names)
    for name, why in waiting.items():
        print(f"{name} waits for its sweep. {why}")
    state = _State(runs)
    try:
        while state.pending or state.running:
            state.start_what_fits()
            state.hear(seconds=2)
    except KeyboardInterrupt:
        state.stop()
        print("\nStopped; the same call goes on from the last whole epochs.")
        raise
    state.show(last=True)
    return state.failures


class _State:
    """Runs that wait, runs under way, and the line of progress."""

    def __init__(self, runs: list[Run]):
        self.pending = collections.deque(runs)
        self.seconds = estimates(runs)
        self.total, self.done, self.failures = len(runs), 0, []
        self.running = {}  # run's name → (run, process)
        self.epoch = {}  # run's name → (done, all)
        self.looked = {}  # run's name → when another process was last found at it
        self.news = queues.SimpleQueue()
        self.began, self.at_begin = time.monotonic(), sum(self.seconds.values())

    def start_what_fits(self) -> None:
        """Start the next runs, while there are cores for them."""
        for _ in range(len(self.pending)):
            run = self.pending.popleft()
            threads = min(run.experiment.threads, cores())
            busy = sum(min(other.experiment.threads, cores()) for other, _ in self.running.values())
            if busy + threads > cores():
                self.pending.appendleft(run)
                return
            if time.monotonic() - self.looked.get(run.name, -np.inf) < 10:
                self.pending.append(run)
                continue
            if run.is_complete():  # by another process meanwhile
                self.done += 1
                continue
            process = worker.start(run.experiment.name, run.variant.name, run.seed, run.experiment.threads, record=True)
            self.running[run.name] = run, process
            threading.Thread(target=self._listen, args=(run, process), daemon=True).start()

    def _listen(self, run: Run, process) -> None:
        for message in worker.messages(process):
            self.news.put((run, message))
        why = worker.failure(process) if process.wait() else ""
        self.news.put((run, {"ended": process.returncode, "why": why}))

    def hear(self, seconds: float) -> None:
        """Take up what the processes report, for so long."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            try:
                run, message = self.news.get(timeout=left)
            except queues.Empty:
                break
            if "ended" in message:
                self._end(run, message)
                break
            self.epoch[run.name] = message["epoch"], message["epochs"]
            self.show()

    def _end(self, run: Run, message: dict) -> None:
        del self.running[run.name]
        self.epoch.pop(run.name, None)
        if message["ended"] == worker.BUSY:
            self.looked[run.name] = time.monotonic()
            self.pending.append(run)
        elif message["ended"] == 0:
            self.done += 1
            record = records.load(run.path)
            accuracy = record["validation_accuracy"] or record["test_accuracy"]
            shown = f"{accuracy:.1%}" if accuracy is not None else record["status"]
            self.say(f"{run.name}: {shown}, {record['seconds']['total']:.0f} s")
        elif message["ended"] == worker.STOPPED:
            raise KeyboardInterrupt
        else:
            self.failures.append(f"{run.name}: {message['why']}")
            self.say(f"{run.name} failed: {message['why']}")
        self.show()

    def say(self, text: str) -> None:
        """A line that stays."""
        clear = "\r\x1b[K" if sys.stdout.isatty() else ""
        print(f"{clear}{text}", flush=True)

    def show(self, last: bool = False) -> None:
        """The one line of progress, redrawn in a terminal."""
        if last:
            failed = f", {len(self.failures)} failed" if self.failures else ""
            self.say(f"{self.done} of {self.total} runs done{failed}.")
        elif sys.stdout.isatty():
            under_way = ", ".join(f"{name} {done}/{of}" for name, (done, of) in self.epoch.items())
            line = f"{self.done} of {self.total} runs done{self.time_left()}: {under_way}"
            print(f"\r\x1b[K{line[: shutil.get_terminal_size().columns - 1]}", end="", flush=True)

    def time_left(self) -> str:
        """From what the records say and, once runs have ended, from how that turned out here."""
        left = sum(self.seconds[run.name] for run in self.pending)
        for name in self.running:
            done, of = self.epoch.get(name, (0, 1))
            left += self.seconds[name] * (1 - done / of)
        gone, spent = self.at_begin - left, time.monotonic() - self.began
        rate = spent / gone if gone > 0.02 * self.at_begin else 1 / cores()
        return f", about {datetime.timedelta(seconds=round(left * rate))} left"

    def stop(self) -> None:
        """Interrupt every process, as Ctrl-C in a terminal does, and wait until each is done."""
        for _, process in self.running.values():
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        for _, process in self.running.values():
            process.wait()
