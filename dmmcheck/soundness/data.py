"""Whether the data are fit for the measurement."""

from __future__ import annotations

from dmmcheck.report.model import Soundness
from dmmcheck.soundness.context import SoundnessContext, bounded, info
from dmmcheck.soundness.registry import gate


@gate("manifold")
def disjoint(context: SoundnessContext) -> Soundness:
    """The manifold was not fitted on the inputs that are measured."""
    if context.training_points is None:
        return info(
            "disjoint", "what the manifold was fitted on is not known; give x_train, or a manifold with training_points"
        )
    known = {
        row.tobytes()
        for row in context.training_points.reshape(len(context.training_points), -1).to(context.x).cpu().numpy()
    }
    shared = sum(row.tobytes() in known for row in context.x.cpu().numpy())
    return bounded(
        "disjoint",
        float(shared),
        most=0,
        finding=f"{shared} of {len(context.x)} inputs are among the points that the manifold was fitted on (limit 0)",
        remedy="fit it on training data and test on held-out inputs",
    )
