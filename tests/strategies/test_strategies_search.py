"""The search: planted counterexamples at their known length, the budget of shrinking, and errors in words."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, reproduce_failure, settings
from hypothesis.database import InMemoryExampleDatabase

import dmmcheck
from dmmcheck import strategies
from dmmcheck.errors import ConfigError, ModelError
from dmmcheck.manifolds import Subspace
from dmmcheck.strategies import search as searching
from dmmcheck.strategies.search import BATCH, as_plain, default_radius, search

MOST_CALLS = 500
WORLDS = {
    "flat at 60 degrees, tangent": (dmmcheck.worlds.hyperplane(angle=60, samples=32, seed=0), "tangent"),
    "flat at 60 degrees, normal": (dmmcheck.worlds.hyperplane(angle=60, samples=32, seed=0), "normal"),
    "flat at 85 degrees, normal": (dmmcheck.worlds.hyperplane(angle=85, samples=32, seed=1), "normal"),
    "shallow dimples, normal": (dmmcheck.worlds.dimpled(samples=32, seed=0), "normal"),
    "sheets, normal": (dmmcheck.worlds.sheets(samples=32, seed=0), "normal"),
}
PLANTED = WORLDS["flat at 60 degrees, tangent"][0]


@pytest.fixture(autouse=True)
def profile():
    """Derandomised, without the database of this project; the profile of the run is restored."""
    before = settings.get_current_profile_name()
    settings.register_profile("search tests", settings.get_profile("default"), database=None, derandomize=True)
    settings.load_profile("search tests")
    yield
    settings.load_profile(before)


def found_in(name, times=1.5):
    world, kind = WORLDS[name]
    distance = world.distance[kind]
    found = search(world.subject, kind, name=name, radius=times * float(distance.median()))
    assert found.found is not None
    return found, float(distance[found.found.index])


class Counting(torch.nn.Module):
    """A model that counts its calls, and those at the time of the first label change."""

    def __init__(self, subject):
        super().__init__()
        self.inner, self.x, self.before = subject.model, subject.x, subject.model(subject.x)
        self.calls, self.first = 0, None

    def forward(self, x):
        self.calls += 1
        logits = self.inner(x)
        nearest = self.before[torch.cdist(x, self.x).argmin(1)].argmax(1)
        if self.first is None and bool((logits.argmax(1) != nearest).any()):
            self.first = self.calls
        return logits


@pytest.mark.parametrize("name", WORLDS)
def test_a_planted_counterexample_is_found_simple_and_at_its_known_length(name):
    world, kind = WORLDS[name]
    model = Counting(world.subject)
    radius = 1.5 * float(world.distance[kind].median())
    found = search(replace(world.subject, model=model), kind, name=name, radius=radius)
    assert model.calls - model.first <= MOST_CALLS
    assert len(found.found.coordinates) == 1
    assert found.found.length == pytest.approx(float(world.distance[kind][found.found.index]), rel=0.01)
    assert found.found.label != found.found.label_before
    assert found.found.margin < 0


def test_the_calls_that_make_a_counterexample_simple_are_limited(monkeypatch):
    monkeypatch.setattr(searching, "MOST_SHRINKS", 20)
    found, known = found_in("flat at 85 degrees, normal")
    assert 20 <= found.shrinking <= 40  # Hypothesis replays the simplest one
    assert found.found.length >= known * 0.999


def test_a_derandomised_search_finds_the_same_again():
    found, _ = found_in("flat at 60 degrees, normal")
    assert repr(found_in("flat at 60 degrees, normal")[0].found) == repr(found.found)


def test_within_a_radius_below_the_nearest_boundary_nothing_is_found():
    distance = PLANTED.distance["tangent"]
    found = search(PLANTED.subject, "tangent", name="none", radius=0.9 * float(distance.min()))
    assert found.found is None
    assert found.examples == settings().max_examples
    assert 0.5 * found.examples * BATCH < found.candidates <= found.examples * BATCH
    assert len(found.indices) > 16


def test_a_profile_decides_how_many_examples_there_are():
    settings.register_profile("short", settings(), max_examples=7)
    settings.load_profile("short")
    assert search(PLANTED.subject, "tangent", name="short", radius=1e-3).examples <= 7


def test_what_was_found_is_tried_first_in_the_next_search():
    settings.register_profile("kept", settings(), database=InMemoryExampleDatabase(), derandomize=False)
    settings.load_profile("kept")
    first, _ = found_in("flat at 60 degrees, normal")
    again, _ = found_in("flat at 60 degrees, normal")
    assert again.examples - again.shrinking == 1  # the first batch fails
    assert again.found.length == pytest.approx(first.found.length, rel=1e-3)


def test_a_search_leaves_what_another_one_has_found():
    database = InMemoryExampleDatabase()
    settings.register_profile("kept", settings(), database=database, derandomize=False)
    settings.load_profile("kept")
    found_in("flat at 60 degrees, normal")
    kept = {key: set(examples) for key, examples in database.data.items()}
    short = 0.1 * float(PLANTED.distance["normal"].min())
    assert search(PLANTED.subject, "normal", name="another", radius=short).found is None
    assert any(kept.values())
    assert all(examples <= database.data[key] for key, examples in kept.items())


def test_the_line_of_hypothesis_gives_the_counterexample_again():
    settings.register_profile("blob", settings(), print_blob=True)
    settings.load_profile("blob")
    radius = 1.5 * float(PLANTED.distance["normal"].median())
    found = search(PLANTED.subject, "normal", name="blob", radius=radius)
    version, blob = eval(found.blob.removeprefix("@reproduce_failure"))
    seen = []

    @reproduce_failure(version, blob)
    @settings(settings(), phases=settings().phases)
    @given(strategies.candidates(PLANTED.subject, "normal", radius=radius))
    def labels_are_steady(batch):
        seen.extend(step for step in batch if not step.is_steady)
        assert not seen

    with pytest.raises(AssertionError):
        labels_are_steady()
    assert seen[0].index == found.found.index


def test_an_augmentation_is_found_with_its_smallest_seed():
    direction = PLANTED.subject.model.weight
    flips = replace(PLANTED.subject, augment=lambda x, seed: x - 2 * (seed >= 5) * (x @ direction)[:, None] * direction)
    found = search(flips, "augment", name="augment")
    assert repr(found.found) == "Augmented(subject, index=0, seed=5)"
    assert found.statistic == found.found.margin < 0


@pytest.mark.parametrize(
    ("shape", "drawn"),
    [((5, 10), (5, 10)), ((1, 5, 10), (5, 10)), ((3, 2, 100), (1, 50, 3)), ((50,), None), ((2, 5, 5), None)],
    ids=["grey", "one channel", "large, in colour", "no image", "two channels"],
)
def test_the_picture_of_a_counterexample_is_the_image_with_its_step(shape, drawn):
    x = torch.randn(8, *shape, generator=torch.Generator().manual_seed(0))
    axes = Subspace(torch.eye(x[0].numel())[:, :2])
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(x[0].numel(), 2))
    step = strategies.NormalStep(
        dmmcheck.Subject(model=model, x=x, y=torch.arange(8) % 2, manifold=axes), index=1, coordinates=(0.5,)
    )
    found = as_plain(step)["picture"]
    assert (found and tuple(found["shape"])) == drawn
    for name, values in (("image", x[1]), ("step", step.step)) if drawn else ():
        large = values.reshape(shape)[:, ::2, ::2].permute(1, 2, 0) if len(drawn) == 3 else values
        assert found[name] == pytest.approx(large.reshape(-1).tolist(), rel=1e-3, abs=1e-6)


class Failing(torch.nn.Module):
    """A model that raises away from real inputs, or answers differently at each call."""

    def __init__(self, inner, how):
        super().__init__()
        self.inner, self.how, self.calls = inner, how, 0

    def forward(self, x):
        self.calls += 1
        if self.how == "raises" and bool((torch.cdist(x, PLANTED.subject.x).amin(1) > 1e-3).any()):
            raise ValueError("no real input")
        return self.inner(x) * (1 if self.how == "raises" or self.calls < 30 else (-1) ** (self.calls // 2))


def test_a_model_that_raises_is_one_error_with_the_simplest_point():
    subject = replace(PLANTED.subject, model=Failing(PLANTED.subject.model, "raises"))
    with pytest.raises(
        ModelError, match=r"raised ValueError.*no real input.*the point is TangentStep\(subject, index=\d+, "
    ):
        search(subject, "tangent", name="raises", radius=0.01)


def test_a_model_that_changes_its_answer_is_an_error():
    subject = replace(PLANTED.subject, model=Failing(PLANTED.subject.model, "changes"))
    with pytest.raises(ModelError, match="different labels when it was called twice"):
        search(subject, "tangent", name="changes", radius=1e-3)


@pytest.mark.parametrize("radius", [0.0, -1.0, float("nan"), None])
def test_a_radius_that_is_not_positive_is_refused(radius):
    with pytest.raises(ConfigError, match=f"the radius is {radius}"):
        search(PLANTED.subject, "tangent", name="radius", radius=radius)


def test_the_default_radius_is_a_tenth_of_the_distance_between_inputs():
    points = torch.arange(16.0)[:, None].square() * torch.eye(1, 50)
    points = torch.cat([points, points[:2]])  # copies count for nothing
    subject = replace(PLANTED.subject, x=points, y=torch.zeros(18, dtype=torch.long))
    gaps = torch.tensor([1.0, 1, 1, *range(3, 30, 2), 1, 1])
    assert default_radius(subject) == pytest.approx(0.1 * float(gaps.median()), rel=0.3)
