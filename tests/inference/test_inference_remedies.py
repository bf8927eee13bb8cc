"""The remedies that a reason names, more inputs or more draws, decide where they are applied."""

from __future__ import annotations

import re

import numpy as np
import pytest

from dmmcheck.inference import stats
from dmmcheck.inference.decide import MonteCarloTest, decide
from dmmcheck.inference.evidence import Evidence

REPEATS = 200


def advised(reason):
    return int(re.search(r"about (\d+) inputs would likely decide$", reason)[1])


@pytest.mark.parametrize(("share", "summary"), [(0.62, "median"), (0.6, "mean")])
def test_as_many_inputs_as_advised_decide_with_the_promised_power(share, summary):
    def evidence(rng, n):
        hits = rng.random(n) < share
        return Evidence.of(
            np.where(hits, 1.0, 0.0) if summary == "mean" else np.where(hits, 1.0, -1.0), summary=summary
        )

    limit = 0.5 if summary == "mean" else 0.0
    few = np.arange(64) < round(64 * share)
    first = Evidence.of(few if summary == "mean" else np.where(few, 1.0, -1.0), summary=summary)
    decision = decide(first, limit=limit, direction="greater", alpha=0.01)
    assert decision.verdict == "inconclusive"
    needed = advised(decision.reason)
    rng = np.random.default_rng(0)
    verdicts = [
        decide(evidence(rng, needed), limit=limit, direction="greater", alpha=0.01).verdict for _ in range(REPEATS)
    ]
    assert verdicts.count("supported") / REPEATS > 0.65  # the power is 80 % where the share is that of the first inputs
    assert "refuted" not in verdicts


def test_as_many_draws_as_alpha_needs_decide_where_fewer_cannot():
    evidence = Evidence.of(np.linspace(4, 6, 64))
    reasons = {}
    for count in (39, 200):
        draws = np.linspace(0, 1, count)
        p_value = stats.rank_p_value(5.0, draws, "greater")
        test = MonteCarloTest(p_value=p_value, least=1 / (count + 1), draws=f"{count} draws")
        reasons[count] = decide(evidence, limit=1.0, direction="greater", alpha=0.01, monte_carlo=test)
    assert reasons[39].verdict == "inconclusive"
    assert reasons[39].reason.endswith("39 draws cannot show p < 0.025, alpha here is 0.01")
    assert reasons[200].verdict == "supported"
