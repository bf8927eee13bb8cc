"""Each remedy that a soundness item or an error of the gates names is applied, and the item passes.

A case is (gate, item, words of its message, a context in which it fails, the context after the remedy). The remedies
for masked gradients name the steps of a model that can mask them; the model without that step passes. There is no case
for "pip install 'dmmcheck[attacks]'", since a test installs nothing; none for "no setting gives more effort, so a
smoother model is needed", since a test cannot smooth a model; and none for a gate whose own code raises, since that
message names no remedy.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import contexts
import pytest
import torch
import views
from contexts import Masked
from torch import Tensor, nn

import dmmcheck
from dmmcheck import geometry
from dmmcheck.attacks.base import Crossing
from dmmcheck.attacks.minimal_norm.search import boundary_search
from dmmcheck.errors import CheckError, RegistryError
from dmmcheck.manifolds import LocalPCA, Subspace
from dmmcheck.models.base import Classifier
from dmmcheck.soundness import (
    SoundnessContext,
    attack,
    bounded,
    collect,
    data,
    info,
    manifold,
    model,
    probes,
)

N = 24
MORE_EFFORT = "a run raises the effort of its search by itself, unless it is fast"


def plain() -> SoundnessContext:
    return contexts.plain()


def of(forward: Callable[[Tensor], Tensor]) -> SoundnessContext:
    """The context of the plain network with another forward pass; its crossings are those of the plain one."""
    return contexts.with_forward(plain(), forward)


def measured(network: nn.Module) -> SoundnessContext:
    """A context whose crossings are searched on the network itself."""
    return contexts.digits_context(network, N)


@cache
def unmasked() -> SoundnessContext:
    return measured(contexts.network())


@cache
def stepped() -> SoundnessContext:
    return measured(Masked(contexts.network(), lambda x: (x > 0.5).to(x.dtype)))


@cache
def saturated() -> SoundnessContext:
    return measured(Masked(contexts.network(), after=lambda z: (50 * z).softmax(1)))


class Stubborn(nn.Dropout):
    """A module whose train(mode) ignores the mode."""

    def train(self, mode: bool = True) -> Stubborn:
        return super().train(True)


class Obedient(nn.Dropout):
    """The same with the remedy."""

    def train(self, mode: bool = True) -> Obedient:
        self.training = mode
        return self


def noisy(*, seeded: bool) -> nn.Module:
    generator = torch.Generator()

    def after(z: Tensor) -> Tensor:
        if seeded:
            generator.manual_seed(0)
        return z + 1e-3 * torch.randn(z.shape[1], generator=generator)

    return Masked(contexts.network(), after=after)


def by_batch(z: Tensor) -> Tensor:
    return z / z.abs().amax()


def by_row(z: Tensor) -> Tensor:
    return z / z.abs().amax(1, keepdim=True)


def logarithm(floor: float) -> Callable[[Tensor], Tensor]:
    return lambda z: torch.where(z == z.amin(1, keepdim=True), torch.full_like(z, floor).log(), z)


def ripple(x: Tensor) -> Tensor:
    return x + 0.02 * torch.sin(400 * x)


class Detached(torch.autograd.Function):
    """The identity, with a backward pass of noise."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.roll(1, 1)


def labelled(labels: Callable[[Tensor], Tensor]) -> SoundnessContext:
    """A context of all test digits with labels that were changed."""
    split = contexts.digits()
    return contexts.context_of(
        contexts.network(),
        split.test.x,
        labels(split.test.y),
        contexts.pca(),
        pool=(split.train.x, split.train.y),
        n=N,
    )


def shuffled(y: Tensor) -> Tensor:
    return y[torch.randperm(len(y), generator=torch.Generator().manual_seed(0))]


def with_accuracy(labelled: int) -> SoundnessContext:
    return replace(plain(), accuracy=0.5, majority=0.3, labelled=labelled)


def rounded_inputs(x: Tensor) -> Tensor:
    return (16 * x).round() / 16


class StraightThrough(nn.Module):
    """Rounded inputs are replaced by the inputs themselves: the differentiable form of the step."""

    def forward(self, x: Tensor) -> Tensor:
        return x


