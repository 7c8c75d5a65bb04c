# One command each; the first one that is used sets up .venv, later ones are quick.
#
#   make demo    watch a network collapse in the terminal
#   make test    the tests that take a few seconds each at most      (make test-all: every test)
#   make check   format, lint, types
#   make scoreboard   what deadband says of some hundred runs that fail and learn (a few minutes)
#   make scoreboard PEERS=1   and other tools, where installed, on some of the same runs
#
# Another Python: make test PYTHON=python3.12. Another folder: make test VENV=/tmp/venv.

PYTHON ?= python3
VENV ?= .venv
DEMO ?= lr-too-high

# Tests of whole processes wait a lot, so two at a time are nearly twice as fast; more than four
# of those would be in each other's way.
SHARED ?= -n auto --maxprocesses 4 --dist worksteal
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# Each by itself: test files import their neighbours by bare name, as pytest lets them.
TEST_FOLDERS := $(sort $(dir $(wildcard tests/*/*.py)))

.PHONY: demo test test-all scoreboard check format clean help

help:
	@sed -n 's/^#  *\(make .*\)/\1/p' Makefile

demo: $(VENV)/.ready-demos
	@$(BIN)/deadband demo $(DEMO)

test: $(VENV)/.ready-dev
	$(BIN)/python -m pytest $(SHARED) -m "not slow" $(ARGS)

test-all: $(VENV)/.ready-dev
	$(BIN)/python -m pytest $(SHARED) $(ARGS)

# build/runs keeps what was recorded for as long as client, statistics and scenarios are the same.
scoreboard: $(VENV)/.ready-dev
	@cd tests && $(abspath $(BIN)/python) -m scoreboard --cache ../build/runs \
	    $(if $(PEERS),--peers) $(ARGS)

check: $(VENV)/.ready-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy tests/*.py
	@set -e; for folder in $(TEST_FOLDERS); do \
	    echo "$(BIN)/mypy $$folder"; MYPYPATH=$$folder $(BIN)/mypy $$folder; done

format: $(VENV)/.ready-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache

# What the demos need is also what the tests need, so the second set-up only adds to the first.
$(VENV)/.ready-demos: $(VENV)/.made
	@echo "Installing deadband and what its demos need into $(VENV) (once; torch is large) ..."
	@$(PIP) install -c constraints.txt -e '.[demos]'
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.made
	@echo "Installing deadband and what its tests need into $(VENV) (once; torch is large) ..."
	@$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $(VENV)/.ready-demos $@

# A change of the requirements makes the environment anew only as far as pip finds it needed.
$(VENV)/.made: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 10) and \
	"deadband needs Python 3.10 or newer, and $(PYTHON) is %d.%d. Try: make PYTHON=python3.12" % v[:2])'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@touch $@
