"""How often verdicts are false, and how often true claims are supported: check x world x seed.

    python -m benchmarks.calibration            # 200 seeds, two cores: under an hour; writes benchmarks/CALIBRATION.md
    python -m benchmarks.calibration --smoke    # under a minute, asserts the same bounds on a few seeds, writes nothing

Worlds are those of `dmmcheck.worlds`, whose answers are known, in small dimensions. A run is a real one
(`dmmcheck.run.Run`) but for two economies, neither of which can make a false verdict rarer. Soundness is computed in
full for what must be found unsound, and for the first few seeds elsewhere; where it is left out, nothing is
inconclusive for its sake. And only tests whose answer is known are asked, since no verdict depends on what else is
asked; alpha is shared out over all of them as in any run.

Results are appended to build/calibration.jsonl, a line a run, and taken up again from there as long as the package's
source stays the same.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from scipy import stats
from tabulate import tabulate

sys.path.insert(0, str(Path(__file__).parents[1]))  # also run as a file

from dmmcheck import worlds
from dmmcheck.checks.plan import Planned
from dmmcheck.config.settings import Settings
from dmmcheck.run import Run
from dmmcheck.worlds import World, dimples

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "build" / "calibration.jsonl"
TABLE = ROOT / "benchmarks" / "CALIBRATION.md"
ALPHA = 0.05
POWER = 0.95
SAVED = 0.30  # share of 512 inputs that early stopping may use
SURE = 1e-3  # a bound is broken where the count is this improbable under it
LEVELS = (0.0036, 0.01, 0.025, 0.05)
SOUNDNESS_SEEDS = 20
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
        at_limit: Claims that are false by a hair, the statistic being equal to what it is held against: they must not
            be supported, and cannot be refuted.
    """

    make: Callable[..., World]
    samples: int = 256
    tiers: tuple[str, ...] = ("stated", "mechanism")
    unrelated: bool = False
    stopping: bool = False
    only: tuple[str, ...] = ()
    at_limit: tuple[str, ...] = ()


