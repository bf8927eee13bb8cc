"""Whether the model is a function whose boundary can be measured."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from dmmcheck.inference.stats import binomial_test
from dmmcheck.models.base import called, is_differentiable
from dmmcheck.report.model import Soundness
from dmmcheck.soundness.context import CHANCE_ALPHA, SoundnessContext, bounded, changes, info, judged, percent, too_few
from dmmcheck.soundness.registry import gate

REPEATS = 3
SAME = 1e-4  # largest change of the logits, in units of their spread, that counts as no change
SAME_IN_BATCH = 1e-3  # the same between batch sizes, where kernels differ
ALONE = 8  # inputs that the model also classifies one by one


@gate("model")
def evaluation_mode(context: SoundnessContext) -> Soundness:
    """All modules follow eval(); a model that was given in training mode is measured in evaluation mode."""
    model = getattr(context.classifier, "forward", None)
    if not isinstance(model, nn.Module):
        return info("evaluation-mode", "the model is a function without an evaluation mode")
    training = [name or type(module).__name__ for name, module in model.named_modules() if module.training]
    given = "given in training mode, " if context.was_training else ""
    return bounded(
        "evaluation-mode",
        float(len(training)),
        most=0,
        finding=f"{given}measured in evaluation mode"
        + (f", but {len(training)} modules stay in training mode ({', '.join(training[:3])})" if training else ""),
        remedy="let their train(mode) set self.training = mode, as that of nn.Module does",
    )


@gate("model")
def deterministic(context: SoundnessContext) -> Soundness:
    """The same input gives the same logits."""
    with torch.no_grad():
        change = max(_change(context, called(context.classifier, context.x)) for _ in range(REPEATS))
    return bounded(
        "deterministic",
        change,
        most=SAME,
        finding=f"logits of the same inputs differ by {change:.1g} of their spread between calls (limit {SAME:g})",
        remedy="remove the noise from the model (dropout, smoothing, transforms), or fix its seed in forward",
    )


@gate("model")
def batch_independent(context: SoundnessContext) -> Soundness:
    """The logits of an input do not depend on the rest of the batch."""
    backwards = torch.arange(len(context.x) - 1, -1, -1, device=context.x.device)
    with torch.no_grad():
        reversed_batch = called(context.classifier, context.x[backwards])[backwards]
        alone = torch.cat([called(context.classifier, row) for row in torch.split(context.x[:ALONE], 1)])
    change = max(_change(context, reversed_batch), _change(context, alone))
    return bounded(
        "batch-independent",
        change,
        most=SAME_IN_BATCH,
        finding=f"logits of an input alone and in a batch differ by {change:.1g} of their spread "
        f"(limit {SAME_IN_BATCH:g})",
        remedy="remove batch statistics from forward (batch norm in training mode, scaling by the batch)",
    )


@gate("model")
def finite(context: SoundnessContext) -> Soundness:
    """Logits are finite at the inputs and at the crossings, and gradients at the inputs."""
    points = [context.x, *(crossing.point.to(context.x) for crossing in context.crossings.values())]
    with torch.no_grad():
        bad = sum(_bad_rows(called(context.classifier, point)) for point in points)
    if is_differentiable(context.classifier):
        bad += _bad_rows(context.margin_gradient[1])
    return bounded(
        "finite",
        float(bad),
        most=0,
        finding=f"{bad} rows of logits or gradients are NaN or infinite (limit 0)",
        remedy="look for log(0), 0/0 or an overflow in the model's forward pass",
    )


@gate("model")
def not_constant(context: SoundnessContext) -> Soundness:
    """The logits depend on the input."""
    logits = context.logits[:, context.classes_in_reach].double()
    centred = logits - logits.mean(1, keepdim=True)
    varies = float((centred - centred.mean(0)).abs().amax())
    relative = varies / max(float(centred.abs().amax()), torch.finfo(torch.float64).tiny)
    return bounded(
        "not-constant",
        relative,
        least=1e-4,
        finding=f"logits vary between inputs by {relative:.1g} of their size (at least 1e-4)",
        remedy="check that its weights are loaded and that the inputs have the scale of training",
    )


@gate("model")
def above_chance(context: SoundnessContext) -> Soundness:
    """The accuracy exceeds that of always naming the most frequent class (one-sided exact binomial test)."""
    chance = max(context.majority, 1 / context.classifier.classes)
    correct = round(context.accuracy * context.labelled)
    p = binomial_test(correct, context.labelled, min(chance, 1.0))
    return judged(
        "above-chance",
        p <= CHANCE_ALPHA,
        context.accuracy,
        chance,
        finding=f"accuracy {percent(context.accuracy)} on {context.labelled} inputs, where always naming one class "
        f"gives {percent(chance)} (p = {p:.2g}, limit {CHANCE_ALPHA:g})",
        remedy=too_few(context.labelled, chance) or "check labels and preprocessing, or give more labelled inputs",
    )


@gate("model")
def model_in_place(context: SoundnessContext) -> Soundness:
    """The classifier does not change the points that it gets; modules and functions always get copies."""
    changed = changes(context.classifier.logits, context.x)
    found = (
        "changes the points passed to it (limit: no change)" if changed else "leaves the points that it gets unchanged"
    )
    return judged(
        "model-in-place",
        not changed,
        float(changed),
        0.0,
        finding=f"the classifier {found}",
        remedy="let its logits compute on a copy, for example after x = x.clone()",
    )


@gate("model")
def probabilities(context: SoundnessContext) -> Iterator[Soundness]:
    """Where outputs are probabilities, the search uses log p, which saturates where p rounds to 0."""
    is_probability = getattr(context.classifier, "form", "logits") in {"probabilities", "binary-probability"}
    if not is_probability or not is_differentiable(context.classifier):
        return
    floor = torch.finfo(context.logits.dtype).tiny
    share = float((context.logits <= torch.tensor(floor).log()).double().mean())
    yield info(
        "probabilities",
        f"outputs are probabilities, and the search uses their logarithm; {percent(share)} of them are rounded to 0. "
        "Give the model's logits instead where you can",
        share,
    )


def _change(context: SoundnessContext, logits: Tensor) -> float:
    """Return the largest difference of logits (n, C) in reach from the first n inputs' logits, over their spread."""
    reached = context.classes_in_reach
    logits, reference = logits[:, reached], context.logits[: len(logits), reached]
    if torch.equal(logits, reference):
        return 0.0
    return float((logits - reference).abs().amax()) / max(context.logit_spread, 1e-30)


def _bad_rows(v: Tensor) -> int:
    return int((~torch.isfinite(v)).any(1).sum())
