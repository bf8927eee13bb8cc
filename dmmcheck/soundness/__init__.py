"""Whether a measurement can be trusted: gates on the model, the attack and the manifold, before any verdict.

`assess` takes a `SoundnessContext`, the measurements of a fixed part of the sample, and returns the `Soundness` items
of all gates. A check that requires a family with a failed item ends inconclusive. Importing this package registers the
built-in gates, in report order.
"""

from dmmcheck.soundness import model, attack, probes, manifold, dimensions, along  # noqa: F401, I001  # report order
from dmmcheck.soundness import repeats, data, training_data, features  # noqa: F401  # report order
from dmmcheck.soundness.context import SoundnessContext, bounded, info, judged
from dmmcheck.soundness.registry import assess, gate

__all__ = ["SoundnessContext", "assess", "bounded", "gate", "info", "judged"]
