# Development and use of lungseg. `make help` lists the targets.

PYTHON ?= python3
VENV   ?= .venv
CONFIG ?= configs/lung.yaml
BIN     = $(VENV)/bin
LUNGSEG = $(BIN)/lungseg
EXTRAS  = dev$(if $(GPU),$(comma)gpu)
comma  := ,
LOCK    = .ci/requirements.lock
TENSORFLOW = tensorflow>=2.20,<2.22

export TF_CPP_MIN_LOG_LEVEL ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup demo smoke test test-all coverage lint format typecheck configs bench docs site pictures clean \
        bench-peers soak fuzz mutate lock audit model \
        prepare split train evaluate infer

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.installed  ## make .venv (LOCKED=1: the locked versions; GPU=1: for an NVIDIA GPU)

# uv if it is installed, otherwise pip. Both put everything into $(VENV).
$(VENV)/.installed: pyproject.toml
	@if [ -n "$(LOCKED)" ]; then \
	    test -x $(BIN)/python || $(PYTHON) -m venv $(VENV); \
	    $(BIN)/python -m pip install --disable-pip-version-check -q --require-hashes -r $(LOCK) && \
	    $(BIN)/python -m pip install --disable-pip-version-check -q --no-deps -e .; \
	elif command -v uv >/dev/null; then \
	    test -x $(BIN)/python || uv venv --seed --python $(PYTHON) $(VENV); \
	    uv pip install --compile-bytecode --python $(BIN)/python -e '.[$(EXTRAS)]'; \
	else \
	    test -x $(BIN)/python || $(PYTHON) -m venv $(VENV); \
	    $(BIN)/python -m pip install --disable-pip-version-check -q -e '.[$(EXTRAS)]'; \
	fi
# The CPU and the GPU build fill the same folder. If both are wanted, the GPU build comes last.
	@if [ -n "$(GPU)" ]; then \
	    $(BIN)/python -m pip uninstall -q -y tensorflow-cpu; \
	    $(BIN)/python -m pip install -q --force-reinstall --no-deps '$(TENSORFLOW)'; \
	fi
	@touch $@

demo: setup  ## run the main commands on 12 synthetic patients, and the shipped network, into demo/
	@rm -rf demo
	$(LUNGSEG) phantom -o demo/raw --patients 12 --slices 8
	$(MAKE) --no-print-directory prepare split train evaluate CONFIG=configs/smoke.yaml
	$(LUNGSEG) infer -c configs/smoke.yaml --run demo/run demo/dataset/test/images -o demo/masks
	$(LUNGSEG) phantom -o demo/scan --patients 1 --volumes
	$(LUNGSEG) infer demo/scan/images -o demo/shipped-masks
	@echo
	@echo "The masks that infer wrote are in demo/masks."
	@echo "demo/shipped-masks/gallery.html shows the mask that the shipped network made of a CT volume."
	@echo "Open demo/run/report.html in a browser: scores, training, and slices with their outlines."

smoke: setup  ## run every main command on tiny data into smoke/, as CI does
	@rm -rf smoke
	scripts/smoke.sh $(LUNGSEG) smoke

prepare: setup  ## run lungseg prepare with CONFIG= (by default configs/lung.yaml)
	$(LUNGSEG) prepare -c $(CONFIG) $(ARGS)

split: setup  ## run lungseg split with CONFIG=
	$(LUNGSEG) split -c $(CONFIG) $(ARGS)

train: setup  ## run lungseg train with CONFIG=
	$(LUNGSEG) train -c $(CONFIG) $(ARGS)

evaluate: setup  ## run lungseg evaluate with CONFIG=
	$(LUNGSEG) evaluate -c $(CONFIG) $(ARGS)

infer: setup  ## run lungseg infer with CONFIG= and ARGS="images/ -o masks"
	$(LUNGSEG) infer -c $(CONFIG) $(ARGS)

