"""The end of a run that something is wrong with: failures of the user are listed, a report says what is missing."""

from __future__ import annotations

import json

import pytest
from projects import ID, ONE, OPEN, SETTINGS, SUFFICES, configure, printed

from dmmcheck.errors import ReportError
from dmmcheck.pytest_plugin import Recorder, terminal_summary
from dmmcheck.pytest_plugin.old_reports import OldReports
from dmmcheck.report import markdown, terminal, write

OWN = "def test_own():\n    assert 1 == 2, 'the failure of the user'\n"
BOTH = ("--dmm", "--dmm-checks", SUFFICES)
HOSTILE = "a\\n::error::b\\x1b[31m\\u202e]]><script>"
CHECK = """
import dmmcheck

@dmmcheck.check("mine", statement="{statement}", threshold=0.0, direction="greater")
def mine(view):
    {body}
"""
BODIES = {
    "raises": f'raise KeyError("{HOSTILE}")',
    "raises what cannot be shown": "raise type('E', (Exception,), {'__str__': lambda self: 1 / 0})()",
    "returns nothing": "return None",
    "returns text": 'return dmmcheck.Evidence.of("text")',
    "has a strange summary": 'return dmmcheck.Evidence.of([1, 2], summary="mode")',
    "has no note": "return dmmcheck.Evidence.of([1, 2], note=None)",
    "exits": "raise SystemExit(3)",
}


def fail(*_args: object, **_keywords: object) -> None:
    raise ZeroDivisionError("a fault in the closing code")


@pytest.mark.parametrize("name", BODIES)
def test_a_check_that_errs_is_in_the_report(project, name):
    project.makeconftest(CHECK.format(statement="s", body=BODIES[name]))
    project.makepyfile(test_own=OWN)
    result = project.runpytest_inprocess("--dmm", "--dmm-checks", f"mine,{SUFFICES}", "--dmm-report", "r.json")
    text = printed(result)
    assert "the failure of the user" in text
    assert "INTERNALERROR" not in text
    assert not [line for line in result.outlines if line.strip().startswith("::")]
    assert result.ret == 1
    report = json.loads((project.path / "r.json").read_text(encoding="utf-8"))
    assert report["complete"] is False
    assert report["planned"] == [ID, "mine-stated-builtin"]
    assert [finding["check"] for finding in report["findings"]] == [SUFFICES]
    assert [error.partition(":")[0] for error in report["errors"]] == ["mine-stated-builtin"]
    assert report["summary"]["planned"] == 2


