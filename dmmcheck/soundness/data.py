"""Whether the inputs are independent of the training data, and of each other."""

from __future__ import annotations

from dmmcheck.measurement.independence import FEW_COPIES, most_copies
from dmmcheck.measurement.near import near_copies
from dmmcheck.report.model import Soundness
from dmmcheck.soundness.context import SoundnessContext, bounded, info, percent
from dmmcheck.soundness.registry import gate


@gate("manifold")
def disjoint(context: SoundnessContext) -> Soundness:
    """The model and the manifold were not fitted on the inputs that are measured, nor on near copies of them.

    Few copies are left out of the sample; the item fails where there are many.
    """
    if context.training_points is None:
        return info(
            "disjoint", "what the manifold was fitted on is not known; give x_train, or a manifold with training_points"
        )
    known = context.independence
    if known is not None and known.compared:
        copies, compared = known.copies, known.compared
    else:
        copies, compared = int(near_copies(context.x, context.training_points).sum()), len(context.x)
    finding = f"{copies} of {compared} inputs are copies or near copies of training data"
    if known is not None and known.dropped:
        return info("disjoint", f"{finding}; they are left out", float(copies))
    return bounded(
        "disjoint",
        float(copies),
        most=most_copies(compared),
        finding=f"{finding} (limit {most_copies(compared)}, {percent(FEW_COPIES)})",
        remedy="fit the manifold on training data and test on held-out inputs",
    )


@gate("manifold")
def independent_inputs(context: SoundnessContext) -> Soundness:
    """Report how many groups the inputs form.

    One input of each group is measured, so that the tests count independent inputs.
    """
    known = context.independence
    if known is None:
        return info("independent-inputs", "whether inputs are independent of each other was not looked at")
    if known.groups == known.inputs:
        return info("independent-inputs", f"no two of {known.inputs} inputs are nearly the same", float(known.groups))
    given = f"the groups given are {known.declared}, and " if known.declared is not None else ""
    return info(
        "independent-inputs",
        f"{known.inputs} inputs form {known.groups} independent groups, of which one input each is measured: {given}"
        f"{known.near} inputs are nearly the same as another one of their label",
        float(known.groups),
    )
