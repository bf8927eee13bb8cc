"""What measurements cost: evaluations of the model and its gradient, and time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The numbers of model evaluations and the time that some measurements took.

    Attributes:
        gradient_evaluations: Number of inputs at which a gradient was evaluated.
        forward_evaluations: Number of inputs at which the model was evaluated.
        seconds: Wall-clock time.
    """

    gradient_evaluations: int = 0
    forward_evaluations: int = 0
    seconds: float = 0.0

    def plus(self, other: Cost) -> Cost:
        """Return both costs together."""
        return Cost(
            gradient_evaluations=self.gradient_evaluations + other.gradient_evaluations,
            forward_evaluations=self.forward_evaluations + other.forward_evaluations,
            seconds=self.seconds + other.seconds,
        )

    def minus(self, other: Cost) -> Cost:
        """Return the difference of this cost and another cost that is a part of it."""
        return Cost(
            gradient_evaluations=self.gradient_evaluations - other.gradient_evaluations,
            forward_evaluations=self.forward_evaluations - other.forward_evaluations,
            seconds=max(0.0, self.seconds - other.seconds),
        )
