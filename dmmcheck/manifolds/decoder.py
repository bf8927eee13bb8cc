"""The manifold of a decoder: its points are decode(encode(x)), its tangent spaces come from the decoder's Jacobian."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from dmmcheck.errors import ManifoldError, user_code
from dmmcheck.manifolds.base import fitting_points
from dmmcheck.manifolds.operators import MOST_IGNORED, ColumnSpaces, are_dense, derivative
from dmmcheck.models.evaluation import evaluation
from dmmcheck.models.placement import placement
from dmmcheck.seeding import seeded

RANK_LIMIT = 1000.0  # rounding units: a singular value below this share of the largest counts as zero
_BASIS_VALUES = 1 << 22  # most values of the Jacobians that are orthonormalised at a time
_PAIR_VALUES = 1 << 20  # most values of the Jacobian columns that are computed at a time
_PAIRS = 1024  # most Jacobian columns that are computed at a time


class Decoder:
    """An encoder and a decoder as a manifold.

    A point is projected by decoding its code. Its tangent space is the column space of the decoder's Jacobian at the
    code, which is computed by forward-mode differentiation (`torch.func.jvp`). Modules are in evaluation mode while
    they are called, and their mode is restored afterwards.

    The codes of a variational encoder are the means of its distributions: the first of two tensors of the same shape,
    or the attribute ``mean`` of a distribution, which may be the attribute ``latent_dist`` of the output. `note` says
    so.

    Where the basis of one input would take more than 64 MiB, `tangent_spaces` projects vectors by products with the
    Jacobian and its transpose, and no basis is stored.

    Source: Shamir et al., The dimpled manifold model of adversarial examples, arXiv 2106.10151.
    """

    name, note = "decoder", ""
    _what = "decoder"
    _remedy = (
        "give input_shape if the encoder expects inputs that are not flat, and pass modules themselves, which get "
        "values in their dtype and on their device"
    )

    def __init__(
        self,
        encode: Callable[[Tensor], Any],
        decode: Callable[[Tensor], Any],
        *,
        dim: int | None = None,
        input_shape: Sequence[int] | None = None,
        training_points: Tensor | None = None,
        operator: bool | None = None,
    ) -> None:
        """The manifold of an encoder and a decoder, each a module, a method of a module, or a function.

        Args:
            encode: From inputs ``(n, *input_shape)`` to codes (n, ...) of any shape.
            decode: From codes to inputs.
            dim: Size k of one code; read from the first code where None.
            input_shape: Shape of the inputs of `encode`; flat inputs (D,) where None.
            training_points: The points (m, D) that the two were trained on, if known.
            operator: Whether vectors are projected without bases; where None, if a basis would take more than 64 MiB.

        Raises:
            ManifoldError: One of the two cannot be called.
        """
        for what, function in (("encoder", encode), (self._what, decode)):
            if not callable(function):
                raise ManifoldError(
                    f"the {what} is a {type(function).__name__}, which cannot be called; "
                    "pass a torch.nn.Module or a function"
                )
        self.encode, self.decode = encode, decode
        self.input_shape = None if input_shape is None else tuple(input_shape)
        self.training_points = training_points
        self.operator = operator
        self._dim = dim

    @property
    def dim(self) -> int:
        """Size k of one code.

        Raises:
            ManifoldError: It was not given, and no point was encoded yet.
        """
        if self._dim is None:
            raise ManifoldError("the size of the decoder's codes is not known yet; give dim, or call fit(x) first")
        return self._dim

    def fit(self, x: Any) -> Decoder:
        """Return the same manifold with training inputs ``(m, *input_shape)``, which give it input_shape and dim.

        Raises:
            ManifoldError: The points cannot be used, or cannot be encoded.
        """
        points = fitting_points(x, 1)
        shape = self.input_shape or tuple(torch.as_tensor(x).shape[1:])
        fitted = Decoder(
            self.encode,
            self.decode,
            dim=self._dim,
            input_shape=shape,
            training_points=points,
            operator=self.operator,
        )
        fitted.project_point(points[:1])
        return fitted

    def project_point(self, x: Tensor) -> Tensor:
        """Return the points x (n, D) encoded and decoded, (n, D).

        Raises:
            ManifoldError: The encoder or the decoder raised, or returned another shape.
        """
        pieces = torch.split(x, max(1, _PAIR_VALUES // x.shape[1]))
        with evaluation(self.encode, self.decode), torch.no_grad():
            return torch.cat([self.decoded(self._encoded(piece), x.shape[1]) for piece in pieces]).to(x)

    def tangent_basis(self, x: Tensor) -> Tensor:
        """Return orthonormal bases (n, D, k) of the column spaces of the Jacobians at the codes of points x (n, D).

        Raises:
            ManifoldError: See `project_point`; or k is not below D, or a Jacobian has a lower rank than k.
        """
        with evaluation(self.encode, self.decode), torch.no_grad():
            codes = self._encoded(x)
            basis = x.new_empty((*x.shape, self.dim))
            step = max(1, _BASIS_VALUES // (x.shape[1] * self.dim))
            for start in range(0, len(x), step):
                rows = slice(start, start + step)
                basis[rows] = orthonormalised(self._jacobian(codes[rows], x.shape[1])).to(x)
        return basis

    def tangent_spaces(self, x: Tensor) -> ColumnSpaces | None:
        """Return the tangent spaces at points x (n, D) without bases; None where `tangent_basis` has to give them.

        Raises:
            ManifoldError: See `project_point`; or more than one per cent of a random change of a code moves no point,
                which is asked at the first two points. Fewer directions that the decoder ignores change no projection.
        """
        if self._dim is None:
            self.codes(x[:1])
        ambient_dim = x.shape[1]
        wanted = not are_dense(ambient_dim, self.dim, x.element_size()) if self.operator is None else self.operator
        if not wanted:
            return None
        codes = self.codes(x)
        spaces = ColumnSpaces(
            lambda at: self.decoded(at, ambient_dim), codes, ambient_dim, within=partial(evaluation, self.decode)
        )
        ignored = float(spaces.rows(slice(0, 2)).ignored_share(seeded(0, "rank of the decoder's Jacobian")).max())
        if ignored > MOST_IGNORED:
            raise ManifoldError(
                f"the decoder's Jacobian is rank-deficient at an input: {ignored:.0%} of a random change of the code "
                f"moves no point (limit {MOST_IGNORED:.0%}), so that the decoder ignores directions of the codes; "
                "use smaller codes, or decode in float64"
            )
        return spaces

    def codes(self, x: Tensor) -> Tensor:
        """Return the codes (n, ...) of points x (n, D).

        Raises:
            ManifoldError: See `project_point`.
        """
        with evaluation(self.encode, self.decode), torch.no_grad():
            return self._encoded(x)

    def points(self, codes: Tensor, ambient_dim: int) -> Tensor:
        """Return the decoded points (n, D) of codes (n, ...).

        Raises:
            ManifoldError: See `project_point`.
        """
        with evaluation(self.encode, self.decode), torch.no_grad():
            return self.decoded(codes, ambient_dim)

    def jacobian(self, codes: Tensor, ambient_dim: int) -> Tensor:
        """Return the Jacobians (n, D, k) of the decoded points at codes (n, ...).

        Raises:
            ManifoldError: See `project_point`.
        """
        with evaluation(self.decode), torch.no_grad():
            return self._jacobian(codes, ambient_dim)

    def _encoded(self, x: Tensor) -> Tensor:
        """Return the codes (n, ...) of points (n, D), on the encoder's device."""
        device, dtype = placement(self.encode, x, what="encoder", error=ManifoldError)
        shaped = x.detach().to(device, dtype).reshape(-1, *(self.input_shape or x.shape[1:])).clone()
        output = _output(self.encode, "encoder", shaped, self._remedy)
        codes = _tensor(_mean(output), "encoder")
        if codes is not output:
            self.note = "codes are the means of a variational encoder"
        if codes.ndim < 2 or len(codes) != len(x) or not codes.is_floating_point():
            raise ManifoldError(
                f"the encoder returned shape {tuple(codes.shape)} and dtype {codes.dtype} for {len(x)} inputs, "
                "expected floating-point codes with one row for each input; encode a batch of inputs at a time"
            )
        size = codes[0].numel()
        if self._dim is not None and size != self._dim:
            raise ManifoldError(
                f"the encoder's codes have {size} values, dim is {self._dim}; leave dim out, or correct it"
            )
        if not 1 <= size < x.shape[1]:
            raise ManifoldError(
                f"the encoder's codes have k = {size} values, inputs have D = {x.shape[1]}; "
                "use codes with at least 1 value and fewer than D"
            )
        self._dim = size
        return codes.to(*placement(self.decode, codes, what="decoder", error=ManifoldError))

    def decoded(self, codes: Tensor, ambient_dim: int) -> Tensor:
        """Return the points (n, D) of codes (n, ...), differentiable.

        The modules are called in the mode that they are in.

        Raises:
            ManifoldError: See `project_point`.
        """
        output = _output(self.decode, self._what, codes.clone(), self._remedy)
        points = _tensor(getattr(output, "sample", output), self._what)
        if len(points) != len(codes) or points[0].numel() != ambient_dim:
            raise ManifoldError(
                f"the {self._what} returned shape {tuple(points.shape)} for {len(codes)} codes, expected as many "
                f"points of {ambient_dim} values; decode to the shape of the inputs"
            )
        return points.reshape(len(points), -1)

    def _jacobian(self, codes: Tensor, ambient_dim: int) -> Tensor:
        """Return the Jacobians (n, D, k) of the decoded points.

        One call computes many columns, each for a pair of a point and a direction.
        """
        n, dim = len(codes), self.dim
        pairs = torch.cartesian_prod(torch.arange(n), torch.arange(dim)).reshape(-1, 2).to(codes.device)
        columns = [
            derivative(
                lambda code: self.decoded(code, ambient_dim),
                codes[piece[:, 0]],
                torch.nn.functional.one_hot(piece[:, 1], dim).to(codes).reshape(-1, *codes.shape[1:]),
            )
            for piece in torch.split(pairs, max(1, min(_PAIRS, _PAIR_VALUES // ambient_dim)))
        ]
        return torch.cat(columns).reshape(n, dim, ambient_dim).transpose(1, 2)


def orthonormalised(jacobian: Tensor) -> Tensor:
    """Return the orthonormal bases (n, D, k) of the column spaces of Jacobians (n, D, k).

    Raises:
        ManifoldError: Values are not finite, or columns are dependent: the smallest singular value is below 1000
            rounding units of the largest, so that its direction is known to no better than about one per cent.
    """
    if not bool(torch.isfinite(jacobian).all()):
        raise ManifoldError(
            "the decoder's Jacobian holds NaN or infinite values; use a decoder that is differentiable at the codes"
        )
    if jacobian.device.type == "mps":  # this device has no QR decomposition
        jacobian = jacobian.cpu()
    orthogonal, triangular = torch.linalg.qr(jacobian)
    singular = torch.linalg.svdvals(triangular)
    worst = float((singular[:, -1] / singular[:, 0].clamp_min(torch.finfo(singular.dtype).tiny)).min())
    limit = RANK_LIMIT * torch.finfo(singular.dtype).eps
    if worst < limit:
        raise ManifoldError(
            f"the decoder's Jacobian is rank-deficient at an input: its smallest singular value is {worst:.2g} of the "
            f"largest (limit {limit:.2g}), so that the decoder ignores a direction of the codes; use smaller codes, or "
            "decode in float64"
        )
    signs = torch.sign(torch.diagonal(triangular, dim1=-2, dim2=-1))
    basis: Tensor = orthogonal * signs[:, None, :]
    return basis


def _output(function: Callable[[Tensor], Any], what: str, values: Tensor, remedy: str) -> Any:
    where = f"on values of shape {tuple(values.shape)}, {values.dtype}, on {values.device}"
    with user_code(f"the {what}", remedy, ManifoldError, where=where):
        return function(values)


def _mean(output: Any) -> Any:
    """Return the codes in the output of an encoder; of a variational encoder, the means of its distributions."""
    if isinstance(output, (tuple, list)) and len(output) == 2:
        first, second = output
        if isinstance(first, Tensor) and isinstance(second, Tensor) and first.shape == second.shape:
            return first
    mean = getattr(getattr(output, "latent_dist", output), "mean", None)
    return mean if isinstance(mean, Tensor) else output


def _tensor(output: Any, what: str) -> Tensor:
    if not isinstance(output, Tensor):
        raise ManifoldError(
            f"the {what} returned a {type(output).__name__}, expected a tensor; "
            "wrap it in a function that returns one, e.g. the mean of a variational encoder"
        )
    return output
