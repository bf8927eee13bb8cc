"""What is said of adversarial training where no network was trained adversarially, and where one of each pair was.

    python -m benchmarks.trained_alike            # some minutes; writes benchmarks/TRAINED_ALIKE.md
    python -m benchmarks.trained_alike --smoke    # fewer networks and lists, under a minute, writes nothing

Small networks for the 8 x 8 digits are trained in three ways that have one recipe: plainly, with weight decay, and
adversarially. Their distances are searched once. Then pairs are drawn without replacement into lists, each as long as
the run asks for, and a run with each list says its verdicts (`dmmcheck.run.Run`, soundness taken for granted).

Lists share networks, so that they are not independent, and the exact binomial limits are too narrow by an unknown
amount.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from scipy.stats import binomtest
from tabulate import tabulate
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[1]))  # also run as a file

from benchmarks.inference_alone import above, share
from dmmcheck.config.settings import Settings
from dmmcheck.manifolds import PCA
from dmmcheck.measurement.measure import ALTERNATIVE, PAIR, Measure, of_pair
from dmmcheck.measurement.trainings import pairs_needed
from dmmcheck.models.torch import adapt
from dmmcheck.run import Run
from dmmcheck.subject import Subject
from dmmcheck.worlds.dimples import PAIR_CLAIMS
from examples.digits import data as digits

RESULTS = Path(__file__).with_name("TRAINED_ALIKE.md")
WIDTHS = (64, 32, 10)
STEPS, BATCH, RATE = 200, 64, 5e-3
DIM, INPUTS, ALPHA, POWER = 8, 64, 0.05, 0.95
SURE = 1e-3  # a bound is broken where the count is this improbable under it


@dataclass(frozen=True)
class Recipe:
    """How networks are trained: by Adam, with weight decay, or on the worst image within a radius."""

    decay: float = 0.0
    radius: float = 0.0
    attack_steps: int = 5


RECIPES = {"plain": Recipe(), "decayed": Recipe(decay=3e-3), "adversarial": Recipe(radius=1.0)}


@dataclass(frozen=True)
class Row:
    """A kind of pairs, and what must be said of it.

    Attributes:
        pairs: Recipes of the two networks of a pair.
        alternative: Recipe of the control training; none where empty.
        verdict: What is counted: a list of pairs in which any claim is ``"decided"``, or the first is ``"supported"``.
        nominal: The largest share of lists, or the least one where `verdict` is right.
        is_right: Whether the verdict is right.
    """

    pairs: tuple[str, str]
    alternative: str = ""
    verdict: str = "decided"
    nominal: float | None = ALPHA
    is_right: bool = False


ROWS = (
    Row(("plain", "plain")),
    Row(("decayed", "decayed")),
    Row(("plain", "plain"), "plain", "supported"),
    Row(("plain", "decayed"), verdict="supported", nominal=None),
    Row(("plain", "decayed"), "decayed", "supported"),
    Row(("plain", "adversarial"), verdict="supported", nominal=POWER, is_right=True),
    Row(("plain", "adversarial"), "decayed", "supported", nominal=POWER, is_right=True),
)


def trained(recipe: Recipe, seeds: Sequence[int], x: Tensor, y: Tensor, *, steps: int = STEPS) -> list[nn.Module]:
    """A network for each seed, on which alone it depends; all are trained at once, as stacked weights.

    Args:
        recipe: How they are trained.
        seeds: A seed for each.
        x: Images (n, 64).
        y: Labels (n,).
        steps: Steps of Adam.
    """
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    weights = []
    for inputs, outputs in pairwise(WIDTHS):
        bound = 1 / math.sqrt(inputs)
        drawn = [torch.rand(outputs, inputs + 1, generator=generator) for generator in generators]
        weights.append((bound * (2 * torch.stack(drawn) - 1)).requires_grad_())
    optimiser = torch.optim.Adam(weights, lr=RATE, weight_decay=recipe.decay)
    for _ in range(steps):
        rows = torch.stack([torch.randint(len(x), (BATCH,), generator=generator) for generator in generators])
        images = _worst(weights, x[rows], y[rows], recipe) if recipe.radius else x[rows]
        optimiser.zero_grad()
        _loss(weights, images, y[rows]).backward()
        optimiser.step()
    return [_network([layer[number].detach() for layer in weights]) for number in range(len(seeds))]


def _logits(weights: Sequence[Tensor], x: Tensor) -> Tensor:
    """Logits (networks, m, 10) of images (networks, m, 64)."""
    for number, layer in enumerate(weights):
        x = torch.baddbmm(layer[:, None, :, -1], x.relu() if number else x, layer[:, :, :-1].transpose(1, 2))
    return x


def _loss(weights: Sequence[Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Sum over the networks of their mean losses, so that the gradient of each is its own."""
    return F.cross_entropy(_logits(weights, x).flatten(0, 1), y.flatten(), reduction="sum") / y.shape[1]


