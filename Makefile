# make demo    sets up and runs keyword spotting with progressive distillation on the embedded corpus
# make test    sets up and runs all tests, the C++ ones under sanitizers
# make lint    ruff, clang-format, shellcheck
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := setup.py pyproject.toml CMakeLists.txt constraints.txt $(wildcard csrc/*/*)
SHELLS := $(shell git ls-files '*.sh' '.ci/run')
CXX_FILES := $(shell git ls-files 'csrc/*.cc' 'csrc/*.h')

.PHONY: demo test pytest sanitize lint format setup clean

demo: setup
	egs/speech_commands/run.sh --corpus embedded --data exp/demo/data --exp exp/demo \
	  --set teacher.members=1 --set teacher.epochs=25 \
	  --set train.epochs=25 --set train.warmup_epochs=2

test: setup sanitize pytest

pytest: setup
	PATH="$(CURDIR)/$(BIN):$$PATH" python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

sanitize: setup
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake -S . -B build/sanitize -DCMAKE_BUILD_TYPE=RelWithDebInfo \
	  -DKDSPEECH_PYTHON=OFF -DKDSPEECH_TESTS=ON -DKDSPEECH_SANITIZE=address,undefined -DKDSPEECH_WERROR=ON
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake --build build/sanitize -j2
	cd build/sanitize && PATH="$(CURDIR)/$(BIN):$$PATH" ctest --output-on-failure

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run -Werror $(CXX_FILES)
	$(BIN)/shellcheck -x $(SHELLS)

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CXX_FILES)

setup: $(VENV)/installed

$(VENV)/installed: $(SOURCES)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-deps torchaudio
	$(BIN)/python tools/fit_torchaudio.py
	KDSPEECH_CMAKE_ARGS=-DKDSPEECH_WERROR=ON $(BIN)/python -m pip install --quiet -c constraints.txt -e ".[test,lint]"
	touch $@

clean:
	rm -rf build $(VENV) kdspeech/_core*.so kdspeech.egg-info
