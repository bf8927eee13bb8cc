"""Estimates of the data manifold, one family in each file; any object that satisfies `Manifold` can take their place.

Importing the package loads neither torch nor numpy: `builtin` lists the built-in manifolds with the standard library
alone, and every name below is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dmmcheck.manifolds.affine import PCA as PCA
    from dmmcheck.manifolds.affine import Subspace as Subspace
    from dmmcheck.manifolds.base import Manifold as Manifold
    from dmmcheck.manifolds.base import validate_manifold as validate_manifold
    from dmmcheck.manifolds.builtin import BUILTIN as BUILTIN
    from dmmcheck.manifolds.builtin import build as build
    from dmmcheck.manifolds.decoder import Decoder as Decoder
    from dmmcheck.manifolds.dimension import two_nn as two_nn
    from dmmcheck.manifolds.local_pca import LocalPCA as LocalPCA
    from dmmcheck.manifolds.transformer import TransformerManifold as TransformerManifold

_HOMES = {
    "BUILTIN": "builtin",
    "Decoder": "decoder",
    "LocalPCA": "local_pca",
    "Manifold": "base",
    "PCA": "affine",
    "Subspace": "affine",
    "TransformerManifold": "transformer",
    "build": "builtin",
    "two_nn": "dimension",
    "validate_manifold": "base",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605  # all are strings


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'dmmcheck.manifolds' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"dmmcheck.manifolds.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
