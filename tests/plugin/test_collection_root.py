"""pytest shows the checks below one root file, and settings in other files that it would ignore are refused."""

from __future__ import annotations

import pytest
from projects import ID, SUFFICES, configure, printed

from dmmcheck.errors import ConfigError
from dmmcheck.pytest_plugin.collection_root import find_root_file, has_check_id

LIST = ("--dmm-only", "--collect-only", "-q", "--dmm-checks", SUFFICES)
BELOW = '[tool.dmmcheck]\nmodel = "world:on"\n'


def ids(result) -> list[str]:
    """The node ids that a run lists."""
    return [line for line in result.outlines if "::" in line]


@pytest.mark.parametrize(
    ("files", "root_file"),
    [
        ({"pyproject.toml": ""}, "pyproject.toml"),
        ({"pyproject.toml": "", "dmmcheck.toml": "seed = 1"}, "dmmcheck.toml"),
        ({"pytest.ini": "[pytest]"}, "pytest.ini"),
        ({"tox.ini": "[pytest]", "conftest.py": ""}, "tox.ini"),
        ({"conftest.py": "def test_none(): pass"}, "conftest.py"),
    ],
    ids=["pyproject", "own-file", "pytest-ini", "tox-ini", "conftest"],
)
def test_checks_are_below_the_file_with_the_settings_or_the_first_other(empty, files, root_file):
    for name, text in files.items():
        (empty.path / name).write_text(text)
    assert ids(empty.runpytest_inprocess(*LIST)) == [f"{root_file}::{ID}"]
    again = empty.runpytest_inprocess("--dmm", f"{root_file}::{ID}", "--collect-only", "-q")
    assert ids(again) == [f"{root_file}::{ID}"]


def test_without_any_such_file_there_is_one_error(empty):
    (empty.path / "world.py").rename(empty.path / "other.py")
    result = empty.runpytest_inprocess("--dmm-only", "--dmm-model", "other:off")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "there is no pyproject.toml, dmmcheck.toml or conftest.py" in printed(result)


def test_a_report_outside_the_project_can_be_written_again(project, tmp_path_factory):
    """Before it knows the options of plugins, pytest takes the value of each for a path to test, if the path exists."""
    report = tmp_path_factory.mktemp("outside") / "report.json"
    options = ("--dmm-only", "--dmm-checks", SUFFICES, "--dmm-tier", "stated")
    assert project.runpytest_inprocess(*options, "--dmm-report", report).ret == pytest.ExitCode.OK
    again = project.runpytest_inprocess(*options, "--dmm-report", report)
    assert again.ret == pytest.ExitCode.USAGE_ERROR
    assert "join that to its option with =" in printed(again)
    assert project.runpytest_inprocess(*options, f"--dmm-report={report}").ret == pytest.ExitCode.OK


@pytest.mark.parametrize(("root", "says"), [("elsewhere", True), (".", False), ("..", False)])
def test_a_root_directory_that_the_current_folder_is_not_in_is_explained(empty, root, says):
    (empty.path / "world.py").rename(empty.path / "other.py")
    (empty.path / "elsewhere").mkdir()
    config = empty.parseconfig("--rootdir", str(empty.path / root), "--dmm-only", "--dmm-model", "other:off")
    with pytest.raises(ConfigError, match="there is no pyproject") as raised:
        find_root_file(config)
    assert ("join it to its option with =, for example --dmm-report=PATH" in str(raised.value)) is says


@pytest.mark.parametrize(
    ("argument", "found"),
    [
        (f"pyproject.toml::{ID}", True),
        ("pyproject.toml", False),
        ("test_a.py::test_b", False),
        ("conftest.py::a", False),
    ],
)
def test_the_node_id_of_a_check_is_recognised(project, argument, found):
    for name in ("test_a.py", "conftest.py"):
        (project.path / name).write_text("def test_b(): pass\n")
    assert has_check_id(project.parseconfig(argument)) is found


@pytest.mark.parametrize("options", [["--dmm"], []], ids=["dmm", "nothing-else"])
def test_a_pasted_id_runs_that_check(project, options):
    result = project.runpytest_inprocess(*options, f"pyproject.toml::{ID}", "-v")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"pyproject.toml::{ID} PASSED*"])


def test_a_pasted_id_of_no_check_is_reported_as_missing(project):
    result = project.runpytest_inprocess("--dmm", "pyproject.toml::no-such-check")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "no-such-check" in printed(result)


@pytest.mark.parametrize("options", [[], ["--rootdir", ".."]], ids=["found", "chosen"])
def test_settings_below_the_root_directory_are_ignored_only_where_the_user_chose_it(project, monkeypatch, options):
    configure(project, '[tool.pytest.ini_options]\naddopts = ""\n')
    below = project.mkdir("below")
    (below / "pyproject.toml").write_text(BELOW)
    monkeypatch.chdir(below)
    result = project.runpytest_inprocess(*LIST, *options)
    refused = not options
    assert result.ret == (pytest.ExitCode.USAGE_ERROR if refused else 0)
    words = f"{below / 'pyproject.toml'} is not read, because pytest's root directory is {project.path}"
    assert (words in printed(result)) is refused
    advice = f"add [tool.pytest.ini_options] to a pyproject.toml in {below}, or --rootdir {below} to the command"
    assert (advice in printed(result)) is refused


def test_the_value_of_an_option_that_moves_the_root_directory_is_named(project, monkeypatch):
    below = project.mkdir("below")
    (below / "pyproject.toml").write_text(BELOW)
    (project.path / "r.json").write_text("{}")
    monkeypatch.chdir(below)
    result = project.runpytest_inprocess("--dmm-only", "--dmm-report", str(project.path / "r.json"))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"from {project.path / 'r.json'}: join that to its option with =, or add --rootdir {below}" in printed(
        result
    )
