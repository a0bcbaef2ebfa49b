"""The queue: trains every declared run that has no record yet, as many side by side as there are cores.

A run has its experiment's number of threads, and so takes as many cores. Two queues share the work: a run that another
process is at is passed over, and looked at again in the end. A run whose process is killed goes on in a new one. What
stops, stops safely, and the same call goes on. Sweeps are extended where their best learning rate lies at their edge,
and what they tune is trained in the same call.
"""

import collections
import datetime
import math
import os
import queue as queues
import shutil
import sys
import threading
import time

from shathenet_utils import book, records, worker
from shathenet_utils.book import evidence, learning_rates
from shathenet_utils.declared import Run
from shathenet_utils.estimates import core_seconds
from shathenet_utils.experiment import Experiment

ATTEMPTS = 3
"""At a run whose process is killed, by the system where memory is short, say."""
NOTHING = "Nothing to train: every declared run has its record."
LOOK_AGAIN = 10
"""Seconds before a run that another process was at is tried again."""


def missing(names=()) -> tuple[list[Run], dict[str, str]]:
    """The declared runs without a record that can be trained now, and what waits for a sweep: experiment → a sentence.

    names: of experiments, in the order in which they are to be trained; without names, the pages' order. Within a name
    the shortest run comes first. Raises ValueError for an unknown name, RecordError for a damaged record.
    """
    found, waiting = _missing_of(names), {}
    known = core_seconds([run for runs in found.values() for run in runs])
    ready = []
    for name, runs in found.items():
        why = {variant: _waits_for(variant, runs[0].experiment) for variant in {run.variant.name for run in runs}}
        waits = [why[run.variant.name] for run in runs if why[run.variant.name]]
        if waits:
            waiting[name] = waits[0]
        ready += sorted((run for run in runs if not why[run.variant.name]), key=lambda run: known[run.name])
    return ready, waiting


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


def _waits_for(name: str, experiment: Experiment) -> str:
    """Why a variant can't be trained yet: its sweep isn't, or found another learning rate; "" where it can."""
    variant = experiment.variant(name)
    if not variant.tuned_by:
        return ""
    sweep, alike = evidence.tuning_runs(variant)
    if left := sum(learning_rates.accuracy_of(sweep, other) is None for other in alike or sweep.variants):
        return f"{experiment.name} waits for {sweep.name}, {_counted(left)} to go."
    wrong = evidence.wrong_rate(experiment, variant)
    return f"{experiment.name} waits for another declaration: {wrong[0]}" if wrong else ""


def table(names=()) -> str:
    """What is still to be trained: a line per experiment, and the total, in hours of this machine's cores."""
    found = _missing_of(names)
    if not found:
        return NOTHING
    seconds = core_seconds([run for runs in found.values() for run in runs])
    lines = []
    for name, runs in found.items():
        taken = [seconds[run.name] for run in runs]
        each = f"{min(taken):.0f}" + f" to {max(taken):.0f}" * (max(taken) - min(taken) > 0.5)
        lines.append(f"{name}: {_counted(len(runs))} of {each} core-seconds, about {_hours(sum(taken))}")
    _, waiting = missing(names)
    total = f"{_counted(len(seconds))} to do, about {_hours(sum(seconds.values()))}."
    return "\n".join([*lines, total, *waiting.values()])


def _counted(runs: int) -> str:
    return f"{runs} run{'s' * (runs != 1)}"


def _hours(core_seconds: float) -> str:
    return f"{core_seconds / cores() / 3600:.1f} hours on {cores()} core{'s' * (cores() != 1)}"


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def train_all(names=()) -> list[str]:
    """Train and record what is missing; returns why runs failed, a sentence each, after the others were trained.

    After each run of a sweep the learning rates that are chosen by now are written down, and the declarations made
    anew: finals begin as soon as their sweep ends, in this call. Raises KeyboardInterrupt after Ctrl-C, when every
    process has stopped safely. Otherwise as `missing`.
    """
    for name in names:
        book.load_experiment(name)  # an unknown one is refused before anything is written
    state = _State()
    try:
        while True:
            state.tell_rates(_choose_rates())
            runs, waiting = missing(names)
            if not state.plan(runs):
                break
            state.tell(waiting)
            while (state.pending or state.running) and not state.outdated:
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


def _choose_rates() -> list[str]:
    """Write down what the sweeps' records say, and declare what follows; a sentence per change."""
    book.declare_again()  # another queue may have written since
    said = learning_rates.settle(book.EXPERIMENTS.values())
    book.declare_again()
    return said


class _State:
    """Runs that wait, runs under way, and the line of progress."""

    def __init__(self):
        self.pending = collections.deque()
        self.seconds = {}  # run's name → core-seconds that it may take
        self.done, self.failures = 0, []
        self.ended = set()  # names of runs that are done, or have failed
        self.outdated = False  # whether a run of a sweep has ended: rates may be chosen, finals begin
        self.running = {}  # run's name → (run, process)
        self.epoch = {}  # run's name → (done, all)
        self.looked = {}  # run's name → when another process was last found at it
        self.killed = collections.Counter()  # run's name → how often its process was
        self.announced = []
        self.news = queues.SimpleQueue()
        self.began = time.monotonic()

    def plan(self, runs: list[Run]) -> bool:
        """Take up what is to be trained now, in this order; whether there is anything to wait for."""
        self.outdated = False
        self.pending = collections.deque(
            run for run in runs if run.name not in self.ended and run.name not in self.running
        )
        self.seconds |= core_seconds([run for run in runs if run.name not in self.seconds])
        return bool(self.pending or self.running)

    def tell(self, waiting: dict[str, str]) -> None:
        """Say which experiments wait, and for what; once each, however many runs are to go."""
        for why in waiting.values():
            if (kind := why.partition(",")[0]) not in self.announced:
                self.announced.append(kind)
                self.say(why)

    def tell_rates(self, sentences: list[str]) -> None:
        """Say which learning rates were chosen, and which sweeps can't go on; each sentence once."""
        for sentence in sentences:
            if sentence not in self.announced:
                self.announced.append(sentence)
                self.say(sentence)

    def start_what_fits(self) -> None:
        """Start the next runs, while there are cores for them."""
        for _ in range(len(self.pending)):
            run = self.pending.popleft()
            threads = min(run.experiment.threads, cores())
            busy = sum(min(other.experiment.threads, cores()) for other, _ in self.running.values())
            if busy + threads > cores():
                self.pending.appendleft(run)
                return
            if time.monotonic() - self.looked.get(run.name, -math.inf) < LOOK_AGAIN:
                self.pending.append(run)
                continue
            if run.is_complete():  # by another process meanwhile
                self._has_ended(run)
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
            self._has_ended(run)
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
            self._has_ended(run)
            self.failures.append(f"{run.name}: {message['why']}")
            self.say(f"{run.name} failed: {message['why']}")
        self.show()

    def _has_ended(self, run: Run) -> None:
        self.ended.add(run.name)
        self.outdated |= run.experiment.sweep

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
