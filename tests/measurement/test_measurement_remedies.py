"""Each remedy that a message of the measurement names is applied, and works.

A case is (words of the message, what provokes it, the remedy applied). There is no case for a control, a factory or a
trainer whose own code raises: the message repeats the words of that error, and names no remedy.
"""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
import views
from torch import nn

import dmmcheck
from dmmcheck import worlds
from dmmcheck.checks.plan import plan
from dmmcheck.config.settings import Settings
from dmmcheck.errors import DmmError
from dmmcheck.measurement.nulls import why_unavailable
from dmmcheck.measurement.sample import draw_sample, predict
from dmmcheck.models.torch import adapt

pytestmark = pytest.mark.usefixtures("own_registries")
ENERGY = "off-manifold-energy-stated"


def with_attack(attack, variant="attack"):
    return views.finding(views.subject(), f"{ENERGY}-{variant}", attacks=(attack,)).estimate


def raising(model, x, y, *, space, bounds=None, generator):
    raise ZeroDivisionError("by nothing")


def searching(model, x, y, *, space, bounds=None, generator):
    return dmmcheck.boundary_search(model, x, y, space=space, generator=generator)


def points_alone(model, x, y, *, space, bounds=None, generator):
    return searching(model, x, y, space=space, generator=generator).point


def points_as_crossings(model, x, y, *, space, bounds=None, generator):
    points = points_alone(model, x, y, space=space, generator=generator)
    return dmmcheck.Crossing.at(points, model, x, y)


def everywhere(model, x, y, *, space, bounds=None, generator):
    return dmmcheck.boundary_search(model, x, y, generator=generator)


def projected(model, x, y, *, space, bounds=None, generator):
    """The same direction, moved only by vectors that were projected."""
    v = space.project(everywhere(model, x, y, space=space, generator=generator).point - x)
    return dmmcheck.Crossing.at(x + 20 * v, model, x, y)


def in_the_tangent_space(attack):
    name = attack.__name__
    return len(views.finding(views.subject(), f"on-manifold-distance-stated-{name}", attacks=(attack,)).id)


def sampled(subject):
    classifier = adapt(subject.model, subject.x)
    return len(draw_sample(classifier, subject.x, subject.y, seed=0, limit=512).x)


def with_labels(share):
    """A subject with the right labels for a share of its inputs."""
    subject = views.subject()
    wrong = torch.arange(48) >= share * 48
    return replace(subject, y=torch.where(wrong, (subject.y + 1) % views.CLASSES, subject.y))


def without_preprocessing():
    """A network trained on inputs that were shifted, and inputs that were not."""
    subject = views.subject()
    return replace(subject, model=nn.Sequential(Shift(30.0), subject.model))


class Shift(nn.Module):
    """Adds a constant to inputs."""

    def __init__(self, by):
        super().__init__()
        self.by = by

    def forward(self, x):
        return x + self.by


def more_inputs():
    one, other = with_labels(0.1), views.subject(seed=0, samples=96)
    return replace(one, x=torch.cat([one.x, other.x]), y=torch.cat([one.y, other.y]))


def with_nan(weights):
    model = views.network()
    with torch.no_grad():
        model[2].bias[0] = weights
    x = views.subject().x
    return bool(torch.isfinite(predict(adapt(model, x), x).double()).all())


def logarithm(x):
    return predict(adapt(lambda points: torch.stack([points[:, 0].log(), points[:, 1]], 1), x.abs()), x) is not None


def searching_check(cost):
    @dmmcheck.check(
        f"mine-{cost}", statement="s", threshold=1.0, direction="greater", controls=("rotation",), draw_cost=cost
    )
    def mine(view):
        """d_on."""
        return dmmcheck.Evidence.of(view.distance("tangent"))

    return views.finding(views.subject(), f"mine-{cost}-controlled-builtin").control.estimate > 0


def with_control(draw):
    dmmcheck.control("own", title="t", checks=("off-manifold-energy",))(draw)
    return views.finding(views.subject(), "off-manifold-energy-controlled-own").control.estimate > 0


def training(subject):
    return views.finding(subject, "dimples-shallow-controlled-training-points").n > 0


def wrong_training_labels():
    subject = views.subject()
    return replace(subject, y_train=(subject.y_train + 1) % views.CLASSES)


