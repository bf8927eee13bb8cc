"""Reports to render, made by hand, and a Hypothesis strategy for any report."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import get_args

from hypothesis import strategies as st

from dmmcheck.inference.cost import Cost
from dmmcheck.inference.types import ChanceWord, Tier, Verdict
from dmmcheck.report.model import (
    Chance,
    Control,
    DistanceSummary,
    Finding,
    ManifoldSummary,
    Report,
    RunCost,
    Soundness,
    SubjectSummary,
)

ENERGY = Finding(
    check="off-manifold-energy",
    tier="stated",
    variant="builtin",
    statement="adversarial perturbations lie mostly off-manifold",
    statistic="rho_N of the minimal perturbation",
    unit="share",
    direction="greater",
    verdict="supported",
    gating=True,
    estimate=0.9123,
    interval=(0.8987, 0.9251),
    confidence=0.99,
    threshold=0.5,
    n=256,
    p_value=1e-9,
    reference="Shamir et al., arXiv 2106.10151",
    cost=Cost(gradient_evaluations=14080, seconds=1.25),
)
ENERGY_CONTROLLED = replace(
    ENERGY,
    tier="controlled",
    verdict="refuted",
    gating=False,
    threshold=0.889,
    confidence=0.95,
    p_value=0.831,
    control=Control(name="rotated tangent spaces", estimate=0.8761, interval=(0.8613, 0.8894)),
    chance=Chance(
        word="like",
        effect=0.0362,
        interval=(0.0121, 0.0512),
        control="rotated tangent spaces",
        p_value=0.831,
        draws=199,
    ),
)
ENERGY_SPECTRUM = replace(
    ENERGY_CONTROLLED,
    variant="spectrum",
    verdict="inconclusive",
    reason="the interval holds the limit 0.889; about 700 inputs would likely decide",
    control=Control(name="spectrum-matched spaces", estimate=0.881, interval=(0.86, 0.894)),
    chance=Chance(
        word="not-told",
        effect=0.0413,
        interval=(0.001, 0.0612),
        control="spectrum-matched spaces",
        p_value=0.4,
        draws=199,
        reason="the interval lies neither inside what chance does, 0.86 to 0.894, nor clear of it",
    ),
)
DISTANCE = replace(
    ENERGY,
    check="on-manifold-distance",
    statement="staying on the manifold needs larger perturbations",
    statistic="d_on / d_off",
    unit="ratio",
    verdict="refuted",
    estimate=0.71,
    interval=(0.66, math.inf),
    threshold=1.0,
    n=254,
    censored=3,
)
DEPTH = replace(
    ENERGY,
    check="adversarial-training-deepens",
    tier="mechanism",
    variant="depth",
    statement="adversarial training deepens the dimples",
    verdict="not-run",
    estimate=None,
    interval=None,
    confidence=None,
    p_value=None,
    n=0,
    threshold=1.0,
    reason="needs a standard and a robust model: set `reference` or `robust`",
)
MAIN_EFFECT = replace(
    DEPTH, variant="main-effect", statement="and that is its main effect: distances on the manifold grow less"
)
SUBJECT = SubjectSummary(
    model="DigitsCNN",
    model_hash="1c2d",
    classes=10,
    inputs=256,
    input_shape=(1, 8, 8),
    ambient_dim=64,
    accuracy=0.983,
    manifold=ManifoldSummary(name="local-pca", dim=8, hash="a1b2", residual_median=0.812, label_agreement=0.969),
)
SOUND = Soundness(name="eval-mode", family="model", ok=True, value=None, limit=None, message="as evaluated")
FLATNESS = Soundness(
    name="flatness-identity",
    family="attack",
    ok=None,
    value=0.0312,
    limit=None,
    message="median residual of (d_free/d_on)^2 + (d_free/d_off)^2 = 1; real boundaries are curved",
)
UNSOUND = Soundness(
    name="success-on",
    family="attack",
    ok=False,
    value=0.71,
    limit=0.95,
    message="found within the tangent space for 71 % of the inputs, needed 95 %",
)


def report(*findings: Finding, **changes: object) -> Report:
    """A report with everything in it, or with the findings given."""
    base = Report(
        dmmcheck="0.1.0",
        versions={"python": "3.11.7", "torch": "2.13.0"},
        seed=0,
        device="cpu",
        alpha=0.05,
        subject=SUBJECT,
        soundness=(SOUND, FLATNESS),
        distances={
            "free": DistanceSummary(
                median=0.454, quantiles={"0.05": 0.1, "0.5": 0.454, "0.95": 1.0}, n=256, censored=0
            ),
            "on": DistanceSummary(
                median=1.438, quantiles={"0.05": 0.4, "0.5": 1.438, "0.95": math.inf}, n=256, censored=17
            ),
            "off": DistanceSummary(median=0.481, quantiles={"0.05": 0.1, "0.5": 0.481, "0.95": 1.1}, n=256, censored=0),
        },
        findings=findings or (ENERGY, DISTANCE, DEPTH, ENERGY_CONTROLLED, ENERGY_SPECTRUM, MAIN_EFFECT),
    )
    return replace(base, **changes)


def row_of(text: str, *words: str) -> str:
    """The one line that has all the words."""
    (line,) = [line for line in text.splitlines() if all(word in line for word in words)]
    return line


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
names = st.from_regex(r"[a-z]{1,8}(-[a-z]{1,8}){0,2}", fullmatch=True)
floats = st.floats(width=64)
shares = st.floats(0, 1)
counts = st.integers(0, 10**6)
intervals = st.tuples(floats, floats)
controls = st.builds(Control, name=texts, estimate=floats, interval=intervals)
chances = st.builds(
    Chance,
    word=st.sampled_from(get_args(ChanceWord)),
    effect=floats,
    interval=intervals,
    control=texts,
    p_value=shares,
    draws=counts,
    reason=texts,
)
costs = st.builds(Cost, gradient_evaluations=counts, forward_evaluations=counts, seconds=st.floats(0, 1e6))
findings = st.builds(
    Finding,
    check=names,
    tier=st.sampled_from(get_args(Tier)),
    variant=names,
    statement=texts,
    statistic=texts,
    unit=texts,
    direction=st.sampled_from(["greater", "less"]),
    verdict=st.sampled_from(get_args(Verdict)),
    gating=st.booleans(),
    estimate=st.none() | floats,
    interval=st.none() | intervals,
    confidence=st.none() | shares,
    threshold=st.none() | floats,
    n=counts,
    censored=counts,
    p_value=st.none() | shares,
    control=st.none() | controls,
    chance=st.none() | chances,
    dims=st.none() | st.dictionaries(st.integers(1, 500), st.sampled_from(get_args(Verdict)), max_size=5),
    meaningless=st.none() | st.sampled_from(get_args(Verdict)),
    search_error=st.none() | intervals,
    replicates=counts,
    reason=texts,
    reference=texts,
    expected_failure=texts,
    out_of_time=st.booleans(),
    cost=costs,
)
run_costs = st.builds(
    RunCost, total=costs, shared=costs, parts=st.dictionaries(st.sampled_from(["search", "nulls"]), costs)
)
manifolds = st.builds(
    ManifoldSummary,
    name=texts,
    dim=st.integers(1, 1000),
    hash=texts,
    residual_median=st.none() | floats,
    label_agreement=st.none() | shares,
)
subjects = st.builds(
    SubjectSummary,
    model=texts,
    model_hash=texts,
    classes=st.integers(2, 1000),
    inputs=counts,
    input_shape=st.lists(st.integers(1, 500), min_size=1, max_size=3).map(tuple),
    ambient_dim=st.integers(1, 10**6),
    accuracy=shares,
    manifold=manifolds,
)
soundness = st.builds(
    Soundness,
    name=names,
    family=st.sampled_from(["model", "attack", "manifold"]),
    ok=st.none() | st.booleans(),
    value=st.none() | floats,
    limit=st.none() | floats,
    message=texts,
    widens=st.booleans(),
)
distances = st.builds(
    DistanceSummary,
    median=st.floats(0, exclude_max=False, allow_nan=False),
    quantiles=st.dictionaries(st.sampled_from(["0.05", "0.25", "0.5"]), st.floats(0, allow_nan=False), min_size=1),
    n=counts,
    censored=counts,
)
reports = st.builds(
    Report,
    dmmcheck=texts,
    versions=st.dictionaries(names, texts, max_size=3),
    seed=st.integers(0, 2**63),
    device=texts,
    alpha=st.floats(0.001, 0.5),
    subject=st.none() | subjects,
    soundness=st.lists(soundness, max_size=3).map(tuple),
    distances=st.dictionaries(st.sampled_from(["free", "on", "off", "random"]), distances),
    findings=st.lists(findings, max_size=5, unique_by=lambda f: f.id).map(tuple),
    complete=st.booleans(),
    errors=st.lists(texts, max_size=2).map(tuple),
    fast=st.booleans(),
    box=st.none() | st.tuples(st.floats(-10, 0), st.floats(1, 10)),
    cost=run_costs,
)
