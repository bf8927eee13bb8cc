"""Five points on a line: a network's boundary first clings to the line, then bends dimples around the points.

This is the Dimpled Manifold Model's experiment in two dimensions (Shamir, Melamed, BenShmuel, arXiv 2106.10151). The
"manifold" is the line y = 0.5; five training points lie on it and their labels alternate. A small network is trained,
and the height of its decision boundary above or below each point is measured on the way::

    python -m examples.line_in_the_plane

The command prints the heights beside those digitised from the authors' animation, repeats the training with other
seeds and with torch's default initialisation, and draws the figure of the documentation.

Every weight and bias starts from a normal distribution of standard deviation `SCALE`, so that the untrained network is
steep in every direction, across the line too. From torch's default initialisation, which is smaller, the same training
gives no such picture; the command prints both, because a figure of one network alone would hide this.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from tabulate import tabulate
from torch import Tensor, nn
from torch.nn.functional import softplus

from examples import drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACROSS = (0.05, 0.30, 0.55, 0.80, 1.05)
LINE = 0.5
POINTS = torch.tensor([[x, LINE] for x in ACROSS], dtype=torch.float64)  # (5, 2)
LABELS = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0], dtype=torch.float64)  # (5,)
CENTRE = POINTS.mean(0)

WIDTH, SCALE, LEARNING_RATE = 64, 3.0, 0.05
EPOCHS = (0, 10, 20, 30, 50, 70, 100, 200, 300, 400)
DRAWN = (0, 10, 30, 100, 400)
SEEDS = 9
WINDOW = 1.0  # heights are looked for up to here, above and below the line

PANELS = (
    *((0.005 + 0.335 * column, 0.525, 0.32, 0.425) for column in range(3)),
    *((0.005 + 0.335 * column, 0.020, 0.32, 0.425) for column in range(2)),
    (0.755, 0.11, 0.235, 0.335),
)
"""Left, bottom, width and height of the figure's panels, as shares of the figure."""

FALL, RISE = 3.0, 1.5  # factors by which the median height must fall and then rise

DIGITISED = {
    20: (-0.164, -0.070, -0.047, 0.125, 0.391),
    30: (-0.027, -0.004, -0.059, -0.012, 0.078),
    50: (-0.004, 0.039, -0.059, -0.016, -0.016),
    100: (-0.027, 0.059, -0.047, 0.023, -0.035),
}
"""Heights read off the authors' animation: one training of theirs, read to about 0.01."""

Logit = Callable[[Tensor], Tensor]
"""From points (n, 2) to logits (n,); the sign is the class."""


class PlaneNetwork(nn.Module):
    """One hidden layer of ELU units on the centred plane: (n, 2) in, (n,) logits out."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, width), nn.ELU(), nn.Linear(width, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n,) of points (n, 2)."""
        logits: Tensor = self.layers(x - CENTRE)
        return logits[:, 0]


def untrained(seed: int, *, scale: float | None = SCALE) -> PlaneNetwork:
    """A network whose weights are a function of `seed` alone; torch's global generator is not used.

    Args:
        seed: Seed of the weights.
        scale: Standard deviation of every weight and bias; None for torch's default, uniform within 1 / sqrt(fan in).
    """
    with torch.device("meta"):  # a layer's constructor would draw from the global generator
        network = PlaneNetwork().double()
    network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in network.layers:
            if isinstance(layer, nn.Linear):
                bound = 1 / math.sqrt(layer.in_features)
                for weights in (layer.weight, layer.bias):
                    if scale is None:
                        weights.uniform_(-bound, bound, generator=generator)
                    else:
                        weights.normal_(0.0, scale, generator=generator)
    return network


def training(
    network: nn.Module, epochs: Sequence[int], points: Tensor = POINTS, labels: Tensor = LABELS
) -> Iterator[int]:
    """Train `network` in place and pause at each of `epochs`, which ascend, so that the caller can look at it.

    An epoch is one step of Adam on the logistic loss of all points.
    """
    optimiser = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    for epoch in range(max(epochs) + 1):
        if epoch in epochs:
            yield epoch
        optimiser.zero_grad()
        softplus(-labels * network(points)).mean().backward()  # type: ignore[no-untyped-call]
        optimiser.step()


@torch.no_grad()
def boundary_heights(logit: Logit, points: Tensor, *, window: float = WINDOW, cells: int = 1000) -> Tensor:
    """Signed height of the boundary that is nearest to each point on the vertical line through it.

    The line is scanned in `cells` equal cells above the point and as many below it; the first cell with a change of
    sign is bisected. Two changes of sign inside one cell go unseen.

    Args:
        logit: The classifier.
        points: (n, 2).
        window: Largest height looked at, in units of the plane.
        cells: Cells of the scan on each side.

    Returns:
        Heights (n,), negative below the point; inf where no boundary lies within `window`.
    """
    above, below = (_first_change(logit, points, side * window, cells) for side in (1, -1))
    nearest = torch.where(above.abs() <= below.abs(), above, below)
    return torch.where(nearest.isfinite(), nearest, math.inf)


