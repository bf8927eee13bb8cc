"""The manifold of a generator without an encoder: the code of a point is found by a search in the latent space."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import chain
from math import prod
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from dmmcheck.errors import ManifoldError
from dmmcheck.errors.text import shown
from dmmcheck.manifolds.base import fitting_points
from dmmcheck.manifolds.decoder import Decoder
from dmmcheck.manifolds.nearest import nearest_codes
from dmmcheck.models.evaluation import module_of
from dmmcheck.models.placement import placement
from dmmcheck.seeding import seeded

SAMPLES = 1024  # latent samples among whose decoded points those nearest to a point are looked up
STARTS = 8  # latent samples from which a search begins
FIRST_STEPS, LAST_STEPS = 5, 50  # most steps from each sample, and from the best code that these lead to
LATENT_SIZES = ("latent_dim", "z_dim", "dim_z", "latent_size", "noise_dim", "nz")  # attributes that hold k
MOST_VALUES = 1 << 28  # most values D k of a Jacobian, one of which a search holds at least
_SAMPLE_VALUES = 1 << 24  # most values of the decoded samples
_VALUES = 1 << 20  # most values of the points that are searched for at a time, one copy for each start

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


class Generator(Decoder):
    """A generator as a manifold, such as that of a GAN, which has no encoder.

    The code of a point x is a local minimum of |G(z) - x|. The search begins at those latent samples, drawn from the
    standard normal distribution, whose decoded points are nearest to x. A few steps of the Levenberg-Marquardt method
    are taken from each, and more from the best code that they lead to, see `nearest_codes`. The code of a point
    depends on no other point, and it may lie where the latent distribution has little mass.

    Points and tangent spaces are those of `Decoder` at these codes.

    Attributes:
        latent_shape: Shape of one code, as the generator takes it.
        seed: Seed of the latent samples.

    Example:
        >>> import torch
        >>> from dmmcheck.manifolds import Generator
        >>> circle = Generator(lambda z: torch.cat([z.cos(), z.sin()], 1), dim=1)
        >>> circle.project_point(torch.tensor([[0.0, 3.0], [2.0, 0.0]])).round(decimals=2).abs()
        tensor([[0., 1.],
                [1., 0.]])

    Source: Bojanowski, Joulin, Lopez-Paz, Szlam, Optimizing the latent space of generative networks, arXiv 1707.05776;
    for the search, Marquardt 1963, see `nearest_codes`.
    """

    name = "generator"
    _what = "generator"
    _remedy = (
        "pass a function of the codes (n, k) alone, and its k as dim, e.g. Generator(lambda z: net(z, label), dim=k)"
    )

    def __init__(
        self,
        decode: Callable[[Tensor], Any],
        *,
        dim: int | None = None,
        seed: int = 0,
        training_points: Tensor | None = None,
    ) -> None:
        """The manifold of a generator, which is a module, a method of a module, or a function.

        Args:
            decode: From codes ``(n, *latent_shape)`` to inputs.
            dim: Size k of one code. Where None, an attribute of the module says it, e.g. ``latent_dim`` or ``z_dim``,
                or else the first linear or convolutional layer.
            seed: Seed of the latent samples.
            training_points: The points (m, D) that it was trained on, if known.

        Raises:
            ManifoldError: It cannot be called, or the size of its codes is not known.
        """
        super().__init__(self.codes, decode, training_points=training_points)
        self.latent_shape = latent_shape(decode, dim)
        self.seed, self._dim = seed, prod(self.latent_shape)
        self.note = f"codes found by a search from {STARTS} latent samples"

    def fit(self, x: Any) -> Generator:
        """Return the same manifold with training inputs ``(m, *input_shape)``.

        Raises:
            ManifoldError: The points cannot be used, or the generator cannot be called.
        """
        points = fitting_points(x, 1)
        fitted = Generator(self.decode, dim=self.dim, seed=self.seed, training_points=points)
        fitted.project_point(points[:1])
        return fitted

    def _encoded(self, x: Tensor) -> Tensor:
        """Return the codes (n, k) of points (n, D), on the generator's device."""
        n, ambient_dim = x.shape
        self._check_sizes(ambient_dim)
        x = x.detach().to(*placement(self.decode, x, what=self._what, error=ManifoldError))
        count = max(STARTS, min(SAMPLES, _SAMPLE_VALUES // ambient_dim))
        samples = torch.randn((count, self.dim), generator=seeded(self.seed, "latent samples"), dtype=torch.float64)
        samples = samples.to(x)
        pieces = torch.split(samples, max(1, _VALUES // ambient_dim))
        decoded = torch.cat([self.decoded(piece, ambient_dim) for piece in pieces])
        points = torch.split(x, max(1, _VALUES // (STARTS * ambient_dim))) if n else ()
        return torch.cat([samples[:0], *[self._searched(piece, samples, decoded) for piece in points]])

    def _searched(self, x: Tensor, samples: Tensor, decoded: Tensor) -> Tensor:
        """Return the codes (n, k) of points (n, D), from samples (m, k) and their decoded points (m, D)."""
        n, ambient_dim = x.shape
        decode, jacobian = (partial(f, ambient_dim=ambient_dim) for f in (self.decoded, self._jacobian))
        away = torch.cdist(x, decoded).nan_to_num(nan=torch.inf)
        candidates = samples[away.topk(STARTS, dim=1, largest=False).indices].flatten(0, 1)
        copies = x.repeat_interleave(STARTS, dim=0)
        codes = nearest_codes(copies, candidates, decode, jacobian, steps=FIRST_STEPS)
        rest = (copies - decode(codes)).norm(dim=1).nan_to_num(nan=torch.inf).reshape(n, STARTS)
        best = codes.reshape(n, STARTS, -1)[torch.arange(n, device=x.device), rest.argmin(1)]
        return nearest_codes(x, best, decode, jacobian, steps=LAST_STEPS)

    def decoded(self, codes: Tensor, ambient_dim: int) -> Tensor:
        """Return the points (n, D) of codes (n, k)."""
        return super().decoded(codes.reshape(len(codes), *self.latent_shape), ambient_dim)

    def _check_sizes(self, ambient_dim: int) -> None:
        if not self.dim < ambient_dim:
            raise ManifoldError(
                f"the generator's codes have k = {self.dim} values, inputs have D = {ambient_dim}; a generator has "
                "codes of fewer values than D; of an autoencoder, pass (encoder, decoder), two functions or modules"
            )
        if self.dim * ambient_dim > MOST_VALUES:
            raise ManifoldError(
                f"the search for the generator's codes needs Jacobians of D k = {self.dim * ambient_dim:.2g} values "
                f"(limit {MOST_VALUES:.2g}); pass (encoder, decoder) with an encoder of yours, which needs no search"
            )


def latent_shape(decode: Any, dim: int | None = None) -> tuple[int, ...]:
    """Return the shape of one code of a generator: (k,), or (k, 1, ...) where its first layer is a convolution.

    Args:
        decode: The generator: a module, a method of one, or a function.
        dim: Size k of one code, where it is known.

    Raises:
        ManifoldError: The size is no whole number of at least 1; or it is not given, and neither an attribute of the
            module nor a layer says it.

    Example:
        >>> from torch import nn
        >>> from dmmcheck.manifolds.generator import latent_shape
        >>> latent_shape(nn.ConvTranspose2d(100, 8, 4)), latent_shape(nn.Linear(2, 8)), latent_shape(len, 3)
        ((100, 1, 1), (2,), (3,))
    """
    if dim is not None and (isinstance(dim, bool) or not isinstance(dim, Integral) or dim < 1):
        raise ManifoldError(f"dim of the generator is {shown(dim)}; give the size k of one code, a whole number >= 1")
    module = module_of(decode)
    parts = [] if module is None else list(module.modules())
    layer = next((part for part in parts if isinstance(part, (nn.Linear, *_CONVOLUTIONS))), None)
    of_layer: Any = getattr(layer, "in_features", getattr(layer, "in_channels", None))
    named = (getattr(module, name, None) for name in LATENT_SIZES)
    sizes = (size for size in chain([dim], named, [of_layer]) if isinstance(size, Integral) and int(size) > 0)
    size = next(sizes, None)
    if size is None:
        raise ManifoldError(
            f"the size of the codes of the generator ({type(decode).__name__}) is not known; give it as dim, e.g. "
            "manifold-options = { dim = 64 } or dmmcheck.manifolds.Generator(decode, dim=64), or as the attribute "
            "latent_dim of the module"
        )
    ones = len(layer.kernel_size) if isinstance(layer, _CONVOLUTIONS) and of_layer == size else 0
    return (int(size), *[1] * ones)
