# From a fresh clone with Python ≥ 3.11: `make demo` or `make test`. Either makes the environment first.
PYTHON ?= python3
CORES ?= $(shell nproc)
# Processes of the tests, and which of them: `make test MARKS="not slow"` is what CI runs.
WORKERS ?= 2
MARKS ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PEERS := .venv-peers/.ready
SNAKEMAKE := $(BIN)/snakemake --cores $(CORES)

# The environment is installed without bytecode: where none were written, every job would compile what it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo controls doctor submissions test test-results test-colon test-origin test-transfer test-compression test-adaptation test-cluster test-matrix bench lint format lock clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

demo: $(READY) ## generate a cohort and run the whole chain on it; ends with a report
	@$(SNAKEMAKE) --configfile studies/demo.yaml --quiet rules
	@$(BIN)/snakemake --configfile studies/demo.yaml --report results/demo/report.html --quiet all
	@echo "The report: results/demo/report.html"

controls: $(READY) ## negative controls of the demo: no signal where there is none
	@$(SNAKEMAKE) negative_controls --configfile studies/controls.yaml --quiet rules

doctor: $(READY) ## what a run will need and miss; CONFIG=studies/….yaml for a study of your own
	@$(SNAKEMAKE) doctor $(if $(CONFIG),--configfile $(CONFIG)) --quiet all

submissions: $(READY) ## how many jobs a run would submit to SLURM; CONFIG=studies/….yaml for a study of your own
	@$(BIN)/snakemake --dry-run --profile slurm $(if $(CONFIG),--configfile $(CONFIG)) \
		| $(BIN)/python -m workflow_scripts.lib.submissions slurm/config.v9+.yaml

test: $(READY) ## unit tests and workflow tests
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations=20 -m "$(MARKS)"

test-results: $(READY) ## tests of the results that `make demo` built
	$(BIN)/python -m pytest tests/results

test-colon: $(READY) ## the tumour filter on real histology (an hour on two cores; needs ../shared/data/colon)
	$(BIN)/python -m pytest tests/colon -s

test-origin: $(READY) ## metastatic origin over five seeds, with a negative control (an hour on two cores)
	$(BIN)/python -m pytest tests/origin -s

test-transfer: $(READY) ## cross-cancer transfer over five seeds, with a negative control (an hour on two cores)
	$(BIN)/python -m pytest tests/transfer -s

test-compression: $(READY) ## neural image compression over five seeds, with negative controls (an hour on two cores)
	$(BIN)/python -m pytest tests/compression -s

test-adaptation: $(READY) ## microscope adaptation over five seeds, on generated slides and on real colon, with a negative control (an hour on four cores)
	$(BIN)/python -m pytest tests/adaptation -s

test-cluster: $(READY) ## tests on a real SLURM of three virtual nodes (root on Debian 12); OVERLAY=studies/demo.yaml for longer
	$(BIN)/python -m pytest tests/cluster $(if $(OVERLAY),--overlay $(OVERLAY))

test-matrix: ## the tests with the oldest and the newest torch, and on Python 3.12 where there is one
	bash tests/matrix.sh

bench: $(READY) $(PEERS) ## how fast each part is, beside its limit and what people use today; BENCH=tiling for one
	$(BIN)/python -m benchmarks $(BENCH)

lint: $(READY) ## ruff, snakefmt and snakemake --lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint --configfile studies/demo.yaml
	$(BIN)/snakemake --lint --configfile studies/origin-demo.yaml
	$(BIN)/snakemake --lint --configfile studies/transfer-demo.yaml
	$(BIN)/snakemake --lint --configfile studies/compression-demo.yaml
	$(BIN)/snakemake --lint --configfile studies/adaptation-demo.yaml

format: $(READY) ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile rules

lock: ## write envs/requirements.lock anew from envs/requirements.in
	rm -rf .venv-lock
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet --requirement envs/requirements.in
	(head -n 1 envs/requirements.lock; .venv-lock/bin/pip freeze --all --exclude pip | sort -f) > envs/requirements.new
	mv envs/requirements.new envs/requirements.lock
	rm -rf .venv-lock

clean: ## remove the environment (results stay)
	rm -rf $(VENV) .venv-*

# The stamp is written last, so that an interrupted installation is done again. The lock has all that its packages need, and
# what a run imports is compiled then: both save half of the time.
$(READY): envs/requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, found " + sys.version)'
	@echo "making the environment in $(VENV) (about two minutes, 5 GB)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-compile \
		--requirement envs/requirements.lock
	@touch $(READY)

$(PEERS): envs/peers.txt
	@echo "making the environment of what ours is compared with in .venv-peers (a minute)"
	@$(PYTHON) -m venv --clear .venv-peers
	@.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --ignore-requires-python \
		--requirement envs/peers.txt
	@touch $(PEERS)
