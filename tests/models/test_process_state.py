"""In whatever state the process is, a run gives the same report, and leaves that state and the subject as they were."""

from __future__ import annotations

import copy
import random
import subprocess
import sys
import warnings
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
import views
from torch import nn

import dmmcheck
from dmmcheck.errors import ModelError, user_code
from dmmcheck.inference.cost import Cost
from dmmcheck.manifolds import PCA, LocalPCA, Subspace
from dmmcheck.models.process_state import neutral_state


@contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def default_device(name):
    torch.set_default_device(name)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextmanager
def warnings_as_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


STATES = {
    "as it starts": warnings.catch_warnings,
    "no_grad": torch.no_grad,
    "inference mode": torch.inference_mode,
    "default dtype float64": lambda: default_dtype(torch.float64),
    "default device meta": lambda: default_device("meta"),
    "device context meta": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "deterministic algorithms": deterministic,
    "warnings as errors": warnings_as_errors,
}


def state_of_process():
    """All that a run might leave changed."""
    return (
        *(torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")),
        *(torch.get_default_dtype(), torch.get_default_device(), torch.are_deterministic_algorithms_enabled()),
        *(random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist(), list(warnings.filters)),  # noqa: NPY002
    )


class Fussy(nn.Module):
    """A network that draws random numbers in forward, has its parameters partly frozen, and is in training mode."""

    def __init__(self, breaks: bool):
        super().__init__()
        self.net, self.calls, self.breaks = views.network(), 0, breaks
        self.net[0].weight.requires_grad_(False)
        self.train()

    def forward(self, x):
        self.calls += 1
        torch.rand(3), np.random.rand(3), random.random()  # noqa: NPY002
        if self.breaks and self.calls > 9:
            raise ValueError("no more")
        return self.net(x)


def state_of_model(model):
    return [
        *(value.clone() for value in model.state_dict().values()),
        *(torch.tensor(weights.requires_grad) for weights in model.parameters()),
        *(torch.tensor(part.training) for part in model.modules()),
    ]


@pytest.fixture(scope="module")
def arrays():
    made = views.subject()
    return made.x.numpy(), made.y.numpy(), made.x_train.numpy(), made.y_train.numpy()


def outcome(model, arrays):
    """The finding of a run without its soundness items, or its error."""
    x, y, x_train, y_train = arrays
    manifold = Subspace(torch.eye(views.D, views.K, device="cpu", dtype=torch.float32))
    try:
        subject = dmmcheck.Subject(model=model, x=x, y=y, manifold=manifold, x_train=x_train, y_train=y_train)
        return views.finding(subject, "off-manifold-energy-stated-builtin", samples=16, effort="quick")
    except dmmcheck.DmmError as error:
        return str(error)


def without_cost(found):
    return found if isinstance(found, str) else replace(found, cost=Cost())


@pytest.fixture(scope="module")
def expected(arrays):
    return {breaks: without_cost(outcome(Fussy(breaks), arrays)) for breaks in (False, True)}


@pytest.mark.parametrize("breaks", [False, True], ids=["a run", "a run that fails"])
@pytest.mark.parametrize("state", STATES)
def test_a_run_neither_relies_on_the_state_of_the_process_nor_changes_anything(state, breaks, arrays, expected):
    model, before_arrays = Fussy(breaks), copy.deepcopy(arrays)
    before_model = state_of_model(model)
    with STATES[state]():
        before = state_of_process()
        found = outcome(model, arrays)
        assert state_of_process() == before
    assert without_cost(found) == expected[breaks]
    assert all(map(torch.equal, state_of_model(model), before_model))
    assert all(np.array_equal(one, other) for one, other in zip(arrays, before_arrays, strict=True))


def test_the_failing_run_fails_and_the_other_decides(expected):
    assert "the model raised ValueError in forward" in expected[True]
    assert expected[False].n == 16


def test_the_users_code_sees_the_defaults_of_the_process():
    with default_dtype(torch.float64), default_device("meta"), neutral_state():
        assert (torch.zeros(1).dtype, torch.zeros(1).device.type) == (torch.float32, "cpu")
        with user_code("the model", "", ModelError):
            assert (torch.zeros(1).dtype, torch.zeros(1).device.type) == (torch.float64, "meta")
            with neutral_state():  # as where the user's code runs dmmcheck itself
                assert (torch.zeros(1).dtype, torch.zeros(1).device.type) == (torch.float32, "cpu")
        assert (torch.zeros(1).dtype, torch.zeros(1).device.type) == (torch.float32, "cpu")


def test_defaults_that_the_users_code_sets_stay_set():
    with default_dtype(torch.float32), default_device("cpu"):
        with neutral_state():
            with user_code("the model", "", ModelError):
                torch.set_default_dtype(torch.float64)
                torch.set_default_device("meta")
            assert (torch.zeros(1).dtype, torch.zeros(1).device.type) == (torch.float32, "cpu")
        assert (torch.zeros(1).dtype, torch.zeros(1).device.type) == (torch.float64, "meta")


@pytest.mark.parametrize("state", ["no_grad", "inference mode", "default dtype float64", "default device meta"])
def test_data_and_manifold_may_be_made_in_that_state(state, arrays):
    x, y, x_train, _ = arrays
    model = views.network()
    with STATES[state]():
        given = [torch.as_tensor(part, device="cpu") + 0 for part in (x, y, x_train)]
        subject = dmmcheck.Subject(
            model=model, x=given[0], y=given[1], manifold=LocalPCA(dim=3).fit(given[2]), x_train=given[2]
        )
        found = views.finding(subject, "off-manifold-energy-stated-builtin", samples=16, effort="quick")
    assert found.n > 0


@pytest.mark.usefixtures("few_plants")
def test_a_report_made_under_inference_mode_is_that_of_the_initial_state(arrays):
    """The whole run, with all that is done before the first finding."""

    model = views.network()

    def verdicts():
        x, y, x_train, y_train = arrays
        manifold = PCA(dim=views.K).fit(x_train)
        subject = dmmcheck.Subject(model, x, y, manifold=manifold, x_train=x_train, y_train=y_train)
        report = dmmcheck.run(subject, checks=["off-manifold-energy"], tiers=["stated"], samples=16, effort="quick")
        return [(finding.verdict, finding.estimate, finding.reason) for finding in report.findings]

    expected = verdicts()
    with torch.inference_mode():
        assert verdicts() == expected


PRECISIONS = """
import torch
from dmmcheck.models.process_state import neutral_state

cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul

def precisions():
    return cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision, matmul.fp32_precision

for change in {changes}:
    exec(change)
    before = precisions()
    with neutral_state():
        assert set(precisions()) <= {{"none", "ieee"}}, (change, precisions())
    assert precisions() == before, (change, precisions(), before)
"""
OLDER = ["pass", "torch.set_float32_matmul_precision('medium')", "cudnn.allow_tf32 = not cudnn.allow_tf32"]
BOTH = ["torch.backends.fp32_precision = 'tf32'; torch.set_float32_matmul_precision('high')"]
NEWER = ["cudnn.conv.fp32_precision = 'ieee'", "matmul.fp32_precision = 'tf32'", "cudnn.rnn.fp32_precision = 'none'"]


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="this torch has the older names alone")
@pytest.mark.parametrize("changes", [OLDER, BOTH, NEWER], ids=["older names", "both", "newer names"])
def test_products_are_exact_and_their_precision_is_as_before_in_a_process_of_its_own(changes):
    subprocess.run([sys.executable, "-c", PRECISIONS.format(changes=changes)], check=True)


def test_products_are_exact_while_a_model_is_measured():
    seen = []

    def model(x):
        seen.append(torch.get_float32_matmul_precision())
        return x[:, :2]

    torch.set_float32_matmul_precision("medium")
    try:
        dmmcheck.boundary_search(model, torch.eye(2), torch.tensor([0, 1]), generator=torch.Generator())
        assert set(seen) == {"highest"}
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
