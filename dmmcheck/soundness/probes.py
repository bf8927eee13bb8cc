"""Whether the search found the boundary, judged by methods without its gradients or its code (gates G5-G8)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import torch
from torch import Tensor

from dmmcheck.attacks.base import Crossing
from dmmcheck.attacks.planted import FOUND_WITHIN, planted
from dmmcheck.attacks.probe import along, random_rays
from dmmcheck.attacks.torchattacks import TorchAttack
from dmmcheck.errors import AttackError
from dmmcheck.inference.stats import binomial_test, median_interval
from dmmcheck.inference.types import ARMS, ArmName
from dmmcheck.measurement.measure import NEXT_EFFORT
from dmmcheck.models.base import Classifier, is_differentiable
from dmmcheck.report.model import Soundness
from dmmcheck.soundness.attack import NOT_CONVERGED, are_masked
from dmmcheck.soundness.context import (
    BEATEN,
    TOLERATED,
    WHERE,
    SoundnessContext,
    bounded,
    in_steps,
    info,
    judged,
    median,
    more_effort,
    more_thorough,
    percent,
    ratio,
    widening,
)
from dmmcheck.soundness.registry import gate
from dmmcheck.soundness.surrogate import surrogate_directions

RAYS = 5
RAY_INPUTS = 32  # at which random directions are tried first
BEATEN_INPUTS = 0.05  # largest share of inputs for which segments or rays find a nearer boundary
BEATEN_BY_SURROGATE = 0.1  # the same for the way to the boundary of a surrogate
INDEPENDENT_INPUTS = 32
FEW_CLASSES = 20  # FAB takes one gradient per class and step
PLANTED_INPUTS = 32
PLANT_AT = 0.5  # of the distance that the search found
RECALL = 0.98
RECALL_ALPHA = 0.05
MISSES_BY = 1 / (1 - NOT_CONVERGED)  # a crossing at most so many times as far as planted has a bounded shortfall
MASKED = "gradients mislead the search: remove what masks them (saturation, quantisation, rounding, noise)"
NO_EXAMPLE = "the model recognises no example of another class near the inputs; give labelled x_train of all classes"


@gate("attack")
def segment_probe(context: SoundnessContext) -> Soundness:
    """G5: the straight way to the nearest example of another class finds no nearer boundary."""
    if not bool(context.segments.found.any()):
        return info("segment", f"not probed: {NO_EXAMPLE}")
    share = _beaten(context.segments.distance, context.distance("free"))
    return bounded(
        "segment",
        share,
        most=BEATEN_INPUTS,
        finding="the straight way to the nearest example of another class crosses the boundary more than 2% nearer "
        f"in {percent(share, BEATEN_INPUTS)} of inputs (limit 5%)",
        remedy=_why_beaten(context),
    )


@gate("attack")
def random_ray_probe(context: SoundnessContext) -> Soundness:
    """G5: five random directions, the same for all inputs, find no nearer boundary in any arm.

    They are tried at 32 inputs first and, in an arm where they beat the search at one of these, at all inputs. If they
    could beat the search at one in ten inputs, they would do so at none of the 32 with a probability of at most 3.5 %.
    """
    shares = {arm: _beaten_by_rays(context, arm) for arm in ARMS}
    worst = max(ARMS, key=lambda arm: shares[arm])
    return bounded(
        "random-rays",
        shares[worst],
        most=BEATEN_INPUTS,
        finding=f"one of {RAYS} random directions {WHERE[worst]} crosses the boundary more than 2% nearer in "
        f"{percent(shares[worst], BEATEN_INPUTS)} of inputs (limit 5%)",
        remedy=_why_beaten(context),
    )


def _beaten_by_rays(context: SoundnessContext, arm: ArmName) -> float:
    """Return the share of inputs at which random directions in an arm beat the search."""
    n = len(context.x)
    first = _nearer_on_rays(context, arm, slice(min(RAY_INPUTS, n)))
    if not first.any() or len(first) == n:
        return float(first.double().mean())
    return float(torch.cat([first, _nearer_on_rays(context, arm, slice(RAY_INPUTS, n))]).double().mean())


def _nearer_on_rays(context: SoundnessContext, arm: ArmName, rows: slice) -> Tensor:
    """Return at which of some inputs random directions in an arm beat the search (m,)."""
    distance = context.distance(arm)[rows]
    rays = random_rays(
        context.classifier,
        context.x[rows],
        context.y[rows],
        radius=torch.where(torch.isfinite(distance), distance, 2 * context.length),
        directions=RAYS,
        space=context.space(arm, rows),
        generator=context.random("rays", arm),
    )
    return rays.distance < BEATEN * distance


@gate("attack")
def transfer(context: SoundnessContext) -> Soundness:
    """G6: directions from a smooth surrogate, fitted to the model's labels alone, find no nearer boundary."""
    distance = context.distance("free")
    radius = torch.where(torch.isfinite(distance), distance, 2 * context.length)
    shortest = torch.full_like(distance, torch.inf)
    for rows, direction in surrogate_directions(context):
        delta = direction * (radius[rows] / direction.norm(dim=1).clamp_min(1e-30))[:, None]
        found = along(context.classifier, context.x[rows], context.y[rows], delta).distance
        shortest[rows] = torch.minimum(shortest[rows], found)
    share = _beaten(shortest, distance)
    return bounded(
        "transfer",
        share,
        most=BEATEN_BY_SURROGATE,
        finding="the way to a smooth surrogate's boundary crosses the model's more than 2% nearer "
        f"in {percent(share, BEATEN_BY_SURROGATE)} of inputs (limit 10%)",
        remedy=_why_beaten(context),
    )


