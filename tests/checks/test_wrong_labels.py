"""What wrong-label networks are trained on, and how they are judged; with a trainer that records what it is given."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import views
from scipy import stats as scipy_stats

from dmmcheck.checks import wrong_labels
from dmmcheck.measurement.sample import predict
from dmmcheck.measurement.trainings import trainings_needed


class Recorder:
    """A trainer that records what it is given and returns networks of known quality."""

    def __init__(self, networks) -> None:
        self.given, self.networks = [], networks

    def __call__(self, x, y, seed):
        self.given.append((x, y, seed))
        return self.networks[len(self.given) % len(self.networks)]


@pytest.fixture
def trained():
    """A view, and what each condition hands to the trainer."""
    recorder = Recorder([views.network(9)])
    seen = views.view(views.subject(trainer=recorder, manifold=views.Local()), 40)

    def given(condition):
        wrong_labels._correct(seen, condition)
        x, y, _ = recorder.given[-1]
        return views.array(x), y.numpy()

    return seen, given


def test_no_example_keeps_its_label(trained):
    seen, given = trained
    own = seen.examples.y.numpy()
    assert np.all(given("random-targets")[1] != own)
    assert np.array_equal(given("next-class")[1], (own + 1) % views.CLASSES)


def test_random_targets_are_all_other_classes_alike():
    seen = views.view(views.subject())
    y = torch.arange(views.CLASSES).repeat(500)
    counts = torch.bincount((wrong_labels._wrong_classes(seen, y, "random") - y) % views.CLASSES)
    assert counts[0] == 0
    assert scipy_stats.chisquare(counts[1:].numpy()).pvalue > 1e-3


def test_examples_are_moved_into_the_class_of_their_label(trained):
    seen, given = trained
    x, targets = given("random-targets")
    clean = views.array(seen.examples.x)
    moved = np.linalg.norm(x - clean, axis=1) > 0
    assert moved.mean() > 0.9
    edge = torch.tensor(clean + (x - clean) / wrong_labels.STRETCH * 1.001, dtype=torch.float32)
    reached = predict(seen.classifier, edge).numpy() == targets
    assert reached[moved].mean() > 0.9


def test_the_vectors_of_the_controls_have_the_lengths_of_the_perturbations(trained):
    seen, given = trained
    clean = views.array(seen.examples.x)
    length = {name: np.linalg.norm(given(name)[0] - clean, axis=1) for name in wrong_labels.CONDITIONS}
    for name in ("noise", "normal-only", "tangent-only"):
        assert length[name] == pytest.approx(length["random-targets"], rel=1e-4), name
    assert np.sort(length["shuffled"]) == pytest.approx(np.sort(length["random-targets"]), rel=1e-4)
    labels = [given(name)[1].tolist() for name in wrong_labels.CONDITIONS if name != "next-class"]
    assert all(one == labels[0] for one in labels)


def test_parts_lie_in_the_tangent_and_the_normal_space_of_their_example(trained):
    seen, given = trained
    clean = seen.examples.x
    bases = views.array(views.Local().tangent_basis(clean))
    for name, expected in (("tangent-only", 1.0), ("normal-only", 0.0)):
        added = given(name)[0] - views.array(clean)
        share = [np.sum((basis.T @ v) ** 2) / np.sum(v**2) for v, basis in zip(added, bases, strict=True)]
        assert share == pytest.approx(np.full(len(added), expected), abs=1e-5)


def test_shuffled_perturbations_are_those_of_other_examples(trained):
    seen, given = trained
    clean = views.array(seen.examples.x)
    own, shuffled = (given(name)[0] - clean for name in ("random-targets", "shuffled"))
    order = [int(np.argmin(np.linalg.norm(own - delta, axis=1))) for delta in shuffled]
    assert sorted(order) == list(range(len(own)))
    assert np.mean(np.array(order) == np.arange(len(own))) < 0.2


def test_the_search_is_made_once_for_each_kind_of_target(monkeypatch):
    asked = []
    search = wrong_labels.boundary_search
    monkeypatch.setattr(wrong_labels, "boundary_search", lambda *a, **k: asked.append(1) or search(*a, **k))
    seen = views.view(views.subject(trainer=Recorder([views.network(9)])))
    for condition in wrong_labels.CONDITIONS:
        wrong_labels._correct(seen, condition)
    assert len(asked) == 2


def test_each_input_is_judged_by_one_network_and_each_network_is_a_replicate():
    networks = [views.network(seed) for seed in (0, 5, 6, 7, 8, 9)]
    seen = views.view(views.subject(trainer=Recorder(networks)), 40)
    evidence = wrong_labels.wrong_label_training(seen)
    sample = seen.measurement.sample
    count = trainings_needed(0.05)
    used = [networks[(number + 1) % 6] for number in range(count)]
    correct = np.stack([(predict_with(net, sample.x) == sample.y.numpy()).astype(float) for net in used])
    expected = [correct[i % count, i] for i in range(40)]
    assert evidence.values.tolist() == expected
    assert np.stack(evidence.replicates).tolist() == correct.tolist()
    assert (evidence.unit, evidence.replications) == ("training", 6)
    assert evidence.chance == pytest.approx(max(np.bincount(sample.y.numpy())) / len(sample.y))
    shares = sorted(correct.mean(1))
    middle = (shares[2] + shares[3]) / 2
    assert evidence.note == (
        f"random-targets: accuracy {middle:.2f}, from {shares[0]:.2f} to {shares[-1]:.2f} in 6 trainings"
    )


def test_networks_are_trained_once_for_all_claims_and_as_many_as_the_strictest_needs():
    recorder = Recorder([views.network(9)])
    seen = views.view(views.subject(trainer=recorder), 40)
    wrong_labels.wrong_label_training(seen)
    assert len(recorder.given) == 6
    wrong_labels.wrong_label_training(replace(seen, alpha=0.004))
    assert [seed for _, _, seed in recorder.given] == list(range(trainings_needed(0.004))) == list(range(10))


def predict_with(network, x):
    with torch.no_grad():
        return network(x).argmax(1).numpy()


def test_a_comparison_counts_inputs_on_which_two_networks_differ(monkeypatch):
    seen = views.view(views.subject(trainer=Recorder([views.network(9)])), 40)
    rng = np.random.default_rng(0)
    tables = {
        name: (rng.random((5, 48)) < rate).astype(float) for name, rate in (("random-targets", 0.8), ("noise", 0.4))
    }
    monkeypatch.setattr(wrong_labels, "_correct", lambda view, condition: tables[condition])
    monkeypatch.setattr(wrong_labels, "_new", lambda view, *conditions: list(range(5)))
    evidence = wrong_labels.wrong_label_beyond_noise(seen)
    one, other = tables["random-targets"], tables["noise"]
    expected = [one[i % 5, i] for i in range(40) if one[i % 5, i] != other[i % 5, i]]
    assert evidence.values.tolist() == expected
    wins = [[one[net, i] for i in range(48) if one[net, i] != other[net, i]] for net in range(5)]
    assert [row.tolist() for row in evidence.replicates] == wins


@pytest.mark.parametrize(
    ("networks", "expected"),
    [((0, 0, 0), "supported"), ((0, 9, 21), "inconclusive")],
    ids=["all correct", "one of three correct"],
)
def test_one_good_network_among_bad_ones_gives_no_verdict(networks, expected):
    trained = [views.Scaled(views.network(seed), factor=1.0 + number) for number in range(4) for seed in networks]
    for number, model in enumerate(trained):
        model.factor += 0.1 * number  # each differs from the others, and has the labels of its seed
    subject = views.subject(samples=128, trainer=Recorder(trained))
    assert views.finding(subject, "wrong-label-training-mechanism-builtin", samples=128).verdict == expected


@pytest.mark.parametrize("claim", ["mechanism-builtin", "controlled-shuffled"])
def test_a_trainer_that_ignores_its_seed_gives_one_training(claim):
    subject = views.subject(samples=64, trainer=Recorder([views.network(0)]))
    finding = views.finding(subject, f"wrong-label-training-{claim}")
    assert finding.verdict == "inconclusive"
    assert "trainings, and there are 1, since networks that are alike count once" in finding.reason
