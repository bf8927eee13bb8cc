"""Attacks of the torchattacks library, restricted to any search space; the library is an optional dependency."""

from dmmcheck.attacks.torchattacks.attack import PANEL, TorchAttack, panel

__all__ = ["PANEL", "TorchAttack", "panel"]
