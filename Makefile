# The commands people type.
.PHONY: setup up test lint
PYTHON ?= python3

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	@test -d .venv || $(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install --quiet uv
	@.venv/bin/uv pip install --quiet --python .venv/bin/python -e '.[laptop,postgresql]' --group test -c constraints.txt
	@npm install --silent --no-audit --no-fund --no-save --prefix .venv/share/genesis-workbench configurable-http-proxy@5.3.0
	@touch $@

up: setup
	@.venv/bin/workbench up $(if $(PORT),--port $(PORT)) $(if $(STATE),--state $(STATE))

test: setup
	@.venv/bin/pytest -q

lint: setup
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports
