"""How often verdicts are false, and how often true claims are supported: check x world x seed.

    python -m benchmarks.calibration            # 100 seeds, two cores: 90 minutes; writes benchmarks/CALIBRATION.md
    python -m benchmarks.calibration --only "trained alike" --seeds 60    # some worlds; prints, writes nothing
    python -m benchmarks.calibration --smoke    # about a minute, asserts the same bounds on a few seeds, writes nothing

In most worlds the answers lie far from the limits, which shows that the machinery is right and nothing about alpha. In
others claims lie exactly at their limits: every verdict on them is false, and alpha is the share of runs that may have
one. `benchmarks.inference_alone` asks the same of the inference without a search, over many more runs.

Worlds are those of `dmmcheck.worlds`, whose answers are known, in small dimensions. A run is a real one
(`dmmcheck.run.Run`) but for two economies, neither of which can make a false verdict rarer. Soundness is computed in
full for what must be found unsound, and for the first few seeds elsewhere; where it is left out, nothing is
inconclusive for its sake. And only tests whose answer is known are asked, since no verdict depends on what else is
asked; alpha is shared out over all of them as in any run.

The seeds begin at `FIRST_SEED`, apart from those of tests and examples, so that nothing was tuned on these worlds.

Results are appended to build/calibration.jsonl, a line a run, and taken up again from there as long as the package's
source stays the same.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import math
import multiprocessing
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats
from tabulate import tabulate

sys.path.insert(0, str(Path(__file__).parents[1]))  # also run as a file

from benchmarks import inference_alone
from dmmcheck import worlds
from dmmcheck.checks.plan import Planned
from dmmcheck.config.settings import Settings
from dmmcheck.run import Run
from dmmcheck.subject import Subject
from dmmcheck.worlds import World, dimples, limits

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "build" / "calibration.jsonl"
TABLE = ROOT / "benchmarks" / "CALIBRATION.md"
ALPHA = 0.05
POWER = 0.95
SAVED = 0.30  # share of 512 inputs that early stopping may use
SURE = 1e-3  # a bound is broken where the count is this improbable under it
LEVELS = (0.0036, 0.01, 0.025, 0.05)
SOUNDNESS_SEEDS = 10
FIRST_SEED = 1_000_000
SMALL = {"ambient_dim": 32, "dim": 4}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A world and what is asked of it.

    Attributes:
        make: Seed to world.
        samples: Most inputs to use.
        tiers: Whose tests are asked.
        unrelated: The classifier knows nothing of the manifold: controlled claims must be supported seldom.
        stopping: Compared with one look at 512 inputs.
        only: Checks that are asked, where others say the same as in another world; all if empty.
        at_limit: Claims whose statistic is equal to what it is held against: neither verdict on them is right. Those of
            the world (`World.at_limit`) are added.
        share: Share of the seeds that are run, more than 1 where alpha is to be told.
        needs: A field of `Subject`, without which the case is left out. The copies and units need those of the branch
            that brings `groups` and `units`.
        is_clear: Claims lie far from their limits or exactly there, so that they must be decided.
        advisory: Claims that do not gate are counted with those that do, each with an alpha of its own.
        units: The features are stretched by powers of ten, and the verdicts in standard units must be those of the
            same world before.
    """

    make: Callable[..., World]
    samples: int = 256
    tiers: tuple[str, ...] = ("stated", "mechanism")
    unrelated: bool = False
    stopping: bool = False
    only: tuple[str, ...] = ()
    at_limit: tuple[str, ...] = ()
    share: float = 1.0
    needs: str = ""
    units: bool = False
    advisory: bool = False
    is_clear: bool = True

    @property
    def is_available(self) -> bool:
        """Whether this version of the package has what the case needs."""
        return not self.needs or self.needs in {one.name for one in fields(Subject)}


ALL_TIERS = ("stated", "controlled", "mechanism")
PAIR_CHECKS = ("adversarial-training-deepens", "robust-turns-tangential")
PHASES = ("two-phases",)
TRAININGS = partial(worlds.trainings, samples=16, **SMALL)
AT_LIMITS = partial(worlds.at_limits, **SMALL)
OFTEN, HALF, SELDOM = 2.0, 0.5, 0.25
UNTRAINED = (
    "boundary-clings-mechanism-builtin",
    "normal-gradient-growth-mechanism-builtin",
    "normal-gradient-growth-mechanism-against-tangent",
)
CASES: Mapping[str, Case] = {
    "normal nearly in N": Case(make=partial(worlds.hyperplane, angle=85.0, **SMALL), stopping=True),
    "normal in N": Case(make=partial(worlds.sheets, **SMALL), stopping=True),
    "normal in T": Case(make=partial(worlds.hyperplane, angle=0.0, **SMALL), stopping=True),
    "Haar normal": Case(make=partial(worlds.haar, **SMALL), samples=128, tiers=ALL_TIERS, unrelated=True),
    "trained, random subspace": Case(
        make=partial(worlds.random_subspace, image=(4, 8), **SMALL), samples=64, tiers=ALL_TIERS, unrelated=True
    ),
    "trained, rotated copy": Case(make=partial(worlds.rotated, **SMALL), samples=64, tiers=ALL_TIERS, unrelated=True),
    "trained alike, any order": Case(
        make=partial(worlds.random_subspace, reference_models=9, **SMALL),
        samples=32,
        tiers=("controlled",),
        unrelated=True,
        only=(*PAIR_CHECKS, *PHASES),
    ),
    "sphere": Case(make=partial(worlds.sphere, **SMALL)),
    "shallow dimples": Case(make=partial(worlds.dimpled, **SMALL), stopping=True),
    "deep dimples": Case(make=partial(worlds.dimpled, depth=2.0, **SMALL)),
    "blind off the manifold": Case(make=partial(worlds.blind, **SMALL), stopping=True),
    "half way": Case(make=partial(worlds.neighbours, classes=4, **SMALL)),
    "classes on a line": Case(make=partial(worlds.neighbours, layout="line", ambient_dim=32, dim=8)),
    "classes change places": Case(make=partial(worlds.crossed, **SMALL)),
    "standard and robust": Case(make=partial(worlds.pair, **SMALL), only=PAIR_CHECKS, advisory=True),
    "robust and standard": Case(
        make=partial(worlds.pair, standard=0.3, robust=0.1, **SMALL), only=PAIR_CHECKS, advisory=True
    ),
    "model with itself": Case(
        make=partial(worlds.pair, standard=0.1, robust=0.1, **SMALL),
        samples=128,
        only=PAIR_CHECKS,
        at_limit=dimples.PAIR_CLAIMS,
        advisory=True,
    ),
    "two phases": Case(make=partial(worlds.training, **SMALL), samples=64),
    "only falling": Case(make=partial(worlds.training, depths=dimples.FALLING, **SMALL), samples=64, only=PHASES),
    "only rising": Case(make=partial(worlds.training, depths=dimples.RISING, **SMALL), samples=64, only=PHASES),
    "constant depth": Case(
        make=partial(worlds.training, depths=dimples.CONSTANT, **SMALL), samples=64, at_limit=UNTRAINED
    ),
    "phases reversed": Case(make=partial(worlds.training, depths=dimples.REVERSED, **SMALL), samples=64, only=PHASES),
    "at the limits, 45 degrees": Case(make=AT_LIMITS, share=OFTEN),
    "at the limits, 53 degrees": Case(make=partial(AT_LIMITS, angle=limits.SUFFICES), share=OFTEN),
    "at the limits, 35 degrees": Case(make=partial(AT_LIMITS, angle=limits.RESTORES), share=OFTEN),
    "45 degrees for every input": Case(
        make=partial(worlds.hyperplane, angle=limits.LEVEL, **SMALL),
        only=("off-manifold-energy", "boundary-parallel", "on-manifold-distance"),
        at_limit=limits.BY_ANGLE[limits.LEVEL],
    ),
    "53 degrees for every input": Case(
        make=partial(worlds.hyperplane, angle=limits.SUFFICES, **SMALL),
        only=("off-manifold-suffices",),
        at_limit=limits.BY_ANGLE[limits.SUFFICES],
    ),
    "53 degrees, along the manifold": Case(
        make=partial(worlds.hyperplane, angle=limits.SUFFICES, **SMALL), only=("dimples-shallow",), is_clear=False
    ),
    "85 x 6 copies, found": Case(make=partial(AT_LIMITS, copies=6, samples=510), samples=512, needs="groups"),
    "11 x 6 copies, found": Case(  # 11 inputs need not decide a claim whose values spread around 1.13 times its limit
        make=partial(AT_LIMITS, copies=6, samples=66), samples=512, needs="groups", is_clear=False
    ),
    "85 x 6 copies, declared": Case(
        make=partial(AT_LIMITS, copies=6, samples=510, noise=0.5, declared_groups=True), samples=512, needs="groups"
    ),
    "features in other units": Case(
        make=partial(worlds.hyperplane, angle=80.0, noise=0.1, samples=128, **SMALL), needs="units", units=True
    ),
    "trained alike": Case(make=partial(TRAININGS, robust=0.1), samples=16, share=HALF, only=PAIR_CHECKS),
    "trained against attacks": Case(make=TRAININGS, samples=16, share=HALF, only=PAIR_CHECKS),
    "alternative deepens as much": Case(
        make=partial(TRAININGS, alternative=0.3), samples=16, share=HALF, only=PAIR_CHECKS
    ),
    "alternative does not deepen": Case(
        make=partial(TRAININGS, alternative=0.1), samples=16, share=HALF, only=PAIR_CHECKS
    ),
    **{
        f"unsound: {kind}": Case(
            make=partial(worlds.unsound, kind=kind, classes=4, samples=128, **SMALL),
            samples=64,
            tiers=ALL_TIERS,
            share=SELDOM,
        )
        for kind in worlds.KINDS
    },
}
STOPPING_SEEDS = 20


