"""What is under test comes from options, the file of settings, or fixtures; which of them wins, and what conflicts."""

from __future__ import annotations

import pytest
from projects import FIXTURES, ONE, SETTINGS, SUBJECT, configure, findings_in, printed

OFF, ON = "1.03", "4.60"
FILE = ("--dmm-report", "r.json", "--dmm-samples", "24")


def found(pytester) -> str:
    """The estimate of the one finding in the report."""
    (finding,) = findings_in(pytester.path / "r.json")
    return f"{finding['estimate']:.2f}"


@pytest.mark.parametrize("fixtures", [FIXTURES, SUBJECT], ids=["parts", "subject"])
def test_fixtures_alone_say_what_is_under_test(empty, fixtures):
    empty.makeconftest(fixtures)
    assert empty.runpytest_inprocess(*ONE, *FILE).ret == 0
    assert found(empty) == OFF


def test_options_alone_say_what_is_under_test(empty):
    empty.makefile(".toml", pyproject="")
    parts = ("--dmm-model", "world.py:on", "--dmm-data", "world.py:data", "--dmm-manifold", "world.py:Plane")
    assert empty.runpytest_inprocess(*ONE, *FILE, *parts).ret == 1
    assert found(empty) == ON


def test_dmmcheck_toml_says_what_is_under_test(empty):
    empty.makefile(".toml", dmmcheck=SETTINGS.partition("]")[2])
    assert empty.runpytest_inprocess(*ONE, *FILE).ret == 0
    assert found(empty) == OFF


def test_an_option_wins_over_the_file_and_the_file_over_a_fixture(project):
    project.makeconftest(FIXTURES.replace("world.off", "world.on"))
    project.runpytest_inprocess(*ONE, *FILE)
    assert found(project) == OFF
    project.runpytest_inprocess(*ONE, *FILE, "--dmm-model", "world:on")
    assert found(project) == ON


@pytest.mark.parametrize("how", ["option", "file"])
def test_an_option_or_the_file_replaces_a_part_of_a_subject(empty, how):
    empty.makeconftest(SUBJECT)
    empty.makefile(".toml", pyproject='[tool.dmmcheck]\nmodel = "world:on"\n' if how == "file" else "")
    empty.runpytest_inprocess(*ONE, *FILE, *(["--dmm-model", "world:on"] if how == "option" else []))
    assert found(empty) == ON


def test_a_fixture_that_returns_none_gives_no_optional_part(project):
    project.makeconftest("import pytest\n\n@pytest.fixture(scope='session')\ndef dmm_robust():\n    return None\n")
    assert project.runpytest_inprocess(*ONE, *FILE).ret == 0
    assert found(project) == OFF


def test_a_built_in_manifold_is_fitted_on_the_training_data(empty):
    empty.makepyfile(
        split="import world\ntrain = world.x[:30], world.data[1][:30]\ntest = world.x[30:], world.data[1][30:]\n"
    )
    settings = SETTINGS.replace("world:data", "split:test").replace("world:Plane", "pca")
    configure(empty, 'manifold-data = "split:train"\nmanifold-options = {dim = 2}', settings)
    assert "manifold pca, k = 2" in printed(empty.runpytest_inprocess(*ONE))
    assert "manifold pca, k = 3" in printed(empty.runpytest_inprocess(*ONE, "--dmm-manifold-options", "dim = 3"))


def test_nothing_under_test_is_one_error_with_all_remedies(empty):
    empty.makefile(".toml", pyproject="")
    below = empty.mkdir("tests")
    (below / "conftest.py").write_text(
        "import pytest\n\n@pytest.fixture(scope='session')\ndef dmm_model():\n    return 1\n"
    )
    result = empty.runpytest_inprocess(*ONE)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    text = printed(result)
    for words in (
        "no model and no data and no manifold are given; write "
        'model = "package.module:net", data = "package.module:test", '
        'manifold-data = "package.module:train" in [tool.dmmcheck] of pyproject.toml, with the names of your own code',
        "or give --dmm-model, --dmm-data, --dmm-manifold",
        f"dmm_model, dmm_data, dmm_manifold as session-scoped fixtures in the conftest.py in {empty.path}",
        "such as tests/conftest.py, are not seen by the checks",
    ):
        assert words in text
    assert "INTERNALERROR" not in text
    assert "Traceback" not in text


UNUSABLE = {
    "both": (
        FIXTURES + "\n" + SUBJECT,
        ["dmm_subject and dmm_model, dmm_data, dmm_manifold are defined", "keep the one subject, or its parts"],
    ),
    "scope": (
        FIXTURES.replace('scope="session"', 'scope="module"'),
        ["fixture dmm_model has the scope 'module', but all checks share one", 'scope="session"'],
    ),
    "unknown": (
        FIXTURES.replace("dmm_model()", "dmm_model(nowhere)"),
        ["dmm_model asks for a fixture 'nowhere', which is not found; define it in the conftest.py in"],
    ),
    "mismatch": (
        FIXTURES.replace("dmm_model()", "dmm_model(tmp_path)"),
        ["dmm_model cannot be set up", "ScopeMismatch", "let it use session-scoped fixtures only"],
    ),
    "fails": (
        FIXTURES.replace("return world.off", "pytest.fail('no weights')"),
        ["dmm_model cannot be set up: no weights"],
    ),
    "none": (FIXTURES.replace("return world.off", "return None"), ["fixture dmm_model returned None; return what is"]),
    "no-model": (FIXTURES.replace("return world.off", "return 3"), ["the model is a int, which cannot be called"]),
    "no-subject": (
        SUBJECT.replace("return dmmcheck.Subject", "return dict"),
        ["fixture dmm_subject is a dict, expected a dmmcheck.Subject"],
    ),
    "usage-error": (
        FIXTURES.replace("return world.off", "raise pytest.UsageError('no weights: run make')"),
        ["no weights: run make"],
    ),
}


@pytest.mark.parametrize(("conftest", "words"), UNUSABLE.values(), ids=UNUSABLE)
def test_a_fixture_that_cannot_be_used_is_one_error(empty, conftest, words):
    empty.makeconftest(conftest)
    result = empty.runpytest_inprocess(*ONE)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    for word in words:
        assert word in printed(result)
    assert "INTERNALERROR" not in printed(result)
    assert "pytest_plugin" not in printed(result)


def test_a_fixture_may_skip_and_a_run_that_tested_nothing_fails(empty):
    empty.makeconftest(FIXTURES.replace("return world.off", "pytest.skip('no GPU here')"))
    result = empty.runpytest_inprocess(*ONE, "-rs")
    result.assert_outcomes(skipped=1)
    assert "no GPU here" in printed(result)
    assert "no gating check reached a verdict" in printed(result)
    assert result.ret == 1
