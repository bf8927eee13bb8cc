"""Does the search find boundaries in spaces of few dimensions, where gradients often do not show them?

    python -m benchmarks.low_dimensional            # writes benchmarks/LOW_DIMENSIONAL.md
    python -m benchmarks.low_dimensional --smoke    # one network and one sheet, few rays, with the bounds

Two parts. In the tangent spaces of a PCA with 3 dimensions, networks with recurrence and attention are searched, and
20,000 rays from each input are read at shorter lengths than the distance found: where a label has changed there, the
distance is more than 10 % too long. And default runs check the stated claims on the smooth dimpled sheet, margin
z.n + gap tanh(slope z.t), which is flat along the manifold but for its folds: the picture of the Dimpled Manifold Model
(Shamir, Melamed, BenShmuel, 2021).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from tabulate import tabulate
from torch import Tensor, nn

import dmmcheck
from benchmarks.measuring import progress
from benchmarks.networks import Case, load, network
from dmmcheck import geometry
from dmmcheck.attacks.minimal_norm.search import boundary_search
from dmmcheck.manifolds import PCA
from dmmcheck.models.base import Classifier, flat
from dmmcheck.models.torch import adapt

RESULTS = Path(__file__).with_name("LOW_DIMENSIONAL.md")
CASES = tuple(
    Case("Fashion-MNIST", kind, training, 11)
    for kind in ("GRU", "transformer")
    for training in ("standard", "adversarial")
)
DIM, INPUTS, RAYS, MOST = 3, 50, 20_000, 0.05
LENGTHS = (0.9, 0.8, 0.65, 0.5, 0.3)  # of the distance found, where the rays are read
GAP, SLOPES, AMBIENT, SHEET_DIM, SHEET_INPUTS, LEAST = 0.05, (2, 8, 16), (50, 200, 784), 8, 128, 0.98


def too_long(case: Case, inputs: int, rays: int) -> tuple[float, float]:
    """Return the share of inputs with a crossing in the tangent space, and of those with a label change nearer by 10 %.

    An input without a crossing has a label change that is nearer than the radius of the search, or none.
    """
    images = load(case.data)
    classifier = adapt(network(case), images.x_test)
    x, y = flat(classifier, images.x_test[: 4 * inputs]), images.y_test[: 4 * inputs]
    with torch.no_grad():
        right = (classifier.logits(x).argmax(1) == y).nonzero().squeeze(1)[:inputs]
    x, y = x[right], y[right]
    basis = PCA(dim=DIM).fit(images.x_train).tangent_basis(x)
    examples = (flat(classifier, images.x_train), images.y_train)
    found = boundary_search(
        classifier, x, y, subspace=basis, examples=examples, generator=torch.Generator().manual_seed(0)
    )
    reach = torch.where(found.found, found.distance, found.radius)
    bases = basis if basis.ndim == 3 else basis.expand(len(x), -1, -1)
    nearer = [
        changes_nearer(classifier, one, label, basis=space, far=float(far), rays=rays)
        for one, label, space, far in zip(x, y, bases, reach, strict=True)
    ]
    return float(found.found.double().mean()), sum(nearer) / len(nearer)


@torch.no_grad()
def changes_nearer(classifier: Classifier, x: Tensor, label: Tensor, *, basis: Tensor, far: float, rays: int) -> bool:
    """Return whether the label of an input (D,) changes on a ray in its space at one of the shorter lengths."""
    directions = torch.randn(rays, basis.shape[1], generator=torch.Generator().manual_seed(1))
    directions = nn.functional.normalize(directions, dim=1) @ basis.T
    for length in LENGTHS:
        for part in torch.split(x + length * far * directions, 2000):
            if bool((classifier.logits(part).argmax(1) != label).any()):
                return True
    return False


class Sheet(nn.Module):
    """The classifier whose boundary is the smooth dimpled sheet."""

    def __init__(self, across: Tensor, along: Tensor, slope: float) -> None:
        super().__init__()
        self.register_buffer("across", across)
        self.register_buffer("along", along)
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (n, 2) of points x (n, D)."""
        margin = x @ self.across + GAP * torch.tanh(self.slope * (x @ self.along))
        return torch.stack([margin / 2, -margin / 2], 1)


def sheet(ambient_dim: int, slope: float) -> tuple[float, str]:
    """Return the smallest share of planted boundaries that a default run finds, and its stated verdicts."""
    generator = torch.Generator().manual_seed(0)
    frame = geometry.random_basis(ambient_dim, SHEET_DIM + 1, generator=generator, dtype=torch.float32)
    basis = frame[:, :SHEET_DIM]
    model = Sheet(frame[:, SHEET_DIM].clone(), basis[:, 0].clone(), slope)
    x, train = (torch.randn(n, SHEET_DIM, generator=generator) @ basis.T for n in (SHEET_INPUTS, 1024))
    subject = dmmcheck.Subject(
        model=model,
        x=x,
        y=model(x).argmax(1),
        manifold=PCA(dim=SHEET_DIM).fit(train),
        x_train=train,
        y_train=model(train).argmax(1),
    )
    report = dmmcheck.run(subject, samples=SHEET_INPUTS, tiers=("stated",), cache=False)
    planted = [item.value for item in report.soundness if item.name.startswith("planted-") and item.ok is not None]
    decided = [finding for finding in report.findings if finding.verdict != "not-run"]
    supported = sum(finding.verdict == "supported" for finding in decided)
    others = ", ".join(f"{one.check}: {one.verdict}" for one in decided if one.verdict != "supported")
    return min(planted), f"{supported} of {len(decided)}" + f" ({others})" * bool(others)


def scanned(cases: Iterable[Case], inputs: int, rays: int) -> Iterator[list[object]]:
    """Yield a row for each network."""
    for case in cases:
        progress(str(case))
        yield [str(case), *too_long(case, inputs, rays)]


def main() -> int:
    """Print the tables, and return 1 where a bound is not met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="one network, one sheet and few rays, nothing written")
    smoke = parser.parse_args().smoke
    torch.set_num_threads(1)
    sheets = [(50, 8)] if smoke else [(ambient_dim, slope) for ambient_dim in AMBIENT for slope in SLOPES]
    networks = list(
        scanned((Case("digits", "MLP", "standard", 0),), 16, 500) if smoke else scanned(CASES, INPUTS, RAYS)
    )
    folds = [[ambient_dim, slope, *sheet(ambient_dim, slope)] for ambient_dim, slope in sheets]
    text = (
        "# Boundaries in spaces of few dimensions\n\n"
        f"Written by `python -m benchmarks.low_dimensional`: {INPUTS} inputs of each network, default effort, tangent\n"
        f"spaces of a PCA with {DIM} dimensions, {RAYS:,} rays from each input.\n\n"
        + tabulate(networks, ["network", "found", "a label change nearer by 10 %"], tablefmt="github", floatfmt=".3f")
        + f"\n\nThe smooth dimpled sheet, gap {GAP}, {SHEET_DIM} dimensions, {SHEET_INPUTS} inputs, default runs.\n\n"
        + tabulate(folds, ["D", "slope", "planted boundaries found", "stated claims supported"], tablefmt="github")
        + "\n"
    )
    print(text)
    if not smoke:
        RESULTS.write_text(text, encoding="utf-8")
    return int(any(row[-1] > MOST for row in networks) or any(row[2] < LEAST or "(" in row[3] for row in folds))


if __name__ == "__main__":
    sys.exit(main())