ALL_TIERS = ("stated", "controlled", "mechanism")
PAIR_CHECKS = ("adversarial-training-deepens", "robust-turns-tangential")
PHASES = ("two-phases",)
PAIR = (
    "adversarial-training-deepens-mechanism-depth",
    "adversarial-training-deepens-mechanism-main-effect",
    "robust-turns-tangential-mechanism-builtin",
)
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
    "standard and robust": Case(make=partial(worlds.pair, **SMALL), only=PAIR_CHECKS),
    "robust and standard": Case(make=partial(worlds.pair, standard=0.3, robust=0.1, **SMALL), only=PAIR_CHECKS),
    "model with itself": Case(
        make=partial(worlds.pair, standard=0.1, robust=0.1, **SMALL), samples=128, only=PAIR_CHECKS, at_limit=PAIR
    ),
    "two phases": Case(make=partial(worlds.training, **SMALL), samples=64),
    "only falling": Case(make=partial(worlds.training, depths=dimples.FALLING, **SMALL), samples=64, only=PHASES),
    "only rising": Case(make=partial(worlds.training, depths=dimples.RISING, **SMALL), samples=64, only=PHASES),
    "constant depth": Case(
        make=partial(worlds.training, depths=dimples.CONSTANT, **SMALL), samples=64, at_limit=UNTRAINED
    ),
    "phases reversed": Case(make=partial(worlds.training, depths=dimples.REVERSED, **SMALL), samples=64, only=PHASES),
    **{
        f"unsound: {kind}": Case(
            make=partial(worlds.unsound, kind=kind, classes=4, samples=128, **SMALL), samples=64, tiers=ALL_TIERS
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

    @property
    def false(self) -> bool:
        """Supported where false, or refuted where true."""
        return self.verdict == {True: "refuted", False: "supported", None: ""}[self.truth]

    @property
    def correct(self) -> bool:
        """Supported where true, or refuted where false."""
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
    world = case.make(seed=seed, **({"samples": 600} if samples == 512 else {}))
    run = Run(world.subject, Settings(samples=samples, alpha=ALPHA, seed=seed))
    if kind == "fixed":
        run.measure.looks = (len(run.measure.sample.x),)
    if kind == "sound":
        failed = [item.name for item in run.soundness if item.ok is False]
    else:
        failed = []
        run.soundness, run.pair_soundness = (), {}
    asked, evaluations = [], 0
    for planned in _wanted(run.planned, case, world):
        finding = run.finding(planned)
        if finding.verdict != "not-run":
            truth = world.truth.get(planned.id)
            asked.append(Asked(planned.id, planned.gating, finding.verdict, finding.n, truth, finding.p_value))
            evaluations = max(evaluations, finding.cost.gradient_evaluations)
    return Outcome(name, seed, kind, source, failed, asked, evaluations, time.process_time() - start)


def _wanted(planned: Iterable[Planned], case: Case, world: World) -> Iterator[Planned]:
    for one in planned:
        known = one.id in world.truth or not world.sound
        if known and one.tier in case.tiers and (not case.only or one.check.id in case.only):
            yield one


def jobs(seeds: int, names: Iterable[str], *, sound: int, stopping: int) -> list[Job]:
    """Every run, seed after seed, so that what is interrupted is even."""
    found: list[Job] = []
    for seed in range(seeds):
        for name in names:
            unsound = name.startswith("unsound")
            found.append((name, seed, "sound" if unsound or seed < sound else "plain"))
            if CASES[name].stopping and seed < stopping:
                found += [(name, seed, "early"), (name, seed, "fixed")]
    return found


def source_of() -> str:
    """Changes with whatever a verdict depends on."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "dmmcheck").rglob("*.py")):
        if not {"report", "pytest_plugin"} & set(path.parts):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def measured(todo: list[Job], *, workers: int, kept: Path | None) -> list[Outcome]:
    """What is there already, and the rest run now, with progress on stderr."""
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
        known = [one for one in asked if one.gating and one.truth is not None and finding not in CASES[name].at_limit]
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


def short_table(tallies: Mapping[str, Tally]) -> str:
    """A row a world: false runs with an exact interval, how many claims were decided rightly, inputs."""
    rows = []
    for name, tally in tallies.items():
        runs = tally.judged
        asked = [one for group in tally.findings().values() for one in group]
        gating = [one for one in asked if one.gating and one.truth is not None and one.id not in CASES[name].at_limit]
        false = sum(run.false for run in runs)
        unsound = name.startswith("unsound")
        decided = sum(one.verdict in {"supported", "refuted"} for run in runs for one in run.asked)
        rows.append(
            {
                "world": name,
                "runs": len(runs),
                "runs with a false verdict": f"{decided} verdicts" if unsound else _rate(false, len(runs)),
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


def written(tallies: Mapping[str, Tally], failures: list[str]) -> str:
    """The whole document."""
    runs = [run for tally in tallies.values() for run in tally.outcomes]
    minutes = sum(run.seconds for run in runs) / 60
    source = ", ".join(sorted({run.source for run in runs}))
    bounds = (
        "All bounds hold." if not failures else "Bounds that do not hold:\n\n" + "\n".join(f"- {f}" for f in failures)
    )
    return f"""# How far the verdicts can be trusted

Written by `python -m benchmarks.calibration`: {len(runs)} runs on worlds with known answers (`dmmcheck.worlds`),
{minutes:.0f} minutes of one core. alpha is {ALPHA:.0%} for a whole run. Intervals are exact, 95 %. {bounds}

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
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--smoke", action="store_true", help="a few seeds, nothing written")
    options = parser.parse_args()
    if options.smoke:
        names = ["normal nearly in N", "normal in T", "blind off the manifold", "half way", "standard and robust"]
        names += ["two phases", "unsound: saturated", "unsound: step"]
        todo = jobs(3, names, sound=0, stopping=1)
    else:
        todo = jobs(options.seeds, CASES, sound=SOUNDNESS_SEEDS, stopping=STOPPING_SEEDS)
    tallies = tallied(measured(todo, workers=options.workers, kept=None if options.smoke else RESULTS))
    failures = list(broken(tallies))
    if not options.smoke:
        TABLE.write_text(written(tallies, failures), encoding="utf-8")
    print(short_table(tallies))
    if failures:
        sys.exit("\n".join(("bounds that do not hold:", *failures)))


if __name__ == "__main__":
    main()
