"""How a model is read where it does not return logits that torch can differentiate, one phrase for the report."""

from __future__ import annotations

from dmmcheck.models.base import Classifier
from dmmcheck.models.estimators import ExactModule
from dmmcheck.models.normalize import arrays_function
from dmmcheck.models.torch import OutputForm, TorchClassifier

FORMS: dict[OutputForm, str] = {
    "binary": "one number z for each input was read as the logits (0, z)",
    "probabilities": "probabilities were read as their logarithms",
    "binary-probability": "one number p in [0, 1] for each input was read as the probability of class 1",
}


def conversion_of(classifier: Classifier) -> str:
    """Return what was done to a model, or to its output; "" where nothing was.

    Example:
        >>> import torch
        >>> from dmmcheck.models.conversions import conversion_of
        >>> from dmmcheck.models.torch import adapt
        >>> conversion_of(adapt(lambda x: x[:, 0], torch.randn(4, 2)))
        'model: one number z for each input was read as the logits (0, z)'
    """
    if not isinstance(classifier, TorchClassifier):
        return ""
    is_read_so = classifier.differentiable or classifier.form != "probabilities"
    done = [FORMS.get(classifier.form, "")] if is_read_so else []
    if isinstance(classifier.forward, ExactModule):
        done = [
            "it was rebuilt as a torch module with the same scores; its scores were compared with those of the "
            "estimator at the inputs"
        ]
    elif (function := arrays_function(classifier.forward)) is not None:
        has_gradients = function.differentiable
        done += ["gradients are finite differences" if has_gradients else "its labels alone are searched"]
    said = ", ".join(filter(None, done))
    return f"model: {said}" if said else ""