def _first_change(logit: Logit, points: Tensor, reach: float, cells: int) -> Tensor:
    """Height (n,) of the first change of sign between 0 and `reach`; infinite, with its sign, where there is none."""

    def positive(heights: Tensor) -> Tensor:  # (n, m) -> (n, m)
        x = points[:, :1].expand_as(heights)
        places = torch.stack([x, points[:, 1:] + heights], -1)
        return (logit(places.reshape(-1, 2)) > 0).reshape(heights.shape)

    scan = torch.linspace(0, reach, cells + 1, dtype=points.dtype).expand(len(points), -1)
    start = positive(scan[:, :1])
    changed = positive(scan) != start
    first = changed.int().argmax(1, keepdim=True).clamp(min=1)
    near, far = scan.gather(1, first - 1), scan.gather(1, first)
    for _ in range(40):
        middle = (near + far) / 2
        crossed = positive(middle) != start
        near, far = torch.where(crossed, near, middle), torch.where(crossed, middle, far)
    return torch.where(changed.any(1), far[:, 0], math.copysign(math.inf, reach))


@dataclass(frozen=True, eq=False)
class Run:
    """One training: the boundary's heights above the points and the number of right labels, epoch by epoch."""

    seed: int
    epochs: tuple[int, ...]
    heights: Tensor  # (E, 5), inf where the window holds no boundary
    right: tuple[int, ...]  # of the five points

    @property
    def medians(self) -> list[float]:
        """Median of the absolute heights at each epoch."""
        return [float(median) for median in self.heights.abs().median(1).values]

    @property
    def clings(self) -> bool:
        """Tell whether the median height falls to a third of its first value, or of the window if that is smaller."""
        start, *later = self.medians
        return min(later) * FALL <= min(start, WINDOW)

    @property
    def dimples(self) -> bool:
        """Whether the last median height is finite and at least one and a half times the least one."""
        least, last = min(self.medians), self.medians[-1]
        return math.isfinite(last) and last >= RISE * least

    @property
    def alternates(self) -> bool:
        """Whether at the end the boundary passes all points of one label above and all of the other below."""
        sides = torch.sign(self.heights[-1]) * LABELS
        return bool(self.heights[-1].isfinite().all()) and bool((sides == sides[0]).all())


def run(seed: int, *, epochs: Sequence[int] = EPOCHS, scale: float | None = SCALE) -> Run:
    """Train the network of `seed` and measure its boundary at `epochs`."""
    network = untrained(seed, scale=scale)
    heights, right = [], []
    for _ in training(network, epochs):
        heights.append(boundary_heights(network, POINTS))
        with torch.no_grad():
            right.append(int((network(POINTS) * LABELS > 0).sum()))
    return Run(seed, tuple(epochs), torch.stack(heights), tuple(right))


