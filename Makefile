# What a newcomer needs: `make demo` and `make test`. Everything else is listed by `make`.

# The system's Python where it is new enough: distributions build it with optimisations that a home-made one often lacks.
PYTHON ?= $(shell /usr/bin/python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo /usr/bin/python3 || echo python3)
BIN := .venv/bin
READY := .venv/.ready
EXTENSION := $(wildcard src/ferryman/dataplane/_fdio.c)
# a worker more than CPUs: much of the end-to-end tests is waiting
PYTEST := $(BIN)/python -m pytest -n 3 --dist loadfile
CHECKED := src tests bench examples scripts

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help venv demo test lint bench peers clean

help:  ## print this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

venv: $(READY)  ## set up .venv with ferryman and what its tests need

$(READY): pyproject.toml $(EXTENSION)
	sh scripts/venv.sh $(PYTHON) .venv
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	touch $@

demo: venv  ## see ferryman at work (KEEP=1: it stays up until Ctrl-C)
	KEEP=$(KEEP) $(BIN)/python examples/demo.py

# The data plane's tests run twice: first on the Python twin of the C extension, then with everything else.
test: peers lint  ## lint, then the whole test suite; what is skipped is listed with its reason
	FERRYMAN_FDIO=python $(PYTEST) -q -m twin tests/unit/dataplane tests/e2e
	$(PYTEST) tests

lint: venv  ## ruff and mypy
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff format --check $(CHECKED)
	$(BIN)/mypy -p ferryman -p bench -p scripts

bench: venv  ## compare with other proxies (BENCH="--quick", "--only plain,sni", "--threads 2", "--help")
	$(BIN)/python -m bench $(BENCH)

peers:  ## with root and apt: install the programs that tests and bench use
	@sh scripts/peers.sh

clean:  ## remove everything that make made
	rm -rf .venv build .mypy_cache .ruff_cache .pytest_cache .hypothesis src/*.egg-info
	find src tests bench examples scripts -name __pycache__ -prune -exec rm -rf {} +
	find src -name '*.so' -delete
