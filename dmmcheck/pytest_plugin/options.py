"""The options: one for each key of ``[tool.dmmcheck]``, and those that select, list and write."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

import pytest

from dmmcheck.config.schema import KEYS
from dmmcheck.pytest_plugin.collection_root import ROOT_FILE

MARK, ARGUMENT = "dmm", "dmm_check"
DISTRIBUTION = "dmmcheck_dist"  # what a worker of pytest-xdist gets the value of --dist as


def add_options(parser: pytest.Parser) -> None:
    """Add the group ``dmmcheck`` to ``pytest --help``."""
    group = parser.getgroup("dmmcheck", "dmmcheck (geometry of a classifier's decision boundary)")
    flags = (
        ("--dmm", "also run the checks on the model under test"),
        ("--dmm-only", "run the checks and nothing else"),
        ("--dmm-update-baseline", "write the report to the path of --dmm-baseline instead of comparing with it"),
        ("--dmm-list", "print every check with its tiers, claim, needs and source, then stop"),
    )
    for name, help in flags:
        _add(group, name, action="store_true", help=help)
    _add(group, "--dmm-explain", metavar="ID", help="print the explanation of one check, then stop")
    for name, metavar, help in (
        ("--dmm-checks", "ID,...", "run only these checks"),
        ("--dmm-exclude", "ID,...", "leave these checks out"),
        ("--dmm-tier", "TIER,...", "run only these tiers: stated, controlled, mechanism, search"),
    ):
        _add(group, name, action="append", metavar=metavar, help=help)
    _add(
        group,
        "--dmm-report",
        action="append",
        default=[],
        metavar="PATH",
        help="write the report in the format of the suffix: .html, .md, .csv or .json; repeatable",
    )
    for key in KEYS.values():
        if key.flag:
            _add(group, key.option, action="store_const", const="true", help=key.help)
        else:
            _add(group, key.option, metavar=key.metavar, help=key.help)


def _add(group: pytest.OptionGroup, name: str, **attributes: Any) -> None:
    """Add an option; pytest 9.2 compares one without ``dest`` with every other option, in each run of every project."""
    group.addoption(name, dest=name.lstrip("-").replace("-", "_"), **attributes)


def is_on(config: pytest.Config) -> bool:
    """Return whether ``--dmm`` or ``--dmm-only`` is given."""
    return bool(config.getoption("--dmm") or config.getoption("--dmm-only"))


def is_check(item: pytest.Item) -> bool:
    """Return whether a test has the mark of a claim, which the checks and `dmmcheck.parametrize` set."""
    return item.get_closest_marker(MARK) is not None


def given_keys(config: pytest.Config) -> dict[str, str]:
    """Return the text of each given option that sets a key of ``[tool.dmmcheck]``, by key."""
    texts = {name: config.getoption(key.option) for name, key in KEYS.items()}
    return {name: text for name, text in texts.items() if text is not None}


def names(config: pytest.Config, option: str) -> list[str] | None:
    """Return the comma-separated names of an option that may be repeated; None where it is not given.

    Raises:
        ConfigError: A name is missing.
    """
    from dmmcheck.config.settings import listed_names  # noqa: PLC0415  # only where the checks are on

    given = config.getoption(option)
    return None if given is None else [name for part in given for name in listed_names(part, option)]


def rerun_command(config: pytest.Config, nodeid: str) -> str:
    """Return the shell command that runs one check again with these settings in the folder of this run."""
    path, separator, name = nodeid.partition("::")
    relative = os.path.relpath(config.rootpath / path, config.invocation_params.dir)
    given = given_keys(config).items()
    settings = [word for name, text in given for word in (KEYS[name].option, *[text] * (not KEYS[name].flag))]
    node = f"{Path(relative).as_posix()}{separator}{name}"
    return shlex.join(["pytest", *["--dmm"] * (ROOT_FILE in config.stash), *settings, node])
