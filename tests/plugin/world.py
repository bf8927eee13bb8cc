"""Two classes near a plane in eight dimensions, and classifiers whose boundaries are hyperplanes."""

import torch

D, K, N = 8, 2, 40
generator = torch.Generator().manual_seed(0)
side = torch.arange(N) % 2 * 2 - 1.0
x = 0.02 * torch.randn(N, D, generator=generator)
x[:, 0] += side * (1 + 0.2 * torch.rand(N, generator=generator))
x[:, 1] += torch.randn(N, generator=generator)
turn = torch.linalg.qr(torch.randn(D, D, generator=generator)).Q
x = x @ turn  # so that no feature is ignored, and all spread alike


def hyperplane(*normal):
    """The classifier whose boundary is the plane through zero with this normal."""
    weights = torch.tensor(normal) @ turn

    def classify(x):
        score = x @ weights.to(x)
        return torch.stack([-score, score], dim=1)

    return classify


off = hyperplane(0.3, 0.0, 1.0, 0.5, 0.0, 0.2, 0.0, 0.1)
on = hyperplane(1.0, 0.1, 0.2, 0.1, 0.0, 0.0, 0.0, 0.0)
data = x, (side > 0).long()


class Plane:
    """The plane of the first two coordinates, before the turn."""

    dim = K

    def tangent_basis(self, x):
        return turn[:K].T.to(x)

    def project_point(self, x):
        basis = self.tangent_basis(x)
        return x @ basis @ basis.T
