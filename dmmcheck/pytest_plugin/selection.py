"""Read settings and choose tests before anything runs, so that a wrong setting is one error and not a failed test."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from dmmcheck.checks.plan import Planned, plan, select
from dmmcheck.config.settings import Config, Settings, load_config
from dmmcheck.errors import BaselineError, ConfigError, DmmError
from dmmcheck.pytest_plugin import collection_root, options
from dmmcheck.pytest_plugin.distances import DistanceTest, distance_tests

CONFIG = pytest.StashKey[Config]()
BASELINE_PATH = pytest.StashKey[Path]()
"""Where ``--dmm-update-baseline`` writes, in the stash of the configuration."""


@dataclass(frozen=True)
class Selection:
    """The tests of a run.

    Attributes:
        root_file: The file that the tests appear below.
        planned: Every test, in report order.
        selected: The tests that the options of dmmcheck select.
        distances: The tests of distances beside the baseline, which come after those of the claims.
    """

    root_file: Path
    planned: tuple[Planned, ...]
    selected: tuple[Planned, ...]
    distances: tuple[DistanceTest, ...] = ()

    @property
    def tests(self) -> tuple[Planned | DistanceTest, ...]:
        """All tests that pytest collects, in this order."""
        return (*self.selected, *self.distances)


SELECTION = pytest.StashKey[Selection]()
"""The selection, in the stash of the configuration; only where the checks are to run."""


@contextmanager
def usage_errors() -> Iterator[None]:
    """Turn a DmmError into a UsageError: pytest prints its message and exits with 4."""
    try:
        yield
    except DmmError as error:
        raise pytest.UsageError(str(error)) from error


def loaded_config(config: pytest.Config) -> Config:
    """Return the settings from file and options, read once.

    Raises:
        ConfigError: A setting is wrong.
    """
    if CONFIG not in config.stash:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            config.stash[CONFIG] = _for_outputs(config, load_config(config.rootpath, options.given_keys(config)))
        if not hasattr(config, "workerinput"):
            for warning in caught:
                _issue(config, warning.message)
    return config.stash[CONFIG]


def _for_outputs(config: pytest.Config, loaded: Config) -> Config:
    """Return the settings as the files to write need them: a baseline and a CSV report hold the values of every input.

    Raises:
        ConfigError: A baseline is to be written, and no path is given for it.
    """
    settings, update = loaded.settings, config.getoption("--dmm-update-baseline")
    if update and settings.baseline is None:
        raise ConfigError("--dmm-update-baseline says no path; give it with --dmm-baseline PATH, or set baseline")
    if update:
        config.stash[BASELINE_PATH] = loaded.root / str(settings.baseline)
        settings = settings.but(baseline=None, evidence=True)
    if any(path.lower().endswith(".csv") for path in config.getoption("--dmm-report")):
        settings = settings.but(evidence=True)
    return replace(loaded, settings=in_this_process(config, settings))


def in_this_process(config: pytest.Config, settings: Settings) -> Settings:
    """Return the settings of a process: one of several workers of pytest-xdist starts no processes of its own."""
    return settings.but(jobs=1) if hasattr(config, "workerinput") else settings


def _issue(config: pytest.Config, warning: Warning | str) -> None:
    """Show a warning in pytest's summary; pytest records none by itself before collection.

    Raises:
        UsageError: The user's filters turn the warning into an error.
    """
    message = warning if isinstance(warning, Warning) else UserWarning(warning)
    try:
        config.issue_config_time_warning(message, stacklevel=2)
    except Warning as error:
        raise pytest.UsageError(str(error)) from error


def prepare(config: pytest.Config) -> None:
    """Read the settings, choose the tests, and add their root file to what pytest collects.

    Raises:
        UsageError: A setting or an option is wrong.
    """
    with usage_errors():
        collection_root.refuse_ignored_settings(config)
        loaded = loaded_config(config)
        root_file = collection_root.find_root_file(config)
        planned = plan(loaded.settings)
        selected = select(
            planned,
            checks=options.names(config, "--dmm-checks"),
            exclude=options.names(config, "--dmm-exclude") or (),
            tiers=options.names(config, "--dmm-tier"),
            fast=loaded.settings.fast,
        )
        _check_manifold_name(loaded)
        _check_baseline(config, loaded)
    distances = () if BASELINE_PATH in config.stash else distance_tests(loaded.settings)
    config.stash[SELECTION] = Selection(root_file, planned, selected, distances)
    collection_root.extend_args(config, root_file, only=config.getoption("--dmm-only"))


def check_reports(config: pytest.Config) -> None:
    """Refuse reports that could not be written, before a long run and not after it.

    Raises:
        UsageError: A suffix is unknown, or a path cannot be written.
    """
    from dmmcheck.report.write import check_path  # noqa: PLC0415  # only where a report is asked for

    with usage_errors():
        for path in config.getoption("--dmm-report"):
            check_path(config.invocation_params.dir / path)


def _check_baseline(config: pytest.Config, loaded: Config) -> None:
    """Refuse a baseline that could not be written, or that is not there, before a long run.

    Raises:
        BaselineError: There is no file to compare with, or the file to write is not JSON.
        ReportError: The file cannot be written.
    """
    if BASELINE_PATH in config.stash:
        from dmmcheck.report.write import check_path  # noqa: PLC0415  # only where one is written

        target = config.stash[BASELINE_PATH]
        if target.suffix.lower() != ".json":
            raise BaselineError(f"the baseline {target} is a report in JSON; end its name in .json")
        check_path(target)
    elif loaded.settings.baseline is not None and not (loaded.root / loaded.settings.baseline).exists():
        raise BaselineError(
            f"there is no baseline {loaded.root / loaded.settings.baseline}; write it first, with --dmm-update-baseline"
        )


def _check_manifold_name(loaded: Config) -> None:
    """Refuse an unknown name of a built-in manifold."""
    from dmmcheck.config.schema import colon_hint, did_you_mean  # noqa: PLC0415
    from dmmcheck.loading.references import is_reference  # noqa: PLC0415
    from dmmcheck.manifolds.builtin import BUILTIN  # noqa: PLC0415

    given = loaded.subject.get("manifold")
    if given is not None and not is_reference(given.value) and given.value not in BUILTIN:
        near = did_you_mean(given.value, BUILTIN) or colon_hint(given.value)
        raise ConfigError(f"manifold = {given} is not built in{near}; valid: {', '.join(BUILTIN)}, or pkg.mod:attr")
