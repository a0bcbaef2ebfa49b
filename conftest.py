"""Under test nothing is downloaded, live cells train for seconds, and what a reader makes goes to a temporary folder.

It stands at the root because it serves both `tests/` and the notebooks, which nbval runs as tests.
"""

import os
import shutil
import signal
import tempfile
from pathlib import Path

import nbval.kernel
import pytest

from shathenet_utils import datasets, rerun

NEEDS_DATA = "needs CIFAR-10: set SHATHENET_DATA to the folder that holds it"


def pytest_xdist_auto_num_workers():
    """One process more than there are cores, since a fifth of their time is waiting; at most four, of 3 GB each."""
    return min(os.cpu_count() or 1, 3) + 1


def pytest_configure(config):
    config.shathenet_output = tempfile.mkdtemp(prefix="shathenet-test-")
    os.environ["SHATHENET_OUTPUT"] = config.shathenet_output
    os.environ["SHATHENET_OFFLINE"] = "1"
    os.environ.setdefault("SHATHENET_LIVE_SECONDS", "3")
    os.environ.pop("SHATHENET_FIGURES", None)
    # Started in the background of a script, we and our children would ignore Ctrl-C, which some tests press.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_unconfigure(config):
    shutil.rmtree(config.shathenet_output, ignore_errors=True)


class PageKernelManager(nbval.kernel.KernelManager):
    """What nbval starts a page's kernel with, for several at a time: without ports that another may take meanwhile.

    A kernel that has ended is not asked to end: nbval would wait for its answer for ever.
    """

    def __init__(self, **settings):
        self._sockets = tempfile.TemporaryDirectory(prefix="shathenet-kernel-")
        super().__init__(**rerun.socket_files(self._sockets.name), **settings)

    def shutdown_kernel(self, now=False, restart=False):
        super().shutdown_kernel(now=now or not self.is_alive(), restart=restart)


nbval.kernel.KernelManager = PageKernelManager


def pytest_collectstart(collector):
    if Path(collector.path).suffix == ".ipynb":
        collector.skip_compare += ("stderr",)  # warnings of native code; whether a cell failed shows all the same


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """A page's kernel draws no progress bars: a rerun doesn't store them, and whether they appear depends on what is
    installed and computed already."""
    if Path(item.path).suffix == ".ipynb":
        os.environ["TQDM_DISABLE"] = "1"
    else:
        os.environ.pop("TQDM_DISABLE", None)


LONGEST_FIRST = (
    "test_browser.py", "test_training.py", "test_pretrained.py", "test_survival.py", "test_bench.py", "test_queue.py",
    "test_checkpoints.py", "test_notebooks.py", "test_front_door.py", "test_cluster.py",
)  # fmt: skip
"""Begun first, so that no worker is left with one at the end; what waits for other processes beside what computes.
Then the pages, and the many short files last."""


def pytest_collection_modifyitems(items):
    rank = {name: number for number, name in enumerate(LONGEST_FIRST)}

    def place(item):
        path = Path(item.path)
        return rank.get(path.name, len(rank) + (path.suffix != ".ipynb"))

    items.sort(key=place)
    if not datasets.cifar10_is_here():
        for item in items:
            if item.get_closest_marker("needs_cifar10"):
                item.add_marker(pytest.mark.skip(reason=NEEDS_DATA))


def pytest_terminal_summary(terminalreporter):
    skipped = [report for report in terminalreporter.stats.get("skipped", ()) if NEEDS_DATA in str(report.longrepr)]
    if not datasets.cifar10_is_here():
        terminalreporter.section("CIFAR-10 is not here")
        terminalreporter.line("The notebooks' live cells ran on drawn shapes. Not checked without the data:")
        for name in sorted({report.nodeid for report in skipped}):
            terminalreporter.line(f"  {name}")
