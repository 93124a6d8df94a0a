# The steps of dev.py for those who have make.
PYTHON ?= python3

.PHONY: setup run fmt lint types imports test test-all docs bench bench-cluster fuzz broken

setup run fmt lint types imports docs bench bench-cluster fuzz broken:
	$(PYTHON) dev.py $@
test:
	$(PYTHON) dev.py quick
test-all:
	$(PYTHON) dev.py test
