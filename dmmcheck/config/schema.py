"""The keys of ``[tool.dmmcheck]``, each of which is also a command-line option, and how their values are read."""

from __future__ import annotations

import math
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from dmmcheck.inference.types import BUILTIN, GATES, MIN_INPUTS

PYPROJECT, OWN_FILE = "pyproject.toml", "dmmcheck.toml"
PREFIX = "--dmm-"  # of options of pytest; the console command has the same ones without dmm-
LARGEST_SEED = 2**63 - 1
MOST_JOBS, CLUSTERS = 10_000, ("dask", "ray")
LONGEST_TEXT = 4096  # characters: of the longest path


SHORTEST = {
    "model": 'model = "package.module:net"',
    "data": 'data = "package.module:test"',
    "manifold": 'manifold-data = "package.module:train"',
}
"""The shortest line of the settings that gives each part of a subject that cannot be left out."""


@dataclass(frozen=True, kw_only=True)
class Key:
    """One key, which is also an option.

    Attributes:
        name: Its name in the file.
        read: Converts a value of TOML to the setting; raises ValueError with a text that completes "expected ...".
        parse: Converts the text of the option to a value of TOML; raises ValueError in the same way.
        metavar: The word for the value in the option's help.
        help: The option's help, one line.
        examples: Values of TOML that it can have, at least one of each type.
        flag: Whether the option takes no value and means true.
    """

    name: str
    read: Callable[[Any], Any]
    parse: Callable[[str], Any]
    metavar: str
    help: str
    examples: tuple[Any, ...]
    flag: bool = False

    @property
    def option(self) -> str:
        """The name of its option."""
        return f"{PREFIX}{self.name}"

    @property
    def field(self) -> str:
        """Its name in Python: a field of `Settings` or `Subject`."""
        return self.name.replace("-", "_")

    @property
    def fixture(self) -> str:
        """The name of the fixture that can give it, for keys that say what is under test."""
        return f"dmm_{self.field}"


def what_is_missing(names: Sequence[str], file: str) -> str:
    """Return a sentence that parts of a subject are not given, with the shortest lines of a file that give them.

    Args:
        names: Keys of the parts.
        file: The table and the file that the lines belong in.
    """
    lines = ", ".join(SHORTEST[name] for name in names)
    given = "no " + " and no ".join(names) + (" is given" if len(names) == 1 else " are given")
    return f"{given}; write {lines} in {file}, with the names of your own code"


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """Return the text ``; did you mean 'model'?`` if a valid name is close, else ""."""
    import difflib  # noqa: PLC0415  # needed for error messages only

    close = difflib.get_close_matches(name, list(valid), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def colon_hint(name: str) -> str:
    """Return the text ``; did you mean 'shop.model:load'?`` if a name has a dot where a reference has a colon, else "".

    Example:
        >>> colon_hint("shop.model.load"), colon_hint("local-pca")
        ("; did you mean 'shop.model:load'?", '')
    """
    module, dot, attribute = name.rpartition(".")
    dotted = dot and attribute != "py" and all(part.isidentifier() for part in name.split("."))
    return f"; did you mean '{module}:{attribute}'?" if dotted else ""


def parse_toml(text: str) -> dict[str, Any]:
    """Return the content of TOML text as a dict.

    Raises:
        ValueError: It does not parse, or is nested so deeply that it cannot be read.
    """
    if sys.version_info >= (3, 11):
        import tomllib  # noqa: PLC0415  # not before a file is read
    else:
        import tomli as tomllib  # noqa: PLC0415

    try:
        content: dict[str, Any] = tomllib.loads(text)
    except RecursionError:
        raise ValueError("its lists or tables are nested too deeply; make them flatter") from None
    return content


def _shown(value: Any) -> str:
    """Return the value in the words of a message."""
    from dmmcheck.errors.text import shown  # noqa: PLC0415  # needed for error messages only

    return shown(value)


def text(value: Any) -> str:
    """Return the text, stripped, unless it is empty, has control characters, or is too long for a path."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a text that is not empty")
    if len(value) > LONGEST_TEXT:
        raise ValueError(f"at most {LONGEST_TEXT} characters (it has {len(value)}); shorten it")
    control = next((character for character in value.strip() if unicodedata.category(character) == "Cc"), "")
    if control:
        raise ValueError(f"a text without control characters (it has {control!r}); remove them")
    return value.strip()


def reason(value: Any) -> str:
    """Return a text for readers on one line, with line breaks replaced by spaces."""
    return text(" ".join(value.split()) if isinstance(value, str) else value)


def is_number(value: Any) -> bool:
    """Return whether a value is a number that is finite as a float, which a very large whole number is not."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def number(value: Any) -> float:
    """Return the value, which must be a finite number, as a float."""
    if not is_number(value):
        raise ValueError("a finite number, e.g. 1.5")
    return float(value)


def effect(value: Any) -> float:
    """Return a finite number >= 0, by which two numbers must differ, as a float."""
    if not is_number(value) or value < 0:
        raise ValueError("a finite number >= 0, e.g. 0.1")
    return float(value)


def day(value: Any) -> date:
    """Return the value, which must be a date of TOML."""
    if not isinstance(value, date) or isinstance(value, datetime):
        raise ValueError("a date without quotes, e.g. 2027-01-31")
    return value


def _integer(low: int, high: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return value

    return read


def _rate(value: Any) -> float:
    if not is_number(value) or not 0 < value < 1:
        raise ValueError("a number above 0 and below 1, e.g. 0.05")
    return float(value)


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)):
        raise ValueError('a list of texts, e.g. ["a", "b"]')
    return tuple(dict.fromkeys(text(part) for part in value))


