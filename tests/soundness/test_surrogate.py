"""A kernel regression of the model's labels: its gradients are exact, and its steps lead to other classes."""

from __future__ import annotations

import contexts
import pytest
import torch

from dmmcheck.data import arrays
from dmmcheck.soundness.surrogate import RIDGE, Surrogate, surrogate_directions

N, D, M, CLASSES = 7, 5, 40, 3


def made() -> tuple[Surrogate, torch.Tensor, torch.Tensor]:
    """A surrogate, with its examples and their labels."""
    generator = torch.Generator().manual_seed(0)
    examples = torch.randn((M, D), generator=generator, dtype=torch.float64)
    labels = examples[:, :CLASSES].argmax(1)
    return Surrogate.fit(examples, labels, CLASSES), examples, labels


def test_the_ridge_regression_solves_its_equations():
    surrogate, examples, labels = made()
    targets = torch.nn.functional.one_hot(labels, CLASSES).double()
    residual = targets - surrogate.values(examples)
    torch.testing.assert_close(residual, RIDGE * surrogate.weights)
    assert bool((surrogate.values(examples).argmax(1) == labels).all())


@pytest.mark.parametrize("values", [D, 3 * D, 1 << 22], ids=lambda values: f"pieces-of-{values}")
def test_margins_and_gradients_are_those_of_autograd(monkeypatch, values):
    monkeypatch.setattr(arrays, "PIECE_VALUES", values)
    surrogate = made()[0]
    generator = torch.Generator().manual_seed(1)
    x = torch.randn((N, D), generator=generator, dtype=torch.float64).requires_grad_(True)
    own, other = torch.tensor([0, 1, 2, 0, 1, 2, 0]), torch.tensor([1, 2, 0, 2, 0, 1, 1])
    apart = torch.cdist(x, surrogate.examples)
    found = torch.exp(-((apart / surrogate.width) ** 2) / 2) @ surrogate.weights + surrogate.mean
    margin = (found.gather(1, own[:, None]) - found.gather(1, other[:, None])).squeeze(1)
    (gradient,) = torch.autograd.grad(margin.sum(), x)
    given = surrogate.margin(x.detach(), own, other)
    torch.testing.assert_close(given, (margin.detach(), gradient))
    torch.testing.assert_close(surrogate.values(x.detach()), found.detach())


@pytest.mark.parametrize("size", [1.0, 1e-12], ids=["equal-examples", "tiny-lengths"])
def test_gradients_are_finite_where_kernels_have_hardly_a_width(size):
    examples = torch.randn((10, D), generator=torch.Generator().manual_seed(0))
    examples = size * (examples if size < 1 else torch.cat([examples[:1].expand(8, -1), examples[:2]]))
    surrogate = Surrogate.fit(examples, torch.arange(len(examples)) % 2, 2)
    margin, gradient = surrogate.margin(examples[:3], torch.tensor([0, 1, 0]), torch.tensor([1, 0, 1]))
    assert bool(torch.isfinite(margin).all())
    assert bool(torch.isfinite(gradient).all())
    assert bool(gradient.any()) == (size < 1)


@pytest.mark.parametrize("values", [1, 3 * D, 1 << 22])
def test_the_steps_lead_to_other_classes_in_pieces_of_any_size(monkeypatch, values):
    context = contexts.plain()
    with context.classifier.evaluation():
        whole = list(surrogate_directions(context))
        monkeypatch.setattr("dmmcheck.data.arrays.PIECE_VALUES", values)
        found = list(surrogate_directions(context))
    assert len(whole) == 2
    directions = [torch.cat([steps for _, steps in found[number::2]]) for number in range(2)]
    assert [rows.start for rows, _ in found[::2]] == [0, *(rows.stop for rows, _ in found[:-2:2])]
    for number, direction in enumerate(directions):
        torch.testing.assert_close(direction, whole[number][1], rtol=1e-3, atol=1e-4)
    with torch.no_grad():
        changed = [context.classifier.logits(context.x + 3 * v).argmax(1) != context.y for v in directions]
    assert min(float(one.double().mean()) for one in changed) > 0.5
