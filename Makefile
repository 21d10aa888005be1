# Vidu Relay. `make` lists the targets. Needs: a POSIX shell, GNU make 3.81 (what macOS ships) or newer, Python 3.11 or
# newer (3.13 where there is one).

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENVS := .venvs
BIN := $(VENVS)/dev/bin
UV := $(VENVS)/bootstrap/bin/uv
ENVIRONMENTS := dev sam emulator runtime
# Only `make lint` needs it.
SCANNER := $(VENVS)/scan/.ready
# Where the template must be deployable: two ordinary ones, one with fewer services, GovCloud and China.
REGIONS := us-east-1 eu-central-1 ca-west-1 us-gov-west-1 cn-north-1

# Only the package registry is used: uv never fetches an interpreter. What pip trusts, uv trusts too.
export UV_PYTHON_DOWNLOADS := never
export UV_NO_PROGRESS := 1
export UV_SYSTEM_CERTS := 1
export SAM_CLI_TELEMETRY := 0
# Environments without bytecode cost seconds at every start.
unexport PYTHONDONTWRITEBYTECODE
unexport VIRTUAL_ENV
# Nothing here uses an AWS account.
unexport AWS_PROFILE
unexport AWS_DEFAULT_PROFILE

# What `make local` takes: PORT (4566), PROVIDER_URL (the simulator), PARAMETERS ("FirstCheckSeconds=3 …").
PORT ?=
PROVIDER_URL ?=
PARAMETERS ?=
# What `make demo` takes: KEEP, not empty, keeps its stack up.
KEEP ?=
# What `make chaos` takes: how many TASKS (300), and the SEED that everything is drawn from (any),
# and the PROVIDER's protocol (gateway).
TASKS ?=
SEED ?=
PROVIDER ?=
# What `make bench` takes: some of cold, copy, path, growth, queue, cost. All if empty.
PARTS ?=

.PHONY: help setup demo local rehearse chaos test unit simulate lint format requirements clean bench schemas

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(ENVIRONMENTS:%=$(VENVS)/%/.ready) ## Install into .venvs/ what the other targets, cli/relay and `sam` need
	@:

demo: setup ## Show a task on a bad day, through the whole stack on this machine [KEEP=1]
	@exec $(BIN)/python -m local.demo --keep '$(KEEP)'

local: setup ## Run the stack in the foreground [PORT=] [PROVIDER_URL=] [PARAMETERS="Name=value …"]
	@exec $(BIN)/python -m local --port '$(PORT)' --provider-url '$(PROVIDER_URL)' --parameters '$(PARAMETERS)'

rehearse: setup ## Run every command of docs/deploy.md on this machine, against the emulated AWS
	@exec $(BIN)/python -m local.rehearse

chaos: setup ## Run the chaos test on the whole stack, a few minutes [TASKS=] [SEED=] [PROVIDER=vidu]
	@PYTHONPATH=layers/shared exec $(BIN)/python -m local.chaos --tasks '$(TASKS)' --seed '$(SEED)' --provider '$(or $(PROVIDER),gateway)'

# On two cores. End-to-end tests mostly wait, so three stacks run side by side.
test: lint ## Run every check and every test
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/unit tests/functions tests/simulation tests/contract tests/local
	$(BIN)/python -m pytest -n 3 --dist loadfile tests/e2e tests/browser

unit: setup ## Run the tests of units and functions alone, about a minute
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/unit tests/functions

simulate: setup ## Explore the whole simulation, of which `make test` runs a sample (docs/simulation.md)
	$(BIN)/python -m pytest -n 2 --dist load tests/simulation --simulate all

lint: setup $(SCANNER) ## Run the static checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=layers/shared $(BIN)/lint-imports
	$(VENVS)/sam/bin/cfn-lint --regions $(REGIONS) -- template.yaml
	$(VENVS)/scan/bin/checkov

bench: setup ## Measure everything into benchmarks/RESULTS.md [PARTS="cold copy path growth queue cost"]
	@PYTHONPATH=layers/shared exec $(BIN)/python -m benchmarks $(PARTS)

schemas: setup ## Write what describes the API and the events: OpenAPI, AsyncAPI, JSON Schema, pydantic models
	@PYTHONPATH=layers/shared $(BIN)/python -m local.description.files

format: setup ## Rewrite the sources in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header

requirements: $(UV) ## Pin the newest versions that requirements/*.in allow
	$(COMPILE) --upgrade layers/dependencies/requirements.in -o layers/dependencies/requirements.txt >/dev/null
	for name in bootstrap scan $(ENVIRONMENTS); do \
	    $(COMPILE) --upgrade requirements/$$name.in -o requirements/$$name.txt >/dev/null || exit 1; \
	done

clean: ## Remove everything that was installed or built
	rm -rf $(VENVS) .aws-sam .local .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The first interpreter that runs, is new enough and can make environments. A version manager's stand-in on the
# PATH may exist without the version behind it, so each one is tried.
FIND_PYTHON = \
	for python in python3.13 "$$(pyenv prefix 3.13 2>/dev/null)/bin/python" python3 python3.14 python3.12 python3.11 \
	    "$$(pyenv root 2>/dev/null)"/versions/3.1[1-9]*/bin/python; do \
	    "$$python" -c 'import ensurepip, ssl, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; \
	    python=; \
	done; \
	if [ -z "$$python" ]; then \
	    echo 'No usable Python: needs 3.11 or newer (3.13 is best) with the venv module, as python3 on the PATH.' >&2; \
	    exit 1; \
	fi

$(UV): requirements/bootstrap.txt
	@$(FIND_PYTHON); echo "Setting up with $$("$$python" --version)"; \
	"$$python" -m venv --clear $(VENVS)/bootstrap
	@$(VENVS)/bootstrap/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

# Functions write no bytecode, as on Lambda: what runs them has it beforehand.
$(VENVS)/runtime/.ready: SYNC_OPTIONS := --compile-bytecode

$(VENVS)/%/.ready: requirements/%.txt $(UV)
	@echo 'Installing $(VENVS)/$*'
	@$(UV) venv --quiet --clear --python $(VENVS)/bootstrap/bin/python $(VENVS)/$*
	@VIRTUAL_ENV=$(VENVS)/$* $(UV) pip sync --quiet $(SYNC_OPTIONS) --require-hashes $<
	@touch $@
