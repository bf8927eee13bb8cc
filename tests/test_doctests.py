"""The examples in docstrings run, each module's in turn, and leave the registries as they were."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import dmmcheck

MODULES = ["dmmcheck", *(module.name for module in pkgutil.walk_packages(dmmcheck.__path__, "dmmcheck."))]
WITH_EXAMPLES = {
    "dmmcheck.attacks.minimal_norm.search",
    "dmmcheck.checks.base",
    "dmmcheck.models.base",
    "dmmcheck.report.write",
    "dmmcheck.run",
    "dmmcheck.soundness.registry",
}
"""Modules that are known to have examples, so that a finder which finds none is noticed."""


@pytest.mark.usefixtures("own_registries")
@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0
    assert result.attempted or name not in WITH_EXAMPLES
