"""The keys of ``[tool.dmmcheck]``, each of them an option on the command line too: how their values are read."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from dmmcheck.inference.types import TIERS

PYPROJECT, OWN_FILE = "pyproject.toml", "dmmcheck.toml"
SMALLEST_SAMPLE = 8
LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class Key:
    """One key, which is one option too.

    Attributes:
        name: As it is written in the file.
        read: From a value of TOML to the setting; raises ValueError saying what is expected.
        parse: From the text on the command line to a value of TOML; raises ValueError likewise.
        metavar: What the option's help calls the value.
        help: One line.
    """

    name: str
    read: Callable[[Any], Any]
    parse: Callable[[str], Any]
    metavar: str
    help: str

    @property
    def option(self) -> str:
        """Its option on the command line."""
        return f"--dmm-{self.name}"

    @property
    def field(self) -> str:
        """Its name in Python: a field of `Settings`, or of what is under test."""
        return self.name.replace("-", "_")

    @property
    def fixture(self) -> str:
        """The fixture that may give it, where it says what is under test."""
        return f"dmm_{self.field}"


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """``; did you mean 'model'?`` where a valid name is close, else nothing."""
    import difflib  # noqa: PLC0415  # only ever needed for an error

    close = difflib.get_close_matches(name, list(valid), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def parse_toml(text: str) -> dict[str, Any]:
    """TOML as a dict.

    Raises:
        ValueError: It does not parse.
    """
    if sys.version_info >= (3, 11):
        import tomllib  # noqa: PLC0415  # not before a file is read
    else:
        import tomli as tomllib  # noqa: PLC0415

    content: dict[str, Any] = tomllib.loads(text)
    return content


def text(value: Any) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a text that is not empty")
    return value.strip()


def number(value: Any) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError("a finite number, e.g. 1.5")
    return float(value)


def day(value: Any) -> date:
    """A date of TOML."""
    if not isinstance(value, date) or isinstance(value, datetime):
        raise ValueError("a date without quotes, e.g. 2027-01-31")
    return value


def _integer(low: int, high: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(
                f"a whole number from {low} to {high}" if high < LARGEST_SEED else f"a whole number >= {low}"
            )
        return value

    return read


def _rate(value: Any) -> float:
    if not 0 < (rate := number(value)) < 1:
        raise ValueError("a number above 0 and below 1, e.g. 0.05")
    return rate


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)):
        raise ValueError('a list of texts, e.g. ["a", "b"]')
    return tuple(dict.fromkeys(text(part) for part in value))


def _tiers(value: Any) -> tuple[str, ...]:
    tiers = _texts(value)
    unknown = [tier for tier in tiers if tier not in TIERS]
    if unknown:
        raise ValueError(f"a list of {', '.join(TIERS)} ({unknown[0]!r} is none{did_you_mean(unknown[0], TIERS)})")
    return tiers


def _one_of(*words: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in words:
            raise ValueError(" or ".join(map(repr, words)))
        return str(value)

    return read


def _pair(value: Any) -> tuple[float, float]:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise ValueError("two numbers, e.g. [0.0, 1.0]")
    low, high = map(number, value)
    if not low < high:
        raise ValueError("two numbers, the lower one first, e.g. [0.0, 1.0]")
    return low, high


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError("a table, e.g. {dim = 16}")
    return {name.replace("-", "_"): part for name, part in value.items()}


def _same(text: str) -> str:
    return text


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("a whole number") from None


def _real(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError("a number") from None


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _reals(text: str) -> list[float]:
    return [_real(part) for part in text.split(",")]


def _inline(text: str) -> Any:
    try:
        return parse_toml(f"options = {{{text}}}")["options"]
    except ValueError:
        raise ValueError("options as in TOML, e.g. 'dim = 16, neighbours = 40'") from None


def _code(name: str, help: str) -> Key:
    return Key(name=name, read=text, parse=_same, metavar="MODULE:ATTR", help=help)


_SUBJECT = (
    _code("model", "the classifier: pkg.mod:attr or path.py:attr, a value or a function returning it"),
    _code("data", "labelled inputs to test on: (x, y), or a torch Dataset"),
    Key(name="manifold", read=text, parse=_same, metavar="NAME", help="a built-in manifold, or pkg.mod:attr"),
    _code("manifold-data", "what a built-in manifold is fitted on: (x, y), x alone, or a Dataset"),
    Key(name="manifold-options", read=_table, parse=_inline, metavar="OPTIONS", help="of the built-in one: 'dim = 16'"),
    _code("reference", "the standard twin of a robust model"),
    _code("robust", "the robust twin of a standard model"),
    _code("factory", "seed -> an untrained model"),
    Key(
        name="checkpoints",
        read=text,
        parse=_same,
        metavar="MODULE:ATTR|GLOB",
        help="[(step, model), ...], the first one untrained; or files of weights, with a factory",
    ),
    _code("trainer", "(x, y, seed) -> model"),
    Key(name="bounds", read=_pair, parse=_reals, metavar="LO,HI", help="the box that inputs live in"),
)
_JUDGING = (
    Key(
        name="samples",
        read=_integer(SMALLEST_SAMPLE, 10**9),
        parse=_whole,
        metavar="N",
        help="most inputs to use (512)",
    ),
    Key(name="alpha", read=_rate, parse=_real, metavar="RATE", help="false-verdict rate of the whole run (0.05)"),
    Key(name="seed", read=_integer(0, LARGEST_SEED), parse=_whole, metavar="N", help="of everything random (0)"),
    Key(
        name="gate",
        read=_tiers,
        parse=_listed,
        metavar="TIER,...",
        help="tiers whose refutation fails the run (stated,mechanism)",
    ),
    Key(
        name="on-inconclusive",
        read=_one_of("warn", "fail"),
        parse=_same,
        metavar="warn|fail",
        help="what an inconclusive gating verdict does (warn)",
    ),
    Key(
        name="attacks",
        read=_texts,
        parse=_listed,
        metavar="NAME,...",
        help="further attacks of torchattacks, one more variant each: fab, pgdl2, ...",
    ),
    Key(name="device", read=text, parse=_same, metavar="DEVICE", help="where to compute (where the model lies)"),
)

SUBJECT: Mapping[str, Key] = {key.name: key for key in _SUBJECT}
"""What is under test."""
JUDGING: Mapping[str, Key] = {key.name: key for key in _JUDGING}
"""How to judge it."""
KEYS: Mapping[str, Key] = {**SUBJECT, **JUDGING}
"""All keys that are options; the tables below ``checks`` are in the file alone."""
