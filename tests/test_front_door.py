"""What a stranger meets first: README, set-up, the two commands, and a repository that stays small."""

import fcntl
import http.server
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
import urllib.error
import urllib.request
from collections import namedtuple

import pytest

import bootstrap
from shathenet_utils import ROOT, lesson
from shathenet_utils.benchmarks import tables
from shathenet_utils.book import ledger

README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = ("README.md", "data/README.md")
MEGABYTES_IN_ALL = 60


def tracked():
    """The files that git tracks; without git or its history, those of the folder that it would not ignore."""
    found = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, cwd=ROOT, check=True).stdout
    return [ROOT / name for name in found.split("\0") if name and (ROOT / name).is_file()]


def make(*arguments, **environment):
    return subprocess.run(
        ["make", "--no-print-directory", *arguments], capture_output=True, text=True, cwd=ROOT, timeout=900,
        env=os.environ | environment,
    )  # fmt: skip


# The README and the repository


def test_the_readmes_tables_are_what_the_records_say():
    written = ledger.with_table(README, ledger.readme_table())
    written = ledger.with_table(written, tables.readme_table(), tables.README_MARKS)
    assert written == README, "Write it anew: make table."


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_and_image_of_a_document_is_there(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)]+)\)", text)
    local = [link for link in links if not link.startswith(("http:", "https:"))]
    assert all(((ROOT / document).parent / link).exists() for link in local), local


def test_every_image_of_the_readme_has_words():
    words = re.findall(r"!\[([^\]]*)\]", README)
    assert words
    assert all(len(text) > 40 for text in words)


def test_every_notebook_is_on_the_readmes_map():
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        assert f"(notebooks/{path.name})" in README


def test_every_target_that_is_told_exists():
    lines = re.findall(r"^([a-z][a-z -]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    targets = {target for line in lines for target in line.split()}
    told = set(re.findall(r"make ([a-z][a-z-]*)", README + make("help").stdout))
    told -= {"lists", "alone", "does", "these"}  # words that follow the word make
    assert {"lab", "test", "test-all", "rerun"} <= told <= targets


def test_the_repository_stays_small_and_holds_no_dataset():
    sizes = {path: path.stat().st_size for path in tracked()}
    assert sum(sizes.values()) < MEGABYTES_IN_ALL * 1e6
    assert max(sizes.values()) < 4e6
    names = {path.name for path in sizes}
    assert not names & {"data_batch_1", "test_batch", "batches.meta", "cifar-10-python.tar.gz"}


def test_ci_runs_the_readmes_test_command():
    script = (ROOT / ".ci" / "run").read_text()
    assert script.rstrip().endswith("make test")
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_every_package_that_is_declared_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pinned = {line.split("==")[0] for line in lines if line and line[0] not in "# "}
    assert {re.split(r"[~=<>]", requirement)[0] for requirement in declared} <= pinned
    assert all("==" in line for line in lines if line and line[0] not in "# ")
    assert "pyproject.toml --all-extras --universal --python-version 3.11" in lines[1]


def test_the_book_runs_on_the_pythons_it_names():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    low, high = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", project["requires-python"]).groups()
    assert bootstrap.SUPPORTED == tuple((3, minor) for minor in range(int(low), int(high)))


# Setting up


@pytest.fixture
def book(tmp_path, monkeypatch):
    """An empty book to set up: its folder. Nothing of this one's environment or of the user's pip is used."""
    folder = tmp_path / "a book"
    folder.mkdir()
    (folder / "requirements.txt").write_text("# by hand\nabsl-py==2.5.1\n")
    (folder / "pyproject.toml").write_text('[project]\nname = "a-book"\nversion = "1"\n')
    (folder / "bootstrap.py").write_text((ROOT / "bootstrap.py").read_text())
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    for name, place in (("ROOT", ""), ("VENV", ".venv"), ("LOG", ".venv/setup.log"), ("STAMP", ".venv/set-up-from")):
        monkeypatch.setattr(bootstrap, name, str(folder / place))
    return folder


def set_up(book, *, python=sys.executable, **environment):
    return subprocess.Popen(
        [python, book / "bootstrap.py"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | environment, start_new_session=True,
    )  # fmt: skip


def one_sentence(error):
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert error.rstrip().endswith(".")
    return error


def test_a_second_set_up_takes_a_moment():
    assert make("set-up").returncode == 0
    begun = time.perf_counter()
    again = make("set-up")
    assert (again.returncode, again.stdout) == (0, "")
    assert time.perf_counter() - begun < 2


def test_without_a_package_index_one_sentence_says_so(book):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: it refuses
        process = set_up(book, PIP_INDEX_URL=f"http://127.0.0.1:{closed.getsockname()[1]}/simple")
        _, error = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "No package index answers: connect to the internet, or set PIP_INDEX_URL" in one_sentence(error)
    assert not (book / ".venv" / "set-up-from").exists()
    assert "Looking in indexes: http://127.0.0.1" in (book / ".venv" / "setup.log").read_text()


def test_ctrl_c_while_setting_up_is_told_and_leaves_no_finished_set_up(book):
    asked = threading.Event()

    class Silent(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.set()
            time.sleep(10)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Silent) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        server.block_on_close = False
        process = set_up(book, PIP_INDEX_URL=f"http://127.0.0.1:{server.server_address[1]}/simple")
        assert asked.wait(60)
        os.killpg(process.pid, signal.SIGINT)
        _, error = process.communicate(timeout=60)
        server.shutdown()
    assert process.returncode == 1
    assert error.strip() == "Stopped; the same command goes on from here."
    assert not (book / ".venv" / "set-up-from").exists()


def test_a_second_set_up_at_the_same_time_waits(book):
    handle = os.open(book, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    process = set_up(book, PIP_INDEX_URL="http://127.0.0.1:9/simple")
    try:
        assert process.stdout.readline() == "Another set-up is at work here; waiting for it.\n"
        assert process.poll() is None
        (book / ".venv" / "bin").mkdir(parents=True)
        (book / ".venv" / "bin" / "python").symlink_to(sys.executable)
        (book / ".venv" / "set-up-from").write_text(bootstrap.wanted())  # the first has done it
    finally:
        os.close(handle)
    said, error = process.communicate(timeout=60)
    assert (process.returncode, said, error) == (0, "", "")


def test_a_set_up_is_done_again_when_what_it_came_from_changes(book, monkeypatch):
    assert not bootstrap.is_ready()
    (book / ".venv" / "bin").mkdir(parents=True)
    (book / ".venv" / "bin" / "python").symlink_to(sys.executable)
    (book / ".venv" / "set-up-from").write_text(bootstrap.wanted())
    assert bootstrap.is_ready()
    for name in ("requirements.txt", "pyproject.toml", "bootstrap.py"):
        before = (book / name).read_text()
        (book / name).write_text(before + "\n")
        assert not bootstrap.is_ready()
        (book / name).write_text(before)
    monkeypatch.setattr(bootstrap, "ROOT", str(book.rename(book.with_name("moved"))))
    assert not bootstrap.is_ready()


def test_a_virtual_environment_of_another_python_is_not_used(book):
    assert not bootstrap.usable_venv()
    fake = book / ".venv" / "bin" / "python"
    fake.parent.mkdir(parents=True)
    fake.write_text("#!/bin/sh\nexit 1\n")
    fake.chmod(0o755)
    assert not bootstrap.usable_venv()


@pytest.fixture
def old_python(monkeypatch):
    monkeypatch.setattr(sys, "version_info", namedtuple("Version", "major minor micro")(3, 10, 1))


def test_a_wrong_python_is_told_what_is_right(book, old_python, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(book))
    with pytest.raises(SystemExit) as left:
        bootstrap.main()
    assert "This book needs Python 3.11, 3.12 or 3.13, and here is only" in one_sentence(f"{left.value}\n")
    assert not (book / ".venv").exists()


def test_a_right_python_beside_a_wrong_one_is_found(book, old_python, monkeypatch):
    for name, answer in (("python3.13", "exit 1"), ("python3.12", "exit 0"), ("python3.11", "exit 0")):
        (book / name).write_text(f"#!/bin/sh\n{answer}\n")  # the first only stands there, as a version manager's may
        (book / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(book))
    assert bootstrap.supported_python() == str(book / "python3.12")


def test_too_small_a_disk_is_told_before_anything_is_written(book, monkeypatch):
    monkeypatch.setattr(bootstrap.shutil, "disk_usage", lambda _: namedtuple("Usage", "free")(1.5e9))
    with pytest.raises(SystemExit, match=r"error: Only 1\.5 GB are free where .* lies: the packages need 4\."):
        bootstrap.main()
    assert not (book / ".venv").exists()


def test_an_intel_mac_is_told_that_there_is_no_tensorflow_for_it(book, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(bootstrap.platform, "machine", lambda: "x86_64")
    with pytest.raises(SystemExit, match="error: There is no TensorFlow 2.21 for Intel Macs"):
        bootstrap.main()


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "The disk is full"),
        ("ERROR: Could not find a version that satisfies x (from versions: none)", "No package index answers"),
        ("ERROR: No matching distribution found for tensorflow==2.21.0", "The package index has no file of a package"),
        (
            "The virtual environment was not created because ensurepip is not available",
            "This Python can't make virtual",
        ),
        ("something\nelse broke.\n", "says: else broke."),
        ("", "says: nothing."),
    ],
)
def test_what_pip_says_is_put_in_one_sentence(said, sentence):
    assert sentence in bootstrap.reason(said)
    assert "\n" not in bootstrap.reason(said)


def test_progress_is_counted_with_time_left(book, capsys):
    bootstrap.show_progress(["Collecting absl-py==2.5.1\n", "Installing collected packages: absl-py\n"])
    assert capsys.readouterr().out.splitlines() == [
        "Packages: 1 of 1, 0 s left",
        "Packages: installing them, half a minute more",
    ]


def test_without_any_python_make_says_what_to_install():
    found = make("set-up", "PYTHON=python-that-is-not-here")
    assert found.returncode != 0
    assert "error: There is no python-that-is-not-here here: install Python 3.11, 3.12 or 3.13." in found.stderr


# Opening the book


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_make_lab_serves_the_first_page_on_this_machine_only_behind_a_token(tmp_path):
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    settings = {
        name: str(tmp_path / name) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    }
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            ["make", "--no-print-directory", "lab", f"PORT={port}", "BROWSER=no"], cwd=ROOT, stdout=log, stderr=log,
            env=os.environ | settings | {"HOME": str(tmp_path)}, start_new_session=True,
        )  # fmt: skip
    try:
        said = ""
        for _ in range(240):
            said = (tmp_path / "log").read_text()
            if found := re.search(rf"http://127\.0\.0\.1:{port}(/\S+)\?token=(\w+)", said):
                break
            assert process.poll() is None, said
            time.sleep(0.5)
        assert found, said
        assert found[1] == "/lab/tree/notebooks/00_start_here.ipynb"
        with urllib.request.urlopen(f"{address}/api/contents/notebooks?token={found[2]}", timeout=30) as answer:
            assert b"00_start_here.ipynb" in answer.read()
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{address}/api/contents/notebooks", timeout=30)
        assert refused.value.code == 403
        busy = make("lab", f"PORT={port}", "BROWSER=no", HOME=str(tmp_path), **settings)
        assert busy.returncode != 0
        assert f"port {port}" in busy.stderr
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)


def test_a_bug_report_tells_the_books_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"book: {project['version']}" in lesson.environment().words


@pytest.mark.slow
def test_a_fresh_clone_sets_itself_up(tmp_path):
    subprocess.run(["git", "clone", "--quiet", ROOT, tmp_path / "clone"], check=True)
    found = subprocess.run(
        ["make", "set-up"], cwd=tmp_path / "clone", capture_output=True, text=True, timeout=900,
        env=os.environ | {"HOME": str(tmp_path)},
    )  # fmt: skip
    assert (found.returncode, found.stderr) == (0, "")
    python = tmp_path / "clone" / ".venv" / "bin" / "python"
    listed = subprocess.run([python, "-m", "shathenet_utils", "check"], cwd=tmp_path, capture_output=True, text=True)
    assert listed.stdout.startswith("Every declared run has its record")
    status = subprocess.run(["git", "status", "--porcelain"], cwd=tmp_path / "clone", capture_output=True, text=True)
    assert status.stdout == ""


@pytest.mark.slow
@pytest.mark.parametrize("system", ["x86_64-manylinux_2_28", "aarch64-manylinux_2_28", "aarch64-apple-darwin"])
@pytest.mark.parametrize("version", ["{}.{}".format(*version) for version in bootstrap.SUPPORTED])
def test_every_pinned_package_has_a_wheel_for_every_system(tmp_path, system, version):
    command = [sys.executable, "-m", "uv", "pip", "compile", "requirements.txt", "--quiet", "--only-binary", ":all:"]
    command += ["--python-version", version, "--python-platform", system, "--output-file", tmp_path / "resolved.txt"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert found.returncode == 0, found.stderr
    assert "tensorflow==2.21" in (tmp_path / "resolved.txt").read_text()
