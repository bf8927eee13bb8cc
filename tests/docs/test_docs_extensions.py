"""The two extensions of the site: the check reference, and docstrings as plain text."""

from __future__ import annotations

import importlib.util
import re
from types import ModuleType

import pytest
from pages import ROOT, read

from dmmcheck.checks.base import registry


def extension(name: str) -> ModuleType:
    """A module of ``docs/_ext``, which only the build of the site has on its path."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "_ext" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_reference_has_a_row_and_a_section_for_each_check():
    page = extension("check_reference").filled(read("docs/checks.md"))
    for id, check in registry().items():
        assert f"| [`{id}`](#{id}) | {', '.join(check.tiers)} |" in page
        assert f"\n## `{id}`\n" in page


def test_reference_leaves_out_no_level_of_headings():
    page = extension("check_reference").filled(read("docs/checks.md"))
    levels = [len(mark) for mark in re.findall(r"^(#+) ", page, re.MULTILINE)]
    assert levels[0] == 1
    assert set(levels) == set(range(1, max(levels) + 1))


def test_a_page_without_the_marker_is_an_error():
    with pytest.raises(ValueError, match="check reference"):
        extension("check_reference").filled("# Checks\n")


def test_headings_are_renumbered_outside_code_only():
    text = "#### one\n\n```sh\n# a comment\n```\n\n###### two\n"
    assert extension("check_reference").with_levels_from(2, text) == ("## one\n\n```sh\n# a comment\n```\n\n### two\n")


@pytest.mark.parametrize(
    ("line", "escaped"),
    [
        ("Norm |x| of inputs (n, *shape).", r"Norm \|x\| of inputs (n, \*shape)."),
        ("``|x|`` and `*shape` are code, |y| is not.", r"``|x|`` and `*shape` are code, \|y\| is not."),
        ("the name y_ and the word d_on", r"the name y\_ and the word d_on"),
        (">>> a * b", ">>> a * b"),
    ],
)
def test_signs_are_escaped_outside_code(line, escaped):
    assert list(extension("plain_docstrings").escaped([line])) == [escaped]


def test_literal_blocks_are_left_alone():
    lines = ["Use it::", "", "    a * b", "", "The end of *this*."]
    assert list(extension("plain_docstrings").escaped(lines)) == [*lines[:-1], r"The end of \*this\*."]
