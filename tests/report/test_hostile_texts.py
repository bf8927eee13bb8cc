"""Texts that do harm where they are shown, in every part of a report and in every format."""

from __future__ import annotations

import csv as stdlib_csv
import io
import re
from dataclasses import replace

import pytest
import reports

from dmmcheck.errors import DmmError
from dmmcheck.errors.text import LONGEST, harmless, harmless_lines, shown, told
from dmmcheck.pytest_plugin import github
from dmmcheck.report import csv, html, json, markdown, terminal
from dmmcheck.report.harmless import harmless_report

TEXTS = {
    "workflow command": "a\n::error::b",
    "workflow command first": "::error file=x::b",
    "workflow command after spaces": "a\n  ::set-output name=x::b",
    "old workflow command": "a\r\n##[error]b",
    "stop commands": "\n::stop-commands::pause",
    "carriage return": "a\r::error::b",
    "line separators": "a\u2028::error::b\u2029::warning::c\x85::notice::d",
    "ANSI": "\x1b[31mred\x1b[0m \x9b31m",
    "terminal title": "\x1b]0;title\x07",
    "NUL and bell": "a\x00b\x07c\x08\x08",
    "bidi": "a\u202eb\u2066c\u200f",
    "surrogate": "a\udcffb",
    "end of CDATA": "]]><b>",
    "script": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "link": "[a](javascript:alert(1)) ![b](http://x/y.png) https://example.org",
    "code": "a`b``c|d",
    "table": "a | b |\n|---|---|\n# heading\n```",
    "formula": '=HYPERLINK("http://x")',
    "long": "x" * 10_000,
    "long lines": "a\n" * 5000,
    "percent": "%0A::error::b",
    "emoji and letters": "モデル \N{ZERO WIDTH JOINER} é 🙂",
    "empty": "",
}
FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
COMMAND = re.compile(r"^\s*(::|##\[)", re.MULTILINE)


def hostile(text: str):
    """A report that has a text wherever a user's text can be, and in the names of what users name."""
    control = (
        None if reports.ENERGY_CONTROLLED.control is None else replace(reports.ENERGY_CONTROLLED.control, name=text)
    )
    findings = (
        replace(reports.ENERGY, statement=text, statistic=text, unit=text, reference=text, verdict="refuted"),
        replace(reports.ENERGY_CONTROLLED, control=control, reason=text, statement=text),
        replace(reports.DISTANCE, variant=text, reason=text, expected_failure=text),
        replace(reports.DEPTH, reason=text, check=text),
    )
    subject = replace(
        reports.SUBJECT, model=text, model_hash=text, manifold=replace(reports.SUBJECT.manifold, name=text, hash=text)
    )
    soundness = (replace(reports.SOUND, ok=False, message=text, name=text),)
    report = reports.report(*findings, device=text, errors=(text,), created=text, run=text)
    return replace(report, subject=subject, soundness=soundness, versions={text: text}, dmmcheck=text)


FORMATS = {
    "terminal": terminal.render,
    "terminal, narrow": lambda report: terminal.render(report, width=80, verbose=True),
    "terminal, reruns": lambda report: terminal.render(report, reruns={one.id: report.run for one in report.findings}),
    "markdown": markdown.render,
    "html": html.render,
    "csv": csv.render,
    "github": lambda report: "\n".join(github.annotation_lines({"": report})),
    "message": lambda report: str(DmmError(f"a {report.run} {shown(report.run)} {told(ValueError(report.run))}")),
    "lines": lambda report: harmless_lines(report.run),
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("form", FORMATS)
def test_a_hostile_text_is_harmless(form, name):
    text = FORMATS[form](hostile(TEXTS[name]))
    text.encode("utf-8")  # no lone surrogate is left
    assert not FORBIDDEN.search(text)
    found = [line for line in text.splitlines() if COMMAND.match(line)]
    assert all(form == "github" and line.startswith("::error title=") for line in found)
    if form == "github":
        assert len(found) == len(text.splitlines()) >= 1  # one command a failure, and no line beside it
    assert len(text) < 200_000


@pytest.mark.parametrize("name", TEXTS)
def test_markdown_and_html_show_a_text_and_obey_none(name):
    report = hostile(TEXTS[name])
    page, text = html.render(report), re.sub(r"`[^`\n]*`", "", markdown.render(report))
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert not re.search(r"(?<!\\)<(script|img)", text)
    assert not re.search(r"(?<!\\)\]\(javascript", text)
    assert not re.search(r"^# heading", text, re.MULTILINE)
    assert "`" not in text.replace(r"\`", "")  # each code span has its end


@pytest.mark.parametrize("name", TEXTS)
def test_a_cell_of_csv_is_no_formula(name):
    rows = list(stdlib_csv.reader(io.StringIO(csv.render(hostile(TEXTS[name])))))
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "@"))]


@pytest.mark.parametrize("name", TEXTS)
def test_json_keeps_a_text_as_it_is(name):
    report = hostile(TEXTS[name])
    written = json.render(report).encode("utf-8", "backslashreplace").decode("utf-8")
    assert json.parse(written).findings[0].statement == TEXTS[name]


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_harmless_text_stays_as_it_is(text):
    once = harmless(text)
    assert harmless(once) == once
    assert len(once) <= LONGEST + 40
    report = hostile(text)
    assert harmless_report(harmless_report(report)) == harmless_report(report)


class SilentError(Exception):
    def __str__(self) -> str:
        raise KeyError("no")

    __repr__ = __str__


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (lambda: shown(SilentError()), "a SilentError, which cannot be shown (KeyError)"),
        (lambda: told(SilentError()), "SilentError: (its message cannot be shown, as that raises KeyError)"),
        (lambda: shown(10**5000), "a int, which cannot be shown (ValueError)"),
        (lambda: shown("x" * 90), f"'{'x' * 29}… (92 characters)"),
        (lambda: shown("a\n::b"), r"'a\n::b'"),
    ],
)
def test_a_value_is_shown_whatever_it_is(text, words):
    assert text() == words
