"""Worlds by name, made once, and their distances by a search that knows nothing about them."""

from __future__ import annotations

from functools import cache

import torch

from dmmcheck import worlds
from dmmcheck.attacks.base import Crossing
from dmmcheck.attacks.minimal_norm.search import search_spaces
from dmmcheck.attacks.search_space import Everywhere, spanned
from dmmcheck.inference.types import ARMS
from dmmcheck.models.base import flat

SAMPLES = 48


@cache
def made(name: str) -> worlds.World:
    return worlds.WORLDS[name](seed=3, samples=SAMPLES)


def searched(world: worlds.World) -> dict[str, Crossing]:
    """Crossings by arm."""
    subject = world.subject
    x = flat(subject.classifier, subject.x)
    basis = subject.manifold.tangent_basis(x)
    spaces = [Everywhere(), spanned(basis), spanned(basis, normal=True)]
    found = search_spaces(subject.classifier, x, subject.y, spaces, generator=torch.Generator().manual_seed(0))
    return dict(zip(ARMS, found, strict=True))
