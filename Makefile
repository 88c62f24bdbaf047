# make demo        compile the bundled digit classifier, link it into the C program, show what it reads
# make test        every test that needs only numpy and llvmlite (and those that need PyTorch, where it is installed)
# make conformance the long tables against PyTorch: archives, programs, memory, operators, modules, models, scripted,
#                  sizes, detection, cpus
#                  (TABLES="archives memory models" for some of them)
PYTHON ?= python3
CC ?= cc
CXX ?= c++
VENV ?= .venv
BUILD ?= build
PY = $(VENV)/bin/python
WARN = -Wall -Wextra -Werror -O2
DIGITS = examples/digits

.PHONY: demo test conformance install clean

install: $(VENV)/.installed

# The stamp is renewed when the package's metadata changes; the sources themselves are installed in place.
$(VENV)/.installed: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.10 or later is needed, this is " + sys.version.split()[0] \
	    if sys.version_info < (3, 10) else 0)'
	@test -x $(PY) || $(PYTHON) -m venv $(VENV) || \
	    { echo 'The Python module venv is missing; on Debian and Ubuntu: apt-get install python3-venv' >&2; exit 1; }
	$(PY) -m pip install -q --disable-pip-version-check -e '.[test]'
	@touch $@

demo: install
	@mkdir -p $(BUILD)
	$(VENV)/bin/aot-compile $(DIGITS)/digits.pt -v --name digits -o $(BUILD)/digits
	$(CC) -std=c99 $(WARN) -Iruntime/include -c runtime/src/aot_npy.c -o $(BUILD)/aot_npy.o
	$(CC) -std=c99 $(WARN) -I$(BUILD) -Iruntime/include $(DIGITS)/digits.c $(BUILD)/digits.o $(BUILD)/aot_npy.o \
	    -o $(BUILD)/digits
	$(CXX) -std=c++17 $(WARN) -I$(BUILD) -Iruntime/include $(DIGITS)/digits.cpp $(BUILD)/digits.o \
	    $(BUILD)/aot_npy.o -pthread -o $(BUILD)/digits_cpp
	$(BUILD)/digits $(DIGITS)/images.npy $(DIGITS)/labels.npy
	$(BUILD)/digits_cpp $(DIGITS)/images.npy $(DIGITS)/labels.npy

test: install
	OMP_NUM_THREADS=1 $(PY) -m pytest -n auto --maxprocesses=8

conformance: install
	@$(PY) -c 'import torch' || \
	    { echo 'PyTorch is needed: $(VENV)/bin/pip install torch==2.13.0 expecttest pillow' >&2; exit 1; }
	LD_LIBRARY_PATH="$(abspath $(BUILD))/torchvision-stubs:$$LD_LIBRARY_PATH" OMP_NUM_THREADS=1 \
	    $(PY) -m tests.conformance $(TABLES)

clean:
	rm -rf $(BUILD) $(VENV)
