"""Settings: how to judge, and what is under test, from options and ``[tool.dmmcheck]``, validated without torch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import date
from pathlib import Path
from typing import Any, Literal

from dmmcheck.config.schema import (
    JUDGING,
    KEYS,
    OWN_FILE,
    PREFIX,
    PYPROJECT,
    SUBJECT,
    Key,
    attack_name,
    day,
    did_you_mean,
    effect,
    listed,
    number,
    parse_toml,
    reason,
)
from dmmcheck.errors import ConfigError
from dmmcheck.errors.text import LONGEST_VALUE, shown
from dmmcheck.inference.types import EffortName, Gate

OnInconclusive = Literal["warn", "fail"]


@dataclass(frozen=True, kw_only=True)
class CheckSettings:
    """The settings of one check, from ``[tool.dmmcheck.checks.ID]``.

    Attributes:
        threshold: Threshold of the stated claim; that of the check's declaration where None.
        min_effect: Smallest difference from the control that counts; that of the declaration where None.
        expected_failure: Why a refutation is expected; "" where none is. The run fails if all gating claims of the
            check are supported.
        expires: From this day on, the expected failure is an error.

    Raises:
        ConfigError: A setting has a value that it cannot have.
    """

    threshold: float | None = None
    min_effect: float | None = None
    expected_failure: str = ""
    expires: date | None = None

    def __post_init__(self) -> None:
        for name, read in _CHECK_KEYS.items():
            attribute = name.replace("-", "_")
            value = getattr(self, attribute)
            if value is not None and not (isinstance(value, str) and not value):  # neither is set
                object.__setattr__(self, attribute, _field(read, value, attribute))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to judge a subject.

    Attributes:
        samples: Most inputs to use; fewer are used where the verdict is clear sooner.
        alpha: Largest share of runs with a false gating verdict.
        seed: Seed of all random numbers.
        gate: Tiers whose refutation fails the run; with ``"beyond-chance"``, a gating claim that does not stand out
            from chance fails it too; with ``"baseline"``, a change for the worse beside the baseline does.
        on_inconclusive: What an inconclusive gating claim does: ``"warn"`` or ``"fail"``.
        attacks: Further attacks, each of which adds a variant to the checks ``off-manifold-energy`` and
            ``on-manifold-distance``: names of torchattacks, ``pkg.mod:attr``, or objects that satisfy
            `dmmcheck.attacks.base.Attack`.
        effort: Effort that the boundary search starts with: ``"quick"``, ``"default"`` or ``"thorough"``; a run
            raises it where it falls short.
        fast: Test the stated claims only, with quick effort and without estimates of other dimensions; reports say so.
        boxed: Keep every search, probe and control, and every call of a model, inside the bounds of the subject.
        max_time: Time in seconds after which nothing more is measured, or a text such as ``"10 min"``; None for no
            limit. Claims that are left are then inconclusive.
        cache: Whether measurements are kept on disk: a folder, or False, or True for the cache of pytest, which exists
            under pytest only.
        jobs: In how many processes measurements are made; or on which cluster, as ``"dask:4"`` or ``"ray:ADDRESS"``.
        queries: Most model calls of one input in one search, for models without gradients. A search with more effort,
            which a soundness gate makes for few inputs, takes up to four times as many.
        device: The device to compute on; that of the model where None.
        baseline: Path of an earlier report that this one is compared with; nothing is compared where None.
        evidence: Whether the values of every input are measured and kept in JSON reports.
        checks: Settings of single checks, by id.

    Raises:
        ConfigError: A setting has a value that it cannot have.

    Example:
        >>> import dmmcheck
        >>> dmmcheck.Settings(attacks=["fab"]).but(seed=3).attack_names
        ('fab',)
    """

    samples: int = 512
    alpha: float = 0.05
    seed: int = 0
    gate: tuple[Gate, ...] = ("stated", "mechanism")
    on_inconclusive: OnInconclusive = "warn"
    attacks: tuple[Any, ...] = ()
    effort: EffortName = "default"
    fast: bool = False
    boxed: bool = False
    max_time: float | None = None
    cache: bool | str = True
    jobs: int | str = 1
    queries: int = 5000
    device: str | None = None
    baseline: str | None = None
    evidence: bool = False
    checks: Mapping[str, CheckSettings] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key in JUDGING.values():
            value = getattr(self, key.field)
            if value is None and key.field in {"device", "baseline", "max_time"}:
                continue  # the device of the model, no baseline, no limit
            object.__setattr__(self, key.field, _field(key.read, value, key.field))
        _refuse_junk(self.checks)

    @property
    def search_effort(self) -> EffortName:
        """The effort of the boundary search: quick in a fast run."""
        return "quick" if self.fast else self.effort

    @property
    def attack_names(self) -> tuple[str, ...]:
        """The name of each attack in reports."""
        return tuple(map(attack_name, self.attacks))

    def but(self, **changes: Any) -> Settings:
        """Return a copy with some settings changed, by name.

        Raises:
            ConfigError: A name is unknown, or a setting has a value that it cannot have.
        """
        known = [part.name for part in fields(self)]
        for name in changes:
            if name not in known:
                raise ConfigError(
                    f"unknown setting {shown(name)}{did_you_mean(name, known)}; valid: {', '.join(known)}"
                )
        return replace(self, **changes)


