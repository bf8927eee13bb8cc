"""A standard and a robust model, in closed form and without the inputs that one of them misclassifies."""

from __future__ import annotations

import pytest
import views

from dmmcheck import worlds
from dmmcheck.checks import adversarial_training, energy
from dmmcheck.measurement.sample import predict


def test_adversarial_training_deepens_by_the_ratio_of_the_depths():
    world = worlds.pair(standard=0.1, robust=0.3, seed=0, ambient_dim=16, dim=3, samples=48)
    seen = views.view(world.subject)
    assert adversarial_training.adversarial_training_deepens(seen).values == pytest.approx(3, rel=0.02)
    assert adversarial_training.deepening_is_the_main_effect(seen).values == pytest.approx(3, rel=0.03)


def test_a_pair_leaves_out_what_either_model_misclassifies_and_ignores_the_scale_of_logits():
    subject = views.subject(robust=views.network(1))
    seen = views.view(subject, 40)
    correct = predict(seen.paired_model("robust").classifier, seen.x) == seen.y
    evidence = adversarial_training.adversarial_training_deepens(seen)
    assert 0 < len(evidence.values) == int(correct.sum()) < 40
    scaled = views.subject(robust=views.Scaled(views.network(1), factor=10.0))
    again = adversarial_training.adversarial_training_deepens(views.view(scaled, 40))
    assert again.values == pytest.approx(evidence.values, rel=1e-3)
    turned = adversarial_training.robust_turns_tangential(seen).values
    shares = [
        1 - energy.off_manifold_energy(seen.paired_model(name)).values[correct.numpy()]
        for name in ("robust", "standard")
    ]
    assert turned == pytest.approx(shares[0] - shares[1], abs=1e-6)
