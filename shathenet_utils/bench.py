"""Whole epochs, timed side by side: the only source of seconds that the book compares or publishes.

Each contender is a process of its own that trains an epoch when it is told to and waits otherwise, so that in each
round every contender meets the same machine. What a round before the first measured one costs (tracing, first touches
of memory) is left out. A result is a record below `data/records/bench/`, or, of a reader's own machine,
`data/runs/bench/`.
"""

import dataclasses
import datetime
import functools
import importlib.metadata
import importlib.util
import json
import multiprocessing
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from shathenet_utils import experiments, output_folder, progress, records
from shathenet_utils.recipes import Recipe

ROUNDS = 5
EPOCH = 45_000
"""The training pictures of CIFAR-10 that are not set apart. Seconds are told for all of them, whatever part a contender
trains on in a round."""
_FLIP = {"flip": "random", "translate": 2}


class BenchError(RuntimeError):
    """A contender could not be measured; one sentence says which and why."""


@dataclasses.dataclass(frozen=True)
class Network:
    """What the contenders train: a model of `models`, and how we train it.

    recipe: ours; the others train with its batch size, optimizer and (Keras's way and the directory flow: without)
    schedule.
    """

    model: str
    arguments: dict
    recipe: Recipe


NETWORKS = {
    "v1.0": Network("v1_0", {}, Recipe(6, 32, **_FLIP)),
    "thin ResNet": Network(
        "thin_resnet", {}, Recipe(6, 256, "sgd", 0.2, "mixed_bfloat16", momentum=0.9, nesterov=True, **_FLIP)
    ),
    "v1.1": Network("v1_1", {}, Recipe(6, 128, "adam", 1e-3, "mixed_bfloat16", **_FLIP)),
    "64/128/128": Network("airbench", {}, experiments.AIRBENCH),
    "64/256/256": Network("airbench", {"widths": (64, 256, 256)}, experiments.AIRBENCH),
}


def _serve(pipe, contender: Callable, network: Network, data, rounds: int) -> None:
    """A contender's process: an epoch each time the other end asks, until it has trained them all."""
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1), os.dup2(silence, 2)  # its own bars and start-up lines
    try:
        epochs = contender(network, data, rounds)
        for _ in range(rounds):
            pipe.recv()
            seconds, pictures, more = next(epochs)
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)
            whole = seconds * len(data.train_labels) / pictures
            pipe.send({"seconds": round(whole, 3), "pictures": pictures, "memory_gib": round(memory, 2), **more})
    except EOFError:  # nobody asks any more
        pass
    except BaseException as error:  # told to the other end, which raises it
        pipe.send({"error": f"{type(error).__name__}: {error}"})


def alternate(
    contenders: dict[str, tuple[Callable, Network]], data, rounds: int = ROUNDS, warm: int = 1
) -> dict[str, dict]:
    """Train `rounds` epochs of every contender in turn, after `warm` that are not counted.

    contenders: name → (function, network). Returns, a contender, its seconds an epoch (a list), pictures a round, the
    memory of its process in GiB, and what else its last epoch tells, such as the test accuracy; of what is in
    `EACH_EPOCH`, a list too. Raises BenchError where one fails.
    """
    context = multiprocessing.get_context("spawn")  # a fresh interpreter: each with its own TensorFlow or PyTorch
    pipes, processes, told = {}, [], {name: [] for name in contenders}
    try:
        for name, (contender, network) in contenders.items():
            pipes[name], theirs = context.Pipe()
            arguments = (theirs, contender, network, data, rounds + warm)
            processes.append(context.Process(target=_serve, args=arguments, daemon=True))
            processes[-1].start()
            theirs.close()
        with progress.bar(len(contenders) * (rounds + warm), "bench", unit="epoch") as bar:
            for _ in range(rounds + warm):
                for name, pipe in pipes.items():
                    bar.set_postfix_str(name)
                    pipe.send("go")
                    told[name].append(pipe.recv())
                    if "error" in told[name][-1]:
                        raise BenchError(f"{name} could not be measured: {told[name][-1]['error']}")
                    bar.update()
    except (EOFError, BrokenPipeError):
        raise BenchError("A contender's process ended before its time: is there memory enough?") from None
    finally:
        for process in processes:
            process.terminate()
            process.join()
    return {
        name: found[-1] | {key: [one[key] for one in found[warm:]] for key in EACH_EPOCH if key in found[-1]}
        for name, found in told.items()
    }


EACH_EPOCH = ("seconds", "until_last_step")
"""What is kept of every epoch."""


