"""python -m shathenet_utils train|queue|list|table|check|rates|bench|facts|rerun: the records from a terminal."""

import argparse
import codecs
import os
import sys
import unicodedata

from shathenet_utils import ROOT, book, declared, files, runner, worker
from shathenet_utils.book import evidence, learning_rates, ledger
from shathenet_utils.datasets import DatasetError
from shathenet_utils.experiment import BUDGETS


def _seeds(text: str) -> list[int]:
    """ "0-4" or "0,2,3" as a list."""
    try:
        first, dash, last = text.partition("-")
        seeds = list(range(int(first), int(last) + 1)) if dash else [int(seed) for seed in text.split(",")]
        if not seeds or min(seeds) < 0:
            raise ValueError
        return seeds
    except ValueError:
        raise argparse.ArgumentTypeError(f"seeds are written 0-4 or 0,2,3, not {text!r}") from None


def _cores(text: str) -> int:
    """A whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"cores are a whole number from 1, not {text!r}")
    return int(text)


def _train(arguments) -> None:
    experiment = book.load_experiment(arguments.name)
    variants = [experiment.variant(name) for name in arguments.variant] if arguments.variant else experiment.variants
    runs = [
        declared.Run(experiment, variant, seed, arguments.budget, variant.dataset, arguments.record)
        for variant in variants
        for seed in arguments.seeds or experiment.seeds_of(variant)
    ]
    if arguments.cluster and arguments.again:
        raise ValueError("--again is for this machine; a cluster trains what is not there.")
    if arguments.cluster:
        _train_on_cluster(runs, arguments)
        return
    if arguments.cores:
        raise ValueError("--cores is for --cluster; here $SHATHENET_THREADS sets TensorFlow's threads.")
    os.environ.setdefault("SHATHENET_THREADS", str(experiment.threads))
    if arguments.watched:
        worker.stop_with_parent()
    busy = []
    for wait, pending in ((False, runs), (True, busy)):  # what others are at comes last: by then it may be done
        for run in pending:
            if not arguments.again and run.is_complete():
                print(f"{run.name}: there already, {run.path}")
                continue
            options = {"budget": run.budget, "record": run.record, "wait": wait}
            if arguments.watched:
                options["on_epoch"] = worker.report(run.recipe.epochs)
            try:
                record = runner.train_run(experiment, run.variant, run.seed, **options)
            except files.Busy:
                print(f"{run.name}: another process is at it")
                if arguments.watched and run.record:  # the queue has others to start meanwhile
                    sys.exit(worker.BUSY)
                busy.append(run)
                continue
            if record is None:
                sys.exit(worker.STOPPED)
            print(f"{run.name}: {_outcome(record)}")


def _queue(arguments) -> None:
    from shathenet_utils import queue

    failures = queue.train_all(arguments.names)
    if failures:
        sys.exit("\n".join(["error: Some runs failed:", *failures]))


def _train_on_cluster(runs, arguments) -> None:
    from shathenet_utils import cluster

    cores = arguments.cores or (runs[0].experiment.threads if arguments.record else 1)
    try:
        ended = {entry.state for entry in cluster.train(runs, arguments.cluster, cores)}
    except cluster.ClusterError as error:
        sys.exit(f"error: {error}")
    if "stopped" in ended:
        sys.exit(130)
    if "failed" in ended:
        sys.exit(1)


def _outcome(record: dict) -> str:
    """How a run ended, in a line."""
    if record["status"] != "finished":
        return "diverged"
    named = (("validation", "validation_accuracy"), ("test", "test_accuracy"), ("multi-crop", "test_accuracy_tta"))
    accuracies = [f"{name} {record[key]:.1%}" for name, key in named if record[key] is not None]
    return f"finished, {', '.join(accuracies)}, {record['seconds']['total']:.0f} s"


def _list(arguments) -> None:
    if arguments.missing:
        from shathenet_utils import queue

        print(queue.table())
        return
    for experiment in book.EXPERIMENTS.values():
        paths = [experiment.path(v, seed) for v in experiment.variants for seed in experiment.seeds_of(v)]
        there = sum(path.exists() for path in paths)
        planned = ", planned" * experiment.planned
        print(f"{experiment.name}: {experiment.question} {there} of {len(paths)} runs recorded{planned}")


def _table(arguments) -> None:
    if arguments.name:
        print(book.load_experiment(arguments.name).load().table().to_string())
        return
    from shathenet_utils.benchmarks import tables

    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    versions, seconds = ledger.readme_table(), tables.readme_table()
    written = ledger.with_table(text, versions)
    written = ledger.with_table(written, seconds, tables.README_MARKS)
    print(f"{versions}\n\n{seconds}")
    if written != text:
        files.write_text(readme, written)
        print(f"{readme} now holds these tables.")
    image = ROOT / "figures" / "ledger.png"
    with files.writing_to(image), files.written_whole(image) as temporary:
        temporary.write_bytes(ledger.ledger_figure().png())
    print(f"{image} shows the ledger.")


def _check(arguments) -> None:
    wrong = evidence.check()
    print("\n".join(wrong) if wrong else "Every declared run has its record, and every record its declaration.")
    if wrong:
        sys.exit(1)


def _rates(arguments) -> None:
    said = learning_rates.settle(book.EXPERIMENTS.values())
    print("\n".join(said) or f"{learning_rates.path()} is what the records of the sweeps say.")


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number of at least 1, not {text!r}")
    return int(text)


def _bench(arguments) -> None:
    from shathenet_utils.benchmarks import bench, tables

    options = {"record": arguments.record, "again": arguments.again}
    try:
        if arguments.name in book.EXPERIMENTS:
            experiment = book.load_experiment(arguments.name)
            if arguments.run:
                results = [bench.whole_run(experiment, experiment.variant(arguments.run), **options)]
            else:
                results = [bench.variants(experiment, arguments.rounds, **options)]
        elif arguments.name == "scaling":
            results = [_scaling(arguments.cluster or "auto", **options)]
        else:
            names = [arguments.name] if arguments.name else [*bench.measurable(), *bench.NETWORKS]
            if not set(names) <= {*bench.SETS, *bench.NETWORKS}:
                known = ", ".join([*bench.NETWORKS, *bench.SETS, "scaling", *book.EXPERIMENTS])
                raise ValueError(f"There is no measurement {arguments.name!r}; there are {known}.")
            options |= {"rounds": arguments.rounds}
            results = [bench.measured(name, **options) for name in names if name in bench.SETS]
            results += bench.networks([name for name in names if name in bench.NETWORKS], **options)
    except bench.BenchError as error:
        sys.exit(f"error: {error}")
    print(tables.table(results).to_string())


def _scaling(address: str, **options) -> dict:
    from shathenet_utils import cluster

    try:
        return cluster.scaling(address, **options)
    except cluster.ClusterError as error:
        sys.exit(f"error: {error}")


def _facts(arguments) -> None:
    from shathenet_utils import facts

    counted = facts.cifar10_facts()
    files.write_text(facts.PATH, files.to_json(counted))
    print(f"{facts.PATH} written.")


def _rerun(arguments) -> None:
    from shathenet_utils import rerun

    try:
        rerun.rerun_all(arguments.names, anew=arguments.anew)
    except rerun.RerunError as error:
        sys.exit(f"error: {error}")


def _plainer(error: UnicodeEncodeError) -> tuple[str, int]:
    """What a terminal without a letter shows in its place: "12 - 13" for "12 – 13"."""
    letters = error.object[error.start : error.end].translate({ord("–"): "-", ord("−"): "-", ord("→"): "->"})
    return unicodedata.normalize("NFKD", letters).encode("ascii", "replace").decode(), error.end


codecs.register_error("plainer", _plainer)


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and do what it says; what goes wrong is one sentence on stderr and exit code 1."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="plainer")
    parser = argparse.ArgumentParser(prog="python -m shathenet_utils", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train runs of your own that are not there yet")
    train.add_argument("name")
    train.add_argument("--variant", action="append", help="only this variant; may be given more than once")
    train.add_argument("--seeds", type=_seeds, help="for example 0-4 (default: the experiment's)")
    train.add_argument("--budget", choices=BUDGETS, default="full")
    train.add_argument("--record", action="store_true", help="write the book's evidence, data/records/")
    train.add_argument("--again", action="store_true", help="train again what is there already")
    train.add_argument("--cluster", metavar="ADDRESS", help="on a Ray cluster: auto, host:port or ray://host:port")
    train.add_argument(
        "--cores", type=_cores, metavar="N", help="cores per run there (default: 1, for --record as declared)"
    )
    train.add_argument("--watched", action="store_true", help=argparse.SUPPRESS)  # by `worker`
    train.set_defaults(do=_train)
    queue = commands.add_parser("queue", help="train and record every declared run that has no record yet")
    queue.add_argument("names", nargs="*", metavar="NAME", help="experiments, in this order; all where none is named")
    queue.set_defaults(do=_queue)
    listed = commands.add_parser("list", help="the declared experiments")
    listed.add_argument("--missing", action="store_true", help="runs without a record, and the hours they may take")
    listed.set_defaults(do=_list)
    table = commands.add_parser(
        "table", help="an experiment's results; without a name, the README's record table, rewritten"
    )
    table.add_argument("name", nargs="?")
    table.set_defaults(do=_table)
    commands.add_parser("check", help="records against declarations").set_defaults(do=_check)
    commands.add_parser("rates", help="write down the learning rates that the sweeps chose").set_defaults(do=_rates)
    bench = commands.add_parser("bench", help="time whole epochs: the book's loop, Keras's fit, PyTorch")
    bench.add_argument(
        "name",
        nargs="?",
        help="a network; machine, waterfall, profile, profile_thin, profile_wide, growth, vectors, waits, features or "
        "sources; scaling, of a cluster; or an experiment: its variants",
    )
    bench.add_argument("--cluster", metavar="ADDRESS", help="of scaling: a Ray cluster (default: auto)")
    bench.add_argument("--rounds", type=_at_least_one, default=5, help="epochs of each, in turn (default: 5)")
    bench.add_argument("--run", metavar="VARIANT", help="of an experiment: a whole run, and the same in PyTorch")
    bench.add_argument("--again", action="store_true", help="measure again what is measured already")
    bench.add_argument("--record", action="store_true", help="write the book's evidence, data/records/bench/")
    bench.set_defaults(do=_bench)
    commands.add_parser("facts", help="count the facts about CIFAR-10 anew (two minutes)").set_defaults(do=_facts)
    rerun = commands.add_parser("rerun", help="execute the notebooks in place; store outputs and figures")
    rerun.add_argument("names", nargs="*", metavar="NOTEBOOK", help="for example 01; all where none is named")
    rerun.add_argument("--anew", action="store_true", help="compute also what takes minutes and is recorded")
    rerun.set_defaults(do=_rerun)
    chosen = parser.parse_args(arguments)
    try:
        chosen.do(chosen)
    except (ValueError, DatasetError, files.FileError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
