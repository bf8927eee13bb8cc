"""What training does to the boundary: along checkpoints, and compared with untrained networks."""

from __future__ import annotations

import math

import numpy as np

from dmmcheck.checks.base import claim, declare
from dmmcheck.inference.evidence import Evidence, Floats
from dmmcheck.measurement.view import View

MIN_CHECKPOINTS = 5
PHASE = 1.05  # a fall or rise of less than 5 % does not count
RESAMPLES = 400
FEW_ORDERS = 200  # with fewer different orders of the checkpoints, even the best order can be chance


def normal_gradient_growth(view: View) -> Evidence:
    """Relative normal gradient, trained over untrained."""
    return Evidence.against(_relative_gradient(view)[0], [_relative_gradient(view)[0] for view in view.untrained()])


def normal_gradient_outgrows_tangent(view: View) -> Evidence:
    """Growth of the normal gradient / growth of the tangent gradient."""
    shares = [Evidence.ratio(*_relative_gradient(view)).values for view in (view, *view.untrained())]
    return Evidence.against(shares[0], shares[1:])


def _relative_gradient(view: View) -> tuple[Floats, Floats]:
    """Return |P_N g| and |P_T g| over the standard deviation of the margin in the whole sample, (n,) each."""
    gradient = view.input_gradient()
    tangent = view.project_tangent(gradient)
    spread = view.whole().margins().std()
    normal_part, tangent_part = (part.norm(dim=1) / spread for part in (gradient - tangent, tangent))
    return Evidence.of(normal_part).values, Evidence.of(tangent_part).values


def two_phases(view: View) -> Evidence:
    """The smaller of fall and rise of d_off around its lowest point."""
    checkpoints = view.checkpoints()
    if len(checkpoints) < MIN_CHECKPOINTS:
        note = f"{len(checkpoints)} checkpoints cannot show two phases; give at least {MIN_CHECKPOINTS}"
        return Evidence(np.full(view.n, np.nan), note=note)
    steps = np.array([step for step, _ in checkpoints], dtype=float)
    distances = np.stack([view.distance("normal") for _, view in checkpoints])  # (checkpoints, n)
    located_by, judged_by = distances[:, ::2], distances[:, 1::2]  # no input both locates the phases and judges them
    low, later = _lowest(located_by, steps)
    note = "" if view.order else _lowest_note(located_by, steps, low) + _accuracy_note(view, low) + _orders_note(steps)
    with np.errstate(divide="ignore", invalid="ignore"):
        phases = np.minimum(np.minimum(judged_by[0], judged_by[-1]), judged_by[later]) / judged_by[low]
    return Evidence(phases, int(np.isinf(judged_by).any(0).sum()), note=note)


def _middle(steps: Floats) -> int:
    """Return the index of the first checkpoint in the second half of training."""
    early = max(2, int(np.searchsorted(steps, (steps[0] + steps[-1]) / 2, side="right")))
    return min(early, len(steps) - 1)


def _orders_note(steps: Floats) -> str:
    """Return a note where few orders of the checkpoints differ; "" elsewhere.

    Orders differ where they put different checkpoints into the first half of training.
    """
    orders = math.comb(len(steps), _middle(steps) - 1)
    return f"; of {len(steps)} checkpoints about {orders} orders differ" if orders < FEW_ORDERS else ""


def _lowest(distances: Floats, steps: Floats) -> tuple[int, int]:
    """Return the indices of the lowest medians in the first and in the second half of training.

    The first checkpoint is left out of the first half.
    """
    early = _middle(steps)
    medians = np.median(distances, axis=1)
    return 1 + int(np.argmin(medians[1:early])), early + int(np.argmin(medians[early:]))


def _lowest_note(distances: Floats, steps: Floats, low: int) -> str:
    """Return a note with the step of the lowest distance, and the central 95 % of a bootstrap over inputs."""
    rng = np.random.default_rng(0)
    count = distances.shape[1]
    found = [steps[_lowest(distances[:, rng.integers(0, count, count)], steps)[0]] for _ in range(RESAMPLES)]
    low_end, high_end = np.quantile(found, [0.025, 0.975], method="nearest")
    return f"lowest at step {steps[low]:g} [{low_end:g}, {high_end:g}]"


def _accuracy_note(view: View, low: int) -> str:
    """Return a note with the accuracy of the lowest, the first and the last checkpoint on the inputs."""
    views = [view for _, view in view.checkpoints()]
    shares = [float((views[at].labels(view.x) == view.y).double().mean()) for at in (0, low, -1)]
    return ", accuracy there and at the ends {1:.0%}, {0:.0%}, {2:.0%}".format(*shares)


declare(
    "normal-gradient-growth",
    "training grows the gradient normal to the manifold",
    claim(
        normal_gradient_growth,
        tier="mechanism",
        statement="training has grown this network's gradient normal to the manifold beyond that of untrained networks",
        threshold=1.0,
        direction="greater",
        unit="ratio",
        needs=("factory", "differentiable"),
        about_standard=True,
    ),
    claim(
        normal_gradient_outgrows_tangent,
        tier="mechanism",
        variant="against-tangent",
        statement="and more than the gradient along the manifold",
        threshold=1.0,
        direction="greater",
        unit="ratio",
        needs=("factory", "differentiable"),
        about_standard=True,
    ),
)
declare(
    "two-phases",
    "training first clings (distance falls early), then dimples (it rises slowly)",
    claim(
        two_phases,
        tier="mechanism",
        statement="this training first clings (distance falls early), then dimples (it rises slowly)",
        threshold=PHASE,
        direction="greater",
        unit="ratio",
        needs=("checkpoints",),
        controls=("order",),
        about_standard=True,
        costly_looks=True,
    ),
)
