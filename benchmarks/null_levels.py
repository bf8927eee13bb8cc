"""Is the level of each searched control that of a thorough search, although its draws are searched briefly?

    python -m benchmarks.null_levels            # ten networks of five families; writes benchmarks/NULL_LEVELS.md
    python -m benchmarks.null_levels --smoke    # another digits CNN and few draws, with the same bound; writes nothing

A claim is compared with the median of its control's draws, the level of the control. A run searches draws with brief
effort. Here the same draws are searched again with thorough effort, at the same inputs. The two levels may differ by
2 %. The networks were trained for this study alone, and looked at once after the effort was chosen.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tabulate import tabulate

from benchmarks import networks
from benchmarks.networks import Case, load
from dmmcheck.checks import distance
from dmmcheck.inference.types import SearchEffort
from dmmcheck.manifolds import PCA
from dmmcheck.manifolds.fields import TangentField
from dmmcheck.measurement import nulls
from dmmcheck.measurement.measure import LabelledPool, Measure
from dmmcheck.measurement.sample import draw_sample
from dmmcheck.measurement.view import View
from dmmcheck.models.base import flat
from dmmcheck.models.torch import adapt

RESULTS = Path(__file__).with_name("NULL_LEVELS.md")
SEED, INPUTS, DRAWS, MOST = 31, 64, 19, 0.02
KINDS = (
    ("digits", "CNN"),
    ("digits", "GRU"),
    ("digits", "transformer"),
    ("digits", "SiLU CNN"),
    ("Fashion-MNIST", "max-pooling CNN"),
)
CASES = tuple(Case(data, kind, training, SEED) for data, kind in KINDS for training in ("standard", "adversarial"))
SMOKE = (Case("digits", "CNN", "standard", 0),)
DIMS = {"digits": (3, 16), "Fashion-MNIST": (32,)}
QUESTIONS = (
    ("d_on / d_free", distance.on_manifold_distance_controlled, ("rotation", "covariance", "spectrum")),
    ("d_off / (|x| / sqrt(D))", distance.boundary_clings_controlled, ("rotation",)),
)


def view_of(case: Case, dim: int) -> View:
    """Return a measurement of a network with a PCA manifold, of which nothing is measured yet."""
    images = load(case.data)
    classifier = adapt(networks.network(case), images.x_test)
    x_train = flat(classifier, images.x_train)
    sample = draw_sample(classifier, flat(classifier, images.x_test), images.y_test, seed=SEED, limit=INPUTS)
    field = TangentField(PCA(dim=dim).fit(x_train), sample.x)
    examples = LabelledPool(x_train, images.y_train)
    return View.of(Measure(classifier, sample, field, examples=examples, seed=SEED, joint=False))


def levels(case: Case, dim: int, effort: SearchEffort, draws: int) -> Iterator[tuple[str, str, float]]:
    """Yield the level of each control with an effort of the search of its draws, by statistic and control."""
    own, nulls.OF_DRAWS = nulls.OF_DRAWS, effort
    view = view_of(case, dim)
    try:
        for title, ask, controls in QUESTIONS:
            for control in controls:
                found = nulls.null_draws(view, ask, control, draws, searched=True)
                yield title, control, float(np.median(found))
    finally:
        nulls.OF_DRAWS = own


def rows(cases: tuple[Case, ...], draws: int) -> Iterator[list[object]]:
    """Yield a row for each network, dimension, statistic and control, with the ratio of the two levels."""
    for case in cases:
        for dim in DIMS[case.data]:
            both = [list(levels(case, dim, effort, draws)) for effort in (nulls.OF_DRAWS, "thorough")]
            for (title, control, brief), (_, _, thorough) in zip(*both, strict=True):
                row = [str(case), dim, title, control, f"{brief:.4g}", f"{thorough:.4g}", brief / thorough]
                print(*row, file=sys.stderr, flush=True)
                yield row


def main() -> int:
    """Print the table, and return 1 where a level differs by more than the bound."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="one network and few draws, nothing written")
    smoke = parser.parse_args().smoke
    torch.set_num_threads(1)
    start = time.process_time()
    draws = 4 if smoke else DRAWS
    table = list(rows(SMOKE if smoke else CASES, draws))
    ratios = np.array([row[-1] for row in table])
    worst = float(np.abs(ratios - 1).max())
    text = (
        "# The level of searched controls\n\n"
        f"Written by `python -m benchmarks.null_levels`: {draws} draws of each control, {INPUTS} inputs, "
        f"{(time.process_time() - start) / 60:.0f} minutes\nof one core. The levels differ by at most {worst:.1%} "
        f"(bound {MOST:.0%}), by {float(np.median(np.abs(ratios - 1))):.2%} in the median.\n\n"
        + tabulate(
            table,
            ["network", "k", "statistic", "control", "brief", "thorough", "ratio"],
            tablefmt="github",
            floatfmt=".3f",
        )
        + "\n"
    )
    print(text)
    if not smoke:
        RESULTS.write_text(text, encoding="utf-8")
    return int(worst > MOST)


if __name__ == "__main__":
    sys.exit(main())
