# Two commands do all the set-up on a fresh machine: `make run` and `make test`.
# What they need: git, make and python3 >= 3.11 with venv; scripts/setup names the apt command where one is missing.

VENV := .venv
BIN := $(VENV)/bin

.PHONY: run
run: $(VENV)/run
	$(BIN)/python -m demo $(if $(ONCE),--once)

.PHONY: check
check: $(VENV)/dev
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/pytest -q -n 2 -m "not slow and not long" tests/unit

.PHONY: test
test: $(VENV)/dev
	scripts/packages
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/pytest -q -n 6 --dist loadfile --durations=15 -m "not long" tests

.PHONY: test-all
test-all: test
	scripts/packages mariadb-server postgresql slapd ldap-utils procmail maildrop dovecot-core dovecot-lmtpd postgrey btrfs-progs
	$(BIN)/pytest -q -n 2 --dist loadfile --durations=15 -m long tests
	FUZZ=20 $(BIN)/pytest -q -n 2 tests/fuzz

.PHONY: bench
bench: $(VENV)/dev
	scripts/packages
	$(BIN)/python -m bench $(ARGS)

.PHONY: clean
clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/run: requirements/runtime.txt pyproject.toml
	scripts/setup $(VENV) requirements/runtime.txt
	@touch $@

$(VENV)/dev: requirements/dev.txt pyproject.toml
	scripts/setup $(VENV) requirements/dev.txt
	@touch $@ $(VENV)/run
