"""The console command ``dmmcheck``: run the checks without pytest, compare and convert reports, explain a check.

It also says what measurements are kept for later runs, and removes them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dmmcheck.config.schema import KEYS, SUBJECT, did_you_mean, what_is_missing
from dmmcheck.config.settings import Config, listed_names, load_config
from dmmcheck.errors import CheckError, ConfigError, DmmError
from dmmcheck.errors.text import harmless, shown
from dmmcheck.report import json, terminal, wording
from dmmcheck.report.changes import compared
from dmmcheck.report.headline import beside_baseline
from dmmcheck.report.model import Change, Report
from dmmcheck.report.write import check_path, write

STORE = Path(".pytest_cache/d/dmmcheck")
OK, FAILED, USAGE_ERROR = 0, 1, 4
"""Exit statuses, those of pytest: everything held, something failed, the command or a setting is wrong."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand and return its exit status.

    Args:
        arguments: The words after ``dmmcheck``; those of the process where None.

    Example:
        >>> from dmmcheck.cli import main
        >>> main(["explain", "no-such-check"])
        4
    """
    options = _parser().parse_args(arguments)
    try:
        status: int = options.command(options)
    except DmmError as error:
        print(f"dmmcheck: {harmless(str(error))}", file=sys.stderr)
        return USAGE_ERROR
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dmmcheck", description="Test the geometry of a classifier.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run the checks on the model that settings and options name")
    run.set_defaults(command=_run)
    run.add_argument("--checks", metavar="ID,...", help="run only these checks")
    run.add_argument("--exclude", metavar="ID,...", help="leave these checks out")
    run.add_argument("--tier", metavar="TIER,...", help="run only these tiers")
    run.add_argument("--report", metavar="PATH", action="append", default=[], help="write a report; repeatable")
    run.add_argument("--update-baseline", action="store_true", help="write the baseline instead of comparing with it")
    for key in KEYS.values():
        value: dict[str, Any] = {"nargs": "?", "const": "true"} if key.flag else {"metavar": key.metavar}
        run.add_argument(f"--{key.name}", help=key.help.replace("%", "%%"), dest=f"key_{key.name}", **value)
    compare = commands.add_parser("compare", help="compare two reports that hold the evidence per input")
    compare.set_defaults(command=_compare)
    compare.add_argument("before", metavar="BEFORE.json")
    compare.add_argument("now", metavar="NOW.json")
    compare.add_argument("--report", metavar="PATH", action="append", default=[], help="write NOW with its changes")
    report = commands.add_parser("report", help="write a JSON report in other formats, or print it")
    report.set_defaults(command=_report)
    report.add_argument("source", metavar="REPORT.json")
    report.add_argument("targets", metavar="PATH", nargs="*", help="files to write: .html, .md, .csv, .json")
    explain = commands.add_parser("explain", help="print the explanation of a check")
    explain.set_defaults(command=_explain)
    explain.add_argument("check", metavar="ID")
    cache = commands.add_parser("cache", help="say what measurements are kept for later runs, or remove them")
    cache.set_defaults(command=_cache)
    cache.add_argument("action", choices=("info", "clear"))
    cache.add_argument("folder", nargs="?", type=Path, default=STORE, help=f"where they lie ({STORE})")
    return parser


def _run(options: argparse.Namespace) -> int:
    """Measure a subject, print the table, and write the reports, whose paths are checked before the measurement."""
    targets = [check_path(path) for path in options.report]
    given = {name: text for name in KEYS if (text := getattr(options, f"key_{name}")) is not None}
    config = load_config(Path.cwd(), given, prefix="--")
    settings, baseline = config.settings, config.settings.baseline
    if options.update_baseline:
        if baseline is None:
            raise ConfigError("--update-baseline says no path; give it with --baseline PATH, or set baseline")
        check_path(config.root / baseline)
        settings = settings.but(baseline=None, evidence=True)
    if any(target.suffix.lower() == ".csv" for target in targets):
        settings = settings.but(evidence=True)
    report = _measured(replace(config, settings=settings), options)
    terminal.print_text(terminal.render(report))
    for target in targets:
        write(report, target, evidence=settings.evidence)
        terminal.print_text(f"report       {target}")
    if options.update_baseline and baseline is not None:
        write(report, config.root / baseline, evidence=True)
        terminal.print_text(f"baseline     {baseline}")
    failed = report.failures or report.regressions or not _has_verdict(report)
    undecided = settings.on_inconclusive == "fail" and any(
        finding.gating and finding.verdict == "inconclusive" for finding in report.findings
    )
    return FAILED if failed or undecided else OK


def _has_verdict(report: Report) -> bool:
    """Return whether a gating claim reached a verdict, or none was planned; otherwise nothing was tested."""
    gating = [finding.verdict for finding in report.findings if finding.gating]
    return not gating or bool({"supported", "refuted"} & set(gating))


def _measured(config: Config, options: argparse.Namespace) -> Report:
    """Check the subject that the settings name, and return the report."""
    from dmmcheck.checks.plan import plan, select  # noqa: PLC0415  # loads torch
    from dmmcheck.run import Run  # noqa: PLC0415

    settings = config.settings
    given = {name: getattr(options, name) for name in ("checks", "exclude", "tier")}
    names = {name: None if text is None else listed_names(text, f"--{name}") for name, text in given.items()}
    chosen = select(
        plan(settings),
        checks=names["checks"],
        exclude=names["exclude"] or (),
        tiers=names["tier"],
        fast=settings.fast,
    )
    run = Run(_subject(config), settings, lambda line: print(harmless(line), file=sys.stderr), root=config.root)
    return run.whole_report(chosen)


def _subject(config: Config) -> Any:
    """Return the subject that settings and options name.

    Raises:
        ConfigError: A required part is missing.
    """
    from dmmcheck.loading import build  # noqa: PLC0415  # loads torch

    given = {*config.subject, *(("manifold",) if "manifold-data" in config.subject else ())}
    missing = [name for name in build.REQUIRED if name not in given]
    if missing:
        names = ", ".join(f"--{name}" for name in missing)
        raise ConfigError(
            f"{what_is_missing(missing, f'[tool.dmmcheck] of pyproject.toml in {config.root}')}, or give {names}"
        )
    parts: Mapping[str, Any] = {
        name: build.load_part(name, config.subject[name], root=config.root)
        for name in SUBJECT
        if name in config.subject
    }
    return build.build_subject(parts, root=config.root, samples=config.settings.samples)


def _compare(options: argparse.Namespace) -> int:
    """Print the change of each distance and claim, and return whether one changed for the worse, as exit status."""
    targets = [check_path(path) for path in options.report]
    before, now = json.read(options.before), json.read(options.now)
    report = compared(now, before, name=options.before, is_gate=True)
    changes = {f"distance {name}": change for name, change in report.distance_changes.items()}
    changes |= {finding.id: finding.change for finding in report.findings if finding.change is not None}
    terminal.print_text(f"{options.now} beside {options.before}: {_common(report)} inputs are in both")
    for name, change in changes.items():
        terminal.print_text(f"  {name:<48} {_line(change)}")
    terminal.print_text(beside_baseline(report))
    for target in targets:
        write(report, target)
    return FAILED if report.regressions else OK


def _common(report: Report) -> int:
    return 0 if report.baseline is None else report.baseline.common


def _line(change: Change) -> str:
    return wording.change(change) + (f", {change.n} inputs" if change.n else "")


def _report(options: argparse.Namespace) -> int:
    """Write a report in other formats; print it where none is named."""
    from dmmcheck.checks.base import registry  # noqa: PLC0415  # for the explanations of an HTML page

    targets = [check_path(path) for path in options.targets]
    report = json.read(options.source)
    if any(target.suffix.lower() == ".html" for target in targets):
        registry()
    for target in targets:
        write(report, target, evidence=report.evidence is not None)
    if not targets:
        terminal.print_text(terminal.render(report))
    return OK


def _explain(options: argparse.Namespace) -> int:
    """Print the explanation of a check.

    Raises:
        CheckError: The id is unknown.
    """
    from dmmcheck.checks.base import registry  # noqa: PLC0415  # loads torch
    from dmmcheck.checks.explain import explain  # noqa: PLC0415

    checks = registry()
    if options.check not in checks:
        close = did_you_mean(options.check, checks)
        raise CheckError(f"unknown check {shown(options.check)}{close}; valid: {', '.join(checks)}")
    terminal.print_text(explain(checks[options.check]))
    return OK


def _cache(options: argparse.Namespace) -> int:
    """Print what a store of measurements holds, or remove it."""
    from dmmcheck.measurement.store import clear, info  # noqa: PLC0415  # loads torch

    if options.action == "info":
        print(info(options.folder))
        return OK
    try:
        print(f"{options.folder}: {clear(options.folder)} measurements removed")
    except OSError as error:
        raise ConfigError(
            f"the measurements in {options.folder} cannot be removed ({error.strerror}); run the command as a user who "
            "may write there"
        ) from error
    return OK
