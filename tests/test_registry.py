"""Registries: names that are taken, names that are known without an import, and things that are loaded when needed."""

from __future__ import annotations

import functools
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import dmmcheck
from dmmcheck import checks, soundness
from dmmcheck.errors import RegistryError
from dmmcheck.measurement import nulls
from dmmcheck.registry import CHECKS, CONTROLS, GATES, REPORT_FORMATS, Registry, source_of
from dmmcheck.report import write

HOMES = (checks, soundness, nulls, write)  # imported here, so that no fixture of another test takes away what they add


def one():
    """A function that defines things."""


def another():
    """Another one."""


def of_the_package():
    """A function of the package itself."""


of_the_package.__module__ = "dmmcheck.things"


def test_things_are_found_by_name_in_the_order_of_registration():
    things = Registry("thing")
    things.add("b", 2, function=one)
    things.add("a", 1, function=one)
    assert dict(things) == {"b": 2, "a": 1}
    assert things.names == tuple(things) == ("b", "a")
    assert len(things) == 2
    assert "a" in things
    assert "c" not in things
    with pytest.raises(KeyError):
        things["c"]


def test_one_function_can_add_a_thing_again_and_it_keeps_its_position():
    things = Registry("thing")
    for value in (1, 2):
        things.add("a", value, function=one)
        things.add("b", value, function=one)
    assert list(things.items()) == [("a", 2), ("b", 2)]


def test_two_functions_cannot_add_things_of_one_name():
    things = Registry("thing")
    things.add("a", 1, function=one)
    with pytest.raises(
        RegistryError, match=r"the thing 'a' exists already \(in .*test_registry.py:one\); choose another name"
    ):
        things.add("a", 2, function=another)
    assert things["a"] == 1
    things.add("b", 2, function=another)  # the remedy
    assert things["b"] == 2


def test_the_source_of_a_function_is_its_file_and_name_and_that_of_an_object_its_class():
    assert source_of(one) == f"{__file__}:one"
    assert source_of(one) != source_of(another)
    assert source_of(Registry("thing").add).endswith("registry.py:Registry.add")

    class Callable:
        def __call__(self):
            """Nothing."""

    assert source_of(Callable()) == source_of(Callable())


def test_the_source_of_a_partial_is_that_of_its_function():
    assert source_of(functools.partial(functools.partial(one))) == source_of(one)
    assert source_of(functools.partial(one, 1)) == f"{source_of(one)} (1,)"  # another function than with 2
    things = Registry("thing")
    things.add("a", 1, function=functools.partial(one))
    with pytest.raises(RegistryError, match="exists already"):
        things.add("a", 2, function=functools.partial(another))


def test_a_module_that_is_imported_under_two_names_adds_its_things_twice(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def mine():\n    pass\n", encoding="utf-8")
    things = Registry("thing")
    for name in ("mine", "folder.mine"):
        spec = importlib.util.spec_from_file_location(name, file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        things.add("mine", module.mine, function=module.mine)
    assert things["mine"] is module.mine


def test_the_package_alone_adds_things_of_builtin_names():
    things = Registry("thing", builtin=("a",))
    with pytest.raises(RegistryError, match=r"the thing 'a' exists already \(in dmmcheck\); choose another name"):
        things.add("a", 1, function=one)
    things.add("a", 2, function=of_the_package)
    assert things["a"] == 2


def test_builtin_names_come_first_and_are_known_before_their_module_is_imported():
    things = Registry("thing", builtin=("a",), home="no.such.module")
    things.add("b", 2, function=one)
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
assert CONTROLS.names == ("rotation", "spectrum", "covariance", "same-class", "other-class", "order")
assert REPORT_FORMATS.names == (".json", ".md", ".html", ".csv")
assert "torch" not in sys.modules
assert CONTROLS["rotation"].title == "rotated tangent spaces"
assert "torch" in sys.modules
assert list(GATES)[0] == "evaluation-mode"
assert list(CHECKS)[0] == "off-manifold-energy"
assert callable(REPORT_FORMATS[".md"])
import dmmcheck
assert callable(dmmcheck.run)
assert not {"sklearn", "pandas", "scipy.stats", "torchattacks"} & set(sys.modules)  # which take seconds to load
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("registry", [CHECKS, CONTROLS, GATES, REPORT_FORMATS], ids=lambda registry: registry._kind)
def test_the_builtin_names_are_those_that_the_package_adds(registry):
    added = list(registry)
    assert added
    assert set(registry._builtin) <= set(registry._things)
    if registry._builtin:
        package = str(Path(dmmcheck.__file__).parent)
        own = {name for name, source in registry._sources.items() if source.startswith(package)}
        assert set(registry._builtin) == own
