"""The explanation of a check; those of the built-in checks are the Markdown files in ``checks/explanations``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources

TITLES: Mapping[str, str] = {
    "In plain words": "summary",
    "Source": "source",
    "Statistic": "formula",
    "Control": "control",
    "Threshold": "threshold",
    "Assumes": "assumptions",
    "Violated by": "violation",
    "Reading": "reading",
}
"""Headings of the Markdown files, in reading order, and the fields of `Explanation` that the text below them fills."""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """The text behind ``--dmm-explain`` and the check reference; paragraphs are separated by empty lines.

    Attributes:
        summary: What is asked of the classifier, in plain words, and why.
        source: Where the claim is published.
        formula: The statistic as a formula.
        control: What the statistic is compared with, and why that comparison is fair.
        threshold: Why this threshold.
        assumptions: What must hold for the verdict to mean what it says.
        violation: What a model that violates the claim looks like.
        reading: How to read each verdict.
    """

    summary: str = ""
    source: str = ""
    formula: str = ""
    control: str = ""
    threshold: str = ""
    assumptions: str = ""
    violation: str = ""
    reading: str = ""


def builtin_explanation(id: str) -> Explanation:
    """Return the explanation of a built-in check; an empty one where there is none."""
    file = resources.files("dmmcheck.checks").joinpath("explanations").joinpath(f"{id}.md")
    if not file.is_file():
        return Explanation()
    return Explanation(**{TITLES[title]: text for title, text in _parts(file.read_text(encoding="utf-8"))})


def _parts(markdown: str) -> Iterator[tuple[str, str]]:
    """Yield the headings and the paragraphs below each of them, each paragraph on one line."""
    for part in re.split(r"^## ", markdown, flags=re.MULTILINE)[1:]:
        title, _, text = part.partition("\n")
        paragraphs = (" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", text))
        yield title.strip(), "\n\n".join(filter(None, paragraphs))
