"""How often a manifold that means nothing is called more, like or less than chance, on a trained network.

    python -m benchmarks.beside_chance [--subspaces 1000] [--searched 100]   # writes benchmarks/BESIDE_CHANCE.md
    python -m benchmarks.beside_chance --network GRU --network transformer   # other networks; prints, writes nothing
    python -m benchmarks.beside_chance --smoke                               # a few subspaces, writes nothing

The network is the convolutional one of the demo, for the 8 x 8 digits; others are a recurrent one and a transformer
that take an image row by row. Each manifold is a Haar subspace of dimension 8, drawn independently of the network; the
control rotates it. The words "more" and "less" are then errors, each of which may occur in 5 % of the subspaces. "Like"
is right, and should be said in at least half of them where draws need no search.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch
from scipy.stats import binomtest
from tabulate import tabulate
from torch import nn

from benchmarks import networks
from dmmcheck import geometry
from dmmcheck.checks.plan import Planned, plan
from dmmcheck.config.settings import CheckSettings, Settings
from dmmcheck.judge import judge
from dmmcheck.manifolds import Subspace
from dmmcheck.manifolds.fields import TangentField
from dmmcheck.measurement.measure import LabelledPool, Measure
from dmmcheck.measurement.sample import draw_sample
from dmmcheck.models.base import flat
from dmmcheck.models.torch import adapt
from examples.digits import subject as digits

RESULTS = Path(__file__).with_name("BESIDE_CHANCE.md")
INPUTS, DIM, ALPHA, LIKE = 256, 8, 0.05, 0.5
SURE = 1e-3  # a bound is broken where the count is this improbable under it
ENERGY = ("off-manifold-energy-controlled-builtin", "boundary-parallel-controlled-builtin")
SEARCHED = ("on-manifold-distance-controlled-builtin", "boundary-clings-controlled-builtin")
NETWORKS = ("CNN", "GRU", "transformer")
WORDS = ("more", "like", "less", "not-told")


def network(name: str) -> nn.Module:
    """The trained network of a name, one of `NETWORKS`."""
    return digits.model() if name == "CNN" else networks.network(networks.Case("digits", name, "standard", 0))


def measures(name: str, count: int) -> Iterator[Measure]:
    """Measurements of one network on the same inputs, each with another Haar subspace as its manifold."""
    train, test = digits.split()
    classifier = adapt(network(name), test.x)
    sample = draw_sample(classifier, test.x, test.y, seed=0, limit=INPUTS)
    examples = LabelledPool(flat(classifier, train.x), train.y)
    searched: dict[tuple[object, ...], list[object]] = {}
    for number in range(count):
        generator = torch.Generator().manual_seed(number)
        basis = geometry.random_basis(sample.x.shape[1], DIM, generator=generator)
        field = TangentField(Subspace(basis), sample.x)
        measure = Measure(classifier, sample, field, examples=examples, seed=number, joint=False)
        # the perturbations do not depend on the manifold: they are searched once, under keys of the free arm
        measure._blocks.update(searched)
        yield measure
        searched = {key: found for key, found in measure._blocks.items() if _is_free(key)}


def _is_free(key: tuple[object, ...]) -> bool:
    return key[-1] == "free" or key[0] == "boundary-gradient"


def words(name: str, id: str, count: int) -> Counter[str]:
    """How often each word is said of a claim."""
    planned: Planned = next(item for item in plan(Settings()) if item.id == id)
    found: Counter[str] = Counter()
    for number, measure in enumerate(measures(name, count)):
        finding = judge(planned, lambda measure=measure: measure, CheckSettings(), alpha=ALPHA)
        assert finding.chance is not None
        found[finding.chance.word] += 1
        print(f"{name} {id} {number + 1} of {count}: {dict(found)}", end="\r", file=sys.stderr, flush=True)
    return found


def within_bounds(id: str, found: Counter[str]) -> bool:
    """Whether no bound is exceeded by more than the binomial spread allows (one-sided, 0.1 %)."""
    count = sum(found.values())
    errors = all(binomtest(found[word], count, ALPHA, alternative="greater").pvalue > SURE for word in ("more", "less"))
    likes = id in SEARCHED or binomtest(found["like"], count, LIKE, alternative="less").pvalue > SURE
    return errors and likes


def _cell(found: Counter[str], word: str) -> str:
    count, total = found[word], sum(found.values())
    high = binomtest(count, total).proportion_ci(0.9).high
    return f"{count / total:.1%} (at most {high:.1%})"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subspaces", type=int, default=1000, help="for claims whose draws need no search")
    parser.add_argument("--searched", type=int, default=100, help="for claims whose draws are searched")
    parser.add_argument("--network", choices=NETWORKS, action="append", help="these, and nothing is written")
    parser.add_argument("--smoke", action="store_true", help="the CNN and few subspaces, nothing written")
    options = parser.parse_args()
    whole = (3, 1) if options.smoke else (options.subspaces, options.searched)
    start, rows, ok = time.perf_counter(), [], True
    for name in options.network or NETWORKS[:1]:
        for ids, count in zip((ENERGY, SEARCHED), whole, strict=True):
            for id in ids:
                found = words(name, id, count)
                ok = ok and within_bounds(id, found)
                rows.append([name, id, count, *(_cell(found, word) for word in WORDS)])
    text = written(rows, (time.perf_counter() - start) / 60, ok=ok)
    if not options.smoke and not options.network:
        RESULTS.write_text(text, encoding="utf-8")
    print(text)
    return 0 if ok else 1


def written(rows: list[list[object]], minutes: float, *, ok: bool) -> str:
    """The document in Markdown."""
    nominal = [f"at most {ALPHA:.0%}", f"at least {LIKE:.0%} without a search", f"at most {ALPHA:.0%}", ""]
    table = tabulate(
        [["nominal", "", "", *nominal], *rows], ["network", "claim", "subspaces", *WORDS], tablefmt="github"
    )
    return (
        "# What is said of a manifold that means nothing\n\n"
        f"Written by `python -m benchmarks.beside_chance`: Haar subspaces of dimension {DIM}, digits networks, "
        f"{INPUTS} inputs,\nthe control `rotation`, alpha {ALPHA:.0%}, {minutes:.0f} minutes of "
        'one core. "At most" is the exact\nbinomial upper limit at 95 %. '
        f"{'All bounds hold.' if ok else 'A bound does not hold.'}\n\n{table}\n"
    )


if __name__ == "__main__":
    sys.exit(main())
