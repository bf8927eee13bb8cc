"""The keys: how values and option texts are read, and how attacks are named."""

from __future__ import annotations

import inspect
from datetime import date, datetime

import pytest

from dmmcheck.config.schema import (
    ATTACK_SIGNATURE,
    JUDGING,
    KEYS,
    SUBJECT,
    attack_name,
    day,
    did_you_mean,
    number,
    parse_toml,
    text,
    wrong_signature,
)
from dmmcheck.config.settings import Settings
from dmmcheck.errors import ConfigError
from dmmcheck.subject import Subject


class MyAttack:
    """An attack without a name."""

    def __call__(self, *args, **kwargs):
        raise NotImplementedError


class Named(MyAttack):
    def __init__(self, name):
        self.name = name


def follow_gradient(*args, **kwargs):
    raise NotImplementedError


def test_each_key_is_an_option_a_field_and_where_it_says_what_is_under_test_a_fixture():
    assert {key.field for key in JUDGING.values()} | {"checks"} == set(Settings.__dataclass_fields__)
    assert {"data", "manifold_data", "manifold_options"} == {key.field for key in SUBJECT.values()} - set(
        Subject.__dataclass_fields__
    )
    assert KEYS["on-inconclusive"].option == "--dmm-on-inconclusive"
    assert KEYS["on-inconclusive"].field == "on_inconclusive"
    assert SUBJECT["manifold-data"].fixture == "dmm_manifold_data"
    assert list(KEYS) == [*SUBJECT, *JUDGING]


@pytest.mark.parametrize(
    ("attack", "name"),
    [
        ("fab", "fab"),
        ("PGDL2", "PGDL2"),
        ("shop.attacks:MyAttack", "my-attack"),
        ("shop.attacks:follow_gradient", "follow-gradient"),
        ("shop.py:attacks.PGDRestart2", "pgdrestart2"),
        ("C:\\shop\\attacks.py:mine", "mine"),
        (Named("Gradient Ray"), "gradient-ray"),
        (Named("DeepFool"), "deepfool"),  # as torchattacks spells it, and as the setting does
        (Named(""), "named"),
        (MyAttack(), "my-attack"),
        (follow_gradient, "follow-gradient"),
        (lambda *args: None, "lambda"),
        (Named("???"), "attack"),
    ],
)
def test_an_attack_has_a_name_in_reports(attack, name):
    assert attack_name(attack) == name


def test_each_attack_is_kept_once():
    mine = MyAttack()
    assert Settings(attacks=["fab", mine, " FAB ", mine]).attacks == ("fab", mine)


@pytest.mark.parametrize("name", ["DeepFool", "deepfool", "FAB"])
def test_an_attack_of_the_library_has_one_name_whichever_way_it_is_given(name):
    from dmmcheck.attacks.torchattacks import TorchAttack

    assert (
        Settings(attacks=[name]).attack_names == Settings(attacks=[TorchAttack(name)]).attack_names == (name.lower(),)
    )


@pytest.mark.parametrize(
    ("attack", "words"),
    [
        (lambda model, x, y: x, "cannot: got an unexpected keyword argument 'space'"),
        (lambda model, *, space, generator: None, "cannot: too many positional arguments"),
        (lambda model, x, y, steps, *, space, generator: None, "cannot: missing a required argument: 'steps'"),
    ],
    ids=["no-space", "no-inputs", "more"],
)
def test_an_attack_with_another_signature_is_refused_when_the_settings_are_read(attack, words):
    with pytest.raises(ConfigError) as error:
        Settings(attacks=[attack])
    message = str(error.value)
    assert "attacks that can be called with (model, x, y, *, space, bounds=None, generator)" in message
    assert words in message
    assert message.endswith("give it this signature")
    assert Settings(attacks=[lambda model, x, y, *, space, bounds=None, generator: None]).attack_names == ("lambda",)


def test_the_signature_in_messages_is_that_of_the_protocol():
    from dmmcheck.attacks.base import Attack

    parameters = list(inspect.signature(Attack.__call__).parameters.values())[1:]
    plain = [part.replace(annotation=inspect.Parameter.empty) for part in parameters]
    assert str(inspect.Signature(plain)) == ATTACK_SIGNATURE


def test_an_attack_whose_signature_python_cannot_tell_is_accepted():
    assert wrong_signature(max) == ""


