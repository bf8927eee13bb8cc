"""A demo that refutes a claim is complete; one that crashes is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmmcheck.report import write
from dmmcheck.report.model import Finding, Report
from examples import verdicts


def finding(verdict: str, *, gating: bool = True) -> Finding:
    return Finding(
        check="off-manifold-energy",
        tier="stated",
        variant="builtin",
        statement="adversarial perturbations lie mostly off-manifold",
        statistic="rho_N",
        unit="share",
        direction="greater",
        verdict=verdict,
        gating=gating,
        estimate=0.4,
    )


def explain(folder: Path, status: int, failed: int, *findings: Finding) -> tuple[int, str]:
    report = Report(
        dmmcheck="0",
        versions={},
        seed=0,
        device="cpu",
        alpha=0.05,
        subject=None,
        soundness=(),
        distances={},
        findings=findings,
    )
    write.write(report, folder / "r.json")
    (folder / "j.xml").write_text(f'<testsuites><testsuite failures="{failed}" errors="0"/></testsuites>')
    return verdicts.explain(status, folder / "r.json", folder / "j.xml")


def test_a_refuted_claim_is_no_error(tmp_path: Path):
    code, line = explain(tmp_path, 1, 1, finding("refuted"), finding("supported"))
    assert code == 0
    assert "1 gating claim is refuted for this network" in line
    assert "a result about the network, not an error" in line


def test_all_supported(tmp_path: Path):
    code, line = explain(tmp_path, 0, 0, finding("supported"), finding("refuted", gating=False))
    assert code == 0
    assert "no gating claim was refuted" in line


@pytest.mark.parametrize(
    ("failed", "verdict"),
    [(2, "refuted"), (1, "supported"), (0, "inconclusive")],
    ids=["a crash beside a refutation", "a crash", "no verdict reached"],
)
def test_any_other_failure_stays_one(tmp_path: Path, failed: int, verdict: str):
    code, line = explain(tmp_path, 1, failed, finding(verdict))
    assert code == 1
    assert "another reason" in line


@pytest.mark.parametrize("status", [2, 3, 4, 5])
def test_other_statuses_are_passed_on(tmp_path: Path, status: int):
    code, line = explain(tmp_path, status, 0, finding("supported"))
    assert code == status
    assert f"pytest exited with {status}" in line


def test_no_report_is_no_success(tmp_path: Path):
    assert verdicts.explain(0, tmp_path / "r.json", tmp_path / "j.xml")[0] == 1
