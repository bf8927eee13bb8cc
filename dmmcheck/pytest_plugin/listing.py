"""The answers to --dmm-list and --dmm-explain."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator

import pytest

from dmmcheck.checks.base import Check, registry
from dmmcheck.checks.declaration import NEEDS
from dmmcheck.checks.explain import explain
from dmmcheck.config.schema import did_you_mean
from dmmcheck.errors import CheckError
from dmmcheck.errors.text import shown
from dmmcheck.pytest_plugin.selection import usage_errors
from dmmcheck.report.terminal import print_text


def answer(config: pytest.Config) -> int:
    """Print the list of checks, or the explanation of one.

    Raises:
        UsageError: The id of the check to explain is unknown.
    """
    with usage_errors():
        checks = registry()
    wanted = config.getoption("--dmm-explain")
    if wanted is None:
        print_text("\n\n".join("\n".join(_description(check)) for check in checks.values()))
        return pytest.ExitCode.OK
    with usage_errors():
        if wanted not in checks:
            raise CheckError(f"unknown check {shown(wanted)}{did_you_mean(wanted, checks)}; valid: {', '.join(checks)}")
    print_text(explain(checks[wanted]))
    return pytest.ExitCode.OK


def _need(check: Check, need: str) -> str:
    """Return what is needed, and by which tiers, if others do not need it."""
    without = {test.tier for test in check.tests if need not in test.needs}
    by = [tier for tier in check.tiers if tier not in without]
    return NEEDS[need] + (f", for the tier {', '.join(by)}" if by and without else "")


def _description(check: Check) -> Iterator[str]:
    """Yield the lines that ``--dmm-list`` prints for a check."""
    yield f"{check.id} ({', '.join(check.tiers)})"
    facts = (
        ("claim", check.statement),
        ("needs", "; ".join(_need(check, need) for need in check.needs)),
        ("source", check.source),
    )
    width = max(60, shutil.get_terminal_size().columns)
    for label, text in facts:
        if text:
            yield from textwrap.wrap(
                text,
                width,
                initial_indent=f"    {label:<8}",
                subsequent_indent=" " * 12,
                break_on_hyphens=False,
                break_long_words=False,
            )
