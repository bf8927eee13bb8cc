"""The inputs must not be among the points that the manifold was fitted on."""

from __future__ import annotations

from dataclasses import replace

import contexts
import torch

from dmmcheck.soundness import data


def test_it_fails_where_an_input_was_fitted_on_and_passes_without():
    def overlapping(context):
        return replace(context, training_points=torch.cat([context.x_pool, context.x[:1]]))

    contexts.assert_fails_for_its_own_reason("disjoint", data.disjoint, overlapping)
    item = contexts.asked(data.disjoint, overlapping(contexts.plain()))["disjoint"]
    assert item.value == 1
    assert item.message.startswith("1 of 32 inputs are among the points that the manifold was fitted on (limit 0); fit")


def test_unknown_training_points_are_informational():
    item = contexts.asked(data.disjoint, replace(contexts.plain(), training_points=None))["disjoint"]
    assert item.ok is None
    assert "not known; give x_train" in item.message