def _attacks(value: Any) -> tuple[Any, ...]:
    """Return the names of torchattacks, references to code, and objects; each attack once, and no two with one name."""
    if not isinstance(value, (list, tuple)):
        raise ValueError('a list of names of torchattacks, "pkg.mod:attr", or attacks, e.g. ["fab"]')
    from dmmcheck.registry import CONTROLS  # noqa: PLC0415  # not in a run of pytest that sets no attacks

    attacks = {part if isinstance(part, str) else id(part): part for part in map(_attack, value)}
    seen: dict[str, Any] = {}
    for attack in attacks.values():
        name = attack_name(attack)
        if name in {BUILTIN, *CONTROLS.names}:
            raise ValueError(
                f"attacks with names of their own ({_shown(attack)} has the name {name!r}, which reports use otherwise)"
                "; rename that attack"
            )
        if name in seen:
            raise ValueError(
                f"attacks with different names ({_shown(seen[name])} and {_shown(attack)} both have the name {name!r})"
                "; rename one of them"
            )
        seen[name] = attack
    return tuple(attacks.values())


def _attack(value: Any) -> Any:
    """Return one attack: a reference, a name of torchattacks in lower case, or an object that can be called as one."""
    if isinstance(value, str):
        return _reference_or_name(text(value))
    if isinstance(value, type) or not callable(value):
        raise ValueError(f"attacks that can be called ({_shown(value)} cannot); pass an object, e.g. MyAttack()")
    wrong = wrong_signature(value)
    if wrong:
        raise ValueError(
            f"attacks that can be called with {ATTACK_SIGNATURE} ({_shown(value)} cannot: {wrong}); give it this "
            "signature"
        )
    return value


def _reference_or_name(value: str) -> str:
    if ":" not in value and "." in value:
        raise ValueError(
            "names of torchattacks, or references of the form pkg.mod:attr or path.py:attr "
            f"({_shown(value)} has a dot and no colon){colon_hint(value)}"
        )
    return value if ":" in value else value.lower()


ATTACK_SIGNATURE = "(model, x, y, *, space, bounds=None, generator)"
"""The signature of `dmmcheck.attacks.base.Attack`."""


def wrong_signature(attack: Callable[..., Any]) -> str:
    """Return why a call of an attack would fail, in Python's words; "" where it would not, or where Python cannot tell.

    Example:
        >>> wrong_signature(lambda model, x, y, *, space, generator: None)
        ''
        >>> wrong_signature(lambda model, x: None)
        'too many positional arguments'
    """
    from dmmcheck.registry import wrong_call  # noqa: PLC0415  # as in _attacks

    return wrong_call(attack, None, None, None, space=None, generator=None)


