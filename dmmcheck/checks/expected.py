"""How many gradients a test is expected to take, by counts of inputs, arms, draws and classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dmmcheck.checks.plan import Planned
from dmmcheck.inference.types import ARMS, SearchEffort
from dmmcheck.measurement.nulls import INPUTS_A_DRAW

GRADIENTS: Mapping[SearchEffort, int] = {"brief": 20, "quick": 35, "default": 80, "thorough": 450}
"""Gradients of a search for each input and arm: medians over the networks of ``benchmarks/RESULTS.md``; that of a brief
search is an estimate."""
GATES = 250  # gradients of the soundness gates for each of their inputs, most of them for the gate on effort
FEW_INPUTS = 64  # inputs of the gates, and of tests that take one look
DRAWS = 29  # searched draws of a control, between those of the first look and all
REFITS = 4  # manifold estimates of other dimensions
CLASSES = 10  # most target classes of a targeted search
TARGETED = 15  # gradients of a targeted search for each input and class
UNTRAINED = 12  # untrained networks that a claim beside them needs
PAIRS = 10  # pairs of trainings, where a function makes as many as are needed


def expected_gradients(
    planned: Iterable[Planned],
    *,
    inputs: int,
    classes: int,
    effort: SearchEffort,
    refits: bool = True,
    checkpoints: int = 0,
    pairs: int = PAIRS,
) -> dict[str, int]:
    """Return the expected gradients of each test, by its id, and of the measurements that all tests share, by "".

    They are right within a factor of a few: how soon a search converges and how soon a verdict is clear is not known
    beforehand, and searches of simple models converge sooner. What tests share is counted for the first.

    Args:
        planned: The tests that are to be measured.
        inputs: Number of inputs of the sample.
        classes: Number of classes.
        effort: Effort of the searches.
        refits: Whether stated claims are also judged for estimates of other dimensions.
        checkpoints: Number of checkpoints of the training.
        pairs: Number of pairs of trainings.
    """
    few, quick, search = min(inputs, FEW_INPUTS), GRADIENTS["quick"], GRADIENTS[effort]
    gates = few * (GATES + len(ARMS) * search)
    of_needs = {
        "checkpoints": checkpoints * few * search,
        "pair": gates + 2 * inputs * search,
        "pairs": gates + pairs * 2 * len(ARMS) * few * search,
        "examples": few * search,
        "classes": few * min(classes, CLASSES) * TARGETED,
    }
    expected = {"": gates + (inputs - few) * (len(ARMS) - 1) * search}  # tangent spaces only where a claim asks
    counted: set[str] = set()
    for one in planned:
        test, cost = one.test, 2 * few
        if test.control and test.draw_cost == "search":
            cost += DRAWS * min(few, INPUTS_A_DRAW) * GRADIENTS["brief"]
        elif test.draw_cost == "search":
            cost += UNTRAINED * few * quick
        cost += sum(of_needs.get(need, 0) for need in set(test.needs) - counted)
        if one.tier == "stated" and refits and "refits" not in counted:
            cost += REFITS * few * GRADIENTS["brief"] * len(ARMS)
            counted.add("refits")
        counted |= set(test.needs)
        expected[one.id] = cost
    return expected
