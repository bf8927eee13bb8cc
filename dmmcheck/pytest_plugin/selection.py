"""What is settled before anything runs, so that a wrong setting is one clear error and not a failed test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from dmmcheck.checks.plan import Planned, plan, select
from dmmcheck.config.settings import Config, load_config
from dmmcheck.errors import ConfigError, DmmError
from dmmcheck.pytest_plugin import collection_root, options

CONFIG = pytest.StashKey[Config]()


@dataclass(frozen=True)
class Prepared:
    """A run that was asked for.

    Attributes:
        anchor: The file that its tests stand below.
        planned: Every test, in report order.
        selected: The ones that options of ours leave.
    """

    anchor: Path
    planned: tuple[Planned, ...]
    selected: tuple[Planned, ...]


PREPARED = pytest.StashKey[Prepared]()
"""In the stash of the configuration where the checks were asked for."""


@contextmanager
def usage_errors() -> Iterator[None]:
    """Our errors as pytest's, which print the message and exit with 4."""
    try:
        yield
    except DmmError as error:
        raise pytest.UsageError(str(error)) from error


def configured(config: pytest.Config) -> Config:
    """Settings from files and options, read once.

    Raises:
        ConfigError: They are wrong.
    """
    if CONFIG not in config.stash:
        config.stash[CONFIG] = load_config(config.rootpath, options.given_keys(config))
    return config.stash[CONFIG]


def prepare(config: pytest.Config) -> None:
    """Read settings, choose tests, and see to it that they are collected.

    Raises:
        UsageError: Something in the settings is wrong.
    """
    with usage_errors():
        collection_root.refuse_settings_passed_over(config)
        settings = configured(config)
        place = collection_root.find_anchor(config)
        planned = plan(settings.settings)
        selected = select(
            planned,
            checks=options.names(config, "--dmm-checks"),
            exclude=options.names(config, "--dmm-exclude") or (),
            tiers=options.names(config, "--dmm-tier"),
        )
        if not selected:
            raise ConfigError(
                "--dmm-checks, --dmm-exclude and --dmm-tier leave no check; see --dmm-list for the ids and their tiers"
            )
        _check_manifold(settings)
    config.stash[PREPARED] = Prepared(place, planned, selected)
    collection_root.extend_args(config, place, only=config.getoption("--dmm-only"))


def check_reports(config: pytest.Config) -> None:
    """Refuse a report that could not be written, before a long run and not after it.

    Raises:
        UsageError: Unknown format, or no such place.
    """
    from dmmcheck.report.write import check_path  # noqa: PLC0415  # only where a report is asked for

    with usage_errors():
        for path in config.getoption("--dmm-report"):
            check_path(config.invocation_params.dir / path)


def _check_manifold(settings: Config) -> None:
    """Refuse the name of a built-in manifold that there is not."""
    from dmmcheck.config.schema import did_you_mean  # noqa: PLC0415
    from dmmcheck.loading.references import is_reference  # noqa: PLC0415
    from dmmcheck.manifolds.builtin import BUILTIN  # noqa: PLC0415

    given = settings.subject.get("manifold")
    if given is not None and not is_reference(given.value) and given.value not in BUILTIN:
        raise ConfigError(
            f"manifold = {given} is not built in{did_you_mean(given.value, BUILTIN)}; "
            f"valid: {', '.join(BUILTIN)}, or pkg.mod:attr"
        )
