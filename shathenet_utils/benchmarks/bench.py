"""Whole epochs, timed in turn: the only source of seconds that the book compares or publishes.

Each contender is a process of its own that trains one epoch per request and waits otherwise, so that in each round
every contender runs on the same machine in the same state: all processes are ready before the first round and end after
the last. What a round before the first measured one costs (tracing, first touches of memory) is left out. A result is a
record below `data/records/bench/`, or, of a user's own machine, `data/runs/bench/`.
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

from shathenet_utils import files, machine, output_folder, progress, records, runner
from shathenet_utils.book import baseline
from shathenet_utils.book.p04_yardstick import LINEAR_HEAD
from shathenet_utils.book.p24_how_fast import AIRBENCH
from shathenet_utils.experiment import Experiment, Variant
from shathenet_utils.recipes import Augmentation, Optimizer, Recipe

ROUNDS = 5
EPOCH = 45_000
"""The training images of CIFAR-10 that are not set apart. Seconds are given for all of them, whatever part a contender
trains on in a round."""
_FLIP = Augmentation(flip="random", translate=2)
_SGD = Optimizer("sgd", momentum=0.9, nesterov=True)


class BenchError(RuntimeError):
    """A contender could not be measured; one sentence says which and why."""


@dataclasses.dataclass(frozen=True)
class Network:
    """What the contenders train.

    model: a function's name in `models`, or a function; arguments: what it is called with. recipe: of the book's loop
    and of PyTorch; Keras's `fit` and the directory flow take its batch size, its optimizer and its learning rate,
    constant.
    """

    model: str | Callable
    arguments: dict
    recipe: Recipe


NETWORKS = {
    "v1.0": Network("v1_0", {}, Recipe(6, 32, augmentation=_FLIP)),
    "thin ResNet": Network(
        "thin_resnet", {}, Recipe(6, 256, 0.2, _SGD, augmentation=_FLIP, precision="mixed_bfloat16")
    ),
    "v1.1": Network("v1_1", {}, Recipe(6, 128, augmentation=_FLIP, precision="mixed_bfloat16")),
    "64/128/128": Network("airbench", {}, AIRBENCH),
    "64/256/256": Network("airbench", {"widths": (64, 256, 256)}, AIRBENCH),
}


def _serve(pipe, contender: Callable, network: Network, data, rounds: int) -> None:
    """A contender's process: an epoch per request, and then waiting until the other end is closed."""
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1), os.dup2(silence, 2)  # its own bars and start-up lines
    try:
        epochs = contender(network, data, rounds)
        pipe.send("ready")
        for _ in range(rounds):
            pipe.recv()
            seconds, images, more = next(epochs)
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)
            whole = seconds * len(data.train_labels) / images
            pipe.send({"seconds": round(whole, 3), "images": images, "memory_gib": round(memory, 2), **more})
        pipe.recv()  # to end now would take time from those whose last round is still to come
    except EOFError:  # there will be no further request
        pass
    except BaseException as error:  # sent to the other end, which raises it
        pipe.send({"error": f"{type(error).__name__}: {error}"})


def alternate(
    contenders: dict[str, tuple[Callable, Network]], data, rounds: int = ROUNDS, warm: int = 1
) -> dict[str, dict]:
    """Train `rounds` epochs of every contender in turn, after `warm` that are not counted.

    contenders: name → (function, network). Returns, per contender, its seconds per epoch (a list), images per round,
    the memory of its process in GiB, and what else its last epoch measured, such as the test accuracy; of what is in
    `EACH_EPOCH`, a list too. Raises BenchError where one fails.
    """
    context = multiprocessing.get_context("spawn")  # a fresh interpreter: each with its own TensorFlow or PyTorch
    pipes, processes, results = {}, [], {name: [] for name in contenders}
    try:
        for name, (contender, network) in contenders.items():
            pipes[name], other_end = context.Pipe()
            arguments = (other_end, contender, network, data, rounds + warm)
            processes.append(context.Process(target=_serve, args=arguments, daemon=True))
            processes[-1].start()
            other_end.close()
        for name, pipe in pipes.items():
            _checked(name, pipe.recv())  # "ready"
        with progress.bar(len(contenders) * (rounds + warm), "bench", unit="epoch") as bar:
            for _ in range(rounds + warm):
                for name, pipe in pipes.items():
                    bar.set_postfix_str(name)
                    pipe.send("go")
                    results[name].append(_checked(name, pipe.recv()))
                    bar.update()
    except (EOFError, BrokenPipeError):
        raise BenchError("A contender's process ended before its time: is there memory enough?") from None
    finally:
        for process in processes:
            process.terminate()
            process.join()
    return {
        name: each[-1] | {key: [one[key] for one in each[warm:]] for key in EACH_EPOCH if key in each[-1]}
        for name, each in results.items()
    }


