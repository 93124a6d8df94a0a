PYTHON ?= python3

.PHONY: setup run fmt lint types test test-all bench docs broken

setup run fmt lint types:
	$(PYTHON) dev.py $@
test:
	$(PYTHON) dev.py quick
test-all:
	$(PYTHON) dev.py test
bench:
	$(PYTHON) dev.py bench
broken:
	$(PYTHON) dev.py broken