def attack_name(attack: Any) -> str:
    """Return the name of an attack in reports, in lower case with hyphens; names of torchattacks stay as they are.

    It is the last part of a reference to code, which is not loaded for this; the attribute ``name`` of an object; or
    the name of its function or class.

    Example:
        >>> attack_name("fab"), attack_name("shop.attacks:MyAttack")
        ('fab', 'my-attack')
    """
    if isinstance(attack, str):
        return _slug(_words(re.split("[:.]", attack)[-1])) if ":" in attack else attack
    named = getattr(attack, "name", None)
    return _slug(str(named) if named else _words(getattr(attack, "__name__", None) or type(attack).__name__))


def _words(name: str) -> str:
    """Return the words of a name in code, joined by hyphens."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name)


def _slug(name: str) -> str:
    """Return the name in lower case, with hyphens in place of all that is neither letter nor digit."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "attack"


def _gates(value: Any) -> tuple[str, ...]:
    gates = _texts(value)
    unknown = [gate for gate in gates if gate not in GATES]
    if unknown:
        raise ValueError(
            f"a list of {', '.join(GATES)} ({_shown(unknown[0])} is none of them{did_you_mean(unknown[0], GATES)})"
        )
    return gates


def _yes_or_no(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false, without quotes")
    return value


_SECONDS = {"s": 1, "sec": 1, "second": 1, "min": 60, "minute": 60, "h": 3600, "hour": 3600}


def _time(value: Any) -> float:
    """Return a time in seconds, from a number of seconds or from a number and a unit."""
    expected = 'a time above 0, e.g. "10 min", "90 s" or "2 h", or a number of seconds'
    if isinstance(value, str):
        found = re.fullmatch(r"\s*([0-9]+\.?[0-9]*)\s*([a-z]+)\s*", value)
        unit = None if found is None else _SECONDS.get(found[2].removesuffix("s") or "s")
        if found is None or unit is None:
            raise ValueError(expected)
        value = float(found[1]) * unit
    if not is_number(value) or not value > 0:
        raise ValueError(expected)
    return float(value)


def _folder_or_not(value: Any) -> bool | str:
    if isinstance(value, bool):
        return value
    if not isinstance(value, str) or not value.strip():
        raise ValueError('true, false, or a folder, e.g. ".dmmcheck"')
    return {"on": True, "true": True, "off": False, "false": False}.get(value.lower(), text(value))


def _jobs(value: Any) -> int | str:
    """Return a number of processes, or a cluster and its size or address."""
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_JOBS:
        return value
    kind, _, where = value.partition(":") if isinstance(value, str) else ("", "", "")
    if kind not in CLUSTERS or not where or (where.isdigit() and not 1 <= int(where) <= MOST_JOBS):
        raise ValueError(f'a number of processes from 1 to {MOST_JOBS}, or a cluster, e.g. "dask:4" or "ray:ADDRESS"')
    return str(value)


def _number_or_text(text: str) -> int | str:
    return int(text) if text.isdigit() else text


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
    if not math.isfinite(high - low):
        raise ValueError("two numbers whose difference is finite, e.g. [0.0, 1.0]")
    return low, high


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError("a table, e.g. {dim = 16}")
    named = {name.replace("-", "_"): part for name, part in value.items()}
    if not all(name.isidentifier() for name in named) or len(named) < len(value):
        raise ValueError("options with names of letters, digits and hyphens, each once, e.g. {dim = 16}")
    return named


def _normalize(value: Any) -> dict[str, list[float]]:
    example = "e.g. {mean = [0.5], std = [0.25]}"
    if not isinstance(value, Mapping) or set(value) != {"mean", "std"}:
        raise ValueError(f"a table with mean and std, {example}")
    if not all(isinstance(part, (list, tuple)) and part for part in value.values()):
        raise ValueError(f"lists of numbers as mean and std, {example}")
    mean, std = (list(map(number, value[name])) for name in ("mean", "std"))
    if len(mean) != len(std) or min(std) <= 0:
        raise ValueError(f"as many means as standard deviations, which are above 0, {example}")
    return {"mean": mean, "std": std}


def _same(text: str) -> str:
    return text


def _true_or_false(text: str) -> bool:
    if text not in {"true", "false"}:
        raise ValueError("true or false")
    return text == "true"


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


def listed(text: str) -> list[str]:
    """Return the names in a text, separated by commas.

    Raises:
        ValueError: There is none.
    """
    names = [part.strip() for part in text.split(",") if part.strip()]
    if not names:
        raise ValueError("at least one name; put commas between several, e.g. a,b")
    return names


def _reals(text: str) -> list[float]:
    return [_real(part) for part in text.split(",")]


def _inline(text: str) -> Any:
    end = ', "" = 0' if text.strip() else '"" = 0'  # is lost where the text ends the table, or is a comment
    try:
        parsed = parse_toml(f"options = {{{text}{end}}}")
    except ValueError:
        parsed = {}
    if list(parsed) != ["options"] or parsed["options"].pop("", None) != 0:
        raise ValueError("options as in TOML, e.g. 'dim = 16, neighbours = 40'")
    return parsed["options"]


def _code(name: str, help: str) -> Key:
    return Key(name=name, read=text, parse=_same, metavar="MODULE:ATTR", help=help, examples=("shop.code:name",))


_SUBJECT = (
    _code("model", "the classifier: pkg.mod:attr or path.py:attr, a value or a function returning it"),
    _code("data", "labelled inputs to test on: (x, y) or a torch Dataset"),
    Key(
        name="manifold",
        read=text,
        parse=_same,
        metavar="NAME",
        help="a built-in manifold or pkg.mod:attr",
        examples=("local-pca", "shop.data:surface"),
    ),
    _code("manifold-data", "the data that a built-in manifold is fitted on: (x, y), x alone, or a Dataset"),
    Key(
        name="manifold-options",
        read=_table,
        parse=_inline,
        metavar="OPTIONS",
        help="options of the built-in manifold: 'dim = 16'",
        examples=({"dim": 16},),
    ),
    _code("reference", "the standard model of the pair, where the model under test is the robust one"),
    _code("robust", "the robust model of the pair, where the model under test is the standard one"),
    _code("pairs", "[(standard, robust), ...] or a function seed -> (standard, robust): for claims about training"),
    _code("alternative", "a model trained otherwise to the same accuracy, which a robust one must exceed"),
    Key(
        name="robustly-trained",
        read=_yes_or_no,
        parse=_true_or_false,
        metavar="true|false",
        help="whether the model under test is adversarially trained (false; true with a reference)",
        examples=(True,),
    ),
    _code("baseline-model", "a model to compare with on the same inputs in the same run, e.g. that of the main branch"),
    _code("factory", "a function seed -> untrained model"),
    Key(
        name="checkpoints",
        read=text,
        parse=_same,
        metavar="MODULE:ATTR|GLOB",
        help="[(step, model), ...], the first one untrained; or, with a factory, files of weights",
        examples=("shop.model:history", "weights/*.pt"),
    ),
    _code("trainer", "a function (x, y, seed) -> trained model"),
    _code("augment", "a function (x, seed) -> x that must keep the label, for the tier search"),
    _code("groups", "one value an input, equal for inputs that belong together; one input of each group is measured"),
    Key(
        name="units",
        read=_one_of("input", "standard"),
        parse=_same,
        metavar="input|standard",
        help="units of distances: those of the inputs, or each feature by its standard deviation (input)",
        examples=("standard",),
    ),
    Key(
        name="normalize",
        read=_normalize,
        parse=_inline,
        metavar="MEAN,STD",
        help="what models expect to be applied to their inputs first: 'mean = [0.5], std = [0.25]'",
        examples=({"mean": [0.5], "std": [0.25]},),
    ),
    Key(
        name="bounds",
        read=_pair,
        parse=_reals,
        metavar="LO,HI",
        help="the range of valid input values",
        examples=([0.0, 1.0],),
    ),
)
_JUDGING = (
    Key(
        name="samples",
        read=_integer(MIN_INPUTS, 10**9),
        parse=_whole,
        metavar="N",
        help="the most inputs to use (512)",
        examples=(512,),
    ),
    Key(
        name="alpha",
        read=_rate,
        parse=_real,
        metavar="RATE",
        help="largest share of runs with a false gating verdict (0.05)",
        examples=(0.05,),
    ),
    Key(
        name="seed",
        read=_integer(0, LARGEST_SEED),
        parse=_whole,
        metavar="N",
        help="seed of all random numbers (0)",
        examples=(0,),
    ),
    Key(
        name="gate",
        read=_gates,
        parse=listed,
        metavar="TIER,...",
        help="tiers whose refutation fails the run (stated,mechanism); also beyond-chance (a claim like chance "
        "fails it) and baseline (a change for the worse does)",
        examples=(["stated", "mechanism"],),
    ),
    Key(
        name="on-inconclusive",
        read=_one_of("warn", "fail"),
        parse=_same,
        metavar="warn|fail",
        help="what an inconclusive gating claim does (warn)",
        examples=("warn",),
    ),
    Key(
        name="attacks",
        read=_attacks,
        parse=listed,
        metavar="NAME,...",
        help="further attacks, each adds a variant: names of torchattacks (fab, pgdl2, ...) or pkg.mod:attr",
        examples=(["fab", "shop.attacks:Mine"],),
    ),
    Key(
        name="effort",
        read=_one_of("quick", "default", "thorough"),
        parse=_same,
        metavar="quick|default|thorough",
        help="effort that the boundary search starts with; raised where it falls short (default)",
        examples=("quick",),
    ),
    Key(
        name="fast",
        read=_yes_or_no,
        parse=_true_or_false,
        metavar="",
        help="test the stated claims only, with quick effort; the report says so",
        flag=True,
        examples=(True,),
    ),
    Key(
        name="boxed",
        read=_yes_or_no,
        parse=_true_or_false,
        metavar="",
        help="keep searches and all calls of models inside bounds; without it, distances are unboxed",
        flag=True,
        examples=(True,),
    ),
    Key(
        name="max-time",
        read=_time,
        parse=_same,
        metavar="TIME",
        help="stop measuring after this time, e.g. '10 min'; claims that are left are inconclusive",
        examples=("10 min", 90, 0.5),
    ),
    Key(
        name="cache",
        read=_folder_or_not,
        parse=_same,
        metavar="DIR|off",
        help="where measurements are kept for later runs: a folder, off, or on for pytest's cache (on)",
        examples=(True, ".dmmcheck"),
    ),
    Key(
        name="jobs",
        read=_jobs,
        parse=_number_or_text,
        metavar="N|CLUSTER",
        help="measure in N processes, or on dask:N, dask:ADDRESS, ray:N, ray:ADDRESS (1)",
        examples=(2, "dask:4"),
    ),
    Key(
        name="queries",
        read=_integer(100, 10**9),
        parse=_whole,
        metavar="N",
        help="most model calls for one input in one search, of models without gradients (5000)",
        examples=(5000,),
    ),
    Key(
        name="baseline",
        read=text,
        parse=_same,
        metavar="PATH",
        help="compare with this earlier report, which --dmm-update-baseline writes",
        examples=("dmm-baseline.json",),
    ),
    Key(
        name="evidence",
        read=_yes_or_no,
        parse=_true_or_false,
        metavar="true|false",
        help="measure the values of every input, and keep them in JSON reports (false)",
        examples=(True,),
    ),
    Key(
        name="device",
        read=text,
        parse=_same,
        metavar="DEVICE",
        help="the device to compute on (that of the model)",
        examples=("cpu",),
    ),
)

SUBJECT: Mapping[str, Key] = {key.name: key for key in _SUBJECT}
"""The keys that say what is under test."""
JUDGING: Mapping[str, Key] = {key.name: key for key in _JUDGING}
"""The keys that say how to judge it."""
KEYS: Mapping[str, Key] = {**SUBJECT, **JUDGING}
"""All keys that are also options; the table ``checks`` has none, and is given in the file only."""
