"""Which gates trip on sound and on masked networks, over many seeds; and how many planted boundaries are found.

    python -m benchmarks.soundness [--seeds 20] [--inputs 64]   # writes benchmarks/SOUNDNESS.md
    python -m benchmarks.soundness --smoke                      # one seed, under a minute, writes nothing

Digits networks of a few epochs, each plain, with logits that are scaled or softmaxed, and masked in seven ways. A sound
network must trip nothing, a masked one something.
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

from dmmcheck.attacks.minimal_norm.search import Arm, search_arms
from dmmcheck.attacks.minimal_norm.search import boundary_search as search
from dmmcheck.manifolds import PCA
from dmmcheck.models.torch import adapt
from dmmcheck.soundness import Ground, assess
from examples.digits import data, training

RESULTS = Path(__file__).with_name("SOUNDNESS.md")
DIM = 8
Transform = Callable[[Tensor], Tensor]
ARMS = ("free", "tangent", "normal")


class Changed(nn.Module):
    """A network with something done to its input or to its logits."""

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
    """Sound variants are in capitals."""
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
    """Over the seeds: runs that tripped something, which gates did, and plants."""

    runs: int = 0
    tripped: int = 0
    gates: Counter[str] = None  # type: ignore[assignment]
    found: float = 0.0
    planted: int = 0
    seconds: float = 0.0

    def row(self, name: str) -> str:
        gates = ", ".join(f"{gate} {count}" for gate, count in self.gates.most_common())
        recall = f"{self.found / self.planted:.1%} of {self.planted}" if self.planted else "-"
        return f"| {name} | {self.tripped}/{self.runs} | {recall} | {self.seconds / self.runs:.1f} | {gates or '-'} |"


def ground_of(model: nn.Module, split: data.Split, inputs: int, seed: int) -> Ground:
    """A measurement of a digits network under a PCA of the training digits."""
    pca = PCA(dim=DIM).fit(split.train.x)
    classifier = adapt(model, split.test.x)
    flat = classifier.flat(split.test.x)
    with torch.no_grad():
        right = torch.nonzero(classifier.logits(flat).argmax(1) == split.test.y).reshape(-1)
    order = right[torch.randperm(len(right), generator=torch.Generator().manual_seed(seed))][:inputs]
    x, y = flat[order], split.test.y[order]
    basis = pca.tangent_basis(x)
    arms = [Arm(), Arm(basis), Arm(basis, normal=True)]
    found = search_arms(classifier, x, y, arms, generator=torch.Generator().manual_seed(seed))
    return Ground(
        classifier=classifier,
        was_training=False,
        x=x,
        y=y,
        accuracy=len(right) / len(flat),
        majority=float(torch.bincount(split.test.y).max()) / len(flat),
        labelled=len(flat),
        x_pool=classifier.flat(split.train.x),
        y_pool=split.train.y,
        bounds=(0.0, 1.0),
        basis=basis,
        manifold=pca,
        training_points=classifier.flat(split.train.x),
        crossings=dict(zip(ARMS, found, strict=True)),
        search=search,
        seed=seed,
    )


def judge(tally: Tally, ground: Ground) -> None:
    start = time.perf_counter()
    items = assess(ground)
    tally.seconds += time.perf_counter() - start
    failed = [item.name for item in items if item.ok is False]
    tally.runs += 1
    tally.tripped += bool(failed)
    tally.gates.update(failed)
    for item in items:
        if item.name.startswith("planted") and item.value is not None:
            tally.planted += 32
            tally.found += 32 * item.value


def table(tallies: dict[str, Tally]) -> str:
    """A row a variant."""
    head = "| network | tripped | planted and found | seconds | gates, and in how many runs |\n|---|---|---|---|---|"
    return "\n".join([head, *(tally.row(name) for name, tally in tallies.items())])


def report(tallies: dict[str, Tally], options: argparse.Namespace) -> str:
    """The whole document."""
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
            judge(tally, ground_of(model, split, options.inputs, seed))
            print(f"seed {seed} {name}: {dict(tally.gates)}", file=sys.stderr, flush=True)
    print(table(tallies))
    if not options.smoke:
        RESULTS.write_text(report(tallies, options), encoding="utf-8")
    wrong = [name for name, tally in tallies.items() if tally.tripped != (0 if name.isupper() else tally.runs)]
    if wrong:
        sys.exit(f"against expectation: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
