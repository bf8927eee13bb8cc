"""What training does to the boundary: along checkpoints, and against the untrained twin."""

from __future__ import annotations

import math

import numpy as np

from dmmcheck.checks.base import Explanation, check
from dmmcheck.inference.evidence import Evidence, Floats
from dmmcheck.measurement.measure import View

MIN_CHECKPOINTS = 5
PHASE = 1.05  # a fall or rise smaller than 5 % is none
RESAMPLES = 400
FEW_ORDERS = 200  # of the checkpoints: so few hardly show that a better one is no chance

_GROWTH = Explanation(
    source="Shamir, Melamed, BenShmuel, arXiv 2106.10151; Melamed, Yehudai, Vardi, 2303.00783",
    formula=(
        "s_i = (|P_N g_i| / sd(margin)) trained / its median over eight untrained networks, the verdict to hold for a "
        "new one too; against-tangent: over the same ratio for P_T"
    ),
    control="against-tangent: the growth of the tangent part of the same gradients.",
    threshold="1: no growth. Gradients are taken relative to the spread of the margin, so that scale does not count.",
    assumptions="The factory gives the initialisation that training started from.",
    violation="Weight decay or small initialisation: the normal part is left over from initialisation and shrinks.",
    reading="builtin supported, against-tangent not: the whole gradient grows, its normal part no more than the rest.",
)


@check(
    "normal-gradient-growth",
    tier="mechanism",
    statement="training grows the gradient normal to the manifold",
    threshold=1.0,
    direction="greater",
    unit="ratio",
    needs=("factory",),
    explanation=_GROWTH,
)
def normal_gradient_growth(measure: View) -> Evidence:
    """Relative normal gradient, trained over untrained."""
    return Evidence.against(
        _relative_gradient(measure)[0], [_relative_gradient(view)[0] for view in measure.untrained()]
    )


@check(
    "normal-gradient-growth",
    tier="mechanism",
    variant="against-tangent",
    statement="and more than the gradient along the manifold",
    threshold=1.0,
    direction="greater",
    unit="ratio",
    needs=("factory",),
)
def normal_gradient_outgrows_tangent(measure: View) -> Evidence:
    """Growth of the normal gradient / growth of the tangent gradient."""
    shares = [Evidence.ratio(*_relative_gradient(view)).values for view in (measure, *measure.untrained())]
    return Evidence.against(shares[0], shares[1:])


def _relative_gradient(measure: View) -> tuple[Floats, Floats]:
    """|P_N g| and |P_T g| of each input over the standard deviation of the margin in the whole sample, (n,) each."""
    gradient = measure.input_gradient()
    tangent = measure.project_tangent(gradient)
    spread = measure.measure.view().margins().std()
    normal_part, tangent_part = (part.norm(dim=1) / spread for part in (gradient - tangent, tangent))
    return Evidence.of(normal_part).values, Evidence.of(tangent_part).values


_PHASES = Explanation(
    source="Shamir, Melamed, BenShmuel, arXiv 2106.10151",
    formula=(
        "s_i = min(d_i(0), d_i(u), d_i(end)) / d_i(t), d_i(t) the off-manifold distance to the boundary of the "
        "model's own decision at step t; t and u are the lowest points of the median in the first and the second half "
        "of training, located on every other input and judged on the rest, t with a bootstrap interval"
    ),
    control="The checkpoints in random order: a fall and a rise somewhere are found in any noisy sequence.",
    threshold="1.05: the fall to t is more than 5 %, and so is the rise from it to all of the second half.",
    assumptions=(
        "At least five checkpoints, the first untrained, with some in the first half of training. Controlled: of c "
        "checkpoints, m of them after the first and up to the middle of training, about c! / (m! (c - m)!) orders "
        "differ, those that put others into those m places, and where inputs agree p is about one over that: evenly "
        "spaced, 1/10 for 5, 1/35 for 7, 1/56 for 8, 1/126 for 9. An alpha of 5 %, shared out over the looks, takes "
        "at least nine."
    ),
    violation="Distances that only fall, only rise, or stay.",
    reading=(
        "Supported: an early fall and a later rise. Refuted: one of the two is missing; often the fall, since the "
        "boundary of an untrained network can be nearer to the data than any later one."
    ),
)


@check(
    "two-phases",
    tier="mechanism",
    statement="training first clings (distance falls early), then dimples (it rises slowly)",
    threshold=PHASE,
    direction="greater",
    unit="ratio",
    needs=("checkpoints",),
    controls=("order",),
    explanation=_PHASES,
)
def two_phases(measure: View) -> Evidence:
    """The smaller of fall and rise of d_off around its lowest point."""
    checkpoints = measure.checkpoints()
    if len(checkpoints) < MIN_CHECKPOINTS:
        note = f"{len(checkpoints)} checkpoints cannot show two phases; give at least {MIN_CHECKPOINTS}"
        return Evidence(np.full(measure.n, np.nan), note=note)
    steps = np.array([step for step, _ in checkpoints], dtype=float)
    distances = np.stack([view.distance("normal") for _, view in checkpoints])  # (checkpoints, n)
    search, judge = distances[:, ::2], distances[:, 1::2]
    low, later = _lowest(search, steps)
    note = "" if measure.order else _located(search, steps, low) + _learned(measure, low) + _few(steps)  # once
    with np.errstate(divide="ignore", invalid="ignore"):
        phases = np.minimum(np.minimum(judge[0], judge[-1]), judge[later]) / judge[low]
    return Evidence(phases, int(np.isinf(judge).any(0).sum()), note=note)


def _middle(steps: Floats) -> int:
    """The first checkpoint after the first half of training."""
    early = max(2, int(np.searchsorted(steps, (steps[0] + steps[-1]) / 2, side="right")))
    return min(early, len(steps) - 1)


def _few(steps: Floats) -> str:
    """Said where few orders of the checkpoints differ in what they put between the first and the middle of training."""
    orders = math.comb(len(steps), _middle(steps) - 1)
    return f"; of {len(steps)} checkpoints about {orders} orders differ" if orders < FEW_ORDERS else ""


def _lowest(distances: Floats, steps: Floats) -> tuple[int, int]:
    """Indices of the lowest medians: among the inner checkpoints of the first half of training, and in the second."""
    early = _middle(steps)
    medians = np.median(distances, axis=1)
    return 1 + int(np.argmin(medians[1:early])), early + int(np.argmin(medians[early:]))


def _located(distances: Floats, steps: Floats, low: int) -> str:
    """Where the lowest point lies, with the central 95 % of a bootstrap over inputs."""
    rng = np.random.default_rng(0)
    count = distances.shape[1]
    found = [steps[_lowest(distances[:, rng.integers(0, count, count)], steps)[0]] for _ in range(RESAMPLES)]
    low_end, high_end = np.quantile(found, [0.025, 0.975], method="nearest")
    return f"lowest at step {steps[low]:g} [{low_end:g}, {high_end:g}]"


def _learned(measure: View, low: int) -> str:
    """How many of the inputs the first, the lowest and the last checkpoint classify correctly."""
    views = [view for _, view in measure.checkpoints()]
    shares = [float((views[at].labels(measure.x) == measure.y).double().mean()) for at in (0, low, -1)]
    return ", accuracy there and at the ends {1:.0%}, {0:.0%}, {2:.0%}".format(*shares)