@dataclass(frozen=True)
class Asked:
    """One finding of one run."""

    id: str
    gating: bool
    verdict: str
    n: int
    truth: bool | None
    p_value: float | None = None
    at_limit: bool = False
    expected: str = ""  # the verdict of the same run in other units

    @property
    def false(self) -> bool:
        """Supported where false, or refuted where true; any verdict at a limit; another one than that expected."""
        if self.at_limit:
            return self.verdict in {"supported", "refuted"}
        if self.expected:
            return self.verdict != self.expected
        return self.verdict == {True: "refuted", False: "supported", None: ""}[self.truth]

    @property
    def known(self) -> bool:
        """Whether there is a right verdict."""
        return not self.at_limit and (self.truth is not None or self.expected != "")

    @property
    def correct(self) -> bool:
        """Supported where true, or refuted where false."""
        if self.expected:
            return self.verdict == self.expected
        return self.verdict == {True: "supported", False: "refuted", None: ""}[self.truth]


@dataclass(frozen=True)
class Outcome:
    """One run."""

    case: str
    seed: int
    kind: str  # "plain", "sound" (with soundness), "fixed" (one look at 512)
    source: str
    failed: list[str]
    asked: list[Asked]
    evaluations: int
    seconds: float

    @property
    def false(self) -> bool:
        """Whether a gating verdict is false, of those the whole-run alpha is for."""
        return any(one.false for one in self.asked if one.gating)


Job = tuple[str, int, str]


