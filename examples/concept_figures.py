"""The figures of the documentation's page on concepts, each drawn from a formula or a small measurement.

::

    python -m examples.concept_figures --out docs/figures
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from scipy import stats
from torch import Tensor, nn

from examples import drawing
from examples.drawing import BLUE, GREEN, GREY, INK, ORANGE, PALE_BLUE, PALE_ORANGE, PURPLE, VERMILION
from examples.line_in_the_plane import training

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = npt.NDArray[np.float64]

# --- What a dimple is ------------------------------------------------------------------------------------------------

SPACING, DEPTH, BEND = 1.0, 0.24, 0.08  # of the crests, of the dimples, and of the manifold
PLACES = np.array([0.97, 1.86, 3.03])  # parameters of the training points, near the crests; labels alternate
MEASURED = 1.86  # the point whose distances are drawn


def manifold(t: Array) -> Array:
    """Points (n, 2) of the curved manifold at the parameters t (n,)."""
    return np.stack([t, BEND * np.sin(0.9 * t)], -1)


def normal(t: Array) -> Array:
    """Unit normals (n, 2) of the manifold."""
    slope = 0.9 * BEND * np.cos(0.9 * t)
    return np.stack([-slope, np.ones_like(t)], -1) / np.sqrt(1 + slope**2)[:, None]


def boundary(t: Array) -> Array:
    """Points (n, 2) of the boundary: off the manifold by DEPTH above one label's points, below the other's."""
    return manifold(t) + (DEPTH * np.cos(math.pi * t / SPACING))[:, None] * normal(t)


@dataclass(frozen=True, eq=False)
class Distances:
    """Nearest boundary points (2,) of a point on the manifold, without a restriction, along its tangent and normal."""

    origin: Array
    free: Array
    tangent: Array
    normal: Array

    def length(self, name: str) -> float:
        """Distance from the origin to the boundary point `name`."""
        return float(np.linalg.norm(getattr(self, name) - self.origin))


def distances(at: float, *, samples: int = 200_001) -> Distances:
    """Distances of the manifold's point at parameter `at`, from dense samples of the boundary."""
    t = np.linspace(at - 2 * SPACING, at + 2 * SPACING, samples)
    points, origin = boundary(t), manifold(np.array([at]))[0]
    across = normal(np.array([at]))[0]
    along = np.array([across[1], -across[0]])
    offsets = points - origin

    def nearest_on(direction: Array, other: Array) -> Array:
        """Where the boundary crosses the line through the origin along `direction`, nearest to the origin."""
        sides = offsets @ other
        crossings = points[1:][(sides[1:] > 0) != (sides[:-1] > 0)]
        nearest: Array = crossings[np.abs((crossings - origin) @ direction).argmin()]
        return nearest

    free = points[np.linalg.norm(offsets, axis=1).argmin()]
    return Distances(origin, free, nearest_on(along, across), nearest_on(across, along))


def dimple() -> Figure:
    """A curved manifold, the dimpled boundary along it, and three distances of one point."""
    figure, (axes,) = drawing.blank()
    left, right = 0.78, 3.22
    t = np.linspace(left - 0.3, right + 0.3, 400)
    edge, line = boundary(t), manifold(t)
    axes.fill_between(edge[:, 0], -1.3, edge[:, 1], color=PALE_ORANGE, linewidth=0)
    axes.fill_between(edge[:, 0], edge[:, 1], 1.3, color=PALE_BLUE, linewidth=0)
    axes.plot(*line.T, "--", color=GREY, linewidth=1.2)
    axes.plot(*edge.T, color=INK, linewidth=2)
    for start, colour, marker in ((1, ORANGE, "o"), (0, BLUE, "s")):
        axes.plot(*manifold(PLACES[start::2]).T, marker, color=colour, markersize=10, markeredgecolor=INK, zorder=6)
    found = distances(MEASURED)
    for name, colour, label, place, side in (
        ("normal", VERMILION, "d_off", (0.03, 0.075), "left"),
        ("tangent", GREEN, "d_on", (-0.05, 0.05), "right"),
        ("free", PURPLE, "d_free", (-0.07, 0.05), "right"),
    ):
        end = getattr(found, name)
        _arrow(axes, found.origin, end, colour)
        x, y = end + place
        axes.text(x, y, f"{label} = {found.length(name):.2f}", ha=side, va="center", zorder=7)
    axes.text(2.0, 0.05, "manifold", color=GREY, ha="left", va="top")
    axes.text(2.5, 0.12, "boundary", ha="left", va="center")
    axes.set(xlim=(left, right), ylim=(-0.55, 0.65), aspect="equal")
    drawing.plain(axes)
    return figure


def _arrow(axes: Axes, start: Sequence[float] | Array, end: Sequence[float] | Array, colour: str) -> None:
    style = {"arrowstyle": "-|>", "color": colour, "linewidth": 2.2, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 13}
    axes.annotate("", xy=tuple(end), xytext=tuple(start), arrowprops=style, zorder=5)


