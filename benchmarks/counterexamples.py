"""What 1,000 candidates of the tier `search` cost on the network of the demo, and how simple its counterexamples are.

    python -m benchmarks.counterexamples            fails where 1,000 candidates take above 5 s
    python -m benchmarks.counterexamples --smoke    the same searches, without a bound on the time

The searches use the profile `ci` of Hypothesis. Within the narrow radii they find no counterexample, so that all
candidates are tried; within the wide ones they find one and make it simple. The function `augment` scales the
brightness by at most 2 %. Times are processor times of one thread.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from hypothesis import settings
from tabulate import tabulate
from torch import Tensor

import dmmcheck
from benchmarks.measuring import Counted
from dmmcheck.inference.types import SearchKind
from dmmcheck.strategies.search import Search, default_radius, search
from examples.digits import subject as digits

MOST_SECONDS = 5.0  # for 1,000 candidates
LEAST_CANDIDATES = 850  # of the 1,000 of a profile with 100 examples; steps of length zero are not tried
MOST_ROWS = 3  # through the model for each candidate


@dataclass(frozen=True)
class Case:
    """A search: what it is called, what it tries, how many default radii far, and whether it finds a counterexample."""

    name: str
    kind: SearchKind
    radii: float
    finds: bool


CASES = (
    Case("short steps on the manifold", "tangent", 0.25, finds=False),
    Case("short steps off the manifold", "normal", 0.002, finds=False),
    Case("brightness", "augment", 0.0, finds=False),
    Case("long steps on the manifold", "tangent", 20.0, finds=True),
    Case("long steps off the manifold", "normal", 20.0, finds=True),
)


def brighter(x: Tensor, seed: int) -> Tensor:
    """Scale the brightness by at most 2 %."""
    return x * (1 + 0.002 * (seed % 11))


def tried(case: Case, subject: dmmcheck.Subject, model: Counted) -> tuple[Search, float]:
    """What a search finds, and its processor seconds for 1,000 candidates; the model counts its rows from zero."""
    radius = None if case.kind == "augment" else case.radii * default_radius(subject)
    subject = replace(subject)  # a new one, for which nothing is kept
    model.forwards = 0
    start = time.process_time()
    found = search(subject, case.kind, name=case.name, radius=radius)
    return found, 1000 * (time.process_time() - start) / found.candidates


def broken(case: Case, found: Search, seconds: float, rows: int) -> Iterator[str]:
    """The bounds that a search breaks."""
    if case.finds != (found.found is not None):
        yield f"{case.name}: {found.found!r} was found, expected is {'one' if case.finds else 'no'} counterexample"
    if not case.finds and found.candidates < LEAST_CANDIDATES:
        yield f"{case.name}: {found.candidates} candidates were tried (at least {LEAST_CANDIDATES})"
    if rows > MOST_ROWS * found.candidates:
        yield f"{case.name}: {rows} rows for {found.candidates} candidates (at most {MOST_ROWS} each)"
    if seconds > MOST_SECONDS:
        yield f"{case.name}: {seconds:.1f} s for 1,000 candidates (at most {MOST_SECONDS})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    settings.load_profile("ci")
    model = Counted(digits.model()).eval()
    x, y = digits.split().test
    subject = dmmcheck.Subject(model=model, x=x, y=y, manifold=digits.manifold(), augment=brighter)
    table, wrong = [], []
    for case in CASES:
        found, seconds = tried(case, subject, model)
        wrong += broken(case, found, 0.0 if given.smoke else seconds, model.forwards)
        table.append(
            {
                "search": case.name,
                "candidates": found.candidates,
                "batches to make it simple": found.shrinking,
                "rows through the model": model.forwards,
                "seconds for 1,000": f"{seconds:.2f}",
                "counterexample": "none" if found.found is None else repr(found.found),
            }
        )
    print(tabulate(table, headers="keys", tablefmt="github"))
    sys.exit("\n".join(wrong) or 0)


if __name__ == "__main__":
    main()
