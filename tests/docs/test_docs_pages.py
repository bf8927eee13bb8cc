"""What the pages say exists: links, figures, options, keys, checks, and numbers that are said twice."""

from __future__ import annotations

import re

import pytest
from pages import PAGES, ROOT, blocks, read

from dmmcheck.checks.base import registry
from dmmcheck.config.schema import KEYS
from dmmcheck.config.settings import load_config

LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
OPTION = re.compile(r"--dmm[a-z-]*")
ROW = re.compile(r"^(?P<check>[a-z]+(?:-[a-z]+)+) +-?[\d.]+ \[", re.MULTILINE)
MADE_BY_THE_BUILD = "checks.md"  # whose sections are not in the file


def anchors(page: str) -> set[str]:
    """The names of the headings of a page, as GitHub and MyST make them."""
    headings = re.findall(r"^#+ (.+)$", read(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: str) -> list[re.Match[str]]:
    """The links of a page that lead to files of the repository."""
    return [match for match in LINK.finditer(read(page)) if "://" not in match["target"]]


def test_readme_is_short():
    assert len(read("README.md").splitlines()) <= 200


def is_lost(page: str, target: str) -> bool:
    """Whether a link leads to no file, or to no heading of a page."""
    file, _, anchor = target.partition("#")
    path = ((ROOT / page).parent / file if file else ROOT / page).resolve()
    if not path.exists():
        return True
    return bool(anchor) and path.name != MADE_BY_THE_BUILD and anchor not in anchors(path.relative_to(ROOT).as_posix())


@pytest.mark.parametrize("page", [*PAGES, "CONTRIBUTING.md"])
def test_each_link_leads_somewhere(page):
    assert [match["target"] for match in links(page) if is_lost(page, match["target"])] == []


@pytest.mark.parametrize("page", PAGES)
def test_each_figure_says_what_is_seen(page):
    short = [match["target"] for match in links(page) if match["image"] and len(match["text"].split()) < 15]
    assert short == []


@pytest.mark.parametrize("page", PAGES)
def test_each_option_exists(page, pytestconfig):
    for option in sorted(set(OPTION.findall(read(page))) - {"--dmm-"}):
        pytestconfig.getoption(option)  # raises where there is none


def test_settings_lists_every_key_and_option(pytestconfig):
    page = read("docs/settings.md")
    assert [key for key in KEYS if f"`{key}`" not in page] == []
    group = next(group for group in pytestconfig._parser._groups if group.name == "dmmcheck")
    without_key = {name for option in group.options for name in option.names()} - {key.option for key in KEYS.values()}
    assert [option for option in sorted(without_key) if f"`{option}" not in page] == []


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(block, id=f"{page}-{block.line}")
        for page in ("docs/settings.md", "docs/ci.md", "docs/strategies.md")
        for block in blocks(page)
        if block.language == "toml"
    ],
)
def test_settings_in_the_pages_are_valid(block, tmp_path):
    (tmp_path / "pyproject.toml").write_text(block.text, encoding="utf-8")
    assert load_config(tmp_path).file == tmp_path / "pyproject.toml"


def test_quoted_rows_name_checks_that_exist():
    rows = [row["check"] for page in PAGES for block in blocks(page) for row in ROW.finditer(block.text)]
    assert len(rows) > 12
    assert [name for name in rows if name not in registry()] == []


def test_readme_quotes_the_same_lines_as_the_page_on_reports():
    (table,) = [block.text for block in blocks("README.md") if block.language == "text"]
    quoted = [line for line in table.splitlines() if line]
    known = read("docs/reading_a_report.md").splitlines()
    assert len(quoted) > 10
    assert [line for line in quoted if line not in known] == []


def test_readme_counts_the_checks():
    assert sum(check.tiers != ("search",) for check in registry().values()) == 16
    assert "sixteen of these statements" in " ".join(read("README.md").split())
    assert "sixteen statements" in " ".join(read("docs/index.md").split())


def test_readme_says_what_the_calibration_found():
    table = read("benchmarks/CALIBRATION.md").partition("<!-- short form -->")[2].partition("<!-- end of")[0]
    rows = [line.split("|")[1:4] for line in table.splitlines() if line.startswith("| ") and "runs" not in line]
    sound = [row for row in rows if not row[0].strip().startswith("unsound")]
    counts = {(runs.strip(), false.split("(")[0].strip()) for _, runs, false in sound}
    assert counts == {("100", "0 of 100"), ("50", "0 of 50")}
    said = f"In {len(sound)} artificial worlds with known answers and 50 or 100 seeds each, [no run contained one]"
    assert said in " ".join(read("README.md").split())