def _checked(name: str, message):
    """What a contender's process sent, unless it is an error."""
    if "error" in message:
        raise BenchError(f"{name} could not be measured: {message['error']}")
    return message


EACH_EPOCH = ("seconds", "until_last_step")
"""What is kept of every epoch."""


def path_of(name: str, record: bool = True) -> Path:
    """Where a result lies: among the book's records, or among the user's runs."""
    folder = records.RECORDS if record else output_folder() / "data" / "runs"
    return folder / "bench" / f"{name}.json"


def save(name: str, question: str, contenders: dict, rounds: int, record: bool, **more) -> dict:
    """Write a result with what it was measured on; returns it. contenders: as `alternate` returns them."""
    from shathenet_utils import backend

    packages = ("tensorflow", "keras", "numpy") + (("torch",) if importlib.util.find_spec("torch") else ())
    result = {
        "schema": records.SCHEMA,
        "name": name,
        "question": question,
        "rounds": rounds,
        "contenders": contenders,
        **more,
        "threads": backend.threads(),
        "machine": machine.machine(),
        "versions": {package: importlib.metadata.version(package) for package in packages},
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
    files.write_text(path_of(name, record), files.to_json(result))
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


def user_benchmark(name: str) -> dict | None:
    """The user's result by its name, if there is one."""
    return load(name, record=False) if path_of(name, record=False).exists() else None


def slug(network: str) -> str:
    """A network's name as a file's: "64/128/128" → "64-128-128"."""
    return network.replace("/", "-").replace(" ", "_").replace(".", "_")


def networks(
    names=tuple(NETWORKS), data=None, rounds: int = ROUNDS, record: bool = False, again: bool = False
) -> list[dict]:
    """Measure the networks that were not yet, each with every contender that is installed; all results.

    data: a Dataset of 45,000 training images (default: CIFAR-10). again: measure what was measured already. Raises
    BenchError, or as `datasets` does.
    """
    from shathenet_utils.benchmarks import contenders

    results = []
    for name in names:
        if path_of(slug(name), record).exists() and not again:
            results.append(load(slug(name), record))
            continue
        data = data or _cifar10()
        chosen = {contender: (function, NETWORKS[name]) for contender, function in contenders.CONTENDERS.items()}
        measured = alternate(_installed(chosen), data, rounds)
        recipe = NETWORKS[name].recipe
        more = {"network": name, "precision": recipe.precision, "batch_size": recipe.batch_size}
        results.append(save(slug(name), f"How long is an epoch of {name}?", measured, rounds, record, **more))
    return results


def _installed(chosen: dict) -> dict:
    """Without PyTorch where it isn't installed."""
    return {name: kind for name, kind in chosen.items() if name != "PyTorch" or importlib.util.find_spec("torch")}


WIDTHS = ((16, 32, 32), (32, 64, 64), (64, 128, 128), (96, 192, 192))
VECTORS = ((9, 16, 27), (15, 30, 45), (16, 32, 48))
SIZES = (96, 128, 160, 192, 224)
"""Of images, at which a frozen network's features are timed."""
PROFILES = {"profile": "64/128/128", "profile_thin": "thin ResNet", "profile_wide": "64/256/256"}
SETS = ("machine", "waterfall", *PROFILES, "growth", "vectors", "waits", "features", "sources", "widened")
"""What is measured besides whole epochs of `NETWORKS`."""


def measurable() -> list[str]:
    """Those of `SETS` that this machine can be measured by."""
    return [name for name in SETS if name != "widened" or not machine.multiplies_bfloat16()]


def _set(name: str) -> tuple[str, dict, int]:
    """A measurement of `SETS`: its question, its contenders, and how many images they have."""
    from shathenet_utils.benchmarks import contenders

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
        head = Network("linear_head", {}, LINEAR_HEAD)
        return "How long do a frozen network's features take?", timed | {"linear head": (contenders.head, head)}, EPOCH
    if name == "waits":
        timed = {"ours": contenders.our_fit, "Keras's way": functools.partial(contenders.keras_fit, last_step=True)}
        pairs = {f"{net}, {who}": (function, NETWORKS[net]) for net in NETWORKS for who, function in timed.items()}
        return "How long does Keras's fit wait at the end of an epoch?", pairs, 10_000
    plain = Network("baseline", baseline.NETWORKS["plain"], baseline.RECIPE)
    if name == "sources":
        timed = {source: (function, plain) for source, function in contenders.SOURCES.items()}
        return "Is Keras's fit faster on arrays than on files?", timed, 4_500
    if name == "widened":
        timed = {how: (function, plain) for how, function in contenders.WIDENED.items()}
        return "How long does bfloat16 take on a processor without instructions for it?", timed, 640
    if name == "vectors":
        thin = _of_widths(NETWORKS["thin ResNet"], VECTORS)
        return "Do widths that are multiples of sixteen train faster?", thin, 5_000
    grown = {change: (function, network) for change, function in contenders.GROWTH.items()}
    return "What grows with what?", grown | _of_widths(network, WIDTHS), EPOCH


def _of_widths(network: Network, all_widths) -> dict:
    """Contenders: the book's loop on 5,000 images, with one network at several widths."""
    from shathenet_utils.benchmarks import contenders

    short = functools.partial(contenders.our_fit, images=5_000)
    return {
        "/".join(map(str, widths)): (short, dataclasses.replace(network, arguments={"widths": widths}))
        for widths in all_widths
    }


def measured(name: str, data=None, rounds: int = ROUNDS, record: bool = False, again: bool = False) -> dict:
    """One of `SETS`, measured if it was not yet. Raises as `networks` does."""
    if path_of(name, record).exists() and not again:
        return load(name, record)
    if name not in measurable():
        raise BenchError("This processor has instructions for bfloat16: `bench widened` measures one that has none.")
    question, chosen, images = _set(name)
    data = data or _cifar10()
    part = {"train_images": data.train_images[:images], "train_labels": data.train_labels[:images]}
    return save(name, question, alternate(chosen, dataclasses.replace(data, **part), rounds), rounds, record)


def _cifar10():
    return runner.load_data(Variant("bench", "v1_0", Recipe(1)))


def variants(experiment: Experiment, rounds: int = ROUNDS, record: bool = False, again: bool = False) -> dict:
    """An epoch of each of an experiment's variants, in turn; they must train on the same images."""
    from shathenet_utils.benchmarks import contenders

    name = f"experiment_{experiment.name}"
    if path_of(name, record).exists() and not again:
        return load(name, record)
    if len({(v.dataset, v.validation, v.images_per_class, v.feature_extractor) for v in experiment.variants}) > 1:
        raise BenchError(f"The variants of {experiment.name} train on different images: their epochs don't compare.")
    _, data = runner.prepare_inputs(experiment.variants[0], experiment.seeds[0])
    chosen = {v.name: (contenders.our_fit, Network(v.model, v.model_arguments, v.recipe)) for v in experiment.variants}
    return save(name, experiment.question, alternate(chosen, data, rounds), rounds, record)


def whole_run(experiment: Experiment, variant: Variant, record: bool = False, again: bool = False) -> dict:
    """A whole run of a variant in the book's loop and the same recipe in PyTorch, epoch by epoch in turn, with its test
    accuracy."""
    from shathenet_utils.benchmarks import contenders

    name = f"run_{experiment.name}_{variant.name}"
    if path_of(name, record).exists() and not again:
        return load(name, record)
    if not importlib.util.find_spec("torch"):
        raise BenchError("PyTorch is not here: install it with `.venv/bin/pip install -r requirements-bench.txt`.")
    network = Network(variant.model, variant.model_arguments, variant.recipe)
    chosen = {"ours": (contenders.our_fit, network), "PyTorch": (contenders.pytorch, network)}
    _, data = runner.prepare_inputs(variant, experiment.seeds[0])
    epochs = alternate(chosen, data, variant.recipe.epochs, warm=0)
    question = f"How long is a whole run of {experiment.name} {variant.name}?"
    more = {"experiment": experiment.name, "variant": variant.name}
    return save(name, question, epochs, variant.recipe.epochs, record, **more)
