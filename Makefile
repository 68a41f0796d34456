# Two commands: `make demo` (from nothing to a page of verdicts) and `make test`.
# PYTHON and VENV may be set: make demo PYTHON=python3.12 VENV=/somewhere/else (without spaces).

PYTHON ?= python3
VENV ?= .venv
RUN = "$(VENV)/bin/python"

# A stamp for each set of extras. Its name holds the folder's path, because an environment does
# not survive a move: in a copied or renamed checkout everything is installed again.
INSTALLED = $(VENV)/installed-$(shell pwd | cksum | cut -d ' ' -f 1)

# Modules are compiled where they are first imported. Were that not kept, each of the many processes
# of a tour or a test run would compile all of torch's again: seconds every time.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check mutants bench studio clean

demo: $(INSTALLED)-core
	$(RUN) -m orrery doctor
	$(RUN) -m orrery tour

test: $(INSTALLED)-test
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist worksteal

check: $(INSTALLED)-check
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(RUN) -c 'from importlinter.cli import lint_imports_command; lint_imports_command()'
	$(RUN) -m codespell_lib src tests docs benchmarks README.md CONTRIBUTING.md CHANGELOG.md

mutants: $(INSTALLED)-test
	$(RUN) -m tests.mutants

bench: $(INSTALLED)-bench
	$(RUN) -m benchmarks

studio: $(INSTALLED)-core
	@echo "The studio is not built yet; orrery tour writes the pages there are."

clean:
	rm -rf "$(VENV)" .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

# Each set of extras is installed once, and again when the project's needs change. An environment
# that was left half made (no pip in it) is made anew. Modules are compiled when first imported.
$(INSTALLED)-core: EXTRAS =
$(INSTALLED)-test: EXTRAS = [test]
$(INSTALLED)-check: EXTRAS = [check]
$(INSTALLED)-bench: EXTRAS = [bench]
$(INSTALLED)-%: pyproject.toml constraints.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "orrery needs Python 3.11 or newer; set PYTHON=... (this is: $$("$(PYTHON)" --version))"; exit 2; }
	@echo "Installing orrery$(EXTRAS) into $(VENV): minutes the first time, seconds from then on."
	@$(RUN) -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear "$(VENV)"
	$(RUN) -m pip install --disable-pip-version-check --no-compile -c constraints.txt -e '.$(EXTRAS)'
	@touch "$@"
