# Everything runs in .venv, made from a bare Python >= 3.11. Settings: GESSO_... in the environment, or gesso.toml.
PYTHON ?= python3
BIN := .venv/bin
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)

.PHONY: serve test lint bench setup
serve: .venv/serve.installed   ## Serve on http://127.0.0.1:8000
	@$(BIN)/gesso serve

test: .venv/test.installed     ## The whole suite
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

lint: .venv/lint.installed     ## ruff and mypy, strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/test.installed    ## Every benchmark that this machine can run
	$(BIN)/python -m benchmarks

setup: .venv/test.installed .venv/lint.installed   ## Everything a developer needs

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Gesso needs Python 3.11 or newer; say which: make PYTHON=/path/to/python3.12"; exit 1; }
	@echo "Making .venv ..."
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "This Python cannot make environments: install its venv module"; exit 1; }

.venv/serve.installed: pyproject.toml | .venv/bin/python
	@echo "Installing what Gesso needs (torch is large; this happens once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/test.installed: pyproject.toml | .venv/bin/python
	@echo "Installing what Gesso and its tests need (torch is large; this happens once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@ .venv/serve.installed

.venv/lint.installed: pyproject.toml | .venv/test.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[lint]'
	@touch $@
