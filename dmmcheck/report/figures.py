"""The figures of the HTML report, drawn by matplotlib as small vector images with alt texts that state the numbers."""

from __future__ import annotations

import base64
import gc
import io
import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

from dmmcheck.report import wording
from dmmcheck.report.model import Finding, InputEvidence, Portrait, Report, Strip, SubjectSummary

COLOURS = {"free": "#000000", "on": "#0072B2", "off": "#D55E00", "random": "#7F7F7F"}
"""Colours of Okabe and Ito, which people with any common form of colour blindness can tell apart; dashes differ too."""
DASHES = {"free": "-", "on": "--", "off": "-.", "random": ":"}
NAMES = {"free": "anywhere", "on": "on the manifold", "off": "off the manifold", "random": "in a random subspace"}
OWN, CHANCE, LIMIT = "#D55E00", "#7F7F7F", "#0072B2"
BINS = 30
MOST_POINTS = 400  # of a scatter plot
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "dmmcheck",
    "font.family": "sans-serif",
}
STYLE |= {"axes.titley": 1.0}  # finding a place for titles is slow
STYLE |= {"axes.spines.top": False, "axes.spines.right": False, "text.parse_math": False}
STYLE |= {"figure.subplot.left": 0.11, "figure.subplot.right": 0.98}
WIDTH, HEIGHT = 5.6, 2.3  # inches
MISSING = "The figures are left out: matplotlib is not installed (pip install 'dmmcheck[report]')."


@dataclass(frozen=True)
class Picture:
    """A figure of the page.

    Attributes:
        source: The image as a data URI.
        alt: What it shows, with the numbers.
        caption: How to read it.
    """

    source: str
    alt: str
    caption: str


def is_available() -> bool:
    """Return whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def distances(evidence: InputEvidence) -> Picture | None:
    """Return a figure of the distribution of distances in each search space; None where no distance is finite."""
    known = {arm: _finite(evidence.distances[arm]) for arm in COLOURS if arm in evidence.distances}
    known = {arm: sorted(values) for arm, values in known.items() if values}
    if not known:
        return None

    def draw(axes: Any) -> None:
        for arm, values in known.items():
            shown = _thinned(values)
            total = len(evidence.distances[arm])
            shares = [(len(values) * (i + 1) / len(shown)) / total for i in range(len(shown))]
            axes.step(shown, shares, where="post", color=COLOURS[arm], linestyle=DASHES[arm], label=NAMES[arm])
        axes.set(xlabel="L2 distance to the nearest label change", ylabel="share of inputs", ylim=(0, 1.02))
        axes.set_xlim(0, max(values[(19 * (len(values) - 1)) // 20] for values in known.values()))
        axes.legend(frameon=False, fontsize=8)

    medians = ", ".join(f"{NAMES[arm]} {wording.number(_median(evidence.distances[arm]))}" for arm in known)
    return _picture(
        draw,
        alt=f"Distances to the nearest label change. Medians: {medians}.",
        caption="Each curve shows for what share of the inputs a label change lies nearer than the distance. A curve "
        "farther to the left means that smaller perturbations suffice.",
    )


def values(finding: Finding) -> Picture | None:
    """Return a figure of the statistic of each input, with the estimate and the threshold; None without values."""
    known = sorted(_finite(finding.values))
    if len(known) < 2 or finding.unit == "rate":
        return None
    low, high = _middle_range(known, finding.threshold)

    def draw(axes: Any) -> None:
        axes.stairs(*_histogram(known, (low, high)), color=CHANCE, fill=True)
        _mark(axes, finding.estimate, OWN, "-", "estimate", ends=(low, high))
        if finding.interval is not None:
            ends = [min(max(end, low), high) for end in finding.interval]
            axes.axvspan(*ends, color=OWN, alpha=0.25, linewidth=0)
        _mark(axes, finding.threshold, LIMIT, "--", f"asked: {wording.threshold(finding)}", ends=(low, high))
        axes.set(xlabel=finding.statistic[:70], ylabel="share of inputs", yticks=[])
        axes.legend(frameon=False, fontsize=8)

    asked = f", asked for is {wording.threshold(finding)}" if finding.threshold is not None else ""
    return _picture(
        draw,
        alt=f"{finding.statistic} of {len(finding.values)} inputs: estimate {wording.number(finding.estimate)} "
        f"{wording.interval(finding.interval)}{asked}.",
        caption="The bars count inputs; values beyond the ends stand in the outermost bars. The claim is about the "
        "middle of the inputs, so the band of the estimate must lie on the asked side of the dashed line.",
    )


def draws(finding: Finding) -> Picture | None:
    """Return a figure of this model's statistic among the draws of the control; None without draws."""
    known, own = _finite(finding.draws), finding.estimate
    if len(known) < 2 or own is None or not math.isfinite(own) or finding.control is None:
        return None
    low, high = min(*known, own), max(*known, own)
    room = 0.03 * (high - low) or 0.5

    def draw(axes: Any) -> None:
        axes.stairs(*_histogram(known, (low - room, high + room)), color=CHANCE, fill=True, label="draws of chance")
        _mark(axes, own, OWN, "-", "this model", ends=(low - room, high + room))
        axes.set(xlabel=finding.statistic[:70], ylabel="share of draws", yticks=[])
        axes.legend(frameon=False, fontsize=8)

    beyond = sum(value >= own for value in known)
    return _picture(
        draw,
        alt=f"This model at {wording.number(own)} among {len(known)} draws of {finding.control.name}, of which "
        f"{beyond} are at least as large; their median is {wording.number(finding.control.estimate)}.",
        caption="Grey: the same number for draws of a control that knows nothing of this model. A model among the grey "
        "bars is like chance.",
    )


