"""A user's own manifold is checked against the protocol, with one clear error for each way to break it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch

from dmmcheck.errors import ManifoldError
from dmmcheck.manifolds import PCA, Manifold, validate_manifold

D = 6
X = torch.linspace(0, 1, 5 * D).reshape(5, D)
EYE = torch.eye(D)
GENERATOR = torch.Generator().manual_seed(0)


@dataclass
class Own:
    """An object with the three members of the protocol."""

    dim: Any = 2
    basis: Any = field(default_factory=lambda: EYE[:, :2])
    project: Any = torch.clone

    def tangent_basis(self, x):
        return self.basis(x) if callable(self.basis) else self.basis

    def project_point(self, x):
        return self.project(x)


def test_an_object_with_the_three_members_is_a_manifold():
    assert isinstance(Own(), Manifold)
    torch.testing.assert_close(validate_manifold(Own(), X), EYE[:, :2])
    validate_manifold(Own(dim=np.int64(2)), X)
    each = EYE[:, 1:3].expand(5, -1, -1)
    torch.testing.assert_close(validate_manifold(Own(basis=each), X), each)


def raises(x):
    raise KeyError("no neighbours")


class Bare:
    dim = 2

    def tangent_basis(self, x):
        return EYE[:, :2]


class NoDim(Bare):
    dim = property(lambda self: self.nowhere)

    def project_point(self, x):
        return x


@pytest.mark.parametrize(
    ("manifold", "words"),
    [
        (Bare(), ["Bare without project_point", "dmmcheck.manifolds"]),
        (NoDim(), ["NoDim without dim"]),
        (PCA(dim=2), ["PCA without project_point, tangent_basis", "forget .fit(x_train)"]),
        ("pca", ["str without"]),
        (Own(dim=D, basis=EYE), [f"k = {D}", f"D = {D}", "below D"]),
        (Own(dim=0), ["k = 0"]),
        (Own(dim="2"), ["k = '2'", "a whole number"]),
        (Own(basis=2 * EYE[:, :2]), ["off orthonormal by 3", "torch.linalg.qr"]),
        (Own(basis=EYE[:, :2] + 0.001), ["off orthonormal by 0.002", "limit 0.0001"]),
        (Own(basis=torch.where(EYE == 1, torch.nan, EYE)[:, :2]), ["tangent_basis", "NaN or infinite"]),
        (Own(basis=torch.eye(D + 1)[:, :2]), ["(7, 2)", "D = 6", "(5, 6, 2)", "one basis (6, 2) for all"]),
        (Own(basis=EYE[:, :3]), ["(6, 3)", "k = 2"]),
        (Own(basis=EYE[:, :2].expand(4, -1, -1)), ["(4, 6, 2)", "5 points"]),
        (Own(basis=EYE[:, :2].numpy()), ["tangent_basis returned a ndarray", "torch tensor"]),
        (Own(basis=raises), ["tangent_basis raised KeyError", "no neighbours", "let it take flat points"]),
        (Own(project=raises), ["project_point raised KeyError"]),
        (Own(project=lambda x: x[:, :2]), ["project_point returned (2, 2)", "(2, 6)"]),
        (Own(project=lambda x: x.tolist()), ["project_point returned list"]),
        (Own(project=lambda x: x / 0), ["finite points"]),
        (Own(project=lambda x: x + torch.rand(x.shape, generator=GENERATOR)), ["called twice differs by", "random"]),
    ],
)
def test_what_breaks_the_protocol_is_one_clear_error(manifold, words):
    with pytest.raises(ManifoldError) as error:
        validate_manifold(manifold, X)
    assert all(word in str(error.value) for word in words), str(error.value)