def _field(read: Callable[[Any], Any], value: Any, name: str) -> Any:
    """Return the value of a setting that is given in Python."""
    try:
        return read(value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} is {shown(value)}, expected {error}") from None


def _refuse_junk(checks: Any) -> None:
    """Refuse a value of the setting `checks` that holds no settings of checks."""
    example = "{'off-manifold-energy': dmmcheck.config.settings.CheckSettings(threshold=0.7)}"
    if not isinstance(checks, Mapping):
        raise ConfigError(
            f"checks is {shown(checks)}, expected settings of checks by id, e.g. {example}; "
            "which checks run is an argument of dmmcheck.run and dmmcheck.parametrize"
        )
    for id, settings in checks.items():
        if not isinstance(id, str) or not isinstance(settings, CheckSettings):
            raise ConfigError(f"checks has {shown(settings)} for {shown(id)}, expected CheckSettings, e.g. {example}")


def refuse_settings(settings: Any) -> None:
    """Refuse a value of the argument `settings` that is not of the class `Settings`.

    Raises:
        ConfigError: It is neither `Settings` nor None.
    """
    if settings is not None and not isinstance(settings, Settings):
        raise ConfigError(
            f"settings is {shown(settings)}, expected dmmcheck.Settings, e.g. dmmcheck.Settings(seed=3); single "
            "settings are arguments of their own, e.g. seed=3"
        )


@dataclass(frozen=True)
class Given:
    """A value, and where it was given.

    Attributes:
        value: The value.
        origin: Where it was given, in the words of a message, e.g. ``--dmm-model``.
    """

    value: Any
    origin: str

    def __str__(self) -> str:
        return f"{shown(self.value)} ({self.origin})"


@dataclass(frozen=True, kw_only=True)
class Config:
    """All settings of a run.

    Attributes:
        root: The folder that references to code and globs start from.
        file: The file that holds settings; None where there is none.
        settings: How to judge.
        subject: The given parts of what is under test, by key of `schema.SUBJECT`; their code is not loaded yet.
    """

    root: Path
    file: Path | None = None
    settings: Settings = field(default_factory=Settings)
    subject: Mapping[str, Given] = field(default_factory=dict)


def load_config(
    root: Path, options: Mapping[str, str] | None = None, *, today: date | None = None, prefix: str = PREFIX
) -> Config:
    """Return the settings from the file in `root` and from options; an option wins over the same key in the file.

    Args:
        root: The folder of ``pyproject.toml`` or ``dmmcheck.toml``.
        options: Texts by key, as given on the command line.
        today: The day that each ``expires`` is compared with; the current day where None.
        prefix: What the names of options begin with, which messages repeat.

    Raises:
        ConfigError: A file does not parse, two files hold settings, a key is unknown, a value has the wrong type, an
            expected failure is malformed or has expired, or two keys exclude each other.
    """
    file, table = find_settings(root)
    origin = "" if file is None else _origin(file)
    checks = _checks(table.pop("checks", {}), origin, today or date.today())
    given = {name: _read(_known(name, origin), value, origin) for name, value in table.items()}
    given |= {name: _parsed(KEYS[name], value, f"{prefix}{name}") for name, value in (options or {}).items()}
    judging = {JUDGING[name].field: item.value for name, item in given.items() if name in JUDGING}
    subject = {name: item for name, item in given.items() if name in SUBJECT}
    if {"reference", "robust"} <= subject.keys():
        raise ConfigError(
            f"both reference {subject['reference']} and robust {subject['robust']} are given; keep reference if the "
            "model under test is the robust one of the pair, or robust if it is the standard one"
        )
    return Config(root=root, file=file, settings=Settings(checks=checks, **judging), subject=subject)