def perform(job: Job, source: str) -> Outcome:
    """One run of a case, by process time."""
    name, seed, kind = job
    case = CASES[name]
    start = time.process_time()
    samples = 512 if kind in {"fixed", "early"} else case.samples
    world = case.make(seed=seed, **({"samples": 600} if kind in {"fixed", "early"} else {}))
    settings = Settings(samples=samples, alpha=ALPHA, seed=seed)
    if case.units:
        return Outcome(name, seed, kind, source, [], _in_units(world, settings), 0, time.process_time() - start)
    run = Run(world.subject, settings)
    if kind == "fixed":
        run.measure.looks = (len(run.measure.sample.x),)
    if kind == "sound":
        failed = [item.name for item in run.soundness if item.ok is False]
    else:
        failed = []
        run.soundness, run.pair_soundness, run.trainings_soundness = (), {}, {}
    asked, evaluations = [], 0
    for planned in _wanted(run.planned, case, world):
        finding = run.finding(planned)
        if finding.verdict != "not-run":
            truth = world.truth.get(planned.id)
            counts, at_limit = planned.gating or case.advisory, planned.id in {*world.at_limit, *case.at_limit}
            asked.append(Asked(planned.id, counts, finding.verdict, finding.n, truth, finding.p_value, at_limit))
            evaluations = max(evaluations, finding.cost.gradient_evaluations)
    return Outcome(name, seed, kind, source, failed, asked, evaluations, time.process_time() - start)


def _in_units(world: World, settings: Settings) -> list[Asked]:
    """The stated claims with features in units of their own, and the verdicts before as those expected."""
    found = []
    units: Any = {"units": "standard"}
    for one in (worlds.stretched(world, seed=settings.seed), world):
        run = Run(replace(one.subject, **units), settings)
        run.soundness = ()
        stated = [planned for planned in run.planned if planned.tier == "stated"]
        found.append([run.finding(planned) for planned in stated])
    pairs = [pair for pair in zip(stated, *found, strict=True) if pair[1].verdict != "not-run"]
    return [
        Asked(planned.id, planned.gating, other.verdict, other.n, None, expected=before.verdict)
        for planned, other, before in pairs
    ]


def _wanted(planned: Iterable[Planned], case: Case, world: World) -> Iterator[Planned]:
    for one in planned:
        known = one.id in world.truth or one.id in {*world.at_limit, *case.at_limit} or not world.sound
        if known and one.tier in case.tiers and (not case.only or one.check.id in case.only):
            yield one


def jobs(seeds: int, names: Iterable[str], *, sound: int, stopping: int) -> list[Job]:
    """Every run, seed after seed, so that what is interrupted is even."""
    found: list[Job] = []
    available = [name for name in names if CASES[name].is_available]
    for number in range(math.ceil(seeds * OFTEN)):
        for name in available:
            seed, unsound = FIRST_SEED + number, name.startswith("unsound")
            if number >= math.ceil(seeds * CASES[name].share):
                continue
            found.append((name, seed, "sound" if unsound or number < sound else "plain"))
            if CASES[name].stopping and number < stopping:
                found += [(name, seed, "early"), (name, seed, "fixed")]
    return found


def source_of() -> str:
    """Return a hash of whatever a verdict depends on, the cases among it; docstrings and comments change nothing."""
    digest = hashlib.sha256(_code(Path(__file__)))
    for path in sorted((ROOT / "dmmcheck").rglob("*.py")):
        if not {"report", "pytest_plugin", "strategies"} & set(path.parts):
            digest.update(_code(path))
    return digest.hexdigest()[:16]


def _code(path: Path) -> bytes:
    """Return the syntax tree of a file without its docstrings, as text."""
    tree = ast.parse(path.read_bytes())
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            body[0].value.value = None
    return ast.dump(tree).encode()