def _worst(weights: Sequence[Tensor], x: Tensor, y: Tensor, recipe: Recipe) -> Tensor:
    """Images of high loss within the radius, by PGD from the images themselves."""
    delta = torch.zeros_like(x)
    for _ in range(recipe.attack_steps):
        delta.requires_grad_()
        (gradient,) = torch.autograd.grad(_loss(weights, x + delta, y), delta)
        step = 2.5 * recipe.radius / recipe.attack_steps
        delta = delta.detach() + step * gradient / gradient.norm(dim=-1, keepdim=True).clamp_min(1e-12)
        delta = delta * (recipe.radius / delta.norm(dim=-1, keepdim=True).clamp_min(1e-12)).clamp(max=1)
    return x + delta


def _network(layers: Sequence[Tensor]) -> nn.Module:
    modules: list[nn.Module] = []
    for weight in layers:
        with torch.device("meta"):
            linear = nn.Linear(weight.shape[1] - 1, weight.shape[0])
        linear.weight, linear.bias = (nn.Parameter(part.clone()) for part in (weight[:, :-1], weight[:, -1]))
        modules += [linear, nn.ReLU()]
    return nn.Sequential(*modules[:-1]).eval().requires_grad_(False)


class Study:
    """The networks, their measurements, and runs with lists of them.

    Args:
        counts: How many networks of each recipe.
        inputs: Number of inputs.
    """

    def __init__(self, counts: Mapping[str, int], inputs: int) -> None:
        split = digits.load()
        x_train, x = split.train.x.flatten(1), split.test.x.flatten(1)
        seeds = iter(range(sum(counts.values()) + 1))
        self.networks = {
            name: trained(RECIPES[name], [next(seeds) for _ in range(count)], x_train, split.train.y)
            for name, count in counts.items()
        }
        under_test = trained(RECIPES["plain"], [next(seeds)], x_train, split.train.y)[0]
        self.subject = Subject(
            model=under_test,
            x=x,
            y=split.test.y,
            manifold=PCA(dim=DIM).fit(x_train),
            x_train=x_train,
            y_train=split.train.y,
        )
        self.settings = Settings(samples=inputs, alpha=ALPHA)
        self._shared = Run(self.subject, self.settings).measure
        self._measures: dict[nn.Module, Measure] = {}
        with_pairs = Run(replace(self.subject, pairs=lambda seed: (under_test, under_test)), self.settings)
        self.needed = pairs_needed(with_pairs.gating_alpha)

    def accuracy(self, name: str) -> float:
        """Mean accuracy of the networks of a recipe."""
        x, y = self.subject.x, self.subject.y
        return float(np.mean([(net(x).argmax(1) == y).double().mean() for net in self.networks[name]]))

    def verdicts(self, row: Row, lists: int) -> Counter[str]:
        """In how many lists of pairs any claim is decided, and in how many the claim about depth is supported."""
        rng, found = np.random.default_rng(list(repr(row).encode())), Counter[str]()
        kinds = [*row.pairs, *([row.alternative] if row.alternative else [])]
        for _ in range(lists):
            order = {kind: iter(rng.permutation(len(self.networks[kind])).tolist()) for kind in kinds}
            made = [[self.networks[kind][next(order[kind])] for kind in kinds] for _ in range(self.needed)]
            said = self._said(made)
            found["decided"] += any(verdict != "inconclusive" for verdict in said)
            found["supported"] += said[0] == "supported"
        return found

    def _said(self, made: Sequence[Sequence[nn.Module]]) -> list[str]:
        alternative = [networks[2] for networks in made if len(networks) > 2] or None
        pairs = [(networks[0], networks[1]) for networks in made]
        run = Run(replace(self.subject, pairs=pairs, alternative=alternative), self.settings)
        run.soundness, run.trainings_soundness = (), {}
        run.measure.field = self._shared.field  # the tangent spaces that all networks were measured in
        for number, networks in enumerate(made):
            for name, network in zip((*PAIR, ALTERNATIVE), networks, strict=False):
                run.measure._others[of_pair(number, name)] = self._measure(network)
        planned = {one.id: one for one in run.planned}
        return [run.finding(planned[id]).verdict for id in PAIR_CLAIMS]

    def _measure(self, network: nn.Module) -> Measure:
        """The measurements of a network, which all lists share."""
        if network not in self._measures:
            shared = self._shared
            name, classifier = f"network {len(self._measures)}", adapt(network, self.subject.x)
            self._measures[network] = shared._of(name, classifier, shared.sample, shared.field)
        return self._measures[network]


