"""Settings are read and tests are chosen before a run: what is selected, and what is refused in which words."""

from __future__ import annotations

import pytest
from projects import ONE, SUFFICES, configure, printed

from dmmcheck.checks.plan import plan
from dmmcheck.config.settings import Settings

ALL = [planned.id for planned in plan(Settings())]
CHECK = f"[tool.dmmcheck.checks.{SUFFICES}]\n"


def expect(result, words) -> None:
    """Exit status 4, the words, and no sign of a crash."""
    text = printed(result)
    for word in words:
        assert word in text
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    for sign in ("INTERNALERROR", "pytest_plugin", "Traceback (most recent call last)"):
        assert sign not in text


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (["--dmm-checks", f"{SUFFICES}, boundary-clings"], lambda id: id.startswith((SUFFICES, "boundary-clings"))),
        (
            ["--dmm-checks", SUFFICES, "--dmm-checks", "boundary-clings"],
            lambda id: id.startswith((SUFFICES, "boundary-clings")),
        ),
        (["--dmm-exclude", "two-phases"], lambda id: not id.startswith("two-phases")),
        (["--dmm-tier", "stated"], lambda id: "-stated-" in id),
    ],
    ids=["checks", "checks-twice", "exclude", "tier"],
)
def test_options_select(project, options, kept):
    result = project.runpytest_inprocess("--dmm-only", "--collect-only", "-q", *options)
    found = [line.partition("::")[2] for line in result.outlines if "::" in line]
    assert found == [id for id in ALL if kept(id) and "-search-" not in id]


def test_a_selection_that_leaves_no_check_is_refused(project):
    result = project.runpytest_inprocess("--dmm", "--dmm-checks", "component-flips", "--dmm-tier", "mechanism")
    expect(result, ["leave no check; see --dmm-list"])


WRONG = {
    "unknown-key": (
        'modle = "world:off"',
        ["unknown key 'modle' in [tool.dmmcheck] of pyproject.toml", "did you mean 'model'?", "valid: model, data"],
    ),
    "wrong-type": (
        'alpha = "small"',
        ["[tool.dmmcheck] of pyproject.toml: alpha is 'small', expected a number above 0 and below 1"],
    ),
    "out-of-range": ("alpha = 1.5", ["alpha is 1.5, expected a number above 0 and below 1"]),
    "threshold-type": (
        f'{CHECK}threshold = "high"',
        [f"checks.{SUFFICES} in [tool.dmmcheck] of pyproject.toml: threshold is 'high'", "a finite number"],
    ),
    "unknown-check": (
        "[tool.dmmcheck.checks.off-manifold-sufices]\nthreshold = 1.0",
        ["unknown check 'off-manifold-sufices'", f"did you mean '{SUFFICES}'?"],
    ),
    "unknown-check-key": (f"{CHECK}treshold = 1.0", ["unknown key 'treshold' of checks.", "did you mean 'threshold'?"]),
    "no-stated-claim": (
        "[tool.dmmcheck.checks.component-flips]\nthreshold = 1.0",
        ["'component-flips', which has no stated claim", "remove it"],
    ),
    "expired": (
        f'{CHECK}expected-failure = "#12"\nexpires = 2020-01-31',
        ["expected failure (#12) expired on 2020-01-31", "set a later date"],
    ),
    "malformed-date": (
        f'{CHECK}expected-failure = "#12"\nexpires = "soon"',
        ["expires is 'soon', expected a date without quotes"],
    ),
    "lone-date": (f"{CHECK}expires = 2099-01-31", ["has expires without expected-failure"]),
    "empty-reason": (f'{CHECK}expected-failure = ""', ["expected-failure is '', expected a text"]),
    "two-pairs": (
        'reference = "world:on"\nrobust = "world:on"',
        ["both reference 'world:on'", "and robust", "keep reference if"],
    ),
    "attack-names": (
        'attacks = ["world:Ray", "other:Ray"]',
        ["'world:Ray' and 'other:Ray' both have the name 'ray'", "rename one of them"],
    ),
}


@pytest.mark.parametrize(("more", "words"), WRONG.values(), ids=WRONG)
def test_a_wrong_setting_ends_the_run_before_it_starts(project, more, words):
    configure(project, more)
    expect(project.runpytest_inprocess(*ONE), words)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ["--dmm-checks", "off-manifold-sufices"],
            ["unknown check 'off-manifold-sufices'", f"did you mean '{SUFFICES}'?"],
        ),
        (["--dmm-exclude", "nothing"], ["unknown check 'nothing'; valid: off-manifold-energy, "]),
        (["--dmm-tier", "contrlled"], ["unknown tier 'contrlled'; did you mean 'controlled'?"]),
        (["--dmm-samples", "many"], ["--dmm-samples: the value is 'many', expected a whole number"]),
        (["--dmm-samples", "3"], ["--dmm-samples: the value is 3, expected a whole number from 8"]),
        (["--dmm-gate", "stated,all"], ["--dmm-gate: the value is ['stated', 'all']", "'all' is none of them"]),
        (["--dmm-on-inconclusive", "stop"], ["--dmm-on-inconclusive: the value is 'stop', expected 'warn' or 'fail'"]),
        (["--dmm-effort", "much"], ["--dmm-effort: the value is 'much', expected 'quick' or 'default' or 'thorough'"]),
        (["--dmm-attacks", "a:B,c:B"], ["--dmm-attacks: the value is ['a:B', 'c:B']", "rename one of them"]),
        (["--dmm-bounds", "1,0"], ["--dmm-bounds: the value is [1.0, 0.0]", "the lower one first"]),
        (["--dmm-manifold-options", "dim: 3"], ["--dmm-manifold-options", "options as in TOML, e.g. 'dim = 16"]),
        (
            ["--dmm-manifold", "locl-pca"],
            ["manifold = 'locl-pca' (--dmm-manifold) is not built in; did you mean 'local-pca'?"],
        ),
        (["--dmm-report", "report.docx"], ["no report format has the suffix '.docx'", "use one of .json, .md"]),
        (["--dmm-report", "."], ["no report format has the suffix ''"]),
    ],
    ids=lambda value: value[0].removeprefix("--dmm-") if value[0].startswith("--dmm-") and len(value) == 2 else "",
)
def test_a_wrong_option_ends_the_run_before_it_starts(project, options, words):
    expect(project.runpytest_inprocess("--dmm-only", *options), words)


def test_a_wrong_setting_is_one_error_under_xdist_too(project):
    configure(project, 'modle = "world:off"')
    expect(project.runpytest_inprocess(*ONE, "-n", "2"), ["did you mean 'model'?"])


def test_two_files_of_settings_conflict(project):
    project.makefile(".toml", dmmcheck="seed = 1\n")
    words = ["both dmmcheck.toml and [tool.dmmcheck] in pyproject.toml", "keep one"]
    expect(project.runpytest_inprocess(*ONE), words)


def test_a_file_of_settings_that_does_not_parse_is_named_with_the_line(empty):
    empty.makefile(".toml", dmmcheck="seed = 1\nmodel = world:off\n")
    expect(empty.runpytest_inprocess(*ONE), ["dmmcheck.toml does not parse as TOML", "line 2"])


def test_a_broken_conftest_is_pytests_own_error(project):
    project.makeconftest(
        "import dmmcheck\n\n"
        "@dmmcheck.check('Is Bad', statement='s', threshold=1.0, direction='greater')\ndef bad(m): ...\n"
    )
    result = project.runpytest_inprocess(*ONE)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "check id 'Is Bad' is malformed" in printed(result)


def test_the_old_key_margin_is_read_with_a_warning(project):
    configure(project, "[tool.dmmcheck.checks.off-manifold-energy]\nmargin = 0.2\n")
    options = ("--dmm-only", "--dmm-checks", "off-manifold-energy", "--collect-only")
    result = project.runpytest_inprocess(*options)
    assert result.ret == 0
    text = printed(result)
    words = "the key margin of checks.off-manifold-energy in [tool.dmmcheck] of pyproject.toml is now min-effect"
    assert text.count(f"DeprecationWarning: {words}") == 1
    strict = project.runpytest_inprocess(*options, "-W", "error::DeprecationWarning")
    expect(strict, [words])