def measured(todo: list[Job], *, workers: int, kept: Path | None) -> list[Outcome]:
    """The outcomes of all jobs: those that earlier runs of this source kept are read, and the others are run now."""
    source = source_of()
    done = [outcome for outcome in _read(kept) if outcome.source == source] if kept else []
    known = {(outcome.case, outcome.seed, outcome.kind) for outcome in done}
    done = [outcome for outcome in done if (outcome.case, outcome.seed, outcome.kind) in set(todo)]
    rest = [job for job in todo if job not in known]
    start = time.monotonic()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread) as pool:
        for count, future in enumerate(as_completed([pool.submit(perform, job, source) for job in rest]), 1):
            outcome = future.result()
            done.append(outcome)
            if kept:
                kept.parent.mkdir(exist_ok=True)
                with kept.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(outcome)) + "\n")
            _progress(count, len(rest), time.monotonic() - start)
    return done


def _one_thread() -> None:
    import torch  # noqa: PLC0415  # in the worker

    torch.set_num_threads(1)


def _progress(count: int, total: int, seconds: float) -> None:
    if sys.stderr.isatty():
        left = seconds / count * (total - count)
        print(f"\r\033[K{count} of {total} runs, {left / 60:.0f} minutes left", end="", file=sys.stderr, flush=True)
        if count == total:
            print(file=sys.stderr)
    elif count % 100 == 0 or count == total:
        print(f"{count} of {total} runs, {seconds / 60:.1f} minutes", file=sys.stderr, flush=True)


def _read(path: Path) -> list[Outcome]:
    if not path.exists():
        return []
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [Outcome(**{**row, "asked": [Asked(**one) for one in row["asked"]]}) for row in rows]


@dataclass
class Tally:
    """The runs of one case."""

    outcomes: list[Outcome] = field(default_factory=list)

    def of(self, *kinds: str) -> list[Outcome]:
        """The runs of some kinds."""
        return [outcome for outcome in self.outcomes if outcome.kind in kinds]

    @property
    def judged(self) -> list[Outcome]:
        """The runs that rates are taken over. Where soundness failed, all in them is inconclusive."""
        return self.of("plain", "sound")

    def findings(self) -> dict[str, list[Asked]]:
        """By finding, over the runs that soundness let pass."""
        found: dict[str, list[Asked]] = defaultdict(list)
        for outcome in self.judged:
            for one in outcome.asked if not outcome.failed else []:
                found[one.id].append(one)
        return found


def broken(tallies: Mapping[str, Tally]) -> Iterator[str]:
    """The bounds that do not hold, beyond what chance may do."""
    for name, tally in tallies.items():
        runs = tally.judged
        if name.startswith("unsound"):
            decided = sum(one.verdict in {"supported", "refuted"} for run in runs for one in run.asked)
            if decided:
                yield f"{name}: {decided} verdicts on an unsound measurement"
            continue
        false = sum(run.false for run in runs)
        if _above(false, len(runs), ALPHA):
            yield f"{name}: {false} of {len(runs)} runs have a false verdict (at most {ALPHA:.0%})"
        yield from _broken_findings(name, tally)
        yield from _broken_stopping(name, tally)


def _broken_findings(name: str, tally: Tally) -> Iterator[str]:
    for finding, asked in tally.findings().items():
        if CASES[name].unrelated and "-controlled-" in finding and asked[0].truth is False:
            supported = sum(one.verdict == "supported" for one in asked)
            if _above(supported, len(asked), ALPHA):
                yield f"{name}: {finding} is supported in {supported} of {len(asked)} draws (at most {ALPHA:.0%})"
        known = [one for one in asked if one.gating and one.known and CASES[name].is_clear]
        correct = sum(one.correct for one in known)
        if known and stats.binomtest(correct, len(known), POWER, alternative="less").pvalue < SURE:
            yield f"{name}: {finding} is decided correctly in {correct} of {len(known)} runs (at least {POWER:.0%})"


def _broken_stopping(name: str, tally: Tally) -> Iterator[str]:
    early, fixed = ({run.seed: run for run in tally.of(kind)} for kind in ("early", "fixed"))
    both = sorted(early.keys() & fixed.keys())
    if not both:
        return
    used = np.mean([one.n / other.n for seed in both for one, other in _matched(early[seed], fixed[seed])])
    if used > SAVED:
        yield f"{name}: early stopping uses {used:.0%} of the inputs (at most {SAVED:.0%})"
    changed = sum(one.verdict != other.verdict for seed in both for one, other in _matched(early[seed], fixed[seed]))
    if changed:
        yield f"{name}: early stopping changes {changed} verdicts"