def by_dimension(finding: Finding, subject: SubjectSummary | None) -> Picture | None:
    """Return a figure of the energy off estimates of other dimensions k, beside the share that chance gives."""
    known = sorted((k, value) for k, value in (finding.dim_estimates or {}).items() if math.isfinite(value))
    if len(known) < 2 or subject is None or not finding.statistic.startswith("rho_N"):
        return None
    dims = [k for k, _ in known]
    chance = [1 - k / subject.ambient_dim for k in dims]

    def draw(axes: Any) -> None:
        axes.plot(dims, [value for _, value in known], "o-", color=OWN, label="this model")
        axes.plot(dims, chance, "s:", color=CHANCE, label="chance, 1 - k / D")
        if finding.threshold is not None:
            axes.axhline(finding.threshold, color=LIMIT, linestyle="--", label=f"asked: {wording.threshold(finding)}")
        axes.set(xlabel="dimension k of the manifold estimate", ylabel="estimate", xticks=dims)
        axes.legend(frameon=False, fontsize=8)

    points = ", ".join(f"{wording.number(value)} at k = {k}" for k, value in known)
    beside = f"chance falls from {wording.number(chance[0])} to {wording.number(chance[-1])}"
    return _picture(
        draw,
        alt=f"{finding.statistic} by dimension: {points}; {beside}.",
        caption="Does the claim depend on k?",
    )


def trajectory(finding: Finding) -> Picture | None:
    """Return a figure of d_off along the checkpoints of a training, with its lowest point; None without any."""
    known = [one for one in finding.trajectory if math.isfinite(one.median)]
    if len(known) < 2:
        return None
    lowest = min(known, key=lambda one: one.median)
    steps = [one.step for one in known]

    def draw(axes: Any) -> None:
        axes.fill_between(
            steps,
            [one.low for one in known],
            [_capped(one.high, one.median) for one in known],
            color=OWN,
            alpha=0.2,
            linewidth=0,
            label="central half of the inputs",
        )
        axes.plot(steps, [one.median for one in known], "o-", color=OWN, label="median d_off")
        axes.axvline(lowest.step, color=LIMIT, linestyle="--", label=f"lowest at step {lowest.step:g}")
        axes.set(xlabel="training step", ylabel="d_off", ylim=(0, None))
        axes.legend(frameon=False, fontsize=8)

    points = ", ".join(f"{wording.number(one.median)} at step {one.step:g}" for one in known)
    return _picture(
        draw,
        alt=f"Median d_off along the training: {points}; lowest at step {lowest.step:g}.",
        caption="The boundary first comes nearer to the data, then moves away, where training has two phases.",
    )


