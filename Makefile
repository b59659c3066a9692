# Two habits: `make demo` and `make test`. Both make .venv where it is missing.
SHELL := bash
PYTHON ?= python3
VENV ?= .venv
RUN = PATH="$(CURDIR)/$(VENV)/bin:$$PATH" MLFLOW_DISABLE_TELEMETRY=true DVC_NO_ANALYTICS=1
LOCK = uv pip compile pyproject.toml --universal --python-version 3.11 --quiet --no-header --no-annotate
NO_CUDA = grep -vE '^(nvidia|cuda|triton)'

.DEFAULT_GOAL := help
.PHONY: help setup demo learn-demo test slow test-browser check bench lock clean

help: ## what each target does
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-14s %s\n", $$1, $$2}'

setup: $(VENV)/.ready ## make .venv from the lock file
$(VENV)/.ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@

demo: $(VENV)/.ready ## label, prepare, train, evaluate and simulate the default experiment; show the result
	$(RUN) dvc repro
	$(RUN) nnpx report --params params.yaml

learn-demo: $(VENV)/.ready ## the closed loop in a few minutes: a potential that finds its own training data
	mkdir -p outputs/learn-demo && cd outputs/learn-demo && $(RUN) nnpx learn experiment=learn_demo

test: $(VENV)/.ready ## the tests (under 15 minutes on 2 cores)
	$(RUN) OMP_NUM_THREADS=1 python -m pytest -q -n 2

slow: $(VENV)/.ready ## the tests that take minutes; installs what they need besides
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements-slow.lock
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || (apt-get update && apt-get install -y postgresql)
	$(RUN) OMP_NUM_THREADS=1 python -m pytest -q -m slow

test-browser: $(VENV)/.ready ## open the dashboard in headless Chromium (installed from Debian where missing)
	command -v chromium >/dev/null || (apt-get update && apt-get install -y chromium)
	$(RUN) python -m pytest -q -m browser

check: $(VENV)/.ready ## format, lint, types, dependency direction, spelling
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) mypy
	$(RUN) lint-imports
	$(RUN) codespell nnpx pipelines conf tests docs README.md CHANGELOG.md CONTRIBUTING.md

bench: $(VENV)/.ready ## compare times, memory and errors with the committed figures (under 10 minutes); tests/benchmarks/README.md says more
	$(RUN) OMP_NUM_THREADS=1 python tests/benchmarks/regression.py

lock: ## pin every dependency anew; torch's own CUDA packages are left to the build of torch that pip finds
	$(LOCK) --extra test --extra check --extra sweep --extra submitit --constraint <(echo torch==2.13.0) | $(NO_CUDA) > requirements.lock
	$(LOCK) --extra ray --extra s3 --extra services --extra pyscf --constraint requirements.lock | $(NO_CUDA) > requirements-slow.lock

clean: ## remove what runs leave behind; data, models and reports stay in DVC's cache
	rm -rf .nnpx multirun outputs mlruns
