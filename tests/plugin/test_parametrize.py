"""dmmcheck.parametrize: the checks of a subject as tests in a test file."""

from __future__ import annotations

import json

import pytest
from projects import ID, SUFFICES, findings_in, printed

import dmmcheck
from dmmcheck.config.settings import Settings

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


def test_the_decorator_is_a_mark_with_its_arguments():
    mark = dmmcheck.parametrize("made", checks="two-phases", tiers=iter(["stated"]), seed=3).mark
    assert mark.name == "dmm"
    assert mark.kwargs == {
        "subject": "made",
        "checks": ["two-phases"],
        "exclude": [],
        "tiers": ["stated"],
        "settings": None,
        "overrides": {"seed": 3},
    }


@pytest.mark.parametrize("subject", ["subject", "subject()", '"made"'], ids=["function", "value", "fixture"])
def test_each_claim_is_a_test_with_a_row_in_the_table_and_the_report(empty, subject):
    write_test(empty, subject)
    result = empty.runpytest_inprocess("--dmm-report", "r.json")
    assert result.ret == 1
    result.assert_outcomes(failed=1)
    assert [finding["estimate"] > 4 for finding in findings_in(empty.path / "r.json")] == [True]
    text = printed(result)
    assert "= dmmcheck: test_shop.py::test_geometry =" in text
    assert f"pytest 'test_shop.py::test_geometry[{ID}]'" in text
    assert f"FAILED test_shop.py::test_geometry[{ID}]" in text


def test_a_supported_claim_returns_its_finding(empty):
    write_test(empty, "subject", f"checks=['{SUFFICES}'], settings=dmmcheck.Settings(samples=24)")
    source = (empty.path / "test_shop.py").read_text().replace("world.on", "world.off")
    (empty.path / "test_shop.py").write_text(source)
    empty.runpytest_inprocess().assert_outcomes(passed=1)


def test_a_failure_points_at_the_users_line(empty):
    write_test(empty, "subject")
    result = empty.runpytest_inprocess()
    result.stdout.fnmatch_lines(["> *finding = dmm_check()", "E *4.60 *, not < 1.25", "*test_shop.py:*RefutedError"])
    for file in ("session.py", "outcomes.py", "parametrize.py"):
        assert file not in printed(result)


def test_other_verdicts_end_the_test_in_the_same_words_as_elsewhere(empty):
    write_test(empty, "subject", "checks=['two-phases'], samples=24")
    result = empty.runpytest_inprocess("-v")
    assert result.ret == 1
    text = printed(result)
    assert "[two-phases-mechanism-builtin] SKIPPED" in text
    assert "no gating check reached a verdict" in text


def test_settings_come_from_options_and_file_unless_the_decorator_has_them(empty):
    write_test(empty, "subject", f"checks=['{SUFFICES}']")
    empty.makefile(".toml", pyproject="[tool.dmmcheck]\nsamples = 16\nseed = 4\n")
    empty.runpytest_inprocess("--dmm-report", "r.json", "--dmm-seed", "5")
    content = json.loads((empty.path / "r.json").read_text())
    assert (content["seed"], content["findings"][0]["n"]) == (5, 16)
    write_test(empty, "subject", f"checks=['{SUFFICES}'], seed=6")
    empty.runpytest_inprocess("--dmm-report", "r.json", "--dmm-seed", "5")
    content = json.loads((empty.path / "r.json").read_text())
    assert (content["seed"], content["findings"][0]["n"]) == (6, 16)


def test_a_subject_is_made_once_for_all_its_tests(empty):
    tests = f"\n\n@dmmcheck.parametrize(subject, tiers='stated', checks=['{SUFFICES}', 'boundary-clings'], samples=24)"
    empty.makepyfile(test_shop=f"{SUBJECT}{tests}{TEST}")
    result = empty.runpytest_inprocess("-s", "-q")
    assert len(result.parseoutcomes()) > 0
    assert sum(result.parseoutcomes().values()) == 2
    assert result.stdout.str().count("made") == 1


