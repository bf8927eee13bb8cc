"""How many gradients a test is expected to take, by counts of inputs, arms, draws and classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dmmcheck.checks.plan import Planned
from dmmcheck.inference.types import ARMS, EffortName
from dmmcheck.measurement.nulls import INPUTS_A_DRAW

GRADIENTS: Mapping[EffortName, int] = {"quick": 35, "default": 80, "thorough": 450}
"""Gradients of a search for each input and arm: medians over the networks of ``benchmarks/RESULTS.md``."""
GATES = 250  # gradients of the soundness gates for each of their inputs, most of them for the gate on effort
FEW_INPUTS = 64  # inputs of the gates, and of tests that take one look
DRAWS = 29  # searched draws of a control, between those of the first look and all
REFITS = 4  # manifold estimates of other dimensions
CLASSES = 10  # most target classes of a targeted search


def expected_gradients(
    planned: Iterable[Planned], *, inputs: int, classes: int, effort: EffortName, refits: bool = True
) -> dict[str, int]:
    """Expected gradients of each test, by its id, and of the measurements that all tests share, by "".

    They are right within a factor of a few: how soon a search converges and how soon a verdict is clear is not known
    beforehand, and searches of simple models converge sooner.

    Args:
        planned: The tests that are to be measured.
        inputs: Number of inputs of the sample.
        classes: Number of classes.
        effort: Effort of the searches.
        refits: Whether stated claims are also judged for estimates of other dimensions.
    """
    few, quick = min(inputs, FEW_INPUTS), GRADIENTS["quick"]
    expected = {"": few * (GATES + len(ARMS) * GRADIENTS[effort])}
    refitted = False
    for one in planned:
        test, cost = one.test, 2 * few
        if test.control and test.draw_cost == "search":
            cost += DRAWS * min(few, INPUTS_A_DRAW) * quick
        elif test.draw_cost == "search":
            cost += few * min(classes, CLASSES) * quick
        if one.tier == "stated" and refits and not refitted:
            cost, refitted = cost + REFITS * few * quick * len(ARMS), True
        expected[one.id] = cost
    return expected
