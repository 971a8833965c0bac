# `make help` is the map. Only Python >= 3.11 and make are assumed.
PYTHON ?= python3
ENVS := airflow jobs api local-aws dev
RUN := .venv/local-aws/bin/python -m local
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- environments, one a runtime, from hashed requirements -------------------------------------
.venv/bootstrap/lock.sha256: requirements/bootstrap.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11")'
	@$(PYTHON) -m venv .venv/bootstrap
	@.venv/bootstrap/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@sha256sum $< | cut -d' ' -f1 > $@

.venv/%/lock.sha256: requirements/%.txt | .venv/bootstrap/lock.sha256
	@echo "installing .venv/$*"
	@rm -f $@
	@.venv/bootstrap/bin/uv venv --quiet --clear --python $(PYTHON) .venv/$*
	@.venv/bootstrap/bin/uv pip install --quiet --compile-bytecode --require-hashes --python .venv/$*/bin/python -r $<
	@sha256sum $< | cut -d' ' -f1 > $@
.PRECIOUS: .venv/%/lock.sha256

.PHONY: install
install: $(ENVS:%=.venv/%/lock.sha256) ## every environment (.venv/*)

.PHONY: lock
lock: .venv/bootstrap/lock.sha256 ## resolve requirements/*.in into hashed requirements/*.txt
	@cd requirements && for name in bootstrap jobs api local-aws dev airflow; do \
	  ../.venv/bootstrap/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-header -o $$name.txt $$name.in; done
