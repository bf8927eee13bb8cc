"""How much work the boundary search does: the efforts of the setting `effort`, one below and one above them.

The one below is brief. It searches the draws of controls, manifold estimates of other dimensions, and the nearest
crossings into each class other than the nearest, since medians over many inputs count there and not single distances.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """One stage of the refinement: DDN steps for the best candidates of each row that are not finished.

    Attributes:
        candidates: Most candidates of a row.
        max_ratio: Candidates that are more than this many times as long as the row's shortest are left out.
        steps: Number of DDN steps.
    """

    candidates: int
    max_ratio: float
    steps: int


@dataclass(frozen=True)
class LabelReading:
    """Along which segments and rays, and at which lengths, labels are read to find the boundary without gradients.

    `label_starts` reads them.

    Attributes:
        first: The first of eight lengths along segments and rays, counted from 0, at which labels are read.
        stride: From there on they are read at every stride-th length.
        ray_dim: Random rays are followed in search spaces of at most this many dimensions: in one of more, a ray meets
            the boundary far behind its nearest point. Without examples, they are followed in all.
        segments: Most segments, to the nearest examples of other classes, that are followed where no rays are.
        reads_rays: In search spaces of more dimensions, labels are read on random rays behind the nearest crossing,
            where the examples say nothing of the space.
    """

    first: int = 0
    stride: int = 1
    ray_dim: int = 16
    segments: int = 3
    reads_rays: bool = True


@dataclass(frozen=True)
class Effort:
    """How much work a search does.

    Attributes:
        nearest_classes: Number of classes, those with the largest logits, whose gradients are computed at the input.
        candidates: Most initial candidates of a row: one towards each of the nearest classes, then random directions.
        max_ratio: Classes that are more than this many times as far as the nearest, to first order, get no candidate.
        look_ahead: Average the first direction with the direction of the gradient further along it, unless the two
            point to opposite sides.
        hlrf_steps: Number of HL-RF steps of each candidate.
        optimality_tol: A candidate is finished, and leaves the refinement, when its optimality reaches this value.
        stages: Stages of the refinement.
        nearer: Candidates without a crossing are followed on whose linearised boundary is at less than this share of
            the shortest crossing of their row, as `deepfool_fallback` has it.
        labels: Along which segments and rays, and at which lengths, labels are read.
        line_forwards: Forward passes of each line search.
        knows_angles: Whether the gradient at each crossing is computed, for the cosine between it and the perturbation.
    """

    nearest_classes: int
    candidates: int
    max_ratio: float
    look_ahead: bool
    hlrf_steps: int
    optimality_tol: float
    stages: tuple[Stage, ...]
    nearer: float = 0.9
    labels: LabelReading = LabelReading()
    line_forwards: int = 3
    knows_angles: bool = True

    @property
    def ddn_steps(self) -> int:
        """Number of DDN steps in all stages."""
        return sum(stage.steps for stage in self.stages)


EFFORTS: Mapping[str, Effort] = {
    "brief": Effort(
        nearest_classes=6,
        candidates=3,
        max_ratio=1.6,
        look_ahead=False,
        hlrf_steps=2,
        optimality_tol=0.99,
        stages=(Stage(2, 1.3, 2), Stage(1, 1.0, 4)),
        nearer=0.0,
        labels=LabelReading(first=2, stride=2, ray_dim=12, segments=2, reads_rays=False),
        line_forwards=2,
        knows_angles=False,
    ),
    "quick": Effort(
        nearest_classes=6,
        candidates=3,
        max_ratio=1.8,
        look_ahead=False,
        hlrf_steps=3,
        optimality_tol=0.99,
        stages=(Stage(3, 1.5, 2), Stage(1, 1.0, 3), Stage(1, 1.0, 5)),
    ),
    "default": Effort(
        nearest_classes=9,
        candidates=4,
        max_ratio=2.0,
        look_ahead=True,
        hlrf_steps=3,
        optimality_tol=0.999,
        stages=(Stage(4, 2.0, 4), Stage(3, 1.3, 4), Stage(2, 1.1, 4), Stage(2, 1.1, 8)),
    ),
    "thorough": Effort(
        nearest_classes=9,
        candidates=12,
        max_ratio=math.inf,
        look_ahead=False,
        hlrf_steps=4,
        optimality_tol=0.9999,
        stages=(Stage(10, 1.8, 12), Stage(6, 1.4, 16), Stage(6, 1.4, 32)),
    ),
    "exhaustive": Effort(
        nearest_classes=9,
        candidates=24,
        max_ratio=math.inf,
        look_ahead=False,
        hlrf_steps=4,
        optimality_tol=0.99999,
        stages=(Stage(20, 2.0, 16), Stage(12, 1.6, 24), Stage(8, 1.4, 64)),
    ),
}
"""Efforts by name. The setting takes quick, default and thorough. Draws of controls are searched briefly, where medians
over many inputs count and not single distances; an exhaustive search checks the results of a thorough one."""
