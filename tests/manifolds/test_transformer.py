"""A fitted transformer of scikit-learn as a manifold: exact where its inverse is affine, by differences elsewhere."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.decomposition import NMF, PCA, FastICA, IncrementalPCA, KernelPCA, TruncatedSVD
from sklearn.manifold import TSNE
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, QuantileTransformer, StandardScaler

from dmmcheck import geometry, manifolds
from dmmcheck.errors import ManifoldError
from dmmcheck.manifolds import validate_manifold
from dmmcheck.manifolds.adapt import as_manifold

D, K = 6, 2
GENERATOR = torch.Generator().manual_seed(0)
CODES = torch.randn(80, K, generator=GENERATOR, dtype=torch.float64)
X = 1 + torch.randn(80, D, generator=GENERATOR, dtype=torch.float64) * 0.05
X = X + CODES @ torch.randn(K, D, generator=GENERATOR, dtype=torch.float64)
POINTS = X.numpy()


def span(basis):
    """The projection (D, D) onto the columns of a basis."""
    return basis @ basis.mT


@pytest.mark.parametrize(
    "transformer",
    [PCA(K), PCA(K, whiten=True), IncrementalPCA(K), make_pipeline("passthrough", PCA(K))],
    ids=["pca", "whitened", "incremental", "pipeline"],
)
def test_pca_gives_the_same_manifold_as_the_built_in_one(transformer):
    manifold = as_manifold(transformer.fit(POINTS), (D,))
    own = manifolds.PCA(dim=K).fit(X)
    assert manifold.dim == K
    atol = 0.2 if isinstance(transformer, IncrementalPCA) else 1e-9
    torch.testing.assert_close(span(manifold.tangent_basis(X)), span(own.tangent_basis(X)), atol=atol, rtol=0)
    torch.testing.assert_close(manifold.project_point(X), own.project_point(X), atol=atol, rtol=0)


def test_the_span_of_a_truncated_svd_is_that_of_its_components():
    svd = TruncatedSVD(K).fit(POINTS)
    expected = torch.linalg.qr(torch.as_tensor(svd.components_.T)).Q
    torch.testing.assert_close(span(as_manifold(svd, (D,)).tangent_basis(X)), span(expected))


def test_the_span_behind_a_scaler_is_in_the_units_of_the_inputs():
    pipeline = make_pipeline(StandardScaler(), PCA(K)).fit(POINTS)
    expected = torch.linalg.qr(torch.as_tensor((pipeline[1].components_ * pipeline[0].scale_).T)).Q
    torch.testing.assert_close(span(as_manifold(pipeline, (D,)).tangent_basis(X)), span(expected))


@pytest.mark.parametrize(
    "transformer",
    [
        KernelPCA(K, kernel="rbf", gamma=0.05, fit_inverse_transform=True),
        make_pipeline(MinMaxScaler(), NMF(K, init="nndsvda", max_iter=500)),
        FastICA(K, random_state=0),
    ],
    ids=["kernel-pca", "nmf", "ica"],
)
def test_others_satisfy_the_protocol_and_their_tangents_follow_the_inverse(transformer):
    fitted = transformer.fit(POINTS)
    manifold = as_manifold(fitted, (D,))
    basis = validate_manifold(manifold, X[:8])
    codes = fitted.transform(POINTS[:8])
    moved = fitted.inverse_transform(codes + 1e-6 * np.array([1.0, -2.0])) - fitted.inverse_transform(codes)
    moved = torch.as_tensor(moved / 1e-6)
    off = moved - geometry.project_tangent(moved, basis)
    assert float((off.norm(dim=1) / moved.norm(dim=1)).max()) < 1e-4


def test_dtype_and_batches_make_no_difference():
    manifold = as_manifold(KernelPCA(K, kernel="rbf", fit_inverse_transform=True).fit(POINTS), (D,))
    together = manifold.tangent_basis(X[:6])
    apart = torch.cat([manifold.tangent_basis(x[None]) for x in X[:6]])
    torch.testing.assert_close(span(together), span(apart), atol=1e-7, rtol=0)
    assert manifold.tangent_basis(X[:2].float()).dtype == torch.float32
    assert manifold.project_point(X[:2].float()).dtype == torch.float32


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (TSNE(2), "the manifold is a TSNE without transform, inverse_transform, so points cannot be brought back"),
        (QuantileTransformer(n_quantiles=10).fit(POINTS), "codes have k = 6 values, inputs have D = 6; fit it with"),
        (PCA(K), "the PCA's transform raised NotFittedError"),
        (PCA(K), "fit it on training inputs first"),
        (KernelPCA(K).fit(POINTS), "fit it with fit_inverse_transform=True"),
        (PCA(K).fit(POINTS[:, :4]), "fit it on flat inputs (n, D) of the same D"),
    ],
    ids=["no-inverse", "no-reduction", "unfitted", "unfitted-remedy", "kernel", "features"],
)
def test_a_transformer_that_cannot_be_used_is_one_clear_error(given, words):
    with pytest.raises(ManifoldError, match=re.escape(words)):
        validate_manifold(as_manifold(given, (D,)), X[:4])


def test_its_dimension_is_known_before_a_point_is_seen():
    assert manifolds.TransformerManifold(PCA(K).fit(POINTS)).dim == K


class Auto(torch.nn.Module):
    """An autoencoder."""

    def __init__(self):
        super().__init__()
        self.down, self.up = torch.nn.Linear(D, K), torch.nn.Linear(K, D)

    def encode(self, x):
        return self.down(x)

    def decode(self, z):
        return self.up(z)


def test_an_autoencoder_and_a_pair_of_functions_are_manifolds():
    module = Auto()
    for given in (module, (module.encode, module.decode), [module.down, module.up]):
        manifold = as_manifold(given, (D,))
        torch.testing.assert_close(
            manifold.project_point(X[:3].float()), module.up(module.down(X[:3].float())).detach()
        )


@pytest.mark.parametrize("kind", [lambda x: x, lambda x: x.numpy()], ids=["tensor", "array"])
def test_points_are_what_local_pca_is_fitted_on(kind):
    manifold = as_manifold(kind(X), (D,))
    assert manifold.name == "local-pca"
    assert manifold.dim == K  # estimated
    assert as_manifold(kind(X), (D,), dim=1).dim == 1


def test_a_manifold_stays_as_it_is():
    own = manifolds.PCA(dim=K).fit(X)
    assert as_manifold(own, (D,)) is own


class Parts(torch.nn.Module):
    """An autoencoder with two parts and no methods."""

    def __init__(self, inner):
        super().__init__()
        self.encoder, self.decoder = inner.down, inner.up

    def forward(self, x):
        return self.decoder(self.encoder(x))


class Variational(Auto):
    """A variational autoencoder; `form` makes its output of the means and the logarithms of the variances."""

    def __init__(self, form):
        super().__init__()
        self.form = form

    def encode(self, x):
        return self.form(self.down(x), 0 * self.down(x))


FORMS = {
    "pair": lambda mean, log: (mean, log),
    "distribution": lambda mean, log: torch.distributions.Normal(mean, log.exp()),
    "latents": lambda mean, log: SimpleNamespace(latent_dist=SimpleNamespace(mean=mean)),
}


def test_an_autoencoder_with_two_parts_is_a_manifold():
    module = Auto()
    expected = as_manifold(module, (D,)).project_point(X)
    torch.testing.assert_close(as_manifold(Parts(module), (D,)).project_point(X), expected)


@pytest.mark.parametrize("form", FORMS)
def test_the_codes_of_a_variational_autoencoder_are_its_means(form):
    module = Variational(FORMS[form])
    manifold = as_manifold(module, (D,))
    torch.testing.assert_close(manifold.project_point(X), module.up(module.down(X.float())).detach().double())
    assert validate_manifold(manifold, X[:4]).shape == (4, D, K)
    assert manifold.note == "codes are the means of a variational encoder"


def test_a_decoder_may_return_its_points_as_a_sample():
    module = Auto()
    manifold = as_manifold((module.encode, lambda z: SimpleNamespace(sample=module.up(z))), (D,))
    torch.testing.assert_close(manifold.project_point(X), as_manifold(module, (D,)).project_point(X))
    assert manifold.note == ""
