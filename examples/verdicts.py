"""The exit status of a demo run.

pytest exits with 1 if a gating claim is refuted, which is right for the CI of a user. In the demo, a refuted claim is a
result about the network and not an error. ``python -m examples.verdicts STATUS REPORT JUNIT`` therefore exits with 0 if
refuted claims are the only failures, and with the given status otherwise.
"""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

from dmmcheck.report import json
from dmmcheck.report.model import Report

FINISHED, SOME_FAILED = 0, 1


def explain(status: int, report_path: Path, junit_path: Path) -> tuple[int, str]:
    """The exit status, and a line that gives the reason.

    Args:
        status: The exit status of pytest.
        report_path: The JSON report of the run.
        junit_path: The JUnit file of the run.
    """
    if status not in {FINISHED, SOME_FAILED} or not report_path.exists():
        return status or 1, f"the demo did not finish: pytest exited with {status}, see above"
    report = json.parse(report_path.read_text(encoding="utf-8"))
    others = _failed_tests(junit_path) - len(report.failures)
    if status == SOME_FAILED and (others or not report.failures):
        return status, "the demo failed for another reason than a refuted claim, see above"
    return FINISHED, f"{_outcome(report)}; the report is in {report_path}"


def _failed_tests(junit_path: Path) -> int:
    """The number of failures and errors of all kinds."""
    suites = ElementTree.parse(junit_path).getroot().iter("testsuite")
    return sum(int(suite.get(kind, 0)) for suite in suites for kind in ("failures", "errors"))


def _outcome(report: Report) -> str:
    refuted = len(report.failures)
    if not refuted:
        return "the demo is complete, no gating claim was refuted"
    claims = "1 gating claim is" if refuted == 1 else f"{refuted} gating claims are"
    return (
        f"the demo is complete: {claims} refuted for this network, which pytest reports with exit status 1; "
        "this is a result about the network, not an error"
    )


if __name__ == "__main__":
    code, line = explain(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
    print(f"\n{line}")
    sys.exit(code)
