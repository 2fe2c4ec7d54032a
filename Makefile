# The two commands: `make demo` shows dustd at work, `make test` proves it. Both set everything up first.

PYTHON ?= python3
BIN = .venv/bin

.PHONY: demo test soak soak-long fuzz lint docs dist man clean-venv

demo: .venv/demo-ready
	$(BIN)/dustd demo demo-out
	@echo "dustd and its libraries take $$(du -sm .venv | cut -f1) MB."

test: .venv/test-ready
	$(BIN)/python -m pytest

# The daemon against a randomised studio with kills and faults (docs/unattended.md); root adds the faults of disks.
soak: .venv/test-ready
	$(BIN)/python -m tests.soak.soak
	$(BIN)/python -m tests.soak.soak --server --frames 150 --minutes 3

soak-long: .venv/test-ready
	$(BIN)/python -m tests.soak.soak --frames 5000 --minutes 90 --seed 2

fuzz: .venv/test-ready
	$(BIN)/python -m tests.soak.fuzz --keep fuzz-kept

lint: .venv/dev-ready
	$(BIN)/ruff check dustd tests
	$(BIN)/ruff format --check dustd tests
	$(BIN)/lint-imports
	$(BIN)/mypy

# The pages of docs/ as a site in build/site; strict about links and pages that are left out.
docs: .venv/dev-ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

# Wheel and source distribution in dist/, checked.
dist: .venv/dev-ready
	rm -rf dist build/lib build/bdist.*
	$(BIN)/python -m build --outdir dist
	$(BIN)/twine check --strict dist/*

# The man page, from the parser; a test says when it is out of date.
man: .venv/test-ready
	COLUMNS=100 $(BIN)/argparse-manpage --module dustd.cli.parser --function build_parser --prog dustd --project-name dustd \
	  --manual-title "User Commands" --description "takes sensor dust out of RAW files while the shoot goes on" \
	  --format single-commands-section --output docs/dustd.1

# A stamp per purpose; an edited pyproject.toml or constraints.txt installs again. The demo needs the light core only
# (0.5 GB), the tests also what trains and runs on GPUs (6 GB).
.venv/demo-ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "dustd needs Python 3.11 or newer: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -c constraints.txt -e .
	touch $@

.venv/test-ready: .venv/demo-ready
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -c constraints.txt -e '.[train,cluster]' --group test
	touch $@

.venv/dev-ready: .venv/test-ready
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt --group dev
	touch $@

clean-venv:
	rm -rf .venv
