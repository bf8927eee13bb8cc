"""The ways to say what is under test, which of them wins, and what cannot be mixed."""

from __future__ import annotations

import pytest
from projects import ONE, SETTINGS, configure, findings_in, said

FIXTURES = """
    import pytest
    import world

    @pytest.fixture(scope="session")
    def dmm_model():
        return world.off

    @pytest.fixture(scope="session")
    def dmm_data():
        return world.data

    @pytest.fixture(scope="session")
    def dmm_manifold():
        return world.Plane()
"""
SUBJECT = """
    import pytest
    import dmmcheck
    import world

    @pytest.fixture(scope="session")
    def dmm_subject():
        return dmmcheck.Subject(model=world.off, x=world.data[0], y=world.data[1], manifold=world.Plane())
"""
OFF, ON = "1.03", "4.60"
FILE = ("--dmm-report", "r.json", "--dmm-samples", "24")


def found(pytester) -> str:
    (finding,) = findings_in(pytester.path / "r.json")
    return f"{finding['estimate']:.2f}"


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["plain", "n2"])
@pytest.mark.parametrize("fixtures", [FIXTURES, SUBJECT], ids=["parts", "subject"])
def test_fixtures_alone_say_what_is_under_test(empty, fixtures, workers):
    empty.makeconftest(fixtures)
    result = empty.runpytest_inprocess(*ONE, *FILE, *workers)
    assert result.ret == 0
    assert found(empty) == OFF


def test_options_alone_say_what_is_under_test(empty):
    empty.makefile(".toml", pyproject="")
    parts = ("--dmm-model", "world.py:on", "--dmm-data", "world.py:data", "--dmm-manifold", "world.py:Plane")
    assert empty.runpytest_inprocess(*ONE, *FILE, *parts).ret == 1
    assert found(empty) == ON


def test_a_file_of_our_own_says_what_is_under_test(empty):
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
def test_a_part_given_nearer_to_the_command_line_replaces_that_of_a_whole_subject(empty, how):
    empty.makeconftest(SUBJECT)
    empty.makefile(".toml", pyproject='[tool.dmmcheck]\nmodel = "world:on"\n' if how == "file" else "")
    empty.runpytest_inprocess(*ONE, *FILE, *(["--dmm-model", "world:on"] if how == "option" else []))
    assert found(empty) == ON


def test_settings_are_options_too_and_reach_the_workers(project):
    project.runpytest_inprocess(*ONE, "--dmm-report", "r.json", "--dmm-samples", "16", "--dmm-seed", "7", "-n", "2")
    assert findings_in(project.path / "r.json")[0]["n"] == 16
    assert '"seed": 7' in (project.path / "r.json").read_text()


def test_a_built_in_manifold_is_fitted_on_the_training_data(empty):
    empty.makepyfile(
        split="import world\ntrain = world.x[:30], world.data[1][:30]\ntest = world.x[30:], world.data[1][30:]\n"
    )
    settings = SETTINGS.replace("world:data", "split:test").replace("world:Plane", "pca")
    configure(empty, 'manifold-data = "split:train"\nmanifold-options = {dim = 2}', settings)
    result = empty.runpytest_inprocess(*ONE, "--dmm-report", "r.json")
    assert "manifold pca, k = 2" in said(result)
    wider = empty.runpytest_inprocess(*ONE, "--dmm-manifold-options", "dim = 3")
    assert "manifold pca, k = 3" in said(wider)


