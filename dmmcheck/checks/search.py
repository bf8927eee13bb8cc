"""Searches for counterexamples with Hypothesis: small steps along and off the manifold, and augmentations."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from dmmcheck.checks.base import Check, Test, declare
from dmmcheck.errors import CheckError
from dmmcheck.inference.cost import Cost
from dmmcheck.inference.evidence import Claim, Evidence
from dmmcheck.inference.types import BUILTIN, SEARCH, SearchKind
from dmmcheck.report.model import Finding

if TYPE_CHECKING:
    from dmmcheck.measurement.view import View
    from dmmcheck.subject import Subject


def no_evidence(view: View) -> Evidence:
    """Return evidence without values: a search gives no number for each input, and is judged by `searched`."""
    del view
    return Evidence.of([])


def search_claim(
    id: str,
    kind: SearchKind,
    *,
    statement: str,
    statistic: str,
    unit: str,
    threshold: float,
    requires: tuple[str, ...],
    needs: tuple[str, ...] = (),
) -> Check:
    """Register a check with one test in the tier search.

    Args:
        id: Public name.
        kind: What is tried.
        statement: What is claimed.
        statistic: What the number of a counterexample is.
        unit: Its unit.
        threshold: What it is compared with; NaN where the radius takes its place.
        requires: Families of soundness items that must pass for a refutation.
        needs: What the subject must provide.
    """
    test = Test(
        tier=SEARCH,
        variant=BUILTIN,
        statement=statement,
        statistic=statistic,
        unit=unit,
        claim=Claim(threshold=threshold, direction="greater"),
        ask=no_evidence,
        needs=needs,
        requires=requires,
        search=kind,
    )
    return declare(id, statement, (test,))


def searched(draft: Finding, test: Test, subject: Subject, radius: float | None) -> Finding:
    """Return the finding of a search: refuted with the simplest counterexample, or inconclusive; never supported.

    Args:
        draft: The finding before the search.
        test: The test.
        subject: The subject under test.
        radius: The configured threshold of the check, the longest step; the default radius where None.

    Raises:
        CheckError: The test is not one of the tier search.
        DmmError: A candidate cannot be labelled, see `dmmcheck.strategies.search.search`.
    """
    from dmmcheck.strategies import search as searching  # noqa: PLC0415  # loads Hypothesis

    if test.search is None:
        raise CheckError(f"the test {draft.id!r} is not one of the tier search; declare it with search_claim")
    if not test.has_radius:
        limit = test.claim.threshold
    else:
        limit = radius = searching.default_radius(subject) if radius is None else radius
    begin = time.perf_counter()
    found = searching.search(subject, test.search, name=draft.id, radius=radius)
    done = replace(
        draft,
        threshold=limit,
        n=len(found.indices),
        replicates=len(found.indices),
        cost=Cost(gradient_evaluations=len(found.indices), seconds=time.perf_counter() - begin),
    )
    if found.found is None:
        within = f" with steps of length up to {limit:.4g}" if test.has_radius else ""
        reason = f"none in {found.candidates} tries{within}; a search cannot show that there is no counterexample"
        return replace(done, verdict="inconclusive", reason=reason)
    reason = searching.in_words(found.found)
    if found.blob:
        radius_said = f", radius={radius!r}" if test.has_radius else ""
        reason += (
            f"; {found.blob} above @given(dmmcheck.strategies.candidates(subject, {test.search!r}{radius_said})) gives "
            "it again"
        )
    return replace(
        done, verdict="refuted", estimate=found.statistic, reason=reason, counterexample=searching.as_plain(found.found)
    )


search_claim(
    "label-steady-on-manifold",
    "tangent",
    statement="small steps along the manifold keep the label",
    statistic="length of the shortest step in the tangent space that was found to change the label",
    unit="L2",
    threshold=float("nan"),
    requires=("model", "manifold"),
)
search_claim(
    "label-steady-off-manifold",
    "normal",
    statement="steps off the manifold within the radius keep the label",
    statistic="length of the shortest step in the normal space that was found to change the label",
    unit="L2",
    threshold=float("nan"),
    requires=("model", "manifold"),
)
search_claim(
    "augmentation-steady",
    "augment",
    statement="the function augment keeps the label",
    statistic="logit margin of the label at the simplest change by augment that was found to change it",
    unit="logits",
    threshold=0.0,
    requires=("model",),
    needs=("augment",),
)