def residuals(evidence: InputEvidence) -> Picture | None:
    """Return a figure of each input's distance from the manifold beside that to the boundary off the manifold."""
    off = evidence.distances.get("off", ())
    pairs = [(r, d) for r, d in zip(evidence.residuals, off, strict=False) if math.isfinite(r) and math.isfinite(d)]
    if len(pairs) < 2:
        return None
    larger = sum(r > d for r, d in pairs)
    shown = _thinned(pairs)

    def draw(axes: Any) -> None:
        axes.plot(*zip(*shown, strict=True), "o", color=OWN, alpha=0.5, markersize=3, markeredgewidth=0)
        end = max(max(pair) for pair in shown)
        axes.plot([0, end], [0, end], color=LIMIT, linestyle="--", label="equal")
        axes.set(xlabel="distance from the manifold estimate", ylabel="d_off", xlim=(0, None), ylim=(0, None))
        axes.legend(frameon=False, fontsize=8)

    return _picture(
        draw,
        alt=f"Distance from the manifold estimate beside d_off for {len(pairs)} inputs; for {larger} of them the "
        "estimate is farther away than the boundary.",
        caption="Below the dashed line the error of the manifold estimate is larger than the distance to the boundary, "
        "so on and off the manifold are hard to tell apart there.",
    )


def portrait(found: Portrait) -> Picture:
    """Return a figure of the classes in the plane through an input, for the model under test and for others."""
    grids = {"this model": found.classes, **found.others}
    labels = sorted({label for grid in grids.values() for row in grid for label in row})
    along, across = found.extent

    def draw(figure: Any) -> None:
        for number, (name, grid) in enumerate(grids.items()):
            axes = figure.add_subplot(1, len(grids), number + 1)
            codes = [[labels.index(label) for label in row] for row in grid]
            axes.imshow(
                codes,
                origin="lower",
                extent=(-along, along, -across, across),
                aspect="auto",
                cmap="cividis",
                vmin=0,
                vmax=max(1, len(labels) - 1),
                interpolation="nearest",
                alpha=0.75,
            )
            axes.plot(0, 0, "o", color="white", markeredgecolor="black", label="input")
            if number == 0:
                axes.plot(found.on, 0, ">", color="white", markeredgecolor=COLOURS["on"], label="crossing on")
                axes.plot(0, found.off, "^", color="white", markeredgecolor=COLOURS["off"], label="crossing off")
                axes.set_ylabel("off the manifold")
                axes.legend(fontsize=7, loc="lower left")
            axes.set_title(name[:30], fontsize=9)
            axes.set_xlabel("along the manifold")

    others = f", beside {', '.join(found.others)}" if found.others else ""
    return Picture(
        _source(draw, width=WIDTH if len(grids) < 3 else 1.4 * WIDTH, height=2.7),
        alt=f"Classes in the plane through one input{others}: along the manifold the label changes at a distance of "
        f"{wording.number(found.on)}, off the manifold at {wording.number(found.off)}.",
        caption="Each colour is a class. The horizontal axis runs along the manifold, the vertical one off it; their "
        "scales differ, and both are in units of the input. The boundary that bends around the input is its dimple.",
    )


