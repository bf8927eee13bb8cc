"""dmmcheck.parametrize: the checks of a subject in a test file."""

from __future__ import annotations

import json

import pytest
from projects import ID, SUFFICES, findings_in, said

SUBJECT = f"""
import dmmcheck
import pytest
import world


def subject():
    print("made")
    return dmmcheck.Subject(model=world.on, x=world.data[0], y=world.data[1], manifold=world.Plane())


made = pytest.fixture(scope="session")(subject)
SETTINGS = dict(checks=["{SUFFICES}"], samples=24)
"""
TEST = """
def test_geometry(dmm_check):
    finding = dmm_check()
    assert finding.verdict == "supported"
"""


def write_test(pytester, subject: str, more: str = "**SETTINGS") -> None:
    pytester.makepyfile(test_shop=f"{SUBJECT}\n\n@dmmcheck.parametrize({subject}, {more}){TEST}")


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["plain", "n2"])
@pytest.mark.parametrize("subject", ["subject", "subject()", '"made"'], ids=["function", "value", "fixture"])
def test_each_claim_is_a_test_with_a_row_in_the_table_and_the_report(empty, subject, workers):
    write_test(empty, subject)
    result = empty.runpytest_inprocess("--dmm-report", "r.json", *workers)
    assert result.ret == 1
    result.assert_outcomes(failed=1)
    assert [finding["estimate"] > 4 for finding in findings_in(empty.path / "r.json")] == [True]
    text = said(result)
    assert "= dmmcheck: test_shop.py::test_geometry =" in text
    assert f"pytest 'test_shop.py::test_geometry[{ID}]'" in text
    assert f"FAILED test_shop.py::test_geometry[{ID}]" in text


def test_a_failure_points_at_the_users_line(empty):
    write_test(empty, "subject")
    result = empty.runpytest_inprocess()
    result.stdout.fnmatch_lines(["> *finding = dmm_check()", "E *4.60 *, not < 1.25", "*test_shop.py:*RefutedError"])
    assert "suite.py" not in said(result)


def test_what_does_not_fail_ends_the_test_in_the_same_words_as_elsewhere(empty):
    write_test(empty, "subject", "checks=['component-flips', 'two-phases'], samples=24")
    result = empty.runpytest_inprocess("-v")
    assert result.ret == 1
    text = said(result)
    assert "[two-phases-mechanism-builtin] SKIPPED" in text
    assert "no gating check reached a verdict" in text


def test_settings_come_from_options_and_file_unless_the_file_says_so(empty):
    write_test(empty, "subject", f"checks=['{SUFFICES}']")
    empty.makefile(".toml", pyproject="[tool.dmmcheck]\nsamples = 16\nseed = 4\n")
    empty.runpytest_inprocess("--dmm-report", "r.json", "--dmm-seed", "5")
    content = json.loads((empty.path / "r.json").read_text())
    assert (content["seed"], content["findings"][0]["n"]) == (5, 16)


def test_two_subjects_are_two_tables_and_two_files(project):
    write_test(project, "subject")
    result = project.runpytest_inprocess("--dmm", "--dmm-checks", SUFFICES, "--dmm-report", "r.json")
    result.assert_outcomes(passed=1, failed=1)
    (main,), (other,) = (findings_in(project.path / name) for name in ("r.json", "r-test_geometry.json"))
    assert (main["verdict"], other["verdict"]) == ("supported", "refuted")
    assert "report r.json report r-test_geometry.json" in said(result)


def test_a_subject_is_measured_once_for_all_its_tests(empty):
    empty.makepyfile(test_shop=f"{SUBJECT}\n\n@dmmcheck.parametrize(subject, tiers='stated', samples=24){TEST}")
    result = empty.runpytest_inprocess("-s", "-q")
    assert result.stdout.str().count("made") == 1


@pytest.mark.parametrize(
    ("subject", "words"),
    [
        ("dict", "the subject of test_geometry is a dict, expected a dmmcheck.Subject"),
        ("lambda: {}['a']", "the subject of test_geometry raised KeyError when called: 'a'"),
        ('"nowhere"', "the fixture nowhere"),
    ],
    ids=["no-subject", "raises", "no-fixture"],
)
def test_a_subject_that_cannot_be_used_is_one_clear_error(empty, subject, words):
    write_test(empty, subject)
    result = empty.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert words in said(result)
    assert "INTERNALERROR" not in said(result)


def test_an_unknown_check_is_named_when_the_file_is_collected(empty):
    write_test(empty, "subject", "checks=['nothing']")
    result = empty.runpytest_inprocess()
    assert result.ret != 0
    assert "unknown check 'nothing'; valid: " in said(result)


def test_the_argument_without_the_decorator_says_what_is_missing(empty):
    empty.makepyfile(test_shop="def test_geometry(dmm_check):\n    dmm_check()\n")
    result = empty.runpytest_inprocess()
    assert "asks for dmm_check without @dmmcheck.parametrize(subject, checks=...)" in said(result)
    assert result.ret == 1


def test_the_function_run_is_still_there_after_the_module_of_its_name_is_loaded():
    import dmmcheck.parametrize
    import dmmcheck.run

    assert callable(dmmcheck.run)
    assert callable(dmmcheck.parametrize)
