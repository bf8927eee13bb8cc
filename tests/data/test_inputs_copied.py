"""Inputs that are handed over and not measured are never copied."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import dmmcheck
from dmmcheck.data import arrays
from dmmcheck.manifolds import PCA, principal
from dmmcheck.subject import Subject

SHAPE, INPUTS = (1, 8, 8), 20_000


class Copies(TorchDispatchMode):
    """Keeps the operations whose results are new tensors of half of the inputs, or more."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[int, ...]]] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        results = function(*args, **(kwargs or {}))
        given = {arg.untyped_storage().data_ptr() for arg in args if isinstance(arg, torch.Tensor)}
        for result in results if isinstance(results, (list, tuple)) else [results]:
            is_tensor = isinstance(result, torch.Tensor) and result.numel() >= INPUTS * 64 // 2
            if is_tensor and len(result) >= INPUTS // 2 and result.untyped_storage().data_ptr() not in given:
                self.found.append((str(function), tuple(result.shape)))
        return results


@pytest.mark.parametrize("kind", ["tensor", "array"])
def test_a_run_of_few_of_many_inputs_copies_none_but_these(monkeypatch, kind):
    monkeypatch.setattr(arrays, "PIECE_VALUES", 1 << 16)
    monkeypatch.setattr(principal, "_SLAB_VALUES", 1 << 16)
    monkeypatch.setattr(principal, "_CACHE_VALUES", 1 << 16)
    generator = torch.Generator().manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 4)).requires_grad_(False).eval()
    net[1].weight.copy_(torch.randn((4, 64), generator=generator))
    x = torch.randn((INPUTS, *SHAPE), generator=generator)
    y, manifold = net(x).argmax(1), PCA(dim=4).fit(x[:200])
    copies = Copies()
    with copies:
        subject = Subject(
            model=net, x=x if kind == "tensor" else x.numpy(), y=y, manifold=manifold, bounds=(-10.0, 10.0)
        )
        report = dmmcheck.run(subject, samples=32, seed=0, effort="quick", tiers=["stated"], cache=False)
    assert report.findings
    assert not copies.found
    assert subject.x.data_ptr() == x.data_ptr()


@pytest.mark.parametrize("is_unknown", [False, True])
def test_whether_all_values_are_known_is_answered_without_a_copy_where_they_are(is_unknown):
    x = torch.randn((INPUTS, 64), generator=torch.Generator().manual_seed(0))
    x[3, 5] = torch.nan if is_unknown else 0.0
    copies = Copies()
    with copies:
        assert arrays.unknown_values(x) == is_unknown
    assert bool(copies.found) == is_unknown