def strip(found: Strip) -> Picture:
    """Return a figure of an image, the image with the smallest step in each search space, and the steps magnified."""
    image, low, high = _rows(found.image, found.shape), min(found.image), max(found.image)

    def draw(figure: Any) -> None:
        columns = 1 + len(found.steps)
        _tile(figure, (2, columns, 1), image, "x", ends=(low, high))
        for number, (arm, step) in enumerate(found.steps.items()):
            moved = _moved(found.image, step, found.shape)
            _tile(figure, (2, columns, 2 + number), moved, f"x + {arm}", ends=(low, high))
            _step_tile(figure, (2, columns, columns + 2 + number), step, found.shape, f"{arm}, magnified")

    lengths = ", ".join(f"{NAMES[arm]} {wording.number(length)}" for arm, length in found.lengths.items())
    return Picture(
        _source(draw, width=WIDTH, height=3.0),
        alt=f"An image and the smallest steps that change its label; L2 lengths: {lengths}.",
        caption="Above: the image, and the image after each step. Below: the steps alone, each on its own scale.",
    )


def counterexample(finding: Finding) -> Picture | None:
    """Return a figure of a counterexample: image, step and changed image; None without a counterexample or image."""
    found = finding.counterexample or {}
    if not found.get("picture"):
        return None
    image, step, shape = (found["picture"][name] for name in ("image", "step", "shape"))
    before, after = found["labels"]
    ends = (min(image), max(image))

    def draw(figure: Any) -> None:
        _tile(figure, (1, 3, 1), _rows(image, shape), f"input, label {before}", ends=ends)
        _step_tile(figure, (1, 3, 2), step, shape, f"step of length {wording.number(found['length'])}, magnified")
        _tile(figure, (1, 3, 3), _moved(image, step, shape), f"changed input, label {after}", ends=ends)

    return Picture(
        _source(draw, width=WIDTH, height=HEIGHT),
        alt=f"Input {found['input']} with the label {before}, the step magnified, and the changed input with the label "
        f"{after}; the L2 length of the step is {wording.number(found['length'])}.",
        caption="The simplest counterexample that the search found. The step has a scale of its own, on which medium "
        "grey is no change.",
    )


def _moved(image: Sequence[float], step: Sequence[float], shape: Sequence[int]) -> Any:
    """Add a step to an image, both as values in a row, and return the sum as rows of pixels."""
    return _rows([a + b for a, b in zip(image, step, strict=True)], shape)


def _step_tile(
    figure: Any, place: tuple[int, int, int], step: Sequence[float], shape: Sequence[int], title: str
) -> None:
    """Draw a step alone, magnified so that medium grey is no change and its largest part is black or white."""
    largest = max(map(abs, step)) or 1.0
    shown = [0.5 + value / (2 * largest) for value in step]
    _tile(figure, place, _rows(shown, shape), title, ends=(0.0, 1.0))


def _tile(figure: Any, place: tuple[int, int, int], pixels: Any, title: str, *, ends: tuple[float, float]) -> None:
    """Draw pixels without axes; colours beyond [0, 1] are brought to this range by the ends of the image's values."""
    low, high = min(ends[0], 0.0), max(ends[1], 1.0)
    axes = figure.add_subplot(*place)
    is_colour = isinstance(pixels[0][0], list)
    if is_colour:
        scaled = [[[(value - low) / (high - low) for value in pixel] for pixel in row] for row in pixels]
        pixels = [[[min(max(value, 0.0), 1.0) for value in pixel] for pixel in row] for row in scaled]
    axes.imshow(pixels, cmap=None if is_colour else "gray", vmin=ends[0], vmax=ends[1], interpolation="nearest")
    axes.set_title(title, fontsize=8)
    axes.set_axis_off()


def _rows(values: Sequence[float], shape: Sequence[int]) -> Any:
    """Return nested lists of a shape (height, width) or (height, width, channels)."""
    height, width, *rest = shape
    depth = rest[0] if rest else 1
    pixels: list[Any] = [list(values[i : i + depth]) if rest else values[i] for i in range(0, len(values), depth)]
    return [pixels[row * width : (row + 1) * width] for row in range(height)]


def _picture(draw: Callable[[Any], None], *, alt: str, caption: str) -> Picture:
    return Picture(_source(lambda figure: draw(figure.add_subplot()), width=WIDTH, height=HEIGHT), alt, caption)


