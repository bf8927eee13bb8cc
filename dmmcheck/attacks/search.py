"""The search for the nearest label change that fits a classifier: with gradients, or by labels alone without them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dmmcheck.attacks.base import Crossing
from dmmcheck.attacks.decision_based.search import QUERIES, decision_based_search
from dmmcheck.attacks.minimal_norm import search as minimal_norm
from dmmcheck.attacks.minimal_norm.input_gradients import InputGradients
from dmmcheck.attacks.search_space import SearchSpace, spanned
from dmmcheck.errors import AttackError
from dmmcheck.inference.types import SearchEffort
from dmmcheck.models.base import flat, is_differentiable
from dmmcheck.models.process_state import neutral_state
from dmmcheck.models.torch import adapt


@neutral_state()
def boundary_search(
    model: Any,
    x: Tensor,
    y: Tensor,
    *,
    subspace: Tensor | None = None,
    normal: bool = False,
    space: SearchSpace | None = None,
    targets: Tensor | None = None,
    effort: SearchEffort = "default",
    generator: torch.Generator,
    examples: tuple[Tensor, Tensor] | None = None,
    queries: int = QUERIES,
    known: InputGradients | None = None,
    **others: Any,
) -> Crossing:
    """Return the smallest L2 perturbation found that changes the label of each input.

    A classifier with gradients is searched by `attacks.minimal_norm.search.boundary_search`, whose arguments these are;
    one without gradients by `attacks.decision_based.search.decision_based_search`.

    Args:
        model: A ``torch.nn.Module``, a function, a fitted estimator, or a `Classifier`.
        x: Inputs ``(n, *input_shape)``, or flat (n, D) for a `Classifier`.
        y: Labels (n,). An input that the model does not call y is at distance 0.
        subspace: Orthonormal basis (D, k) for all inputs, or (n, D, k) for each; the search stays in x + its span.
        normal: Search the orthogonal complement of the subspace instead.
        space: A `SearchSpace` of the n inputs, in place of subspace and normal.
        targets: Classes (n,) to reach; any other class where None.
        effort: ``quick``, ``default`` or ``thorough``; ``brief`` where only medians of many searches count, and
            ``exhaustive`` to check the results of ``thorough``.
        generator: Source of the random directions.
        examples: Labelled examples (m, *input_shape) or (m, D), and their labels (m,), or None. The search also looks
            for label changes on the way to the nearest ones of other classes.
        queries: Most model calls of an input with the default effort, in a search by labels alone.
        known: The gradients at the inputs, for a search with gradients; computed where None.
        **others: ``bounds``, ``radius`` and ``batch_size`` of the search with gradients.

    Returns:
        Distances in units of x that are upper bounds of the true ones, and inf where no label change was found.

    Raises:
        AttackError: Arguments do not fit each other, or the classifier has no gradients and one of `others` is given.
        ModelError: The model cannot be called.

    Example:
        >>> import torch, dmmcheck
        >>> plane = lambda x: torch.stack([x[:, 0], -x[:, 0]], 1)  # the boundary is where the first coordinate is 0
        >>> x, y = torch.tensor([[3.0, 4.0]]), torch.tensor([0])
        >>> found = dmmcheck.boundary_search(plane, x, y, generator=torch.Generator().manual_seed(0))
        >>> round(float(found.distance), 2)
        3.0
        >>> by_labels = lambda x: (x[:, 0] < 0).astype(int)  # a function over numpy arrays that returns labels
        >>> found = dmmcheck.boundary_search(
        ...     by_labels, torch.cat([x, -x]), torch.tensor([0, 1]), generator=torch.Generator()
        ... )
        >>> found.distance.round(decimals=2)
        tensor([3., 3.])
    """
    classifier = adapt(model, x)
    shared: dict[str, Any] = {"targets": targets, "effort": effort, "generator": generator}
    if is_differentiable(classifier):
        return minimal_norm.boundary_search(
            classifier,
            x,
            y,
            subspace=subspace,
            normal=normal,
            space=space,
            examples=examples,
            known=known,
            **shared,
            **others,
        )
    if others:
        raise AttackError(
            f"{', '.join(others)} cannot be used with a model without gradients, which is searched by its labels; "
            "leave it out"
        )
    points = flat(classifier, x)
    inside = spanned(None if subspace is None else subspace.to(points), normal=normal) if space is None else space
    return _by_labels(classifier, points, y, inside, examples, queries=queries, **shared)


def search_spaces(
    classifier: Any,
    x: Tensor,
    y: Tensor,
    spaces: Sequence[SearchSpace],
    *,
    effort: SearchEffort,
    generator: torch.Generator,
    examples: tuple[Tensor, Tensor] | None = None,
    queries: int = QUERIES,
    known: InputGradients | None = None,
) -> list[Crossing]:
    """Search several search spaces; a shorter crossing in another space replaces one found anywhere.

    A search by labels alone tries the projections of the crossings of the first space in the others.

    Args:
        classifier: A `Classifier`.
        x: Inputs (n, D).
        y: Labels (n,).
        spaces: The search spaces, at least one.
        effort: Effort of the search.
        generator: Source of the random directions.
        examples: Labelled examples (m, D) and their labels (m,), or None.
        queries: Most model calls of an input with the default effort, in a search by labels alone.
        known: The gradients at the inputs, for a search with gradients; computed where None.
    """
    if is_differentiable(classifier):
        return minimal_norm.search_spaces(
            classifier, x, y, spaces, examples=examples, effort=effort, generator=generator, known=known
        )
    found: list[Crossing] = []
    for space in spaces:
        hint = found[0].point - x if found else None
        shared = {"targets": None, "effort": effort, "generator": generator, "hint": hint}
        found.append(_by_labels(classifier, x, y, space, examples, queries=queries, **shared))
    return minimal_norm.nested(found, spaces)


def _by_labels(
    classifier: Any, x: Tensor, y: Tensor, space: SearchSpace, examples: tuple[Tensor, Tensor] | None, **shared: Any
) -> Crossing:
    x_pool, y_pool = (None, None) if examples is None else (flat(classifier, examples[0]), examples[1].to(y.device))
    return decision_based_search(classifier, x, y, space=space, x_pool=x_pool, y_pool=y_pool, **shared)
