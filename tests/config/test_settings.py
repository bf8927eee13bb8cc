"""Settings from files and options: what is read, which one wins, and the words in which values are refused."""

from __future__ import annotations

from datetime import date

import pytest

from dmmcheck.config.schema import KEYS, SUBJECT
from dmmcheck.config.settings import CheckSettings, Given, Settings, load_config
from dmmcheck.errors import ConfigError

EVERYTHING = """
[tool.dmmcheck]
model = "shop.model:load"
data = "shop.data:test_split"
manifold = "local-pca"
manifold-data = "shop.data:train_split"
manifold-options = {dim = 16, input-shape = [1, 8, 8]}
reference = "shop.model:load_standard"
factory = "shop.model:untrained"
checkpoints = "shop.model:history"
trainer = "shop.train:fit"
bounds = [0, 1.0]
samples = 256
alpha = 0.01
seed = 3
gate = ["stated"]
on-inconclusive = "fail"
attacks = ["fab", "fab", "shop.attacks:Mine"]
effort = "quick"
device = "cpu"

[tool.dmmcheck.checks.on-manifold-distance]
threshold = 2
min-effect = 0.1
expected-failure = "tracked in #12"
expires = 2027-01-01
"""
TODAY = date(2026, 11, 24)


def write(folder, text: str, name: str = "pyproject.toml"):
    (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_every_key_is_read(tmp_path):
    config = load_config(write(tmp_path, EVERYTHING), today=TODAY)
    assert config.settings == Settings(
        samples=256,
        alpha=0.01,
        seed=3,
        gate=("stated",),
        on_inconclusive="fail",
        attacks=("fab", "shop.attacks:Mine"),
        effort="quick",
        device="cpu",
        checks={
            "on-manifold-distance": CheckSettings(
                threshold=2.0, min_effect=0.1, expected_failure="tracked in #12", expires=date(2027, 1, 1)
            )
        },
    )
    assert {name: given.value for name, given in config.subject.items()} == {
        "model": "shop.model:load",
        "data": "shop.data:test_split",
        "manifold": "local-pca",
        "manifold-data": "shop.data:train_split",
        "manifold-options": {"dim": 16, "input_shape": [1, 8, 8]},
        "reference": "shop.model:load_standard",
        "factory": "shop.model:untrained",
        "checkpoints": "shop.model:history",
        "trainer": "shop.train:fit",
        "bounds": (0.0, 1.0),
    }
    assert config.file == tmp_path / "pyproject.toml"


def test_a_file_of_its_own_has_the_same_keys_at_the_top(tmp_path):
    own = EVERYTHING.replace("[tool.dmmcheck]\n", "").replace("[tool.dmmcheck.", "[")
    config = load_config(write(tmp_path, own, "dmmcheck.toml"), today=TODAY)
    assert config.settings == load_config(write(_new(tmp_path), EVERYTHING), today=TODAY).settings
    assert config.subject["model"].origin == "dmmcheck.toml"


def _new(folder):
    (folder / "other").mkdir()
    return folder / "other"


@pytest.mark.parametrize("text", ["", "[tool.other]\nx = 1\n", "[project]\nname = 'x'\n"])
def test_nothing_is_set_where_nothing_is_said(tmp_path, text):
    config = load_config(write(tmp_path, text), today=TODAY)
    assert (config.settings, dict(config.subject), config.file) == (Settings(), {}, None)


OPTIONS = {
    "samples": ("64", 64),
    "alpha": ("0.1", 0.1),
    "seed": ("9", 9),
    "gate": ("stated, controlled", ("stated", "controlled")),
    "on-inconclusive": ("fail", "fail"),
    "attacks": ("fab, shop.attacks:Mine", ("fab", "shop.attacks:Mine")),
    "effort": ("thorough", "thorough"),
    "fast": ("true", True),
    "boxed": ("true", True),
    "max-time": ("10 min", 600.0),
    "cache": ("off", False),
    "jobs": ("dask:4", "dask:4"),
    "queries": ("800", 800),
    "baseline": ("main.json", "main.json"),
    "evidence": ("true", True),
    "device": ("cpu", "cpu"),
    "baseline-model": ("a:b", "a:b"),
    "model": ("a:b", "a:b"),
    "data": ("a:b", "a:b"),
    "manifold": ("pca", "pca"),
    "manifold-data": ("a:b", "a:b"),
    "manifold-options": ("dim = 4, neighbours = 9", {"dim": 4, "neighbours": 9}),
    "reference": ("a:b", "a:b"),
    "robust": ("a:b", "a:b"),
    "pairs": ("a:b", "a:b"),
    "alternative": ("a:b", "a:b"),
    "robustly-trained": ("true", True),
    "factory": ("a:b", "a:b"),
    "checkpoints": ("runs/*.pt", "runs/*.pt"),
    "trainer": ("a:b", "a:b"),
    "augment": ("a:b", "a:b"),
    "groups": ("a:b", "a:b"),
    "units": ("standard", "standard"),
    "normalize": ("mean = [0.5], std = [2]", {"mean": [0.5], "std": [2.0]}),
    "bounds": ("0, 255", (0.0, 255.0)),
}


def test_a_number_of_processes_is_a_number_as_an_option_too(tmp_path):
    assert load_config(tmp_path, {"jobs": "4"}, today=TODAY).settings.jobs == 4


def test_there_is_one_option_for_each_key():
    assert OPTIONS.keys() == KEYS.keys()
    assert all(key.option == f"--dmm-{name}" for name, key in KEYS.items())


@pytest.mark.parametrize(("name", "text", "value"), [(name, *pair) for name, pair in OPTIONS.items()], ids=OPTIONS)
def test_an_option_wins_over_the_file(tmp_path, name, text, value):
    settings = EVERYTHING.replace('reference = "shop.model:load_standard"\n', "")
    config = load_config(write(tmp_path, settings), {name: text}, today=TODAY)
    if name in SUBJECT:
        assert (config.subject[name].value, config.subject[name].origin) == (value, f"--dmm-{name}")
    else:
        assert getattr(config.settings, KEYS[name].field) == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "sede = 3",
            ["unknown key 'sede' in [tool.dmmcheck] of pyproject.toml", "did you mean 'seed'?", "valid: model,"],
        ),
        ("on_inconclusive = 'fail'", ["unknown key 'on_inconclusive'", "did you mean 'on-inconclusive'?"]),
        ("model = 3", ["model is 3, expected a text that is not empty"]),
        ("model = ' '", ["model is ' ', expected a text"]),
        ("samples = 7", ["samples is 7, expected a whole number from 8"]),
        ("samples = 64.0", ["samples is 64.0, expected a whole number"]),
        ("samples = true", ["samples is True"]),
        ("seed = -1", ["seed is -1, expected a whole number from 0 to 9223372036854775807"]),
        ("alpha = 0", ["alpha is 0, expected a number above 0 and below 1"]),
        ("alpha = nan", ["alpha is nan, expected a number above 0 and below 1"]),
        ("gate = 'stated'", ["gate is 'stated', expected a list of texts"]),
        ("gate = ['beyond-luck']", ["'beyond-luck' is none of them; did you mean 'beyond-chance'?"]),
        ("robustly-trained = 'true'", ["robustly-trained is 'true', expected true or false, without quotes"]),
        ("gate = ['sated']", ["'sated' is none of them; did you mean 'stated'?"]),
        ("on-inconclusive = 'error'", ["on-inconclusive is 'error', expected 'warn' or 'fail'"]),
        ("bounds = [0, 1, 2]", ["bounds is [0, 1, 2], expected two numbers"]),
        ("bounds = [1, 0]", ["the lower one first"]),
        ("bounds = ['a', 'b']", ["expected a finite number"]),
        ("normalize = [0.5]", ["normalize is [0.5], expected a table with mean and std, e.g. {mean = [0.5], std ="]),
        ("normalize = {mean = [0.5]}", ["expected a table with mean and std"]),
        ("normalize = {mean = 0.5, std = 1}", ["expected lists of numbers as mean and std"]),
        ("normalize = {mean = ['a'], std = [1]}", ["expected a finite number"]),
        ("normalize = {mean = [0, 0], std = [1]}", ["expected as many means as standard deviations, which are above"]),
        ("normalize = {mean = [0], std = [0]}", ["which are above 0"]),
        ("manifold-options = 16", ["manifold-options is 16, expected a table"]),
        ("attacks = [3]", ["attacks is [3], expected attacks that can be called (3 cannot); pass an object"]),
        ("attacks = 'fab'", ["attacks is 'fab', expected a list of names of torchattacks"]),
        ("attacks = ['a:B', 'c.d:B']", ["('a:B' and 'c.d:B' both have the name 'b'); rename one of them"]),
        ("attacks = ['a:Builtin']", ["('a:Builtin' has the name 'builtin', which reports use otherwise)"]),
        ("attacks = ['a:Spectrum']", ["('a:Spectrum' has the name 'spectrum', which reports use otherwise)"]),
        ("jobs = 0", ['jobs is 0, expected a number of processes from 1 to 10000, or a cluster, e.g. "dask:4"']),
        ("jobs = true", ["jobs is True, expected a number of processes"]),
        ("jobs = 'dask'", ["jobs is 'dask', expected a number of processes"]),
        ("jobs = 'ray:0'", ["jobs is 'ray:0', expected a number of processes"]),
        ("effort = 'much'", ["effort is 'much', expected 'quick' or 'default' or 'thorough'"]),
        ("checks = 3", ["checks is 3, expected one table a check"]),
        ("checks.a = 3", ["checks.a in [tool.dmmcheck] of pyproject.toml is 3, expected a table with"]),
        (
            "checks.a = {margin = 1, min-effect = 1}",
            ["checks.a in [tool.dmmcheck] of", "has both min-effect and margin, its old name; remove margin"],
        ),
        ("checks.a.limit = 3", ["unknown key 'limit' of checks.a"]),
        ("checks.a.threshold = '3'", ["threshold is '3', expected a finite number, e.g. 1.5"]),
        ("checks.a.threshold = true", ["threshold is True"]),
        ("checks.a.threshold = inf", ["threshold is inf"]),
        ("checks.a.expected-failure = true", ["expected-failure is True, expected a text"]),
        ("checks.a.expires = 2027-01-01", ["has expires without expected-failure"]),
        (
            "checks.a = {expected-failure = 'x', expires = '2027-01-01'}",
            ["expires is '2027-01-01', expected a date without quotes"],
        ),
        ("checks.a = {expected-failure = 'x', expires = 2027-01-01T00:00:00}", ["expected a date without quotes"]),
        ("checks.a = {expected-failure = 'x', expires = 2026-11-24}", ["(x) expired on 2026-11-24", "later date"]),
        ("reference = 'a:b'\nrobust = 'a:b'", ["both reference 'a:b' ([tool.dmmcheck] of pyproject.toml) and robust"]),
    ],
)
def test_what_is_wrong_is_refused_in_words_that_help(tmp_path, text, words):
    with pytest.raises(ConfigError) as error:
        load_config(write(tmp_path, f"[tool.dmmcheck]\n{text}\n"), today=TODAY)
    for word in words:
        assert word in str(error.value)