# Each process imports TensorFlow and trains the tests' network anew, which takes up to 2 GB and half
# a minute: more than two are worth it on a large machine alone.
PROCESSES ?= 2
PYTEST     = $(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile

test: setup  ## run the tests without the slow ones, in PROCESSES=2 processes
	$(PYTEST) -m "not slow"

test-all: setup  ## run every test, as CI does
	$(PYTEST) --durations=25

coverage: setup  ## run every test, and list the lines of lungseg that none runs; takes longer
	$(PYTEST) --cov=lungseg

configs: setup  ## write configs/ again, as `lungseg config` prints them
	for name in lung original smoke; do $(LUNGSEG) config $$name > configs/$$name.yaml || exit 1; done
	$(LUNGSEG) config --schema > configs/lungseg.schema.json

lint: setup  ## check style, spelling, the direction of imports and the size of files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/python -m scripts.maintain.check_sizes

format: setup  ## format the code with ruff
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

typecheck: setup  ## check the types with mypy
	$(BIN)/mypy

bench: setup  ## measure speed and memory, as ratios within one run
	$(BIN)/python -m scripts.bench.speed
	$(BIN)/python -m scripts.bench.networks --anew

bench-peers: setup  ## measure lungseg beside lungmask and nnU-Net: WORK= of 6 GB, ARGS="--rounds 1"
	$(BIN)/python -m scripts.bench.peers --anew $(if $(WORK),--work $(WORK)) $(ARGS)
	$(BIN)/python -m scripts.bench.write_peers

soak: setup  ## try to break it: 50 kills, 10,000 slices, bad inputs, fuzzing; half an hour
	@rm -f scripts/maintain/robustness.json
	LUNGSEG_SOAK=1 $(BIN)/python -m pytest tests/bad_inputs tests/robustness/test_faults.py \
	    tests/robustness/test_load.py --deselect tests/bad_inputs/test_bad_inputs.py::test_the_page_lists_every_kind
	$(MAKE) --no-print-directory fuzz
	$(BIN)/python -m scripts.maintain.write_robustness

FUZZ_SECONDS ?= 60
fuzz: setup  ## give random bytes to the readers, for FUZZ_SECONDS= each
	$(BIN)/uv pip install -q --python $(BIN)/python -e '.[fuzz]'
	$(BIN)/python -m scripts.maintain.fuzz --seconds $(FUZZ_SECONDS)

MUTANTS ?= 400
SEED    ?= 1
mutate: setup  ## change MUTANTS= lines of a copy one by one; list what no fast test notices
	$(BIN)/uv pip install -q --python $(BIN)/python -e '.[mutate]'
	$(BIN)/python -m scripts.maintain.mutate --count $(MUTANTS) --seed $(SEED) $(ARGS)

lock: setup  ## write .ci/requirements.lock again: the newest allowed versions, with hashes
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-header --extra dev --upgrade \
	    pyproject.toml -o $(LOCK)

audit: setup  ## list known vulnerabilities of the locked packages
	$(BIN)/uv tool run pip-audit --require-hashes --disable-pip -r $(LOCK)

docs: setup  ## take the screenshots again, and build the documentation site
	$(BIN)/python -m scripts.maintain.make_screenshots
	$(MAKE) --no-print-directory site

site: setup  ## build the documentation site, into site/, with the screenshots as they are
	$(BIN)/uv pip install -q --python $(BIN)/python -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

model: setup  ## train the shipped network: DATA=folder of CTs WORK=folder of the steps
	$(BIN)/python -m scripts.maintain.make_model --data $(or $(DATA),../shared/data) -o $(or $(WORK),work/model)

pictures: setup  ## draw the pictures in docs/ again
	$(BIN)/python -m scripts.maintain.make_doc_pictures

clean:  ## remove everything that these targets made, including .venv
	rm -rf $(VENV) demo smoke site build dist *.egg-info .pytest_cache .coverage .ruff_cache .mypy_cache \
	    .hypothesis fuzz
