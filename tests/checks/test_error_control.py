"""Error control of whole runs: alpha is shared, and verdicts depend on nothing else.

`test_known_answers` shows for each masked world that no verdict is given.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import chain

import numpy as np
import pytest
import torch
import views
from torch import Tensor, nn

import dmmcheck
from dmmcheck import worlds
from dmmcheck.checks.plan import plan
from dmmcheck.config.settings import Settings
from dmmcheck.errors import CheckError
from dmmcheck.inference.evidence import Evidence
from dmmcheck.manifolds import Subspace
from dmmcheck.run import Run
from dmmcheck.subject import Subject

pytestmark = pytest.mark.usefixtures("few_plants")
SMALL = {"ambient_dim": 16, "dim": 3, "samples": 64}


def verdicts(subject: Subject, **settings: object) -> dict[str, str]:
    return {name: finding.verdict for name, finding in views.judged(subject, **settings).items()}


def test_a_check_of_the_user_is_under_the_same_error_control(own_registries):
    subject = worlds.hyperplane(angle=80, seed=0, **SMALL).subject
    before = Run(subject, Settings())

    @dmmcheck.check(
        "norm-below-five",
        statement="inputs have a norm below five",
        threshold=5.0,
        direction="less",
    )
    def norm_below_five(view):
        """The L2 norm of each input is below five in the median."""
        return dmmcheck.Evidence.of(view.x.norm(dim=1))

    report = dmmcheck.run(subject, checks=["norm-below-five"])
    (finding,) = report.findings
    assert (finding.id, finding.verdict, finding.gating) == ("norm-below-five-stated-builtin", "supported", True)
    assert finding.estimate == pytest.approx(float(subject.x.norm(dim=1)[:32].median()), rel=0.2)
    after = Run(subject, Settings())
    tests = round(before.settings.alpha / before.gating_alpha)
    assert after.gating_alpha == pytest.approx(0.05 / (tests + 1))
    assert finding.confidence == pytest.approx(1 - after.gating_alpha)


def test_a_check_that_returns_no_evidence_is_an_error_that_names_it(own_registries):
    @dmmcheck.check("returns-a-list", statement="a list will do", threshold=0.0, direction="less")
    def returns_a_list(view):
        return [1.0]

    with pytest.raises(CheckError, match=r"returned a list, expected Evidence; return dmmcheck.Evidence.of"):
        views.judged(views.subject(), "returns-a-list-stated-builtin")


def test_a_check_that_crashes_is_an_error_and_no_verdict(own_registries):
    @dmmcheck.check("crashes", statement="it works", threshold=0.0, direction="less")
    def crashes(view):
        raise ZeroDivisionError("by nothing")

    with pytest.raises(CheckError, match=r"crashes-stated-builtin.*ZeroDivisionError: by nothing"):
        views.judged(views.subject(), "crashes-stated-builtin")


def test_alpha_is_shared_by_the_gating_tests_that_the_subject_allows():
    run = Run(views.subject(factory=views.network), Settings(alpha=0.04))
    allowed = [one for one in run.planned if one.gating and set(one.test.needs) <= run.subject.provides]
    assert {one.check.id for one in allowed} >= {"off-manifold-energy", "normal-gradient-growth", "every-class-near"}
    assert run.gating_alpha == pytest.approx(0.04 / len(allowed))


def test_a_verdict_does_not_depend_on_what_else_is_asked():
    subject = views.subject(samples=96, manifold=views.Local())
    names = ["noise-like", "off-manifold-energy", "projection-restores"]
    ids = [
        [item.id for item in plan(Settings()) if item.id.startswith(name) and item.id.endswith("builtin")]
        for name in names
    ]
    together = views.judged(subject, *chain(*ids))
    separate = {}
    for some in reversed(ids):
        separate |= views.judged(subject, *some)
    assert len(together) >= 2 * len(names)
    assert set(together) == set(separate)
    for id, finding in together.items():
        assert repr(replace(finding, cost=separate[id].cost)) == repr(separate[id])  # NaN is equal to NaN there


@pytest.mark.parametrize("tier", ["stated", "controlled"])
def test_chance_sets_the_limit_only_where_it_asks_for_more_in_controlled_tests(own_registries, tier):
    controls = ("rotation",) if tier == "controlled" else ()

    @dmmcheck.check(
        "against-chance", tier=tier, controls=controls, statement="s", threshold=0.0, direction="greater", unit="share"
    )
    def against_chance(view):
        share = Evidence.of(1 - view.tangent_share(view.delta("free")))
        return replace(share, chance=0.99)

    finding = views.judged(views.subject(), f"against-chance-{tier}-builtin")[f"against-chance-{tier}-builtin"]
    assert finding.threshold == 0.99


def test_looks_stop_early_with_the_verdicts_of_all_inputs():
    subject = worlds.hyperplane(angle=85, seed=1, ambient_dim=16, dim=3, samples=512).subject
    early = views.judged(subject, samples=512)
    run = Run(subject, Settings(samples=512))
    run.soundness, run.measure.looks = (), (len(run.measure.sample.x),)
    fixed = {one.id: run.finding(one) for one in run.planned if one.gating}
    used = [finding.n for finding in early.values() if finding.n]
    assert {name: finding.verdict for name, finding in early.items()} == {
        name: finding.verdict for name, finding in fixed.items()
    }
    assert np.mean(used) <= 0.3 * 512


def rotated(subject: Subject, rotation: Tensor) -> Subject:
    """The same world in rotated coordinates."""
    return Subject(
        model=views.Scaled(subject.model, rotation=rotation),
        x=subject.x @ rotation.T,
        y=subject.y,
        manifold=Subspace(rotation @ subject.manifold.basis),
        x_train=subject.x_train @ rotation.T,
        y_train=subject.y_train,
    )


def shrunk(subject: Subject, size: float) -> Subject:
    return replace(
        subject, model=views.Scaled(subject.model, size=size), x=subject.x * size, x_train=subject.x_train * size
    )


def permuted(subject: Subject) -> Subject:
    order = torch.randperm(len(subject.x), generator=torch.Generator().manual_seed(3))
    return replace(subject, x=subject.x[order], y=subject.y[order])


WORLDS = {
    "near N": lambda: worlds.hyperplane(angle=85, seed=2, **SMALL).subject,
    "in T": lambda: worlds.hyperplane(angle=0, seed=2, **SMALL).subject,
    "dimples": lambda: worlds.dimpled(seed=2, **SMALL).subject,
}
CHANGES = {
    "rotated": lambda subject: rotated(
        subject, torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(4)))[0]
    ),
    "logits x 100": lambda subject: replace(subject, model=views.Scaled(subject.model, factor=100.0)),
    "inputs x 0.01": lambda subject: shrunk(subject, 0.01),
    "permuted": permuted,
}


@cache
def unchanged(world: str) -> tuple[Subject, dict[str, str]]:
    """A subject, and its verdicts."""
    subject = WORLDS[world]()
    return subject, verdicts(subject)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("world", WORLDS)
def test_verdicts_do_not_depend_on_coordinates_units_scale_of_logits_or_order(world, change):
    subject, before = unchanged(world)
    assert verdicts(CHANGES[change](subject)) == before
    assert sum(verdict in {"supported", "refuted"} for verdict in before.values()) >= 6


def test_permuted_inputs_give_the_same_numbers():
    subject = WORLDS["dimples"]()
    before, after = views.judged(subject), views.judged(permuted(subject))
    for name, finding in before.items():
        if finding.verdict != "not-run":
            assert finding.estimate == pytest.approx(after[name].estimate, rel=1e-4), name


PAIR = (
    "adversarial-training-deepens-mechanism-depth",
    "adversarial-training-deepens-mechanism-main-effect",
    "robust-turns-tangential-mechanism-builtin",
)


@pytest.mark.parametrize(
    ("standard", "robust", "expected"),
    [(0.1, 0.3, "supported"), (0.3, 0.1, "refuted"), (0.1, 0.1, "inconclusive")],
    ids=["deeper", "swapped", "itself"],
)
def test_a_pair_says_which_of_the_two_is_deeper(standard, robust, expected):
    findings = views.judged(worlds.pair(standard=standard, robust=robust, seed=0, **SMALL).subject, *PAIR)
    assert {name: finding.verdict for name, finding in findings.items()} == dict.fromkeys(PAIR, expected)


class Quantised(nn.Module):
    """A model without gradients: the search finds nothing, and the boundary seems far away."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner((8 * x).round() / 8)


