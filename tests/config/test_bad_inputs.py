"""Every key and option with every kind of bad value: one clear line, or a value that is used.

The values are in ``tests/bad_inputs/values.json``. Rows are made of them and of the keys of
the schema. Each has a type of TOML. A key whose examples in the schema are of
other types refuses it; a key of the same type refuses what is marked *never*.
"""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from dmmcheck.checks.plan import plan
from dmmcheck.config.schema import JUDGING, KEYS, LARGEST_SEED, Key
from dmmcheck.config.settings import CheckSettings, Settings, load_config
from dmmcheck.errors import CheckError, ConfigError, DmmError

VALUES = json.loads((Path(__file__).parents[1] / "bad_inputs" / "values.json").read_text(encoding="utf-8"))
KINDS = {str: "text", int: "integer", float: "number", bool: "yes or no", list: "list", dict: "table"}
TODAY = date(2026, 11, 24)
LONGEST_MESSAGE = 700


def written(text: str) -> str:
    """The text with ``{9x400}`` written out."""
    return re.sub(r"\{(.)x(\d+)\}", lambda found: found[1] * int(found[2]), text)


def kinds(key: Key) -> set[str]:
    """The types of TOML that a key takes; every whole number is a number, too."""
    found = {KINDS[type(example)] for example in key.examples}
    return found | {"integer"} * ("number" in found) if isinstance(found, str) else found


def fits(key: Key, kind: str) -> bool:
    """Whether a value of this type of TOML can be one of the key."""
    return kind in kinds(key) or (kind == "integer" and "number" in kinds(key))


ROWS = [(key, *row) for key in KEYS.values() for row in VALUES["toml"]]
OPTION_ROWS = [(key, *row) for key in KEYS.values() for row in VALUES["options"]]
CHECK_ROWS = [(name, text) for name, texts in VALUES["check keys"].items() for text in texts]


def one_clear_line(error: DmmError, *parts: str) -> str:
    """The message, after what every message must be was tested."""
    message = str(error)
    assert len(message) < LONGEST_MESSAGE
    assert "\n" not in message
    assert not re.search("[\x00-\x1f\x7f\u202e\ud800-\udfff]", message)
    assert not message.startswith("::")
    for part in parts:
        assert part in message
    return message


def read(folder: Path, text: str) -> Any:
    """The settings in a file, with the checks that they name looked up."""
    (folder / "dmmcheck.toml").write_text(text, encoding="utf-8")
    config = load_config(folder, today=TODAY)
    plan(config.settings)
    return config


def test_there_are_many_rows_and_each_key_has_its_own():
    in_files = {(key.name, text) for key, _, _, text, _ in ROWS}
    in_options = {(key.name, text) for key, _, text, _ in OPTION_ROWS}
    assert len(in_files) + len(in_options) + len({*CHECK_ROWS}) >= 1000
    refused = {(key.name, text) for key, kind, _, text, use in ROWS if use != "perhaps" or not fits(key, kind)}
    assert len(refused) >= 600  # each of them by the test of its key below
    assert {key.name for key, *_ in ROWS} == set(KEYS)


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_each_example_of_the_schema_is_taken(key):
    for example in key.examples:
        key.read(example)


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_a_key_refuses_bad_values_in_one_clear_line(tmp_path, key):
    for own, kind, what, text, use in ROWS:
        if own is not key:
            continue
        try:
            config = read(tmp_path, f"{key.name} = {written(text)}\n")
        except DmmError as error:
            where = () if use == "unreadable" else ("dmmcheck.toml", key.name, "expected ")
            message = one_clear_line(error, *where)
            words = "|".join(VALUES["expected"][one] for one in kinds(key))
            assert use == "unreadable" or re.search(words, message), (what, message)
            continue
        assert fits(key, kind), f"{key.name} takes {kind}: {what}"
        assert use == "perhaps", f"{key.name} takes {what}"
        value = config.subject[key.name].value if key.name in config.subject else getattr(config.settings, key.field)
        assert value is not None


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_an_option_refuses_bad_texts_in_one_clear_line(tmp_path, key):
    for own, what, text, use in OPTION_ROWS:
        if own is not key:
            continue
        try:
            load_config(tmp_path, {key.name: written(text)})
        except DmmError as error:
            one_clear_line(error, key.option, "expected ")
            continue
        is_listed = isinstance(key.examples[0], list)
        assert use == "perhaps" or (is_listed and "listed" in use) or (not text and key.name == "manifold-options"), (
            what
        )