def _matched(early: Outcome, fixed: Outcome) -> list[tuple[Asked, Asked]]:
    return list(zip(early.asked, fixed.asked, strict=True))


def _above(count: int, total: int, share: float) -> bool:
    return bool(total) and stats.binomtest(count, total, share, alternative="greater").pvalue < SURE


def has_limits(tally: Tally) -> bool:
    """Whether claims that gate lie at their limits."""
    return any(one.at_limit and one.gating for run in tally.judged for one in run.asked)


def limits_table(tallies: Mapping[str, Tally]) -> str:
    """A row a world with claims at their limits: runs with a false verdict beside the nominal share."""
    rows = []
    for name, tally in tallies.items():
        if has_limits(tally):
            runs = tally.judged
            rows.append(
                {
                    "world": name,
                    "runs": len(runs),
                    "nominal": f"{ALPHA:.0%}",
                    "runs with a false verdict": _rate(sum(run.false for run in runs), len(runs)),
                    "claims at their limit": len({one.id for run in runs for one in run.asked if one.at_limit}),
                }
            )
    return tabulate(rows, headers="keys", tablefmt="github")


def short_table(tallies: Mapping[str, Tally]) -> str:
    """A row a world: false runs with an exact interval, how many claims were decided rightly, inputs."""
    rows = []
    for name, tally in tallies.items():
        if has_limits(tally):
            continue
        runs = tally.judged
        asked = [one for group in tally.findings().values() for one in group]
        gating = [one for one in asked if one.gating and one.known]
        false = sum(run.false for run in runs)
        unsound = name.startswith("unsound")
        decided = sum(one.verdict in {"supported", "refuted"} for run in runs for one in run.asked)
        rows.append(
            {
                "world": name,
                "runs": len(runs),
                "runs with a false verdict": f"{decided} verdicts" if unsound else _rate(false, len(runs)),
                "nominal": "0" if unsound else f"{ALPHA:.0%}",
                "claims": len({one.id for one in gating}),
                "decided rightly": f"{np.mean([one.correct for one in gating]):.1%}" if gating else "",
                "inputs": f"{np.mean([one.n for one in gating]):.0f}" if gating else "",
            }
        )
    return tabulate(rows, headers="keys", tablefmt="github")


def long_table(tallies: Mapping[str, Tally]) -> str:
    """A row a finding and world."""
    rows = []
    for name, tally in tallies.items():
        if name.startswith("unsound"):
            continue
        for finding, asked in tally.findings().items():
            counts = Counter(one.verdict for one in asked)
            truths = {one.truth for one in asked}
            truth = {True: "true", False: "false", None: "-"}[truths.pop()] if len(truths) == 1 else "varies"
            truth = "at its limit" if asked[0].at_limit else "the same" if asked[0].expected else truth
            shares = {word: f"{counts[word] / len(asked):.1%}" for word in ("supported", "refuted", "inconclusive")}
            row = {"world": name, "finding": finding, "claim": truth, "runs": len(asked), **shares}
            rows.append({**row, "inputs": f"{np.mean([one.n for one in asked]):.0f}"})
    return tabulate(rows, headers="keys", tablefmt="github")


def unrelated_table(tallies: Mapping[str, Tally]) -> str:
    """Controlled claims where the classifier knows nothing of the manifold: in how many draws they are supported."""
    rows = []
    for name, tally in tallies.items():
        if not CASES[name].unrelated:
            continue
        for finding, asked in tally.findings().items():
            if "-controlled-" in finding:
                supported = sum(one.verdict == "supported" for one in asked)
                rows.append(
                    {
                        "world": name,
                        "finding": finding,
                        "claim": "false" if asked[0].truth is False else "true",
                        "supported": _rate(supported, len(asked)),
                    }
                )
    return tabulate(rows, headers="keys", tablefmt="github")