def broken(found: Mapping[Row, Counter[str]], lists: int) -> Iterator[str]:
    """The bounds that do not hold, beyond what chance may do."""
    for row, counts in found.items():
        count = counts[row.verdict]
        if row.nominal is None:
            continue
        if row.is_right and binomtest(count, lists, row.nominal, alternative="less").pvalue < SURE:
            yield f"{_title(row)}: {row.verdict} in {count} of {lists} lists (at least {row.nominal:.0%})"
        if not row.is_right and above(count, lists, row.nominal):
            yield f"{_title(row)}: {row.verdict} in {count} of {lists} lists (at most {row.nominal:.0%})"


def _title(row: Row) -> str:
    return ", ".join(row.pairs) + (f"; alternative {row.alternative}" if row.alternative else "")


def table(found: Mapping[Row, Counter[str]], lists: int) -> str:
    """A row a kind of pairs."""
    rows = []
    for row, counts in found.items():
        nominal = "" if row.nominal is None else f"at {'least' if row.is_right else 'most'} {row.nominal:.0%}"
        claims = "any of the three claims" if row.verdict == "decided" else "depth"
        cells = {"pairs": ", ".join(row.pairs), "alternative": row.alternative or "none", "lists": lists}
        cells |= {
            "claim": f"{claims} {row.verdict}",
            "nominal": nominal,
            "share": _measured(row, counts[row.verdict], lists),
        }
        rows.append(cells)
    return str(tabulate(rows, headers="keys", tablefmt="github"))


def _measured(row: Row, count: int, lists: int) -> str:
    """A share with the exact limit on the side that matters, at 95 %."""
    if not row.is_right:
        return share(count, lists)
    low = float(binomtest(count, lists).proportion_ci(0.9, method="exact").low)
    return f"{count / lists:.1%} (at least {low:.1%})"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="fewer networks and lists, nothing written")
    parser.add_argument("--lists", type=int, default=40)
    options = parser.parse_args()
    start = time.perf_counter()
    few, inputs, lists = (30, 16, 6) if options.smoke else (60, INPUTS, options.lists)
    study = Study({"plain": few, "decayed": few if not options.smoke else 20, "adversarial": few // 2}, inputs)
    found = {}
    for row in ROWS:
        found[row] = study.verdicts(row, lists)
        print(f"{_title(row)}: {dict(found[row])} of {lists}, {time.perf_counter() - start:.0f} s", file=sys.stderr)
    failures = list(broken(found, lists))
    accuracies = ", ".join(f"{len(study.networks[name])} {name} ({study.accuracy(name):.1%})" for name in RECIPES)
    text = (
        "# What is said of adversarial training by pairs of small digits networks\n\n"
        f"Written by `python -m benchmarks.trained_alike`: {accuracies} with their accuracies,\n"
        f"PCA of dimension {DIM}, {inputs} inputs, {study.needed} pairs in each list, alpha {ALPHA:.0%} of a run, "
        f"{(time.perf_counter() - start) / 60:.0f} minutes of one core.\n"
        "Lists are drawn from the same networks. The limits in the last column are exact binomial ones at 95 %, as if\n"
        f"lists were independent. {'All bounds hold.' if not failures else 'A bound does not hold.'}\n\n"
        f"{table(found, lists)}\n"
    )
    print(text)
    if not options.smoke:
        RESULTS.write_text(text, encoding="utf-8")
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
