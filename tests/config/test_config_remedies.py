"""What the messages of wrong settings advise is done word by word, and the settings are then read."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pytest

from dmmcheck.config.settings import CheckSettings, Settings, load_config
from dmmcheck.errors import ConfigError

TODAY = date(2026, 11, 24)
BOTH = "reference = 'a:b'\nrobust = 'a:b'"


@dataclass(frozen=True)
class Case:
    """A wrong setting, the advice of its message, and the setting after the advice.

    Attributes:
        bad: Lines of ``[tool.dmmcheck]``.
        advice: The words of the message that say what to do.
        good: The lines after doing that.
        holds: Settings by name, or parts of what is under test by key, that are then read.
    """

    bad: str
    advice: str
    good: str
    holds: dict[str, Any] = field(default_factory=dict)


def one(**settings: Any) -> dict[str, Any]:
    """The settings of the check a."""
    return {"checks": {"a": CheckSettings(**settings)}}


CASES = {
    "unknown-key": Case("sede = 3", "did you mean 'seed'?", "seed = 3", {"seed": 3}),
    "text": Case("model = 3", "expected a text that is not empty", "model = 'a:b'", {"model": "a:b"}),
    "whole-number": Case(
        "samples = 8.5", "expected a whole number from 8 to 1000000000", "samples = 8", {"samples": 8}
    ),
    "at-least": Case("seed = -1", "expected a whole number from 0 to 9223372036854775807", "seed = 0", {"seed": 0}),
    "rate": Case("alpha = 1", "above 0 and below 1, e.g. 0.05", "alpha = 0.05", {"alpha": 0.05}),
    "number": Case(
        "checks.a.threshold = 'a'",
        "expected a finite number, e.g. 1.5",
        "checks.a.threshold = 1.5",
        one(threshold=1.5),
    ),
    "texts": Case("gate = 'stated'", 'a list of texts, e.g. ["a", "b"]', 'gate = ["stated"]', {"gate": ("stated",)}),
    "tier": Case("gate = ['sated']", "did you mean 'stated'?", "gate = ['stated']", {"gate": ("stated",)}),
    "one-of": Case(
        "on-inconclusive = 'stop'", "'warn' or 'fail'", "on-inconclusive = 'fail'", {"on_inconclusive": "fail"}
    ),
    "effort": Case("effort = 1", "'quick' or 'default' or 'thorough'", "effort = 'quick'", {"effort": "quick"}),
    "pair": Case("bounds = 1", "two numbers, e.g. [0.0, 1.0]", "bounds = [0.0, 1.0]", {"bounds": (0.0, 1.0)}),
    "order": Case("bounds = [1, 0]", "the lower one first", "bounds = [0, 1]", {"bounds": (0.0, 1.0)}),
    "table": Case(
        "manifold-options = 1",
        "a table, e.g. {dim = 16}",
        "manifold-options = {dim = 16}",
        {"manifold-options": {"dim": 16}},
    ),
    "attacks": Case("attacks = 'fab'", 'e.g. ["fab"]', 'attacks = ["fab"]', {"attacks": ("fab",)}),
    "attack-colon": Case(
        "attacks = ['shop.attacks.Mine']",
        "('shop.attacks.Mine' has a dot and no colon); did you mean 'shop.attacks:Mine'?",
        "attacks = ['shop.attacks:Mine']",
        {"attacks": ("shop.attacks:Mine",)},
    ),
    "attack-file": Case(
        "attacks = ['attacks.py']",
        "references of the form pkg.mod:attr or path.py:attr",
        "attacks = ['attacks.py:Mine']",
        {"attacks": ("attacks.py:Mine",)},
    ),
    "attack-names": Case(
        "attacks = ['a:B', 'c:B']", "rename one of them", "attacks = ['a:B', 'c:C']", {"attacks": ("a:B", "c:C")}
    ),
    "reserved-name": Case(
        "attacks = ['a:Rotation']", "rename that attack", "attacks = ['a:Turn']", {"attacks": ("a:Turn",)}
    ),
    "keep-reference": Case(
        BOTH, "keep reference if the model under test is the robust one", "reference = 'a:b'", {"reference": "a:b"}
    ),
    "keep-robust": Case(BOTH, "or robust if it is the standard one", "robust = 'a:b'", {"robust": "a:b"}),
    "checks": Case(
        "checks = 3", "one table a check, e.g. [tool.dmmcheck.checks.ID]", "[tool.dmmcheck.checks.a]", one()
    ),
    "check": Case(
        "checks.a = 3",
        "a table with threshold, min-effect, expected-failure, expires",
        "checks.a = {threshold = 3}",
        one(threshold=3.0),
    ),
    "check-key": Case(
        "checks.a.treshold = 3", "did you mean 'threshold'?", "checks.a.threshold = 3", one(threshold=3.0)
    ),
    "margin": Case(
        "checks.a = {margin = 1, min-effect = 2}",
        "remove margin",
        "checks.a = {min-effect = 2}",
        one(min_effect=2.0),
    ),
    "date": Case(
        "checks.a = {expected-failure = 'x', expires = 'soon'}",
        "a date without quotes, e.g. 2027-01-31",
        "checks.a = {expected-failure = 'x', expires = 2027-01-31}",
        one(expected_failure="x", expires=date(2027, 1, 31)),
    ),
    "add-reason": Case(
        "checks.a = {expires = 2027-01-31}",
        "add expected-failure with the reason",
        "checks.a = {expected-failure = 'x', expires = 2027-01-31}",
        one(expected_failure="x", expires=date(2027, 1, 31)),
    ),
    "remove-date": Case("checks.a = {expires = 2027-01-31}", "or remove expires", "checks.a = {}", one()),
    "expired-remove": Case(
        "checks.a = {expected-failure = 'x', expires = 2026-01-31}", "remove it", "checks.a = {}", one()
    ),
    "expired-later": Case(
        "checks.a = {expected-failure = 'x', expires = 2026-01-31}",
        "or set a later date",
        "checks.a = {expected-failure = 'x', expires = 2027-01-31}",
        one(expected_failure="x", expires=date(2027, 1, 31)),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_advice_of_the_message_works(tmp_path, case):
    file = tmp_path / "pyproject.toml"
    file.write_text(f"[tool.dmmcheck]\n{case.bad}\n")
    with pytest.raises(ConfigError) as error:
        load_config(tmp_path, today=TODAY)
    assert case.advice in str(error.value)
    file.write_text(f"[tool.dmmcheck]\n{case.good}\n")
    config = load_config(tmp_path, today=TODAY)
    read = {name: given.value for name, given in config.subject.items()} | vars(config.settings)
    assert {name: read[name] for name in case.holds} == case.holds
    assert case.holds


@pytest.mark.parametrize(
    ("name", "texts", "advice", "value"),
    [
        ("samples", ("many", "64"), "expected a whole number", 64),
        ("alpha", ("half", "0.5"), "expected a number", 0.5),
        (
            "manifold-options",
            ("dim: 16", "dim = 16, neighbours = 40"),
            "options as in TOML, e.g. 'dim = 16, neighbours = 40'",
            {"dim": 16, "neighbours": 40},
        ),
    ],
    ids=["whole", "real", "toml"],
)
def test_an_option_can_be_given_as_the_message_says(tmp_path, name, texts, advice, value):
    bad, good = texts
    with pytest.raises(ConfigError) as error:
        load_config(tmp_path, {name: bad})
    assert advice in str(error.value)
    config = load_config(tmp_path, {name: good})
    read = {key: given.value for key, given in config.subject.items()} | vars(config.settings)
    assert read[name] == value


@pytest.mark.parametrize("kept", ["pyproject.toml", "dmmcheck.toml"])
def test_of_two_files_either_may_be_kept(tmp_path, kept):
    (tmp_path / "pyproject.toml").write_text("[tool.dmmcheck]\nseed = 5\n")
    (tmp_path / "dmmcheck.toml").write_text("seed = 5\n")
    with pytest.raises(ConfigError, match="keep one of them"):
        load_config(tmp_path)
    for file in tmp_path.iterdir():
        if file.name != kept:
            file.unlink()
    assert load_config(tmp_path).settings.seed == 5


@pytest.mark.parametrize(
    ("bad", "advice", "good"),
    [
        ("[tool.dmmcheck]\nseed = five\n", r"line 2, column 8\); correct that line", "[tool.dmmcheck]\nseed = 5\n"),
        ("[tool]\ndmmcheck = 5\n", r"make it a table, \[tool\.dmmcheck\]", "[tool.dmmcheck]\nseed = 5\n"),
    ],
    ids=["line", "table"],
)
def test_a_file_is_read_after_it_is_corrected(tmp_path, bad, advice, good):
    file = tmp_path / "pyproject.toml"
    file.write_text(bad)
    with pytest.raises(ConfigError, match=advice):
        load_config(tmp_path)
    file.write_text(good)
    assert load_config(tmp_path).settings.seed == 5


def test_the_new_name_of_margin_does_not_warn(tmp_path):
    file = tmp_path / "dmmcheck.toml"
    file.write_text("[checks.a]\nmargin = 0.5\n")
    with pytest.warns(DeprecationWarning, match="the key margin of checks.a in dmmcheck.toml is now min-effect"):
        load_config(tmp_path)
    file.write_text("[checks.a]\nmin-effect = 0.5\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_config(tmp_path).settings.checks["a"].min_effect == 0.5


class MyAttack:
    def __init__(self, name="mine"):
        self.name = name

    def __call__(self, *args, **kwargs):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("bad", "advice", "good"),
    [
        ([MyAttack], "pass an object, e.g. MyAttack()", [MyAttack()]),
        ([MyAttack(), MyAttack()], "rename one of them", [MyAttack(), MyAttack("other")]),
        ([MyAttack("builtin")], "rename that attack", [MyAttack("mine")]),
    ],
    ids=["class", "same", "reserved"],
)
def test_attacks_that_are_objects_can_be_given_as_advised(bad, advice, good):
    with pytest.raises(ConfigError) as error:
        Settings(attacks=bad)
    assert advice in str(error.value)
    assert Settings(attacks=good).attacks == tuple(good)


def test_an_unknown_setting_can_be_given_by_the_name_that_is_suggested():
    with pytest.raises(ConfigError, match=r"unknown setting 'sede'; did you mean 'seed'\?"):
        Settings().but(sede=3)
    assert Settings().but(seed=3).seed == 3
