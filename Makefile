# Two commands matter: `make demo` and `make test`. Each makes what it needs, on a machine with Python 3.11 and make alone.
PYTHON ?= python3
ARGS ?=
UV_VERSION := 0.13.9
UV := .tools/uv/bin/uv
VENV := .venv
BIN := $(VENV)/bin
SAM := .tools/sam/bin/sam
CHECKOV := .tools/checkov/bin/checkov
PARLIAMENT := .tools/security/bin/parliament
MINISTACK := .tools/ministack/bin/ministack
# Nothing here may reach a real account, ask for one, or phone home.
export SAM_CLI_TELEMETRY := 0
export AWS_EC2_METADATA_DISABLED := true
# Where an image forbids bytecode (PYTHONDONTWRITEBYTECODE), each of many processes would compile all it imports.
unexport PYTHONDONTWRITEBYTECODE
# Behind a proxy with a certificate of its own the machine knows best whom to trust.
export UV_SYSTEM_CERTS ?= true
export PATH := $(CURDIR)/.tools/uv/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help demo account venv test check unit lint typecheck lines template e2e build bench chaos weeks killed speed cost docs release sbom audit lock schema reference pictures screenshots clean

help:  ## Show what can be made
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.done $(SAM) $(MINISTACK)  ## Deploy the template here and let it scale real traffic: make demo ARGS="--hours 24"
	@$(BIN)/python -m cli.demo --sam $(SAM) --ministack-python $(dir $(MINISTACK))python $(ARGS)

account: $(VENV)/.done $(SAM) $(MINISTACK)  ## Deploy the template into an embedded account and keep it up to play with
	@$(BIN)/python -m local_account --sam $(SAM) --ministack-python $(dir $(MINISTACK))python $(ARGS)

venv: $(VENV)/.done  ## The command line alone: .venv/bin/tidegate

test: check e2e  ## Everything CI runs

check: lint typecheck template unit lines

# File by file in their order, for fixtures are a module's: the long ones, replays, come before those of small parts.
unit: $(VENV)/.done $(MINISTACK) .aws-sam/build/.done  ## Tests, with the branch-coverage gate on src/core
	$(BIN)/python -m pytest -m "not e2e" -n 2 --dist loadfile --no-loadscope-reorder --cov --cov-report=term-missing:skip-covered $(ARGS)

e2e: $(VENV)/.done $(SAM) $(MINISTACK) .aws-sam/build/.done  ## Deploy the template into an embedded account and test it there
	$(BIN)/python -m pytest tests/e2e -m e2e -n 2 $(ARGS)

lint: $(VENV)/.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

typecheck: $(VENV)/.done
	$(BIN)/mypy

# Held as docs/adr/0006 says.
MOST_LINES = 8420
lines:  ## Lines of Python by folder
	@find src tools bench tests -name '*.py' | xargs wc -l | awk '$$2 != "total" {split($$2, part, "/"); \
	  sum[part[1]] += $$1; if (part[3] != "") sum[part[1] "/" part[2]] += $$1} \
	  END {for (name in sum) printf "%7d  %s\n", sum[name], name}' | sort -k2
	@test $$(find src -name '*.py' | xargs cat | wc -l) -le $(MOST_LINES) || { echo "src/ has more than $(MOST_LINES) lines: docs/adr/0006"; exit 1; }

template: $(VENV)/.done $(SAM) $(CHECKOV) $(PARLIAMENT)  ## Lint template.yaml as written and as SAM translates it
	$(SAM) validate --lint
	$(BIN)/python tools/env/lint_template.py --checkov $(CHECKOV)

build: .aws-sam/build/.done  ## Build the Lambda artefact

.aws-sam/build/.done: $(SAM) template.yaml samconfig.toml tools/env/finish_artefact.py $(shell find src -name '*.py' -o -name '*.json' -o -name requirements.txt)
	$(SAM) build
	$(PYTHON) tools/env/finish_artefact.py .aws-sam/build 3.13
	@touch $@

# Of a folder of your own: make bench TRACES=DIR JSON=FILE
bench: $(VENV)/.done  ## Every policy on every trace: writes docs/benchmarks*.md; then prints what `speed` and `cost` do
	$(BIN)/python -m bench.benchmarks $(if $(TRACES),--traces $(TRACES)) $(if $(JSON),--json $(JSON))
	$(if $(TRACES),,$(MAKE) speed cost)

# Half an hour of one core; fewer cells and events: make chaos ARGS="--cells 500 --events 2000"
chaos: $(VENV)/.done  ## Every call of every pass x every fault, a kill after each, and mutated events
	$(BIN)/python -m tests.chaos $(ARGS)