RAISED = {
    "attack raises": (
        "the attack raising raised ZeroDivisionError: by nothing; leave it out of attacks",
        lambda: with_attack(raising, "raising"),
        lambda: views.finding(views.subject(), f"{ENERGY}-builtin", attacks=()).estimate > 0,
    ),
    "attack returns points": (
        "returned a Tensor, expected a Crossing with points of shape (32, 12); return dmmcheck.Crossing.at(points, m",
        lambda: with_attack(points_alone, "points-alone"),
        lambda: with_attack(points_as_crossings, "points-as-crossings") > 0,
    ),
    "attack leaves its search space": (
        "left its search space for 32 of 32 inputs (limit 1% of a perturbation's length); move only by vectors that",
        lambda: in_the_tangent_space(everywhere),
        lambda: in_the_tangent_space(projected) > 0,
    ),
    "few correct inputs: labels": (
        "the model classifies 5 of 48 distinct inputs correctly, at least 8 are needed; check that labels and inputs",
        lambda: sampled(with_labels(0.1)),
        lambda: sampled(with_labels(1.0)) == 48,
    ),
    "few correct inputs: preprocessing": (
        "have the preprocessing of training",
        lambda: sampled(without_preprocessing()),
        lambda: sampled(replace(without_preprocessing(), x=views.subject().x - 30.0)) == 48,
    ),
    "few correct inputs: more inputs": (
        "or pass more inputs",
        lambda: sampled(with_labels(0.1)),
        lambda: sampled(more_inputs()) >= 8,
    ),
    "NaN logits: weights": (
        "the logits of the model are NaN or infinite on 48 of 48 inputs; check its weights",
        lambda: with_nan(torch.nan),
        lambda: with_nan(0.0),
    ),
    "NaN logits: preprocessing": (
        "and the preprocessing of the inputs",
        lambda: logarithm(views.subject().x),
        lambda: logarithm(views.subject().x.abs() + 1),
    ),
    "arm not searched in a draw": (
        'was not searched in the tangent spaces of this draw of a control; declare the check with draw_cost="search"',
        lambda: searching_check("energy"),
        lambda: searching_check("search"),
    ),
    "control returns no view": (
        "the control 'own' returned a Tensor, expected a View; return view.rotated(rotation) or view.permuted(order)",
        lambda: with_control(lambda view, generator: torch.randperm(view.n, generator=generator)),
        lambda: with_control(lambda view, generator: view.permuted(torch.randperm(view.n, generator=generator))),
    ),
    "training data with other labels": (
        "the training data (x_train and y_train, in settings manifold-data): the model classifies 0 of 48",
        lambda: training(wrong_training_labels()),
        lambda: training(views.subject()),
    ),
}


@pytest.mark.parametrize("case", RAISED)
def test_the_remedy_of_an_error_works(case):
    words, provoke, mend = RAISED[case]
    with pytest.raises(DmmError, match=re.escape(words)):
        provoke()
    if case.startswith("control"):
        from dmmcheck.registry import CONTROLS

        del CONTROLS._things["own"], CONTROLS._sources["own"]
    assert mend()


def unbalanced(share):
    subject = views.subject(manifold=views.Local(), classes=2, samples=96)
    one, other = (torch.nonzero(subject.y == label).reshape(-1) for label in (0, 1))
    kept = torch.cat([one[:20], other[: int(share * 20)]])
    return replace(subject, x=subject.x[kept], y=subject.y[kept])


def images(shape):
    flat = views.subject(samples=16)
    model = nn.Sequential(nn.Flatten(), flat.model)
    return replace(flat, model=model, x=flat.x.reshape(-1, *shape), x_train=flat.x_train.reshape(-1, *shape))


REASONS = {
    "no images": (
        "spectrum",
        "inputs of shape (12,) are not images; the spectrum-matched control needs (H, W) or (channels, H, W)",
        lambda: images((12,)),
        lambda: images((3, 4)),
    ),
    "no images, with channels": ("spectrum", "are not images", lambda: images((12, 1)), lambda: images((3, 2, 2))),
    "one shared space": (
        "same-class",
        "all inputs share one tangent space, so there is nothing to permute; use a local manifold, e.g. local-pca",
        views.subject,
        lambda: replace(views.subject(), manifold=dmmcheck.manifolds.LocalPCA(dim=3).fit(views.subject().x_train)),
    ),
    "one dominant class": (
        "other-class",
        "one class holds 20 of 25 inputs (at most half); pass a more balanced sample",
        lambda: unbalanced(0.25),
        lambda: unbalanced(1.0),
    ),
}


@pytest.mark.parametrize("case", REASONS)
def test_the_remedy_of_a_control_that_cannot_be_drawn_works(case):
    control, words, provoke, mend = REASONS[case]
    assert words in why_unavailable(views.view(provoke()), control)
    assert why_unavailable(views.view(mend()), control) == ""
    subject = mend()
    id = f"off-manifold-energy-controlled-{control}"
    assert views.finding(subject, id).verdict != "not-run"


def test_four_checkpoints_cannot_show_two_phases_and_five_can():
    shape = {"ambient_dim": 16, "dim": 3, "samples": 48, "seed": 0}
    id = "two-phases-mechanism-builtin"
    finding = views.finding(worlds.training(depths=(1.0, 0.1, 0.3, 0.4), **shape).subject, id)
    assert finding.reason.endswith("4 checkpoints cannot show two phases; give at least 5")
    assert views.finding(worlds.training(depths=(1.0, 0.1, 0.3, 0.4, 0.5), **shape).subject, id).verdict == "supported"


def test_an_attack_that_finds_little_gives_a_verdict_with_more_steps():
    pytest.importorskip("torchattacks")
    from dmmcheck.attacks.torchattacks import TorchAttack

    subject = views.subject(samples=32)
    weak, strong = (
        views.finding(subject, f"{ENERGY}-cw", attacks=(TorchAttack("cw", steps=steps),)) for steps in (1, 200)
    )
    assert weak.verdict == "inconclusive"
    assert "of inputs (at least 95%); give it more steps, for example attacks=[dmmcheck.attacks.torch" in weak.reason
    assert "at least 95%" not in strong.reason
    without = [item.id for item in plan(Settings(attacks=()))]
    assert f"{ENERGY}-cw" not in without


def test_the_example_of_more_steps_is_an_attack():
    pytest.importorskip("torchattacks")
    finding = views.finding(
        views.subject(samples=32),
        f"{ENERGY}-fab",
        attacks=[dmmcheck.attacks.torchattacks.TorchAttack("fab", steps=100)],
    )
    assert finding.estimate > 0
