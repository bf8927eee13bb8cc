"""How much too long are the distances that a search finds in untrained networks?

    python -m benchmarks.untrained            # six untrained networks; writes benchmarks/UNTRAINED.md
    python -m benchmarks.untrained --smoke    # one of them and few inputs, with the bound; writes nothing

A claim of the mechanism tier holds a network's distance off the manifold against those of untrained networks. Here the
distances of these are searched with each effort, in the normal spaces of a PCA, at the labels that the networks give.
The median of a default search may be longer than that of a thorough one by 10 %.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from tabulate import tabulate

from benchmarks.networks import load, untrained
from dmmcheck.attacks.minimal_norm.search import boundary_search
from dmmcheck.inference.types import SearchEffort
from dmmcheck.manifolds import PCA
from dmmcheck.models.base import flat
from dmmcheck.models.torch import adapt

RESULTS = Path(__file__).with_name("UNTRAINED.md")
KINDS = (("digits", "CNN", 16), ("digits", "MLP", 16), ("Fashion-MNIST", "max-pooling CNN", 32))
SEEDS, INPUTS, EXAMPLES, MOST = (100, 101), 64, 2000, 1.10
EFFORTS: tuple[SearchEffort, ...] = ("brief", "quick", "default")


def distances(data: str, kind: str, dim: int, seed: int, inputs: int) -> dict[SearchEffort, torch.Tensor]:
    """Return the distances (n,) off the manifold that each effort finds in an untrained network."""
    images = load(data)
    model = untrained(kind, images.x_train.shape[-1], seed).eval().requires_grad_(False)
    classifier = adapt(model, images.x_test)
    x, examples = flat(classifier, images.x_test[:inputs]), flat(classifier, images.x_train[:EXAMPLES])
    basis = PCA(dim=dim).fit(images.x_train).tangent_basis(x)
    with torch.no_grad():
        y, labels = (classifier.logits(points).argmax(1) for points in (x, examples))
    return {
        effort: boundary_search(
            classifier,
            x,
            y,
            subspace=basis,
            normal=True,
            examples=(examples, labels),
            effort=effort,
            generator=torch.Generator().manual_seed(0),
        ).distance
        for effort in (*EFFORTS, "thorough")
    }


def rows(kinds: tuple[tuple[str, str, int], ...], seeds: tuple[int, ...], inputs: int) -> Iterator[list[object]]:
    """Yield a row for each network: the median distance of each effort over that of a thorough search."""
    for data, kind, dim in kinds:
        for seed in seeds:
            found = distances(data, kind, dim, seed, inputs)
            median = {effort: float(distance.median()) for effort, distance in found.items()}
            yield [f"{data} {kind}, seed {seed}", *(median[effort] / median["thorough"] for effort in EFFORTS)]


def main() -> int:
    """Print the table, and return 1 where the median of a default search is longer than the bound says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="one network and few inputs, nothing written")
    smoke = parser.parse_args().smoke
    torch.set_num_threads(1)
    table = list(rows(KINDS[:1], SEEDS[:1], 16) if smoke else rows(KINDS, SEEDS, INPUTS))
    text = (
        "# Distances in untrained networks\n\n"
        f"Written by `python -m benchmarks.untrained`: the median distance off the manifold, over {INPUTS} inputs,\n"
        "that a search of each effort finds, divided by that of a thorough search.\n\n"
        + tabulate(table, ["network", *EFFORTS], tablefmt="github", floatfmt=".3f")
        + "\n"
    )
    print(text)
    if not smoke:
        RESULTS.write_text(text, encoding="utf-8")
    return int(max(row[-1] for row in table) > MOST)


if __name__ == "__main__":
    sys.exit(main())
