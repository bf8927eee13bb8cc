"""Reports without what does harm where they are shown."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from dmmcheck.errors.text import harmless

T = TypeVar("T")


def harmless_report(value: T) -> T:
    """Return the same report with harmless texts in all of its parts but the evidence per input."""
    found: T = _mapped(value)
    return found


def _mapped(value: Any) -> Any:
    if isinstance(value, str):
        return harmless(value)
    if isinstance(value, dict):
        return {_mapped(key): _mapped(part) for key, part in value.items()}
    if isinstance(value, tuple) and value and not isinstance(value[0], (int, float)):
        return tuple(map(_mapped, value))
    if is_dataclass(value) and not isinstance(value, type):
        parts = {part.name: getattr(value, part.name) for part in fields(value) if part.name != "evidence"}
        return replace(value, **{name: _mapped(part) for name, part in parts.items()})
    return value
