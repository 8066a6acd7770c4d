# Every target sets up .venv by itself; a machine needs only Python 3.11, 3.12 or 3.13, pip and make. `make PYTHON=python3.12 ...`
# names one, and makes .venv anew if it has another; else .venv stays as it is, and a new one takes the newest on PATH that works.
FOUND := $(shell sh requirements/python.sh $(PYTHON) 2>/dev/null)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready-$(firstword $(FOUND))
ARGS ?=
WORKERS ?= 4
MARKS ?= not soak and not slow
QUICK ?= $(MARKS) and not heavy
SHAPE ?= spike
# --NAME VALUE if the variable was given on the command line: a shell may have a HOST of its own
given = $(if $(filter command,$(origin $(2))),--$(1) $($(2)))

.DEFAULT_GOAL := help
.PHONY: help up test test-unit test-servers test-slow soak check format bench load profile demo site clean services cluster-tools requirements crds chart sbom

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): requirements/dev.txt requirements/uv.txt pyproject.toml
	@sh requirements/python.sh $(PYTHON) > /dev/null
	@echo "setting up $(VENV) with Python $(firstword $(FOUND)) (once; about two minutes)"
	$(lastword $(FOUND)) -m venv $(if $(wildcard $(VENV)/lib/python$(firstword $(FOUND))),,--clear) $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --compile-bytecode --require-hashes requirements/dev.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

up: $(READY) ## train (first time), serve, print where it listens; Ctrl-C stops. ARGS="--dataset flows --data-dir DIR"
	$(BIN)/vedette up $(ARGS)

test: $(READY) ## the tests, all but the slow ones: units and docs, then real servers. ARGS="tests/docs -x" runs those that are named, slow or not
	$(if $(ARGS),$(BIN)/python -m pytest $(ARGS),HYPOTHESIS_PROFILE=ci $(MAKE) --no-print-directory --keep-going QUICK="$(MARKS)" test-unit test-servers)

test-unit: $(READY) ## the quick tests, unit and docs, two side by side, laws on an eighth of their examples: while you write. QUICK="not soak": the heavy ones too
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "$(QUICK)" tests/unit tests/docs $(ARGS)

test-servers: $(READY) ## the other tests but the slow ones: real servers, the operator on an API server, end to end; WORKERS side by side, each server once. MARKS="not soak": the slow ones too
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "$(MARKS)" --ignore=tests/unit --ignore=tests/docs $(ARGS)

test-slow: $(READY) ## the slow tests: demonstrations, pages and tutorials played, a browser, images, whole clusters
	HYPOTHESIS_PROFILE=ci $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "slow and not soak" $(ARGS)

soak: $(READY) ## the long tests: the operator killed at 50 moments, 500 services, all examples of all laws; about an hour
	HYPOTHESIS_PROFILE=soak $(BIN)/python -m pytest -m "soak or law" -s $(ARGS)

check: $(READY) ## ruff, bandit, pip-audit, mypy --strict, the arrows between the rooms, their sizes and names, the documentation site
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m tests.security.code
	$(BIN)/python -m tests.security.dependencies
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.house
	$(BIN)/python -m tests.docs.site.build --if-changed

format: $(READY) ## rewrite the code in the house format
	$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .

bench: $(READY) ## benchmarks, side by side in one run, about 20 minutes; report: build/bench/report.html. ARGS="--list" names them
	$(BIN)/python -m loadtests.bench $(ARGS)

load: $(READY) ## a load test by SHAPE=spike|steps|soak|diurnal, judged by objectives; page: build/load/SHAPE.html. HOST=http://... instead of a server of its own; USERS=, SECONDS=, ARGS="--json"
	$(BIN)/python -m loadtests.run --shape $(SHAPE) $(call given,users,USERS) $(call given,seconds,SECONDS) $(call given,host,HOST) $(ARGS)

profile: $(READY) ## flame graphs of a replica under load, build/profile/NAME.svg, and the functions that take most. ARGS="http --native"
	$(BIN)/python -m loadtests.bench.profiling $(ARGS)

demo: $(READY) ## good and bad candidates under constant load; fails if a promise is not kept. ARGS=drift: a detector drifts and is trained again; ARGS=--cluster: on a Kubernetes whose pods run here
	$(if $(filter --cluster,$(ARGS)),$(BIN)/python -m tests.cluster.pods.demo $(filter-out --cluster,$(ARGS)),$(BIN)/vedette demo $(ARGS))

site: $(READY) ## the documentation site, in build/site; it needs no internet. ARGS=--serve: on http://127.0.0.1:8000, built again when a page changes
	$(BIN)/python -m tests.docs.site.build $(ARGS)

services: ## install the optional real servers and load generators (Debian packages): Redis, wrk, h2load, Kafka with Java and Maven, Apicurio Registry; h2spec and the OpenTelemetry Collector if Go is there. CLUSTER=1: cluster-tools too
	sh tests/install_services.sh
	sh tests/install_h2spec.sh
	sh tests/install_otelcol.sh
	sh tests/install_kafka.sh
	sh tests/install_apicurio.sh
	$(if $(CLUSTER),sh tests/cluster/tools/build.sh)

cluster-tools: ## build kube-apiserver, kube-controller-manager, kube-scheduler, etcd, KubeRay's operator and Helm for the tests, get others' definitions and Checkov (needs Go; 5 to 10 minutes, once)
	sh tests/cluster/tools/build.sh

crds: $(READY) ## write manifests/crds from the types
	$(BIN)/python -m operators.api.crds

sbom: $(READY) ## bills of materials (CycloneDX) and licences of the images, in build/sbom; `make sbom PYTHON=python3.11` for the images' Python
	$(BIN)/python -m tests.images.bills.sbom

chart: $(READY) ## write manifests/chart from what kustomize renders
	$(BIN)/python -m operators.api.chart

requirements: ## compile requirements/*.txt from pyproject.toml
	sh requirements/compile.sh

clean: ## remove everything that make built; trained models and stores included
	rm -rf $(VENV) build .vedette .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