def test_further_attacks_are_further_variants(project):
    pytest.importorskip("torchattacks")
    options = ("--dmm-only", "--dmm-checks", "off-manifold-energy", "--dmm-tier", "stated", "--dmm-attacks", "fab")
    result = project.runpytest_inprocess(*options, "-v")
    result.stdout.fnmatch_lines(["pyproject.toml::off-manifold-energy-stated-fab PASSED*"])


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["plain", "n2"])
def test_nothing_under_test_is_one_error_that_says_what_to_do(empty, workers):
    empty.makefile(".toml", pyproject="")
    below = empty.mkdir("tests")
    (below / "conftest.py").write_text(
        "import pytest\n\n@pytest.fixture(scope='session')\ndef dmm_model():\n    return 1\n"
    )
    result = empty.runpytest_inprocess(*ONE, *workers)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    text = said(result)
    assert (
        "no model and no data and no manifold: set model, data, manifold in [tool.dmmcheck] of pyproject.toml" in text
    )
    assert "--dmm-model, --dmm-data, --dmm-manifold" in text
    assert "dmm_model, dmm_data, dmm_manifold as session-scoped fixtures in the conftest.py in" in text
    assert "such as tests/conftest.py, are not seen there" in text
    assert "INTERNALERROR" not in text
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("conftest", "words"),
    [
        (FIXTURES + "\n" + SUBJECT, ["dmm_subject and dmm_model, dmm_data, dmm_manifold are defined", "keep the one"]),
        (
            FIXTURES.replace('scope="session"', 'scope="module"'),
            ["fixture dmm_model has the scope 'module'", 'scope="session"'],
        ),
        (
            FIXTURES.replace("dmm_model()", "dmm_model(nowhere)"),
            ["dmm_model asks for a fixture 'nowhere'", "not found"],
        ),
        (FIXTURES.replace("dmm_model()", "dmm_model(tmp_path)"), ["dmm_model cannot be set up", "ScopeMismatch"]),
        (FIXTURES.replace("return world.off", "return None"), ["fixture dmm_model returned None"]),
        (FIXTURES.replace("return world.off", "return 3"), ["the model is a int, which cannot be called"]),
        (
            SUBJECT.replace("return dmmcheck.Subject", "return dict"),
            ["fixture dmm_subject is a dict", "dmmcheck.Subject"],
        ),
        (
            FIXTURES.replace("return world.off", "raise pytest.UsageError('no weights: run make')"),
            ["no weights: run make"],
        ),
    ],
    ids=["both", "scope", "unknown", "mismatch", "none", "no-model", "no-subject", "their-own"],
)
def test_fixtures_that_cannot_be_used_are_one_clear_error(empty, conftest, words):
    empty.makeconftest(conftest)
    result = empty.runpytest_inprocess(*ONE)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    for word in words:
        assert word in said(result)
    assert "INTERNALERROR" not in said(result)
    assert "pytest_plugin" not in said(result)


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["plain", "n2"])
def test_a_fixture_that_raises_is_shown_with_its_own_traceback(empty, workers):
    empty.makeconftest(FIXTURES.replace("return world.off", "weights = {}\n        return weights['best']"))
    result = empty.runpytest_inprocess(*ONE, "--dmm-checks", "boundary-clings", *workers)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    for words in (
        "return weights['best']",
        "KeyError: 'best'",
        "conftest.py:7",
        "the fixture dmm_model raised KeyError",
    ):
        assert words in said(result)
    assert "pytest_plugin" not in said(result)
    assert "dmmcheck/" not in said(result)


def test_what_is_wrong_is_said_once_and_the_rest_is_skipped(empty):
    empty.makeconftest(FIXTURES.replace("return world.off", "return 3"))
    result = empty.runpytest_inprocess("--dmm-only")
    outcomes = result.parseoutcomes()
    assert outcomes["errors"] == 1
    assert set(outcomes) == {"errors", "skipped"}


def test_a_fixture_may_skip_and_a_run_that_tested_nothing_fails(empty):
    empty.makeconftest(FIXTURES.replace("return world.off", "pytest.skip('no GPU here')"))
    result = empty.runpytest_inprocess(*ONE, "-rs")
    result.assert_outcomes(skipped=1)
    assert "no GPU here" in said(result)
    assert "no gating check reached a verdict" in said(result)
    assert result.ret == 1
