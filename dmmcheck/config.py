"""How to judge, and what is under test: options and ``[tool.dmmcheck]``, validated; nothing heavy is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from dmmcheck.report.model import Tier

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
    """

    samples: int = 512
    alpha: float = 0.05
    seed: int = 0
    gate: tuple[Tier, ...] = ("stated", "mechanism")
    on_inconclusive: OnInconclusive = "warn"
    attacks: tuple[str, ...] = ()
    device: str | None = None
    checks: Mapping[str, CheckSettings] = field(default_factory=dict)
