.DEFAULT_GOAL := help
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
# As constraints too: older pips look for the lock's version only where a package is asked for without an extra.
LOCKED := --constraint requirements.lock --requirement requirements.lock
PYTHON ?= $(shell for python in python3.11 python3.12 python3 python; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo $$python && break; done)

.PHONY: help demo up test chaos fleet soak bench coverage mutants evidence lint rules format lock clean

help: ## show the commands
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1 \t\2/p' $(MAKEFILE_LIST)

demo: $(VENV)/installed ## make the sample film; the last line is its path
	@$(BIN)/tabario demo

up: $(VENV)/installed ## start the stack and keep it running
	@$(BIN)/tabario up

PYTEST := pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder
test: lint ## lint and run the tests
	$(BIN)/$(PYTEST)

SECONDS ?= 90
chaos: $(VENV)/installed ## break the running stack on purpose (SECONDS=600 for longer, QUICK=1 for fast faults); writes build/chaos.json
	@$(BIN)/python -m tests.chaos --seconds $(SECONDS) $(if $(QUICK),--quick)

fleet: $(VENV)/installed ## run docker-compose.yml as processes, on two workers and a bucket: kill one, restart every service
	$(BIN)/pytest tests/fleet -s

bench: $(VENV)/installed ## measure against baselines and limits (ONLY=name for one); writes build/bench.json
	@$(BIN)/python -m tests.benchmarks --only "$(ONLY)"

USERS ?= 500
soak: $(VENV)/installed ## let 500 users submit to four workers (SECONDS=1800 for longer); writes build/soak.json (USERS=24 for what a job costs: soak-24.json)
	@$(BIN)/python -m tests.fleet.soak --seconds $(SECONDS) --users $(USERS)

coverage: $(VENV)/installed ## which branches of the core and the front door the tests take; writes build/coverage.json
	$(BIN)/coverage erase
	$(BIN)/coverage run -m $(PYTEST); tests=$$?; \
	$(BIN)/coverage combine --quiet && $(BIN)/coverage json --quiet --fail-under=0 -o build/coverage.json && \
	$(BIN)/coverage report && exit $$tests

mutants: $(VENV)/installed ## change the slots in one place at a time: does a test notice? (SECONDS=3600 stops then); writes build/mutants.json
	@$(BIN)/python -m tests.mutation $(if $(filter command line,$(origin SECONDS)),--seconds $(SECONDS))

evidence: $(VENV)/installed ## write docs/evidence.* and the tables of README and docs/scaling.md from what was measured
	@$(BIN)/python -m tests.benchmarks.evidence

lint: $(VENV)/installed ## types, style, arrows between packages
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

rules: $(VENV)/installed ## render what Prometheus, Alertmanager and Grafana read, from the settings
	@$(BIN)/python -m monitoring.rules
	@$(BIN)/python -m monitoring.grafana

format: $(VENV)/installed ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: ## write requirements.lock and requirements.run.lock anew from pyproject.toml
	PATH="$(BIN):$$PATH" uv pip compile --quiet --universal --python-version 3.11 --extra embedded --extra otel --extra docker --extra dev \
		--generate-hashes --no-emit-index-url --custom-compile-command "make lock" pyproject.toml -o requirements.lock
	PATH="$(BIN):$$PATH" uv pip compile --quiet --universal --python-version 3.11 --extra docker --constraint requirements.lock \
		--generate-hashes --no-emit-index-url --custom-compile-command "make lock" pyproject.toml -o requirements.run.lock

clean: ## remove the stack's state and all build products, but not .venv
	rm -rf .tabario build mutants .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .schemathesis

$(VENV)/installed: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "make: Python 3.11 or 3.12 is needed and neither is on PATH" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the locked packages into $(VENV) (once; takes a minute or two)."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes $(LOCKED)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
