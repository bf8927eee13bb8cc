"""Errors of the user's code are shown with the frames of that code, and with none of dmmcheck or pytest."""

from __future__ import annotations

from pathlib import Path

import pytest
from projects import FIXTURES, ONE, SUFFICES, printed

from dmmcheck.errors import ConfigError
from dmmcheck.loading.references import UserCodeError
from dmmcheck.pytest_plugin.tracebacks import representation


def error_with_cause(cause: BaseException) -> UserCodeError:
    """An error of dmmcheck for an exception that was raised here."""
    try:
        try:
            raise cause
        except BaseException as error:
            raise UserCodeError(f"raised {type(error).__name__}") from error
    except UserCodeError as error:
        return error


def test_frames_of_the_users_code_are_shown_with_the_message_below():
    shown = str(representation(error_with_cause(KeyError("best")), "what to say", Path("pyproject.toml"), "long"))
    assert "raise cause" in shown
    assert "KeyError: 'best'" in shown
    assert shown.rstrip().endswith("what to say")


def test_without_code_of_the_user_the_message_is_all():
    with pytest.raises(ConfigError) as error:
        raise ConfigError("x")
    shown = representation(error.value, "what to say", Path("pyproject.toml"), "long")
    assert str(shown).strip() == "what to say"
    crash = shown.reprcrash
    assert (crash.path, crash.lineno, crash.message) == ("pyproject.toml", 1, "what to say")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (
            "import world\n\n\ndef load():\n    return open('missing.pt')\n\n\nnet = load()\n",
            [
                "model = 'broken:net' (--dmm-model) raised FileNotFoundError while it was imported",
                "broken.py:5",
                "return open('missing.pt')",
            ],
        ),
        (
            "def net(x):\n    return x.reshape(3, -1)\n",
            [
                "the model raised RuntimeError in forward on an input of shape (2, 8)",
                "broken.py:2",
                "return x.reshape(3, -1)",
            ],
        ),
    ],
    ids=["module", "model"],
)
def test_an_error_of_a_module_or_model_shows_the_users_line(project, code, words):
    project.makepyfile(broken=code)
    result = project.runpytest_inprocess(*ONE, "--dmm-model", "broken:net")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    for word in words:
        assert word in printed(result)
    for sign in ("importlib", "INTERNALERROR", "pytest_plugin", "Traceback (most recent call last)"):
        assert sign not in printed(result)


def test_an_error_of_a_fixture_shows_the_users_line(empty):
    empty.makeconftest(FIXTURES.replace("return world.off", "weights = {}\n        return weights['best']"))
    result = empty.runpytest_inprocess(*ONE)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    for words in (
        "return weights['best']",
        "KeyError: 'best'",
        "conftest.py:7",
        "the fixture dmm_model raised KeyError",
    ):
        assert words in printed(result)
    assert "pytest_plugin" not in printed(result)
    assert "dmmcheck/" not in printed(result)


def test_an_error_of_a_check_shows_the_users_line_and_fails_that_check_only(project):
    project.makeconftest(
        """
        import dmmcheck

        @dmmcheck.check("is-broken", statement="s", threshold=1.0, direction="greater")
        def is_broken(view):
            return {}["margin"]

        @dmmcheck.check("is-number", statement="s", threshold=1.0, direction="greater")
        def is_number(view):
            return 3.0
        """
    )
    result = project.runpytest_inprocess("--dmm-only", "--dmm-checks", f"is-broken,is-number,{SUFFICES}")
    assert result.ret == 1
    result.assert_outcomes(failed=2, passed=1)
    text = printed(result)
    for words in (
        "conftest.py:5: KeyError",
        "check 'is-broken-stated-builtin' raised KeyError: 'margin'",
        "returned a float, expected Evidence",
    ):
        assert words in text
    assert "dmmcheck/run.py" not in text
    assert "dmmcheck/judge.py" not in text


def test_frames_that_nobody_sees_are_not_drawn(project, monkeypatch):
    """pytest would read and parse the source of some twenty frames of dmmcheck for each error."""
    drawn, styles = pytest.ExceptionInfo.getrepr, []

    def noted(info, *arguments, **options):
        styles.append(options.get("style"))
        return drawn(info, *arguments, **options)

    monkeypatch.setattr(pytest.ExceptionInfo, "getrepr", noted)
    unusable = project.runpytest_inprocess(*ONE, "--dmm-model", "world:none")
    refuted = project.runpytest_inprocess(*ONE, "--dmm-model", "world:on")
    assert (unusable.ret, refuted.ret) == (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.TESTS_FAILED)
    assert set(styles) == {"value"}
