"""The gates that fail on sound and on masked networks, over many seeds, and the planted boundaries that are found.

    python -m benchmarks.soundness [--seeds 20] [--inputs 64]   # writes benchmarks/SOUNDNESS.md
    python -m benchmarks.soundness --smoke                      # one seed, under a minute, writes nothing

Digits networks are trained for a few epochs. Each is measured as it is, with logits that are scaled or passed through a
softmax, and masked in seven ways. No gate may fail on a sound network, and at least one must fail on a masked one.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from dmmcheck.attacks.minimal_norm.search import boundary_search, search_spaces
from dmmcheck.attacks.search_space import Everywhere, spanned
from dmmcheck.inference.types import ARMS
from dmmcheck.manifolds import PCA
from dmmcheck.models.base import flat
from dmmcheck.models.torch import adapt
from dmmcheck.soundness import SoundnessContext, assess
from examples.digits import data, training

RESULTS = Path(__file__).with_name("SOUNDNESS.md")
DIM = 8
Transform = Callable[[Tensor], Tensor]


class Changed(nn.Module):
    """A network with a transformation of its input and one of its logits."""

    def __init__(
        self, network: nn.Module, before: Callable[[Tensor], Tensor], after: Callable[[Tensor], Tensor]
    ) -> None:
        super().__init__()
        self.network, self.before, self.after = network, before, after

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.network(self.before(x)))


def same(v: Tensor) -> Tensor:
    return v


def with_noise(generator: torch.Generator) -> Transform:
    return lambda z: z + 0.1 * torch.randn(z.shape, generator=generator)


def variants(network: nn.Module, seed: int) -> dict[str, nn.Module]:
    """The variants of a network by name; those of sound networks are in capitals."""
    noise = with_noise(torch.Generator().manual_seed(seed))
    changes: dict[str, tuple[Transform, Transform]] = {
        "PLAIN": (same, same),
        "SOFTMAX": (same, lambda z: z.softmax(1)),
        "X 1000": (same, lambda z: 1000 * z),
        "saturated softmax": (same, lambda z: (50 * z).softmax(1)),
        "quantised input": (lambda x: (16 * x).round() / 16, same),
        "rounded logits": (same, lambda z: z.round()),
        "ripple": (lambda x: x + 0.02 * torch.sin(400 * x), same),
        "noise": (same, noise),
        "constant": (same, lambda z: 0 * z + torch.eye(10)[3]),
        "zero-gradient step": (lambda x: (x > 0.5).to(x.dtype), same),
    }
    return {name: Changed(network, *change).eval() for name, change in changes.items()}


@dataclass
class Tally:
    """Sums over the seeds: runs with a failed gate, how often each gate failed, and planted boundaries."""

    runs: int = 0
    failed: int = 0
    gates: Counter[str] = None  # type: ignore[assignment]
    found: float = 0.0
    planted: int = 0
    seconds: float = 0.0

    def row(self, name: str) -> str:
        gates = ", ".join(f"{gate} {count}" for gate, count in self.gates.most_common())
        recall = f"{self.found / self.planted:.1%} of {self.planted}" if self.planted else "-"
        return f"| {name} | {self.failed}/{self.runs} | {recall} | {self.seconds / self.runs:.1f} | {gates or '-'} |"


def context_of(model: nn.Module, split: data.Split, inputs: int, seed: int) -> SoundnessContext:
    """A measurement of a digits network, with a PCA of the training digits as the manifold."""
    pca = PCA(dim=DIM).fit(split.train.x)
    classifier = adapt(model, split.test.x)
    points = flat(classifier, split.test.x)
    with torch.no_grad():
        correct = torch.nonzero(classifier.logits(points).argmax(1) == split.test.y).reshape(-1)
    order = correct[torch.randperm(len(correct), generator=torch.Generator().manual_seed(seed))][:inputs]
    x, y = points[order], split.test.y[order]
    basis = pca.tangent_basis(x)
    spaces = [Everywhere(), spanned(basis), spanned(basis, normal=True)]
    found = search_spaces(classifier, x, y, spaces, generator=torch.Generator().manual_seed(seed))
    return SoundnessContext(
        classifier=classifier,
        was_training=False,
        x=x,
        y=y,
        accuracy=len(correct) / len(points),
        majority=float(torch.bincount(split.test.y).max()) / len(points),
        labelled=len(points),
        x_pool=flat(classifier, split.train.x),
        y_pool=split.train.y,
        bounds=(0.0, 1.0),
        basis=basis,
        manifold=pca,
        training_points=flat(classifier, split.train.x),
        crossings=dict(zip(ARMS, found, strict=True)),
        search=boundary_search,
        seed=seed,
    )


def judge(tally: Tally, context: SoundnessContext) -> None:
    start = time.perf_counter()
    items = assess(context)
    tally.seconds += time.perf_counter() - start
    failed = [item.name for item in items if item.ok is False]
    tally.runs += 1
    tally.failed += bool(failed)
    tally.gates.update(failed)
    for item in items:
        if item.name.startswith("planted") and item.value is not None:
            tally.planted += 32
            tally.found += 32 * item.value


def table(tallies: dict[str, Tally]) -> str:
    """A table with one row for each variant."""
    head = "| network | tripped | planted and found | seconds | gates, and in how many runs |\n|---|---|---|---|---|"
    return "\n".join([head, *(tally.row(name) for name, tally in tallies.items())])


def report(tallies: dict[str, Tally], options: argparse.Namespace) -> str:
    """The text of SOUNDNESS.md."""
    return f"""# Which gates trip on sound and on masked networks

Written by `python -m benchmarks.soundness`: {options.seeds} digits networks of eight epochs, {options.inputs} inputs
each, PCA with k = {DIM}. Capitals are sound networks, which must trip no gate; the others must trip at least one.
"planted and found": of the boundaries planted at a known distance in the tangent and in the normal space.

{table(tallies)}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--inputs", type=int, default=64)
    parser.add_argument("--smoke", action="store_true", help="one seed and 32 inputs")
    options = parser.parse_args()
    if options.smoke:
        options.seeds, options.inputs = 1, 32
    split = data.load()
    tallies: dict[str, Tally] = {}
    for seed in range(options.seeds):
        network = training.fit(split.train.x, split.train.y, seed, recipe=training.Recipe(epochs=8))
        for name, model in variants(network, seed).items():
            tally = tallies.setdefault(name, Tally(gates=Counter()))
            judge(tally, context_of(model, split, options.inputs, seed))
            print(f"seed {seed} {name}: {dict(tally.gates)}", file=sys.stderr, flush=True)
    print(table(tallies))
    if not options.smoke:
        RESULTS.write_text(report(tallies, options), encoding="utf-8")
    wrong = [name for name, tally in tallies.items() if tally.failed != (0 if name.isupper() else tally.runs)]
    if wrong:
        sys.exit(f"against expectation: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
