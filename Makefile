# One verb for each chore; `make help` lists them. Everything is kept in .venv: `.venv/bin/hft` is the
# command afterwards, and `make distclean` takes you back to a fresh clone.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
STAMPS := $(VENV)/stamps

CYTHON := $(shell find hft ipc tools -name '*.pyx' -o -name '*.pxd' -o -name '*.h')
DEMO ?= --seconds 20
TESTS ?= tests
BENCH ?=
PREFIX ?= /usr/local
DESTDIR ?=

.PHONY: help demo test check lint bench build generated extras lock clean distclean install uninstall

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: build ## the whole pipeline on the embedded venue simulator (DEMO="--topology dedicated" for options)
	@$(BIN)/hft demo $(DEMO)

test: build ## all tests (TESTS=tests/ipc for a part)
	@$(BIN)/python -m pytest $(TESTS)

check: lint test ## what has to hold before a change lands: style, types, layers, generated files, tests

lint: build ## ruff, mypy --strict, import contracts, generated files: without the tests
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tools.gen_records --check

bench: build ## one-way latency and throughput of the rings beside other transports
	@$(MAKE) extras || echo 'the other transports cannot be installed here: they are shown as absent'
	@$(BIN)/hft bench ipc $(BENCH)

build: $(STAMPS)/installed $(STAMPS)/built ## environment and compiled modules

generated: $(STAMPS)/dependencies ## write the C structs and views again after a change of hft/records.py
	@$(BIN)/python -m tools.gen_records

extras: build $(STAMPS)/extras ## other people's clients and transports: for the tests and benchmarks that use them

lock: $(STAMPS)/dependencies ## pin every dependency again, with hashes, after a change of pyproject.toml
	@$(PIP) install --quiet uv
	@$(BIN)/uv pip compile $(LOCK) --all-extras --output-file requirements-extras.lock pyproject.toml
	@$(BIN)/uv pip compile $(LOCK) --extra dev --constraints requirements-extras.lock \
		--output-file requirements.lock pyproject.toml
	@$(BIN)/uv pip compile $(LOCK) --constraints requirements.lock \
		--output-file requirements-run.lock pyproject.toml

LOCK = --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command 'make lock' $(if $(UPGRADE),--upgrade)

.PHONY: install-program install-units
install: install-program install-units ## program and systemd units below PREFIX (DESTDIR=... for a package)
	@echo 'installed; next: systemd-sysusers && systemd-tmpfiles --create && systemctl daemon-reload'
	@echo 'then as systemd/README.md says: settings, keys, systemctl start hft.target'

install-program: build # an environment of its own: no editable checkout, no tools of the tests
	@rm -rf '$(HOME_DIR)/venv' build/wheel
	@$(PIP) wheel --quiet --no-deps --no-build-isolation --wheel-dir build/wheel .
	@install -d '$(HOME_DIR)' '$(DESTDIR)$(PREFIX)/bin'
	@$(PYTHON) -m venv '$(HOME_DIR)/venv'
	@$(HOME_PIP) install --quiet --require-hashes -r requirements-run.lock
	@$(HOME_PIP) install --quiet --no-deps --no-index build/wheel/hft-*.whl
	@grep -lIr '^#!$(DESTDIR)' '$(HOME_DIR)/venv/bin' | xargs -r sed -i '1s|^#!$(DESTDIR)|#!|'
	@ln -sf ../lib/hft/venv/bin/hft '$(DESTDIR)$(PREFIX)/bin/hft'

