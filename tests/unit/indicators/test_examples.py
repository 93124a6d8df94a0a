"""The examples in the docstrings run, and print what they say."""

import doctest
import importlib

import pytest

from tapeflow import indicators


@pytest.mark.parametrize("module", [*(f".{kind}" for kind in indicators.names()), "._parameters", ""])
def test_examples(module):
    result = doctest.testmod(importlib.import_module(f"tapeflow.indicators{module}"))
    assert result.attempted
    assert not result.failed
