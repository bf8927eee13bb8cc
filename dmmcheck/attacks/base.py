"""What an attack is, and what it returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Crossing:
    """Nearest label change found from each input.

    Attributes:
        point: (n, D) the crossing, on its far side; the input itself where none was found.
        distance: (n,) L2 length of the step, in units of x: an upper bound of the true distance. inf where
            nothing was found (censored at `radius`), 0 only where the input is already misclassified.
        found: (n,) bool.
        radius: (n,) how far the search looked; a censored distance is known only to exceed what a search of
            this kind finds within it.
        forwards: (n,) forward passes spent on each input.
        backwards: (n,) gradient evaluations spent on each input.
        margin: (n,) margin at the crossing, < 0 where found: how far beyond the boundary it is, in units of the logits;
            at least the rounding of the logits, where a step 0.1 % beyond gets there.
        kkt_cosine: (n,) cosine between the step and minus the restricted margin gradient at the crossing; 1 at a
            stationary point of the distance, NaN where nothing was found.
    """

    point: Tensor
    distance: Tensor
    found: Tensor
    radius: Tensor
    forwards: Tensor
    backwards: Tensor
    margin: Tensor
    kkt_cosine: Tensor


class Attack(Protocol):
    """Anything that looks for the nearest label change inside a subspace.

    The subspace is an argument, so that on- and off-manifold search is one algorithm and not two.
    """

    def __call__(
        self,
        model: Any,
        x: Tensor,
        y: Tensor,
        *,
        subspace: Tensor | None = None,
        normal: bool = False,
        bounds: tuple[float, float] | None = None,
        generator: torch.Generator,
    ) -> Crossing:
        """Search x + span(subspace), its orthogonal complement if `normal`, or everywhere if it is None.

        Shapes: x ``(n, *shape)``, y (n,), subspace (D, k) shared or (n, D, k), orthonormal columns.
        """
        ...