@gate("attack")
def independent_attack(context: SoundnessContext) -> Soundness:
    """G7: an attack from a library, in the same subspaces, finds no distances shorter by over 2 % in the median.

    The attack is FAB, or PGDL2 with bisection of its radius where there are many classes. It attacks 4 inputs and,
    where that is not enough, 8 or 32.
    """
    if not is_differentiable(context.classifier):
        return info(
            "independent-attack", "no second attack has confirmed the search: those of the library take gradients"
        )
    name = "FAB" if context.classifier.classes <= FEW_CLASSES else "PGDL2"
    try:
        attack = TorchAttack(name)
        n = min(INDEPENDENT_INPUTS, len(context.x))
        found = in_steps(context, n, partial(_attacked, context, attack))
    except AttackError as error:
        return info("independent-attack", f"no second attack has confirmed the search: {error}")
    ahead = {arm: _ahead(one, context.distance(arm, len(one))) for arm, one in found.items()}
    worst = max(ARMS, key=lambda arm: ahead[arm])
    n = len(found[worst])
    nearer_by = f"torchattacks' {name} is nearer by {percent(ahead[worst])} in the median {WHERE[worst]}"
    if ahead[worst] > TOLERATED and not _is_ahead_of_more_effort(context, found):
        return widening(
            "independent-attack",
            ahead[worst],
            TOLERATED,
            f"{nearer_by} ({n} inputs), but not nearer than {more_thorough(context)}: intervals include "
            "what that search changes",
        )
    return bounded(
        "independent-attack",
        ahead[worst],
        most=TOLERATED,
        finding=f"{nearer_by} (limit {TOLERATED:.0%}, {n} inputs)",
        remedy=f"the search has missed nearer boundaries, and so does {more_thorough(context)}; test a "
        f'smoother model, or judge the perturbations of {name} too: attacks = ["{name.lower()}"]',
    )


def _attacked(context: SoundnessContext, attack: TorchAttack, arm: str, rows: slice) -> Tensor:
    """Return the distances (n,) that an attack finds in an arm, for some of the inputs."""
    other = attack(
        context.classifier,
        context.x[rows],
        context.y[rows],
        space=context.space(arm, rows),
        generator=context.random("independent", arm),
    )
    return other.distance


def _ahead(distance: Tensor, of: Tensor) -> float:
    """Return the share by which distances are shorter than others, in the median."""
    return max(0.0, 1 - median(ratio(distance, of)))


def _is_ahead_of_more_effort(context: SoundnessContext, found: Mapping[ArmName, Tensor]) -> bool:
    """Return whether the attack's distances are shorter, in any arm, than those of a search with more effort."""
    for arm, distance in found.items():
        n = len(distance)
        if _ahead(distance, context.distance(arm, n)) <= TOLERATED:
            continue
        again = context.searched(context.classifier, arm, slice(n), NEXT_EFFORT[context.effort])
        if _ahead(distance, torch.minimum(again.distance.to(context.x), context.distance(arm, n))) > TOLERATED:
            return True
    return False


