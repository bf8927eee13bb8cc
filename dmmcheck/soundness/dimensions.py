"""Does the verdict hang on the dimension that was chosen? No single one is right."""

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
from dmmcheck.soundness.context import Ground, informs

OTHERS = 4  # dimensions looked at beside the chosen one
ALPHA = 0.05  # of each of these looks, which inform and decide nothing
CLAIM = Claim(threshold=MOSTLY, direction="greater")


def dimensions(ground: Ground) -> Soundness:
    """The stated energy claim under refits of other dimensions, of the same perturbations: nothing is searched."""
    name, chosen = "dimensions", ground.basis.shape[-1]
    found = {chosen: _judged(ground, ground.basis)}
    for dim, basis in _refits(ground, chosen):
        found[dim] = _judged(ground, basis)
        if len(found) > OTHERS:
            break
    if len(found) == 1:
        return informs(
            name,
            "manifold",
            "whether verdicts hang on the dimension is not known: the manifold has no refit(dim)",
        )
    changed = sum(decision.verdict != found[chosen].verdict for decision in found.values())
    shares = ", ".join(f"{found[dim].estimate:.0%} at {dim}" for dim in sorted(found))
    verdicts = ", ".join(f"{word} at {dims}" for word, dims in _by_verdict(found))
    return informs(
        name,
        "manifold",
        f"off-manifold energy of the smallest perturbation by dimension: {shares}; the stated claim is {verdicts}",
        float(changed),
    )


def _judged(ground: Ground, basis: torch.Tensor) -> Decision:
    crossing = ground.crossings["free"]
    step = torch.where(crossing.found[:, None], crossing.point - ground.x, torch.nan)
    share = 1 - geometry.energy_share(step, basis.to(step))
    return decide(Evidence.of(share), limit=CLAIM.threshold, direction=CLAIM.direction, alpha=ALPHA)


def _refits(ground: Ground, chosen: int) -> Iterator[tuple[int, torch.Tensor]]:
    """Tangent bases at other dimensions: halves and doubles of the chosen one first, then its neighbours."""
    refit: Any = getattr(ground.manifold, "refit", None)
    if refit is None:
        return
    ambient_dim = ground.x.shape[1]
    scaled = chain.from_iterable((chosen // factor, chosen * factor) for factor in (2, 4, 8))
    near = chain.from_iterable((chosen - step, chosen + step) for step in range(1, ambient_dim))
    for dim in dict.fromkeys(chain(scaled, near)):
        if dim == chosen or not 0 < dim < ambient_dim:
            continue
        try:
            basis = refit(dim).tangent_basis(ground.x)
        except DmmError:  # more dimensions than the data have
            continue
        yield dim, basis


def _by_verdict(found: dict[int, Decision]) -> Iterator[tuple[str, str]]:
    """(verdict, dimensions)."""
    for word in ("supported", "inconclusive", "refuted"):
        dims = [str(dim) for dim in sorted(found) if found[dim].verdict == word]
        if dims:
            yield word, ", ".join(dims)
