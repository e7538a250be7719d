PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# Folders too: their time changes when a file goes.
SOURCES := pyproject.toml CMakeLists.txt README.md LICENSE \
           $(shell find src fastlogits -name __pycache__ -prune -o -print)
# Compiled to nothing: GCC does not look for functions without a use while it only parses.
WARNINGS := -std=c11 -Og -S -o /dev/null -DFASTLOGITS_NO_FORCED_INLINE \
            -Wall -Wextra -Wshadow -Wconversion -Werror
OTHERS := $(if $(filter-out 0,$(PEERS)),$(VENV)/extra-peers)

# With QUICK=1, and under the sanitizers, few examples of each property.
QUICK ?= 0
PYTEST = --numprocesses=auto --maxprocesses=4 \
         $(if $(filter-out 0,$(QUICK)),--hypothesis-profile=quick)

# How many commits `make asv` measures.
COMMITS := 3
# What `make bench` measures: a regular expression.
BENCH := Usual|Import|Error
# How long each fuzzer runs.
SECONDS := 60
# Every how many-th float32 `make exhaustive` takes.
STRIDE := 1

.PHONY: demo test native native-hashes asan tsan fuzz fuzz-python lint bench asv asv-check accuracy exhaustive clean
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Two pips at once would spoil the environment.
.NOTPARALLEL:

demo: $(VENV)/installed
	$(BIN)/fastlogits demo

# The script, not `python -m pytest`: that would import the checkout, which has no compiled core.
test: $(VENV)/extra-test $(OTHERS)
	$(BIN)/pytest $(PYTEST) tests

# CMake and Ninja.
native native-hashes fuzz exhaustive: export PATH := $(abspath $(BIN)):$(PATH)

# The kernels without Python: by each compiler that is installed, on aarch64 in an emulator, and
# under Clang's sanitizers.
native: $(VENV)/cmake
	tests/native/run

native-hashes: $(VENV)/cmake
	tests/native/run write-hashes

# The C entry points, with whatever comes up.
fuzz: $(VENV)/cmake
	tests/native/run fuzz $(SECONDS)

# The Python functions, with whatever comes up.
fuzz-python: $(VENV)/extra-test
	cd tests && $(abspath $(BIN))/python -m fuzz $(SECONDS)

# GCC's sanitizers, with the package in environments of their own.
asan tsan: export CC := gcc
asan: export CFLAGS := -fsanitize=address,undefined -fno-sanitize-recover=undefined
tsan: export CFLAGS := -fsanitize=thread
# ThreadSanitizer does not know the barriers of OpenMP.
tsan: OPENMP := OFF
asan: QUICK := 1

# The tests. The first exception of C++, which other libraries throw, needs its library from the
# beginning.
asan: $(VENV)/asan/installed
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libstdc++.so)" \
	    ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 \
	    $(VENV)/asan/bin/pytest $(PYTEST) tests

# Calls in many Python threads at once, at the same addresses each time, without which it may not
# start.
tsan: $(VENV)/tsan/installed
	LD_PRELOAD=$$(gcc -print-file-name=libtsan.so) PYTHONMALLOC=malloc \
	    setarch $$(uname -m) -R $(VENV)/tsan/bin/pytest --capture=no tests/test_concurrency.py

lint: $(VENV)/extra-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	# It looks for pycodestyle on the path.
	PATH="$(abspath $(BIN)):$$PATH" cython-lint --max-line-length 100 fastlogits
	find src tests -name '*.[ch]' -exec $(BIN)/clang-format --dry-run -Werror {} +
	# No warning from this compiler, nor from clang where it is installed.
	for cc in $(CC) $$(command -v clang); do for source in src/*.c src/isa/portable.c; do \
	    $$cc $(WARNINGS) $$source || exit 1; done; done
ifeq ($(shell uname -m),x86_64)
	for cc in $(CC) $$(command -v clang); do \
	    $$cc $(WARNINGS) -DFASTLOGITS_X86 src/cpu.c && \
	    $$cc $(WARNINGS) -mavx2 -mfma -mf16c src/isa/avx2.c && \
	    $$cc $(WARNINGS) -march=skylake-avx512 src/isa/avx512.c || exit 1; done
endif
	$(BIN)/mypy fastlogits
	# From another folder, to compare the installed core with the installed stub.
	cd $(VENV) && bin/python -m mypy.stubtest fastlogits._core

# A part of the suite, on what is installed here; with PEERS=1 beside PyTorch.
bench: $(VENV)/extra-bench $(OTHERS)
	$(BIN)/asv machine --yes >/dev/null
	$(BIN)/asv run --environment existing:$(BIN)/python --bench "$(BENCH)"

# The suite on each of the last commits, built from source in environments of their own.
asv: $(VENV)/extra-bench
	$(BIN)/asv machine --yes >/dev/null
	$(BIN)/asv run --skip-existing-successful HEAD~$(COMMITS)..HEAD
	$(BIN)/asv publish
	@echo "Now: $(BIN)/asv preview"

asv-check: $(VENV)/extra-bench
	$(BIN)/asv check --environment existing:$(BIN)/python

# Makes docs/accuracy.md; with PEERS=1 beside the other libraries, with OPERATION=NAME its rows only.
accuracy: $(VENV)/extra-test $(OTHERS)
	PYTHONPATH=tests:tools $(BIN)/python -P -m accuracy $(if $(OPERATION),--operation "$(OPERATION)")

# Every float32, or every STRIDE-th, through the exponentials and logarithms of every kernel table.
exhaustive: $(VENV)/cmake
	tests/native/run exhaustive $(STRIDE)

clean:
	rm -rf .asv .venv* build dist fastlogits-demo .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/created:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; make PYTHON=..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	@touch $@

# One build; the extras are then added to the wheel without another.
$(VENV)/installed: $(VENV)/created $(SOURCES)
	rm -rf $(VENV)/wheel
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir $(VENV)/wheel .
	$(BIN)/pip install --quiet --no-deps --force-reinstall $(VENV)/wheel/*.whl
	$(BIN)/pip install --quiet "$$(echo $(VENV)/wheel/*.whl)[cli,sklearn]"
	@touch $@

$(VENV)/%san/installed: $(VENV)/created $(SOURCES)
	$(BIN)/python -m venv $(VENV)/$*san
	CFLAGS="$$CFLAGS -O1 -g -DFASTLOGITS_NO_FORCED_INLINE" $(VENV)/$*san/bin/pip install --quiet \
	    --config-settings=build-dir=$(VENV)/$*san/build \
	    --config-settings=cmake.build-type=Debug \
	    --config-settings=cmake.define.FASTLOGITS_OPENMP=$(or $(OPENMP),ON) ".[test]"
	@touch $@

$(VENV)/cmake: $(VENV)/created
	$(BIN)/pip install --quiet "cmake>=3.20" ninja
	@touch $@

$(VENV)/extra-%: $(VENV)/installed
	$(BIN)/pip install --quiet "$$(echo $(VENV)/wheel/*.whl)[$*]"
	@touch $@
