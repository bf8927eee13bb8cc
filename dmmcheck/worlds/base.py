"""World: a subject, its exact distances, and which claims are true of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from scipy import stats
from torch import Tensor

from dmmcheck.checks.base import Test, registry
from dmmcheck.subject import Subject

MOST = 0.9  # a claim about a median has a known answer where this share of the inputs agrees
RARE = 1e-3  # a statistic is special where a random manifold's is as extreme this seldom
STRETCH = 1.5  # the checks look at perturbations this much longer than the smallest
CLINGS = "boundary-clings-controlled-builtin"
ENERGY = ("off-manifold-energy", "boundary-parallel")


@dataclass(frozen=True, eq=False)
class World:
    """A subject whose answers are known.

    Attributes:
        name: What to call it.
        subject: What a run takes.
        distance: Exact distances (n,), float64, of ``subject.x`` in its order, by arm: ``"free"``, ``"tangent"``,
            ``"normal"``; infinite where there is no boundary. Empty where none is known.
        truth: Finding id (``"off-manifold-energy-stated-builtin"``) to whether its claim, at the declared threshold,
        is true
            here; ids left out have no known answer.
        sound: False where the measurement is unsound, so that every verdict must be inconclusive (or not run).
    """

    name: str
    subject: Subject
    distance: Mapping[str, Tensor] = field(default_factory=dict)
    truth: Mapping[str, bool] = field(default_factory=dict)
    sound: bool = True


@dataclass(frozen=True, eq=False)
class Exact:
    """What is known of each input in closed form, float64.

    Attributes:
        free: Distance to the boundary (n,).
        tangent: The same within x + T; inf where there is none.
        normal: The same within x + N; inf where there is none.
        share: rho_N of the smallest perturbation, which runs along the boundary's normal, (n,).
    """

    free: Tensor
    tangent: Tensor
    normal: Tensor
    share: Tensor

    @property
    def distance(self) -> dict[str, Tensor]:
        """By the names of the arms."""
        return {"free": self.free, "tangent": self.tangent, "normal": self.normal}


def declared(finding: str) -> Test:
    """The test of a finding id, which holds its threshold and direction."""
    for check in registry().values():
        for test in check.tests:
            if f"{check.id}-{test.tier}-{test.variant}" == finding:
                return test
    raise KeyError(finding)


def answers(values: Mapping[str, Tensor]) -> dict[str, bool]:
    """Truth of claims about medians from the exact statistic of every input, by finding id."""
    known = {finding: _side(statistic, declared(finding)) for finding, statistic in values.items()}
    return {finding: answer for finding, answer in known.items() if answer is not None}


def distance_answers(subject: Subject, exact: Exact) -> dict[str, bool]:
    """Truth of the claims about distances and energy, from exact distances and shares.

    On a flat manifold, where the straight way between examples is the way along it.
    """
    x = subject.x.reshape(len(subject.x), -1).double()
    apart = nearest_other_class(subject)
    stated = answers(
        {
            "off-manifold-energy-stated-builtin": exact.share,
            "boundary-parallel-stated-builtin": exact.share,
            "on-manifold-distance-stated-builtin": exact.tangent / exact.normal,
            "off-manifold-suffices-stated-builtin": exact.normal / exact.free,
            "boundary-clings-stated-builtin": exact.normal / (apart / 2),
            CLINGS: exact.normal / (x.norm(dim=1) / x.shape[1] ** 0.5),
            "dimples-shallow-stated-builtin": exact.normal / apart,
        }
    )
    known = rotation_answers(exact, x.shape[1], subject.manifold.dim)
    both = stated.pop(CLINGS, None), known.pop(CLINGS, None)  # below the reach of a random network, and special
    if False in both or all(both):
        known[CLINGS] = all(both)
    if subject.y_train is not None and bool(torch.isfinite(exact.normal).all()):
        known["dimples-shallow-controlled-training-points"] = False  # examples are drawn as inputs are
    return stated | known


def rotation_answers(exact: Exact, ambient_dim: int, dim: int) -> dict[str, bool]:
    """Truth of the claims that are held against rotated tangent spaces.

    For one input the share under a random rotation is Beta((D-k)/2, k/2). The median over inputs is beyond the
    quantile with tail p in at most 2 p of the shared draws, whatever the inputs have in common: so the control lies
    between the quartiles, and a statistic with a small tail is special.
    """
    chance = stats.beta((ambient_dim - dim) / 2, dim / 2)
    low, high = (float(chance.ppf(level)) for level in (0.25, 0.75))
    share = float(exact.share.median())
    energy = declared("off-manifold-energy-controlled-builtin")
    special = _beyond(share, energy.limit(low), energy.limit(high), tail=float(chance.sf(share)))
    known = {f"{check}-controlled-builtin": special for check in ENERGY}
    ratio = float((exact.tangent / exact.free).median())
    on_manifold = declared("on-manifold-distance-controlled-builtin")
    # a random subspace S of the same dimension is 1 / sqrt(rho_S) times as far as the boundary where that is flat
    level = [on_manifold.limit((1 - quartile) ** -0.5) for quartile in (low, high)]
    known["on-manifold-distance-controlled-builtin"] = _beyond(ratio, *level, tail=float(chance.sf(1 - ratio**-2)))
    nearness = float((exact.free / exact.normal).median()) ** 2  # rho_N where the boundary is flat
    clings = declared(CLINGS)
    level = [clings.limit(quartile**-0.5) ** -2 for quartile in (low, high)]
    known[CLINGS] = _beyond(nearness, *level, tail=float(chance.sf(nearness)))
    return {finding: answer for finding, answer in known.items() if answer is not None}


def flat_answers(share: float, ambient_dim: int, dim: int) -> dict[str, bool]:
    """Truth of the claims about the parts of a perturbation, where the boundary is a hyperplane and x on the manifold.

    A part with the share rho of the energy crosses the boundary, when stretched to 1.5 times the whole, where 1.5
    sqrt(rho) > 1; without its off-manifold part, 1.5 times the perturbation still crosses where 1.5 (1 - rho_N) > 1.
    """
    known = {}
    chance = stats.beta((ambient_dim - dim) / 2, dim / 2)
    if chance.sf(1 - 1 / STRETCH**2) > 0.9:  # random splits of these dimensions flip by the larger part alone, too
        known["component-flips-controlled-builtin"] = False
    if chance.sf(1 - 1 / STRETCH) > 0.9:  # and projecting to a random space restores the class, too
        known["projection-restores-controlled-builtin"] = False
    if abs(STRETCH * (1 - share) - 1) > 0.02:
        known["projection-restores-stated-builtin"] = STRETCH * (1 - share) < 1
    return known


def nearest_other_class(subject: Subject) -> Tensor:
    """Distance (n,) of each input to the nearest example of another class."""
    known = subject.y_train is not None
    pool, labels = (subject.x_train, subject.y_train) if known else (subject.x, subject.y)
    x, pool = (points.reshape(len(points), -1).double() for points in (subject.x, pool))
    apart = torch.cdist(x, pool).masked_fill(subject.y[:, None] == labels[None, :], torch.inf)
    return apart.min(1).values


def _side(values: Tensor, test: Test) -> bool | None:
    """Whether nearly all values lie on the claimed side of the threshold (True) or nearly none (False)."""
    threshold = test.claim.threshold
    claimed = values > threshold if test.claim.direction == "greater" else values < threshold
    known = ~torch.isnan(values)
    if float(claimed.double().mean()) >= MOST:
        return True
    return False if float((known & ~claimed).double().mean()) >= MOST else None


def _beyond(value: float, low: float, high: float, *, tail: float) -> bool | None:
    """Whether a statistic is beyond a control known to lie between two limits, and special among its draws."""
    if value <= low:
        return False
    return True if value > high and tail < RARE else None
