"""How to judge, and what is under test: options and ``[tool.dmmcheck]``, validated; nothing heavy is imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import date
from pathlib import Path
from typing import Any, Literal

from dmmcheck.config.schema import (
    JUDGING,
    KEYS,
    OWN_FILE,
    PYPROJECT,
    SUBJECT,
    Key,
    day,
    did_you_mean,
    number,
    parse_toml,
    text,
)
from dmmcheck.errors import ConfigError
from dmmcheck.inference.types import Tier

OnInconclusive = Literal["warn", "fail"]


@dataclass(frozen=True, kw_only=True)
class CheckSettings:
    """What ``[tool.dmmcheck.checks.ID]`` sets for one check.

    Attributes:
        threshold: Of the stated claim; the declared one where None.
        margin: Smallest difference from the control that counts; the declared one where None.
        expected_failure: Why a refutation is expected; strict: support is then an error.
        expires: From this day on the expectation itself is an error.
    """

    threshold: float | None = None
    margin: float | None = None
    expected_failure: str = ""
    expires: date | None = None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to judge a subject.

    Attributes:
        samples: Most inputs to use; fewer where the verdict is clear sooner.
        alpha: False-verdict rate of the whole run.
        seed: Of everything random.
        gate: Tiers whose refutation fails the run.
        on_inconclusive: What an inconclusive gating verdict does: ``"warn"`` or ``"fail"``.
        attacks: Further attacks, one more variant each of the checks that follow an attack.
        device: Where to compute; where the model lies if None.
        checks: Settings by check id.

    Raises:
        ConfigError: A value that the setting cannot have.
    """

    samples: int = 512
    alpha: float = 0.05
    seed: int = 0
    gate: tuple[Tier, ...] = ("stated", "mechanism")
    on_inconclusive: OnInconclusive = "warn"
    attacks: tuple[str, ...] = ()
    device: str | None = None
    checks: Mapping[str, CheckSettings] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key in JUDGING.values():
            value = getattr(self, key.field)
            if value is None:
                continue
            try:
                key.read(value)
            except (TypeError, ValueError) as error:
                raise ConfigError(f"{key.field} is {value!r}, expected {error}") from error

    def but(self, **changes: Any) -> Settings:
        """The same settings with some changed, by name.

        Raises:
            ConfigError: An unknown name, or a value it cannot have.
        """
        known = [part.name for part in fields(self)]
        for name in changes:
            if name not in known:
                raise ConfigError(f"unknown setting {name!r}{did_you_mean(name, known)}; valid: {', '.join(known)}")
        return replace(self, **changes)


