"""Reports with evidence per input, made by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import reports

from dmmcheck.report.model import InputEvidence, Portrait, Report, Strip, TrainingStep

INPUTS = 128


def with_evidence(n: int = INPUTS, *, factor: float = 1.0, first: int = 0) -> Report:
    """A report whose distances are `factor` times those of another; inputs are numbered from `first`."""
    rng = np.random.default_rng(0)
    free = rng.lognormal(size=first + n)[first:]
    steps = (-0.1, 0.0, 0.1, 0.0)
    evidence = InputEvidence(
        inputs=tuple(f"input-{first + number}" for number in range(n)),
        distances={
            name: tuple((factor * scale * free).tolist()) for name, scale in (("free", 1), ("on", 3), ("off", 1.1))
        },
        residuals=tuple((0.1 * free).tolist()),
        tangent_shares=tuple((0.1 + 0.001 * free).tolist()),
        settings={"effort": "default", "units": "input"},
        portrait=Portrait(
            input="input-0",
            extent=(3.0, 1.0),
            classes=((0, 0), (1, 1)),
            others={"robust": ((0, 0), (0, 1))},
            on=2.0,
            off=0.7,
        ),
        strips=(
            Strip(
                input="input-1", shape=(2, 2), image=(0.0, 0.5, 1.0, 0.2), steps={"free": steps}, lengths={"free": 0.14}
            ),
        ),
    )
    own = replace(
        reports.DISTANCE,
        check="boundary-clings",
        statistic="d_off / half the distance",
        worse="less",
        interval=(0.66, 0.75),
        values=tuple((factor * free).tolist()),
        dim_estimates={2: 0.7, 4: 0.8},
        trajectory=tuple(
            TrainingStep(step=s, median=m, low=m / 2, high=2 * m) for s, m in ((0, 1.0), (10, 0.2), (20, 0.6))
        ),
    )
    controlled = replace(reports.ENERGY_CONTROLLED, draws=tuple(rng.normal(0.88, 0.01, 199).tolist()))
    return reports.report(
        own, reports.ENERGY, controlled, reports.ENERGY_SPECTRUM, reports.DEPTH, evidence=evidence, run="a1b2"
    )
