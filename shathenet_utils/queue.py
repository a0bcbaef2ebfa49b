"""The queue: trains every declared run that has no record yet, as many side by side as there are cores.

A run has its experiment's number of threads, and so takes as many cores. Two queues share the work: a run that another
process is at is passed over, and looked at again in the end. A run whose process is killed goes on in a new one. What
stops, stops safely, and the same call goes on. Experiments whose sweep ends meanwhile are trained in the same call.
"""

import collections
import datetime
import os
import queue as queues
import shutil
import sys
import threading
import time

import numpy as np

from shathenet_utils import book, records, worker
from shathenet_utils.book import evidence
from shathenet_utils.declared import Run
from shathenet_utils.experiment import Experiment

ATTEMPTS = 3
"""At a run whose process is killed, by the system where memory is short, say."""
NOTHING = "Nothing to train: every declared run has its record."
LOOK_AGAIN = 10
"""Seconds before a run that another process was at is tried again."""


def missing(names=()) -> tuple[list[Run], dict[str, str]]:
    """The declared runs without a record, and the experiments that wait for a sweep: name → a sentence.

    names: of experiments, in the order in which they are to be trained; without names, the pages' order. Within a name
    the shortest run comes first. Raises ValueError for an unknown name, RecordError for a damaged record.
    """
    found = _missing_of(names)
    waiting = {name: why for name, runs in found.items() if (why := _waits_for(name, runs))}
    ready = {name: runs for name, runs in found.items() if name not in waiting}
    known = estimates([run for runs in ready.values() for run in runs])
    return [run for runs in ready.values() for run in sorted(runs, key=lambda run: known[run.name])], waiting


def _missing_of(names) -> dict[str, list[Run]]:
    """Name → its runs without a record, of those that have some."""
    found = {name: _without_record(book.load_experiment(name)) for name in names or book.EXPERIMENTS}
    return {name: runs for name, runs in found.items() if runs}


def _without_record(experiment: Experiment) -> list[Run]:
    runs = [
        Run(experiment, variant, seed, "full", variant.dataset, record=True)
        for variant in experiment.variants
        for seed in experiment.seeds_of(variant)
    ]
    return [run for run in runs if not run.is_complete()]


def _waits_for(name: str, runs: list[Run]) -> str:
    """Why these runs can't be trained yet: their sweep isn't, or found another learning rate; "" where they can."""
    for sweep in dict.fromkeys(run.variant.tuned_by for run in runs if run.variant.tuned_by):
        if left := len(_without_record(book.load_experiment(sweep))):
            return f"{name} waits for {sweep}, {_counted(left)} to go."
    wrong = [why for run in runs for why in evidence.wrong_rate(run.experiment, run.variant)]
    return f"{name} waits for another declaration: {wrong[0]}" if wrong else ""


