"""Draws of the controls against their closed forms, what each control keeps, and controls that users add."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
import views
from scipy import stats as scipy_stats

import dmmcheck
from dmmcheck import worlds
from dmmcheck.checks import base, distance, energy
from dmmcheck.checks.plan import plan
from dmmcheck.config.settings import Settings
from dmmcheck.errors import CheckError, RegistryError
from dmmcheck.inference import stats
from dmmcheck.inference.decide import point_estimate
from dmmcheck.manifolds.fields import RotatedField, SharedField
from dmmcheck.manifolds.rotations import Haar, Spectrum
from dmmcheck.measurement import nulls
from dmmcheck.measurement.nulls import BUDGETS, null_draws, why_unavailable
from dmmcheck.measurement.view import View
from dmmcheck.registry import CONTROLS
from dmmcheck.run import Run
from dmmcheck.seeding import seeded
from dmmcheck.subject import Subject

SMALL = {"ambient_dim": 16, "dim": 3, "samples": 64}


def drawn(control, seen, number=0):
    return CONTROLS[control].draw(seen, seeded(0, "control", control, number))


def test_rotated_energy_of_one_gradient_is_beta_distributed():
    seen = views.view(worlds.hyperplane(angle=40, seed=0, **SMALL).subject, 32)
    null = null_draws(seen, energy.off_manifold_energy, "rotation", 400, searched=False)
    assert scipy_stats.kstest(null, scipy_stats.beta(13 / 2, 3 / 2).cdf).pvalue > 1e-3
    assert null.std() > 0.05  # shared: the draw, not the input, is the unit


def test_searched_draws_of_a_flat_boundary_follow_the_same_law():
    seen = replace(views.view(worlds.hyperplane(angle=40, seed=0, **SMALL).subject, 16), effort="quick")
    null = null_draws(seen, distance.on_manifold_distance_controlled, "rotation", 60, searched=True)
    assert scipy_stats.kstest(null**-2, scipy_stats.beta(3 / 2, 13 / 2).cdf).pvalue > 1e-3


@pytest.mark.parametrize("control", ["rotation", "spectrum", "covariance", "same-class", "other-class"])
@pytest.mark.parametrize("local", [False, True], ids=["shared", "local"])
def test_a_null_field_answers_through_vectors_as_through_its_bases(control, local):
    seen = views.view(views.subject(manifold=views.Local() if local else None))
    if control == "spectrum":
        field = RotatedField(seen.field, Spectrum((3, 4), generator=torch.Generator().manual_seed(1)))
    else:
        field = drawn(control, seen).field
    v = torch.randn(seen.n, views.D, generator=torch.Generator().manual_seed(2))
    basis = field.basis(slice(0, seen.n))
    basis = basis.expand(seen.n, *basis.shape[-2:])
    assert torch.allclose(basis.mT @ basis, torch.eye(views.K).expand(seen.n, -1, -1), atol=1e-5)
    on = (basis @ (basis.mT @ v[:, :, None]))[..., 0]
    assert torch.allclose(field.project(v), on, atol=1e-5)
    assert torch.allclose(field.share(v), on.square().sum(1) / v.square().sum(1), atol=1e-5)


@pytest.mark.parametrize("control", ["rotation", "covariance", "same-class"])
@pytest.mark.parametrize("local", [False, True], ids=["shared", "local"])
def test_every_look_sees_the_draws_of_the_control(control, local):
    """Also where the basis of a draw is kept from another look or another question."""
    subject = views.subject(manifold=views.Local() if local else None)
    seen, other = views.view(subject), views.view(subject)
    for ask in (energy.off_manifold_energy, energy.boundary_parallel):
        for n in (32, seen.n):
            look = replace(seen, n=n)
            fresh = [point_estimate(ask(drawn(control, replace(other, n=n), number))) for number in range(9)]
            assert np.allclose(null_draws(look, ask, control, 9, searched=False), fresh, atol=1e-6)


def test_bases_of_draws_are_kept_up_to_a_number_of_values(monkeypatch):
    monkeypatch.setattr(nulls, "MOST_VALUES", 3 * views.D * views.K)
    seen = views.view(views.subject())
    null_draws(seen, energy.off_manifold_energy, "rotation", 9, searched=False)
    kept = [key[-1] for key in seen.measurement._blocks if key[0] == "basis of a draw"]
    assert kept == [0, 1, 2]


@pytest.mark.parametrize("constant", [0.0, 0.5])
def test_constant_features_change_no_draw(constant):
    """36 constant features beside the 12 of the subject: the null of a statistic of the 12 stays what it was."""

    def spread(narrow):
        wide = torch.full((len(narrow), 36), constant)
        return torch.cat([narrow, wide], 1)

    class Wide(views.Local):
        def tangent_basis(self, x):
            basis = super().tangent_basis(x[:, : views.D])
            return torch.cat([basis, torch.zeros(len(x), 36, views.K).to(basis)], 1)

        def project_point(self, x):
            return torch.cat([super().project_point(x[:, : views.D]), x[:, views.D :]], 1)

    narrow = views.subject(manifold=views.Local())
    wide = Subject(
        model=lambda x: narrow.model(x[:, : views.D]),
        x=spread(narrow.x),
        y=narrow.y,
        manifold=Wide(),
        x_train=spread(narrow.x_train),
        y_train=narrow.y_train,
    )
    for control in ("rotation", "covariance"):
        few, many = (
            null_draws(views.view(subject), energy.off_manifold_energy, control, 200, searched=False)
            for subject in (narrow, wide)
        )
        assert np.median(many) == pytest.approx(np.median(few), rel=0.02), control


def test_draws_of_the_covariance_hold_loud_directions_as_often_as_the_data():
    """The mean share of a direction in k random combinations is near 1 for the loudest ones and small for the rest."""
    spread = torch.tensor([100.0, 100.0, 100.0, *[1.0] * 9])
    subject = views.subject()
    loud = Subject(
        model=subject.model,
        x=subject.x * spread,
        y=subject.model(subject.x * spread).argmax(1).detach(),
        manifold=subject.manifold,
    )
    seen = views.view(loud)
    shares = torch.stack(
        [drawn("covariance", seen, number).field.share(torch.eye(views.D)) for number in range(50)]
    ).mean(0)
    assert shares[:3].min() > 0.9
    assert shares[3:].max() < 0.1


@pytest.mark.parametrize("dims", [(2, 5), (5, 2)])
def test_the_examples_that_are_combined_do_not_depend_on_who_asked_first(monkeypatch, dims):
    monkeypatch.setattr(nulls, "MOST_COVARIANCE_VALUES", 1)  # as few examples as a dimension needs
    seen = views.view(views.subject())
    for k in dims:
        assert why_unavailable(replace(seen, field=SharedField(torch.eye(views.D)[:, :k])), "covariance") == ""


def test_the_rank_of_the_data_is_computed_once_for_all_tests(monkeypatch):
    seen, ranks = views.view(views.subject()), []
    monkeypatch.setattr(nulls, "_rank", lambda *combinations: ranks.append(views.D) or ranks[-1])
    for k in (views.K, views.K, 6):  # a refit has another dimension
        one = replace(seen, field=SharedField(torch.eye(views.D)[:, :k]))
        assert bool(why_unavailable(one, "covariance")) is (2 * k >= views.D)
    assert len(ranks) == 2


def test_the_rank_of_combinations_is_that_of_the_data_whatever_is_drawn():
    """In exact arithmetic the data span 8 of 32 directions; in float32 rounding adds the others."""
    generator = torch.Generator().manual_seed(0)
    spread = torch.tensor([1.0, 0.9, 0.5, 0.2, 0.2, 0.2, 0.15, 0.1])
    frame = torch.linalg.qr(torch.randn(32, 8, generator=generator)).Q
    data = ((torch.randn(64, 8, generator=generator) * spread) @ frame.T).double()
    ranks = {nulls._rank(data, torch.randn(9, 64, generator=generator, dtype=torch.float64)) for _ in range(1000)}
    assert ranks == {8}
    assert nulls._rank(data, torch.randn(7, 64, generator=generator, dtype=torch.float64)) == 7


@pytest.mark.parametrize("samples", [8, 60], ids=["fewer-than-features", "more-than-features"])
def test_the_covariance_of_draws_is_that_of_the_examples(samples):
    seen = views.view(views.subject(samples=samples))
    examples = seen.examples.x.double()
    rows = nulls._covariance_rows(seen, nulls._most_examples(seen))
    centred = examples - examples.mean(0)
    assert len(rows) == min(len(examples), views.D)
    assert torch.allclose(rows.T @ rows, centred.T @ centred, atol=1e-8)


def test_examples_of_many_features_are_combined_within_a_bound(monkeypatch):
    seen = views.view(views.subject(samples=60))
    monkeypatch.setattr(nulls, "MOST_COVARIANCE_VALUES", 10 * views.D)
    few = nulls._covariance_rows(seen, nulls._most_examples(seen))
    first = seen.examples.x[:10].double()
    assert torch.allclose(few.T @ few, (first - first.mean(0)).T @ (first - first.mean(0)), atol=1e-8)
    monkeypatch.setattr(nulls, "MOST_COVARIANCE_VALUES", 0)
    assert len(nulls._covariance_rows(seen, nulls._most_examples(seen))) == 2 * views.K + 2


def test_one_rotation_turns_all_inputs_together():
    seen = views.view(views.subject(manifold=views.Local()))
    before, after = (
        views.array(field.basis(slice(0, seen.n))) for field in (seen.field, drawn("rotation", seen).field)
    )
    angles = [np.linalg.svd(a.T @ b)[1] for a, b in zip(before, np.roll(before, 1, 0), strict=True)]
    turned = [np.linalg.svd(a.T @ b)[1] for a, b in zip(after, np.roll(after, 1, 0), strict=True)]
    assert np.allclose(angles, turned, atol=1e-4)


def owners(own, permuted):
    """For each of the permuted spaces the inputs whose own space it is."""
    apart = np.abs(own[None] - permuted[:, None]).max(axis=(2, 3))
    return [set(np.flatnonzero(row < 1e-6)) for row in apart]


def test_spaces_permuted_within_class_stay_in_the_class_and_are_all_used():
    seen = views.view(views.subject(manifold=views.Local()))
    everyone = slice(0, seen.n)
    sources = owners(*(views.array(field.basis(everyone)) for field in (seen.field, drawn("same-class", seen).field)))
    assert all(len(source) == 1 for source in sources)
    order = [source.pop() for source in sources]
    assert sorted(order) == list(range(seen.n))
    assert seen.y[order].tolist() == seen.y.tolist()
    assert order != list(range(seen.n))


def test_spaces_permuted_across_classes_never_stay_in_the_class():
    seen = views.view(views.subject(manifold=views.Local(), samples=200))
    balanced = balanced_view(seen)
    for number in range(20):
        field = drawn("other-class", balanced, number).field
        everyone = slice(0, balanced.n)
        sources = owners(*(views.array(one.basis(everyone)) for one in (balanced.field, field)))
        order = [source.pop() for source in sources]
        assert sorted(order) == list(range(balanced.n))
        assert not (balanced.y[order] == balanced.y).any()


def balanced_view(seen):
    counts = torch.bincount(seen.y)
    assert int(counts.max()) * 2 <= seen.n, "the sample of this test must have no dominant class"
    return seen


@pytest.mark.parametrize(
    ("control", "subject", "words"),
    [
        ("spectrum", views.subject(), "not images"),
        ("same-class", views.subject(), "nothing to permute"),
        ("other-class", views.subject(), "nothing to permute"),
    ],
    ids=["flat inputs", "shared space, same class", "shared space, other class"],
)
def test_a_control_that_cannot_be_drawn_says_why(control, subject, words):
    assert words in why_unavailable(views.view(subject), control)


def test_one_dominant_class_leaves_no_spaces_to_permute_across():
    subject = views.subject(manifold=views.Local(), classes=2)
    common = int(torch.bincount(subject.y).argmax())
    rare = torch.nonzero(subject.y != common).reshape(-1)[:3]
    kept = torch.cat([torch.nonzero(subject.y == common).reshape(-1), rare])
    skewed = Subject(model=subject.model, x=subject.x[kept], y=subject.y[kept], manifold=views.Local())
    assert "more balanced" in why_unavailable(views.view(skewed), "other-class")


def test_rotations_can_always_be_drawn():
    assert why_unavailable(views.view(views.subject()), "rotation") == ""


def test_draws_are_the_same_whoever_asks_and_made_once(monkeypatch):
    subject = views.subject()
    asked = []

    def ask(view):
        asked.append(view)
        return energy.off_manifold_energy(view)

    seen = views.view(subject, 32)
    first = null_draws(seen, ask, "rotation", 20, searched=False)
    again = null_draws(seen, ask, "rotation", 20, searched=False)
    fresh = null_draws(views.view(subject, 32), energy.off_manifold_energy, "rotation", 20, searched=False)
    assert len(asked) == 20
    assert np.array_equal(first, again)
    assert np.array_equal(first, fresh)


def test_views_of_different_numbers_of_inputs_have_different_draws():
    seen = views.view(views.subject())
    few, many = (
        null_draws(View.of(seen.measurement, n), energy.off_manifold_energy, "rotation", 20, searched=False)
        for n in (16, 48)
    )
    assert not np.allclose(few, many)


class Turned:
    """Tangent spaces that are unrelated to the model, but resemble each other."""

    name = "turned"
    dim = views.K

    def __init__(self, seed: int) -> None:
        self.rotation = Haar(views.D, generator=torch.Generator().manual_seed(seed))

    def project_point(self, x):
        return x

    def tangent_basis(self, x):
        basis = views.Local().tangent_basis(x)
        columns = basis.mT.reshape(-1, views.D)
        return self.rotation.apply(columns).reshape(len(x), views.K, views.D).mT.contiguous()


def test_permuted_spaces_support_a_claim_only_where_rotated_ones_do():
    """A field unrelated to the model is now and then far from all its permutations; so C2 requires C0, too."""
    smaller = []
    for seed in range(3):
        run = Run(views.subject(seed=seed, manifold=Turned(seed), samples=32), Settings())
        run.soundness = ()
        planned = next(one for one in run.planned if one.id == "off-manifold-energy-controlled-same-class")
        finding, seen = run.finding(planned), View.of(run.measure)
        p_values = [
            stats.rank_p_value(
                finding.estimate,
                null_draws(seen, energy.off_manifold_energy, control, 199, searched=False),
                "greater",
            )
            for control in ("same-class", "rotation")
        ]
        assert finding.p_value == max(p_values)
        smaller.append(p_values[0] < p_values[1])
    assert any(smaller)  # else this would not tell the two apart


@pytest.mark.parametrize("cost", BUDGETS)
@pytest.mark.parametrize("alpha", [0.3, 0.05, 0.01, 0.0036, 1e-3, 1e-6])
def test_draws_are_enough_for_alpha_or_as_many_as_their_cost_allows(cost, alpha):
    draws, most = BUDGETS[cost].draws(alpha), BUDGETS[cost].most
    assert BUDGETS[cost].least <= draws <= most
    beyond = {"energy": 1, "forward": 1, "search": 0}[cost]  # draws that may lie beyond, where the claim holds
    assert (1 + beyond) / (draws + 1) < alpha or draws == most


def test_every_test_has_draws_of_a_known_cost():
    assert {test.draw_cost for one in base.registry().values() for test in one.tests} == set(BUDGETS)


class Permuted:
    """An orthogonal operator that permutes the coordinates of vectors (n, D)."""

    def __init__(self, order):
        self.order = order

    def apply(self, v):
        return v[:, self.order]

    def inverse(self, v):
        return v[:, torch.argsort(self.order)]


def permuted_coordinates(view, generator):
    return view.rotated(Permuted(torch.randperm(view.x.shape[1], generator=generator)))


@pytest.mark.usefixtures("own_registries")
def test_an_own_control_adds_a_test_to_a_check_that_it_lists_and_appears_in_a_run():
    before = {one.id for one in plan(Settings())}
    dmmcheck.control("permuted", title="spaces with permuted coordinates", checks=("off-manifold-energy",))(
        permuted_coordinates
    )
    added = {one.id for one in plan(Settings())} - before
    assert added == {"off-manifold-energy-controlled-permuted"}
    subject = worlds.hyperplane(angle=85, ambient_dim=16, dim=8, samples=64, seed=0).subject
    report = dmmcheck.run(subject, checks=["off-manifold-energy"], tiers=["controlled"])
    finding = next(one for one in report.findings if one.variant == "permuted")
    assert finding.control.name == "spaces with permuted coordinates"
    assert finding.verdict == "supported"
    plain = next(one for one in report.findings if one.variant == "builtin")
    assert finding.estimate == plain.estimate
    assert finding.threshold == pytest.approx(finding.control.estimate + 0.05 * (1 - finding.control.estimate))


@pytest.mark.usefixtures("own_registries")
def test_an_own_control_can_be_named_by_a_check_which_then_has_one_test_against_it():
    dmmcheck.control("permuted", title="t", checks="mine")(permuted_coordinates)

    @dmmcheck.check(
        "mine", statement="s", threshold=0.5, direction="greater", unit="share", controls=("rotation", "permuted")
    )
    def mine(view):
        """rho_N."""
        return dmmcheck.Evidence.of(1 - view.tangent_share(view.delta()))

    ids = [one.id for one in plan(Settings()) if one.check.id == "mine"]
    assert ids == ["mine-stated-builtin", "mine-controlled-builtin", "mine-controlled-permuted"]


@pytest.mark.usefixtures("own_registries")
def test_a_listed_check_without_controls_is_searched_in_each_draw():
    dmmcheck.control("permuted", title="t", checks=("off-manifold-suffices",))(permuted_coordinates)
    subject = worlds.hyperplane(angle=80, seed=0, **SMALL).subject
    id = "off-manifold-suffices-controlled-permuted"
    finding = views.finding(subject, id)
    assert finding.n == 64
    assert finding.cost.gradient_evaluations > views.finding(subject, "off-manifold-suffices-stated-builtin").n * 39
    assert finding.verdict in {"supported", "inconclusive", "refuted"}
    assert np.isfinite(finding.control.estimate)


@pytest.mark.usefixtures("own_registries")
def test_an_unknown_check_of_a_control_is_one_clear_error():
    dmmcheck.control("permuted", title="t", checks=("off-manifold-enrgy",))(permuted_coordinates)
    words = "the control 'permuted' lists the unknown check 'off-manifold-enrgy'; did you mean 'off-manifold-energy'?"
    with pytest.raises(CheckError, match=re.escape(words)):
        dmmcheck.run(views.subject(), checks=["noise-like"])


@pytest.mark.usefixtures("own_registries")
def test_a_control_cannot_take_the_name_of_another_one():
    with pytest.raises(RegistryError, match="the control 'rotation' exists already"):
        dmmcheck.control("rotation", title="t")(permuted_coordinates)


def raising(view, generator=None):
    raise ZeroDivisionError("by nothing")


@pytest.mark.usefixtures("own_registries")
@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (raising, "the control 'own' raised ZeroDivisionError: by nothing"),
        (lambda view, generator: None, "the control 'own' returned a NoneType, expected a View; return view.rotated"),
        (lambda view, generator: view.x, "the control 'own' returned a Tensor, expected a View"),
    ],
    ids=["raises", "nothing", "tensor"],
)
def test_a_control_that_raises_or_returns_something_else_is_one_clear_error(draw, words):
    dmmcheck.control("own", title="t", checks=("off-manifold-energy",))(draw)
    with pytest.raises(CheckError, match=f"^{re.escape(words)}"):
        views.finding(views.subject(), "off-manifold-energy-controlled-own")


@pytest.mark.usefixtures("own_registries")
def test_a_control_that_cannot_say_whether_it_is_available_is_one_clear_error():
    dmmcheck.control("own", title="t", checks=("off-manifold-energy",), unavailable=raising)(permuted_coordinates)
    with pytest.raises(CheckError, match=r"^the control 'own' raised ZeroDivisionError: by nothing"):
        views.finding(views.subject(), "off-manifold-energy-controlled-own")


@pytest.mark.usefixtures("own_registries")
def test_a_control_that_is_unavailable_is_not_run_for_its_reason():
    dmmcheck.control("own", title="t", checks=("off-manifold-energy",), unavailable=lambda view: "on Sundays only")(
        permuted_coordinates
    )
    finding = views.finding(views.subject(), "off-manifold-energy-controlled-own")
    assert (finding.verdict, finding.reason) == ("not-run", "on Sundays only")


def test_draws_that_are_searched_together_have_the_numbers_of_single_searches(monkeypatch):
    subject = worlds.dimpled(seed=0, samples=64).subject
    ask = distance.on_manifold_distance_controlled

    def found():
        return null_draws(replace(views.view(subject, 64), effort="quick"), ask, "rotation", 9, searched=True)

    together = found()
    monkeypatch.setattr(nulls, "_search_together", lambda draws, first: None)
    assert np.allclose(together, found(), rtol=1e-5)


def test_a_searched_draw_is_measured_at_few_inputs_and_the_next_draw_at_the_next_ones():
    asked = []

    def ask(view):
        asked.append((view.n, float(view.x[0, 0])))
        return distance.on_manifold_distance_controlled(view)

    seen = replace(views.view(worlds.dimpled(seed=0, samples=64).subject, 64), effort="quick")
    null_draws(seen, ask, "rotation", 5, searched=True)
    firsts = [float(seen.x[16 * turn, 0]) for turn in (0, 1, 2, 3, 0)]
    assert asked == [(16, first) for first in firsts]


def test_more_draws_of_a_searched_control_add_to_the_first_ones():
    seen = replace(views.view(worlds.dimpled(seed=0, samples=64).subject, 32), effort="quick")
    ask = distance.on_manifold_distance_controlled
    few = null_draws(seen, ask, "rotation", 4, searched=True)
    more = null_draws(seen, ask, "rotation", 7, searched=True)
    assert np.array_equal(more[:4], few)


def test_the_looks_at_searched_draws_share_alpha():
    for alpha in (0.05, 0.005, 0.4):
        looks = nulls.draw_looks(BUDGETS["search"], alpha)
        assert sum(share for _, share in looks) == pytest.approx(1)
        assert looks[-1][0] == BUDGETS["search"].draws(alpha)


@pytest.mark.usefixtures("own_registries")
def test_a_question_searches_in_its_draws_only_what_it_asks_for():
    """Also where an earlier question asked for another arm of the first draw."""
    seen = replace(views.view(views.subject()), effort="quick", _used={})

    def first(view):
        return dmmcheck.Evidence.of(view.distance("tangent"))

    def second(view):
        return dmmcheck.Evidence.of(view.distance("normal"))

    null_draws(seen, first, "rotation", 1, searched=True)
    null_draws(seen, second, "rotation", 3, searched=True)
    keys = [key for part in seen.measurement._others.values() for key in part._blocks if key[0] == "distances"]
    assert {key[2] for key in keys} == {"normal"}


@pytest.mark.usefixtures("own_registries")
def test_draws_of_a_reference_model_are_searched_together_and_those_of_no_other_model():
    seen = replace(views.view(views.subject(robust=views.network(1))), effort="quick")

    def ask(view):
        return dmmcheck.Evidence.of(view.paired_model("robust").distance("normal"))

    values = null_draws(seen, ask, "rotation", 7, searched=True)
    robust = seen.measurement.paired_model("robust")
    ours, theirs = (
        [key[2] for part in measure._others.values() for key in part._blocks if key[0] == "distances"]
        for measure in (seen.measurement, robust)
    )
    assert not ours
    assert theirs == ["normal"] * 3  # once for the inputs of each turn
    alone = [
        np.median(ask(replace(nulls._few(drawn("rotation", seen, number), number), draw=("alone", number))).values)
        for number in range(7)
    ]
    assert np.allclose(values, alone, rtol=1e-4)