@dataclass(frozen=True)
class Given:
    """A value, and where it was given in the words of a message."""

    value: Any
    origin: str

    def __str__(self) -> str:
        return f"{self.value!r} ({self.origin})"


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that was configured.

    Attributes:
        root: The folder that references to code and globs start from.
        file: The file that holds settings, where one does.
        settings: How to judge.
        subject: What is under test as far as it was said, by key of `keys.SUBJECT`; the code is not loaded yet.
    """

    root: Path
    file: Path | None = None
    settings: Settings = field(default_factory=Settings)
    subject: Mapping[str, Given] = field(default_factory=dict)


def load_config(root: Path, options: Mapping[str, str] | None = None, *, today: date | None = None) -> Config:
    """Settings from the file in `root` and from options, which win.

    Args:
        root: Where ``pyproject.toml`` or ``dmmcheck.toml`` is looked for.
        options: Texts by key, as given on the command line.
        today: The day that an ``expires`` is held against.

    Raises:
        ConfigError: A file does not parse, two files hold settings, a key is unknown, a value is of the wrong type, an
            expected failure is malformed or expired, or two keys exclude each other.
    """
    file, table = find_settings(root)
    origin = "" if file is None else _origin(file)
    checks = _checks(table.pop("checks", {}), origin, today or date.today())
    given = {name: _read(_known(name, origin), value, origin) for name, value in table.items()}
    given |= {name: _parsed(KEYS[name], value) for name, value in (options or {}).items()}
    judging = {JUDGING[name].field: item.value for name, item in given.items() if name in JUDGING}
    subject = {name: item for name, item in given.items() if name in SUBJECT}
    if {"reference", "robust"} <= subject.keys():
        raise ConfigError(
            f"both reference {subject['reference']} and robust {subject['robust']} are given; keep reference where the "
            "model under test is the robust one of the pair, robust where it is the standard one"
        )
    return Config(root=root, file=file, settings=Settings(checks=checks, **judging), subject=subject)


def find_settings(root: Path) -> tuple[Path | None, dict[str, Any]]:
    """The file in `root` that holds settings, and the settings in it.

    Raises:
        ConfigError: The file does not parse, or both files hold settings.
    """
    found: dict[Path, dict[str, Any]] = {}
    for name, section in ((PYPROJECT, _tool_table), (OWN_FILE, dict)):
        file = root / name
        if not file.is_file():
            continue
        table = section(_parse_file(file))
        if table is not None:
            found[file] = table
    if len(found) > 1:
        raise ConfigError(
            f"both {OWN_FILE} and [tool.dmmcheck] in {PYPROJECT} hold settings (in {root}); keep one of them"
        )
    return next(iter(found.items()), (None, {}))


def _tool_table(content: dict[str, Any]) -> dict[str, Any] | None:
    table = content.get("tool", {}).get("dmmcheck")
    if table is None or isinstance(table, dict):
        return table
    raise ConfigError(f"dmmcheck in [tool] of {PYPROJECT} is {table!r}; make it a table, [tool.dmmcheck]")


def _parse_file(file: Path) -> dict[str, Any]:
    try:
        return parse_toml(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ConfigError(f"{file} does not parse as TOML: {error}; mend that line") from error


def _origin(file: Path) -> str:
    return f"[tool.dmmcheck] of {PYPROJECT}" if file.name == PYPROJECT else file.name


def _known(name: str, origin: str) -> Key:
    if name not in KEYS:
        valid = [*KEYS, "checks"]
        raise ConfigError(f"unknown key {name!r} in {origin}{did_you_mean(name, valid)}; valid: {', '.join(valid)}")
    return KEYS[name]


def _read(key: Key, value: Any, origin: str) -> Given:
    return Given(_converted(key.read, value, key.name, origin), origin)


def _parsed(key: Key, value: str) -> Given:
    plain = _converted(key.parse, value, "the value", key.option)
    return Given(_converted(key.read, plain, "the value", key.option), key.option)


def _converted(convert: Callable[[Any], Any], value: Any, name: str, origin: str) -> Any:
    try:
        return convert(value)
    except ValueError as error:
        raise ConfigError(f"{origin}: {name} is {value!r}, expected {error}") from None


_CHECK_KEYS: Mapping[str, Callable[[Any], Any]] = {
    "threshold": number,
    "margin": number,
    "expected-failure": text,
    "expires": day,
}


def _checks(tables: Any, origin: str, today: date) -> dict[str, CheckSettings]:
    if not isinstance(tables, dict):
        raise ConfigError(f"{origin}: checks is {tables!r}, expected one table a check, e.g. [tool.dmmcheck.checks.ID]")
    return {id: _check(id, table, f"checks.{id} in {origin}", today) for id, table in tables.items()}


def _check(id: str, table: Any, origin: str, today: date) -> CheckSettings:
    if not isinstance(table, dict):
        raise ConfigError(f"{origin} is {table!r}, expected a table with {', '.join(_CHECK_KEYS)}")
    for name in table:
        if name not in _CHECK_KEYS:
            close = did_you_mean(name, _CHECK_KEYS)
            raise ConfigError(f"unknown key {name!r} of {origin}{close}; valid: {', '.join(_CHECK_KEYS)}")
    values = {name: _converted(_CHECK_KEYS[name], value, name, origin) for name, value in table.items()}
    settings = CheckSettings(**{name.replace("-", "_"): value for name, value in values.items()})
    if settings.expires and not settings.expected_failure:
        raise ConfigError(f"{origin} has expires without expected-failure; say why a failure is expected, or remove it")
    if settings.expires and settings.expires <= today:
        raise ConfigError(
            f"{origin}: the expected failure ({settings.expected_failure}) expired on {settings.expires}; "
            "remove it, or look into it and set a later date"
        )
    return settings