def _source(draw: Callable[[Any], None], *, width: float, height: float) -> str:
    """Return the drawn figure as a data URI; the same bytes for the same data."""
    import matplotlib  # noqa: PLC0415  # an extra, and it takes a second to load
    from matplotlib.figure import Figure  # noqa: PLC0415

    with matplotlib.rc_context(STYLE), garbage_kept():
        figure = Figure(figsize=(width, height))
        figure.subplots_adjust(bottom=0.5 / height, top=1 - 0.25 / height)  # an automatic layout is slow
        draw(figure)
        for axes in figure.axes:
            axes.locator_params(nbins=4)
        figure.subplots_adjust(left=max(STYLE["figure.subplot.left"], _room_for_numbers(figure) / width))
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _room_for_numbers(figure: Any) -> float:
    """Return the inches to the left of the axes for the longest number of a vertical axis and the axis's label."""
    labelled = [axes.yaxis for axes in figure.axes if axes.get_ylabel()]
    texts = [text for axis in labelled for text in axis.get_major_formatter().format_ticks(axis.get_majorticklocs())]
    return 0.31 + 0.08 * max(map(len, texts), default=0)


@contextmanager
def garbage_kept() -> Iterator[None]:
    """Pause the garbage collector inside the context, since its searches of the many objects of a figure are slow."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _mark(axes: Any, value: float | None, colour: str, dashes: str, label: str, *, ends: tuple[float, float]) -> None:
    """Draw a vertical line at a value, or at the end of the axis where the value lies outside."""
    if value is not None and not math.isnan(value):
        axes.axvline(min(max(value, ends[0]), ends[1]), color=colour, linestyle=dashes, label=label)


def _histogram(values: Sequence[float], ends: tuple[float, float]) -> tuple[list[int], list[float]]:
    """Return the counts and edges of the bars; values outside of the ends are in the outermost bars."""
    edges = [ends[0] + (ends[1] - ends[0]) * number / BINS for number in range(BINS + 1)]
    ordered = sorted(values)
    below = [0, *(bisect_left(ordered, edge) for edge in edges[1:-1]), len(ordered)]
    return [after - before for before, after in pairwise(below)], edges


def _middle_range(ordered: Sequence[float], threshold: float | None) -> tuple[float, float]:
    """Return the range of the central 96 % of sorted values, widened to hold the threshold."""
    cut = len(ordered) // 50
    low, high = ordered[cut], ordered[-1 - cut]
    if threshold is not None and math.isfinite(threshold):
        low, high = min(low, threshold), max(high, threshold)
    room = 0.03 * (high - low) or 0.5
    return low - room, high + room


def _finite(values: Iterable[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)]


def _thinned(values: Sequence[Any]) -> Sequence[Any]:
    """Return at most `MOST_POINTS` of the values, evenly chosen, with the first and the last."""
    if len(values) <= MOST_POINTS:
        return values
    return [values[round(i * (len(values) - 1) / (MOST_POINTS - 1))] for i in range(MOST_POINTS)]


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def _capped(value: float, otherwise: float) -> float:
    return value if math.isfinite(value) else otherwise


def of_report(report: Report) -> Mapping[str, Picture]:
    """Return the figures of the report as a whole, by name; a figure that lacks data is left out."""
    evidence = report.evidence
    if evidence is None or not is_available():
        return {}
    found = {"distances": distances(evidence), "residuals": residuals(evidence)}
    if evidence.portrait is not None:
        found["portrait"] = portrait(evidence.portrait)
    found |= {f"strip {number}": strip(one) for number, one in enumerate(evidence.strips)}
    return {name: picture for name, picture in found.items() if picture is not None}


def of_finding(finding: Finding, subject: SubjectSummary | None) -> list[Picture]:
    """Draw the figures of a finding, and leave out those whose data the finding lacks."""
    if not is_available():
        return []
    found = (
        counterexample(finding),
        draws(finding),
        values(finding),
        by_dimension(finding, subject),
        trajectory(finding),
    )
    return [picture for picture in found if picture is not None]
