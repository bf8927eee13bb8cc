"""Strategies of Hypothesis over a subject and its manifold, for ``@given`` in tests of your own.

`inputs`, `tangent_steps`, `normal_steps` and `augmented` draw real inputs and changes of these; `on_manifold` and
`latents` draw points and codes of a manifold; `subspaces` draws linear subspaces. What they draw has a `repr` that
rebuilds it. Importing this package imports Hypothesis and torch; `dmmcheck` loads it when it is first used.
"""

from dmmcheck.strategies.bases import normal_basis, tangent_basis
from dmmcheck.strategies.drawn import Augmented, Input, Latent, ManifoldPoint, NormalStep, Span, TangentStep
from dmmcheck.strategies.draws import (
    augmented,
    inputs,
    latents,
    normal_steps,
    on_manifold,
    subspaces,
    tangent_steps,
    target_margin,
)
from dmmcheck.strategies.registered import register_manifold_type
from dmmcheck.strategies.search import candidates

__all__ = [
    "Augmented",
    "Input",
    "Latent",
    "ManifoldPoint",
    "NormalStep",
    "Span",
    "TangentStep",
    "augmented",
    "candidates",
    "inputs",
    "latents",
    "normal_basis",
    "normal_steps",
    "on_manifold",
    "register_manifold_type",
    "subspaces",
    "tangent_basis",
    "tangent_steps",
    "target_margin",
]