def slow(classifier: Classifier, x: Tensor, y: Tensor, *, effort: str = "default", **arguments: Any) -> Crossing:
    """A search that stops 10 % beyond the boundary unless it is thorough."""
    found = boundary_search(classifier, x, y, effort=effort, **arguments)
    factor = 1.0 if effort in {"thorough", "exhaustive"} else 1.1
    return replace(found, point=x + factor * (found.point - x), distance=factor * found.distance)


@cache
def searched_slowly(effort: str, arms: tuple[str, ...] = ("free", "tangent", "normal")) -> SoundnessContext:
    context = replace(contexts.first(plain(), 8), search=slow, effort=effort)
    with context.classifier.evaluation():
        own = {arm: context.searched(context.classifier, arm, slice(len(context.x)), effort) for arm in arms}
    return replace(context, crossings={**context.crossings, **own})


def projected(dim: int) -> SoundnessContext:
    """The context with the projection to the first principal directions of the training digits."""
    x = contexts.digits().train.x.flatten(1)
    directions = torch.linalg.svd(x - x.mean(0), full_matrices=False).Vh[:dim].T
    return replace(plain(), manifold=contexts.Flat(x.mean(0), directions))


def other_manifold() -> SoundnessContext:
    return replace(plain(), manifold=LocalPCA(dim=8).fit(contexts.digits().train.x.flatten(1)))


def random_projection() -> SoundnessContext:
    """A projection to one random direction, which keeps nothing that the classes differ in."""
    basis = geometry.random_basis(64, 1, generator=torch.Generator().manual_seed(0))
    return replace(plain(), manifold=contexts.Flat(torch.zeros(64), basis))