def test_an_expectation_holds_until_the_day_it_expires(tmp_path):
    text = "[tool.dmmcheck]\nchecks.a = {expected-failure = 'x', expires = 2026-11-25}\n"
    assert load_config(write(tmp_path, text), today=TODAY).settings.checks["a"].expires == date(2026, 11, 25)


def test_reference_and_robust_conflict_wherever_they_are_given(tmp_path):
    with pytest.raises(ConfigError, match=r"both reference .* and robust 'c:d' \(--dmm-robust\)"):
        load_config(write(tmp_path, EVERYTHING), {"robust": "c:d"}, today=TODAY)


def test_two_files_conflict_and_a_pyproject_without_our_table_does_not(tmp_path):
    write(tmp_path, "seed = 4\n", "dmmcheck.toml")
    assert load_config(write(tmp_path, "[project]\nname = 'x'\n")).settings.seed == 4
    with pytest.raises(ConfigError, match=r"both dmmcheck\.toml and .tool.dmmcheck. in pyproject\.toml"):
        load_config(write(tmp_path, "[tool.dmmcheck]\nseed = 5\n"))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("pyproject.toml", b"[tool.dmmcheck\n", "does not parse as TOML"),
        ("dmmcheck.toml", b"seed = \xff\n", "does not parse as TOML"),
        ("pyproject.toml", b"[tool]\ndmmcheck = 3\n", r"dmmcheck in \[tool\] of pyproject.toml is 3; make it a table"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        load_config(tmp_path)


def test_the_old_key_margin_is_read_and_warns(tmp_path):
    text = "[tool.dmmcheck.checks.a]\nmargin = 0.1\n"
    with pytest.warns(DeprecationWarning, match=r"the key margin of checks\.a in .*pyproject\.toml is now min-effect"):
        config = load_config(write(tmp_path, text))
    assert config.settings.checks["a"] == CheckSettings(min_effect=0.1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sede": 3}, "unknown setting 'sede'; did you mean 'seed'.; valid: samples, alpha, "),
        ({"samples": 3}, "samples is 3, expected a whole number from 8"),
        ({"samples": None}, "samples is None, expected a whole number from 8"),
        ({"alpha": None}, "alpha is None, expected a number above 0 and below 1, e.g. 0.05"),
        ({"seed": None}, "seed is None, expected a whole number from 0 to 9223372036854775807"),
        ({"gate": None}, "gate is None, expected a list of texts"),
        ({"on_inconclusive": None}, "on_inconclusive is None, expected 'warn' or 'fail'"),
        ({"attacks": None}, "attacks is None, expected a list of names of torchattacks"),
        ({"effort": None}, "effort is None, expected 'quick' or 'default' or 'thorough'"),
        ({"effort": "much"}, "effort is 'much', expected 'quick' or 'default' or 'thorough'"),
    ],
)
def test_settings_in_python_are_validated_too(changes, words):
    with pytest.raises(ConfigError, match=words):
        Settings().but(**changes)


def test_settings_with_changes_are_a_copy():
    settings = Settings(seed=3)
    assert settings.but(alpha=0.1) == Settings(seed=3, alpha=0.1)
    assert settings == Settings(seed=3)


def test_values_are_converted_in_python_too():
    settings = Settings(gate=["stated"], attacks=["fab"], alpha=0.1)
    assert (settings.gate, settings.attacks, settings.attack_names) == (("stated",), ("fab",), ("fab",))


def test_a_value_is_shown_with_its_origin():
    assert str(Given("a:b", "--dmm-model")) == "'a:b' (--dmm-model)"


@pytest.mark.parametrize(("word", "value"), [("off", False), ("Off", False), ("on", True), ("kept", "kept")])
def test_the_words_of_the_option_cache_mean_the_same_in_files_and_in_python(tmp_path, word, value):
    (tmp_path / "pyproject.toml").write_text(f'[tool.dmmcheck]\ncache = "{word}"\n', encoding="utf-8")
    assert (load_config(tmp_path).settings.cache, Settings(cache=word).cache) == (value, value)
