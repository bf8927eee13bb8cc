"""The files of the projects in these tests, and how their output is read."""

from __future__ import annotations

import json
from pathlib import Path

WORLD = (Path(__file__).parent / "world.py").read_text(encoding="utf-8")
SETTINGS = """
[tool.dmmcheck]
model = "world:off"
data = "world:data"
manifold = "world:Plane"
samples = 24
"""
FIXTURES = """
    import pytest
    import world

    @pytest.fixture(scope="session")
    def dmm_model():
        return world.off

    @pytest.fixture(scope="session")
    def dmm_data():
        return world.data

    @pytest.fixture(scope="session")
    def dmm_manifold():
        return world.Plane()
"""
SUBJECT = """
    import pytest
    import dmmcheck
    import world

    @pytest.fixture(scope="session")
    def dmm_subject():
        return dmmcheck.Subject(model=world.off, x=world.data[0], y=world.data[1], manifold=world.Plane())
"""
ATTACK = '''
"""An attack that follows the gradient at the input, and halves the interval in which the label changes."""

import dmmcheck
import torch


class GradientRay:
    def __call__(self, model, x, y, *, space, bounds=None, generator):
        start = x.clone().requires_grad_(True)
        loss = torch.nn.functional.cross_entropy(model.logits(start), y, reduction="sum")
        direction = space.project(torch.autograd.grad(loss, start)[0])
        direction = direction / direction.norm(dim=1, keepdim=True).clamp_min(1e-30)
        near, far = x.new_zeros(len(x)), x.new_full((len(x),), 100.0)
        for _ in range(40):
            middle = (near + far) / 2
            crossed = model.logits(x + middle[:, None] * direction).argmax(1) != y
            near, far = torch.where(crossed, near, middle), torch.where(crossed, middle, far)
        return dmmcheck.Crossing.at(x + 1.0001 * far[:, None] * direction, model, x, y)
'''
FEWER_GATES = """
from dmmcheck.registry import GATES

for name, gate in list(GATES.items()):
    if gate.ask.__module__ == "dmmcheck.soundness.probes" or name == "effort":
        del GATES._things[name]
"""
"""Lines of a conftest.py that leave out the gates that search, for runs in other processes."""
SUFFICES = "off-manifold-suffices"
ID = f"{SUFFICES}-stated-builtin"
ONE = ("--dmm-only", "--dmm-checks", SUFFICES)
OPEN = "[tool.dmmcheck.checks.boundary-clings]\nthreshold = 0.272\n"
"""Settings with which the stated claim of boundary-clings is inconclusive."""


def configure(pytester, more: str, settings: str = SETTINGS) -> None:
    """Add lines to the settings."""
    pytester.makefile(".toml", pyproject=f"{settings}{more}\n")


def printed(result) -> str:
    """Everything a run printed, on one line, so that a sentence is found wherever it was broken."""
    return on_one_line(*result.outlines, *result.errlines)


def on_one_line(*texts: str) -> str:
    """Texts with single spaces between all words."""
    return " ".join(" ".join(texts).split())


def findings_in(path: Path) -> list[dict]:
    """The findings of a JSON report, without their costs."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return [{key: value for key, value in finding.items() if key != "cost"} for finding in content["findings"]]


def without_times(content: dict) -> dict:
    """A report without its times, and without what tells runs apart."""
    del content["created"], content["run"], content["cost"]
    for finding in content["findings"]:
        del finding["cost"]
    return content
