# The two commands of the README, and a few more for developers.
#
#   make serve   a mail server on this machine's loopback, without root      (ARGS="--dir DIR --ip IP")
#                it keeps its mail in ~/.local/share/moxmail-localserve, or in DIR
#   make test    lint, types, layers, documentation and the whole test suite (ARGS="lint types")
#   make peers   as root: the real mail programs that the integration tests talk to, by apt
#   make docs    the documentation as HTML below docs/_build/html
#   make clean   what was built; the virtual environment goes with "make distclean"
#
# Only Python 3.11+ (with its venv module) and make are needed:  make PYTHON=python3.12 serve
# Nothing outside this folder is changed, but by "make serve" (the mail, see above) and "make peers".

PYTHON ?= python3
VENV ?= .venv
ARGS ?=

bin := $(VENV)/bin
sources := $(shell find moxtwisted twisted -name '*.py' -o -name '*.sql' -o -name '*.zdict' 2>/dev/null)
metadata := setup.cfg pyproject.toml MANIFEST.in

# A tree that has the development environment runs from its sources, and needs no second installation.
installed := $(if $(wildcard $(VENV)/.developing),$(VENV)/.developing,$(VENV)/.installed)

.PHONY: serve test peers docs clean distclean
.DELETE_ON_ERROR:

serve: $(installed)
	exec $(bin)/moxmail localserve $(ARGS)

test: $(VENV)/.developing
	$(bin)/python .ci/check.py $(ARGS)

docs: $(VENV)/.developing
	$(bin)/python .ci/check.py docs

peers:
	PYTHON=$(PYTHON) .ci/peers

$(bin)/python:
	@$(PYTHON) .ci/python_fits.py
	$(PYTHON) -m venv $(VENV)

# build/ is emptied first: setuptools would ship what it finds there from an earlier build.
$(VENV)/.installed: $(bin)/python $(metadata) $(sources)
	rm -rf build
	$(bin)/python -m pip install --quiet .
	rm -rf build
	touch $@

# Compat: an editable installation that Twisted's plugin search understands.
$(VENV)/.developing: $(bin)/python $(metadata)
	$(bin)/python -m pip install --quiet --config-settings editable_mode=compat --editable '.[dev]'
	touch $@

clean:
	rm -rf build dist docs/_build docs/api _trial_temp* .mypy_cache .ruff_cache .hypothesis .import_linter_cache

distclean: clean
	rm -rf $(VENV) moxtwisted.egg-info .tox
