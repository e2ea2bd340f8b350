# The commands people type. Each installs what it needs first.
.PHONY: setup up test test-slow bench lint

PYTHON ?= python3

setup:
	@$(PYTHON) hub_config/setup_environment.py

up: setup
	@.venv/bin/workbench up $(if $(PORT),--port $(PORT)) $(if $(STATE),--state $(STATE))

test: setup
	@# What needs no server runs on two cores at once; servers and browsers have the machine to themselves.
	@.venv/bin/pytest -q -m "not slow" -n 2 --dist loadfile tests/unit tests/contract; alone=$$?; \
	.venv/bin/pytest -q -m "not slow" tests/integration tests/browser tests/system && exit $$alone

test-slow: setup
	@.venv/bin/pytest -q -m slow

bench: setup
	@for script in tests/benchmarks/*.py; do .venv/bin/python $$script || exit 1; done

lint: setup
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports
