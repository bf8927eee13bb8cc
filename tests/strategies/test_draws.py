"""The strategies: health, determinism, what they shrink to, words that rebuild a value, and refusals."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest
import torch
from hypothesis import find, given, settings
from hypothesis import strategies as st

import dmmcheck
from dmmcheck import geometry, strategies
from dmmcheck.errors import ConfigError, ManifoldError, ModelError, SubjectError
from dmmcheck.manifolds import PCA, Decoder, LocalPCA, Subspace
from dmmcheck.manifolds.builtin import BUILTIN

QUIET = settings(database=None, derandomize=True, max_examples=30, deadline=None)
WORLD = dmmcheck.worlds.hyperplane(angle=60, samples=32, seed=0)
SUBJECT = replace(WORLD.subject, augment=lambda x, seed: x + seed % 7)
X = WORLD.subject.x
HALF, OTHER = torch.eye(50)[:, :8], torch.eye(50)[:, 8:16]


class Graph(torch.nn.Module):
    """An encoder and a decoder of eight values, whose points are the graph of a square."""

    def encode(self, x):
        return x @ HALF.to(x)

    def decode(self, z):
        return z @ HALF.T.to(z) + 0.1 * z.square() @ OTHER.T.to(z)


BALL = torch.nn.functional.normalize(torch.randn(400, 3, generator=torch.Generator().manual_seed(0)))
DECODER = Decoder(Graph().encode, Graph().decode).fit(X)
MANIFOLDS = {
    "subspace": Subspace(HALF),
    "pca": PCA(dim=4).fit(X),
    "local pca": LocalPCA(dim=2).fit(BALL),
    "decoder": DECODER,
    "sphere": dmmcheck.worlds.sphere(samples=32, seed=0).subject.manifold,
    "two sheets": dmmcheck.worlds.sheets(samples=32, seed=0).subject.manifold,
}
NEAR = {
    "local pca": BALL,
    "sphere": dmmcheck.worlds.sphere(samples=32, seed=0).subject.x,
    "two sheets": dmmcheck.worlds.sheets(samples=32, seed=0).subject.x,
}
STRATEGIES = {
    "inputs": strategies.inputs(SUBJECT),
    "tangent steps": strategies.tangent_steps(SUBJECT, radius=2.0),
    "normal steps": strategies.normal_steps(SUBJECT, radius=2.0),
    "augmented": strategies.augmented(SUBJECT),
    "points": strategies.on_manifold(MANIFOLDS["pca"], near=SUBJECT, radius=2.0),
    "latents": strategies.latents(DECODER),
    "subspaces": strategies.subspaces(10, 3),
    "batches": strategies.candidates(SUBJECT, "tangent", radius=2.0),
}
SIMPLEST = {
    "inputs": "Input(subject, index=0)",
    "tangent steps": "TangentStep(subject, index=0, coordinates=())",
    "normal steps": "NormalStep(subject, index=0, coordinates=())",
    "augmented": "Augmented(subject, index=0, seed=0)",
    "points": "ManifoldPoint(manifold, near, index=0, coordinates=())",
    "latents": "Latent(decoder, near, index=0, coordinates=())",
    "subspaces": "Span(ambient_dim=10, dim=3, rotations=())",
}


def drawn(strategy):
    """The words of the examples of a derandomised test, under every health check."""
    seen = []

    @settings(QUIET, suppress_health_check=())
    @given(strategy)
    def keep(value):
        seen.append(repr(value))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        keep()
    return seen


@pytest.mark.parametrize("name", STRATEGIES)
def test_draws_are_healthy_varied_and_the_same_when_derandomised(name):
    seen = drawn(STRATEGIES[name])
    assert seen == drawn(STRATEGIES[name])
    assert len(set(seen)) > 10


@pytest.mark.parametrize("name", SIMPLEST)
def test_values_shrink_to_the_first_real_point_and_no_step(name):
    assert repr(find(STRATEGIES[name], lambda value: True, settings=QUIET)) == SIMPLEST[name]


@settings(QUIET)
@given(st.one_of(STRATEGIES["tangent steps"], STRATEGIES["normal steps"], STRATEGIES["augmented"]))
def test_the_words_of_a_step_rebuild_it(step):
    again = eval(repr(step), vars(strategies) | {"subject": SUBJECT})
    assert repr(again) == repr(step)
    assert torch.equal(again.x, step.x)
    assert step.margin == pytest.approx(again.margin, abs=0)


@settings(QUIET)
@given(STRATEGIES["tangent steps"], STRATEGIES["normal steps"])
def test_steps_lie_in_their_space_within_the_radius(tangent, normal):
    basis = SUBJECT.manifold.tangent_basis(X[:1])
    assert float((tangent.step - geometry.project_tangent(tangent.step[None], basis)[0]).norm()) < 1e-4
    assert float((basis.T @ normal.step).norm()) < 1e-4
    assert max(tangent.length, normal.length) <= 2.0 * (1 + 1e-5)
    assert torch.allclose(tangent.x, X[tangent.index] + tangent.step)


@pytest.mark.parametrize("make", [strategies.tangent_basis, strategies.normal_basis])
def test_the_first_vector_of_a_basis_points_where_the_margin_falls_fastest(make):
    basis = make(SUBJECT, 3) if make is strategies.tangent_basis else make(SUBJECT, 3, (0, 7))
    assert geometry.orthonormal_residual(basis) < 1e-5
    weight = WORLD.subject.model.weight
    side = torch.sign(X[3] @ weight)
    space = SUBJECT.manifold.tangent_basis(X[:1])
    inside = geometry.project_tangent(weight[None], space)[0]
    part = inside if make is strategies.tangent_basis else weight - inside
    assert torch.allclose(basis[:, 0], -side * part / part.norm(), atol=1e-5)


@pytest.mark.parametrize("name", MANIFOLDS)
def test_points_on_a_manifold_are_their_own_projection(name):
    near = NEAR.get(name, X)
    scale = float(near.norm(dim=1).median())

    @settings(QUIET)
    @given(strategies.on_manifold(MANIFOLDS[name], near=near, radius=0.2 * scale))
    def is_its_own_projection(point):
        assert point.residual <= 1e-3 * scale
        assert float((point.x - near[point.index]).norm()) < 2 * scale

    is_its_own_projection()


def test_where_the_dimension_is_too_low_most_points_settle_and_the_others_say_how_far_they_are_off():
    """Planes of dimension 4 for data of dimension 8 turn fast: the fifth variance is nearly as large as the fourth."""
    manifold, residuals = LocalPCA(dim=4).fit(X), []
    scale = float(X.norm(dim=1).median())

    @settings(QUIET)
    @given(strategies.on_manifold(manifold, near=X, radius=0.2 * scale))
    def collect(point):
        residuals.append(point.residual)
        assert point.residual == pytest.approx(float((manifold.project_point(point.x[None]) - point.x).norm()))

    collect()
    assert sum(residual <= 1e-3 * scale for residual in residuals) >= 0.8 * len(residuals)


@pytest.mark.parametrize("name", [name for name, kind in BUILTIN.items() if not kind.required])
def test_points_on_each_built_in_manifold_are_their_own_projection(name):
    points = X[:, :6]
    labels = [torch.arange(len(points)) % 2] * (name == "class-pca")
    manifold = BUILTIN[name](dim=2).fit(points, *labels)

    @settings(QUIET, max_examples=10)
    @given(strategies.on_manifold(manifold, near=points, radius=0.2))
    def is_its_own_projection(point):
        assert point.residual <= 1e-2 * float(points.norm(dim=1).median())

    is_its_own_projection()


@settings(QUIET)
@given(strategies.latents(DECODER, radius=0.5), strategies.subspaces(10, 3))
def test_codes_are_near_those_of_real_points_and_subspaces_have_orthonormal_bases(latent, span):
    codes = X @ HALF
    change = (latent.z - codes[latent.index]) / codes.std(0, correction=0)
    assert float(change.norm()) <= 0.5 * (1 + 1e-5)
    assert torch.allclose(latent.x @ HALF, latent.z, atol=1e-6)
    assert torch.allclose(latent.x @ OTHER, 0.1 * latent.z.square(), atol=1e-6)
    assert geometry.orthonormal_residual(span.basis) < 1e-12


def test_a_failing_test_shows_the_words_that_rebuild_the_value():
    @settings(QUIET)
    @given(STRATEGIES["tangent steps"])
    def label_is_steady(step):
        strategies.target_margin(step)
        assert step.is_steady

    with pytest.raises(AssertionError) as caught:
        label_is_steady()
    notes = "\n".join(getattr(caught.value, "__notes__", ()))
    assert "step=TangentStep(subject, index=0, coordinates=(" in " ".join(notes.split())


class SmallStep(strategies.TangentStep):
    """A type for the tests of registration."""


class NearPoint(strategies.ManifoldPoint):
    """Another one."""


def test_registered_types_are_inferred():
    dmmcheck.register_manifold_type(SmallStep, SUBJECT, radius=0.25)
    dmmcheck.register_manifold_type(NearPoint, SUBJECT, radius=0.25)
    lengths = []

    @settings(QUIET)
    @given(...)
    def inferred(step: SmallStep, point: NearPoint):
        assert type(step) is SmallStep
        assert type(point) is NearPoint
        lengths.append(step.length)

    inferred()
    assert 0.1 < max(lengths) <= 0.25 * (1 + 1e-5)


def no_projection():
    manifold = Subspace(HALF)
    return type("Half", (), {"dim": 8, "tangent_basis": manifold.tangent_basis})()


REFUSED = {
    "a radius of 0": (lambda: strategies.tangent_steps(SUBJECT, radius=0), ConfigError, "the radius is 0.*above 0"),
    "an infinite radius": (
        lambda: strategies.normal_steps(SUBJECT, radius=float("inf")),
        ConfigError,
        "the radius is inf",
    ),
    "no subject": (lambda: strategies.inputs(X), SubjectError, "given a Tensor.*pass a dmmcheck.Subject"),
    "no projection": (
        lambda: strategies.on_manifold(no_projection(), near=X, radius=1.0),
        ManifoldError,
        "Half without project_point",
    ),
    "no points": (
        lambda: strategies.on_manifold(Subspace(HALF), radius=1.0),
        ManifoldError,
        "keeps no points.*give near=x",
    ),
    "an empty subject": (
        lambda: strategies.on_manifold(Subspace(HALF), near=X[:0], radius=1.0),
        SubjectError,
        "near holds 0 points.*pass real inputs",
    ),
    "no codes": (lambda: strategies.latents(MANIFOLDS["pca"]), ManifoldError, "PrincipalSubspace, which has no codes"),
    "no augment": (lambda: strategies.augmented(WORLD.subject), SubjectError, "no function augment.*key augment"),
    "a wide subspace": (lambda: strategies.subspaces(3, 3), ConfigError, "dim is 3, the ambient dimension is 3"),
    "a type of another kind": (
        lambda: dmmcheck.register_manifold_type(int, SUBJECT),
        ConfigError,
        "is no type of a drawn value; give TangentStep",
    ),
    "a type without its radius": (
        lambda: dmmcheck.register_manifold_type(SmallStep, SUBJECT),
        ConfigError,
        "the radius is None",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_drawn_is_refused_in_words(case):
    make, kind, words = REFUSED[case]
    with pytest.raises(kind, match=words):
        make()


class Fragile(torch.nn.Module):
    """A model that raises, or gives NaN, beyond a plane."""

    def __init__(self, inner, fails):
        super().__init__()
        self.inner, self.fails = inner, fails

    def forward(self, x):
        if self.fails == "raises" and bool((x[:, 0].abs() > 50).any()):
            raise ValueError("far away")
        return torch.where((x[:, :1].abs() > 50), torch.nan, self.inner(x))


@pytest.mark.parametrize(("fails", "words"), [("raises", "raised ValueError"), ("nan", "NaN or infinite")])
def test_a_model_that_fails_at_a_drawn_point_is_one_error_with_the_point(fails, words):
    fragile = replace(WORLD.subject, model=Fragile(WORLD.subject.model, fails))
    with pytest.raises(ModelError, match=rf"{words}.*Step\(subject, index=\d+, coordinates=") as caught:
        _ = strategies.NormalStep(fragile, index=1, coordinates=(0.0, 100.0), features=(0,)).margin
    assert "coordinates=(0.0, 100.0), features=(0,))" in str(caught.value)


@pytest.mark.parametrize(
    ("augment", "words"),
    [
        (lambda x, seed: 1 / 0, "augment raised ZeroDivisionError on input 2 with the seed 5"),
        (lambda x, seed: x[:, :3], r"augment returned shape \(1, 3\) on input 2 with the seed 5"),
        (lambda x, seed: x * torch.nan, "expected finite inputs"),
    ],
    ids=["raises", "another shape", "NaN"],
)
def test_an_unusable_augment_is_one_error_with_input_and_seed(augment, words):
    with pytest.raises(SubjectError, match=words):
        _ = strategies.Augmented(replace(WORLD.subject, augment=augment), index=2, seed=5).margin