# --- On and off the manifold -----------------------------------------------------------------------------------------

ANGLE = math.radians(60)  # between the perturbation and the tangent


def shares(angle: float) -> tuple[float, float]:
    """Energy shares (rho_T, rho_N) of a perturbation at `angle` to the tangent space."""
    return math.cos(angle) ** 2, math.sin(angle) ** 2


def on_off_manifold() -> Figure:
    """One perturbation, its parts along the tangent and the normal, and their energy shares."""
    figure, (axes, bar) = drawing.placed([(0.01, 0.02, 0.66, 0.96), (0.75, 0.06, 0.09, 0.82)], size=(7.0, 3.5))
    x = np.linspace(-1.3, 1.6, 200)
    axes.plot(x, -0.16 * x**2, "--", color=GREY, linewidth=1.2)
    axes.plot(x, 0 * x, color=GREY, linewidth=0.8)
    along, across = math.cos(ANGLE), math.sin(ANGLE)
    axes.plot([along, along, 0], [0, across, across], ":", color=GREY, linewidth=1.2)
    _arrow(axes, (0, 0), (along, 0), GREEN)
    _arrow(axes, (0, 0), (0, across), VERMILION)
    _arrow(axes, (0, 0), (along, across), PURPLE)
    axes.plot(0, 0, "o", color=ORANGE, markersize=9, markeredgecolor=INK, zorder=6)
    turn = np.linspace(0, ANGLE, 40)
    axes.plot(0.2 * np.cos(turn), 0.2 * np.sin(turn), color=INK, linewidth=1)
    axes.text(0.21, 0.09, f"{math.degrees(ANGLE):.0f}°")
    axes.text(-0.06, -0.05, "x", ha="right", va="top")
    axes.text(along + 0.04, across, "perturbation", va="center")
    axes.text(-0.05, 0.5 * across, "off-manifold\npart", ha="right", va="center")
    axes.text(along + 0.05, 0.03, "on-manifold part", va="bottom")
    axes.text(1.58, -0.03, "tangent", ha="right", va="top", color=GREY)
    axes.text(-0.66, -0.2, "manifold", ha="left", va="top", color=GREY)
    axes.set(xlim=(-1.0, 1.6), ylim=(-0.35, 1.0), aspect="equal")
    drawing.plain(axes)
    on, off = shares(ANGLE)
    for bottom, share, colour, name in ((0, on, GREEN, "on: rho_T"), (on, off, VERMILION, "off: rho_N")):
        bar.bar(0, share, bottom=bottom, color=colour, width=1)
        bar.text(0.65, bottom + share / 2, f"{name}\n{share:.0%}", va="center")
    bar.set(xlim=(-0.5, 0.5), ylim=(0, 1), title="energy share")
    drawing.plain(bar)
    return figure


# --- Why raw numbers mislead -----------------------------------------------------------------------------------------

AMBIENT, DIMENSIONS = 784, (16, 64, 256)


def off_manifold_share(dim: int, ambient: int = AMBIENT) -> stats.rv_continuous:
    """Distribution of the off-manifold energy share rho_N of a uniformly random direction."""
    return stats.beta((ambient - dim) / 2, dim / 2)


def chance() -> Figure:
    """Density of the off-manifold energy share of a random direction, for three manifold dimensions."""
    figure, (axes,) = drawing.blank()
    x = np.linspace(0.4, 1, 1201)
    for dim, colour, style in zip(DIMENSIONS, (BLUE, VERMILION, GREEN), ("-", "--", "-."), strict=True):
        law = off_manifold_share(dim)
        density = law.pdf(x)
        axes.plot(x, density, style, color=colour, linewidth=2)
        peak = density.argmax()
        axes.text(x[peak] - 0.025, density[peak], f"k = {dim}: {law.mean():.0%}", ha="right", va="top")
    axes.axvline(0.5, color=INK, linewidth=1.2)
    axes.text(0.505, axes.get_ylim()[1] * 0.93, "threshold", va="top")
    axes.set(xlim=(0.4, 1.01), ylim=(0, None), yticks=[], xlabel="off-manifold energy share of a random direction")
    axes.set_xticks([0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0], ["40%", "50%", "60%", "70%", "80%", "90%", "100%"])
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    return figure


# --- Verdicts --------------------------------------------------------------------------------------------------------

THRESHOLD = 0.5
INTERVALS = ((0.58, 0.67, 0.75), (0.25, 0.33, 0.42), (0.43, 0.54, 0.64))  # lower end, estimate, upper end


def verdict(lower: float, upper: float, threshold: float = THRESHOLD) -> str:
    """Verdict on the claim that a quantity is greater than `threshold`, from its interval."""
    if lower > threshold:
        return "supported"
    return "refuted" if upper < threshold else "inconclusive"