def p_value_table(tallies: Mapping[str, Tally]) -> str:
    """How small the p-values of false controlled claims are, over all unrelated worlds: no oftener than they say."""
    p_values = defaultdict(list)
    for name, tally in tallies.items():
        for finding, asked in tally.findings().items():
            if CASES[name].unrelated and "-controlled-" in finding and asked[0].truth is False:
                p_values[finding].extend(one.p_value for one in asked if one.p_value is not None)
    rows = [
        {"finding": finding, "draws": len(found)}
        | {f"p <= {level}": f"{np.mean(np.array(found) <= level):.2%}" for level in LEVELS}
        for finding, found in p_values.items()
    ]
    return tabulate(rows, headers="keys", tablefmt="github")


def soundness_table(tallies: Mapping[str, Tally]) -> str:
    """In how many runs an item failed, and which."""
    rows = []
    for name, tally in tallies.items():
        runs = tally.of("sound")
        failed = Counter(item for run in runs for item in run.failed)
        if runs:
            row = {"world": name, "runs": len(runs), "unsound": sum(bool(run.failed) for run in runs)}
            rows.append({**row, "items": ", ".join(f"{item} {count}" for item, count in failed.most_common())})
    return tabulate(rows, headers="keys", tablefmt="github")


def stopping_table(tallies: Mapping[str, Tally]) -> str:
    """Early stopping beside one look at 512 inputs."""
    rows = []
    for name, tally in tallies.items():
        early, fixed = ({run.seed: run for run in tally.of(kind)} for kind in ("early", "fixed"))
        pairs = [pair for seed in early.keys() & fixed.keys() for pair in _matched(early[seed], fixed[seed])]
        if pairs:
            spent = (sum(run.evaluations for run in runs.values()) for runs in (early, fixed))
            rows.append(
                {
                    "world": name,
                    "verdicts": len(pairs),
                    "same": sum(one.verdict == other.verdict for one, other in pairs),
                    "inputs used": f"{np.mean([one.n / other.n for one, other in pairs]):.0%}",
                    "gradient evaluations": f"{next(spent) / next(spent):.0%}",
                }
            )
    return tabulate(rows, headers="keys", tablefmt="github")


def _rate(count: int, total: int) -> str:
    """``3 of 200 (1.5 %, 0.3 to 4.3 %)`` with the exact 95 % interval of Clopper and Pearson."""
    ends = stats.binomtest(count, total).proportion_ci(0.95, method="exact")
    return f"{count} of {total} ({count / total:.1%}, {ends.low:.1%} to {ends.high:.1%})"