def find_settings(root: Path) -> tuple[Path | None, dict[str, Any]]:
    """Return the file in `root` that holds settings, and the settings in it; None and no settings where there is none.

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
    tool = content.get("tool", {})
    if not isinstance(tool, dict):
        raise ConfigError(f"tool of {PYPROJECT} is {shown(tool)}; make it a table, e.g. [tool.dmmcheck]")
    table = tool.get("dmmcheck")
    if table is None or isinstance(table, dict):
        return table
    raise ConfigError(f"dmmcheck in [tool] of {PYPROJECT} is {shown(table)}; make it a table, [tool.dmmcheck]")


def _parse_file(file: Path) -> dict[str, Any]:
    try:
        return parse_toml(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ConfigError(f"{file} does not parse as TOML: {error}; correct that line") from None


def _origin(file: Path) -> str:
    return f"[tool.dmmcheck] of {PYPROJECT}" if file.name == PYPROJECT else file.name


def _known(name: str, origin: str) -> Key:
    if name not in KEYS:
        valid = [*KEYS, "checks"]
        raise ConfigError(
            f"unknown key {shown(name)} in {origin}{did_you_mean(name, valid)}; valid: {', '.join(valid)}"
        )
    return KEYS[name]


def _read(key: Key, value: Any, origin: str) -> Given:
    return Given(_converted(key.read, value, key.name, origin), origin)


def _parsed(key: Key, value: str, option: str) -> Given:
    plain = _converted(key.parse, value, "the value", option)
    return Given(_converted(key.read, plain, "the value", option), option)


def listed_names(text: str, option: str) -> list[str]:
    """Return the comma-separated names in the text of an option.

    Raises:
        ConfigError: A name is missing.
    """
    names: list[str] = _converted(listed, text, "the value", option)
    return names


def _converted(convert: Callable[[Any], Any], value: Any, name: str, origin: str) -> Any:
    try:
        return convert(value)
    except ValueError as error:
        raise ConfigError(f"{origin}: {name} is {shown(value)}, expected {error}") from None


_CHECK_KEYS: Mapping[str, Callable[[Any], Any]] = {
    "threshold": number,
    "min-effect": effect,
    "expected-failure": reason,
    "expires": day,
}


def _checks(tables: Any, origin: str, today: date) -> dict[str, CheckSettings]:
    if not isinstance(tables, dict):
        raise ConfigError(
            f"{origin}: checks is {shown(tables)}, expected one table a check, e.g. [tool.dmmcheck.checks.ID]"
        )
    return {id: _check(id, table, f"checks.{_named(id)} in {origin}", today) for id, table in tables.items()}


def _named(id: str) -> str:
    """Return the id of a check for a message, in quotes where the text cannot be an id."""
    return id if id.replace("-", "").isalnum() and len(id) <= LONGEST_VALUE else shown(id)


def _renamed(table: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """Return the table with its keys by their present names; an old name gives a DeprecationWarning."""
    if "margin" not in table:
        return dict(table)
    if "min-effect" in table:
        raise ConfigError(f"{origin} has both min-effect and margin, its old name; remove margin")
    warnings.warn(f"the key margin of {origin} is now min-effect", DeprecationWarning, stacklevel=2)
    return {"min-effect" if name == "margin" else name: value for name, value in table.items()}


def _check(id: str, table: Any, origin: str, today: date) -> CheckSettings:
    if not isinstance(table, dict):
        raise ConfigError(f"{origin} is {shown(table)}, expected a table with {', '.join(_CHECK_KEYS)}")
    table = _renamed(table, origin)
    for name in table:
        if name not in _CHECK_KEYS:
            close = did_you_mean(name, _CHECK_KEYS)
            raise ConfigError(f"unknown key {shown(name)} of {origin}{close}; valid: {', '.join(_CHECK_KEYS)}")
    values = {name: _converted(_CHECK_KEYS[name], value, name, origin) for name, value in table.items()}
    settings = CheckSettings(**{name.replace("-", "_"): value for name, value in values.items()})
    if settings.expires and not settings.expected_failure:
        raise ConfigError(
            f"{origin} has expires without expected-failure; add expected-failure with the reason, or remove expires"
        )
    if settings.expires and settings.expires <= today:
        raise ConfigError(
            f"{origin}: the expected failure ({settings.expected_failure}) expired on {settings.expires}; "
            "remove it, or set a later date"
        )
    return settings
