"""Rows are counted once for each pass, only while someone counts."""

from __future__ import annotations

import torch
from torch import nn

from dmmcheck.attacks.margins import margin_gradient
from dmmcheck.models.tally import TALLY, Tally
from dmmcheck.models.torch import adapt

X = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))


def test_a_margin_gradient_is_one_forward_pass_and_one_gradient_of_each_row():
    classifier = adapt(nn.Linear(3, 2), X)
    token = TALLY.set(Tally())
    margin_gradient(classifier, X, torch.zeros(5, dtype=torch.long))
    with torch.no_grad():
        classifier.logits(X[:2])
    seen = TALLY.get()
    TALLY.reset(token)
    classifier.logits(X)
    assert seen == Tally(forwards=7, gradients=5)