install-units: # everything else: needs no build
	@install -d '$(HOME_DIR)' $(addprefix '$(DESTDIR)$(PREFIX)'/,$(UNIT_DIR) $(DROP_INS:%=$(UNIT_DIR)/%) \
		lib/systemd/system-preset lib/sysusers.d lib/tmpfiles.d lib/sysctl.d share/doc/hft) \
		'$(DESTDIR)/etc/tuned/hft' '$(DESTDIR)/etc/hft' '$(DESTDIR)/etc/sudoers.d'
	@set -e; for unit in $(UNITS); do sed 's|@PREFIX@|$(PREFIX)|g' systemd/$$unit \
		>'$(DESTDIR)$(PREFIX)/$(UNIT_DIR)/'$$unit; done
	@$(INSTALL) systemd/hft-.service.d/*.conf '$(DESTDIR)$(PREFIX)/$(UNIT_DIR)/hft-.service.d'
	@$(INSTALL) systemd/hft-.service.d/*.conf '$(DESTDIR)$(PREFIX)/$(UNIT_DIR)/hft-@.service.d'
	@$(INSTALL) systemd/hft-shm.service.d/*.conf '$(DESTDIR)$(PREFIX)/$(UNIT_DIR)/hft-shm.service.d'
	@$(INSTALL) systemd/preset/90-hft.preset '$(DESTDIR)$(PREFIX)/lib/systemd/system-preset'
	@$(INSTALL) systemd/sysusers.d/hft.conf '$(DESTDIR)$(PREFIX)/lib/sysusers.d'
	@$(INSTALL) systemd/tmpfiles.d/hft.conf '$(DESTDIR)$(PREFIX)/lib/tmpfiles.d'
	@$(INSTALL) systemd/sysctl.d/60-hft.conf '$(DESTDIR)$(PREFIX)/lib/sysctl.d'
	@$(INSTALL) systemd/tuned/tuned.conf '$(DESTDIR)/etc/tuned/hft'
	@sed 's|@PREFIX@|$(PREFIX)|g' systemd/sudoers.d/hft >'$(DESTDIR)/etc/sudoers.d/hft'
	@chmod 440 '$(DESTDIR)/etc/sudoers.d/hft'
	@$(INSTALL) systemd/hft.toml.example '$(DESTDIR)/etc/hft'
	@$(INSTALL) systemd/README.md '$(DESTDIR)$(PREFIX)/share/doc/hft/systemd.md'
	@install -m 755 systemd/emergency_cancel.py '$(HOME_DIR)'

uninstall: ## what `make install` put there; settings, keys, state and users stay
	@rm -rf '$(HOME_DIR)' '$(DESTDIR)$(PREFIX)/share/doc/hft' '$(DESTDIR)/etc/tuned/hft'
	@rm -rf $(DROP_INS:%='$(DESTDIR)$(PREFIX)/$(UNIT_DIR)/%')
	@rm -f $(UNITS:%='$(DESTDIR)$(PREFIX)/$(UNIT_DIR)/%') '$(DESTDIR)$(PREFIX)/bin/hft' \
		'$(DESTDIR)$(PREFIX)/lib/systemd/system-preset/90-hft.preset' \
		'$(DESTDIR)$(PREFIX)/lib/sysusers.d/hft.conf' '$(DESTDIR)$(PREFIX)/lib/tmpfiles.d/hft.conf' \
		'$(DESTDIR)$(PREFIX)/lib/sysctl.d/60-hft.conf' '$(DESTDIR)/etc/hft/hft.toml.example' \
		'$(DESTDIR)/etc/sudoers.d/hft'

INSTALL := install -m 644
HOME_DIR = $(DESTDIR)$(PREFIX)/lib/hft
HOME_PIP = '$(HOME_DIR)/venv/bin/python' -m pip --disable-pip-version-check
UNIT_DIR := lib/systemd/system
DROP_INS := hft-.service.d hft-@.service.d hft-shm.service.d
UNITS := $(notdir $(wildcard systemd/*.target systemd/*.slice systemd/*.service))

clean: ## compiled modules and caches
	@rm -rf build dist ./*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find hft ipc tools \( -name '*.c' -o -name '*.so' \) -delete
	@find hft ipc pinning tools tests -name __pycache__ -prune -exec rm -rf {} +
	@rm -f $(STAMPS)/built $(STAMPS)/installed

distclean: clean ## the environment as well
	@rm -rf $(VENV)

# --- the environment -----------------------------------------------------------------------------

define PREPARE
import os, shutil, sys, sysconfig
missing = []
if sys.version_info < (3, 11):
    sys.exit(f"{sys.executable} is Python {sys.version.split()[0]}; 3.11 or newer is needed: make PYTHON=python3.12")
if not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")):
    missing.append("python3-dev")
if not shutil.which(os.environ.get("CC", "gcc")):
    missing.append("gcc libc6-dev")
try:
    import ensurepip, venv
except ImportError:
    missing.append("python3-venv")
if missing:
    sys.exit(f"Something to build with is missing. On Debian: apt-get install {' '.join(missing)}")
endef
export PREPARE

$(STAMPS)/created:
	@$(PYTHON) -c "$$PREPARE"
	@$(PYTHON) -m venv $(VENV)
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/dependencies: requirements.lock | $(STAMPS)/created
	@echo 'installing the dependencies of requirements.lock into $(VENV)'
	@$(PIP) install --quiet --require-hashes -r requirements.lock
	@touch $@

$(STAMPS)/extras: requirements-extras.lock | $(STAMPS)/dependencies
	@echo 'installing requirements-extras.lock into $(VENV)'
	@$(PIP) install --quiet --require-hashes -r requirements-extras.lock
	@touch $@

$(STAMPS)/built: setup.py $(CYTHON) $(STAMPS)/dependencies
	@echo 'compiling'
	@$(BIN)/python setup.py --quiet build_ext --inplace
	@touch $@

$(STAMPS)/installed: pyproject.toml $(STAMPS)/dependencies | $(STAMPS)/built
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
