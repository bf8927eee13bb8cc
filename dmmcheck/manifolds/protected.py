"""A manifold behind the guard of the user's code: its methods get copies, and what they return is checked."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dmmcheck.errors import ManifoldError, user_code
from dmmcheck.manifolds.operators import self_adjoint

MISSING = object()
"""What `attribute` returns for an attribute that an object does not have."""


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
        return attribute(self.inner, "dim")  # type: ignore[no-any-return]

    @property
    def name(self) -> str:
        """The name in a report: that of the class where the manifold has none, or no text."""
        name = attribute(self.inner, "name")
        return name if isinstance(name, str) else type(self.inner).__name__

    def project_point(self, x: Tensor) -> Tensor:
        """See `Manifold.project_point`.

        Raises:
            ManifoldError: The method raises, or returns something other than finite points of the same shape.
        """
        projected = call(self.inner, "project_point", x)
        found = tuple(projected.shape) if isinstance(projected, Tensor) else type(projected).__name__
        if found != tuple(x.shape):
            raise ManifoldError(
                f"project_point returned {found} for points of shape {tuple(x.shape)}; "
                "return finite points of the same shape"
            )
        bad = int((~torch.isfinite(projected)).any(1).sum())
        if bad:
            raise ManifoldError(
                f"project_point returned NaN or infinite values at {bad} of {len(x)} points; "
                "return finite points of the same shape"
            )
        return projected  # type: ignore[no-any-return]

    def tangent_basis(self, x: Tensor) -> Tensor:
        """See `Manifold.tangent_basis`."""
        return call(self.inner, "tangent_basis", x)  # type: ignore[no-any-return]

    def tangent_spaces(self, x: Tensor) -> ProtectedSpaces | None:
        """See `base.Manifold`; None where the manifold has no such method."""
        if not callable(attribute(self.inner, "tangent_spaces")):
            return None
        spaces = call(self.inner, "tangent_spaces", x)
        return None if spaces is None else ProtectedSpaces(spaces)

    def __getattr__(self, name: str) -> Any:
        if name == "inner":  # not set yet, as while a copy is made
            raise AttributeError(name)
        found = attribute(self.inner, name)
        if found is MISSING:
            raise AttributeError(name)
        return found


class ProtectedSpaces:
    """Tangent spaces that are known by their projection, behind the guard of the user's code.

    Args:
        inner: Any object with the members of `operators.TangentSpaces`.
    """

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def project(self, v: Tensor) -> Tensor:
        """See `TangentSpaces.project`.

        Raises:
            ManifoldError: The method raises, or returns something other than a tensor of the same shape.
        """
        return self_adjoint(self._projected, v)

    def _projected(self, v: Tensor) -> Tensor:
        projected = self._called("project", v.clone())
        found = tuple(projected.shape) if isinstance(projected, Tensor) else type(projected).__name__
        if found != tuple(v.shape):
            raise ManifoldError(
                f"the method project of the tangent spaces returned {found} for vectors of shape {tuple(v.shape)}; "
                "return vectors of the same shape"
            )
        return projected.detach().to(v)  # type: ignore[no-any-return]

    def rows(self, index: Tensor | slice) -> ProtectedSpaces:
        """See `TangentSpaces.rows`."""
        return ProtectedSpaces(self._called("rows", index))

    def _called(self, name: str, value: Tensor | slice) -> Any:
        remedy = "let project take vectors (n, D), and rows a slice or an index (m,)"
        what = f"the method {name} of the tangent spaces"
        with user_code(what, remedy, ManifoldError, of=self.inner):
            return getattr(self.inner, name)(value)


def protected(manifold: Any) -> ProtectedManifold:
    """Return the manifold behind the guard; a guarded manifold is returned as it is."""
    return manifold if isinstance(manifold, ProtectedManifold) else ProtectedManifold(manifold)


def call(manifold: Any, name: str, x: Tensor) -> Any:
    """Return what a method of a manifold returns for points x (n, D), of which it gets a copy.

    Raises:
        ManifoldError: The method raises.
    """
    return answer_and_change(manifold, name, x)[0]


def answer_and_change(manifold: Any, name: str, x: Tensor) -> tuple[Any, bool]:
    """Return what a method of a manifold returns for points x (n, D), and whether it changes the copy that it gets.

    Raises:
        ManifoldError: The method raises.
    """
    where, points = f"on points of shape {tuple(x.shape)}", x.clone()
    with user_code(f"the manifold's {name}", "let it take flat points (n, D)", ManifoldError, where=where, of=manifold):
        answer = getattr(manifold, name)(points)
    return answer, not torch.equal(points, x)


def attribute(manifold: Any, name: str) -> Any:
    """Return an attribute of a manifold; `MISSING` where it has none of this name.

    Raises:
        ManifoldError: It is a property that raises.

    Example:
        >>> from dmmcheck.manifolds.protected import MISSING, attribute
        >>> attribute(1 + 2j, "imag"), attribute(1 + 2j, "refit") is MISSING
        (2.0, True)
    """
    remedy = "let it return its value, or leave it out if it is optional"
    with user_code(f"the manifold's {name}", remedy, ManifoldError, where="when it was read"):
        return getattr(manifold, name, MISSING)