weeks: $(VENV)/.done  ## Random fleets, each for two weeks; many short lives: make weeks ARGS="--lives 100 --days 0"
	$(BIN)/python -m tests.chaos.weeks $(ARGS)

killed: $(VENV)/.done  ## The controller dies at random minutes of the traces: what the next 24 hours cost
	$(BIN)/python -m bench.killed $(ARGS)

speed: $(VENV)/.done .aws-sam/build/.done  ## Size and import time of the artefact, time of a pass, time of a replay
	$(BIN)/python -m bench.artefact
	$(BIN)/python bench/replay.py
	$(BIN)/python -m bench.scale

cost: $(VENV)/.done  ## What the controller costs a month: calls of a simulated day x list prices
	$(BIN)/python -m bench.cost $(ARGS)

sbom: $(PARLIAMENT)  ## Write out/tidegate.cdx.json: what runs in Lambda, in CycloneDX
	@mkdir -p out
	.tools/security/bin/cyclonedx-py requirements src/requirements.txt --output-reproducible --of JSON -o out/tidegate.cdx.json

release: $(VENV)/.done  ## Check, build, sum and tag a release: make release VERSION=0.2.0 ARGS=--dry-run
	@$(BIN)/python tools/env/release.py "$(VERSION)" $(ARGS)

audit: $(PARLIAMENT)  ## Ask PyPI for known vulnerabilities of what runs in Lambda (needs the internet)
	.tools/security/bin/pip-audit --requirement src/requirements.txt --require-hashes --disable-pip --strict

docs: $(VENV)/.done  ## Write into README and docs what their commands print: make docs ARGS=docs/overrides.md
	@$(BIN)/python -m tests.docs $(ARGS)

reference: $(VENV)/.done  ## Write docs/cli.md from the commands
	$(BIN)/python -m cli.reference > docs/cli.md

schema: $(VENV)/.done  ## Write docs/fleet.schema.json from core.policy
	$(BIN)/tidegate policy schema > docs/fleet.schema.json

pictures: docs/images/architecture.svg  ## Draw the architecture anew from its text (needs Graphviz: apt-get install graphviz)

screenshots: $(VENV)/.done  ## Take the pictures of reports in README and docs anew (needs Chromium)
	$(BIN)/python -m tests.browser.pictures

# The hash tells a test that picture and text belong together.
%.svg: %.dot
	dot -Tsvg $< | sed -e '/^<!-- Generated by/,/-->$$/d' -e 's/<title>tidegate</<title>How Tidegate works</' > $@
	echo "<!-- drawn from sha256:$$(sha256sum $< | cut -d' ' -f1) -->" >> $@

# Hashed locks without host names; one set of pins serves Python 3.11 to 3.13.
COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate
lock: $(UV)  ## Renew the lock files after a change of pyproject.toml
	$(COMPILE) pyproject.toml -o src/requirements.txt
	$(COMPILE) pyproject.toml --group dev -c src/requirements.txt -o requirements.lock
	$(COMPILE) tools/env/sam.in -o tools/env/sam.lock
	$(COMPILE) tools/env/checkov.in -o tools/env/checkov.lock
	$(COMPILE) tools/env/ministack.in -o tools/env/ministack.lock
	$(COMPILE) tools/env/security.in -o tools/env/security.lock

$(UV):
	$(PYTHON) -m venv .tools/uv
	.tools/uv/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(VENV)/.done: requirements.lock pyproject.toml | $(UV)
	$(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV)
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

# Tool environments of their own: next to moto, aws-sam-cli would drag boto3 down.
.tools/sam/bin/sam: tools/env/sam.lock | $(UV)
	$(UV) venv --quiet --allow-existing --python $(PYTHON) .tools/sam
	$(UV) pip sync --quiet --python .tools/sam/bin/python --require-hashes tools/env/sam.lock
	@touch $@

.tools/checkov/bin/checkov: tools/env/checkov.lock | $(UV)
	$(UV) venv --quiet --allow-existing --python $(PYTHON) .tools/checkov
	$(UV) pip sync --quiet --python .tools/checkov/bin/python --require-hashes tools/env/checkov.lock
	@touch $@

.tools/security/bin/parliament: tools/env/security.lock | $(UV)
	$(UV) venv --quiet --allow-existing --python $(PYTHON) .tools/security
	$(UV) pip sync --quiet --python .tools/security/bin/python --require-hashes tools/env/security.lock
	@touch $@

.tools/ministack/bin/ministack: tools/env/ministack.lock | $(UV)
	$(UV) venv --quiet --allow-existing --python $(PYTHON) .tools/ministack
	$(UV) pip sync --quiet --python .tools/ministack/bin/python --require-hashes tools/env/ministack.lock
	@touch $@

clean:  ## Remove everything that was made
	rm -rf .venv .tools .aws-sam out .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage src/*.egg-info
