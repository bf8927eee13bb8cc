"""What adversarial training changes: a standard model compared with an adversarially trained one, or several pairs.

A claim about one twin is decided over inputs. The same claim about adversarial training is decided over pairs of
networks: each pair gives one number, the median over its inputs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from dmmcheck.checks.base import OverTrainings, claim, declare
from dmmcheck.inference.decide import point_estimate
from dmmcheck.inference.evidence import Evidence, Floats
from dmmcheck.inference.types import MIN_INPUTS, ArmName
from dmmcheck.measurement.trainings import one_pair, pairs
from dmmcheck.measurement.view import View

Mask = NDArray[np.bool_]
Compared = Callable[[View, View, Mask], Evidence]
"""Function from the views of a standard and of another model, and the inputs to use, to a number for each of these."""
Beyond = Callable[[Floats, Floats], Floats]
"""Function from the numbers of a robust and of an alternative model to one that passes the limit where the robust
model's passes it, and passes the alternative's too."""


def adversarial_training_deepens(view: View) -> Evidence:
    """d_off of the robust model / d_off of the standard one."""
    return _of_twin(view, _deepening, _by_factor)


def deepening_is_the_main_effect(view: View) -> Evidence:
    """Growth of d_off / growth of d_on, robust over standard."""
    return _of_twin(view, _main_effect, _by_factor)


def robust_turns_tangential(view: View) -> Evidence:
    """rho_T of the robust model's perturbation - rho_T of the standard one's."""
    return _of_twin(view, _turn, _by_difference)


def deepening_over_trainings(view: View) -> Evidence:
    """Return the median over inputs of d_off (robust) / d_off (standard), of each pair of trainings."""
    return _of_pairs(view, _deepening, _by_factor)


def main_effect_over_trainings(view: View) -> Evidence:
    """Return the median over inputs of growth of d_off / growth of d_on, of each pair of trainings."""
    return _of_pairs(view, _main_effect, _by_factor)


def turn_over_trainings(view: View) -> Evidence:
    """Return the median over inputs of rho_T (robust) - rho_T (standard), of each pair of trainings."""
    return _of_pairs(view, _turn, _by_difference)


def _deepening(standard: View, other: View, known: Mask, arm: ArmName = "normal") -> Evidence:
    return Evidence.ratio(*(model.distance(arm)[known] for model in (other, standard)))


def _main_effect(standard: View, other: View, known: Mask) -> Evidence:
    off, on = (_deepening(standard, other, known, arm) for arm in ("normal", "tangent"))
    with np.errstate(invalid="ignore", divide="ignore"):
        return Evidence(off.values / on.values, off.censored + on.censored)


def _turn(standard: View, other: View, known: Mask) -> Evidence:
    after, before = (model.tangent_share(model.delta("free"))[known] for model in (other, standard))
    turn = after - before
    return Evidence(turn, int(np.isnan(turn).sum()))


def _by_factor(robust: Floats, alternative: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.minimum(robust, robust / alternative)


def _by_difference(robust: Floats, alternative: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        return np.minimum(robust, robust - alternative)


def _of_twin(view: View, compare: Compared, beyond: Beyond) -> Evidence:
    """Return the numbers of one pair, at the inputs that each of its networks classifies correctly."""
    pair = one_pair(view)
    models = [model for model in (pair.standard, pair.robust, pair.alternative) if model is not None]
    known = np.all([_correct(model) for model in models], axis=0)
    evidence = compare(pair.standard, pair.robust, known)
    if pair.alternative is None:
        return evidence
    other = compare(pair.standard, pair.alternative, known)
    return Evidence(beyond(evidence.values, other.values), evidence.censored + other.censored)


def _of_pairs(view: View, compare: Compared, beyond: Beyond) -> Evidence:
    """Return one number for each pair of trainings."""
    known, note = pairs(view)
    robust = np.array([_median(pair.standard, pair.robust, compare) for pair in known])
    if not any(pair.alternative for pair in known):
        return Evidence.of(robust, unit="training", note=note)
    others = np.array([_median(pair.standard, pair.alternative, compare) for pair in known if pair.alternative])
    medians = f"median over pairs {np.median(robust):.3g}, of the alternative training {np.median(others):.3g}"
    return Evidence.of(beyond(robust, others), unit="training", note="; ".join(filter(None, (medians, note))))


def _median(standard: View, other: View, compare: Compared) -> float:
    """Return the median over the inputs that both networks classify correctly; NaN where these are fewer than 8."""
    both = _correct(standard) & _correct(other)
    if np.sum(both) < MIN_INPUTS:
        return float("nan")
    return point_estimate(compare(standard, other, both))


def _correct(model: View) -> Mask:
    """Return whether a network classifies each input correctly (n,); cached for all draws."""
    return model.cached(("correct", model.n), lambda: ((model.labels(model.x) == model.y).cpu().numpy(), 0))


declare(
    "adversarial-training-deepens",
    "adversarial training deepens the dimples",
    claim(
        adversarial_training_deepens,
        tier="mechanism",
        variant="depth",
        statement="this robust twin's dimples are deeper",
        threshold=1.0,
        direction="greater",
        unit="ratio",
        needs=("pair",),
        trainings=OverTrainings(
            deepening_over_trainings,
            "adversarial training deepens the dimples",
            "d_off of the robust model / d_off of the standard one, the median of each pair",
        ),
    ),
    claim(
        deepening_is_the_main_effect,
        tier="mechanism",
        variant="main-effect",
        statement="this robust twin's dimples have deepened by more than its distances on the manifold have grown",
        threshold=1.0,
        direction="greater",
        unit="ratio",
        needs=("pair",),
        controls=("rotation",),
        draw_cost="search",
        trainings=OverTrainings(
            main_effect_over_trainings,
            "and that is its main effect: distances on the manifold grow less",
            "growth of d_off / growth of d_on, robust over standard, the median of each pair",
        ),
    ),
)
declare(
    "robust-turns-tangential",
    "with deeper dimples, perturbations turn towards the manifold",
    claim(
        robust_turns_tangential,
        tier="mechanism",
        statement="this robust twin's perturbations turn towards the manifold",
        threshold=0.0,
        direction="greater",
        unit="difference",
        needs=("pair",),
        controls=("rotation",),
        trainings=OverTrainings(
            turn_over_trainings,
            "adversarial training turns perturbations towards the manifold",
            "rho_T of the robust model's perturbation - rho_T of the standard one's, the median of each pair",
        ),
    ),
)
