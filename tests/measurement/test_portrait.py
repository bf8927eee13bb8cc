"""The plane of a portrait holds the classes of its points, however many of them are asked about at once."""

from __future__ import annotations

import pytest
import torch
import views

from dmmcheck.measurement import portrait


@pytest.mark.parametrize("values", [1, 3 * portrait.GRID * views.D, 1 << 24])
def test_the_classes_in_the_plane_are_those_of_its_points_in_pieces_of_any_size(monkeypatch, values):
    seen = views.view(views.subject(), 8)
    monkeypatch.setattr(portrait, "BATCH_VALUES", values)
    u, v = torch.randn((2, views.D), generator=torch.Generator().manual_seed(1))
    asked, labels = [], type(seen).labels
    monkeypatch.setattr(type(seen), "labels", lambda view, points: asked.append(len(points)) or labels(view, points))
    found = portrait._classes(seen, seen.x[0], u, v)
    along = torch.linspace(-1, 1, portrait.GRID).tolist()
    with torch.no_grad():
        for row, up in enumerate(along):
            expected = [int(seen.classifier.logits((seen.x[0] + up * v + on * u)[None]).argmax()) for on in along]
            assert list(found[row]) == expected
    assert len({label for row in found for label in row}) > 1
    assert sum(asked) == portrait.GRID**2
    assert max(asked) <= max(portrait.GRID, values // views.D)