@pytest.mark.parametrize(
    "attacks",
    [
        (MyAttack(), MyAttack()),
        ("fab", Named("fab")),
        ("fab", "fab", Named("fab")),
        ("shop:MyAttack", "depot:my_attack"),
        ("shop:MyAttack", MyAttack()),
    ],
    ids=["objects", "library", "library-twice", "references", "reference-and-object"],
)
def test_attacks_of_the_same_name_are_refused(attacks):
    with pytest.raises(ConfigError, match=r"both have the name '(my-attack|fab)'\); rename one of them"):
        Settings(attacks=attacks)


@pytest.mark.parametrize("name", ["builtin", "rotation", "Same Class", "order"])
def test_an_attack_may_not_have_the_name_of_another_variant(name):
    with pytest.raises(ConfigError, match=r"which reports use otherwise\); rename that attack"):
        Settings(attacks=[Named(name)])


@pytest.mark.parametrize("value", [MyAttack, 3, None])
def test_what_cannot_be_called_is_no_attack(value):
    with pytest.raises(ConfigError, match=r"attacks that can be called .* cannot\); pass an object, e.g. MyAttack"):
        Settings(attacks=[value])


def test_a_name_is_suggested_only_where_one_is_near():
    assert did_you_mean("modle", ["model", "data"]) == "; did you mean 'model'?"
    assert did_you_mean("xyz", ["model", "data"]) == ""


@pytest.mark.parametrize(
    ("read", "value", "setting"),
    [
        (text, " a ", "a"),
        (number, 2, 2.0),
        (day, date(2027, 1, 1), date(2027, 1, 1)),
        (KEYS["samples"].read, 8, 8),
        (KEYS["seed"].read, 2**63 - 1, 2**63 - 1),
        (KEYS["alpha"].read, 0.5, 0.5),
        (KEYS["gate"].read, ["stated", "stated", "mechanism"], ("stated", "mechanism")),
        (KEYS["gate"].read, ["stated", "beyond-chance"], ("stated", "beyond-chance")),
        (KEYS["robustly-trained"].read, False, False),
        (KEYS["robustly-trained"].parse, "false", False),
        (KEYS["bounds"].read, [0, 1], (0.0, 1.0)),
        (KEYS["manifold-options"].read, {"input-shape": [8, 8]}, {"input_shape": [8, 8]}),
        (KEYS["bounds"].parse, "-1, 2.5", [-1.0, 2.5]),
        (KEYS["manifold-options"].parse, "dim = 4", {"dim": 4}),
        (KEYS["gate"].parse, "stated, ,controlled", ["stated", "controlled"]),
    ],
)
def test_values_and_texts_are_read(read, value, setting):
    found = read(value)
    assert found == setting
    assert type(found) is type(setting)


@pytest.mark.parametrize(
    ("read", "value", "expected"),
    [
        (text, "", "a text that is not empty"),
        (text, 3, "a text that is not empty"),
        (number, float("inf"), "a finite number, e.g. 1.5"),
        (number, True, "a finite number"),
        (day, datetime(2027, 1, 1), "a date without quotes"),
        (KEYS["samples"].read, 10**9 + 1, "a whole number from 8 to 1000000000"),
        (KEYS["seed"].read, 2**63, "a whole number from 0 to 9223372036854775807"),
        (KEYS["alpha"].read, 1.0, "a number above 0 and below 1"),
        (KEYS["gate"].read, "stated", "a list of texts"),
        (KEYS["bounds"].read, [0, 1, 2], "two numbers"),
        (KEYS["bounds"].read, [1, 1], "the lower one first"),
        (KEYS["samples"].parse, "8.5", "a whole number"),
        (KEYS["alpha"].parse, "small", "a number"),
        (KEYS["manifold-options"].parse, "dim: 3", "options as in TOML, e.g. 'dim = 16, neighbours = 40'"),
    ],
)
def test_other_values_are_refused_with_what_is_expected(read, value, expected):
    with pytest.raises(ValueError, match=expected):
        read(value)


def test_toml_is_parsed_or_refused():
    assert parse_toml("a = 1\n[b]\nc = 'x'") == {"a": 1, "b": {"c": "x"}}
    with pytest.raises(ValueError, match="line 1"):
        parse_toml("a = b")
