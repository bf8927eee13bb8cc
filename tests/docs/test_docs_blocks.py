"""Every code block of the pages that are followed is run, in order, from a folder outside the repository."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from pages import EXECUTED, Block, Folder, blocks, read

QUICK_START = ("pyproject.toml", "model.py")
LONGEST_EXAMPLE = 20  # lines of code


@dataclass(frozen=True)
class Command:
    """What a command of a page does.

    Attributes:
        prints: A pattern in its output.
        statuses: The exit statuses that it may have.
        heavy: It is run with the heavy tests only.
    """

    prints: str
    statuses: tuple[int, ...] = (0,)
    heavy: bool = False


ROW = r"^{} +[-\d.]+ \[.*(supported|refuted|inconclusive)"
ENERGY = ROW.format("off-manifold-energy")
VERDICTS = (0, 1)


def heavy(prints: str) -> Command:
    """A run of checks, of which only some belong to the light tests."""
    return Command(prints, VERDICTS, heavy=True)


TUTORIAL = {
    "pytest --dmm --dmm-tier stated": heavy(ENERGY),
    "pytest --dmm": heavy(ENERGY),
    "pytest --dmm-explain on-manifold-distance": Command(r"^on-manifold-distance$"),
    "python dimension.py": Command(r"^k is about \d+\.\d$"),
    "pytest --dmm --dmm-factory untrained:network --dmm-checks normal-gradient-growth": heavy(
        ROW.format("normal-gradient-growth")
    ),
    "pytest test_geometry.py": Command(r"^off-manifold-energy +0\.\d+ \[.* supported$"),
    "python search.py": Command(r"^median distance 0\.\d\d, on the manifold 0\.\d\d$"),
    "pytest --dmm --dmm-report report.json --dmm-report report.md": heavy(r"^report +report\.json, .*report\.md, "),
}
ONE = "pytest --dmm --dmm-checks off-manifold-energy"
EXTENDING = {
    "pytest --dmm --dmm-checks gradient-off-manifold": heavy(ROW.format("gradient-off-manifold")),
    f"{ONE} -v": heavy(r"^· tangent spaces with permuted pixels "),
    f"{ONE} --dmm-tier stated": heavy(r"^soundness +all \d+ ok$"),
    f"{ONE} --dmm-report report.txt": heavy(r"^report +report\.txt$"),
    f"{ONE} --dmm-manifold smooth.py:SmoothImages": heavy(r"^manifold +smooth images, k = 16"),
    f"{ONE} --dmm-attacks gradient_ray.py:GradientRay": heavy(r"gradient-ray"),
    f"{ONE} --dmm-model linear.py:classifier": heavy(r"^subject +logistic regression, D = 64"),
    f"{ONE},gradient-off-manifold --dmm-report report.txt --dmm-report report.json": Command(
        r"^report +report\.txt, report\.json$", VERDICTS
    ),
}
STRATEGIES = {
    "pytest test_steady.py": Command(r"\b3 passed\b"),
    "pytest test_too_far.py": Command(
        r"^E +step=TangentStep\(subject, index=\d+, coordinates=\(\d\.\d+,\)\),$", statuses=(1,)
    ),
    "pytest --dmm-only --dmm-tier search --hypothesis-seed=0": heavy(r"^label-steady-on-manifold "),
}
COMMANDS = {
    ("README.md", "python check.py"): Command(r"^stated builtin supported$"),
    ("docs/classifiers.md", "python wine.py"): Command(r"^Pipeline (supported|refuted|inconclusive)$"),
    ("docs/classifiers.md", "python endpoint.py"): Command(r"^tensor\(True\) tensor\(True\)$"),
    ("docs/classifiers.md", "python known.py"): Command(r"^median angle \d\.\d degrees$"),
    **{("docs/tutorial.md", line): command for line, command in TUTORIAL.items()},
    **{("docs/extending.md", line): command for line, command in EXTENDING.items()},
    **{("docs/strategies.md", line): command for line, command in STRATEGIES.items()},
}

OUTPUT = "output of a command, quoted"
NOT_RUN = {
    ("README.md", "pytest --dmm"): "tests/plugin/test_quick_start.py runs it in the same folder",
    ("README.md", "6 of 9 stated claims hold"): OUTPUT,
    ("docs/tutorial.md", "9 of 9 stated claims hold"): OUTPUT,
    ("docs/tutorial.md", "off-manifold-energy    0.893"): OUTPUT,
    ("docs/strategies.md", "[tool.dmmcheck]"): "test_docs_pages.py reads it as settings",
}
"""Blocks that are not run here, by page and how their first line begins, with the reason."""


def reason_not_to_run(block: Block) -> str:
    """Why a block is not run, or ""."""
    first = block.text.partition("\n")[0]
    return next((why for (page, start), why in NOT_RUN.items() if page == block.page and first.startswith(start)), "")


def follow(page: str, pytester: pytest.Pytester, *, heavy: bool) -> None:
    """Write the files of a page and run its commands, in the order of the page: the light ones, or the heavy ones.

    It starts in the folder of the quick start, which tutorial and extending go on from.
    """
    folder = Folder(pytester)
    for block in blocks("README.md"):
        if block.file in QUICK_START:
            folder.write(block)
    for block in blocks(page):
        if block.file:
            folder.write(block)
        for line in [] if reason_not_to_run(block) else block.commands:
            command = COMMANDS[page, line]
            if command.heavy == heavy:
                status, printed = folder.run(line)
                assert status in command.statuses, f"{line}\n{printed}"
                assert re.search(command.prints, printed, re.MULTILINE), f"{line}\n{printed}"


@pytest.mark.parametrize("page", EXECUTED)
def test_each_block_is_run_or_says_why_not(page):
    found = blocks(page)
    assert found
    for block in found:
        is_run = bool(block.file) or (block.commands and all((page, line) in COMMANDS for line in block.commands))
        assert is_run or reason_not_to_run(block), f"{page}:{block.line} is neither run nor listed with a reason"


def test_no_listed_command_or_reason_is_left_over():
    lines = {(page, line) for page in EXECUTED for block in blocks(page) for line in block.text.splitlines()}
    assert set(COMMANDS) <= lines
    for page, start in NOT_RUN:
        assert any(known == page and line.startswith(start) for known, line in lines), (page, start)


def test_the_other_test_that_runs_the_quick_start_exists():
    other = Path(__file__).parents[1] / "plugin" / "test_quick_start.py"
    assert '"pytest", "--dmm"' in other.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md", "docs/classifiers.md", "docs/strategies.md"])
def test_page_runs(page, pytester):
    follow(page, pytester, heavy=False)


def test_own_parts_appear_in_the_table_and_in_the_report(pytester):
    follow("docs/extending.md", pytester, heavy=False)
    report = json.loads((pytester.path / "report.json").read_text(encoding="utf-8"))
    ids = {f"{finding['check']}-{finding['tier']}-{finding['variant']}" for finding in report["findings"]}
    assert ids >= {
        "gradient-off-manifold-stated-builtin",
        "gradient-off-manifold-controlled-builtin",
        "off-manifold-energy-controlled-permuted-pixels",
        "off-manifold-energy-stated-gradient-ray",
    }
    assert report["subject"]["model"] == "logistic regression"
    assert report["subject"]["manifold"]["name"] == "smooth images"
    assert "bright-enough" in {item["name"] for item in report["soundness"]}
    lines = (pytester.path / "report.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(report["findings"])
    assert_documented(report)


def assert_documented(report) -> None:
    """The page on reports names every key and every soundness item of a report."""
    page = read("docs/reading_a_report.md")
    keys = {*report, *report["findings"][0], *report["subject"], *report["summary"], *report["soundness"][0]}
    names = {item["name"] for item in report["soundness"]} - {"bright-enough"}
    assert [word for word in sorted(keys | names) if f"`{word}`" not in page] == []


@pytest.mark.heavy
@pytest.mark.parametrize("page", sorted({page for (page, _), command in COMMANDS.items() if command.heavy}))
def test_heavy_commands_of_a_page_run(page, pytester):
    follow(page, pytester, heavy=True)


@pytest.mark.parametrize("block", [block for block in blocks("docs/extending.md") if block.language == "python"])
def test_each_example_is_short(block):
    assert sum(bool(line.strip()) for line in block.text.splitlines()) <= LONGEST_EXAMPLE
