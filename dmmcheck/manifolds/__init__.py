"""Estimates of the data manifold: one family a file; any object that satisfies `Manifold` will do in their place."""

from dmmcheck.manifolds.affine import PCA, PrincipalSubspace, Subspace
from dmmcheck.manifolds.base import Manifold

__all__ = ["PCA", "Manifold", "PrincipalSubspace", "Subspace"]
