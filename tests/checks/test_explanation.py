"""The explanations of the built-in checks are whole, and Markdown is read as paragraphs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from dmmcheck.checks import explanation
from dmmcheck.checks.base import registry
from dmmcheck.checks.explanation import TITLES, Explanation, builtin_explanation

FOLDER = Path(explanation.__file__).parent / "explanations"
NAMES = sorted(file.stem for file in FOLDER.glob("*.md"))


def test_there_is_one_file_for_each_built_in_check():
    built_in = {id for id, one in registry().items() if one.tests[0].ask.__module__.startswith("dmmcheck.")}
    assert set(NAMES) == built_in


@pytest.mark.parametrize("name", NAMES)
def test_every_part_is_there_and_the_check_has_it(name):
    text = builtin_explanation(name)
    assert registry()[name].explanation == text
    for title, part in asdict(text).items():
        assert len(part) > 20, title
        assert "##" not in part
        assert "\n" not in part.replace("\n\n", "")


@pytest.mark.parametrize("name", NAMES)
def test_the_headings_are_those_that_are_known_in_their_order(name):
    lines = (FOLDER / f"{name}.md").read_text(encoding="utf-8").splitlines()
    assert [line.removeprefix("## ") for line in lines if line.startswith("## ")] == list(TITLES)


def test_a_check_without_a_file_has_an_empty_explanation():
    assert builtin_explanation("my-own") == Explanation()


def test_paragraphs_are_joined_to_one_line_each():
    markdown = "# title\n\n## Source\n\nfirst\nline\n\nsecond\n\n## Reading\nlast  words\n"
    assert dict(explanation._parts(markdown)) == {"Source": "first line\n\nsecond", "Reading": "last words"}
