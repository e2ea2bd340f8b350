# The commands people type.
.PHONY: setup test lint
PYTHON ?= python3

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	@test -d .venv || $(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install --quiet uv
	@.venv/bin/uv pip install --quiet --python .venv/bin/python -e '.[laptop,postgresql]' --group test -c constraints.txt
	@touch $@

test: setup
	@.venv/bin/pytest -q

lint: setup
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports
