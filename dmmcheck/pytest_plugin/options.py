"""The options: one for each key of ``[tool.dmmcheck]``, and those that select, list and write."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from dmmcheck.config.schema import KEYS
from dmmcheck.pytest_plugin.collection_root import ANCHOR


def add_options(parser: pytest.Parser) -> None:
    """Add the group ``dmmcheck`` to ``pytest --help``."""
    group = parser.getgroup("dmmcheck", "dmmcheck (geometry of a classifier's decision boundary)")
    flags = (
        ("--dmm", "also run the checks on what is under test"),
        ("--dmm-only", "run the checks and nothing else"),
        ("--dmm-list", "print every check with tiers, claim, needs and source, and stop"),
    )
    for name, help in flags:
        group.addoption(name, action="store_true", help=help)
    group.addoption("--dmm-explain", metavar="ID", help="print all that is known of one check, and stop")
    for name, metavar, help in (
        ("--dmm-checks", "ID,...", "run these checks alone"),
        ("--dmm-exclude", "ID,...", "leave these checks out"),
        ("--dmm-tier", "TIER,...", "run these tiers alone: stated, controlled, mechanism"),
    ):
        group.addoption(name, action="append", metavar=metavar, help=help)
    group.addoption(
        "--dmm-report",
        action="append",
        default=[],
        metavar="PATH",
        help="write the report, .json or .md by suffix; repeatable",
    )
    for key in KEYS.values():
        group.addoption(key.option, metavar=key.metavar, help=key.help)


def is_on(config: pytest.Config) -> bool:
    """Whether the checks were asked for."""
    return bool(config.getoption("--dmm") or config.getoption("--dmm-only"))


def given_keys(config: pytest.Config) -> dict[str, str]:
    """The texts of the options that stand for keys, by key."""
    texts = {name: config.getoption(key.option) for name, key in KEYS.items()}
    return {name: text for name, text in texts.items() if text is not None}


def names(config: pytest.Config, option: str) -> list[str] | None:
    """The names in a repeatable option with commas; None where it was not given."""
    given = config.getoption(option)
    return None if given is None else [name.strip() for part in given for name in part.split(",") if name.strip()]


def rerun_command(config: pytest.Config, nodeid: str) -> str:
    """What to type in a shell to run one check again, where this run was started and with the same verdict."""
    path, separator, name = nodeid.partition("::")
    start = os.path.relpath(config.rootpath / path, config.invocation_params.dir)
    settings = [word for name, text in given_keys(config).items() for word in (KEYS[name].option, text)]
    return shlex.join(
        ["pytest", *["--dmm"] * (ANCHOR in config.stash), *settings, f"{Path(start).as_posix()}{separator}{name}"]
    )
