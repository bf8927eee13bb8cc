"""Each question against a naive reference, input after input, or against a closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import views

from dmmcheck import worlds
from dmmcheck.checks import adversarial_training as pair
from dmmcheck.checks import classes, distance, energy, training
from dmmcheck.checks import parts as points
from dmmcheck.config.settings import Settings
from dmmcheck.measurement import geodesic as paths
from dmmcheck.measurement.sample import predict
from dmmcheck.run import Run

SMALL = {"ambient_dim": 16, "dim": 3, "samples": 48}
STRETCH = 1.5


@pytest.fixture(scope="module", params=["shared", "local"])
def seen(request):
    manifold = views.Local() if request.param == "local" else None
    return views.view(views.subject(manifold=manifold), 40)


def reference(seen, question):
    """One value an input, from its own x, y, smallest step and tangent basis."""
    x, steps, bases = views.array(seen.x), views.array(seen.step("free")), views.bases(seen)
    return [question(x[i], int(seen.y[i]), steps[i], bases[i]) for i in range(seen.n)]


def test_off_manifold_energy_is_the_share_left_by_the_tangent_part(seen):
    expected = reference(seen, lambda x, y, d, T: 1 - np.sum(views.tangent_part(d, T) ** 2) / np.sum(d**2))
    assert energy.off_manifold_energy(seen).values == pytest.approx(expected, abs=1e-5)


def test_boundary_parallel_takes_the_gradient_at_the_crossing(seen):
    logits_of = seen.measure.classifier.logits
    expected = []
    for point, y, basis in zip(seen.crossing("free").point, seen.y, views.bases(seen), strict=True):
        leaf = point.detach().clone().requires_grad_(True)
        logits = logits_of(leaf[None])[0]
        (logits[y] - torch.cat([logits[:y], logits[y + 1 :]]).max()).backward()
        gradient = views.array(leaf.grad)
        expected.append(1 - np.sum(views.tangent_part(gradient, basis) ** 2) / np.sum(gradient**2))
    assert energy.boundary_parallel(seen).values == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("angle", [20.0, 70.0])
def test_a_hyperplane_has_the_distances_and_shares_of_its_angle(angle):
    seen = views.view(worlds.hyperplane(angle=angle, seed=0, **SMALL).subject)
    sine, cosine = math.sin(math.radians(angle)), math.cos(math.radians(angle))
    assert energy.off_manifold_energy(seen).values == pytest.approx(np.full(48, sine**2), abs=1e-4)
    assert energy.boundary_parallel(seen).values == pytest.approx(np.full(48, sine**2), abs=1e-4)
    assert distance.on_manifold_distance(seen).values == pytest.approx(np.full(48, sine / cosine), rel=1e-2)
    assert distance.on_manifold_distance_controlled(seen).values == pytest.approx(np.full(48, 1 / cosine), rel=1e-2)
    assert distance.off_manifold_suffices(seen).values == pytest.approx(np.full(48, 1 / sine), rel=1e-2)


def test_boundary_clings_halves_the_way_to_the_nearest_example_of_another_class(seen):
    examples, labels = views.array(seen.measure.examples.x), seen.measure.examples.y.numpy()
    normal = seen.distance("normal")
    expected = [
        normal[i] / (min(np.linalg.norm(e - x) for e, label in zip(examples, labels, strict=True) if label != y) / 2)
        for i, (x, y) in enumerate(zip(views.array(seen.x), seen.y.tolist(), strict=True))
    ]
    assert distance.boundary_clings(seen).values == pytest.approx(expected, rel=1e-4)


def test_boundary_clings_is_held_against_the_reach_of_a_random_network_too(seen):
    evidence = distance.boundary_clings_controlled(seen)
    reach = np.linalg.norm(views.array(seen.x), axis=1) / math.sqrt(views.D)
    assert evidence.values == pytest.approx(seen.distance("normal") / reach, rel=1e-5)
    assert evidence.chance == 1.0


def test_boundary_clings_compares_with_every_untrained_twin():
    seen = views.view(views.subject(factory=views.network), 32)
    evidence = distance.boundary_clings_mechanism(seen)
    twins = np.stack([twin.distance("normal") for twin in seen.untrained()])
    own = seen.distance("normal")
    assert len(np.unique(twins.round(6), axis=0)) == 8
    assert evidence.values == pytest.approx(own / np.median(twins, axis=0))
    assert evidence.draws == pytest.approx(np.median(own / twins, axis=1))


def test_intrinsic_distance_is_the_shortest_path_in_the_neighbour_graph(seen):
    inputs, examples = views.array(seen.x), views.array(seen.measure.examples.x)
    everything = np.concatenate([inputs, examples])
    apart = np.linalg.norm(everything[:, None] - everything[None], axis=-1)
    paths_of = np.full_like(apart, np.inf)
    for i, row in enumerate(apart):
        near = [j for j in np.argsort(row) if j != i][: paths.NEIGHBOURS]
        paths_of[i, near] = paths_of[near, i] = row[near]
    np.fill_diagonal(paths_of, 0)
    for middle in range(len(everything)):  # Floyd and Warshall
        paths_of = np.minimum(paths_of, paths_of[:, middle, None] + paths_of[None, middle])
    labels = seen.measure.examples.y.numpy()
    expected = [paths_of[i, len(inputs) :][labels != y].min() for i, y in enumerate(seen.y.tolist())]
    assert np.isfinite(expected).all()
    assert paths.intrinsic_distance(seen) == pytest.approx(expected, rel=1e-5)
    assert distance.dimples_shallow(seen).values == pytest.approx(seen.distance("normal") / expected, rel=1e-4)


def test_intrinsic_distance_does_without_training_examples():
    seen = views.view(views.subject(x_train=None, y_train=None), 32)
    straight, _ = seen.nearest_other_class()
    assert np.all(paths.intrinsic_distance(seen) >= straight * (1 - 1e-6))


def test_training_points_are_searched_like_held_out_ones():
    subject = views.subject()
    seen = views.view(subject, 32)
    evidence = distance.dimples_deeper_at_training_points(seen)
    trained = seen.training()
    known = {row.tobytes() for row in subject.x_train.numpy()}
    assert all(row.tobytes() in known for row in trained.x.numpy())
    assert evidence.values == pytest.approx(trained.distance("normal") / seen.distance("normal"))


def flips(seen, x, y, part, length):
    size = np.linalg.norm(part)
    return float(size > 0 and views.label(seen, x + length * part / size) != y)


def test_component_flips_counts_inputs_that_one_part_alone_flips(seen):
    def question(x, y, d, basis):
        on = views.tangent_part(d, basis)
        length = STRETCH * np.linalg.norm(d)
        return flips(seen, x, y, d - on, length), flips(seen, x, y, on, length)

    expected = [off for off, on in reference(seen, question) if off != on]
    evidence = points.component_flips(seen)
    assert evidence.values.tolist() == expected
    assert evidence.summary == "mean"
    assert len(expected) > 0


def adversarial(seen, x, y, d):
    far = x + STRETCH * d
    crossing = views.array(seen.crossing("free").point)
    return far if views.label(seen, far) != y else crossing[np.argmin(np.linalg.norm(crossing - x - d, axis=1))]


def test_projection_restores_what_the_projected_clean_input_is(seen):
    project = seen.measure.field.manifold.project_point

    def projected(point):
        return views.array(project(torch.tensor(point, dtype=torch.float32)[None]))[0]

    def stated(x, y, d, basis):
        return views.label(seen, projected(adversarial(seen, x, y, d))) == views.label(seen, projected(x))

    def controlled(x, y, d, basis):
        clean = projected(x)
        moved = clean + views.tangent_part(adversarial(seen, x, y, d) - clean, basis)
        return views.label(seen, moved) == views.label(seen, clean)

    assert points.projection_restores(seen).values.tolist() == reference(seen, stated)
    assert points.projection_restores_controlled(seen).values.tolist() == reference(seen, controlled)


def towards(seen, x, arm):
    examples, labels = views.array(seen.measure.examples.x), seen.measure.examples.y.numpy()
    place = np.argmin(np.linalg.norm(views.array(seen.x) - x, axis=1))
    logits = seen.measure.classifier.logits(seen.crossing(arm).point[place][None])[0].tolist()
    y = int(seen.y[place])
    members = examples[labels == max((z, c) for c, z in enumerate(logits) if c != y)[1]]
    return members[np.argmin(np.linalg.norm(members - x, axis=1))] - x


def test_noise_like_looks_at_the_class_that_each_step_leads_to(seen):
    x = views.array(seen.x)
    likeness = [
        [
            views.cosine(step, towards(seen, here, arm))
            for here, step in zip(x, views.array(seen.step(arm)), strict=True)
        ]
        for arm in ("tangent", "normal")
    ]
    assert points.noise_like(seen).values == pytest.approx(np.subtract(*likeness), abs=1e-4)


def test_noise_like_compares_the_tangent_part_with_a_random_tangent_direction(seen):
    noise = iter(views.array(seen.noise("noise-like")))

    def question(x, y, d, basis):
        way = towards(seen, x, "free")
        parts = (views.tangent_part(v, basis) for v in (d, next(noise)))
        return np.subtract(*(views.cosine(part, way) for part in parts))

    assert points.noise_like_controlled(seen).values == pytest.approx(reference(seen, question), abs=1e-4)


def test_every_class_near_leaves_out_the_own_class(seen):
    aimed, found = seen.targeted("free")
    assert aimed == tuple(range(views.CLASSES))
    table = np.stack([crossing.distance.numpy() for crossing in found])
    expected = []
    for i, y in enumerate(seen.y.tolist()):
        others = [table[c, i] for c in aimed if c != y]
        expected.append(max(others) / min(others))
    assert classes.every_class_near(seen).values == pytest.approx(expected)
    assert np.all(classes.every_class_near(seen).values >= 1)


def naive_pairs(x, y):
    """The closest pair of different labels, again and again, among those not yet taken."""
    free, pairs = set(range(len(x))), []
    while True:
        candidates = [(np.linalg.norm(x[a] - x[b]), a, b) for a in free for b in free if a < b and y[a] != y[b]]
        if not candidates:
            return pairs
        _, a, b = min(candidates)
        pairs.append((a, b))
        free -= {a, b}


def test_shared_sheet_pairs_each_input_once_and_takes_off_what_other_classes_do(seen):
    seen = seen.measure.view(32)
    x, y, bases = views.array(seen.x), seen.y.tolist(), views.bases(seen)
    aimed, found = seen.targeted("free")
    steps = np.stack([views.array(crossing.point) - x for crossing in found])

    def normal(c, i):
        return steps[c, i] - views.tangent_part(steps[c, i], bases[i])

    expected = []
    for a, b in naive_pairs(x, y):
        own = views.cosine(normal(y[b], a), normal(y[a], b))
        others = [
            views.cosine(normal(c, a), normal(d, b))
            for c in aimed
            for d in aimed
            if c != d and c != y[a] and d != y[b] and (c, d) != (y[b], y[a])
        ]
        expected.append(own - np.mean(others))
    evidence = classes.shared_sheet(seen)
    assert len(evidence.values) <= 16
    assert evidence.values == pytest.approx(expected, abs=1e-3)


def test_two_classes_have_no_others_to_compare_with():
    seen = views.view(worlds.sheets(seed=0, **SMALL).subject, 32)
    assert classes.shared_sheet(seen).values == pytest.approx(-1, abs=1e-4)


def test_adversarial_training_deepens_by_the_ratio_of_the_depths():
    seen = views.view(worlds.pair(standard=0.1, robust=0.3, seed=0, **SMALL).subject)
    assert pair.adversarial_training_deepens(seen).values == pytest.approx(3, rel=0.02)
    assert pair.deepening_is_the_main_effect(seen).values == pytest.approx(3, rel=0.03)


def test_pairs_leave_out_what_either_model_gets_wrong_and_are_blind_to_temperature():
    subject = views.subject(robust=views.network(1))
    seen = views.view(subject, 40)
    right = predict(seen.measure.twin("robust").classifier, seen.x) == seen.y
    evidence = pair.adversarial_training_deepens(seen)
    assert 0 < len(evidence.values) == int(right.sum()) < 40
    hot = views.subject(robust=torch.nn.Sequential(views.network(1), Times(10.0)))
    assert pair.adversarial_training_deepens(views.view(hot, 40)).values == pytest.approx(evidence.values, rel=1e-3)
    turned = pair.robust_turns_tangential(seen).values
    shares = [1 - energy.off_manifold_energy(seen.twin(name)).values[right.numpy()] for name in ("robust", "standard")]
    assert turned == pytest.approx(shares[0] - shares[1], abs=1e-6)


class Times(torch.nn.Module):
    """Logits by a factor."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.factor * x


