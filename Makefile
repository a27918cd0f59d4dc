# `make help` lists the targets. Each can be stopped and run again.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
# one process; several GPUs by `make demo PROCESSES=2`
PROCESSES ?= 1
# a core is left to the loader: torch's threads wait for each other, and for whoever takes one of their cores
THREADS ?= $(shell cores=$$(nproc 2>/dev/null || echo 2); echo $$((cores > 1 ? cores - 1 : 1)))
LAUNCH := $(RUN) -m accelerate.commands.launch --quiet --num_machines 1 --num_processes $(PROCESSES) \
	--num_cpu_threads_per_process $(THREADS) --mixed_precision no --dynamo_backend no
DEMO := configs/demo.yaml
DEMO_RUNS := runs/demo-pixels runs/demo-untrained runs/demo-b1 runs/demo

.DEFAULT_GOAL := help
.PHONY: help demo ablation methods check test clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/installed  ## from nothing to a results table and a report on synthetic people: minutes
	$(RUN) -m pipeline.synthetic --layout sysu --root data/demo --identities 150
	$(RUN) -m pipeline.evaluate $(DEMO) name=demo-pixels evaluation.extractor=pixels
	$(RUN) -m pipeline.evaluate $(DEMO) name=demo-untrained
	$(LAUNCH) -m pipeline.train $(DEMO) configs/ablation/b1.yaml
	$(LAUNCH) -m pipeline.train $(DEMO)
	@echo
	@$(RUN) -m pipeline.tables $(DEMO_RUNS) > runs/demo/table.txt && cat runs/demo/table.txt
	@echo "pixels: raw grayscale pixels; untrained: the network before training;"
	@echo "b1: identity loss only; demo: the base-derivative method. Means over 10 trials, per cent."
	@$(RUN) -m pipeline.report $(DEMO_RUNS) --out runs/demo/report.html
	@echo "The table: runs/demo/table.txt. The report, to be opened in a browser: runs/demo/report.html"
	@echo "Images: data/demo. Each run's results.csv, metrics.csv, log.txt, model.safetensors: runs/demo*"

ablation: $(VENV)/installed  ## the paper's table 4 on synthetic people: an hour or more
	$(RUN) -m pipeline.synthetic --layout sysu --root data/ablation --identities 300
	OMP_NUM_THREADS=$(THREADS) $(RUN) -m pipeline.sweep configs/sweeps/ablation_demo.list --processes $(PROCESSES)
	@echo
	@$(RUN) -m pipeline.tables runs/ablation-* --layout ablation

methods: $(VENV)/installed  ## all methods with one small recipe on synthetic people: about five hours
	$(RUN) -m pipeline.synthetic --layout sysu --root data/demo --identities 150
	OMP_NUM_THREADS=$(THREADS) $(RUN) -m pipeline.sweep configs/sweeps/methods_demo.list --processes $(PROCESSES)
	@echo
	@$(RUN) -m pipeline.tables runs/methods-* --layout sysu

check: $(VENV)/installed-test  ## style, and the tests that build no DALI pipeline and start no process: a minute
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	OMP_NUM_THREADS=1 $(RUN) -m pytest -m unit

test: $(VENV)/installed-test  ## style and all tests
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(RUN) -m pytest

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: requirements.txt | $(VENV)/bin/python
	$(RUN) -m pip install -r requirements.txt -e .
	touch $@

$(VENV)/installed-test: requirements-test.txt $(VENV)/installed
	$(RUN) -m pip install -r requirements-test.txt
	touch $@

clean:  ## delete .venv and what demo, ablation and methods made
	rm -rf $(VENV) build vireid.egg-info data/demo data/ablation
	rm -rf runs/demo runs/demo-* runs/ablation-* runs/methods-*
