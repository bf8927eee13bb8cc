"""Starts without gradients: they find boundaries behind flat stretches, and cost little where gradients lead there."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from search_cases import oracle_of, rng

from dmmcheck import geometry
from dmmcheck.attacks.minimal_norm import ends as ends_module
from dmmcheck.attacks.minimal_norm import label_starts
from dmmcheck.attacks.minimal_norm.candidates import Candidates
from dmmcheck.attacks.minimal_norm.effort import LabelReading
from dmmcheck.attacks.minimal_norm.ends import Ends
from dmmcheck.attacks.minimal_norm.search import boundary_search
from dmmcheck.errors import AttackError

GAP = 0.05


def sheet(ambient_dim, slope, *, dim=8, n=64, seed=0):
    """A smooth dimpled sheet: margin z.n + gap tanh(slope z.t), flat along T away from z.t = 0, where it folds."""
    generator = rng(seed)
    frame = geometry.random_basis(ambient_dim, dim + 1, generator=generator, dtype=torch.float32)
    basis, across = frame[:, :dim], frame[:, dim]
    along = basis[:, 0]

    def model(x):
        margin = x @ across + GAP * torch.tanh(slope * (x @ along))
        return torch.stack([margin / 2, -margin / 2], 1)

    x = torch.randn(n, dim, generator=generator) @ basis.T
    return model, x, model(x).argmax(1), basis, (x @ along).abs()


@pytest.mark.parametrize("ambient_dim", [50, 784])
@pytest.mark.parametrize("slope", [2, 16])
@pytest.mark.parametrize("with_examples", [True, False])
def test_the_fold_of_a_smooth_sheet_is_found_in_its_tangent_space(ambient_dim, slope, with_examples):
    model, x, y, basis, exact = sheet(ambient_dim, slope)
    examples = sheet(ambient_dim, slope, n=256)[1:3] if with_examples else None
    found = boundary_search(model, x, y, subspace=basis, examples=examples, generator=rng(1))
    assert float(found.found.float().mean()) >= 0.98
    assert float((found.distance > 1.02 * exact).float().mean()) <= 0.02
    assert bool((found.distance >= 0.999 * exact).all())


def test_brief_effort_reads_fewer_labels_and_finds_the_fold_of_a_smooth_sheet():
    """Its single distances may be too long, since only medians of many searches count."""
    model, x, y, basis, exact = sheet(50, 8)
    search = partial(boundary_search, model, x, y, subspace=basis, examples=sheet(50, 8, n=256)[1:3])
    brief, quick = (search(effort=effort, generator=rng(1)) for effort in ("brief", "quick"))
    assert bool(brief.found.all())
    assert float((brief.distance / exact).median()) <= 1.001
    spent = [found.forwards.sum() - found.backwards.sum() for found in (brief, quick)]
    assert spent[0] < 0.75 * spent[1]


def test_a_boundary_that_gradients_describe_costs_few_more_passes():
    w = torch.nn.functional.normalize(torch.randn(200, generator=rng(2)), dim=0)
    x = torch.randn(32, 200, generator=rng(3))
    x = x - (x @ w - 1)[:, None] * w  # all at distance 1

    def model(points):
        return torch.stack([points @ w, -(points @ w)], 1)

    y = torch.zeros(32, dtype=torch.long)
    far = (x - 40 * w, torch.ones(32, dtype=torch.long))
    plain = boundary_search(model, x, y, generator=rng(1))
    aided = boundary_search(model, x, y, examples=far, generator=rng(1))
    assert torch.allclose(aided.distance, torch.ones(32), rtol=1e-3)
    assert float(aided.forwards.float().mean()) <= float(plain.forwards.float().mean()) + 4


class Stripes:
    """An oracle whose label changes where a wave along the perturbation says so; it counts what it is asked."""

    def __init__(self, frequency):
        self.frequency, self.asked = frequency, 0

    def margin(self, delta, rows):
        self.asked += len(rows)
        return torch.cos(self.frequency[rows] * delta.norm(dim=1) * (1 + delta[:, 0].sign() * delta[:, 1].abs())) - 0.1

    def feasible(self, delta, rows):
        return delta


@given(seed=st.integers(0, 10_000), count=st.integers(1, 6), rows=st.integers(1, 5), readings=st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_the_first_change_is_that_of_each_direction_read_and_bisected_by_itself(seed, count, rows, readings):
    generator = rng(seed)
    directions = torch.nn.functional.normalize(torch.randn(count, rows, 3, generator=generator), dim=2)
    lengths = (0.2 + torch.rand(rows, readings, generator=generator)).cumsum(1)
    limit = lengths[:, -1] + torch.rand(rows, generator=generator) - 0.3
    frequency = 1 + 8 * torch.rand(rows, generator=generator)
    oracle, naive = Stripes(frequency), Stripes(frequency)
    delta, margin = label_starts._scanned(oracle, torch.arange(rows), directions, lengths, limit)
    found, own = Stripes(frequency).margin(delta, torch.arange(rows)), oracle.asked
    for row in range(rows):
        nearest = first_change(naive, directions[:, row], lengths[row], float(limit[row]), row)
        assert bool(torch.isfinite(margin[row])) == (nearest is not None)
        if nearest is not None:
            assert float(delta[row].norm()) == pytest.approx(nearest, rel=1e-5)
            assert float(margin[row]) < 0
            assert float(margin[row]) == pytest.approx(float(found[row]), abs=1e-4)
    assert own <= naive.asked


def first_change(oracle, directions, lengths, limit, row):
    """The nearest change of a row at the first length at which a label has changed in any direction; None without."""

    def changed(length, direction):
        return bool(oracle.margin(length * direction[None], torch.tensor([row])) < 0)

    near = 0.0
    for far in [float(length) for length in lengths if float(length) < limit]:
        hit = [direction for direction in directions if changed(far, direction)]
        if hit:
            return min(bisected(partial(changed, direction=direction), near, far) for direction in hit)
        near = far
    return None


def bisected(changed, low, high):
    for _ in range(label_starts.HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if changed(middle) else (middle, high)
    return high


EXAMPLES = torch.diag(torch.tensor([1.0, 1.01, 1.02] + 17 * [50.0]))[:3]


def holes(points):
    """Return logits of a model that answers class 1 in small balls about the examples, and is flat elsewhere."""
    inside = (torch.cdist(points, EXAMPLES) < 0.1).any(1)
    return torch.stack([torch.where(inside, -2.0, 2.0), torch.zeros(len(points))], 1)


@pytest.mark.parametrize(("segments", "directions"), [(1, 1), (2, 2), (3, 3), (8, 3)])
@pytest.mark.parametrize("ray_dim", [12, 20])
def test_as_many_segments_are_followed_as_are_asked_for_where_no_rays_are(segments, directions, ray_dim):
    x, ones = torch.zeros(1, 20), torch.ones(3, dtype=torch.long)
    ends = Ends.nearest(x, torch.zeros(1, dtype=torch.long), EXAMPLES, ones, targeted=False)
    oracle, asked = oracle_of(holes, x, ends=ends), []
    candidates = Candidates(torch.zeros(1, dtype=torch.long), torch.zeros(1, 20))
    rays = torch.randn(label_starts.RAYS, 20, generator=rng())
    own = label_starts._scanned

    def scanned(oracle, rows, directions, *others):
        asked.append(len(directions))
        return own(oracle, rows, directions, *others)

    reading = LabelReading(ray_dim=ray_dim, segments=segments)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label_starts, "_scanned", scanned)
        found = label_starts.label_starts(
            oracle, torch.zeros(1, dtype=torch.long), candidates, rays, torch.ones(1), reading=reading
        )
    follows_rays = ray_dim == 20
    assert asked == [2 * len(rays) + 3 if follows_rays else directions]
    assert float(found.length) == pytest.approx(0.95, abs=0.06)


@pytest.mark.parametrize("effort", ["brief", "quick", "default"])
def test_every_effort_reads_the_label_at_the_example_itself(effort):
    x, ones = torch.zeros(4, 20), torch.ones(3, dtype=torch.long)
    found = boundary_search(
        holes, x, torch.zeros(4, dtype=torch.long), examples=(EXAMPLES, ones), effort=effort, generator=rng(1)
    )
    assert found.distance.tolist() == pytest.approx(4 * [0.9], abs=0.01)


@pytest.mark.parametrize(("effort", "rounding"), [("brief", 1e-6), ("default", 1e-8)])
def test_results_do_not_depend_on_the_batch(effort, rounding):
    model, x, y, basis, _ = sheet(50, 8)
    search = partial(boundary_search, model, subspace=basis, examples=(x, y), effort=effort)
    whole = search(x, y, generator=rng(1))
    parts = [search(x[at : at + 7], y[at : at + 7], generator=rng(1)) for at in range(0, len(x), 7)]
    assert torch.allclose(torch.cat([part.distance for part in parts]), whole.distance, rtol=1e-4, atol=rounding)


@pytest.mark.parametrize("targeted", [False, True])
def test_ends_are_the_nearest_examples_of_other_classes_or_of_the_target(targeted):
    points, labels = torch.tensor([[1.0], [2.0], [3.0], [4.0], [5.0]]), torch.tensor([0, 1, 0, 1, 1])
    ends = Ends.nearest(torch.tensor([[0.0], [6.0]]), torch.tensor([0, 1]), points, labels, targeted=targeted)
    wanted = [[0, 2], [4, 3, 1]] if targeted else [[1, 3, 4], [2, 0]]
    for row, expected in enumerate(wanted):
        assert ends.index[row][ends.known[row]].tolist() == expected


@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("count", [1, 40])
def test_ends_are_those_of_a_naive_comparison_also_far_from_the_origin(offset, count):
    points = torch.randn(300, 6, generator=rng(3)).double() + offset
    x = torch.randn(count, 6, generator=rng(4)).double() + offset
    labels, own = torch.arange(300) % 3, torch.arange(count) % 3
    ends = Ends.nearest(x.float(), own, points.float(), labels, targeted=False)
    apart = torch.cdist(x.float().double(), points.float().double(), compute_mode="donot_use_mm_for_euclid_dist")
    expected = apart.masked_fill(labels == own[:, None], torch.inf).topk(3, largest=False).indices
    assert torch.equal(ends.index, expected)


@pytest.mark.parametrize("period", [1, 3, 4])
def test_of_many_examples_some_of_each_class_are_used(monkeypatch, period):
    monkeypatch.setattr(ends_module, "ENOUGH_EXAMPLES", 30)
    labels = torch.arange(120) // (120 // 4) if period == 1 else torch.arange(120) % period
    points = torch.arange(120.0)[:, None]
    used, kept = ends_module._some_of(points, labels)
    assert len(used) == len(kept) == 30
    assert torch.equal(torch.unique(kept), torch.unique(labels))
    assert bool((torch.bincount(kept) >= 30 / len(torch.unique(labels)) / 2).all())
    assert (used.untyped_storage().data_ptr() == points.untyped_storage().data_ptr()) == (period != 4)


def test_fewer_than_twice_enough_examples_are_all_used(monkeypatch):
    monkeypatch.setattr(ends_module, "ENOUGH_EXAMPLES", 30)
    used, _ = ends_module._some_of(torch.arange(59.0)[:, None], torch.zeros(59, dtype=torch.long))
    assert len(used) == 59


def test_labels_are_read_for_all_rows_at_once():
    rows, calls = 20, []
    frequency = 0.5 + 8 * torch.rand(rows, generator=rng(2))

    class Counted(Stripes):
        def margin(self, delta, these):
            calls.append(len(these))
            return super().margin(delta, these)

    directions = torch.nn.functional.normalize(torch.randn(4, rows, 3, generator=rng(1)), dim=2)
    lengths = torch.tensor([0.1, 0.3, 0.6, 1.0, 2.0]).expand(rows, -1)
    _, margin = label_starts._scanned(
        Counted(frequency), torch.arange(rows), directions, lengths, torch.full((rows,), torch.inf)
    )
    assert bool(torch.isfinite(margin).any())
    assert len(calls) <= 5 + label_starts.HALVINGS


def test_examples_without_a_label_each_are_refused():
    model, x, y, basis, _ = sheet(50, 8)
    with pytest.raises(AttackError, match="examples are 64 points with labels"):
        boundary_search(model, x, y, subspace=basis, examples=(x, y[:3]), generator=rng(1))
