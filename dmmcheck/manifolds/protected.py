"""A manifold whose methods get copies, so that one that works in place changes neither inputs nor measurements."""

from __future__ import annotations

from typing import Any

from torch import Tensor


class ProtectedManifold:
    """A manifold whose methods get a copy of the points; every other attribute is that of the manifold itself.

    Args:
        inner: Any object with the members of `Manifold`.
    """

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    @property
    def dim(self) -> int:
        """See `Manifold.dim`."""
        return self.inner.dim  # type: ignore[no-any-return]

    def project_point(self, x: Tensor) -> Tensor:
        """See `Manifold.project_point`."""
        return self.inner.project_point(x.clone())  # type: ignore[no-any-return]

    def tangent_basis(self, x: Tensor) -> Tensor:
        """See `Manifold.tangent_basis`."""
        return self.inner.tangent_basis(x.clone())  # type: ignore[no-any-return]

    def __getattr__(self, name: str) -> Any:
        if name == "inner":  # not set yet, as while a copy is made
            raise AttributeError(name)
        return getattr(self.inner, name)


def protected(manifold: Any) -> ProtectedManifold:
    """The manifold with copies for its methods; one that is protected already is returned as it is."""
    return manifold if isinstance(manifold, ProtectedManifold) else ProtectedManifold(manifold)