FAULTS = {
    "results": (terminal_summary, "read", "the run cannot be summed up, and a report may be missing"),
    "table": (terminal, "render", "the table cannot be shown"),
    "rerun": (terminal_summary.options, "rerun_command", "the table cannot be shown"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_the_closing_code_hides_nothing(project, monkeypatch, name):
    module, attribute, words = FAULTS[name]
    monkeypatch.setattr(module, attribute, fail)
    project.makepyfile(test_own=OWN)
    result = project.runpytest_inprocess(*BOTH)
    text = printed(result)
    assert words in text
    assert "ZeroDivisionError: a fault in the closing code" in text
    assert "the failure of the user" in text
    assert "INTERNALERROR" not in text
    assert result.ret in {1, 4}


def test_a_fault_in_the_summary_for_github_hides_nothing(project, monkeypatch, tmp_path):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    monkeypatch.setattr(markdown, "render", fail)
    text = printed(project.runpytest_inprocess(*ONE))
    assert "GitHub's summary cannot be made (ZeroDivisionError: a fault" in text
    assert "1 passed" in text


STOPS = {
    "killed in collection": ("def pytest_collection_modifyitems():\n    os._exit(9)\n", 9),
    "killed in a test": ("def pytest_runtest_setup(item):\n    os._exit(9)\n", 9),
    "interrupted in collection": ("def pytest_collection_modifyitems():\n    raise KeyboardInterrupt\n", 2),
}


@pytest.mark.parametrize(
    "stop", [pytest.param(stop, marks=[pytest.mark.heavy] * (stop != "killed in collection")) for stop in STOPS]
)
def test_an_old_report_does_not_outlive_the_start_of_a_run(project, stop):
    """A run that is killed or interrupted before its first test leaves no report, and none of an earlier run either."""
    for name in ("r.json", "r.md"):
        (project.path / name).write_text("old")
    code, status = STOPS[stop]
    project.makeconftest(f"import os\n\n{code}")
    result = project.runpytest_subprocess(*ONE, "--dmm-report", "r.json", "--dmm-report", "r.md")
    assert result.ret == status
    assert not [name for name in ("r.json", "r.md") if (project.path / name).exists()]


@pytest.mark.parametrize(
    ("options", "status"),
    [(["--collect-only"], 0), (["none.py"], 4), (["-k", "a b"], 4), (["--dmm-checks", "none"], 4)],
    ids=["collect only", "no such file", "wrong -k", "no such check"],
)
def test_an_old_report_stays_where_nothing_is_run(project, options, status):
    (project.path / "r.json").write_text("old")
    result = project.runpytest_inprocess(*ONE, "--dmm-report", "r.json", *options)
    assert result.ret == status
    assert (project.path / "r.json").read_text() == "old"
    assert not list(project.path.glob(".dmmcheck-*"))


@pytest.mark.parametrize("runs", [True, False], ids=["a run", "a wrong option"])
def test_what_a_killed_run_has_hidden_is_removed_by_the_next_run_or_put_back(project, runs):
    """A run that is killed while it collects leaves the report of an earlier run under a hidden name."""
    (project.path / "r.json").write_text("old")
    project.makeconftest(f"import os\n\n{STOPS['killed in collection'][0]}")
    project.runpytest_subprocess(*ONE, "--dmm-report", "r.json")
    assert len(list(project.path.glob(".dmmcheck-*"))) == 1
    project.makeconftest("")
    wrong = () if runs else ("none.py",)
    assert project.runpytest_inprocess(*ONE, "--dmm-report", "r.json", *wrong).ret == (0 if runs else 4)
    assert not list(project.path.glob(".dmmcheck-*"))
    assert ((project.path / "r.json").read_text() == "old") is not runs


class Worker:
    """A node of pytest-xdist, as far as the end of one is concerned."""

    def __init__(self, **ended: object) -> None:
        self.workeroutput = ended


@pytest.mark.parametrize(
    ("node", "is_kept"),
    [(Worker(exitstatus=4), True), (Worker(exitstatus=0), False), (object(), False)],
    ids=["usage error", "no test", "crash"],
)
def test_an_old_report_comes_back_where_a_worker_refuses_an_option(project, node, is_kept):
    old = project.path / "r.json"
    old.write_text("old")
    config = project.parseconfig("--dmm-report", "r.json")
    config.option.dist = "load"
    recorder = Recorder(config)
    collection = recorder.pytest_collection(None)
    next(collection)
    with pytest.raises(StopIteration):
        collection.send(None)
    assert not old.exists()
    recorder.pytest_testnodedown(node)
    recorder.drop_old_reports()
    assert old.exists() is is_kept
    assert not list(project.path.glob(".dmmcheck-*"))


def test_old_reports_are_put_back_where_one_cannot_be_hidden_and_others_may_have_removed_some(project, monkeypatch):
    for name in ("a.json", "b.json", "c.json"):
        (project.path / name).write_text("old")
    reports = [word for name in ("a.json", "b.json", "c.json") for word in ("--dmm-report", name)]
    config, set_aside = project.parseconfig(*reports), write.set_aside

    def last_fails(path, *, kept):
        if path.name == "c.json":
            next(project.path.glob(".dmmcheck-*")).unlink()
            raise ReportError("c.json cannot be replaced")
        return set_aside(path, kept=kept)

    monkeypatch.setattr(write, "set_aside", last_fails)
    with pytest.raises(pytest.UsageError, match="cannot be replaced"):
        OldReports(config)
    assert not list(project.path.glob(".dmmcheck-*"))
    assert len(list(project.path.glob("?.json"))) == 2


NAMES = {
    "300 characters": "x" * 300 + ".json",
    "NUL": "a\0b.json",
    "newline": "a\n::error::b.json",
    "folder of 300 characters": "x" * 300 + "/r.json",
    "empty": "",
    "5,000 characters": "x/" * 2500 + "r.json",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_report_that_no_file_can_be_is_refused_before_the_run(project, name):
    result = project.runpytest_inprocess(*ONE, "--dmm-report", NAMES[name])
    assert result.ret == 4
    assert "INTERNALERROR" not in printed(result)
    (line,) = [line for line in result.errlines if line.strip()]
    assert line.startswith("ERROR: ")
    assert len(line) < 700


@pytest.mark.parametrize("wrong", ["", "[tool.dmmcheck.checks.two-phases]\nthreshold = 2\n"], ids=["right", "wrong"])
def test_without_a_terminal_the_error_output_says_what_is_wrong(project, wrong):
    configure(project, "", SETTINGS.replace("world:off", "world:none") if wrong else SETTINGS)
    result = project.runpytest_inprocess(*ONE, "-p", "no:terminal", "--dmm-report", "r.json")
    assert result.ret == (4 if wrong else 0)
    assert ("has no attribute 'none'" in " ".join(result.errlines)) is bool(wrong)
    assert (project.path / "r.json").exists() is not bool(wrong)


def test_without_a_terminal_a_refuted_claim_is_printed_on_the_error_output(project):
    result = project.runpytest_inprocess(*ONE, "-p", "no:terminal", "--dmm-model", "world:on")
    assert result.ret == 1
    (line,) = [line for line in result.errlines if line]
    assert line.startswith(f"dmmcheck: {SUFFICES} (stated): 4.60 ")


def test_without_a_terminal_an_undecided_claim_that_fails_the_run_is_printed(project):
    configure(project, OPEN)
    options = ("--dmm-only", "--dmm-checks", "boundary-clings", "--dmm-tier", "stated", "-p", "no:terminal")
    result = project.runpytest_inprocess(*options, "--dmm-on-inconclusive", "fail")
    assert result.ret == 1
    words = "dmmcheck: boundary-clings-stated-builtin is inconclusive: the interval holds the limit"
    assert words in "\n".join(result.errlines)


def test_without_a_terminal_a_fault_in_that_hides_nothing(project, monkeypatch):
    monkeypatch.setattr(terminal_summary.wording, "failure", fail)
    result = project.runpytest_inprocess(*ONE, "-p", "no:terminal", "--dmm-model", "world:on")
    assert result.ret == 1
    assert "dmmcheck: what fails the run cannot be shown (ZeroDivisionError: a fault" in printed(result)


OPTIONS = {
    ("--dmm-manifold-options", "dim = 2}\nx = {"): "expected options as in TOML",
    ("--dmm-manifold-options", "a = " + "[" * 3000): "expected options as in TOML",
    ("--dmm-bounds", f"0,{'9' * 400}"): "--dmm-bounds: the value is",
    ("--dmm-alpha", "9" * 400): "--dmm-alpha: the value is",
    ("--dmm-seed", "9" * 5000): "--dmm-seed: the value is",
    ("--dmm-gate", ","): "at least one name",
    ("--dmm-exclude", ""): "at least one name",
    ("--dmm-checks", "a\n::error::b"): "unknown check",
    ("--dmm-tier", "\x1b[31m"): "unknown tier",
    ("--dmm-explain", ""): "unknown check ''",
    ("--dmm-explain", "a\n::error::b"): "unknown check",
    ("--dmm-model", "\x00"): "control characters",
    ("--dmm-model", "x" * 5000): "at most 4096 characters",
}


@pytest.mark.parametrize("option", OPTIONS, ids=[f"{number}" for number in range(len(OPTIONS))])
def test_a_bad_option_is_one_clear_line(project, option):
    result = project.runpytest_inprocess("--dmm-only", "=".join(option))
    assert result.ret == 4
    text = printed(result)
    assert OPTIONS[option] in text
    assert not [word for word in ("INTERNALERROR", "Traceback", "\x1b[31m") if word in text]
    assert not [line for line in [*result.outlines, *result.errlines] if line.strip().startswith("::")]


PARAMETRIZED = """
import dmmcheck

{decorator}
def test_geometry(dmm_check):
    dmm_check()
"""
DECORATORS = {
    "@dmmcheck.parametrize": "without a subject; write @dmmcheck.parametrize(subject, checks=[...])",
    "@dmmcheck.parametrize('s', settings={})": "settings is {}, expected dmmcheck.Settings",
    "@dmmcheck.parametrize('s', sede=3)": "unknown setting 'sede'; did you mean 'seed'?",
    "@dmmcheck.parametrize('s', checks=[])": "leave no check",
    "@dmmcheck.parametrize('s', checks=5)": "the checks to select are 5, expected a list of names",
    "@dmmcheck.parametrize('s', checks={'two-phases': 1})": "expected a list of names",
    "@dmmcheck.parametrize('s', tiers=[None])": "unknown tier None; valid: stated",
}


@pytest.mark.parametrize("decorator", DECORATORS)
def test_a_decorator_that_says_nothing_is_an_error(pytester, decorator):
    pytester.makepyfile(PARAMETRIZED.format(decorator=decorator))
    result = pytester.runpytest_inprocess()
    assert DECORATORS[decorator] in printed(result)
    assert result.ret != 0
    assert "INTERNALERROR" not in printed(result)
