"""Each second and each row is charged to one part, the innermost one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dmmcheck import worlds
from dmmcheck.config.settings import Settings
from dmmcheck.inference.cost import Cost
from dmmcheck.measurement.meter import NULLS, OTHER, PARTS, SEARCH, SOUNDNESS, Meter
from dmmcheck.models.torch import adapt
from dmmcheck.run import Run

X = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))


def summed(costs):
    whole = Cost()
    for cost in costs:
        whole = whole.plus(cost)
    return whole


def counts(cost):
    return cost.gradient_evaluations, cost.forward_evaluations


def test_what_a_nested_part_spends_is_not_charged_to_the_outer_one():
    meter, classifier = Meter(), adapt(nn.Linear(3, 2), X)
    with meter.measuring(NULLS):
        classifier.logits(X[:1])
        with meter.measuring(SEARCH), meter.measuring():
            classifier.logits(X[:4]).sum().backward()
        classifier.logits(X[:2])
    classifier.logits(X)  # outside every part
    assert {part: counts(cost) for part, cost in meter.parts.items() if counts(cost) != (0, 0)} == {
        NULLS: (0, 3),
        SEARCH: (4, 4),
    }
    assert meter.total == summed(meter.parts.values())


def test_gradients_that_a_search_reports_are_charged_where_the_model_is_not_counted():
    meter = Meter()
    for calls in (0, 1):
        with meter.measuring(), meter.reporting() as reported:
            if calls:
                adapt(nn.Linear(3, 2), X).logits(X).sum().backward()
            reported.append(10)
    assert meter.parts[OTHER].gradient_evaluations == 10 + 6


def interrupted(meter):
    with meter.reporting() as reported:
        reported.append(100)
        raise KeyError


@pytest.mark.parametrize("calls", [0, 1])
def test_gradients_that_nested_searches_report_are_charged_beside_those_of_the_outer_one(calls):
    meter = Meter()
    with meter.measuring():
        for _ in range(2):
            with meter.reporting() as outer:
                with pytest.raises(KeyError):
                    interrupted(meter)
                with meter.reporting() as inner:
                    inner.append(5)
                if calls:
                    adapt(nn.Linear(3, 2), X).logits(X).sum().backward()
                outer.append(10)
    assert meter.total.gradient_evaluations == 2 * (5 + (6 if calls else 10))


@pytest.fixture(scope="module")
def finished():
    """Return a session that has decided the tests of one check, its findings, and its report."""
    world = worlds.sphere(ambient_dim=12, dim=3, samples=40, seed=0)
    session = Run(world.subject, Settings(gate=("stated",)))
    findings = [session.finding(planned) for planned in session.planned if planned.check.id == "on-manifold-distance"]
    return session, findings, session.report(findings)


def test_the_findings_and_what_they_share_add_up_to_the_parts(finished):
    _, findings, report = finished
    of_findings = summed(finding.cost for finding in findings)
    for whole in (of_findings.plus(report.cost.shared), summed(report.cost.parts.values())):
        assert counts(whole) == counts(report.cost.total)
        assert whole.seconds == pytest.approx(report.cost.total.seconds, rel=1e-6)
    assert set(report.cost.parts) == set(PARTS)
    assert min(report.cost.parts[part].gradient_evaluations for part in (SOUNDNESS, SEARCH, NULLS)) > 0
    assert report.cost.total.gradient_evaluations < report.cost.total.forward_evaluations


def test_a_finding_that_was_decided_before_costs_no_gradients(finished):
    session, findings, _ = finished
    controlled = next(one for one in findings if one.tier == "controlled" and one.cost.gradient_evaluations > 0)
    planned = next(one for one in session.planned if one.id == controlled.id)
    assert session.finding(planned).cost.gradient_evaluations == 0


def test_costs_add_up_where_this_process_measured_a_test_ahead():
    world = worlds.sphere(ambient_dim=12, dim=3, samples=24, seed=0)
    session = Run(world.subject, Settings(gate=("stated",), effort="quick"))
    asked = [planned for planned in session.planned if planned.check.id == "on-manifold-distance"][:2]
    assert session.soundness
    session.measure_shard(asked[0].id)
    report = session.report([session.finding(planned) for planned in asked])
    assert counts(summed(one.cost for one in report.findings).plus(report.cost.shared)) == counts(report.cost.total)
    assert min(*counts(report.cost.shared), report.cost.shared.seconds) > 0
