# make demo       three members on this machine, no root, two minutes
# make test       everything; real hosts too when root        make test-fast   without hosts
# make lint       style, types, import rules                  make bench       measurements
# make audit      known vulnerabilities of the packages that constraints.txt pins; asks the network
# make interruptions  a bootstrap and a restore killed and powered off in every step, and the services: an hour or two
# make lab-up N=3 hosts to play with                          make lab-status, make lab-down
#
# Each target sets up what it needs: a virtual environment in .venv and, when root on Debian or Ubuntu, packages.

SHELL := /bin/sh
VENV ?= .venv
N ?= 3
WORKERS ?= 2
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt
PYTEST := $(BIN)/python -m pytest
# Files in the order in which they are named, the long ones first: at the end many short ones keep all workers busy.
PARALLEL := -n $(WORKERS) --dist loadfile --no-loadscope-reorder
TEST_PACKAGES := openssh-server csh tcsh fish zsh age zstd postgresql curl jq
S3_PACKAGES := debian-archive-keyring
LAB_PACKAGES := systemd-container debootstrap openssh-client iproute2 e2fsprogs ca-certificates

.DEFAULT_GOAL := help
.PHONY: help venv dev demo test test-fast interruptions lint bench audit audit-here docs pictures dashboards test-tools lab-tools lab-up lab-down lab-status releases s3-server prometheus clean

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | sed '/^$$/q'

$(BIN)/python:
	@PYTHON="$(PYTHON)" .ci/venv $(VENV)

$(VENV)/.run: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing etcd-flows into $(VENV)"
	@$(PIP) -e '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing etcd-flows and its test tools into $(VENV)"
	@$(PIP) setuptools -e '.[demo,dev]'
	@touch $(VENV)/.run $@

venv: $(VENV)/.run
dev: $(VENV)/.dev

demo: $(VENV)/.run
	@$(BIN)/etcd-flows demo $(if $(PROMETHEUS),--prometheus $(PROMETHEUS))

# The parts of docs/ that are made from the code; a test compares.
docs: $(VENV)/.dev
	$(BIN)/python -m docs.generate

# Grafana's dashboards, as they are shipped; a test compares.
dashboards: $(VENV)/.dev
	$(BIN)/python -m docs.dashboards.generate

# Of docs/ui.md, taken anew with a real server, a real cluster and Debian's Chromium (or CHROMIUM=path).
pictures: $(VENV)/.dev
	@.ci/packages chromium
	@$(PIP) playwright pillow
	$(BIN)/python -m docs.pictures

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: $(VENV)/.dev test-tools lab-tools releases s3-server prometheus
	$(PYTEST) $(PARALLEL) --durations=15 tests/e2e tests/component tests/unit || $(BIN)/python -m tests.again $$?

test-fast: $(VENV)/.dev test-tools s3-server prometheus
	$(PYTEST) $(PARALLEL) --durations=5 tests/component tests/unit

interruptions: $(VENV)/.dev lab-tools releases
	$(PYTEST) -v tests/e2e/every_interruption.py tests/e2e/every_restore.py tests/e2e/every_replace.py tests/e2e/every_service.py

bench: $(VENV)/.dev lab-tools releases s3-server
	$(PYTEST) -s tests/bench

# --strict: a package that could not be looked up is not one without vulnerabilities.
audit: build/audit/bin/pip-audit
	build/audit/bin/pip-audit --strict --no-deps --disable-pip --requirement constraints.txt

# The same where there may be no network: what could not be looked up is told.
audit-here: $(VENV)/.dev
	@$(MAKE) -s build/audit/bin/pip-audit || true
	@$(BIN)/python -m tests.audit

build/audit/bin/pip-audit: | $(BIN)/python
	@$(BIN)/python -m venv build/audit
	@build/audit/bin/python -m pip install -q --disable-pip-version-check pip-audit

test-tools:
	@.ci/packages $(TEST_PACKAGES)

# Not root: the tests that need hosts are then reported as not run.
lab-tools:
	@.ci/packages $(LAB_PACKAGES)

# Tests whose release can't be had are reported as not run, too.
releases: $(VENV)/.dev
	@$(BIN)/python -m tests.lab.releases >/dev/null || true

# Likewise: a real S3 server, Ceph's, unpacked from Debian packages; nothing of it is installed.
s3-server: $(VENV)/.dev
	@.ci/packages $(S3_PACKAGES)
	@$(BIN)/python -m tests.s3.packages >/dev/null || true

# And a real Prometheus.
prometheus: $(VENV)/.dev
	@.ci/packages $(S3_PACKAGES)
	@$(BIN)/python -m tests.monitoring.programs >/dev/null || true

lab-up: $(VENV)/.dev lab-tools
	@$(BIN)/python -m tests.lab up $(N)

lab-down lab-status: $(VENV)/.dev
	@$(BIN)/python -m tests.lab $(@:lab-%=%)

clean:
	@if [ "$$(id -u)" = 0 ] && [ -x $(BIN)/python ]; then $(BIN)/python -m tests.lab down || true; fi
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