Case = tuple[Callable[..., Any], str, str, Callable[[], SoundnessContext], Callable[[], SoundnessContext]]
CASES: dict[str, Case] = {
    "evaluation mode": (
        model.evaluation_mode,
        "evaluation-mode",
        "let their train(mode) set self.training = mode, as that of nn.Module does",
        lambda: of(nn.Sequential(contexts.network(), Stubborn(0.0))),
        lambda: of(nn.Sequential(contexts.network(), Obedient(0.0))),
    ),
    "noise: removed": (
        model.deterministic,
        "deterministic",
        "remove the noise from the model (dropout, smoothing, transforms)",
        lambda: of(noisy(seeded=False)),
        lambda: of(contexts.network()),
    ),
    "noise: a fixed seed": (
        model.deterministic,
        "deterministic",
        "or fix its seed in forward",
        lambda: of(noisy(seeded=False)),
        lambda: of(noisy(seeded=True)),
    ),
    "batch": (
        model.batch_independent,
        "batch-independent",
        "remove batch statistics from forward (batch norm in training mode, scaling by the batch)",
        lambda: of(Masked(contexts.network(), after=by_batch)),
        lambda: of(Masked(contexts.network(), after=by_row)),
    ),
    "not finite": (
        model.finite,
        "finite",
        "look for log(0), 0/0 or an overflow in the model's forward pass",
        lambda: of(Masked(contexts.network(), after=logarithm(0.0))),
        lambda: of(Masked(contexts.network(), after=logarithm(1e-6))),
    ),
    "constant: weights": (
        model.not_constant,
        "not-constant",
        "check that its weights are loaded",
        lambda: of(lambda x: 0 * contexts.network()(x) + torch.eye(10)[3]),
        lambda: of(contexts.network()),
    ),
    "constant: scale of the inputs": (
        model.not_constant,
        "not-constant",
        "and that the inputs have the scale of training",
        lambda: of(Masked(contexts.network(), lambda x: 1e-7 * x)),
        lambda: of(Masked(contexts.network(), lambda x: 1e7 * (1e-7 * x))),
    ),
    "chance: labels": (
        model.above_chance,
        "above-chance",
        "check labels and preprocessing",
        lambda: labelled(shuffled),
        lambda: labelled(lambda y: y),
    ),
    "chance: more inputs": (
        model.above_chance,
        "above-chance",
        "or give more labelled inputs",
        lambda: replace(with_accuracy(100), accuracy=0.5, majority=0.5),
        lambda: with_accuracy(100),
    ),
    "chance: too few inputs": (
        model.above_chance,
        "above-chance",
        "6 inputs are too few to tell: even if all were right, chance could explain it; give at least 7",
        lambda: replace(with_accuracy(6), accuracy=1.0, majority=0.5),
        lambda: replace(with_accuracy(7), accuracy=1.0, majority=0.5),
    ),
    "label changes": (
        attack.labels_confirmed,
        "labels-confirmed",
        "the model's answer changes from call to call; make it deterministic and independent of the batch",
        lambda: of(contexts.noise(contexts.network())),
        lambda: of(contexts.network()),
    ),
    "gradients: logits": (
        attack.gradients,
        "gradients",
        "give logits before saturation, rounding or quantisation",
        saturated,
        lambda: measured(Masked(contexts.network(), after=lambda z: 50 * z)),
    ),
    "gradients: a differentiable step": (
        attack.gradients,
        "gradients",
        "or replace that step by a differentiable one",
        lambda: measured(Masked(contexts.network(), rounded_inputs)),
        lambda: measured(Masked(contexts.network(), StraightThrough())),
    ),
    "oscillations": (
        attack.finite_differences,
        "finite-differences",
        "remove fast oscillations, rounding and step functions from its forward pass",
        lambda: of(Masked(contexts.network(), ripple)),
        lambda: of(contexts.network()),
    ),
    "custom backward": (
        attack.finite_differences,
        "finite-differences",
        "and custom backward passes",
        lambda: of(Masked(contexts.network(), lambda x: Detached.apply(x.flatten(1)).reshape(x.shape))),
        lambda: of(contexts.network()),
    ),
    "nothing found": (
        attack.found,
        "found-free",
        "check whether gradients vanish or the logits saturate, and give logits before that step",
        lambda: measured(Masked(contexts.network(), after=lambda z: z.round())),
        unmasked,
    ),
    "effort": (
        attack.effort,
        "effort",
        f"the search has not converged on this model; {MORE_EFFORT}",
        lambda: contexts.stretched(searched_slowly("default"), 1.5, "free"),
        lambda: searched_slowly("thorough"),
    ),
    "nesting": (
        attack.nesting,
        "nesting",
        f"the free search has missed a nearer boundary; {MORE_EFFORT}",
        lambda: contexts.stretched(searched_slowly("default", ("free",)), 2.0, "free"),
        lambda: searched_slowly("thorough"),
    ),
    "second attack": (
        probes.independent_attack,
        "independent-attack",
        "the search has missed nearer boundaries, and so does a thorough search; test a smoother model, or judge",
        lambda: contexts.missed(plain(), 1.1, "free"),
        plain,
    ),
    "segment": (
        probes.segment_probe,
        "segment",
        "remove what masks them (saturation, quantisation, rounding, noise)",
        saturated,
        unmasked,
    ),
    "random rays": (
        probes.random_ray_probe,
        "random-rays",
        "gradients mislead the search: remove what masks them",
        stepped,
        unmasked,
    ),
    "transfer": (
        probes.transfer,
        "transfer",
        "gradients mislead the search: remove what masks them",
        stepped,
        unmasked,
    ),
    "planted boundaries": (
        probes.planted_boundaries,
        "planted-tangent",
        "gradients mislead the search: remove what masks them",
        stepped,
        unmasked,
    ),
    "orthonormal": (
        manifold.orthonormal,
        "orthonormal",
        "make its columns orthonormal, for example by torch.linalg.qr(basis).Q",
        lambda: replace(plain(), basis=plain().basis * 1.01),
        lambda: replace(plain(), basis=torch.linalg.qr(plain().basis * 1.01).Q),
    ),
    "label agreement: dimension": (
        manifold.label_agreement,
        "label-agreement",
        "raise its dimension",
        lambda: projected(0),
        lambda: projected(20),
    ),
    "label agreement: another manifold": (
        manifold.label_agreement,
        "label-agreement",
        "or fit another manifold",
        random_projection,
        other_manifold,
    ),
    "disjoint": (
        data.disjoint,
        "disjoint",
        "fit the manifold on training data and test on held-out inputs",
        lambda: replace(plain(), training_points=plain().x),
        lambda: replace(plain(), training_points=plain().x_pool),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_remedy_of_a_failed_item_works(case: str):
    gate, name, words, broken, mended = CASES[case]
    item = contexts.asked(gate, broken())[name]
    assert item.ok is False
    assert words in item.message
    assert contexts.asked(gate, mended())[name].ok is True


def test_planted_boundaries_that_a_weak_search_misses_are_found_with_more_effort(monkeypatch: pytest.MonkeyPatch):
    contexts.weaken_the_default_search(monkeypatch)
    monkeypatch.setattr(collect, "assess", lambda context: contexts.asked(probes.planted_boundaries, context).values())
    items = {}
    for effort in ("default", "thorough"):
        measure = views.view(contexts.waves(), effort=effort).measurement
        items[effort] = contexts.by_name(collect.assess_measurement(contexts.waves(), measure))["planted-tangent"]
    assert items["default"].ok is False
    assert f"the search did not converge here: {MORE_EFFORT}" in items["default"].message
    assert items["thorough"].ok is True


INFORMED: dict[
    str, tuple[Callable[..., Any], str, str, Callable[[], SoundnessContext], Callable[[], SoundnessContext]]
] = {
    "training points": (
        data.disjoint,
        "disjoint",
        "give x_train, or a manifold with training_points",
        lambda: replace(plain(), training_points=None),
        plain,
    ),
    "examples of all classes": (
        probes.segment_probe,
        "segment",
        "give labelled x_train of all classes",
        lambda: replace(plain(), x_pool=plain().x[:1], y_pool=torch.full((1,), -1)),
        plain,
    ),
    "probabilities": (
        model.probabilities,
        "probabilities",
        "Give the model's logits instead where you can",
        saturated,
        plain,
    ),
}


@pytest.mark.parametrize("case", INFORMED)
def test_the_advice_of_an_informational_item_works(case: str):
    gate, name, words, before, after = INFORMED[case]
    context = before()
    if case.startswith("examples"):
        same = context.y == context.y[0]
        context = replace(context, x=context.x[same], y=context.y[same], x_pool=context.x[same], y_pool=context.y[same])
    item = contexts.asked(gate, context)[name]
    assert item.ok is None
    assert words in item.message
    advised = contexts.asked(gate, after()).get(name)
    assert advised is None or advised.ok is True


def test_x_train_and_the_attribute_training_points_tell_what_the_manifold_was_fitted_on(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(collect, "assess", lambda context: (context.training_points,))
    bare = views.subject(x_train=None, y_train=None)
    fitted = Subspace(bare.manifold.basis, training_points=bare.x + 1)
    for subject, known in ((bare, False), (views.subject(), True), (replace(bare, manifold=fitted), True)):
        (points,) = collect.assess_measurement(subject, views.view(subject).measurement)
        assert (points is not None) is known


@pytest.mark.usefixtures("own_registries")
@pytest.mark.parametrize(
    ("words", "provoke", "mend"),
    [
        (
            "the family of a gate is 'data'; valid: model, attack, manifold",
            lambda: dmmcheck.gate("data"),
            lambda: dmmcheck.gate("manifold"),
        ),
        (
            "model.py:finite); choose another name",
            lambda: named("finite"),
            lambda: named("finite_as_i_like"),
        ),
        (
            "the gate 'own' returned a bool, expected a Soundness item; return dmmcheck.soundness.bounded(...), ",
            lambda: answering(lambda context: True),
            lambda: answering(lambda context: info("own", "fine")),
        ),
    ],
    ids=["family", "name", "answer"],
)
def test_the_remedy_of_an_error_of_a_gate_works(words, provoke, mend):
    with pytest.raises((RegistryError, CheckError), match=re.escape(words)):
        provoke()
    mend()


def named(name: str) -> None:
    def ask(context: SoundnessContext) -> Any:
        return info("own", "fine")

    ask.__name__ = ask.__qualname__ = name
    dmmcheck.gate("model")(ask)


def answering(answer: Callable[[SoundnessContext], Any]) -> None:
    def own(context: SoundnessContext) -> Any:
        return answer(context)

    dmmcheck.gate("model")(own)
    report = dmmcheck.run(views.subject(), checks=["off-manifold-energy"], tiers=["stated"])
    assert report.soundness[-1].name == "own"


def test_an_item_without_a_limit_can_be_given_one():
    with pytest.raises(ValueError, match="has no limit; give most or least"):
        bounded("own", 1.0, finding="found", remedy="mend")
    assert bounded("own", 1.0, most=1.0, finding="found", remedy="mend").ok is True
    assert bounded("own", 1.0, least=1.0, finding="found", remedy="mend").ok is True
