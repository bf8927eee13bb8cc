"""Runs and searches on a GPU, beside those on the processor; skipped where torch sees no CUDA device."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

import dmmcheck
from dmmcheck import geometry, worlds
from dmmcheck.attacks.minimal_norm.search import search_spaces
from dmmcheck.attacks.search_space import Everywhere, spanned
from dmmcheck.manifolds.rotations import Haar, Spectrum

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")

SEARCH = sys.modules[search_spaces.__module__]
CHECKS = ["off-manifold-suffices", "off-manifold-energy", "boundary-parallel"]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def network(ambient_dim=32, classes=4, dtype=torch.float32):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        body = [nn.Linear(ambient_dim, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, classes)]
        return nn.Sequential(*body).to(dtype).eval().requires_grad_(False)


def searched(device, dtype=torch.float32, **given):
    """Distances (3, 64) of the three searches."""
    model, x = network().to(device, dtype), torch.randn(64, 32, generator=rng()).to(device, dtype)
    basis = geometry.random_basis(32, 5, generator=rng(1), dtype=torch.float64).to(device, dtype)
    y = model(x).argmax(1)
    spaces = [Everywhere(), spanned(basis), spanned(basis, normal=True)]
    found = search_spaces(model, x, y, spaces, generator=rng(2), **given)
    return torch.stack([crossing.distance for crossing in found])


@pytest.mark.parametrize("name", ["hlrf", "ddn_steps"])
def test_the_loops_of_a_search_wait_for_nothing_on_the_gpu(monkeypatch, name):
    loop, calls = getattr(SEARCH, name), []

    def watched(oracle, *given, **more):
        oracle.at(given[0].rows)  # the members of each search space are found once for the rows of a loop
        torch.cuda.set_sync_debug_mode("error")
        try:
            return loop(oracle, *given, **more)
        finally:
            torch.cuda.set_sync_debug_mode("default")
            calls.append(name)

    monkeypatch.setattr(SEARCH, name, watched)
    assert searched("cuda").isfinite().any()
    assert calls


@pytest.mark.parametrize("bounds", [None, (-6.0, 6.0)], ids=["unbounded", "boxed"])
def test_distances_on_the_gpu_are_those_on_the_processor(bounds):
    on_gpu, exact = searched("cuda", bounds=bounds).cpu().double(), searched("cpu", torch.float64, bounds=bounds)
    assert torch.equal(on_gpu.isfinite(), exact.isfinite())
    off = (on_gpu / exact - 1)[exact.isfinite()].abs()
    assert off.median() < 1e-4
    assert (off > 0.02).double().mean() < 0.05


def test_rotations_on_the_gpu_are_those_on_the_processor():
    for rotation in (Haar(300, generator=rng()), Spectrum((3, 10, 10), generator=rng())):
        v = torch.randn(4, 300, generator=rng(1), dtype=torch.float64)
        for turned in (rotation.apply, rotation.inverse):
            torch.testing.assert_close(turned(v.cuda()).cpu(), turned(v))


def run(subject, **settings):
    return dmmcheck.run(subject, seed=0, samples=16, **{"checks": CHECKS, "cache": False, **settings})


def verdicts(report):
    return {one.id: one.verdict for one in report.findings}


def test_a_run_on_the_gpu_gives_the_verdicts_of_one_on_the_processor():
    subject = worlds.random_subspace(ambient_dim=20, dim=4, samples=24, seed=0).subject
    assert verdicts(run(subject, device="cuda")) == verdicts(run(subject, device="cpu"))


def test_random_states_of_the_gpu_are_as_before():
    before = torch.cuda.get_rng_state()
    run(worlds.random_subspace(ambient_dim=20, dim=4, samples=24, seed=0).subject, device="cuda")
    assert torch.equal(torch.cuda.get_rng_state(), before)


class Recurrent(nn.Module):
    """A GRU over 8 steps of 4 values: cuDNN has no backward pass of it in evaluation mode."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.gru, self.head = nn.GRU(4, 16, batch_first=True), nn.Linear(16, 3)

    def forward(self, x):
        return self.head(self.gru(x)[0][:, -1])


class Autocast(nn.Module):
    """A network that computes in bfloat16 and gives float32 logits."""

    def __init__(self):
        super().__init__()
        self.inner = network()

    def forward(self, x):
        with torch.autocast("cuda", torch.bfloat16):
            return self.inner(x).float()


@pytest.mark.parametrize(("make", "shape"), [(Recurrent, (8, 4)), (Autocast, (32,))], ids=["recurrent", "autocast"])
def test_networks_that_a_gpu_treats_in_its_own_way_are_measured(make, shape):
    model, x = make().cuda().eval(), torch.randn(40, *shape, generator=rng())
    with torch.no_grad():
        y = model(x.cuda()).argmax(1).cpu()
    subject = dmmcheck.Subject(model=model, x=x, y=y, manifold=dmmcheck.manifolds.PCA(dim=3).fit(x.flatten(1)))
    report = run(subject, checks=["off-manifold-suffices"])
    assert report.complete
    assert not report.errors


@pytest.mark.parametrize("recipe", ["PCA", "LocalPCA", "KernelPCA", "Autoencoder"])
def test_each_kind_of_manifold_works_on_the_gpu(recipe):
    x = torch.randn(200, 3, generator=rng()) @ torch.randn(3, 20, generator=rng(1))
    model = network(20).cuda()
    with torch.no_grad():
        y = model(x.cuda()).argmax(1).cpu()
    manifold = getattr(dmmcheck.manifolds, recipe)(dim=2).fit(x[40:])
    report = run(dmmcheck.Subject(model=model, x=x[:40], y=y[:40], manifold=manifold), checks=["off-manifold-suffices"])
    assert report.complete
    assert not report.errors


def test_crossings_are_confirmed_whatever_the_precision_of_the_process():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        body = [nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU()]
        model = nn.Sequential(*body, nn.Flatten(), nn.Linear(32 * 64, 4)).cuda().eval()
    x = torch.rand(40, 1, 8, 8, generator=rng())
    with torch.no_grad():
        y = model(x.cuda()).argmax(1).cpu()
    subject = dmmcheck.Subject(model=model, x=x, y=y, manifold=dmmcheck.manifolds.PCA(dim=3).fit(x.flatten(1)))
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = True
    try:
        report = run(subject, checks=["off-manifold-suffices"])
        assert torch.backends.cudnn.allow_tf32
    finally:
        torch.backends.cudnn.allow_tf32 = before
    assert {one.name: one.value for one in report.soundness}["labels-confirmed"] == 1
