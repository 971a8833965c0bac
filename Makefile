# `make help` is the map. Only Python >= 3.11 and make are assumed.
PYTHON ?= python3
ENVS := airflow jobs api local-aws dev
PY := .venv/local-aws/bin/python
RUN := $(PY) -m local
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- environments, one a runtime, from hashed requirements -------------------------------------
.venv/bootstrap/lock.sha256: requirements/bootstrap.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11")'
	@$(PYTHON) -m venv .venv/bootstrap || { echo "Python's venv module is needed (Debian, Ubuntu: apt install python3-venv)"; exit 1; }
	@.venv/bootstrap/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@$(PYTHON) -c 'import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())' $< > $@

.venv/%/lock.sha256: requirements/%.txt | .venv/bootstrap/lock.sha256
	@echo "installing .venv/$*"
	@rm -f $@
	@test -x .venv/$*/bin/python || .venv/bootstrap/bin/uv venv --quiet --python $(PYTHON) .venv/$*
	@.venv/bootstrap/bin/uv pip sync --quiet --compile-bytecode --require-hashes --python .venv/$*/bin/python $<
	@$(PYTHON) -c 'import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())' $< > $@
.PRECIOUS: .venv/%/lock.sha256

.PHONY: install
install: $(ENVS:%=.venv/%/lock.sha256) ## every environment (.venv/*)

.PHONY: kube
kube: install ## the programs of Kubernetes: those of KUBE_ASSETS, of the cache, or built now (some minutes, once)
	@$(PY) -m local.kube.assets

.PHONY: lock
lock: .venv/bootstrap/lock.sha256 ## resolve requirements/*.in into hashed requirements/*.txt
	@cd requirements && for name in bootstrap jobs api local-aws dev airflow ui iac peers-mlserver peers-bentoml; do \
	  ../.venv/bootstrap/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-header -o $$name.txt $$name.in; done

# --- the embedded world ------------------------------------------------------------------------
.PHONY: demo up down status preflight ingest image token kubeconfig aws-env clean
demo: install ## the whole life cycle on this machine; DATA=dir for real weeks, APPROVE=wait to approve yourself
	@DATA="$(DATA)" APPROVE="$(APPROVE)" $(PY) -m local.demo
up: install ## start the embedded AWS, PostgreSQL and Airflow
	@$(RUN) up
down: ## stop everything of this checkout; the state stays in .local/
	@if [ -x $(PY) ]; then $(RUN) down; fi
status: ## what runs, on which ports
	@$(RUN) status
preflight: .venv/local-aws/lock.sha256 ## whether an AWS account is ready, before anything is made in it: your own login, the settings of .env
	@$(PY) -m local.preflight
ingest: ## land weekly files and start their etl runs: make ingest FILES="a.csv.gz b.csv.gz"
	@$(RUN) ingest $(FILES)
image: ## build the code images retail-api and retail-jobs and push them by digest
	@$(RUN) image
token: ## an Airflow API token (use make -s)
	@$(RUN) token
kubeconfig: ## path of an admin kubeconfig (use make -s)
	@$(RUN) kubeconfig
aws-env: ## export lines for boto3 and the AWS CLI (use make -s)
	@$(RUN) aws-env
clean: ## stop and remove the state; environments stay (rm -rf .venv removes them too)
	@if [ -x $(PY) ]; then $(RUN) clean; fi

# --- tests and checks --------------------------------------------------------------------------
DEV_TESTS := tests --ignore=tests/dags --ignore=tests/plugins --ignore=tests/ui --ignore=tests/docker
AIRFLOW_TESTS := tests/dags tests/plugins
.PHONY: test test-unit test-faults test-ui test-docker test-compose docker-images check lint manifests costs bench bench-peers
test: kube test-unit ## every test that needs no browser and no Docker, with one end-to-end run
	@.venv/airflow/bin/pytest $(AIRFLOW_TESTS) -m "integration and not faults"
	@.venv/dev/bin/pytest $(DEV_TESTS) -m "integration and not faults"
test-unit: install ## the fast part: no server processes, no embedded world
	@.venv/airflow/bin/pytest -n 2 --dist loadfile $(AIRFLOW_TESTS) -m "not integration and not faults"
	@.venv/dev/bin/pytest -n 3 --dist loadfile $(DEV_TESTS) -m "not integration and not faults"
test-faults: kube ## the fault tables, against a running embedded world of their own
	@.venv/dev/bin/pytest $(DEV_TESTS) -m faults
test-ui: kube .venv/ui/lock.sha256 ## the life of an environment, clicked in a real browser, in a world of its own
	@.venv/ui/bin/pytest tests/ui
docker-images: ## build the Docker images api, jobs, airflow and local; needs Docker
	@$(PYTHON) docker/images.py
test-docker: install ## build the images api and jobs, and hold them against the embedded runtime; needs Docker
	@.venv/dev/bin/pytest tests/docker -m docker
test-compose: install ## docker-compose.yaml: up, the demo, each process killed, down; KUBE_ASSETS=folder, or it builds Kubernetes
	@.venv/dev/bin/pytest tests/docker -m compose -s
check: install .venv/iac/lock.sha256 ## lint, format, types, import rules, manifests, templates
	@.venv/dev/bin/ruff check .
	@.venv/dev/bin/ruff format --check .
	@.venv/dev/bin/mypy
	@PYTHONPATH=plugins .venv/dev/bin/lint-imports --no-logo
	@.venv/dev/bin/cfn-lint infra/*.yaml
	@.venv/iac/bin/checkov -d infra --framework cloudformation --compact --quiet --skip-download
	@.venv/dev/bin/yamllint -s k8s infra
	@$(PY) k8s/render.py --check
manifests: install ## render k8s/rendered from the overlays
	@$(PY) k8s/render.py
costs: install ## write docs/costs.md: what a month costs, by resource
	@.venv/dev/bin/python docs/costs.py
bench: install ## measure the ETL and the API against their stored baselines
	@.venv/jobs/bin/python -m benchmarks.etl
	@.venv/dev/bin/python -m benchmarks.serving
PEERS := peers-mlserver peers-bentoml
bench-peers: install $(PEERS:%=.venv/%/lock.sha256) ## the API beside MLServer and BentoML with the same model
	@.venv/dev/bin/python -m benchmarks.serving --peers
