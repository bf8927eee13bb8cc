"""Pairs, and what a subject declares, reach the checks under pytest as they do in dmmcheck.run."""

from __future__ import annotations

import json

import pytest
from projects import SUFFICES, configure, findings_in, printed

TRAINED = """
    import world

    def hyperplane(normal, seed):
        factors = [1 + 0.01 * (seed + 1) * (-1) ** place for place in range(8)]
        return world.hyperplane(*[weight * factor for weight, factor in zip(normal, factors)])

    def pairs(seed):
        standard, robust = [0.3, 0.0, 1.0, 0.5, 0.0, 0.2, 0.0, 0.1], [1.0, 0.1, 0.2, 0.1, 0.0, 0.0, 0.0, 0.0]
        return hyperplane(standard, seed), hyperplane(robust, seed)

    listed = [pairs(seed) for seed in range(4)]

    def alternative(seed):
        return hyperplane([0.3, 0.0, 0.9, 0.5, 0.0, 0.2, 0.0, 0.1], 50 + seed)
"""
FIXTURE = """
    import pytest
    import trained

    @pytest.fixture(scope="session")
    def dmm_pairs():
        return trained.pairs
"""
RUN = (
    "--dmm-only",
    "--dmm-checks",
    "adversarial-training-deepens",
    "--dmm-tier",
    "mechanism",
    "--dmm-report",
    "r.json",
    "--dmm-samples",
    "12",
    "--dmm-effort",
    "quick",
)


@pytest.fixture
def trained(project):
    project.makepyfile(trained=TRAINED)
    return project


@pytest.mark.parametrize("way", ["fixture", "option", "file"])
def test_pairs_can_be_given_in_each_way_and_then_gate(trained, way):
    options = ("--dmm-pairs", "trained:pairs") if way == "option" else ()
    if way == "fixture":
        trained.makeconftest(FIXTURE)
    if way == "file":
        configure(trained, 'pairs = "trained:pairs"\nalternative = "trained:alternative"')
    result = trained.runpytest_inprocess(*RUN, *options)
    assert result.ret == 0, printed(result)
    findings = findings_in(trained.path / "r.json")
    assert {finding["verdict"] for finding in findings} == {"supported"}
    assert all(finding["gating"] and finding["n"] in {8, 9, 10} for finding in findings)
    assert ("more than by the alternative training" in findings[0]["statement"]) == (way == "file")


def test_pairs_that_are_too_few_end_in_no_verdict_with_their_number(trained):
    result = trained.runpytest_inprocess(*RUN, "--dmm-pairs", "trained:listed")
    assert "pairs of networks that all agree, and pairs has 4; nothing was measured" in printed(result)
    assert {finding["verdict"] for finding in findings_in(trained.path / "r.json")} == {"inconclusive"}


def test_a_robust_model_is_not_failed_by_what_standard_training_leaves(project):
    only = ("--dmm-only", "--dmm-checks", SUFFICES, "--dmm-model", "world:on", "--dmm-report", "r.json")
    failed = project.runpytest_inprocess(*only)
    assert failed.ret == 1
    passed = project.runpytest_inprocess(*only, "--dmm-robustly-trained", "true")
    assert passed.ret == 0, printed(passed)
    assert "declared robust" in printed(passed)
    (finding,) = json.loads((project.path / "r.json").read_text(encoding="utf-8"))["findings"]
    assert (finding["verdict"], finding["gating"]) == ("refuted", False)
    configure(project, '[tool.dmmcheck.checks.off-manifold-suffices]\nexpected-failure = "robust"')
    refused = project.runpytest_inprocess(*only, "--dmm-robustly-trained", "true")
    assert "none of whose claims gates for this subject" in printed(refused)
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
