# Everything runs in .venv, which the first target that needs it creates. Another Python: make PYTHON=python3.12 ...
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.installed

.PHONY: train test test-all lint check mutants bench bench-all bench-mnist gpu stubs docs test-site clean
.DELETE_ON_ERROR:

train: $(READY)  ## learn handwritten digits, test, draw pictures: a run folder below runs/
	$(BIN)/manual-backprop fit

test: $(READY)  ## values and derivatives of every row, every check on every rule; not what takes long or needs a GPU
	$(BIN)/python -m pytest

test-all: $(READY)  ## everything this machine can run: every check on every row, several processes, long tests
	$(BIN)/python -m pytest -m "$$($(BIN)/python -c 'import torch; print("" if torch.cuda.is_available() else "not gpu")')"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: $(READY)  ## the table of layers x checks
	$(BIN)/manual-backprop check

mutants: $(READY)  ## wrong versions of every formula against the checks
	$(BIN)/python -m tests.mutants

bench: $(READY)  ## every layer and thirteen training steps against torch.nn: tables and plots in benchmarks/results (12 minutes)
	$(BIN)/python -m benchmarks.layers
	$(BIN)/python -m benchmarks.steps

bench-all: $(READY)  ## the same with torch.compile, cost over growth, and MNIST, which lies in DATA (30 minutes)
	$(BIN)/python -m benchmarks.layers
	$(BIN)/python -m benchmarks.steps --compile
	$(BIN)/python -m benchmarks.growth --compile
	$(MAKE) bench-mnist

bench-mnist: $(READY)  ## MNIST to 99 % against pytorch's example, one step against torch.nn; MNIST lies in DATA (4 minutes)
	$(BIN)/python -m benchmarks.mnist --root $(or $(DATA),data)

gpu: $(READY)  ## all that wants a GPU, on one: its tests, and steps of ResNet-50, ViT-S and GPT-2 (8 minutes)
	$(BIN)/python -m benchmarks.gpu

stubs: $(READY)  ## what packages export, for type checkers and editors, from their code
	$(BIN)/python docs/stubs.py

docs: $(READY)  ## the site, in docs/_build/html: guides, derivations, API (2 minutes)
	$(BIN)/python -m sphinx -q -W --keep-going -b html -j auto docs docs/_build/html

test-site: $(READY)  ## every page of the site in Chromium, nothing else reachable (5 minutes)
	$(BIN)/python -m pytest -n0 -m site tests/test_site.py

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis examples/out docs/_build docs/rules docs/tree
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("Python 3.11 or newer is needed, $(PYTHON) is %d.%d: name another with make PYTHON=..." % v[:2])'
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check -e ".[train,dev,docs]"
	touch $@
