"""Two classes near a plane in eight dimensions, and classifiers whose boundaries are hyperplanes."""

import torch

D, K, N = 8, 2, 40
generator = torch.Generator().manual_seed(0)
side = torch.arange(N) % 2 * 2 - 1.0
x = 0.02 * torch.randn(N, D, generator=generator)
x[:, 0] += side * (1 + 0.2 * torch.rand(N, generator=generator))
x[:, 1] += torch.randn(N, generator=generator)


def hyperplane(*normal):
    """The classifier whose boundary is the plane through zero with this normal."""
    weights = torch.tensor(normal)

    def classify(x):
        score = x @ weights.to(x)
        return torch.stack([-score, score], dim=1)

    return classify


off = hyperplane(0.3, 0.0, 1.0, 0.5, 0.0, 0.2, 0.0, 0.1)
on = hyperplane(1.0, 0.1, 0.2, 0.1, 0.0, 0.0, 0.0, 0.0)
data = x, (side > 0).long()


class Plane:
    """The first two coordinates."""

    dim = K

    def tangent_basis(self, x):
        return torch.eye(D)[:, :K].to(x)

    def project_point(self, x):
        return torch.cat([x[:, :K], torch.zeros_like(x[:, K:])], dim=1)
