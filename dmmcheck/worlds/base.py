"""World: a subject, its exact distances, and the claims that are true of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from scipy import stats
from torch import Tensor

from dmmcheck.checks.base import Test, registry
from dmmcheck.checks.parts import STRETCH
from dmmcheck.subject import Subject

MOST = 0.9  # the answer to a claim about a median is known where this share of the inputs agrees
RARE = 1e-3  # a statistic is extreme where that of a random manifold is as large with at most this probability
CLINGS = "boundary-clings-controlled-builtin"
ENERGY = ("off-manifold-energy", "boundary-parallel")


@dataclass(frozen=True, eq=False)
class World:
    """A subject whose answers are known.

    Attributes:
        name: Its name in tables.
        subject: The subject to run the checks on.
        distance: Exact distances (n,), float64, of ``subject.x`` in its order, by arm: ``"free"``, ``"tangent"``,
            ``"normal"``; infinite where there is no boundary. Empty where none is known.
        truth: Whether a claim is true at its declared threshold, by finding id, such as
            ``"off-manifold-energy-stated-builtin"``; ids that are left out have no known answer.
        sound: False where the measurement is unsound, so that every verdict must be inconclusive or not run.
        at_limit: Ids of claims whose statistic has its median, or its rate, exactly at the limit: neither "supported"
            nor "refuted" is right.
    """

    name: str
    subject: Subject
    distance: Mapping[str, Tensor] = field(default_factory=dict)
    truth: Mapping[str, bool] = field(default_factory=dict)
    sound: bool = True
    at_limit: frozenset[str] = frozenset()


@dataclass(frozen=True, eq=False)
class Exact:
    """The exact geometry of each input, in closed form and float64.

    Attributes:
        free: Distance to the boundary (n,).
        tangent: The same within x + T; inf where there is none.
        normal: The same within x + N; inf where there is none.
        share: Off-manifold share rho_N of the energy of the smallest perturbation, (n,).
    """

    free: Tensor
    tangent: Tensor
    normal: Tensor
    share: Tensor

    @property
    def distance(self) -> dict[str, Tensor]:
        """The distances by the names of the arms."""
        return {"free": self.free, "tangent": self.tangent, "normal": self.normal}


def declared(finding: str) -> Test:
    """Return the test of a finding id.

    Raises:
        KeyError: There is no such test.
    """
    for check in registry().values():
        for test in check.tests:
            if f"{check.id}-{test.tier}-{test.variant}" == finding:
                return test
    raise KeyError(finding)


def answers(values: Mapping[str, Tensor]) -> dict[str, bool]:
    """Return the truth of claims about medians from the exact statistic of every input, by finding id."""
    known = {finding: _side(statistic, declared(finding)) for finding, statistic in values.items()}
    return {finding: answer for finding, answer in known.items() if answer is not None}


def distance_answers(subject: Subject, exact: Exact) -> dict[str, bool]:
    """Return the truth of the claims about distances and energy, from exact distances and shares.

    The manifold must be flat, so that the straight distance between examples is that along the manifold.
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
    both = stated.pop(CLINGS, None), known.pop(CLINGS, None)  # nearer than a random network's boundary, and extreme
    if False in both or all(both):
        known[CLINGS] = all(both)
    if subject.y_train is not None and bool(torch.isfinite(exact.normal).all()):
        known["dimples-shallow-controlled-training-points"] = False  # examples and inputs have one distribution
    return stated | known


def rotation_answers(exact: Exact, ambient_dim: int, dim: int) -> dict[str, bool]:
    """Return the truth of the claims that are compared with rotated tangent spaces.

    For one input the share rho_N under a random rotation has the distribution Beta((D-k)/2, k/2). The median over
    inputs exceeds the quantile with tail probability p in at most 2 p of the shared draws, whatever the dependence
    between inputs. So the control lies between the quartiles, and a statistic with a small tail probability is extreme.
    """
    chance = stats.beta((ambient_dim - dim) / 2, dim / 2)
    low, high = (float(chance.ppf(level)) for level in (0.25, 0.75))
    share = float(exact.share.median())
    energy = declared("off-manifold-energy-controlled-builtin")
    exceeds = _exceeds(share, energy.limit(low), energy.limit(high), tail=float(chance.sf(share)))
    known = {f"{check}-controlled-builtin": exceeds for check in ENERGY}
    ratio = float((exact.tangent / exact.free).median())
    on_manifold = declared("on-manifold-distance-controlled-builtin")
    # within a random subspace S of the same dimension a flat boundary is 1 / sqrt(rho_S) times as far away
    level = [on_manifold.limit((1 - quartile) ** -0.5) for quartile in (low, high)]
    known["on-manifold-distance-controlled-builtin"] = _exceeds(ratio, *level, tail=float(chance.sf(1 - ratio**-2)))
    closeness = float((exact.free / exact.normal).median()) ** 2  # rho_N where the boundary is flat
    clings = declared(CLINGS)
    level = [clings.limit(quartile**-0.5) ** -2 for quartile in (low, high)]
    known[CLINGS] = _exceeds(closeness, *level, tail=float(chance.sf(closeness)))
    return {finding: answer for finding, answer in known.items() if answer is not None}


def flat_answers(share: float, ambient_dim: int, dim: int) -> dict[str, bool]:
    """Return the truth of the claims about the parts of a perturbation, for a hyperplane and inputs on the manifold.

    A part with the share rho of the energy, lengthened to 1.5 times the perturbation, crosses the boundary where 1.5
    sqrt(rho) > 1. Without its off-manifold part, 1.5 times the perturbation still crosses where 1.5 (1 - rho_N) > 1.
    """
    known = {}
    chance = stats.beta((ambient_dim - dim) / 2, dim / 2)
    if (
        chance.sf(1 - 1 / STRETCH**2) > 0.9
    ):  # with random splits of these dimensions the larger part alone changes the label, too
        known["component-flips-controlled-builtin"] = False
    if chance.sf(1 - 1 / STRETCH) > 0.9:  # and projection to a random space restores the class, too
        known["projection-restores-controlled-builtin"] = False
    if abs(STRETCH * (1 - share) - 1) > 0.02:
        known["projection-restores-stated-builtin"] = STRETCH * (1 - share) < 1
    return known


def nearest_other_class(subject: Subject) -> Tensor:
    """Return the distance (n,) of each input to the nearest example of another class."""
    known = subject.y_train is not None
    pool, labels = (subject.x_train, subject.y_train) if known else (subject.x, subject.y)
    x, pool = (points.reshape(len(points), -1).double() for points in (subject.x, pool))
    apart = torch.cdist(x, pool).masked_fill(subject.y[:, None] == labels[None, :], torch.inf)
    return apart.min(1).values


def _side(values: Tensor, test: Test) -> bool | None:
    """Return True where nearly all values lie on the claimed side of the threshold, False where nearly none do.

    The answer is None where neither holds.
    """
    threshold = test.claim.threshold
    claimed = values > threshold if test.claim.direction == "greater" else values < threshold
    known = ~torch.isnan(values)
    if float(claimed.double().mean()) >= MOST:
        return True
    return False if float((known & ~claimed).double().mean()) >= MOST else None


def _exceeds(value: float, low: float, high: float, *, tail: float) -> bool | None:
    """Return whether a statistic exceeds a control between two limits, and is extreme; None where not known."""
    if value <= low:
        return False
    return True if value > high and tail < RARE else None
