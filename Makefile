# Everything works on a fresh clone with Python 3.11+ and make: the environment is made on first use.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
DEMO   := $(VENV)/.ready-demo
DEV    := $(VENV)/.ready-dev
PROVIDER ?= stand-in

.PHONY: demo test check bench clean help

help:
	@echo "make demo    documents, questions and answers through a running gateway (PROVIDER=stand-in|openai|local-llm)"
	@echo "make test    all tests, on a private Redis"
	@echo "make check   lint, format, types, Dockerfile"
	@echo "make bench   relay overhead against a bare proxy"

INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements-dev.lock --editable

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("Ocho needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else 0'
	@$(PYTHON) -m venv $(VENV)

$(DEMO): $(BIN)/python pyproject.toml requirements-dev.lock
	@echo "installing Ocho into $(VENV) (once) ..."
	@$(INSTALL) ".[all]"
	@touch $(DEMO)

$(DEV): $(BIN)/python pyproject.toml requirements-dev.lock
	@echo "installing Ocho and its test tools into $(VENV) (about a minute, once) ..."
	@$(INSTALL) ".[dev]"
	@touch $(DEV) $(DEMO)

demo: $(DEMO)
	@$(BIN)/python -m bench demo --provider $(PROVIDER)

test: $(DEV)
	$(BIN)/python -m pytest

check: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/hadolint Dockerfile

bench: $(DEMO)
	$(BIN)/python -m bench overhead

clean:
	rm -rf $(VENV) .cache .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
