"""The options: one for each key, how they are read, and the command that repeats a check."""

from __future__ import annotations

import pytest
from projects import ID, printed

from dmmcheck.config.schema import KEYS
from dmmcheck.pytest_plugin.options import given_keys, is_on, names, rerun_command


def test_each_key_is_an_option_with_help(pytester, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")  # pytest before 9.2 breaks lines at hyphens
    text = printed(pytester.runpytest_inprocess("--help"))
    for key in KEYS.values():
        assert (f"{key.option} " if key.flag else f"{key.option}={key.metavar}") in text
        assert " ".join(key.help.split()) in text


def test_given_keys_are_texts(project):
    config = project.parseconfig("--dmm-model", "world:on", "--dmm-seed", "7", "--dmm-tier", "stated")
    assert given_keys(config) == {"model": "world:on", "seed": "7"}


@pytest.mark.parametrize(("options", "on"), [((), False), (("--dmm",), True), (("--dmm-only",), True)])
def test_the_checks_are_on_by_either_option(project, options, on):
    assert is_on(project.parseconfig(*options)) is on


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ((), None),
        (("--dmm-checks", "a, b"), ["a", "b"]),
        (("--dmm-checks", "a", "--dmm-checks", "b,,c"), ["a", "b", "c"]),
    ],
)
def test_names_are_separated_by_commas_or_in_repeated_options(project, options, found):
    assert names(project.parseconfig(*options), "--dmm-checks") == found


@pytest.mark.parametrize(
    ("options", "nodeid", "command"),
    [
        (("--dmm",), f"pyproject.toml::{ID}", f"pytest --dmm pyproject.toml::{ID}"),
        (
            ("--dmm", "--dmm-manifold-options", "dim = 3", "--dmm-tier", "stated"),
            f"pyproject.toml::{ID}",
            f"pytest --dmm --dmm-manifold-options 'dim = 3' pyproject.toml::{ID}",
        ),
        (("--dmm", "--dmm-fast"), f"pyproject.toml::{ID}", f"pytest --dmm --dmm-fast pyproject.toml::{ID}"),
        ((), f"tests/test_a.py::test_b[{ID}]", f"pytest 'tests/test_a.py::test_b[{ID}]'"),
    ],
    ids=["plain", "settings", "flag", "parametrized"],
)
def test_the_rerun_command_has_the_settings_and_can_be_pasted(project, options, nodeid, command):
    assert rerun_command(project.parseconfigure(*options), nodeid) == command


def test_the_rerun_command_starts_from_the_folder_of_the_run(project, monkeypatch):
    monkeypatch.chdir(project.mkdir("sub"))
    config = project.parseconfigure("--dmm", "--rootdir", str(project.path))
    assert rerun_command(config, f"pyproject.toml::{ID}") == f"pytest --dmm ../pyproject.toml::{ID}"
