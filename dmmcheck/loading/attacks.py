"""From the setting `attacks` to attacks: names of torchattacks, references to code, and objects."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dmmcheck.attacks.base import Attack
from dmmcheck.config.schema import ATTACK_SIGNATURE, attack_name, wrong_signature
from dmmcheck.errors import ConfigError
from dmmcheck.loading.references import load, resolve


def load_attacks(attacks: Iterable[Any], *, root: Path) -> dict[str, Attack]:
    """Return the attacks by their names in reports.

    Args:
        attacks: Names of torchattacks, ``pkg.mod:attr``, or objects that satisfy `Attack`.
        root: The folder that references start from.

    Raises:
        ConfigError: There is no such code, or it cannot be called as an attack.
        AttackError: torchattacks is not installed, or has no such attack.
    """
    return {attack_name(attack): _loaded(attack, root) for attack in attacks}


def _loaded(attack: Any, root: Path) -> Attack:
    """Return the attack that an element of the setting names."""
    if not isinstance(attack, str):
        return _checked(attack, f"attacks: {attack!r}")
    if ":" not in attack:
        from dmmcheck.attacks.torchattacks import TorchAttack  # noqa: PLC0415  # an optional dependency

        return TorchAttack(attack)
    what = f"attacks: {attack!r}"
    value = load(attack, what, root=root)
    return _checked(resolve(value, what, may_be_function=True), what)


def _checked(attack: Any, what: str) -> Attack:
    if not callable(attack):
        raise ConfigError(
            f"{what} is a {type(attack).__name__}, which cannot be called; name an attack object or function"
        )
    wrong = wrong_signature(attack)
    if wrong:
        raise ConfigError(f"{what} cannot be called with {ATTACK_SIGNATURE}: {wrong}; give it this signature")
    found: Attack = attack
    return found
