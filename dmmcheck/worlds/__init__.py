"""Subjects whose answers are known by construction, for testing checks, manifold estimators and searches.

Every function below builds a `World` from a seed: a subject, its exact distances where there is a closed form, and the
claims that are true of it. All parameters but the seed have defaults, and all randomness comes from the seed.

    >>> import dmmcheck
    >>> world = dmmcheck.worlds.hyperplane(angle=30, samples=64, seed=0)
    >>> world.truth["off-manifold-energy-stated-builtin"]  # a quarter of the energy is off the manifold
    False
    >>> report = dmmcheck.run(world.subject, checks=["off-manifold-energy"], tiers=["stated"])
    >>> report.findings[0].verdict
    'refuted'

`WORLDS` has one world of each kind by name, for tables over all of them. `turned`, `scaled` and `shuffled` give the
same world in other coordinates, in other units, and with its inputs in another order; `stretched` gives each feature a
unit of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from dmmcheck.worlds import dimples, limits
from dmmcheck.worlds.base import World
from dmmcheck.worlds.curved import blind, sphere
from dmmcheck.worlds.dimples import dimpled, pair, training, trainings
from dmmcheck.worlds.flat import crossed, haar, hyperplane, sheets
from dmmcheck.worlds.limits import at_limits
from dmmcheck.worlds.masked import KINDS, unsound
from dmmcheck.worlds.prototypes import neighbours
from dmmcheck.worlds.transforms import scaled, shuffled, stretched, turned
from dmmcheck.worlds.unrelated import random_subspace, rotated

WORLDS: Mapping[str, Callable[..., World]] = {
    "normal nearly in N": partial(hyperplane, angle=85.0),
    "normal in N": sheets,
    "normal in T": partial(hyperplane, angle=0.0),
    "Haar normal": haar,
    "random subspace": random_subspace,
    "rotated copy": rotated,
    "sphere": sphere,
    "shallow dimples": dimpled,
    "smooth dimples": partial(dimpled, profile="smooth"),
    "deep dimples": partial(dimpled, depth=2.0),
    "blind off-manifold": blind,
    "half way": neighbours,
    "classes on a line": partial(neighbours, layout="line"),
    "classes that change places": crossed,
    "standard and robust": pair,
    "robust and standard": partial(pair, standard=0.3, robust=0.1),
    "model with itself": partial(pair, standard=0.1, robust=0.1),
    "two phases": training,
    "falling": partial(training, depths=dimples.FALLING),
    "rising": partial(training, depths=dimples.RISING),
    "constant depth": partial(training, depths=dimples.CONSTANT),
    "reversed phases": partial(training, depths=dimples.REVERSED),
    "trained alike": partial(trainings, robust=0.1),
    "trained against attacks": trainings,
    "at the limits": at_limits,
    "at the limit of cost": partial(at_limits, angle=limits.SUFFICES),
    "at the limit of a rate": partial(at_limits, angle=limits.RESTORES),
    **{kind: partial(unsound, kind=kind) for kind in KINDS},
}
"""Functions that build a world, by name; each takes ``seed`` and the parameters of its function."""

__all__ = [
    "WORLDS",
    "World",
    "at_limits",
    "blind",
    "crossed",
    "dimpled",
    "haar",
    "hyperplane",
    "neighbours",
    "pair",
    "random_subspace",
    "rotated",
    "scaled",
    "sheets",
    "shuffled",
    "sphere",
    "stretched",
    "training",
    "trainings",
    "turned",
    "unsound",
]
