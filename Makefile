# The commands people type. Each installs what it needs first.
.PHONY: setup up test test-slow bench lint

PYTHON ?= python3

setup:
	@$(PYTHON) hub_config/setup_environment.py

up: setup
	@.venv/bin/workbench up $(if $(PORT),--port $(PORT)) $(if $(STATE),--state $(STATE))

test: setup
	@.venv/bin/pytest -q -m "not slow"

test-slow: setup
	@.venv/bin/pytest -q -m slow

bench: setup
	@for script in tests/benchmarks/*.py; do .venv/bin/python $$script || exit 1; done

lint: setup
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports
