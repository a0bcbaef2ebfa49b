# Every target sets up .venv by itself; `make` alone says what there is.
PYTHON ?= python3
PORT ?= 8888
IN_VENV = .venv/bin/python
TEST = $(IN_VENV) -m pytest

.PHONY: help set-up extras lab test test-all lint browser typescript lens-image rerun train queue bench table check facts requirements
.DEFAULT_GOAL := help

help:
	@echo "make lab        open the book in JupyterLab (PORT=8888; BROWSER=no serves it without opening a window)"
	@echo "make test       lint, unit tests, every notebook, the browser: what a change should pass"
	@echo "make test-all   the same and what takes longer"
	@echo "make rerun      execute every notebook in place and store its outputs and figures"
	@echo "make train      train runs of your own (NAME=v1_0, OPTIONS='--variant adam_1e-3 --seeds 0')"
	@echo "make queue      train and record every declared run that has no record yet (NAMES='dense v1_1_size')"
	@echo "make bench      time whole epochs: the book's loop, Keras's fit, PyTorch (an hour; OPTIONS=v1.0 for one)"
	@echo "make table      write the README's tables from the records"
	@echo "make check      hold the records against their declarations"
	@echo "make lens-image     draw the README's image of the lens anew"
	@echo "make facts      count the facts about CIFAR-10 anew"
	@echo "make requirements   compile requirements.txt from pyproject.toml"

set-up:
	@command -v $(PYTHON) >/dev/null || { echo "error: There is no $(PYTHON) here: install Python 3.11, 3.12 or 3.13." >&2; exit 1; }
	@$(PYTHON) bootstrap.py

extras: set-up
	@$(IN_VENV) -m uv pip install --quiet $(patsubst %,-r %,$(wildcard requirements-*.txt))

lab: set-up
	@$(IN_VENV) -m jupyterlab --ip=127.0.0.1 --port=$(PORT) --ServerApp.root_dir="$(CURDIR)" \
		--LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb \
		--ServerApp.contents_manager_class=shathenet_utils.lab.PageManager \
		$(if $(filter no,$(BROWSER)),--no-browser) $(if $(filter 0,$(shell id -u)),--allow-root) \
		$(if $(filter command,$(findstring command,$(origin PORT))),--ServerApp.port_retries=0)

test: lint browser
	@$(TEST)

test-all: lint browser typescript extras
	@$(TEST) -m "not alone"
	@$(TEST) -m alone -n 0

lint: set-up
	@$(IN_VENV) -m ruff check --quiet .
	@$(IN_VENV) -m ruff format --check --quiet .

browser: set-up
	@$(IN_VENV) tests/chromium.py

typescript: set-up
	@$(IN_VENV) tests/typescript.py

lens-image: browser
	@$(IN_VENV) tests/lens_image.py

rerun table check facts: set-up
	@$(IN_VENV) -m shathenet_utils $@

bench: extras
	@$(IN_VENV) -m shathenet_utils bench $(OPTIONS)

train: set-up
	@test -n "$(NAME)" || { echo "error: Say which experiment, for example: make train NAME=v1_0." >&2; exit 1; }
	@$(IN_VENV) -m shathenet_utils train $(NAME) $(OPTIONS)

queue: set-up
	@$(IN_VENV) -m shathenet_utils queue $(NAMES)

requirements: set-up
	@$(IN_VENV) -m uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --quiet --output-file requirements.txt
