"""Every remedy that an error message of the manifolds names is applied here, and works."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from dmmcheck.errors import ManifoldError
from dmmcheck.loading.references import load
from dmmcheck.manifolds import (
    BUILTIN,
    PCA,
    Autoencoder,
    ClassPCA,
    Decoder,
    Generator,
    KernelPCA,
    LocalPCA,
    Subspace,
    analytic,
    build,
    validate_manifold,
)

D, K, M = 10, 2, 60
GENERATOR = torch.Generator().manual_seed(0)
POINTS = torch.randn((M, D), generator=GENERATOR)
X = POINTS[:4] + 0.1
EYE = torch.eye(D)
COPIES = torch.cat([POINTS[:1].expand(20, -1), POINTS])
LINE = torch.linspace(0, 1, 40)[:, None] * torch.ones(D)


def fits(manifold):
    basis = validate_manifold(manifold, X)
    return basis.shape[-1] == manifold.dim


def own(**changes):
    """An object that satisfies the protocol, with some members changed."""
    members = {
        "dim": K,
        "project_point": lambda x: x * EYE[0],
        "tangent_basis": lambda x: EYE[:, :K],
    }
    return SimpleNamespace(**{**members, **changes})


def check(manifold):
    return lambda: validate_manifold(manifold, X)


def noisy(x):
    return x + torch.rand(x.shape, generator=GENERATOR)


def waves(z):
    return torch.cat([z, z.square(), z.sin(), z.cos(), (2 * z).sin()], 1)


class Waves(nn.Module):
    latent_dim = K

    def forward(self, z):
        return waves(z)


def images(x):
    """An encoder of images (n, 2, 5)."""
    return x.reshape(-1, 2, 5).sum(2) if x.ndim == 3 else fail(x)


def fail(x):
    raise RuntimeError(f"images expected, not {tuple(x.shape)}")


def encode(x):
    return x[:, :K]


def decode(z):
    return torch.cat([z, 0 * z[:, :1].expand(-1, D - K)], 1)


def decoder(**changes):
    return Decoder(**{"encode": encode, "decode": decode, **changes})


def variational(x):
    """Means and standard deviations."""
    return x[:, :K], x[:, K:].exp()


def hidden_double(x):
    return nn.Linear(D, K, dtype=torch.float64)(x)


CASES = {
    "a basis of another shape": (
        lambda: Subspace(EYE),
        "basis has shape (10, 10); pass a basis (D, k) with 0 < k < D",
        lambda: [Subspace(EYE[:, :K])],
    ),
    "a basis that is not orthonormal": (
        lambda: Subspace(2 * EYE[:, :K]),
        "pass torch.linalg.qr(basis).Q",
        lambda: [Subspace(torch.linalg.qr(2 * EYE[:, :K]).Q)],
    ),
    "a dimension beyond the rank": (
        lambda: PCA(dim=3).fit(LINE),
        "have rank 1; choose dim <= 1",
        lambda: [PCA(dim=1).fit(LINE)],
    ),
    "points that are all the same": (
        lambda: PCA(dim=1).fit(torch.ones(9, D)),
        "have rank 0; give points that differ from each other",
        lambda: [PCA(dim=1).fit(POINTS[:9])],
    ),
    "points that are no array": (
        lambda: PCA(dim=K).fit([(POINTS[0], 1), (POINTS[1], 0)]),
        "pass an array (m, *input_shape), without labels",
        lambda: [PCA(dim=K).fit(POINTS.numpy())],
    ),
    "points that are not floating-point numbers": (
        lambda: PCA(dim=K).fit((255 * POINTS).to(torch.uint8)),
        "pass floating-point numbers (m, *input_shape), in the units of the inputs",
        lambda: [PCA(dim=K).fit((255 * POINTS).to(torch.uint8).float() / 255)],
    ),
    "NaN": (
        lambda: PCA(dim=K).fit(torch.cat([POINTS, torch.full((1, D), torch.nan)])),
        "hold 10 NaN or infinite values; remove them",
        lambda: [PCA(dim=K).fit(POINTS)],
    ),
    "k = D": (
        lambda: PCA(dim=D).fit(POINTS),
        "dim is 10, inputs have D = 10; choose a whole number of at least 1 and below D",
        lambda: [PCA(dim=1).fit(POINTS), PCA(dim=D - 1).fit(POINTS)],
    ),
    "too few points": (
        lambda: PCA(dim=4).fit(POINTS[:4]),
        "needs at least 5 points, 4 were given; give more points or a smaller dim",
        lambda: [PCA(dim=4).fit(POINTS[:5]), PCA(dim=3).fit(POINTS[:4])],
    ),
    "not fitted": (
        check(PCA(dim=K)),
        "is a PCA without project_point, tangent_basis; did you forget .fit(x_train)?",
        lambda: [PCA(dim=K).fit(POINTS)],
    ),
    "members missing": (
        check(SimpleNamespace(dim=K)),
        "pass an object with dim, project_point and tangent_basis, or a fitted manifold of dmmcheck.manifolds",
        lambda: [own(), PCA(dim=K).fit(POINTS)],
    ),
    "an own dimension of D": (
        check(own(dim=D, tangent_basis=lambda x: EYE)),
        "set dim to a whole number of at least 1 and below D",
        lambda: [own()],
    ),
    "projections of another shape": (
        check(own(project_point=lambda x: x[:, :K])),
        "return finite points of the same shape",
        lambda: [own()],
    ),
    "random projections": (
        check(own(project_point=noisy)),
        "draw no random numbers in it, e.g. use the mean of a variational encoder",
        lambda: [own(project_point=lambda x: x + 0.5)],
    ),
    "a method that expects images": (
        check(own(project_point=lambda x: images(x).expand(-1, D))),
        "let it take flat points (n, D)",
        lambda: [own(project_point=lambda x: images(x.reshape(-1, 2, 5)).repeat(1, 5))],
    ),
    "bases that are no tensor": (
        check(own(tangent_basis=lambda x: np.eye(D)[:, :K])),
        "return a torch tensor",
        lambda: [own(tangent_basis=lambda x: torch.from_numpy(np.eye(D)[:, :K]))],
    ),
    "bases of another shape": (
        check(own(tangent_basis=lambda x: EYE[:K])),
        "return (4, 10, 2), or one basis (10, 2) for all",
        lambda: [own(tangent_basis=lambda x: EYE[:, :K].expand(len(x), -1, -1)), own()],
    ),
    "bases with NaN": (
        check(own(tangent_basis=lambda x: EYE[:, :K] / 0)),
        "return finite ones, and check the points it was fitted on for NaN and duplicates",
        lambda: [own()],
    ),
    "bases that are not orthonormal": (
        check(own(tangent_basis=lambda x: 2 * EYE[:, :K])),
        "return torch.linalg.qr(basis).Q",
        lambda: [own(tangent_basis=lambda x: torch.linalg.qr(2 * EYE[:, :K]).Q)],
    ),
    "an unknown name": (
        lambda: build("umap", {}, POINTS),
        "manifold 'umap' is not built in; choose autoencoder, class-pca, decoder, generator, kernel-pca, local-pca or "
        "pca, or give your own as pkg.mod:attr",
        lambda: [
            build("pca", {"dim": K}, POINTS),
            build("local-pca", {"dim": K}, POINTS),
            build("class-pca", {"dim": K}, POINTS, [0, 1] * (M // 2)),
            build("kernel-pca", {"dim": K}, POINTS),
            build("autoencoder", {"dim": K, "steps": 1}, POINTS),
            build("decoder", {"encode": encode, "decode": decode}),
            build("generator", {"decode": nn.Linear(K, D)}),
        ],
    ),
    "an unknown option": (
        lambda: build("local-pca", {"k": 3}, POINTS),
        "has no option 'k'; its options are dim or neighbours",
        lambda: [build("local-pca", {"dim": 3, "neighbours": 9}, POINTS)],
    ),
    "an option with a wrong value": (
        lambda: build("pca", {"dim": "3"}, POINTS),
        "is '3'; give a whole number of at least 1",
        lambda: [build("pca", {"dim": 3}, POINTS)],
    ),
    "an option missing": (
        lambda: build("decoder", {"encode": encode}),
        "needs decode; set them in manifold-options, each a function or torch module",
        lambda: [build("decoder", {"encode": encode, "decode": decode})],
    ),
    "a generator without an encoder": (
        lambda: build("decoder", {"decode": nn.Linear(K, D)}),
        "or set manifold = 'generator', which needs decode alone",
        lambda: [build("generator", {"decode": nn.Linear(K, D)})],
    ),
    "codes of unknown size": (
        lambda: Generator(waves),
        "give it as dim, e.g. manifold-options = { dim = 64 } or dmmcheck.manifolds.Generator(decode, dim=64), or as",
        lambda: [Generator(waves, dim=K), build("generator", {"decode": waves, "dim": K}), Generator(Waves())],
    ),
    "an autoencoder in place of a generator": (
        lambda: Generator(nn.Sequential(nn.Linear(D, K), nn.Linear(K, D))).tangent_basis(X),
        "of an autoencoder, pass (encoder, decoder), two functions or modules",
        lambda: [decoder(encode=nn.Linear(D, K), decode=nn.Linear(K, D))],
    ),
    "a generator that takes a label": (
        lambda: Generator(lambda z, label: waves(z) + label, dim=K).tangent_basis(X),
        "pass a function of the codes (n, k) alone, and its k as dim",
        lambda: [Generator(lambda z: waves(z) + 1, dim=K)],
    ),
    "nothing to fit on": (
        lambda: build("pca", {"dim": K}),
        "none were given; set manifold-data to the training split, which must not contain the inputs under test",
        lambda: [build("pca", {"dim": K}, POINTS)],
    ),
    "a dimension in other words": (
        lambda: LocalPCA(dim="auto").fit(POINTS),
        "dim is 'auto'; give a whole number of at least 1, or 'estimate'",
        lambda: [LocalPCA(dim=1).fit(POINTS), LocalPCA(dim="estimate").fit(POINTS)],
    ),
    "an estimate from few points": (
        lambda: PCA(dim="estimate").fit(POINTS[:9]),
        "the dimension of 9 distinct points cannot be estimated (at least 10 are needed); set dim to a whole number",
        lambda: [PCA(dim=K).fit(POINTS[:9]), PCA(dim="estimate").fit(POINTS[:10])],
    ),
    "no labels": (
        lambda: build("class-pca", {"dim": K}, POINTS),
        "no labels were given; give manifold-data as (x, y), or set manifold = 'local-pca'",
        lambda: [build("class-pca", {"dim": K}, POINTS, [0, 1] * (M // 2)), build("local-pca", {"dim": K}, POINTS)],
    ),
    "another number of labels": (
        lambda: ClassPCA(dim=K).fit(POINTS, [0, 1]),
        "there are 60 points and labels of shape (2,); give one label for each point",
        lambda: [ClassPCA(dim=K).fit(POINTS, [0, 1] * (M // 2))],
    ),
    "a class of few points": (
        lambda: ClassPCA(dim=4).fit(POINTS, [0] * 57 + [1] * 3),
        "the 3 points of a class have rank 2; choose dim <= 2, or use local-pca",
        lambda: [ClassPCA(dim=2).fit(POINTS, [0] * 57 + [1] * 3), LocalPCA(dim=2).fit(POINTS)],
    ),
    "a class of one point": (
        lambda: ClassPCA(dim=K).fit(POINTS, [0] * 59 + [1]),
        "the 1 points of a class have rank 0; give more points of each class",
        lambda: [ClassPCA(dim=K).fit(POINTS, [0] * 57 + [1] * 3)],
    ),
    "points at no distance": (
        lambda: KernelPCA(dim=1).fit(torch.ones(9, D)),
        "the median distance of the 9 points to fit kernel-pca on is 0; give points that differ from each other",
        lambda: [KernelPCA(dim=K).fit(POINTS)],
    ),
    "a kernel of low rank": (
        lambda: KernelPCA(dim=3).fit(LINE[:3].repeat(4, 1)),
        "the kernel of the points has rank 2; choose dim <= 2",
        lambda: [KernelPCA(dim=K).fit(POINTS)],
    ),
    "a training that diverges": (
        lambda: Autoencoder(dim=K).fit(1e25 * POINTS),
        "after 0 steps; scale the points, or remove those that are far from all others, or use local-pca",
        lambda: [Autoencoder(dim=K, steps=1).fit(POINTS), LocalPCA(dim=K).fit(POINTS)],
    ),
    "a sphere of too many dimensions": (
        lambda: analytic.sphere(4, 4, generator=GENERATOR),
        "choose a dimension of at least 1, and an ambient dimension of at least 5",
        lambda: [analytic.sphere(4, D, generator=GENERATOR)],
    ),
    "a sphere without extent": (
        lambda: analytic.sphere(2, 4, radius=0, generator=GENERATOR),
        "radius is 0; give a number above 0",
        lambda: [analytic.sphere(2, D, radius=0.1, generator=GENERATOR)],
    ),
    "a torus without a hole": (
        lambda: analytic.torus(4, radii=(1, 2), generator=GENERATOR),
        "the radii of the torus are (1, 2); give the larger one first, e.g. (2.0, 1.0)",
        lambda: [analytic.torus(D, radii=(2.0, 1.0), generator=GENERATOR)],
    ),
    "too few neighbours": (
        lambda: LocalPCA(dim=4, neighbours=5).fit(POINTS),
        "dim 4 needs a whole number of at least 6; give more neighbours, or a smaller dim",
        lambda: [LocalPCA(dim=4, neighbours=6).fit(POINTS), LocalPCA(dim=3, neighbours=5).fit(POINTS)],
    ),
    "more neighbours than points": (
        lambda: LocalPCA(dim=K, neighbours=M + 1).fit(POINTS),
        "there are 60 training points; give fewer neighbours, or more points",
        lambda: [
            LocalPCA(dim=K, neighbours=M).fit(POINTS),
            LocalPCA(dim=K, neighbours=M + 1).fit(torch.cat([POINTS, 1 - POINTS])),
        ],
    ),
    "neighbours on a line": (
        lambda: LocalPCA(dim=2).fit(LINE).tangent_basis(X),
        "span 1 directions (duplicates and equally far points add none); choose a smaller dim, or more neighbours",
        lambda: [LocalPCA(dim=1).fit(LINE), LocalPCA(dim=2, neighbours=60).fit(torch.cat([LINE, POINTS]))],
    ),
    "neighbours that are copies": (
        lambda: LocalPCA(dim=1).fit(COPIES).tangent_basis(POINTS[:1]),
        "span 0 directions (duplicates and equally far points add none); choose more neighbours, or give more points",
        lambda: [LocalPCA(dim=1, neighbours=30).fit(COPIES)],
    ),
    "an encoder that cannot be called": (
        lambda: decoder(encode=3),
        "the encoder is a int, which cannot be called; pass a torch.nn.Module or a function",
        lambda: [decoder(encode=nn.Linear(D, K)), decoder()],
    ),
    "a dimension that is not known": (
        lambda: decoder().dim,
        "is not known yet; give dim, or call fit(x) first",
        lambda: [decoder(dim=K), decoder().fit(POINTS)],
    ),
    "codes without a row for each input": (
        lambda: decoder(encode=lambda x: x[0, :K]).tangent_basis(X),
        "expected floating-point codes with one row for each input; encode a batch of inputs at a time",
        lambda: [decoder(encode=lambda x: x[:, :K])],
    ),
    "another size of the codes": (
        lambda: decoder(dim=3).tangent_basis(X),
        "the encoder's codes have 2 values, dim is 3; leave dim out, or correct it",
        lambda: [decoder(), decoder(dim=2)],
    ),
    "codes of the size of inputs": (
        lambda: decoder(encode=lambda x: x, decode=lambda z: z).tangent_basis(X),
        "the encoder's codes have k = 10 values, inputs have D = 10; use codes with at least 1 value and fewer than D",
        lambda: [decoder()],
    ),
    "points of another size": (
        lambda: decoder(decode=lambda z: z).tangent_basis(X),
        "expected as many points of 10 values; decode to the shape of the inputs",
        lambda: [decoder()],
    ),
    "a Jacobian that is not finite": (
        lambda: decoder(decode=lambda z: decode((0 * z).sqrt())).tangent_basis(X),
        "use a decoder that is differentiable at the codes",
        lambda: [decoder(decode=lambda z: decode((0.1 * z + 5).sqrt()))],
    ),
    "codes that the decoder ignores": (
        lambda: decoder(decode=lambda z: decode(z * torch.tensor([1.0, 1e-6]))).tangent_basis(X),
        "the decoder ignores a direction of the codes; use smaller codes, or decode in float64",
        lambda: [
            decoder(encode=lambda x: x[:, :1], decode=lambda z: torch.cat([z, 0 * z.expand(-1, D - 1)], 1)),
            decoder(decode=lambda z: decode(z.double() * torch.tensor([1.0, 1e-6]))),
        ],
    ),
    "an encoder of images": (
        lambda: decoder(encode=images).tangent_basis(X),
        "give input_shape if the encoder expects inputs that are not flat",
        lambda: [decoder(encode=images, input_shape=(2, 5))],
    ),
    "a module behind a function": (
        lambda: decoder(encode=hidden_double).tangent_basis(X),
        "pass modules themselves, which get values in their dtype and on their device",
        lambda: [decoder(encode=nn.Linear(D, K, dtype=torch.float64))],
    ),
    "a variational encoder": (
        lambda: decoder(encode=variational).tangent_basis(X),
        "wrap it in a function that returns one, e.g. the mean of a variational encoder",
        lambda: [decoder(encode=lambda x: variational(x)[0])],
    ),
    "a decoder in half precision": (
        lambda: decoder(decode=nn.Linear(K, D).half()).tangent_basis(X),
        "the decoder computes in torch.float16, but distances need float32 or float64; convert it with .float()",
        lambda: [decoder(decode=nn.Linear(K, D).half().float())],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_remedy_works(name):
    bad, words, remedy = CASES[name]
    with pytest.raises(ManifoldError) as error:
        bad()
    assert words in str(error.value)
    assert all(map(fits, remedy()))


def test_an_own_manifold_is_given_as_a_reference(tmp_path):
    (tmp_path / "own.py").write_text(
        "import torch\nfrom dmmcheck.manifolds import Subspace\nmanifold = Subspace(torch.eye(10)[:, :2])\n"
    )
    assert fits(load("own.py:manifold", "manifold", root=tmp_path))
    assert "own" not in BUILTIN