def typical(runs: Sequence[Run]) -> Run:
    """The run whose last median height is the middle one of all runs."""
    return sorted(runs, key=lambda each: (each.medians[-1], each.seed))[(len(runs) - 1) // 2]


def _number(height: float, form: str = "+.3f") -> str:
    return format(height, form) if math.isfinite(height) else "none"


def _table(rows: Sequence[Sequence[object]], headers: Sequence[str]) -> str:
    return str(tabulate(rows, headers, stralign="right", disable_numparse=True))


def heights_table(shown: Run) -> str:
    """The heights of one run, and under them the digitised ones."""
    rows = [
        [f"seed {shown.seed}", epoch, *map(_number, heights.tolist()), _number(median, ".3f"), f"{right} of 5"]
        for epoch, heights, median, right in zip(shown.epochs, shown.heights, shown.medians, shown.right, strict=True)
    ]
    rows += [
        ["authors", epoch, *map(_number, heights), _number(float(np.median(np.abs(heights))), ".3f"), ""]
        for epoch, heights in DIGITISED.items()
    ]
    headers = ["run", "epoch", *(f"x = {x:.2f}" for x in ACROSS), "median |height|", "labels right"]
    return _table(rows, headers)


def seeds_table(runs: Sequence[Run]) -> str:
    """The median of the absolute heights of every run, and what the runs have in common."""
    yes = {True: "yes", False: "no"}
    rows = [
        [
            each.seed,
            *(_number(median, ".3f") for median in each.medians),
            yes[each.clings],
            yes[each.dimples],
            yes[each.alternates],
            f"{each.right[-1]} of 5",
        ]
        for each in runs
    ]
    middle = np.median([each.medians for each in runs], axis=0)
    counts = [sum(getattr(each, name) for each in runs) for name in ("clings", "dimples", "alternates")]
    learnt = sum(each.right[-1] == len(POINTS) for each in runs)
    rows.append(
        ["all", *(_number(median, ".3f") for median in middle), *(f"{n} of {len(runs)}" for n in (*counts, learnt))]
    )
    headers = ["seed", *map(str, runs[0].epochs), "falls", "rises", "sides alternate", "labels right"]
    return _table(rows, headers)


def both(runs: Sequence[Run]) -> int:
    """How many runs fall and then rise."""
    return sum(each.clings and each.dimples for each in runs)


def text(runs: Sequence[Run], default: Sequence[Run]) -> str:
    """All that the command prints."""
    shown = typical(runs)
    return "\n".join(
        [
            "Height of the decision boundary above (+) or below (-) each point.",
            f"seed {shown.seed}: this program; its last median height is the middle one of {len(runs)} seeds.",
            "authors: one training of the model's authors, digitised from their animation to about 0.01. Their network",
            "and their epochs are not ours; only the order of events can be compared.",
            "",
            heights_table(shown),
            "",
            "Median of the absolute heights at each epoch, seed by seed ('none': no boundary within "
            f"{WINDOW:g} above or below).",
            f"falls: to 1/{FALL:g} of the start or less (of {WINDOW:g} where the start is larger or none).",
            f"rises: at the end {RISE:g} times the least median or more.",
            "sides alternate: at the end the boundary passes points of one label above and points of the other below.",
            "all: the median over the seeds, and how many seeds the words hold for.",
            "",
            seeds_table(runs),
            "",
            f"{both(runs)} of {len(runs)} seeds fall and then rise.",
            "",
            "The same network and the same training from torch's default initialisation, whose weights are smaller:",
            "",
            seeds_table(default),
            "",
            f"{both(default)} of {len(default)} seeds fall and then rise.",
        ]
    )


def figure(runs: Sequence[Run], epochs: Sequence[int]) -> Figure:
    """The typical run's classes at some epochs, and the median height of all runs; call it inside `drawing.style`."""
    drawn, panels = drawing.placed(PANELS, size=(7.0, 4.9))
    network = untrained(typical(runs).seed)
    for panel, epoch in zip(panels, training(network, epochs), strict=False):
        _draw_classes(panel, network)
        panel.set_title("before training" if epoch == 0 else f"epoch {epoch}")
    _draw_medians(panels[-1], runs)
    return drawn


@torch.no_grad()
def _draw_classes(axes: Axes, logit: Logit) -> None:
    x, y = (torch.linspace(low, high, 161, dtype=torch.float64) for low, high in ((-0.08, 1.18), (-0.05, 1.05)))
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
    values = logit(grid.reshape(-1, 2)).reshape(grid.shape[:2]).clamp(-1, 1)  # the sign counts, not the size
    axes.contourf(x, y, values, levels=[-2, 0, 2], colors=[drawing.PALE_BLUE, drawing.PALE_ORANGE])
    axes.contour(x, y, values, levels=[0], colors=drawing.INK, linewidths=1.6)
    axes.axhline(LINE, color=drawing.GREY, linestyle="--", linewidth=1)
    for label, colour, marker in ((1, drawing.ORANGE, "o"), (-1, drawing.BLUE, "s")):
        chosen = POINTS[label == LABELS]
        axes.plot(*chosen.T, marker, color=colour, markersize=7, markeredgecolor=drawing.INK, zorder=3)
    axes.set_aspect("equal")
    drawing.plain(axes, keep=("left", "right", "top", "bottom"))


def _draw_medians(axes: Axes, runs: Sequence[Run]) -> None:
    medians = np.minimum([each.medians for each in runs], WINDOW)  # (seeds, E)
    epochs = runs[0].epochs
    axes.plot(epochs, medians.T, color=drawing.GREY, linewidth=0.6, alpha=0.6)
    axes.plot(epochs, np.median(medians, axis=0), color=drawing.INK, linewidth=2.2, label="ours")
    theirs = [np.median(np.abs(heights)) for heights in DIGITISED.values()]
    axes.plot(list(DIGITISED), theirs, "D--", color=drawing.VERMILION, markersize=4, linewidth=1.2, label="authors")
    axes.legend(loc="lower left", frameon=False, fontsize=11, borderpad=0, handlelength=1.4, labelspacing=0.2)
    axes.set_xscale("symlog", linthresh=10)
    axes.set_yscale("log")
    axes.set_xticks([0, 10, 100], ["0", "10", "100"])
    axes.set_xticks([], minor=True)
    axes.set_yticks([0.01, 0.1, 1], ["0.01", "0.1", "1"])
    axes.set_title("median |height|")
    axes.set_ylim(0.0025, 1.3)
    axes.set_xlabel("epoch", labelpad=0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables and write the figure."""
    parser = argparse.ArgumentParser(prog="python -m examples.line_in_the_plane", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("docs/figures/line_in_the_plane.svg"), help="the figure")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"trainings of each kind (default {SEEDS})")
    options = parser.parse_args(arguments)
    try:
        with drawing.style():
            runs, default = (
                [run(seed, epochs=EPOCHS, scale=scale) for seed in range(options.seeds)] for scale in (SCALE, None)
            )
            print(text(runs, default))
            print(f"\nThe figure is in {drawing.save(figure(runs, DRAWN), options.out)}.")
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