def verdicts() -> Figure:
    """Three intervals beside a threshold, and the verdict of each."""
    figure, (axes,) = drawing.blank()
    looks = {"supported": (BLUE, "o"), "refuted": (VERMILION, "s"), "inconclusive": (GREY, "D")}
    axes.axvspan(THRESHOLD, 1, color=PALE_BLUE, linewidth=0)
    for row, (lower, estimate, upper) in enumerate(INTERVALS):
        word = verdict(lower, upper)
        colour, marker = looks[word]
        axes.plot([lower, upper], [-row, -row], color=colour, linewidth=4, solid_capstyle="butt")
        axes.plot(estimate, -row, marker, color=colour, markersize=11, markeredgecolor=INK)
        axes.text(0.02, -row, word, va="center", fontsize=15)
    axes.axvline(THRESHOLD, color=INK, linewidth=1.5)
    axes.text(THRESHOLD - 0.01, 0.62, "threshold", ha="right", va="center")
    axes.text(0.99, 0.62, "the claim holds", ha="right", va="center")
    axes.set(xlim=(0, 1), ylim=(-2.6, 0.9), xlabel="measured share, with its interval")
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"])
    axes.set_yticks([])
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    return figure


# --- Soundness -------------------------------------------------------------------------------------------------------

LEVELS = 4  # of the masked network's inputs, in a unit of length


class Quantised(nn.Module):
    """A network whose inputs are rounded first, so that its gradients are zero."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n,) of points (n, 2)."""
        logits: Tensor = self.network((LEVELS * x).round() / LEVELS)
        return logits


class TinyNetwork(nn.Module):
    """Eight tanh units on the plane: (n, 2) in, (n,) logits out."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        with torch.device("meta"):  # a layer's constructor would draw from torch's global generator
            self.layers = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
        self.to_empty(device="cpu").double()
        with torch.no_grad():
            for weights in self.parameters():
                weights.normal_(generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n,) of points (n, 2)."""
        logits: Tensor = self.layers(x)
        return logits[:, 0]


def tiny_network(*, epochs: int = 60) -> TinyNetwork:
    """A network trained to tell two clouds of points in the plane apart."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat_interleave(40)
    points = 0.4 * torch.randn(80, 2, generator=generator, dtype=torch.float64) - labels[:, None] * START
    network = TinyNetwork(generator)
    for _ in training(network, (epochs,), points, labels):
        pass
    return network


START = torch.tensor([-1.0, -0.6], dtype=torch.float64)  # the ray runs from the first cloud through the second


def along_ray(network: nn.Module, *, length: float = 2.4, samples: int = 481) -> tuple[Array, Array, Array]:
    """Distances (n,) along the ray, the margin of the first cloud's label there, and the norm of its gradient."""
    distance = torch.linspace(0, length, samples, dtype=torch.float64)
    points = (-START + distance[:, None] * START / START.norm()).requires_grad_()
    margin = network(points)
    (gradient,) = torch.autograd.grad(margin.sum(), points)
    return distance.numpy(), margin.detach().numpy(), gradient.norm(dim=1).numpy()


def soundness() -> Figure:
    """The margin along a ray and the size of its gradient, for a network and for the same one with rounded inputs."""
    figure, (margins, gradients) = drawing.blank(1, 2)
    network = tiny_network()
    for model, colour, style, label in ((network, BLUE, "-", "sound"), (Quantised(network), VERMILION, "--", "masked")):
        distance, margin, gradient = along_ray(model)
        margins.plot(distance, margin, style, color=colour, linewidth=2, label=label)
        gradients.plot(distance, gradient, style, color=colour, linewidth=2.5)
    margins.axhline(0, color=INK, linewidth=1)
    margins.legend(frameon=False)
    for axes, title in ((margins, "margin"), (gradients, "size of its gradient")):
        axes.set(title=title, xlabel="distance along a ray", xlim=(0, distance[-1]))
        axes.spines[["right", "top"]].set_visible(False)
    return figure


# --- The command -----------------------------------------------------------------------------------------------------

FIGURES: dict[str, Callable[[], Figure]] = {
    "dimple": dimple,
    "on_off_manifold": on_off_manifold,
    "chance": chance,
    "verdicts": verdicts,
    "soundness": soundness,
}


def write(folder: Path, *, suffix: str = ".svg") -> list[Path]:
    """Draw every figure and write it into `folder`; the paths written."""
    with drawing.style():
        return [drawing.save(draw(), folder / f"{name}{suffix}") for name, draw in FIGURES.items()]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the figures."""
    parser = argparse.ArgumentParser(prog="python -m examples.concept_figures", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("docs/figures"), help="folder of the figures")
    parser.add_argument("--format", choices=("svg", "png"), default="svg", help="file format of the figures")
    options = parser.parse_args(arguments)
    try:
        paths = write(options.out, suffix=f".{options.format}")
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        print(error, file=sys.stderr)
        return 1
    print("\n".join(map(str, paths)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
