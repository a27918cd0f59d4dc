# `make demo`: from nothing to a results table on drawn people. `make test`: all tests. Both can be run again.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
LAUNCH := $(RUN) -m accelerate.commands.launch --quiet --num_machines 1 --mixed_precision no --dynamo_backend no
# one process: more GPUs by `make demo PROCESSES=2`
PROCESSES ?= 1

.PHONY: demo test lint clean

demo: $(VENV)/installed
	$(RUN) -m pipeline.datasets.synthetic --layout sysu --root data/demo --identities 100 --images-per-camera 8
	$(RUN) -m pipeline.evaluate configs/demo.yaml name=demo-pixels evaluation.extractor=pixels
	$(RUN) -m pipeline.evaluate configs/demo.yaml name=demo-untrained
	$(LAUNCH) --num_processes $(PROCESSES) -m pipeline.train configs/demo.yaml configs/ablation/b1.yaml
	$(LAUNCH) --num_processes $(PROCESSES) -m pipeline.train configs/demo.yaml
	@echo
	@$(RUN) -m pipeline.tables runs/demo-pixels runs/demo-untrained runs/demo-b1 runs/demo
	@echo "data: data/demo; runs: runs/demo-b1 (identity loss alone), runs/demo (the method): results.csv, metrics.csv, log.txt, model.safetensors"

test: $(VENV)/installed-test
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m pytest

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: requirements.txt | $(VENV)/bin/python
	$(RUN) -m pip install -r requirements.txt
	touch $@

$(VENV)/installed-test: requirements-test.txt $(VENV)/installed
	$(RUN) -m pip install -r requirements-test.txt
	touch $@

clean:
	rm -rf $(VENV) data/demo runs/demo runs/demo-*