def test_normal_gradient_growth_is_relative_to_the_spread_of_the_margin():
    seen = views.view(views.subject(factory=views.network), 20)

    def parts(under):
        gradient = views.array(under.input_gradient())
        on = np.stack([views.tangent_part(g, basis) for g, basis in zip(gradient, views.bases(seen), strict=True)])
        spread = np.std(under.measure.view().margins().numpy(), ddof=1)
        return np.linalg.norm(gradient - on, axis=1) / spread, np.linalg.norm(on, axis=1) / spread

    own, twins = parts(seen), [parts(twin) for twin in seen.untrained()]
    middle = np.median([twin[0] for twin in twins], axis=0)
    assert training.normal_gradient_growth(seen).values == pytest.approx(own[0] / middle, rel=1e-3)
    shares = np.median([twin[0] / twin[1] for twin in twins], axis=0)
    assert training.normal_gradient_outgrows_tangent(seen).values == pytest.approx(own[0] / own[1] / shares, rel=1e-3)


@pytest.mark.parametrize(
    ("depths", "phases"),
    [
        ((1.0, 0.5, 0.2, 0.1, 0.12, 0.16, 0.2, 0.25, 0.3), 1.6),  # 0.16 at step 500, past the half, over 0.1
        ((1.0, 0.1, 0.3, 0.2, 0.2), 2.0),
        ((0.3, 0.25, 0.2, 0.16, 0.12, 0.1, 0.2, 0.5, 1.0), 0.1 / 0.12),  # reversed: still falling in the second half
        ((0.2,) * 6, 1.0),
    ],
)
def test_two_phases_is_the_least_of_fall_and_lasting_rise(depths, phases):
    seen = views.view(worlds.training(depths=depths, seed=0, **SMALL).subject, 48)
    evidence = training.two_phases(seen)
    assert len(evidence.values) == 24
    assert evidence.values == pytest.approx(np.full(24, phases), rel=0.02)
    assert "accuracy there and at the ends" in evidence.note


def test_three_checkpoints_cannot_show_two_phases():
    run = Run(worlds.training(depths=(1.0, 0.1, 0.3), seed=0, **SMALL).subject, Settings())
    planned = next(one for one in run.planned if one.id == "two-phases-mechanism-builtin")
    run.soundness = ()
    finding = run.finding(planned)
    assert finding.verdict == "inconclusive"
    assert "at least 5" in finding.reason