def path_of(name: str, record: bool = True) -> Path:
    """Where a result lies: the book's evidence, or a reader's own."""
    folder = records.RECORDS if record else output_folder() / "data" / "runs"
    return folder / "bench" / f"{name}.json"


def save(name: str, question: str, found: dict, rounds: int, record: bool, **more) -> dict:
    """Write a result with what it was measured on; returns it. found: as `alternate` returns it."""
    from shathenet_utils import blocks

    packages = ("tensorflow", "keras", "numpy") + (("torch",) if importlib.util.find_spec("torch") else ())
    result = {
        "schema": 1,
        "name": name,
        "question": question,
        "rounds": rounds,
        "contenders": found,
        **more,
        "threads": blocks.threads(),
        "machine": experiments.machine(),
        "versions": {package: importlib.metadata.version(package) for package in packages},
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
    path = path_of(name, record)
    with records.writing_to(path), records.written_whole(path) as temporary:
        temporary.write_text(records.to_json(result), encoding="utf-8")
    return result


def load(name: str, record: bool = True) -> dict:
    """A result by its name. Raises RecordError where there is none, or it can't be read."""
    path = path_of(name, record)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise records.RecordError(
            f"The measurement {path} can't be read ({type(error).__name__}): restore it with `git checkout`, or "
            "measure it again with `python -m shathenet_utils bench --record`."
        ) from None


ELSEWHERE = "-elsewhere"
"""At the end of a record's name: the same, measured on another machine."""


def recorded(suffix: str = "") -> dict[str, dict]:
    """The recorded results of those of `NETWORKS` that have one, by name; suffix: "" or `ELSEWHERE`."""
    names = {name: slug(name) + suffix for name in NETWORKS}
    return {name: load(file) for name, file in names.items() if path_of(file).exists()}


def own(name: str) -> dict | None:
    """A reader's own result by its name, if there is one."""
    return load(name, record=False) if path_of(name, record=False).exists() else None


def slug(network: str) -> str:
    """A network's name as a file's: "64/128/128" → "64-128-128"."""
    return network.replace("/", "-").replace(" ", "_").replace(".", "_")


def networks(
    names=tuple(NETWORKS), data=None, rounds: int = ROUNDS, record: bool = False, again: bool = False
) -> list[dict]:
    """Measure the networks that were not yet, each against every contender that is installed; all results.

    data: a Dataset of 45,000 training pictures (default: CIFAR-10). Raises BenchError, or as `datasets` does.
    """
    from shathenet_utils import contenders

    results = []
    for name in names:
        if path_of(slug(name), record).exists() and not again:
            results.append(load(slug(name), record))
            continue
        data = data or _cifar10()
        chosen = {contender: (function, NETWORKS[name]) for contender, function in contenders.CONTENDERS.items()}
        found = alternate(_installed(chosen), data, rounds)
        recipe = NETWORKS[name].recipe
        more = {"network": name, "precision": recipe.precision, "batch_size": recipe.batch_size}
        results.append(save(slug(name), f"How long is an epoch of {name}?", found, rounds, record, **more))
    return results


def _installed(chosen: dict) -> dict:
    """Without PyTorch where it isn't there."""
    return {name: kind for name, kind in chosen.items() if name != "PyTorch" or importlib.util.find_spec("torch")}


WIDTHS = ((16, 32, 32), (32, 64, 64), (64, 128, 128), (96, 192, 192))


VECTORS = ((9, 16, 27), (15, 30, 45), (16, 32, 48))
SIZES = (96, 128, 160, 192, 224)
"""Of pictures, at which a frozen network's features are timed."""
PROFILES = {"profile": "64/128/128", "profile_thin": "thin ResNet", "profile_wide": "64/256/256"}
SETS = ("machine", "waterfall", *PROFILES, "growth", "vectors", "waits", "features")


def _set(name: str) -> tuple[str, dict, int]:
    """A measurement of `SETS`: its question, its contenders, and how many pictures they have."""
    from shathenet_utils import contenders

    network = NETWORKS["64/128/128"]
    if name == "machine":
        return "What does this machine reach at best?", {"peaks": (contenders.peaks, network)}, EPOCH
    if name == "waterfall":
        stages = {stage: (function, network) for stage, function in contenders.WATERFALL.items()}
        return "What did each step of engineering buy?", stages, 10_000
    if name in PROFILES:
        network = NETWORKS[PROFILES[name]]
        kinds = {kind: (function, network) for kind, function in contenders.PROFILED.items()}
        return f"Where does the time of an epoch of {PROFILES[name]} go?", _installed(kinds), 10_000
    if name == "features":
        names = [f"efficientnet_lite0@{size}" for size in SIZES]
        timed = {name: (functools.partial(contenders.features, name=name), network) for name in names}
        head = Network("linear_head", {}, experiments.LINEAR_HEAD)
        return "How long do a frozen network's features take?", timed | {"linear head": (contenders.head, head)}, EPOCH
    if name == "waits":
        timed = {"ours": contenders.ours, "Keras's way": functools.partial(contenders.kerass_way, last_step=True)}
        pairs = {f"{net}, {who}": (function, NETWORKS[net]) for net in NETWORKS for who, function in timed.items()}
        return "How much of an epoch does Keras's way wait?", pairs, 10_000
    if name == "vectors":
        thin = _of_widths(NETWORKS["thin ResNet"], VECTORS)
        return "Do widths that are multiples of sixteen train faster?", thin, 5_000
    grown = {change: (function, network) for change, function in contenders.GROWTH.items()}
    return "What grows with what?", grown | _of_widths(network, WIDTHS), EPOCH


def _of_widths(network: Network, all_widths) -> dict:
    """Contenders: ours, on 5,000 pictures, of one network at several widths."""
    from shathenet_utils import contenders

    short = functools.partial(contenders.ours, pictures=5_000)
    return {
        "/".join(map(str, widths)): (short, dataclasses.replace(network, arguments={"widths": widths}))
        for widths in all_widths
    }


def measured(name: str, data=None, rounds: int = ROUNDS, record: bool = False, again: bool = False) -> dict:
    """One of `SETS`, measured if it was not yet. Raises as `networks` does."""
    if path_of(name, record).exists() and not again:
        return load(name, record)
    question, chosen, pictures = _set(name)
    data = data or _cifar10()
    few = {"train_images": data.train_images[:pictures], "train_labels": data.train_labels[:pictures]}
    return save(name, question, alternate(chosen, dataclasses.replace(data, **few), rounds), rounds, record)


def _cifar10():
    return experiments.load_data(experiments.Variant("bench", "v1_0", Recipe(1)))


def variants(
    experiment: experiments.Experiment, rounds: int = ROUNDS, record: bool = False, again: bool = False
) -> dict:
    """An epoch of each of an experiment's variants, in turn; they must train on the same pictures."""
    from shathenet_utils import contenders

    name = f"experiment_{experiment.name}"
    if path_of(name, record).exists() and not again:
        return load(name, record)
    if len({(v.dataset, v.validation, v.images_a_class, v.frozen) for v in experiment.variants}) > 1:
        raise BenchError(f"The variants of {experiment.name} train on different pictures: no epochs to compare.")
    _, data = experiments.shown(experiment.variants[0], experiment.seeds[0])
    chosen = {v.name: (contenders.ours, Network(v.model, v.model_arguments, v.recipe)) for v in experiment.variants}
    return save(name, experiment.question, alternate(chosen, data, rounds), rounds, record)


def whole_run(
    experiment: experiments.Experiment, variant: experiments.Variant, record: bool = False, again: bool = False
) -> dict:
    """A whole run of a variant, ours and the same recipe in PyTorch, epoch by epoch in turn, with its test accuracy."""
    from shathenet_utils import contenders

    name = f"run_{experiment.name}_{variant.name}"
    if path_of(name, record).exists() and not again:
        return load(name, record)
    if not importlib.util.find_spec("torch"):
        raise BenchError("PyTorch is not here: install it with `.venv/bin/pip install -r requirements-bench.txt`.")
    network = Network(variant.model, variant.model_arguments, variant.recipe)
    chosen = {"ours": (contenders.ours, network), "PyTorch": (contenders.pytorch, network)}
    _, data = experiments.shown(variant, experiment.seeds[0])
    found = alternate(chosen, data, variant.recipe.epochs, warm=0)
    question = f"How long is a whole run of {experiment.name} {variant.name}?"
    more = {"experiment": experiment.name, "variant": variant.name}
    return save(name, question, found, variant.recipe.epochs, record, **more)


README_MARKS = ("<!-- seconds: written by python -m shathenet_utils table -->", "<!-- end of seconds -->")


def _place(result: dict) -> str:
    return f"{result['machine']['cores']} cores of an {result['machine']['processor']}"


def places(results: dict[str, dict]) -> str:
    """Where results were measured, in words; where that was on several machines, which on which."""
    at: dict[str, list[str]] = {}
    for name, result in results.items():
        at.setdefault(_place(result), []).append(name)
    return "; ".join(at) if len(at) == 1 else "; ".join(f"{place} ({', '.join(names)})" for place, names in at.items())


def _epochs_table(results: dict[str, dict]) -> list[str]:
    lines = [
        "| network | ours, 45,000 pictures | Keras's way | directory flow | PyTorch | ours and PyTorch in |",
        "|---|---|---|---|---|---|",
    ]
    for name, result in results.items():
        mean = {contender: np.mean(found["seconds"]) for contender, found in result["contenders"].items()}
        others = [
            f"{mean[other] / mean['ours']:.2f}×" if other in mean else "–"
            for other in ("Keras's way", "directory flow", "PyTorch")
        ]
        precision = result["precision"].removeprefix("mixed_")
        lines.append(f"| {name} | {mean['ours']:.1f} s | {' | '.join(others)} | {precision} |")
    rounds = min((result["rounds"] for result in results.values()), default=0)
    return [*lines, "", f"Mean of {rounds} epochs in turn, on {places(results)}."]


def readme_table() -> str:
    """The networks' epochs in a Markdown table: ours in seconds, the others in times as long; and on what machine."""
    lines = _epochs_table(recorded())
    if elsewhere := recorded(ELSEWHERE):
        lines += ["", *_epochs_table(elsewhere)]
    for path in sorted((records.RECORDS / "bench").glob("run_*.json")):
        result = load(path.stem)
        seconds, accuracy = (
            {name: scale * np.sum(found[key]) for name, found in result["contenders"].items()}
            for key, scale in (("seconds", 1), ("accuracy", 100))
        )
        lines.append(
            f"\nA whole run of {result['experiment']} {result['variant']} on {_place(result)}: {seconds['ours']:.0f} s "
            f"to {accuracy['ours']:.1f} % of the test set; the same recipe in PyTorch {seconds['PyTorch']:.0f} s "
            f"to {accuracy['PyTorch']:.1f} %. One seed; seconds of one machine say nothing of another's."
        )
    if path_of("waits").exists():
        times = ", ".join(f"{took['last step'] / took['ours']:.2f}× ({name})" for name, took in waits().items())
        lines.append(
            "\nKeras's way can end an epoch waiting for tf.data's tuning thread, whose pauses double up to a minute. "
            f"Up to its last step, the fastest of {load('waits')['rounds']} epochs of 10,000 pictures takes {times}."
        )
    if path_of("scaling").exists():
        result = load("scaling")
        one, two = (np.mean(found["seconds"]) for found in result["contenders"].values())
        lines.append(
            f"\nOn a cluster: two one-core workers take {two / one:.2f} of one's time for {result['runs']} runs, their "
            f"start aside, on {_place(result)}."
        )
    return "\n".join(lines)


def waits() -> dict[str, dict[str, float]]:
    """How Keras's way ends its epochs: network → seconds of the fastest epoch of "ours" and, until its "last step", of
    Keras's way; how many of Keras's "epochs" there were, how many "waited" after it, more than a fifth of a second;
    and how far at most these ended from the next look ("off") of a thread that pauses for 10 ms, then twice as long
    each time, a minute at most."""
    looks = np.minimum(0.01 * 2.0 ** np.arange(16), 60).cumsum()
    found, rows = load("waits")["contenders"], {}
    for network in dict.fromkeys(name.rpartition(", ")[0] for name in found):
        ends, done = (np.array(found[f"{network}, Keras's way"][key]) for key in ("seconds", "until_last_step"))
        off = np.abs(ends - looks[np.searchsorted(looks, done)])[ends - done > 0.2]
        rows[network] = {
            "ours": min(found[f"{network}, ours"]["seconds"]), "last step": done.min(), "epochs": len(ends),
            "waited": len(off), "off": off.max(initial=0),
        }  # fmt: skip
    return rows


def table(results: list[dict]):
    """A pandas table: a row a contender and measurement; seconds an epoch, how many times ours, memory."""
    import pandas

    rows = []
    for result in results:
        first = next(iter(result["contenders"].values()))["seconds"]
        for name, found in result["contenders"].items():
            seconds = found["seconds"]
            rows.append({
                "measured": result.get("network", result["name"]),
                "contender": name,
                "seconds an epoch, mean": f"{np.mean(seconds):.1f}",
                "best": f"{min(seconds):.1f}",
                "times the first": f"{np.mean(seconds) / np.mean(first):.2f}",
                "memory, GiB": found.get("memory_gib", "–"),
            })  # fmt: skip
    return pandas.DataFrame(rows).set_index(["measured", "contender"])