def test_a_masked_model_of_a_pair_makes_the_pair_inconclusive_and_nothing_else():
    subject = worlds.hyperplane(angle=80, seed=0, **SMALL | {"samples": 32}).subject
    subject = replace(subject, robust=Quantised(subject.model))
    findings = views.judged(subject, *PAIR, "off-manifold-energy-stated-builtin", sound=False)
    assert all(findings[name].verdict == "inconclusive" for name in PAIR)
    assert all("robust model: " in findings[name].reason for name in PAIR)
    assert findings["off-manifold-energy-stated-builtin"].verdict == "supported"


PHASES = "two-phases-mechanism-builtin"


@pytest.mark.parametrize(
    ("depths", "expected"),
    [
        ("TWO_PHASES", "supported"),
        ("FALLING", "refuted"),
        ("RISING", "refuted"),
        ("CONSTANT", "refuted"),
        ("REVERSED", "refuted"),
    ],
)
def test_two_phases_follows_the_trajectory(depths, expected):
    subject = worlds.training(depths=getattr(worlds.dimples, depths), seed=0, **SMALL).subject
    assert views.judged(subject, PHASES)[PHASES].verdict == expected


def test_an_untrained_network_does_not_differ_from_untrained_networks():
    """It differs clearly from any single one, but not from them all."""
    names = ("boundary-clings-mechanism-builtin", "normal-gradient-growth-mechanism-builtin")
    decided = 0
    for seed in range(6):
        subject = views.subject(seed=50 + seed, samples=32, factory=views.network)
        findings = views.judged(subject, *names, effort="quick")
        decided += sum(finding.verdict != "inconclusive" for finding in findings.values())
    assert decided <= 1
