"""Whether a verdict depends on the dimension of the manifold estimate, of which none is the only right one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import torch

from dmmcheck import geometry
from dmmcheck.checks.energy import MOSTLY
from dmmcheck.errors import DmmError
from dmmcheck.inference.decide import Decision, decide
from dmmcheck.inference.evidence import Claim, Evidence
from dmmcheck.report.model import Soundness
from dmmcheck.soundness.context import SoundnessContext, info
from dmmcheck.soundness.registry import gate

OTHERS = 4  # dimensions that are compared with the chosen one
ALPHA = 0.05  # error rate at each dimension; the item is informational
CLAIM = Claim(threshold=MOSTLY, direction="greater")


@gate("manifold")
def dimensions(context: SoundnessContext) -> Soundness:
    """The stated energy claim for refits of other dimensions, with the same perturbations."""
    name, chosen = "dimensions", context.basis.shape[-1]
    found = {chosen: _judged(context, context.basis)}
    for dim, basis in _refits(context, chosen):
        found[dim] = _judged(context, basis)
        if len(found) > OTHERS:
            break
    if len(found) == 1:
        return info(
            name,
            "whether verdicts depend on the dimension is not known: the manifold has no refit(dim)",
        )
    changed = sum(decision.verdict != found[chosen].verdict for decision in found.values())
    shares = ", ".join(f"{found[dim].estimate:.0%} at {dim}" for dim in sorted(found))
    verdicts = ", ".join(f"{word} at {dims}" for word, dims in _by_verdict(found))
    return info(
        name,
        f"off-manifold energy of the smallest perturbation by dimension: {shares}; the stated claim is {verdicts}",
        float(changed),
    )


def _judged(context: SoundnessContext, basis: torch.Tensor) -> Decision:
    crossing = context.crossings["free"]
    delta = torch.where(crossing.found[:, None], crossing.point - context.x, torch.nan)
    share = 1 - geometry.energy_share(delta, basis.to(delta))
    return decide(Evidence.of(share), limit=CLAIM.threshold, direction=CLAIM.direction, alpha=ALPHA)


def _refits(context: SoundnessContext, chosen: int) -> Iterator[tuple[int, torch.Tensor]]:
    """(dimension, tangent bases) of refits: halves and doubles of the chosen dimension first, then its neighbours."""
    refit: Any = getattr(context.manifold, "refit", None)
    if refit is None:
        return
    ambient_dim = context.x.shape[1]
    scaled = chain.from_iterable((chosen // factor, chosen * factor) for factor in (2, 4, 8))
    near = chain.from_iterable((chosen - offset, chosen + offset) for offset in range(1, ambient_dim))
    for dim in dict.fromkeys(chain(scaled, near)):
        if dim == chosen or not 0 < dim < ambient_dim:
            continue
        try:
            basis = refit(dim).tangent_basis(context.x.clone())
        except DmmError:  # more dimensions than the data have
            continue
        yield dim, basis


def _by_verdict(found: dict[int, Decision]) -> Iterator[tuple[str, str]]:
    """Each verdict that occurs, and the dimensions it occurs at."""
    for word in ("supported", "inconclusive", "refuted"):
        dims = [str(dim) for dim in sorted(found) if found[dim].verdict == word]
        if dims:
            yield word, ", ".join(dims)
