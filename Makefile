# Everything begins here: `make demo`, `make test`. Each command sets itself up and can be
# interrupted and called again. GNU make; the environment is .venv, the state is .state.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help demo test up down load check bench lock clean install

# The first Python that will do; `make PYTHON=/path/to/python3.12 demo` chooses another.
PYTHON ?= python3
JOBS := .venv/bin/python -m jobs
LOCAL := .venv/bin/python -m jobs.local.cli
STAMP := .venv/installed
# Two files at a time, each on a Postgres of its own; a server that DATABASE_URL names takes one.
PYTEST := .venv/bin/python -m pytest \
    $(if $(DATABASE_URL),,--numprocesses 2 --dist loadfile --no-loadscope-reorder)
export PYTHONUNBUFFERED := 1

help:
	@echo "make demo         simulate a product, run its nights through a real Airflow, show the result"
	@echo "make test         prove everything again"
	@echo "make up           start Postgres, Airflow, MLflow and the pages; print where they are"
	@echo "make down         stop all of it"
	@echo "make load DIR=... load real CSV files in their owners' format"
	@echo "make check        lint, types, SQL lint, tests: what CI runs"
	@echo "make bench        the speed claims"
	@echo "make lock         resolve requirements.in anew into requirements.txt"
	@echo "make clean        stop everything and delete the state folder"

# The stamp holds the hash of what was installed and is written last, so an interrupted or
# outdated install is done again. The lines below are one shell program.
install:
	@set -eu; \
	want=$$(cksum < requirements.txt); \
	if [ -x .venv/bin/python ] && [ "$$(cat $(STAMP) 2>/dev/null)" = "$$want" ]; then exit 0; fi; \
	command -v "$(PYTHON)" > /dev/null || { \
	    echo "error: no $(PYTHON): apt-get install python3 python3-venv" >&2; exit 1; }; \
	version=$$("$(PYTHON)" -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	case $$version in 3.11|3.12|3.13) ;; *) \
	    echo "error: $(PYTHON) is Python $$version; 3.11, 3.12 or 3.13 is needed:" \
	        "make PYTHON=python3.12 ... chooses another" >&2; exit 1;; esac; \
	"$(PYTHON)" -c 'import ensurepip, venv' 2> /dev/null || { \
	    echo "error: $(PYTHON) has no venv: apt-get install python$$version-venv" >&2; exit 1; }; \
	rm -f $(STAMP); \
	if ! .venv/bin/python -m pip --version > /dev/null 2>&1; then \
	    echo "making .venv with Python $$version"; \
	    rm -rf .venv; "$(PYTHON)" -m venv .venv; \
	fi; \
	begun=$$(date +%s); \
	echo "installing $$(grep -c '^[a-z]' requirements.txt) pinned packages (3 GB on disk)"; \
	.venv/bin/python -m pip install --quiet --disable-pip-version-check uv; \
	if .venv/bin/python -m uv pip install --python .venv/bin/python -r requirements.txt; then :; \
	else \
	    echo "uv could not; trying pip, which knows this machine's pip settings"; \
	    .venv/bin/python -m pip install --disable-pip-version-check -r requirements.txt; \
	fi; \
	echo "$$want" > $(STAMP).new; mv $(STAMP).new $(STAMP); \
	echo "installed in $$(($$(date +%s) - begun)) s"

demo: install
	@$(LOCAL) demo

up: install
	@$(LOCAL) up

down:
	@if [ -d "$${NIGHTSHIFT_STATE:-.state}" ]; then $(MAKE) -s install && $(LOCAL) down; \
	else echo "no state folder: nothing was started"; fi

load: install
	@[ -n "$(DIR)" ] || { echo "error: which folder? make load DIR=path/to/csv" >&2; exit 2; }
	@$(LOCAL) databases
	@$(JOBS) load "$(DIR)"

test: install
	@$(PYTEST)

check: install
	.venv/bin/python -m ruff check .
	.venv/bin/python -m ruff format --check .
	.venv/bin/python -m mypy
	.venv/bin/python -m sqlfluff lint sql
	.venv/bin/python .ci/dag_list.py --check
	$(PYTEST)

bench: install
	@.venv/bin/python -m bench

lock: install
	.venv/bin/python -m uv pip compile --universal --python-version 3.11 --no-header --quiet \
	    requirements.in -o requirements.txt

clean:
	@if [ -d "$${NIGHTSHIFT_STATE:-.state}" ]; then $(MAKE) -s install && $(LOCAL) clean; \
	else echo "no state folder: nothing to delete"; fi
