# Everything happens in one environment, .venv/, that `make setup` makes and every other target waits for.
# Needs: Python 3.11 or newer with pip and venv. Nothing else: Java comes as a Python package where the machine has none.

PYTHON ?= python3
BUNDLE ?= model_store/small
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
D2 := build/detectron2
D2_READY := $(D2)/.ready
D2_FILES := ops/detectron2_env.sh tests/detectron2/requirements.txt tests/detectron2/source.txt
EXAMPLES ?= 100
TEST_WORKERS ?= 2
DETECTRON2_SRC ?= $(D2)/pb1-detectron2-0.6

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.DELETE_ON_ERROR:
.PHONY: help setup serve serve-edge restart-edge drain prove-rolling prove-chaos prove-overload prove-tax prove-hostile test test-fast test-edge test-document test-detectron2 check lint types contracts load-path docs format train-small export hashes sbom image-check compose-check clean

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(READY) ## Make .venv with everything in it; done once, and again when the requirements change

$(READY): pyproject.toml requirements/constraints.txt
	@PYTHON="$(PYTHON)" sh ops/setup.sh $(VENV)
	@touch $@

serve: $(READY) ## Serve BUNDLE on PORT (8080) with WORKERS and an ENGINE; Ctrl-C stops
	@$(BIN)/python -m handlers.serve --bundle $(BUNDLE)

serve-edge: $(READY) ## Serve BUNDLE over HTTPS through nginx, with keys and limits; Ctrl-C stops
	@$(BIN)/python -m handlers.edge serve --bundle $(BUNDLE)

restart-edge: $(READY) ## Start the servers behind nginx anew, losing no request (with BUNDLE=… given: swap to it)
	@$(BIN)/python -m handlers.edge restart $(if $(filter command line environment,$(origin BUNDLE)),--bundle $(BUNDLE))

drain: $(READY) ## Wait until the server in RUN_DIR answers nobody any more
	@$(BIN)/python -m handlers.drain

prove-rolling: $(READY) ## Restart and swap 50 times each under load, and write down what was lost
	@$(BIN)/python -m benchmarks.rolling

prove-chaos: $(READY) ## Ask 100,000 requests while workers are killed, and judge each reply (half an hour)
	@$(BIN)/python -m benchmarks.chaos

prove-overload: $(READY) ## Ask ten times what the servers can answer, and see what becomes of them (four minutes)
	@$(BIN)/python -m benchmarks.overload

prove-tax: $(READY) ## Measure what nginx, TorchServe and the handler add to the service (ten minutes, 2.1 GB of disk)
	@$(BIN)/python -m benchmarks.server_tax

prove-hostile: $(READY) ## Ask 100,000 broken requests and 300 bombs, and see that no worker dies or grows (15 minutes)
	@$(BIN)/python -m benchmarks.hostile

test: $(READY) ## Run the unit tests, TEST_WORKERS files at once, then the integration tests
	@OMP_NUM_THREADS=1 $(BIN)/pytest -m "not edge and not integration" -n $(TEST_WORKERS) --dist loadfile; unit=$$?; \
		$(BIN)/pytest -m "not edge and integration" && exit $$unit

test-fast: $(READY) ## Run what takes seconds
	@OMP_NUM_THREADS=1 $(BIN)/pytest -m "not edge and not integration and not slow" -n $(TEST_WORKERS) --dist loadfile

test-edge: $(READY) ## Run the tests that need nginx and prometheus on the machine
	@$(BIN)/pytest -m edge

test-document: $(READY) ## Ask the service much that is made from the OpenAPI document (takes minutes)
	@SCHEMATHESIS_EXAMPLES=$(EXAMPLES) $(BIN)/pytest tests/unit/test_openapi_generated.py

test-detectron2: $(D2_READY) ## Compare our detectors with detectron2's code; DETECTRON2_SRC=its checkout
	@PYTHONPATH=$(DETECTRON2_SRC):tests/detectron2/stand_ins $(D2)/env/bin/python -m pytest tests/detectron2

$(D2_READY): $(READY) $(D2_FILES)
	@sh ops/detectron2_env.sh $(VENV) $(D2)
	@touch $@

check: lint types contracts load-path docs ## Check format, lint, types, import contracts, what runs at load, and docs

lint: $(READY)
	@$(BIN)/ruff format --check --quiet . || { echo "some files are not formatted: run 'make format'" >&2; exit 1; }
	@$(BIN)/ruff check --quiet .

types: $(READY)
	@$(BIN)/mypy

contracts: $(READY)
	@$(BIN)/lint-imports --no-cache --no-logo

load-path: $(READY)
	@$(BIN)/python -m dev.load_path

docs: $(READY)
	@$(BIN)/ruff check --quiet --preview --select DOC102,DOC403 .
	@$(BIN)/pytest -q tests/unit/test_repository_docs.py tests/unit/test_repository_leaks.py

format: $(READY) ## Format the code and mend what the linter can
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format --quiet .

train-small: $(READY) ## Make the default bundle from nothing in runs/small (about an hour of one core)
	@$(BIN)/python -m training all training/recipes/small.toml $(if $(BLIND),--with-blind) $(if $(SEED),--seed $(SEED) --out runs/small-seed-$(SEED))

export: $(READY) ## Write BUNDLE's graphs and server directory to build/
	@$(BIN)/python -m export all $(BUNDLE)

hashes: $(READY) ## Write requirements/hashes.txt anew, when a version in constraints.txt has changed
	@$(BIN)/python -m ops.hashes

sbom: $(READY) ## List every package of .venv with its version and licence in build/sbom.json (CycloneDX)
	@mkdir -p build
	@$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --output-format JSON \
		--output-file build/sbom.json $(BIN)/python

image-check: $(READY) ## Build the Dockerfile, start the server in it and ask it (as root, on Debian)
	@$(BIN)/python -m ops.image_check

compose-check: $(READY) ## Start what ops/compose.yaml starts and ask it, without an engine (as root, on Debian)
	@$(BIN)/python -m ops.compose_check

clean: ## Remove what was built; keeps .venv
	@rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
