# The commands people type. Each installs what it needs first.
.PHONY: setup up test test-hub test-system test-slow bench lint

PYTHON ?= python3
# Integration tests that start all they need themselves: as many as make both halves take equally long.
APART := tests/integration/iri tests/integration/training tests/integration/test_oidc.py

setup:
	@$(PYTHON) hub_config/setup_environment.py

up: setup
	@.venv/bin/workbench up $(if $(PORT),--port $(PORT)) $(if $(STATE),--state $(STATE))

test: setup
	@# Two processes at a time: first of what needs no server, each on one core, then of what does, which share nothing but the machine.
	@OMP_NUM_THREADS=1 .venv/bin/pytest -q -m "not slow" -n 2 --dist loadfile tests/unit tests/contract; alone=$$?; \
	$(MAKE) --no-print-directory --jobs=2 --output-sync --keep-going test-hub test-system && exit $$alone

test-hub: setup
	@.venv/bin/pytest -q -m "not slow" tests/integration tests/browser $(addprefix --ignore=,$(APART))

test-system: setup
	@.venv/bin/pytest -q -m "not slow" tests/system $(APART)

test-slow: setup
	@.venv/bin/pytest -q -m slow

bench: setup
	@for script in tests/benchmarks/*.py; do .venv/bin/python $$script || exit 1; done

lint: setup
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports
