# Everything one does twice. `make help` lists the targets.
#
# All Python tools live in .venv, which the targets make themselves. Stamp files in .venv
# remember what has been installed, so that a repeated call does no work. The package is
# installed (not editable): what is tested is what users get.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_OUT ?= build/demo

PACKAGE := pyproject.toml setup.py MANIFEST.in README.md LICENSE \
	$(wildcard csrc/*.h csrc/*/*.c csrc/*/*.h csrc/*/*.inc) \
	$(wildcard python/jspgfn/* python/jspgfn/data/*)
C_FILES := $(wildcard csrc/*.h csrc/*/*.c csrc/*/*.h csrc/*/*.inc \
	tests/c/*.c tests/c/*.h benchmarks/c/*.c benchmarks/c/*.h)
# only folders that exist, so that ruff does not complain
PYTHON_CODE := setup.py python $(wildcard tests benchmarks docs)

.DEFAULT_GOAL := help
.PHONY: help demo test ctest pytest asan tsan valgrind fuzz long calibration soak nightly docs lint format types bench bench-full sdist packages requirements clean distclean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.installed-plot ## sample the posterior of the Sachs protein data
	$(BIN)/jspgfn demo --out $(DEMO_OUT)

test: lint types ctest pytest ## everything that must pass: lint, types, C tests, Python tests

ctest: ## the C tests, which need no Python
	$(MAKE) -C tests/c run
	$(MAKE) -C tests/c symbols

pytest: $(VENV)/.installed-dev ## the Python tests; PYTEST_ARGS="-k name" selects
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# The extension is built once more, with sanitizers, into a folder of its own. CPython does not
# free everything at its end, so leaks are looked for by the tests themselves
# (_core.live_allocations). Exceptions of the C++ in matplotlib need their library loaded from
# the start. Left out are texts and what must keep to a time. ASAN_ARGS selects other tests.
ASAN_ARGS ?= tests/unit tests/twins tests/fuzz tests/statistical/test_faults.py \
	--deselect tests/unit/test_repository.py --deselect tests/unit/test_documentation.py \
	--deselect tests/unit/test_bench_suite.py
ASAN_BUILD := build/asan/lib
asan: $(VENV)/.installed-dev ## the Python tests on an extension with address and UB sanitizers
	JSPGFN_SANITIZE=1 $(BIN)/python setup.py -q build --build-lib $(ASAN_BUILD) \
		--build-temp build/asan/temp
	PYTHONPATH=$(ASAN_BUILD) \
		LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) $$($(CC) -print-file-name=libstdc++.so)" \
		ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 PYTHONMALLOC=malloc \
		$(BIN)/python -m pytest $(ASAN_ARGS)

tsan: ## the C tests under ThreadSanitizer; needs clang, libomp and libarcher
	$(MAKE) -C tests/c tsan

valgrind: ## the C tests under valgrind, every block left is an error
	$(MAKE) -C tests/c valgrind

fuzz: ## libFuzzer programs of tests/fuzz, FUZZ_SECONDS=120 each; needs clang
	$(MAKE) -C tests/c fuzz

long: $(VENV)/.installed-dev ## the tests that have a long version, in that version
	JSPGFN_LONG_TESTS=1 $(BIN)/python -m pytest -m long $(PYTEST_ARGS)

calibration: $(VENV)/.installed-dev ## is the truth a typical draw? 500 data sets per model and sampler
	for g in "exact --wrong" exact chain edges; do $(BIN)/python benchmarks/calibration.py $$g; done

soak: $(VENV)/.installed-dev ## 1,000 fits in one process, 10^8 random numbers of each kind
	$(BIN)/python benchmarks/soak.py --fits 1000
	$(MAKE) -C benchmarks/c judge_rng

nightly: test asan tsan valgrind fuzz long calibration soak ## all of the above: some hours

docs: $(VENV)/.installed-dev ## the documentation with its notebooks, in build/docs/html
	$(BIN)/sphinx-build -q -W --keep-going -b html -d build/docs/trees docs build/docs/html
	@echo build/docs/html/index.html

lint: $(VENV)/.installed-dev ## ruff and clang-format, changing nothing
	$(BIN)/ruff check $(PYTHON_CODE)
	$(BIN)/ruff format --check $(PYTHON_CODE)
	$(BIN)/clang-format --dry-run --Werror $(C_FILES)

format: $(VENV)/.installed-dev ## let ruff and clang-format rewrite the files
	$(BIN)/ruff check --fix $(PYTHON_CODE)
	$(BIN)/ruff format $(PYTHON_CODE)
	$(BIN)/clang-format -i $(C_FILES)

types: $(VENV)/.installed-dev ## mypy, and the stub of the extension against the extension
	$(BIN)/mypy
	$(BIN)/stubtest jspgfn._core --mypy-config-file pyproject.toml

bench: $(VENV)/.installed-dev ## every method on some problems, ten minutes; see benchmarks/README.md
	cd benchmarks && ../$(BIN)/python -m suite.run short $(BENCH_ARGS)
	cd benchmarks && ../$(BIN)/python -m suite.report

bench-full: bench ## all problems, sizes and seeds, and kernels: hours; BENCH_ARGS="--data FOLDER"
	$(MAKE) -C benchmarks/c run
	$(BIN)/python benchmarks/threads.py
	$(BIN)/python benchmarks/accuracy.py
	cd benchmarks && for p in budgets wide grid; do \
		../$(BIN)/python -m suite.run $$p $(BENCH_ARGS) || exit 1; done
	cd benchmarks && ../$(BIN)/python -m suite.report

sdist: $(VENV)/.installed-dev ## source archive and wheel in dist/
	$(BIN)/pip install --quiet build
	$(BIN)/python -m build --outdir dist

packages: $(VENV)/.installed-dev ## build, check and install the wheel without a compiler
	$(BIN)/pip install --quiet build twine
	PYTHON=$(CURDIR)/$(BIN)/python .ci/packages

requirements: $(VENV)/.installed-dev ## newest versions, with hashes, into requirements-dev.txt
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra dev --generate-hashes --universal \
		--python-version 3.10 --no-emit-index-url --upgrade -q -o requirements-dev.txt

# The build runs with the tools of .venv (--no-build-isolation), which keeps compiled
# objects in build/temp* usable; build/lib* goes, or deleted modules would linger in it.
BUILD_TOOLS := "setuptools>=77" "numpy>=2.0"
INSTALL := rm -rf build/lib* && $(BIN)/pip install --quiet --no-build-isolation

$(VENV)/.created:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet $(BUILD_TOOLS)
	touch $@

$(VENV)/.installed-plot: $(VENV)/.created $(PACKAGE)
	$(INSTALL) ".[plot]"
	touch $@

$(VENV)/.installed-dev: $(VENV)/.created $(PACKAGE)
	$(INSTALL) ".[dev]"
	touch $@ $(VENV)/.installed-plot

clean: ## remove build products and caches
	rm -rf build dist python/*.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	if [ -f tests/c/Makefile ]; then $(MAKE) -C tests/c clean; fi
	if [ -f benchmarks/c/Makefile ]; then $(MAKE) -C benchmarks/c clean; fi
	find python tests -name __pycache__ -prune -exec rm -rf {} +

distclean: clean ## and the virtual environment
	rm -rf $(VENV)
