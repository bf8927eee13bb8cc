"""Checks, controls, gates, report formats and attacks of a user's own, in a project folder."""

from __future__ import annotations

import pytest
from projects import ATTACK, ID, ONE, configure, findings_in, printed

ENERGY = ("--dmm-only", "--dmm-checks", "off-manifold-energy")


def test_an_own_check_is_tested_and_listed_like_any_other(project):
    project.makeconftest(
        """
        import dmmcheck

        @dmmcheck.check("is-wide", statement="margins are wide", threshold=100.0, direction="greater", unit="logits")
        def is_wide(view):
            "Margin of each input."
            return dmmcheck.Evidence.of(view.margins())
        """
    )
    result = project.runpytest_inprocess("--dmm-only", "--dmm-checks", "is-wide", "--dmm-report", "r.json")
    assert result.ret == 1
    assert [finding["verdict"] for finding in findings_in(project.path / "r.json")] == ["refuted"]
    listed = project.runpytest_inprocess("--dmm-list")
    listed.stdout.fnmatch_lines(["is-wide (stated)", "*claim *margins are wide"])


@pytest.mark.parametrize("how", ["option", "file"])
def test_an_own_attack_adds_rows_to_the_table(project, how):
    project.makepyfile(own_attack=ATTACK)
    if how == "file":
        configure(project, 'attacks = ["own_attack:GradientRay"]')
    options = ("--dmm-attacks", "own_attack:GradientRay") if how == "option" else ()
    result = project.runpytest_inprocess(*ENERGY, "--dmm-report", "r.json", "-v", *options)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["pyproject.toml::off-manifold-energy-stated-gradient-ray PASSED*", "… gradient-ray *> 0.5 *supported*"]
    )
    found = {f["variant"]: f for f in findings_in(project.path / "r.json") if f["tier"] == "stated"}
    assert found["gradient-ray"]["verdict"] == "supported"
    assert found["gradient-ray"]["estimate"] == pytest.approx(found["builtin"]["estimate"], rel=1e-3)


def test_an_attack_by_its_path_in_a_folder_below(project):
    (project.mkdir("shop") / "ray.py").write_text(ATTACK)
    options = ("--dmm-tier", "stated", "--dmm-attacks", "shop/ray.py:GradientRay", "-v")
    result = project.runpytest_inprocess(*ENERGY, *options)
    result.stdout.fnmatch_lines(["pyproject.toml::off-manifold-energy-stated-gradient-ray PASSED*"])


def test_an_attack_that_does_not_exist_is_one_error(project):
    result = project.runpytest_inprocess(*ENERGY, "--dmm-attacks", "no_attack:GradientRay")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "attacks: 'no_attack:GradientRay': there is no module 'no_attack'" in printed(result)
    assert "INTERNALERROR" not in printed(result)


FORMAT = """
    import dmmcheck

    @dmmcheck.report_format(".txt")
    def render(report):
        return "".join(f"{finding.id}: {finding.verdict}\\n" for finding in report.findings)
"""


def test_an_own_report_format_is_written_and_named_among_the_known_ones(project):
    project.makeconftest(FORMAT)
    result = project.runpytest_inprocess(*ONE, "--dmm-report", "report.txt")
    assert result.ret == 0
    assert (project.path / "report.txt").read_text() == f"{ID}: supported\n"
    assert "report report.txt" in printed(result)
    wrong = project.runpytest_inprocess(*ONE, "--dmm-report", "report.xml")
    assert wrong.ret == pytest.ExitCode.USAGE_ERROR
    assert "suffix '.xml' of" in printed(wrong)
    assert "use one of" in printed(wrong)


def test_an_own_control_and_an_own_gate_take_part(project):
    project.makeconftest(
        """
        import dmmcheck

        class Reversed:
            def apply(self, v):
                return v.flip(1)

            inverse = apply

        @dmmcheck.control("reversed", title="tangent spaces in reverse order", checks=("off-manifold-energy",))
        def reversed_order(view, generator):
            return view.rotated(Reversed())

        @dmmcheck.gate("model")
        def never(context):
            return dmmcheck.soundness.bounded("never", 1.0, most=0.5, finding="it is 1 (limit 0.5)", remedy="remove it")
        """
    )
    result = project.runpytest_inprocess(*ENERGY, "--dmm-report", "r.json")
    found = {f["variant"]: f for f in findings_in(project.path / "r.json")}
    assert found["reversed"]["reason"] == "unsound: it is 1 (limit 0.5); remove it"
    assert found["builtin"]["verdict"] == "inconclusive"
    assert result.ret == 1
    assert "FAILED never 1.00 limit 0.500 it is 1 (limit 0.5); remove it" in printed(result)
