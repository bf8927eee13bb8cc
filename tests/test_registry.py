"""Registries: names that are taken, names that are known without an import, and things that are loaded when needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dmmcheck import checks, soundness
from dmmcheck.errors import RegistryError
from dmmcheck.measurement import nulls
from dmmcheck.registry import CHECKS, CONTROLS, GATES, REPORT_FORMATS, Registry
from dmmcheck.report import write

HOMES = (checks, soundness, nulls, write)  # imported here, so that no fixture of another test takes away what they add


def test_things_are_found_by_name_in_the_order_of_registration():
    things = Registry("thing")
    things.add("b", 2, source="one.module.b")
    things.add("a", 1, source="one.module.a")
    assert dict(things) == {"b": 2, "a": 1}
    assert things.names == tuple(things) == ("b", "a")
    assert len(things) == 2
    assert "a" in things
    assert "c" not in things
    with pytest.raises(KeyError):
        things["c"]


def test_one_source_can_add_a_thing_again_and_it_keeps_its_position():
    things = Registry("thing")
    for value in (1, 2):
        things.add("a", value, source="one.module.a")
        things.add("b", value, source="one.module.b")
    assert list(things.items()) == [("a", 2), ("b", 2)]


def test_two_sources_cannot_add_things_of_one_name():
    things = Registry("thing")
    things.add("a", 1, source="one.module.a")
    with pytest.raises(RegistryError, match=r"the thing 'a' exists already \(in one.module.a\); choose another name"):
        things.add("a", 2, source="another.module.a")
    assert things["a"] == 1
    things.add("b", 2, source="another.module.a")  # the remedy
    assert things["b"] == 2


def test_the_package_alone_adds_things_of_builtin_names():
    things = Registry("thing", builtin=("a",))
    with pytest.raises(RegistryError, match=r"the thing 'a' exists already \(in dmmcheck\); choose another name"):
        things.add("a", 1, source="one.module.a")
    things.add("a", 2, source="dmmcheck.things.a")
    assert things["a"] == 2


def test_builtin_names_come_first_and_are_known_before_their_module_is_imported():
    things = Registry("thing", builtin=("a",), home="no.such.module")
    things.add("b", 2, source="one.module.b")
    assert things.names == ("a", "b")
    assert len(things) == 2
    assert things.get_added("a") is None
    assert things.get_added("b") == 2
    with pytest.raises(ModuleNotFoundError):
        things["b"]


def test_a_thing_can_be_put_in_the_place_of_another():
    things = Registry("thing")
    things.put("a", 1)
    things.put("a", 2)
    assert things["a"] == 2


def test_the_home_of_a_registry_is_imported_when_a_thing_is_looked_up():
    code = """
import sys
from dmmcheck.registry import CHECKS, CONTROLS, GATES, REPORT_FORMATS
assert CONTROLS.names == ("rotation", "spectrum", "same-class", "other-class", "order")
assert REPORT_FORMATS.names == (".json", ".md")
assert "torch" not in sys.modules
assert CONTROLS["rotation"].title == "rotated tangent spaces"
assert "torch" in sys.modules
assert list(GATES)[0] == "evaluation-mode"
assert list(CHECKS)[0] == "off-manifold-energy"
assert callable(REPORT_FORMATS[".md"])
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("registry", [CHECKS, CONTROLS, GATES, REPORT_FORMATS], ids=lambda registry: registry._kind)
def test_the_builtin_names_are_those_that_the_package_adds(registry):
    added = list(registry)
    assert added
    assert set(registry._builtin) <= set(registry._things)
    if registry._builtin:
        own = {name for name, source in registry._sources.items() if source.startswith("dmmcheck.")}
        assert set(registry._builtin) == own