@pytest.mark.parametrize(("name", "text"), CHECK_ROWS, ids=[f"{name}={text}" for name, text in CHECK_ROWS])
def test_a_key_of_a_check_refuses_bad_values_in_one_clear_line(tmp_path, name, text):
    with pytest.raises(DmmError) as error:
        read(tmp_path, f"[checks.off-manifold-energy]\n{name} = {written(text)}\n")
    one_clear_line(error.value, "off-manifold-energy")
    assert name in str(error.value) or name == "expires"  # which is refused without expected-failure first


def limits(key: Key) -> tuple[int, int] | None:
    """The smallest and the largest whole number, as the message of a key says them."""
    try:
        key.read(object())
    except ValueError as error:
        found = re.search(r"a whole number from (\d+) to (\d+)", str(error))
        return None if found is None else (int(found[1]), int(found[2]))
    raise AssertionError(f"{key.name} takes anything")


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_the_limits_in_a_message_are_the_limits(tmp_path, key):
    found = limits(key)
    if found is None:
        return
    for value in found:
        assert getattr(read(tmp_path, f"{key.name} = {value}\n").settings, key.field) == value
    for value in (found[0] - 1, found[1] + 1):
        with pytest.raises(ConfigError, match=f"{key.name} is {value}"):
            read(tmp_path, f"{key.name} = {value}\n")


class Silent:
    """A value that cannot be shown."""

    def __repr__(self) -> str:
        raise KeyError("no")


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


JUNK = (
    object(),
    Silent(),
    nested(5000),
    10**5000,
    -(10**400),
    float("nan"),
    b"x",
    {1: 2},
    {"a"},
    1j,
    "\ud800\n",
    print,
)


@pytest.mark.parametrize("key", JUDGING.values(), ids=JUDGING)
def test_a_setting_in_python_refuses_junk_in_one_clear_line(key):
    for value in JUNK:
        if key.name in {"device", "baseline", "cache"} and isinstance(value, str):
            continue  # file names can have undecodable bytes
        with pytest.raises(ConfigError) as error:
            Settings(**{key.field: value})
        one_clear_line(error.value, key.field, "expected ")


@pytest.mark.parametrize("name", ["threshold", "min_effect", "expected_failure", "expires"])
def test_a_setting_of_a_check_in_python_refuses_junk_in_one_clear_line(name):
    for value in JUNK:
        if name == "expected_failure" and isinstance(value, str):
            continue
        with pytest.raises(ConfigError) as error:
            CheckSettings(**{name: value})
        one_clear_line(error.value, name, "expected ")


@pytest.mark.parametrize(
    "checks", [*JUNK, [], None, {"a": 5}, {5: CheckSettings()}, {"a": {"threshold": 1}}], ids=lambda _: ""
)
def test_settings_of_checks_in_python_are_a_mapping(checks):
    with pytest.raises(ConfigError, match=r"expected (settings of checks by id|CheckSettings)") as error:
        Settings(checks=checks)
    one_clear_line(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = " + "[" * 5000 + "]" * 5000, "nested too deeply; make them flatter"),
        ("a = " + "{a = " * 2000 + "1" + "}" * 2000, "nested too deeply; make them flatter"),
        ("seed = 1\nseed = 2", "does not parse as TOML"),
        ("'" + "k" * 10_000 + "' = 1", "unknown key"),
        ('"a\\n::error::b" = 1', "unknown key"),
        ("checks = 5", "one table a check"),
        ("checks.a = []", "expected a table with threshold"),
        ('checks."a\\n::error::b".up = 1', "unknown key 'up'"),
        ('checks."a\\n::error::b".threshold = 1', "unknown check"),
    ],
    ids=range(9),
)
def test_a_bad_file_is_refused_in_one_clear_line(tmp_path, text, words):
    with pytest.raises((ConfigError, CheckError)) as error:
        read(tmp_path, text)
    one_clear_line(error.value, words)


@pytest.mark.parametrize("text", ["tool = 5", "tool = []", "[tool]\ndmmcheck = 5"])
def test_a_table_of_settings_is_a_table(tmp_path, text):
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"make it a table, .*\[tool\.dmmcheck\]"):
        load_config(tmp_path)


def test_the_largest_seed_is_used():
    assert Settings(seed=LARGEST_SEED).seed == LARGEST_SEED
