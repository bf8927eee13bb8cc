"""From what users hold to a manifold: a transformer, an encoder and a decoder, a generator, points, or a manifold."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from dmmcheck.errors import ManifoldError
from dmmcheck.manifolds.decoder import Decoder
from dmmcheck.manifolds.generator import Generator
from dmmcheck.manifolds.local_pca import LocalPCA
from dmmcheck.manifolds.transformer import TransformerManifold

MEMBERS = ("project_point", "tangent_basis")


def as_manifold(value: Any, input_shape: tuple[int, ...], **options: Any) -> Any:
    """Return the manifold that a user's value stands for.

    Args:
        value: A manifold, which is returned as it is, as is anything of another kind; a fitted transformer with
            ``inverse_transform``; a pair (encoder, decoder); a module with the methods ``encode`` and ``decode``, or
            with the parts ``encoder`` and ``decoder``; any other module, or a function, which is a generator; or points
            ``(m, *input_shape)``, on which local PCA is fitted.
        input_shape: Shape of one input.
        **options: Of `LocalPCA`, for points.

    Raises:
        ManifoldError: A transformer has no inverse, the size of a generator's codes is not known, or no manifold can be
            fitted on the points.

    Example:
        >>> import numpy as np
        >>> from sklearn.decomposition import PCA
        >>> from dmmcheck.manifolds.adapt import as_manifold
        >>> points = np.random.default_rng(0).normal(size=(50, 4))
        >>> as_manifold(PCA(2).fit(points), (4,)).dim, as_manifold(points, (4,), dim=3).dim
        (2, 3)
    """
    if all(hasattr(value, name) for name in MEMBERS):
        return value
    if is_points(value):
        return LocalPCA(**options).fit(value)
    if parts := _parts(value):
        return Decoder(*parts, input_shape=input_shape)
    if is_generator(value):
        return Generator(value)
    if callable(getattr(value, "transform", None)) or callable(getattr(value, "fit_transform", None)):
        return _of_transformer(value)
    return value


def is_generator(value: Any) -> bool:
    """Return whether a value is a function, or a module without an encoder that is no manifold itself."""
    if isinstance(value, nn.Module):
        return not _parts(value) and not hasattr(value, "project_point")
    return inspect.isroutine(value) or isinstance(value, functools.partial)


def _parts(value: Any) -> Sequence[Any]:
    """Return the encoder and the decoder of a pair or of a module; nothing where there are none."""
    if isinstance(value, (tuple, list)) and len(value) == 2 and all(map(callable, value)):
        return value
    if not isinstance(value, nn.Module):
        return ()
    for names in (("encode", "decode"), ("encoder", "decoder")):
        parts = [getattr(value, name, None) for name in names]
        if all(map(callable, parts)):
            return parts
    return ()


def is_points(value: Any) -> bool:
    """Return whether a value is an array of points, in a tensor, an array, a frame or a sparse matrix."""
    return isinstance(value, (Tensor, np.ndarray)) or any(hasattr(value, name) for name in ("to_numpy", "toarray"))


def _of_transformer(value: Any) -> TransformerManifold:
    missing = [name for name in ("transform", "inverse_transform") if not callable(getattr(value, name, None))]
    if missing:
        raise ManifoldError(
            f"the manifold is a {type(value).__name__} without {', '.join(missing)}, so points cannot be brought back "
            "to the space of the inputs; use PCA, KernelPCA(fit_inverse_transform=True), NMF or another transformer of "
            "scikit-learn with an inverse, or the built-in 'local-pca'"
        )
    return TransformerManifold(value)
