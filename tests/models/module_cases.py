"""Modules and functions that tests adapt: a linear function, and a module with every kind of flag."""

from __future__ import annotations

import torch
from torch import nn

X = torch.linspace(-1, 1, 12).reshape(4, 3)
WEIGHT = torch.arange(6.0).reshape(3, 2)


def linear(x):
    return x @ WEIGHT.to(x)


class Moody(nn.Module):
    """A dropout, a batch norm frozen by hand, and one frozen parameter: three kinds of flags to restore."""

    def __init__(self):
        super().__init__()
        self.drop, self.norm, self.head = nn.Dropout(0.5), nn.BatchNorm1d(3), nn.Linear(3, 2)
        self.norm.eval()
        self.head.bias.requires_grad_(False)

    def forward(self, x):
        return self.head(self.norm(self.drop(x)))


def flags(model):
    return [m.training for m in model.modules()], [p.requires_grad for p in model.parameters()]
