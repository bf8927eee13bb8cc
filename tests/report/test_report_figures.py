"""The pictures of images: what their tiles show, read from the drawn file."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace

import matplotlib.image
import numpy as np
import pytest
import reports
from compared_reports import with_evidence

from dmmcheck.report import figures, html
from dmmcheck.report.model import Strip

GREY = {"shape": [2, 2], "image": [0.0, 1.0, 0.5, 0.0], "step": [0.0, 0.0, -0.1, 0.2]}
BYTES = {"shape": [1, 2, 3], "image": [0.0, 127.5, 255.0, 0.0, 0.0, 0.0], "step": [51.0, -102.0, 0.0, 0.0, 0.0, 25.5]}
CENTRED = {"shape": [1, 2, 3], "image": [-1.0, 0.0, 1.0, 1.0, 1.0, 1.0], "step": [0.5, 0.0, 0.0, 0.0, 0.0, 0.0]}


def refuted(picture):
    """A finding of the tier search with this picture of its counterexample."""
    found = {"input": 7, "labels": [3, 8], "length": 0.2236, "picture": picture}
    return replace(reports.ENERGY, tier="search", verdict="refuted", counterexample=found)


def source(picture):
    return base64.b64decode(picture.source.partition(",")[2]).decode()


def tiles(picture):
    """The colours of each tile, (height, width, 3) from 0 to 1; the file holds the rows from the bottom up."""
    found = []
    for packed in re.findall(r'href="data:image/png;base64,\s*([^"]+)"', source(picture)):
        image = matplotlib.image.imread(io.BytesIO(base64.b64decode(packed)), format="png")[..., :3]
        found.append(image[::-1])
    return found


def shown(tile, height, width):
    """The colours in the centres of height x width pixels."""
    rows = [int((row + 0.5) * tile.shape[0] / height) for row in range(height)]
    columns = [int((column + 0.5) * tile.shape[1] / width) for column in range(width)]
    return tile[np.ix_(rows, columns)]


def test_a_counterexample_is_shown_as_input_step_and_changed_input_with_both_labels():
    picture = figures.counterexample(refuted(GREY))
    before, step, after = (shown(tile, 2, 2)[..., 0] for tile in tiles(picture))
    assert before == pytest.approx(np.array([[0, 1], [0.5, 0]]), abs=0.01)
    assert step == pytest.approx(np.array([[0.5, 0.5], [0.25, 1]]), abs=0.01)
    assert after == pytest.approx(np.array([[0, 1], [0.4, 0.2]]), abs=0.01)
    texts = source(picture)
    for words in ("input, label 3", "step of length 0.224, magnified", "changed input, label 8"):
        assert words in texts
    assert picture.alt == (
        "Input 7 with the label 3, the step magnified, and the changed input with the label 8; the L2 length of the "
        "step is 0.224."
    )


@pytest.mark.parametrize(
    ("picture", "before", "step", "after"),
    [
        (BYTES, [[[0, 0.5, 1], [0, 0, 0]]], [[[0.75, 0, 0.5], [0.5, 0.5, 0.625]]], [[[0.2, 0.1, 1], [0, 0, 0.1]]]),
        (CENTRED, [[[0, 0.5, 1], [1, 1, 1]]], [[[1, 0.5, 0.5], [0.5, 0.5, 0.5]]], [[[0.25, 0.5, 1], [1, 1, 1]]]),
    ],
    ids=["0 to 255", "-1 to 1"],
)
def test_colours_of_any_range_are_shown_and_a_step_has_a_scale_of_its_own(picture, before, step, after):
    found = [shown(tile, 1, 2) for tile in tiles(figures.counterexample(refuted(picture)))]
    assert found == [pytest.approx(np.array(known), abs=0.01) for known in (before, step, after)]
    strip = Strip(
        input="a",
        shape=tuple(picture["shape"]),
        image=tuple(picture["image"]),
        steps={"free": tuple(picture["step"])},
        lengths={"free": 1.0},
    )
    again = [shown(tile, 1, 2) for tile in tiles(figures.strip(strip))]
    assert again == [pytest.approx(np.array(known), abs=0.01) for known in (before, after, step)]


@pytest.mark.parametrize("found", [None, {"picture": None}, {}], ids=["none", "no image", "an older report"])
def test_without_an_image_there_is_no_picture_of_a_counterexample(found):
    assert figures.counterexample(replace(reports.ENERGY, counterexample=found)) is None


def test_the_page_shows_the_picture_in_the_row_of_its_claim():
    report = replace(with_evidence(), findings=(refuted(GREY),))
    assert html.render(report).count("Input 7 with the label 3, the step magnified") == 1


@pytest.mark.parametrize(("off", "is_wider"), [(2.0, False), (0.00072, True)], ids=["short", "long"])
def test_numbers_with_many_digits_leave_room_for_the_name_of_the_axis(off, is_wider):
    found = replace(with_evidence().evidence.portrait, extent=(3.0, 1.5 * off), off=off)
    (first,) = re.findall(r'<g id="patch_2">\s*<path d="M ([0-9.]+)', source(figures.portrait(found)))
    assert (float(first) > 0.12 * figures.WIDTH * 72) == is_wider


def test_a_histogram_counts_as_numpy_does_with_values_beyond_the_ends_in_the_outermost_bars():
    values = np.random.default_rng(0).normal(size=500)
    counts, edges = figures._histogram(values.tolist(), (-1.0, 2.0))
    known, known_edges = np.histogram(values.clip(-1.0, 2.0), bins=figures.BINS, range=(-1.0, 2.0))
    assert counts == known.tolist()
    assert edges == pytest.approx(known_edges.tolist())


@pytest.mark.parametrize("is_enabled", [True, False])
def test_drawing_leaves_the_collection_of_garbage_as_it_was(monkeypatch, is_enabled):
    calls = []
    monkeypatch.setattr(figures.gc, "isenabled", lambda: is_enabled)
    monkeypatch.setattr(figures.gc, "disable", lambda: calls.append("disable"))
    monkeypatch.setattr(figures.gc, "enable", lambda: calls.append("enable"))
    figures.counterexample(refuted(GREY))
    assert calls == (["disable", "enable"] if is_enabled else ["disable"])
