"""The package: public names are loaded when they are first used, and stay what they are."""

from __future__ import annotations

import importlib

import pytest

import dmmcheck
from dmmcheck import errors


@pytest.mark.parametrize("name", dmmcheck.__all__)
def test_each_public_name_exists(name):
    value = getattr(dmmcheck, name)
    assert value is not None
    assert getattr(dmmcheck, name) is value
    assert name in dir(dmmcheck)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'dmmcheck' has no attribute 'Subjects'"):
        dmmcheck.Subjects  # noqa: B018


def test_a_function_is_not_hidden_by_the_module_of_its_name():
    module = importlib.import_module("dmmcheck.run")
    assert callable(dmmcheck.run)
    assert dmmcheck.run is module.run


@pytest.mark.parametrize(
    "kind",
    [kind for kind in vars(errors).values() if isinstance(kind, type) and kind.__module__ == errors.__name__],
    ids=lambda kind: kind.__name__,
)
def test_each_error_is_a_dmm_error_and_says_when_it_is_raised(kind):
    assert issubclass(kind, dmmcheck.DmmError)
    assert kind.__doc__.endswith(".")