def written(tallies: Mapping[str, Tally], failures: list[str], inference: str) -> str:
    """The whole document."""
    runs = [run for tally in tallies.values() for run in tally.outcomes]
    minutes = sum(run.seconds for run in runs) / 60
    source = ", ".join(sorted({run.source for run in runs}))
    bounds = (
        "All bounds hold." if not failures else "Bounds that do not hold:\n\n" + "\n".join(f"- {f}" for f in failures)
    )
    return f"""# How far the verdicts can be trusted

Written by `python -m benchmarks.calibration`: {len(runs)} runs on worlds with known answers (`dmmcheck.worlds`),
{minutes:.0f} minutes of one core, with seeds from {FIRST_SEED} on. alpha is {ALPHA:.0%} for a whole run. Intervals are
exact, 95 %. {bounds}

Package source {source} (a hash of the modules that verdicts depend on). D is {SMALL["ambient_dim"]} and
k {SMALL["dim"]}, mostly; `wrong-label-training` needs trained networks and is not in it.

Soundness is computed in full where the world is unsound, and for the first {SOUNDNESS_SEEDS} seeds elsewhere. Where it
is left out nothing is inconclusive for its sake, which makes false verdicts no rarer. How many claims are decided is
counted over the runs that soundness let pass.

## Whole runs

A run has a false verdict where any gating claim is supported and false, or refuted and true. "claims": gating ones
whose answer is known; "decided rightly": their share over the runs; "inputs": the mean number used.

<!-- short form -->
{short_table(tallies)}
<!-- end of short form -->

## Claims exactly at their limits

Worlds in which the median of a statistic, or a rate, is the limit of the claim: any verdict is false. In those with an
angle "for every input" the statistic is the limit up to rounding, at every input.

<!-- limits -->
{limits_table(tallies)}
<!-- end of limits -->

The inference without a search, as `python -m benchmarks.inference_alone` measures it: {inference_alone.RUNS} runs of
{inference_alone.CLAIMS} claims at their limits each, with the looks and shares of alpha of a run. The share of runs
with a verdict, and its exact upper limit at 95 %. {inference_alone.too_few()} inputs never decide a median.

<!-- inference -->
{inference}
<!-- end of inference -->

## Claims that this manifold is special, where the classifier knows nothing of it

Each controlled claim has an alpha of {ALPHA:.0%} of its own. "True" ones are true for the data's sake: `noise-like` is
true of a tangent space in which the data lie, whatever the model.

{unrelated_table(tallies)}

A gating claim has a small share of alpha. How often the Monte-Carlo p-value of a false claim is at or below such a
level, over all these worlds:

{p_value_table(tallies)}

## Stopping early

The same tests with looks at 32, 64, 128, 256 and 512 inputs, and with one look at 512; clear worlds, {STOPPING_SEEDS}
seeds each.

{stopping_table(tallies)}

## Soundness

{soundness_table(tallies)}

## Every finding

{long_table(tallies)}
"""


def tallied(outcomes: Iterable[Outcome]) -> dict[str, Tally]:
    """Outcomes by case, in the order of the cases."""
    tallies = {name: Tally() for name in CASES}
    for outcome in outcomes:
        tallies[outcome.case].outcomes.append(outcome)
    return {name: tally for name, tally in tallies.items() if tally.outcomes}


def main() -> None:
    """Measure, write, and exit with an error where a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--only", choices=CASES, action="append", help="only these worlds, and nothing is written")
    parser.add_argument("--smoke", action="store_true", help="a few seeds, nothing written")
    options = parser.parse_args()
    if options.smoke:
        names = ["normal nearly in N", "normal in T", "blind off the manifold", "half way", "standard and robust"]
        names += ["two phases", "unsound: step", "at the limits, 45 degrees", "at the limits, 35 degrees"]
        names += ["11 x 6 copies, found", "features in other units", "trained alike", "alternative deepens as much"]
        todo = jobs(3, names, sound=0, stopping=1)
    elif options.only:
        todo = jobs(options.seeds, options.only, sound=0, stopping=0)
    else:
        todo = jobs(options.seeds, CASES, sound=SOUNDNESS_SEEDS, stopping=STOPPING_SEEDS)
    tallies = tallied(measured(todo, workers=options.workers, kept=None if options.smoke else RESULTS))
    failures = list(broken(tallies))
    if options.only:
        print(f"{short_table(tallies)}\n\n{limits_table(tallies)}\n\n{long_table(tallies)}", *failures, sep="\n")
        return
    draws = inference_alone.FEW_RUNS if options.smoke else inference_alone.RUNS
    alone = inference_alone.measured(draws)
    failures += inference_alone.broken(alone, draws)
    if not options.smoke:
        TABLE.write_text(written(tallies, failures, inference_alone.table(alone, draws)), encoding="utf-8")
    print(f"{short_table(tallies)}\n\n{limits_table(tallies)}\n\n{inference_alone.table(alone, draws)}")
    if failures:
        sys.exit("\n".join(("bounds that do not hold:", *failures)))


if __name__ == "__main__":
    main()