def estimates(runs: list[Run]) -> dict[str, float]:
    """Core-seconds that each run may take, by its name, from the records: of its model, else by its arithmetic.

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
    found = _missing_of(names)
    if not found:
        return NOTHING
    seconds = estimates([run for runs in found.values() for run in runs])
    hours = {name: _hours(sum(seconds[run.name] for run in runs)) for name, runs in found.items()}
    lines = [f"{name}: {_counted(len(runs))}, about {hours[name]}" for name, runs in found.items()]
    waiting = filter(None, (_waits_for(name, runs) for name, runs in found.items()))
    return "\n".join([*lines, f"{_counted(len(seconds))} to do, about {_hours(sum(seconds.values()))}.", *waiting])


def _counted(runs: int) -> str:
    return f"{runs} run{'s' * (runs != 1)}"


def _hours(core_seconds: float) -> str:
    return f"{core_seconds / cores() / 3600:.1f} hours on {cores()} core{'s' * (cores() != 1)}"


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def train_all(names=()) -> list[str]:
    """Train and record what is missing; returns why runs failed, a sentence each, after the others were trained.

    Raises KeyboardInterrupt after Ctrl-C, when every process has stopped safely. Otherwise as `missing`.
    """
    state = _State()
    try:
        while True:
            runs, waiting = missing(names)
            if not state.add(runs):
                break
            state.tell(waiting)
            while state.pending or state.running:
                state.start_what_fits()
                state.hear(seconds=2)
    except KeyboardInterrupt:
        state.stop()
        print("\nStopped; the same call goes on from the last whole epochs.", flush=True)
        raise
    finally:
        state.stop()
    state.tell(waiting)
    state.say(state.summary() if state.seconds or waiting else NOTHING)
    return state.failures


class _State:
    """Runs that wait, runs under way, and the line of progress."""

    def __init__(self):
        self.pending = collections.deque()
        self.seconds = {}  # run's name → core-seconds that it may take
        self.done, self.failures = 0, []
        self.running = {}  # run's name → (run, process)
        self.epoch = {}  # run's name → (done, all)
        self.looked = {}  # run's name → when another process was last found at it
        self.killed = collections.Counter()  # run's name → how often its process was
        self.announced = []
        self.news = queues.SimpleQueue()
        self.began = time.monotonic()

    def add(self, runs: list[Run]) -> bool:
        """Take up those of the runs that are not known yet; whether there are any."""
        new = [run for run in runs if run.name not in self.seconds]
        self.pending.extend(new)
        self.seconds |= estimates(new)
        return bool(new)

    def tell(self, waiting: dict[str, str]) -> None:
        """Say which experiments wait, each sentence once."""
        for why in waiting.values():
            if why not in self.announced:
                self.announced.append(why)
                self.say(why)

    def start_what_fits(self) -> None:
        """Start the next runs, while there are cores for them."""
        for _ in range(len(self.pending)):
            run = self.pending.popleft()
            threads = min(run.experiment.threads, cores())
            busy = sum(min(other.experiment.threads, cores()) for other, _ in self.running.values())
            if busy + threads > cores():
                self.pending.appendleft(run)
                return
            if time.monotonic() - self.looked.get(run.name, -np.inf) < LOOK_AGAIN:
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
        elif message["ended"] < 0 and self.killed[run.name] + 1 < ATTEMPTS:
            self.killed[run.name] += 1
            self.pending.appendleft(run)
            self.say(f"{run.name}: its process was killed; it goes on in a new one.")
        else:
            self.failures.append(f"{run.name}: {message['why']}")
            self.say(f"{run.name} failed: {message['why']}")
        self.show()

    def say(self, text: str) -> None:
        """A line that stays."""
        clear = "\r\x1b[K" if sys.stdout.isatty() else ""
        print(f"{clear}{text}", flush=True)

    def summary(self) -> str:
        """What the whole call did."""
        failed = f", {len(self.failures)} failed" if self.failures else ""
        return f"{self.done} of {_counted(len(self.seconds))} done{failed}."

    def show(self) -> None:
        """The one line of progress, redrawn in a terminal."""
        if sys.stdout.isatty():
            under_way = ", ".join(f"{name} {done}/{of}" for name, (done, of) in self.epoch.items())
            line = f"{self.done} of {_counted(len(self.seconds))} done{self.time_left()}: {under_way}"
            print(f"\r\x1b[K{line[: shutil.get_terminal_size().columns - 1]}", end="", flush=True)

    def time_left(self) -> str:
        """From what the records say and, once runs have ended, from how that turned out here."""
        left = sum(self.seconds[run.name] for run in self.pending)
        for name in self.running:
            done, of = self.epoch.get(name, (0, 1))
            left += self.seconds[name] * (1 - done / of)
        total = sum(self.seconds.values())
        gone, spent = total - left, time.monotonic() - self.began
        rate = spent / gone if gone > 0.02 * total else 1 / cores()
        return f", about {datetime.timedelta(seconds=round(left * rate))} left"

    def stop(self) -> None:
        """Interrupt every process, and wait until each has stopped safely."""
        for _, process in self.running.values():
            worker.interrupt(process)
        for _, process in self.running.values():
            process.wait()
