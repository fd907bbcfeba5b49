# Targets for users and developers. Each target sets up what it needs, once.
BIN := .venv/bin

# One process per processor, each with its own screen. For a single process: make test PYTEST_ARGS="-n 0"
PYTEST_ARGS := -n logical --maxprocesses 8 --dist worksteal
# Bytecode is always kept: without it each process compiles napari, which takes 5 s.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest $(PYTEST_ARGS)

.PHONY: help demo cluster-demo test test-all matrix package lint format bench docs clean

help:
	@echo "make demo      build a pyramid of a brain and open it in napari (without a display: draw it to demo.png)"
	@echo "make cluster-demo  build with a dask cluster and an S3 server, all on this machine, and show the dashboard's address"
	@echo "make test      set up, lint, and run the tests, also the tests of the window"
	@echo "make test-all  the same with the slow tests"
	@echo "make matrix    demo and tests with Python 3.11 to 3.13, the newest and the lowest versions (LEGS=3.11-lowest runs one of them)"
	@echo "make package   build the wheel and the sdist, and check them without and with napari"
	@echo "make lint      ruff, mypy, and deptry: every import is declared, every dependency imported"
	@echo "make format    let ruff correct the formatting"
	@echo "make bench     repeat all measurements of docs/benchmarks.md (QUICK=1: compare the builders in two minutes)"
	@echo "make docs      build the pages in docs/ as a site in build/site"
	@echo "make clean     remove everything that make creates"

demo: .venv/.ready-gui
	@scripts/setup-system.sh $(if $(DISPLAY)$(WAYLAND_DISPLAY),--have-display)
	@$(BIN)/napari-pyramid demo

cluster-demo: .venv/.ready-dev
	@$(BIN)/python scripts/cluster_demo.py

test: .venv/.ready-dev lint
	@scripts/setup-system.sh
	@scripts/fetch-nginx.sh
	$(PYTEST)

test-all: .venv/.ready-dev lint
	@scripts/setup-system.sh
	@scripts/fetch-nginx.sh
	@scripts/fetch-azurite.sh
	$(PYTEST) -m ""

matrix: .venv/.ready-dev
	@scripts/setup-system.sh
	@scripts/fetch-nginx.sh
	$(BIN)/python scripts/test_matrix.py $(LEGS)

package: .venv/.ready-dev
	@scripts/setup-system.sh
	$(BIN)/python scripts/check_package.py

lint: .venv/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/deptry src
	$(BIN)/deptry tests --ignore DEP002,DEP004

format: .venv/.ready-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/.ready-dev
	$(BIN)/python benchmarks/run.py $(if $(QUICK),--quick)
ifndef QUICK
	$(BIN)/python benchmarks/scaling.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/linear.py
	$(BIN)/python benchmarks/codecs.py
	$(BIN)/python benchmarks/scale.py
	$(BIN)/python benchmarks/viewing.py
endif

docs: .venv/.ready-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf .venv build dist demo.ome.zarr demo.png cluster-demo .mypy_cache .pytest_cache .ruff_cache .hypothesis benchmarks/.work
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp per dependency group, renewed when the dependencies change.
.venv/.ready-%: pyproject.toml scripts/setup-venv.sh
	@scripts/setup-venv.sh $*
	@touch $@
