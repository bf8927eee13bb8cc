"""Estimates of the data manifold, one family in each file; any object that satisfies `Manifold` can take their place.

Importing the package loads neither torch nor numpy: `builtin` lists the built-in manifolds with the standard library
alone, and every name below is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dmmcheck.manifolds import analytic as analytic
    from dmmcheck.manifolds.affine import PCA as PCA
    from dmmcheck.manifolds.affine import Subspace as Subspace
    from dmmcheck.manifolds.autoencoder import Autoencoder as Autoencoder
    from dmmcheck.manifolds.base import Manifold as Manifold
    from dmmcheck.manifolds.base import validate_manifold as validate_manifold
    from dmmcheck.manifolds.builtin import BUILTIN as BUILTIN
    from dmmcheck.manifolds.builtin import build as build
    from dmmcheck.manifolds.class_pca import ClassPCA as ClassPCA
    from dmmcheck.manifolds.decoder import Decoder as Decoder
    from dmmcheck.manifolds.dimension import two_nn as two_nn
    from dmmcheck.manifolds.generator import Generator as Generator
    from dmmcheck.manifolds.kernel_pca import KernelPCA as KernelPCA
    from dmmcheck.manifolds.local_pca import LocalPCA as LocalPCA
    from dmmcheck.manifolds.transformer import TransformerManifold as TransformerManifold

_HOMES = {
    "Autoencoder": "autoencoder",
    "BUILTIN": "builtin",
    "ClassPCA": "class_pca",
    "Decoder": "decoder",
    "Generator": "generator",
    "KernelPCA": "kernel_pca",
    "LocalPCA": "local_pca",
    "Manifold": "base",
    "PCA": "affine",
    "Subspace": "affine",
    "TransformerManifold": "transformer",
    "analytic": "analytic",
    "build": "builtin",
    "two_nn": "dimension",
    "validate_manifold": "base",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605  # all are strings


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'dmmcheck.manifolds' has no attribute {name!r}")
    module = importlib.import_module(f"dmmcheck.manifolds.{_HOMES[name]}")
    value = module if name == _HOMES[name] else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
