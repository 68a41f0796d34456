# Two commands: `make demo` (from nothing to a page of verdicts) and `make test`.
# VENV and PYTHON may be set: make demo PYTHON=python3.12 VENV=/somewhere/else

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
INSTALLED = $(VENV)/installed

.PHONY: demo test check bench studio clean

demo: $(INSTALLED)-core
	"$(BIN)/orrery" doctor
	"$(BIN)/orrery" tour

test: $(INSTALLED)-test
	OMP_NUM_THREADS=1 "$(BIN)/python" -m pytest -n 2 --dist worksteal

check: $(INSTALLED)-check
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check .
	"$(BIN)/mypy"
	"$(BIN)/lint-imports"
	"$(BIN)/codespell" src tests docs benchmarks README.md CONTRIBUTING.md CHANGELOG.md

bench: $(INSTALLED)-bench
	"$(BIN)/python" -m benchmarks

studio: $(INSTALLED)-core
	@echo "The studio is not built yet; orrery tour writes the pages there are."

clean:
	rm -rf "$(VENV)" .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

# Each set of extras is installed once, and again when the project's needs change.
$(INSTALLED)-core: EXTRAS =
$(INSTALLED)-test: EXTRAS = [test]
$(INSTALLED)-check: EXTRAS = [check]
$(INSTALLED)-bench: EXTRAS = [bench]
$(INSTALLED)-%: pyproject.toml constraints.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "orrery needs Python 3.11 or newer; set PYTHON=... (this is: $$("$(PYTHON)" --version))"; exit 2; }
	test -x "$(BIN)/python" || "$(PYTHON)" -m venv "$(VENV)"
	"$(BIN)/python" -m pip install --disable-pip-version-check --quiet -c constraints.txt -e '.$(EXTRAS)'
	touch "$@"