def test_other_settings_are_another_session(empty):
    empty.makepyfile(
        test_shop=SUBJECT
        + "".join(
            f"\n\n@dmmcheck.parametrize(subject, checks=['{SUFFICES}'], samples={samples})"
            + TEST.replace("geometry", f"with_{samples}")
            for samples in (16, 24)
        )
    )
    empty.runpytest_inprocess("--dmm-report", "r.json")
    for samples in (16, 24):
        assert [finding["n"] for finding in findings_in(empty.path / f"r-test_with_{samples}.json")] == [samples]


@pytest.mark.parametrize(
    ("subject", "words"),
    [
        ("dict", "the subject of test_geometry is a dict, expected a dmmcheck.Subject"),
        ("lambda: {}['a']", "the subject of test_geometry raised KeyError when called: 'a'"),
        ('"nowhere"', "the fixture nowhere is not found; define it in the conftest.py in"),
    ],
    ids=["no-subject", "raises", "no-fixture"],
)
def test_a_subject_that_cannot_be_used_is_one_error(empty, subject, words):
    write_test(empty, subject)
    result = empty.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert words in printed(result)
    assert "INTERNALERROR" not in printed(result)


def test_an_unknown_check_is_named_when_the_file_is_collected(empty):
    write_test(empty, "subject", "checks=['nothing']")
    result = empty.runpytest_inprocess()
    assert result.ret != 0
    assert "unknown check 'nothing'; valid: " in printed(result)


def test_an_unknown_setting_is_named_when_the_file_is_collected(empty):
    write_test(empty, "subject", "sample=24")
    result = empty.runpytest_inprocess()
    assert result.ret != 0
    assert "unknown setting 'sample'; did you mean 'samples'?" in printed(result)


def test_the_argument_without_the_decorator_says_what_is_missing(empty):
    empty.makepyfile(test_shop="def test_geometry(dmm_check):\n    dmm_check()\n")
    result = empty.runpytest_inprocess()
    assert "asks for dmm_check without @dmmcheck.parametrize(subject, checks=...); add the decorator" in printed(result)
    assert result.ret == 1


def test_own_attacks_are_loaded_from_the_root_folder(empty):
    """The decorator is in a folder below, and the path starts from the root."""
    empty.makefile(".toml", pyproject="[tool.dmmcheck]\nsamples = 24\n")
    empty.makepyfile(own="def mine(model, x, y, *, space, bounds=None, generator):\n    raise RuntimeError('called')\n")
    write_test(empty, "subject", "checks=['off-manifold-energy'], tiers='stated', attacks=['own.py:mine']")
    (empty.mkdir("tests") / "test_shop.py").write_text((empty.path / "test_shop.py").read_text())
    (empty.path / "test_shop.py").unlink()
    result = empty.runpytest_inprocess("--rootdir", str(empty.path), "tests", "-v")
    assert "test_geometry[off-manifold-energy-stated-mine]" in printed(result)
    assert "raised RuntimeError: called" in printed(result)


def test_settings_are_those_of_the_package():
    assert dmmcheck.Settings is Settings


def test_attacks_that_look_alike_do_not_share_a_run(empty):
    empty.makepyfile(
        test_alike="""
        import dmmcheck
        import world

        subject = dmmcheck.Subject(model=world.off, x=world.data[0], y=world.data[1], manifold=world.Plane())

        class Alike:
            name = "alike"

            def __init__(self, length):
                self.length = length

            def __repr__(self):
                return "Alike()"

            def __call__(self, model, x, y, *, space, bounds=None, generator):
                found = dmmcheck.boundary_search(model, x, y, space=space, generator=generator)
                points = x + self.length * (found.point - x)
                return dmmcheck.Crossing.at(points, model, x, y)

        def checked(length):
            return dmmcheck.parametrize(
                subject, checks=["on-manifold-distance"], tiers=["stated"], samples=24, attacks=[Alike(length)]
            )

        @checked(1.0)
        def test_whole(dmm_check):
            dmm_check()

        @checked(0.5)
        def test_half(dmm_check):
            dmm_check()
        """
    )
    text = " ".join(empty.runpytest("-rA").outlines)
    assert "the attack alike found a label change for 0% of inputs" in text