@gate("attack")
def planted_boundaries(context: SoundnessContext) -> Iterator[Soundness]:
    """G8: the search finds boundaries that are planted at half the known distance, in T and in N.

    A planted boundary is found by a crossing at most 2 % farther. The search falls short where an exact binomial test
    shows a recall below 98 %: a single miss proves nothing. The shortfall is bounded where three things hold: the
    median crossing is shown to lie at most 2 % farther than planted, it is not shown that more than 2 % of the
    crossings lie more than a third farther, and a more thorough search finds what this one misses. Intervals then
    include what that search changes. Otherwise the item fails.
    """
    n = min(PLANTED_INPUTS, len(context.x))
    ends = torch.nonzero(context.segments.found[:n]).reshape(-1)
    for arm in ("tangent", "normal"):
        if not len(ends):
            yield info(f"planted-{arm}", f"not planted: {NO_EXAMPLE}")
            continue
        times, has_room = _planted(context, arm, n, context.effort)
        rows = ends[has_room[ends]]
        if not len(rows):
            yield info(
                f"planted-{arm}",
                f"not planted: every boundary that could be planted {WHERE[arm]} would lie outside the box",
            )
            continue
        yield _recalled(context, arm, rows, times[rows])


def _recalled(context: SoundnessContext, arm: str, rows: Tensor, times: Tensor) -> Soundness:
    """Return the item of boundaries planted near some inputs.

    Args:
        context: The context.
        arm: The arm in which the boundaries were planted.
        rows: (m,) the inputs.
        times: (m,) how many times as far as planted the search crosses a boundary.
    """
    found = int((times <= FOUND_WITHIN).sum())
    p = _recall_p_value(times, FOUND_WITHIN)
    recall = f"the search finds {found} of {len(times)} boundaries planted {WHERE[arm]}"
    if p <= RECALL_ALPHA and _misses_are_bounded(context, arm, rows, times):
        return widening(
            f"planted-{arm}",
            found / len(times),
            RECALL,
            f"{recall} (p = {p:.2g}); below {RECALL:.0%}, intervals include what {more_thorough(context)} changes",
        )
    return judged(
        f"planted-{arm}",
        p > RECALL_ALPHA,
        found / len(times),
        RECALL,
        finding=f"{recall} (at least {RECALL:.0%}, p = {p:.2g})",
        remedy=_why_beaten(context),
    )


def _misses_are_bounded(context: SoundnessContext, arm: str, rows: Tensor, times: Tensor) -> bool:
    """Return whether the median crossing is the planted one, and few crossings are much farther.

    A more thorough search has to miss few of the planted boundaries, too.
    """
    _, middle = median_interval(times.double().cpu().numpy(), RECALL_ALPHA)
    if middle > FOUND_WITHIN or _recall_p_value(times, MISSES_BY) <= RECALL_ALPHA:
        return False
    again, _ = _planted(context, arm, min(PLANTED_INPUTS, len(context.x)), NEXT_EFFORT[context.effort])
    return _recall_p_value(again[rows], FOUND_WITHIN) > RECALL_ALPHA


def _recall_p_value(times: Tensor, most: float) -> float:
    """Return the p-value of the hypothesis that the search finds at least 98 % of planted boundaries near enough.

    Args:
        times: Distances (m,) of the crossings that were found, in multiples of the planted distances.
        most: The largest multiple that is near enough.
    """
    return binomial_test(int((times > most).sum()), len(times), 1 - RECALL)


def _why_beaten(context: SoundnessContext) -> str:
    """Return the remedy where a probe finds a nearer boundary than the search, by whether gradients are masked."""
    if is_differentiable(context.classifier) and are_masked(context):
        return MASKED
    return f"the search did not converge here: {more_effort(context)}"


def _planted(context: SoundnessContext, arm: str, n: int, effort: str) -> tuple[Tensor, Tensor]:
    """Return the ratio (n,) of the crossing's distance to the planted one in an arm, and which could be planted."""
    distance, end = context.distance(arm, n), context.segments
    radius = PLANT_AT * torch.where(torch.isfinite(distance), distance, end.distance[:n])

    def search(classifier: Classifier, rows: Tensor) -> Crossing:
        return context.searched(classifier, arm, rows, effort)

    return planted(
        context.classifier,
        context.x[:n],
        radius=torch.where(torch.isfinite(radius) & (radius > 0), radius, context.length),
        end=end.point[:n],
        space=context.space(arm, slice(n)),
        search=search,
        generator=context.random("planted", arm),
    )


def _beaten(probe: Tensor, search: Tensor) -> float:
    """Return the share of inputs in which a probe gives a distance shorter by over 2 %."""
    return float((probe < BEATEN * search).double().mean())
