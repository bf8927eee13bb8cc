"""Each gate on the manifold estimate fails for its own reason, or informs."""

from __future__ import annotations

from dataclasses import replace

import contexts
import pytest
import torch

from dmmcheck.soundness import SoundnessContext, manifold


def one_point(context: SoundnessContext) -> SoundnessContext:
    """A manifold on which all inputs have the same nearest point."""
    return replace(context, manifold=contexts.Flat(contexts.pca().origin, 0 * contexts.pca().basis))


TAMPERED = {
    "orthonormal": (manifold.orthonormal, lambda context: replace(context, basis=context.basis * 1.01)),
    "label-agreement": (manifold.label_agreement, one_point),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_a_gate_fails_for_its_own_reason_and_passes_without(name: str):
    contexts.assert_fails_for_its_own_reason(name, *TAMPERED[name])


def test_an_estimate_of_few_dimensions_informs_that_it_is_coarse():
    coarse = contexts.Flat(contexts.pca().origin, contexts.pca().basis[:, :3])
    context = replace(contexts.plain(), manifold=coarse)
    agreement = contexts.asked(manifold.label_agreement, context)["label-agreement"]
    assert agreement.ok is None
    assert "of inputs the label of their projection, fewer than 80%" in agreement.message
    residual = contexts.asked(manifold.residual, context)["residual"]
    assert residual.ok is None
    assert "coarser than the distances to be measured" in residual.message
    expected = (context.x - coarse.project_point(context.x)).norm(dim=1)
    assert residual.value == pytest.approx(float(expected.quantile(0.5, interpolation="lower")), rel=1e-4)


def test_inputs_of_one_class_say_nothing_about_agreement():
    context = contexts.plain()
    same = context.y == context.y[0]
    item = contexts.asked(manifold.label_agreement, replace(context, x=context.x[same], y=context.y[same]))
    assert item["label-agreement"].ok is None
    assert item["label-agreement"].message.endswith("and all inputs are of one class")


def test_the_effective_rank_is_how_many_dimensions_the_tangent_spaces_span():
    context = contexts.plain()
    item = contexts.asked(manifold.effective_rank, context)["effective-rank"]
    assert (item.value, item.ok) == (contexts.DIM, None)
    axes = torch.eye(64)
    disjoint = torch.stack([axes[:, 2 * number : 2 * number + 2] for number in range(16)])
    item = contexts.asked(manifold.effective_rank, replace(context, basis=disjoint))["effective-rank"]
    assert item.value == pytest.approx(32)
    equal = axes[None, :, :2].expand(16, -1, -1)
    item = contexts.asked(manifold.effective_rank, replace(context, basis=equal))["effective-rank"]
    assert item.value == pytest.approx(2)


def test_a_flat_manifold_is_linear_and_a_single_point_is_not():
    item = contexts.asked(manifold.linearity, contexts.plain())["linearity"]
    assert item.value == pytest.approx(0, abs=1e-5)
    bent = contexts.asked(manifold.linearity, one_point(contexts.plain()))["linearity"]
    assert bent.value == pytest.approx(1, abs=1e-5)
    assert bent.message.endswith("the tangent space does not describe the manifold at that distance")


def test_projections_of_too_few_inputs_are_told_how_many_are_needed_and_nothing_of_the_estimate():
    whole = contexts.plain()
    labels = torch.bincount(whole.y).argsort(descending=True)
    rows = torch.cat([torch.nonzero(whole.y == label)[:count, 0] for label, count in zip(labels, (5, 2), strict=False)])
    item = contexts.asked(manifold.label_agreement, replace(whole, x=whole.x[rows], y=whole.y[rows]))["label-agreement"]
    assert item.ok is False
    assert (
        "7 inputs are too few to tell: even if all were right, chance could explain it; give at least 14"
        in item.message
    )
    assert "the estimate" not in item.message
