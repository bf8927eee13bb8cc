"""Is the model a function that a boundary can be measured of?"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from scipy.stats import binomtest
from torch import Tensor, nn

from dmmcheck.report.model import Soundness
from dmmcheck.soundness.context import Ground, gate, informs, judged, times

REPEATS = 3
SAME = 1e-4  # largest change of the logits, in units of their spread, that counts as none
SAME_IN_BATCH = 1e-3  # the same for batches of other sizes, where kernels differ
ALONE = 8  # inputs shown to the model one by one
CHANCE_ALPHA = 0.01


def items(ground: Ground) -> Iterator[Soundness]:
    """Every item on the model."""
    yield evaluation_mode(ground)
    yield deterministic(ground)
    yield batch_independent(ground)
    yield finite(ground)
    yield not_constant(ground)
    yield above_chance(ground)
    if ground.classifier.form in {"probabilities", "binary-probability"}:
        yield probabilities(ground)


def evaluation_mode(ground: Ground) -> Soundness:
    """Modules obey eval(); a model that was given in training mode is measured in evaluation mode all the same."""
    model = ground.classifier.forward
    if not isinstance(model, nn.Module):
        return informs("evaluation-mode", "model", "the model is a function: it was called as it is")
    training = [name or type(module).__name__ for name, module in model.named_modules() if module.training]
    given = "given in training mode, " if ground.was_training else ""
    return gate(
        "evaluation-mode",
        "model",
        float(len(training)),
        most=0,
        finding=f"{given}measured in evaluation mode"
        + (f", but {len(training)} modules stay in training mode ({', '.join(training[:3])})" if training else ""),
        remedy="let their train(mode) set .training, as nn.Module's does",
    )


def deterministic(ground: Ground) -> Soundness:
    """The same input gives the same logits."""
    with torch.no_grad():
        change = max(_change(ground, ground.classifier.logits(ground.x)) for _ in range(REPEATS))
    return gate(
        "deterministic",
        "model",
        change,
        most=SAME,
        finding=f"the same inputs give logits {change:.1g} of their spread apart (limit {SAME:g})",
        remedy="take the noise out of the model (dropout, smoothing, transforms), or fix its seed in forward",
    )


def batch_independent(ground: Ground) -> Soundness:
    """An input's logits do not depend on what else is in the batch."""
    order = torch.arange(len(ground.x) - 1, -1, -1, device=ground.x.device)
    with torch.no_grad():
        turned = ground.classifier.logits(ground.x[order])[order]
        alone = torch.cat([ground.classifier.logits(row) for row in torch.split(ground.x[:ALONE], 1)])
    change = max(_change(ground, turned), _change(ground, alone))
    return gate(
        "batch-independent",
        "model",
        change,
        most=SAME_IN_BATCH,
        finding=f"alone and in a batch, an input differs by {change:.1g} of the spread (limit {SAME_IN_BATCH:g})",
        remedy="take statistics of the batch out of forward (batch norm in training mode, batch-wise scaling)",
    )


def finite(ground: Ground) -> Soundness:
    """Logits and gradients are numbers, at the inputs and at the crossings."""
    points = [ground.x, *(crossing.point.to(ground.x) for crossing in ground.crossings.values())]
    with torch.no_grad():
        bad = sum(_bad_rows(ground.classifier.logits(point)) for point in points)
    bad += _bad_rows(ground.margin_gradient[1])
    return gate(
        "finite",
        "model",
        float(bad),
        most=0,
        finding=f"{bad} rows of logits or gradients are NaN or infinite (limit 0)",
        remedy="look for log(0), 0/0 or an overflow in the model's forward",
    )


def not_constant(ground: Ground) -> Soundness:
    """The logits depend on the input."""
    centred = (ground.logits - ground.logits.mean(1, keepdim=True)).double()
    varies = float((centred - centred.mean(0)).abs().amax())
    relative = varies / max(float(centred.abs().amax()), torch.finfo(torch.float64).tiny)
    return gate(
        "not-constant",
        "model",
        relative,
        least=1e-4,
        finding=f"logits vary between inputs by {relative:.1g} of their size (at least 1e-4)",
        remedy="check that its weights are loaded and that the inputs have the scale of training",
    )


def above_chance(ground: Ground) -> Soundness:
    """The model knows more than the class frequencies (one-sided exact binomial test)."""
    chance = max(ground.majority, 1 / ground.classifier.classes)
    right = round(ground.accuracy * ground.labelled)
    p = binomtest(right, ground.labelled, min(chance, 1.0), alternative="greater").pvalue
    return judged(
        "above-chance",
        "model",
        p <= CHANCE_ALPHA,
        ground.accuracy,
        chance,
        finding=f"accuracy {times(ground.accuracy)} on {ground.labelled} inputs, where always naming one class gives "
        f"{times(chance)} (p = {p:.2g}, limit {CHANCE_ALPHA:g})",
        remedy="check labels and preprocessing, or give more labelled inputs",
    )


def probabilities(ground: Ground) -> Soundness:
    """Where outputs are probabilities, log p is searched; it saturates where p rounds to 0."""
    floor = torch.finfo(ground.logits.dtype).tiny
    share = float((ground.logits <= torch.tensor(floor).log()).double().mean())
    return informs(
        "probabilities",
        "model",
        f"outputs are probabilities, their logarithm is searched; {times(share)} of them have rounded to 0. "
        "Where the model's logits can be had, give those",
        share,
    )


def _change(ground: Ground, logits: Tensor) -> float:
    """Largest difference from the logits at the inputs, in units of their spread."""
    reference = ground.logits[: len(logits)]
    if torch.equal(logits, reference):
        return 0.0
    return float((logits - reference).abs().amax()) / max(ground.logit_spread, 1e-30)


def _bad_rows(v: Tensor) -> int:
    return int((~torch.isfinite(v)).any(1).sum())
